"""The order of samples: fair, exact on resuming, kind to caches, no sample twice in a batch."""

from collections import Counter, OrderedDict
from collections.abc import Iterable
from dataclasses import dataclass, replace
from itertools import islice

import hypothesis.strategies as st
import numpy as np
import pytest
from hypothesis import example, given

from shards.order import (
    Cursor,
    Draw,
    epoch_order,
    generator,
    put_off,
    stream,
)

GOLDEN_DRAWS = [255, 111, 326, 654, 646]
GOLDEN_ORDER = [3, 2, 1, 0, 4, 5]
GOLDEN_STREAM = [
    [2, 8, 3, 9],
    [4, 1, 5, 0],
    [6, 7, 1, 0],
    [7, 6, 5, 3],
    [4, 2, 9, 8],
    [6, 9, 7, 8],
    [0, 5, 4, 1],
    [2, 3, 9, 8],
]
"""Ten samples in five shards, in batches of four. Undisturbed, the second epoch begins with 7, 1,
6, 0: the third batch holds 6 and 7 already, so they are put off."""

shards_of = st.lists(st.integers(0, 12), min_size=1, max_size=80)


@dataclass(frozen=True)
class Asked:
    """Arguments of a stream."""

    shard_of: list[int]
    seed: int
    batch: int
    window: int
    start: Cursor

    @property
    def size(self) -> int:
        return len(self.shard_of)

    def take(self, count: int, start: Cursor | None = None) -> list[Draw]:
        draws = stream(
            self.shard_of,
            seed=self.seed,
            batch=self.batch,
            window_shards=self.window,
            start=start or self.start,
        )
        return list(islice(draws, count))


@st.composite
def streams(draw: st.DrawFn) -> Asked:
    """Often with fewer samples than two batches, begun anywhere."""
    shard_of = draw(shards_of)
    start = Cursor(draw(st.integers(0, 5)), draw(st.integers(0, len(shard_of))))
    batch = draw(st.integers(1, min(20, len(shard_of))))
    return Asked(shard_of, draw(st.integers(0, 3)), batch, draw(st.integers(1, 6)), start)


def pairs(draws: Iterable[Draw]) -> list[tuple[int, int]]:
    """(epoch, sample) of all that was drawn, in turn."""
    return [pair for d in draws for pair in zip(d.epochs.tolist(), d.samples.tolist(), strict=True)]


def fetches(visited: Iterable[int], room: int) -> int:
    """How often a least-recently-used cache of `room` shards fetches one."""
    held, fetched = OrderedDict[int, None](), 0
    for shard in visited:
        fetched += shard not in held
        held[shard] = None
        held.move_to_end(shard)
        if len(held) > room:
            held.popitem(last=False)
    return fetched


@given(shards_of, st.integers(0, 2**40), st.integers(0, 1000), st.integers(1, 6))
def test_every_sample_once_within_windows_of_shards(
    shard_of: list[int], seed: int, epoch: int, window: int
) -> None:
    order = epoch_order(shard_of, seed=seed, epoch=epoch, window_shards=window)
    assert sorted(order.tolist()) == list(range(len(shard_of)))
    again = epoch_order(np.array(shard_of), seed=seed, epoch=epoch, window_shards=window)
    assert order.tolist() == again.tolist()
    visited = [shard_of[sample] for sample in order]
    assert fetches(visited, window) == len(set(shard_of))


