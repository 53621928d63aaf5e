from collections import Counter
from itertools import islice

import hypothesis.strategies as st
import numpy as np
import pytest
from hypothesis import given, settings

from shards.order import Cursor, epoch_order, generator, rank_slice, stream

GOLDEN_DRAWS = [255, 111, 326, 654, 646]
GOLDEN_ORDER = [3, 2, 1, 0, 4, 5]

shards_of = st.lists(st.integers(0, 12), min_size=1, max_size=80)


@given(shards_of, st.integers(0, 2**40), st.integers(0, 1000), st.integers(1, 6))
def test_every_sample_once_within_windows_of_shards(
    shard_of: list[int], seed: int, epoch: int, window: int
) -> None:
    order = epoch_order(shard_of, seed=seed, epoch=epoch, window_shards=window)
    assert sorted(order.tolist()) == list(range(len(shard_of)))
    assert (
        order.tolist()
        == epoch_order(shard_of, seed=seed, epoch=epoch, window_shards=window).tolist()
    )
    visited = [shard_of[sample] for sample in order]
    first = {shard: visited.index(shard) for shard in set(visited)}
    last = {shard: len(visited) - 1 - visited[::-1].index(shard) for shard in first}
    for place in range(len(visited)):
        assert sum(first[shard] <= place <= last[shard] for shard in first) <= window


def test_seeds_and_epochs_differ_and_shuffling_is_fair() -> None:
    shard_of = np.repeat(np.arange(4), 8)
    orders = {tuple(epoch_order(shard_of, seed=s, epoch=e)) for s in range(5) for e in range(5)}
    assert len(orders) == 25
    firsts = Counter(int(epoch_order(shard_of, seed=0, epoch=e)[0]) for e in range(3200))
    assert len(firsts) == 32
    assert max(abs(count - 100) for count in firsts.values()) < 50


@settings(max_examples=50)
@given(shards_of, st.integers(1, 20), st.integers(0, 12), st.integers(0, 3))
def test_resuming_goes_on_exactly(shard_of: list[int], batch: int, done: int, seed: int) -> None:
    whole = list(islice(stream(shard_of, seed=seed, batch=batch), done + 5))
    start = whole[done - 1].after if done else Cursor()
    resumed = list(islice(stream(shard_of, seed=seed, batch=batch, start=start), 5))
    for one, other in zip(whole[done:], resumed, strict=True):
        assert one.samples.tolist() == other.samples.tolist()
        assert one.epochs.tolist() == other.epochs.tolist()
        assert one.after == other.after


@given(shards_of, st.integers(1, 20), st.integers(0, 3))
def test_a_stream_shows_every_sample_once_an_epoch(
    shard_of: list[int], batch: int, seed: int
) -> None:
    draws = list(islice(stream(shard_of, seed=seed, batch=batch), 3 * len(shard_of) // batch + 1))
    seen = Counter(
        pair for d in draws for pair in zip(d.epochs.tolist(), d.samples.tolist(), strict=True)
    )
    assert max(seen.values()) == 1
    assert all(len(draw.samples) == batch for draw in draws)
    complete = draws[-1].after.epoch
    assert all(
        (epoch, sample) in seen for epoch in range(complete) for sample in range(len(shard_of))
    )


@given(st.integers(0, 100), st.sampled_from([1, 2, 3, 4, 6, 12]), st.integers(1, 3))
def test_ranks_share_out_the_global_batches(total: int, world: int, multiple: int) -> None:
    order, batch = np.random.default_rng(total).permutation(total), 12 * multiple
    parts = [
        rank_slice(order, rank, world, batch).reshape(-1, batch // world) for rank in range(world)
    ]
    whole = total // batch * batch
    assert np.concatenate(parts, axis=1).reshape(-1).tolist() == order[:whole].tolist()


def test_generators_are_named_by_all_their_parts() -> None:
    def first(*name: object) -> int:
        return int(generator(*name).integers(2**62))  # type: ignore[arg-type]

    names = [(0, 0, "a", "scans"), (1, 0, "a", "scans"), (0, 1, "a", "scans"), (0, 0, "b", "scans")]
    names += [(0, 0, "a", "patches"), (0, 0, 1, "scans"), (0, 0, "1", "scans")]
    assert len({first(*name) for name in names}) == len(names)
    assert first(*names[0]) == first(*names[0])


def test_draws_do_not_change_between_versions() -> None:
    """A resumed run must go on with the very draws: these were taken when the format was made."""
    assert generator(7, 3, "study", "scans").integers(0, 1000, 5).tolist() == GOLDEN_DRAWS
    assert (
        epoch_order([0, 0, 1, 1, 2, 2], seed=7, epoch=3, window_shards=2).tolist() == GOLDEN_ORDER
    )


def test_wrong_numbers_are_named() -> None:
    with pytest.raises(ValueError, match="equal parts"):
        rank_slice(np.arange(9), 0, 2, 3)
    with pytest.raises(ValueError, match="rank 2"):
        rank_slice(np.arange(9), 2, 2, 4)
    with pytest.raises(ValueError, match="window_shards"):
        epoch_order([0], seed=0, epoch=0, window_shards=0)
    with pytest.raises(ValueError, match="no samples"):
        next(stream([], seed=0, batch=1))