@given(st.integers(1, 8), st.integers(2, 40), st.integers(1, 5), st.integers(0, 20), st.data())
def test_a_cache_of_a_few_shards_fetches_each_once_an_epoch(
    a_shard: int, shards: int, window: int, seed: int, data: st.DataObject
) -> None:
    """Read in order, and by threads that take a batch's samples as they please."""
    shard_of = np.repeat(np.arange(shards), a_shard)
    smallest = a_shard * (shards % window or window)
    batch = data.draw(st.integers(1, smallest))
    draws = stream(shard_of, seed=seed, batch=batch, window_shards=window)
    row = [d.samples for d in islice(draws, 3 * len(shard_of) // batch)]
    epochs = len(row) * batch / len(shard_of)
    assert fetches(shard_of[np.concatenate(row)], window) <= np.ceil(epochs) * shards
    threads = np.random.default_rng(seed)
    mixed = np.concatenate([threads.permutation(samples) for samples in row])
    assert fetches(shard_of[mixed], 3 * window) <= np.ceil(epochs) * shards


def test_seeds_epochs_and_names_differ_and_shuffling_is_fair() -> None:
    shard_of = np.repeat(np.arange(4), 8)
    orders = {
        tuple(epoch_order(shard_of, seed=s, epoch=e, name=n))
        for s in range(5)
        for e in range(5)
        for n in ("", "other")
    }
    assert len(orders) == 50
    firsts = Counter(int(epoch_order(shard_of, seed=0, epoch=e)[0]) for e in range(3200))
    assert len(firsts) == 32
    assert max(abs(count - 100) for count in firsts.values()) < 50


@given(streams(), st.integers(1, 30))
def test_resuming_goes_on_exactly(asked: Asked, done: int) -> None:
    whole = asked.take(done + 8)
    resumed = asked.take(8, whole[done - 1].after)
    for one, other in zip(whole[done:], resumed, strict=True):
        assert one.samples.tolist() == other.samples.tolist()
        assert one.epochs.tolist() == other.epochs.tolist()
        assert one.after == other.after


@pytest.mark.parametrize(("size", "batch"), [(10, 10), (10, 7), (11, 6), (64, 63), (1000, 512)])
def test_short_epochs_resume_exactly_far_from_the_beginning(size: int, batch: int) -> None:
    """Here an order depends on the one before, that one on its own, and so on."""
    shard_of, start = np.arange(size) // 5, Cursor(0, 3)
    for draw in islice(stream(shard_of, seed=1, batch=batch, start=start), 60):
        again = next(stream(shard_of, seed=1, batch=batch, start=start))
        assert (draw.samples.tolist(), draw.after) == (again.samples.tolist(), again.after)
        start = draw.after


@given(streams())
def test_a_stream_shows_every_sample_once_an_epoch_and_once_a_batch(asked: Asked) -> None:
    draws = asked.take(4 * asked.size // asked.batch + 1)
    first = asked.start.epoch * asked.size + asked.start.consumed
    for number, draw in enumerate(draws, 1):
        assert len(set(draw.samples.tolist())) == len(draw.samples) == asked.batch
        place = draw.after.epoch * asked.size + draw.after.consumed
        assert place == first + number * asked.batch
    seen = Counter(pairs(draws))
    assert max(seen.values()) == 1
    complete = range(asked.start.epoch + 1, draws[-1].after.epoch)
    assert all((epoch, sample) in seen for epoch in complete for sample in range(asked.size))


@given(streams())
def test_only_what_the_batch_already_holds_is_put_off(asked: Asked) -> None:
    """The plain row of epochs changes only in batches that would hold a sample twice, and what they
    put off comes right behind them."""
    size, batch = asked.size, asked.batch
    draws = asked.take(3 * size // batch + 1)
    drawn = [sample for _, sample in pairs(draws)]
    for epoch in range(asked.start.epoch + 1, draws[-1].after.epoch):
        plain = epoch_order(
            asked.shard_of, seed=asked.seed, epoch=epoch, window_shards=asked.window
        ).tolist()
        place = (epoch - asked.start.epoch) * size - asked.start.consumed
        mine, own = drawn[place : place + size], -place % batch
        held = set(drawn[place - place % batch : place])
        assert mine[:own] == [sample for sample in plain if sample not in held][:own]
        assert mine[own:] == [sample for sample in plain if sample not in mine[:own]]
        if not held & set(plain[:own]):
            assert mine == plain


@given(shards_of.filter(lambda shards: len(shards) > 3), st.integers(0, 3), st.data())
def test_another_batch_from_mid_epoch_on(
    shard_of: list[int], seed: int, data: st.DataObject
) -> None:
    """Behind the larger of both batches nothing is repeated or missed."""
    first, second = (data.draw(st.integers(1, len(shard_of) // 2)) for _ in range(2))
    before = list(islice(stream(shard_of, seed=seed, batch=first), 3 * len(shard_of) // first))
    changes = [i for i, d in enumerate(before) if d.after.consumed >= max(first, second)]
    change = data.draw(st.sampled_from(changes))
    after = stream(shard_of, seed=seed, batch=second, start=before[change].after)
    draws = [*before[: change + 1], *islice(after, 3 * len(shard_of) // second)]
    seen = Counter(pairs(draws))
    assert max(seen.values()) == 1
    complete = draws[-1].after.epoch
    assert len([epoch for epoch, _ in seen if epoch < complete]) == complete * len(shard_of)
    assert all(len(set(draw.samples.tolist())) == len(draw.samples) for draw in draws)


@given(st.permutations(range(12)), st.sets(st.integers(0, 30), max_size=6), st.integers(1, 6))
@example([0, 1, 2, 3, 4, 5, 6, 7, 8, 9, 10, 11], {0, 1, 2, 3, 4, 5}, 6)
def test_putting_off(order: list[int], held: set[int], count: int) -> None:
    mine = put_off(np.array(order), np.array(sorted(held)), count).tolist()
    free = [sample for sample in order if sample not in held][:count]
    assert mine == free + [sample for sample in order if sample not in free]


@given(streams(), st.integers(1, 6), st.integers(1, 4))
def test_ranks_share_out_a_stream(asked: Asked, world: int, share: int) -> None:
    asked = replace(asked, shard_of=[*asked.shard_of, *range(24)], batch=world * share)
    for draw in asked.take(6):
        parts = [draw.part(rank, world) for rank in range(world)]
        assert {len(part.samples) for part in parts} == {share}
        assert np.concatenate([part.samples for part in parts]).tolist() == draw.samples.tolist()
        assert np.concatenate([part.epochs for part in parts]).tolist() == draw.epochs.tolist()
        assert {part.after for part in parts} == {draw.after}


def test_generators_are_named_by_all_their_parts() -> None:
    def first(*name: object) -> int:
        return int(generator(*name).integers(2**62))  # type: ignore[arg-type]

    names = [(0, 0, "a", "scans"), (1, 0, "a", "scans"), (0, 1, "a", "scans"), (0, 0, "b", "scans")]
    names += [(0, 0, "a", "patches"), (0, 0, 1, "scans"), (0, 0, "1", "scans")]  # type: ignore[list-item]
    assert len({first(*name) for name in names}) == len(names)
    assert first(*names[0]) == first(*names[0])


def test_draws_do_not_change_between_versions() -> None:
    """A resumed run must go on with the very draws: these were taken when the format was made."""
    assert generator(7, 3, "study", "scans").integers(0, 1000, 5).tolist() == GOLDEN_DRAWS
    assert (
        epoch_order([0, 0, 1, 1, 2, 2], seed=7, epoch=3, window_shards=2).tolist() == GOLDEN_ORDER
    )
    draws = stream([0, 0, 1, 1, 2, 2, 3, 3, 4, 4], seed=6, batch=4, window_shards=2)
    assert [draw.samples.tolist() for draw in islice(draws, 8)] == GOLDEN_STREAM


@given(shards_of, st.integers(0, 2**40), st.integers(0, 99), st.integers(1, 6))
def test_the_order_is_that_of_the_first_version(
    shard_of: list[int], seed: int, epoch: int, window: int
) -> None:
    """By windows, and in them by a permutation; written as it was when the format was made."""
    shards, number = np.unique(shard_of, return_inverse=True)
    random = generator(seed, epoch, "", "order")
    window_of_sample = random.permutation(len(shards))[number] // window
    expected = np.lexsort((random.permutation(len(shard_of)), window_of_sample))
    order = epoch_order(shard_of, seed=seed, epoch=epoch, window_shards=window)
    assert order.tolist() == expected.tolist()


def test_a_million_samples() -> None:
    shard_of = np.arange(1_000_000) // 100
    start = Cursor(3, 999_700)
    first, second = islice(stream(shard_of, seed=1, batch=512, start=start), 2)
    assert first.after == Cursor(4, 212)
    assert Counter(first.epochs.tolist()) == {3: 300, 4: 212}
    again = next(stream(shard_of, seed=1, batch=512, start=first.after))
    assert again.samples.tolist() == second.samples.tolist()


def test_wrong_numbers_are_named() -> None:
    draw = next(stream([0, 0, 0], seed=0, batch=3))
    for rank, world, problem in ((0, 2, "equal"), (0, 0, "equal"), (3, 3, "rank 3"), (-1, 3, "-1")):
        with pytest.raises(ValueError, match=problem):
            draw.part(rank, world)
    with pytest.raises(ValueError, match="window_shards"):
        epoch_order([0], seed=0, epoch=0, window_shards=0)
    for batch, problem in ((0, "batch is 0"), (4, "no batch may hold one twice.* 3 at most")):
        with pytest.raises(ValueError, match=problem):
            next(stream([0, 0, 0], seed=0, batch=batch))
    with pytest.raises(ValueError, match="no samples"):
        next(stream([], seed=0, batch=1))
    for start in (Cursor(0, 4), Cursor(0, -1), Cursor(-1, 0)):
        with pytest.raises(ValueError, match="no place in epochs of 3 samples"):
            next(stream([0, 0, 0], seed=0, batch=2, start=start))
