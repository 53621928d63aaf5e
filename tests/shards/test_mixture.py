"""Mixtures: shares close to the weights everywhere, each source epoch by epoch, exact resuming."""

import math
from collections import Counter
from dataclasses import replace
from fractions import Fraction
from itertools import islice

import hypothesis.strategies as st
import numpy as np
import pytest
from hypothesis import given, settings

from shards.mixture import Source, counts, cursors, exact_weights, first_numbers, mixed_stream
from shards.order import Cursor, Draw, epoch_order, stream
from study.errors import UserError

GOLDEN_MIXTURE = [[3, 1, 8, 2], [0, 4, 5, 1], [4, 3, 7, 0], [2, 0, 6, 1], [3, 4, 8, 2]]
"""Five samples at three quarters, four (5 to 8) at one, in batches of four."""

weights_of = st.lists(st.integers(1, 1000).map(lambda n: n / 100), min_size=1, max_size=5)


@st.composite
def mixtures(draw: st.DrawFn) -> tuple[list[Source], int, int]:
    """Sources, batch, samples taken before. Sources are short, so that batches span their epochs,
    but never too short for what a batch may hold of them."""
    weights, batch = draw(weights_of), draw(st.integers(1, 24))
    sources = []
    for number, weight in enumerate(weights):
        least = math.ceil(batch * weight / sum(weights)) + 3
        size = draw(st.integers(least, least + 30))
        shards = np.random.default_rng(size).integers(0, 9, size)
        sources.append(Source(f"source {number}", shards, weight))
    return sources, batch, draw(st.integers(0, 500))


def take(sources: list[Source], batch: int, taken: int, count: int) -> list[Draw]:
    return list(islice(mixed_stream(sources, seed=3, batch=batch, start=Cursor(0, taken)), count))


def by_source(sources: list[Source], draws: list[Draw]) -> list[list[tuple[int, int]]]:
    """(epoch, sample) of what was drawn from each source, in turn."""
    first = first_numbers(sources)
    samples = np.concatenate([draw.samples for draw in draws])
    epochs = np.concatenate([draw.epochs for draw in draws])
    source = np.searchsorted(first, samples, side="right") - 1
    return [
        list(
            zip(
                epochs[source == n].tolist(),
                (samples[source == n] - first[n]).tolist(),
                strict=True,
            )
        )
        for n in range(len(sources))
    ]


@given(weights_of, st.integers(0, 2**70))
def test_shares_are_close_to_the_weights_at_any_prefix(weights: list[float], start: int) -> None:
    exact = exact_weights([Source(str(n), [0], weight) for n, weight in enumerate(weights)])
    assert [Fraction(e, sum(exact)) for e in exact] == [
        Fraction(str(weight)) / sum(Fraction(str(other)) for other in weights) for weight in weights
    ]
    total, stray = sum(exact), Fraction(math.ceil(math.log2(len(weights))), 2)
    before = counts(start, exact)
    for taken in range(start, start + 60):
        now = counts(taken, exact)
        assert sum(now) == taken
        assert all(
            abs(c - Fraction(taken * w, total)) <= stray for c, w in zip(now, exact, strict=True)
        )
        steps = [b - a for a, b in zip(before, now, strict=True)]
        assert sorted(steps)[:-1] == [0] * (len(steps) - 1)
        before = now


@settings(max_examples=50)
@given(mixtures())
def test_each_source_goes_epoch_by_epoch(mixture: tuple[list[Source], int, int]) -> None:
    sources, batch, _ = mixture
    draws = take(sources, batch, 0, 1 + 2 * sum(len(s.shard_of_sample) for s in sources) // batch)
    for draw in draws:
        assert len(set(draw.samples.tolist())) == len(draw.samples) == batch
    total = len(draws) * batch
    assert draws[-1].after == Cursor(0, total)
    places = counts(total, exact_weights(sources))
    for source, drawn, place in zip(sources, by_source(sources, draws), places, strict=True):
        size = len(source.shard_of_sample)
        assert len(drawn) == place
        assert [epoch for epoch, _ in drawn] == [i // size for i in range(place)]
        assert max(Counter(drawn).values(), default=1) == 1
        assert all(0 <= sample < size for _, sample in drawn)
        assert cursors(sources, total)[source.name] == Cursor(place // size, place % size)


@settings(max_examples=50)
@given(mixtures(), st.integers(1, 20))
def test_resuming_goes_on_exactly(mixture: tuple[list[Source], int, int], done: int) -> None:
    sources, batch, taken = mixture
    whole = take(sources, batch, taken, done + 6)
    assert all(len(set(draw.samples.tolist())) == batch for draw in whole)
    resumed = take(sources, batch, whole[done - 1].after.consumed, 6)
    for one, other in zip(whole[done:], resumed, strict=True):
        assert one.samples.tolist() == other.samples.tolist()
        assert one.epochs.tolist() == other.epochs.tolist()
        assert one.after == other.after


@settings(max_examples=50)
@given(mixtures(), st.integers(1, 3), st.data())
def test_ranks_share_out_a_mixture(
    mixture: tuple[list[Source], int, int], world: int, data: st.DataObject
) -> None:
    sources, batch, taken = mixture
    for draw in take(sources, batch, taken, 3):
        if batch % world:
            with pytest.raises(ValueError, match="equal parts"):
                draw.part(0, world)
            continue
        parts = [draw.part(rank, world).samples for rank in range(world)]
        assert np.concatenate(parts).tolist() == draw.samples.tolist()


@settings(max_examples=50)
@given(mixtures())
def test_sources_are_undisturbed_by_each_other(mixture: tuple[list[Source], int, int]) -> None:
    """A source's order is its own, but for what its batches put off."""
    sources, batch, _ = mixture
    drawn = by_source(sources, take(sources, batch, 0, 20))
    for source, row in zip(sources, drawn, strict=True):
        plain = epoch_order(source.shard_of_sample, seed=3, epoch=0, name=source.name).tolist()
        first = [sample for epoch, sample in row if epoch == 0]
        assert first == plain[: len(first)]


def test_one_source_is_a_stream() -> None:
    shard_of = np.arange(30) // 4
    mixed = mixed_stream([Source("", shard_of)], seed=5, batch=8)
    alone = stream(shard_of, seed=5, batch=8)
    for one, other in islice(zip(mixed, alone, strict=False), 20):
        assert one.samples.tolist() == other.samples.tolist()
        assert one.epochs.tolist() == other.epochs.tolist()


def test_draws_do_not_change_between_versions() -> None:
    sources = [Source("heads", [0, 0, 1, 1, 2], 0.75), Source("chests", [0, 0, 0, 0], 0.25)]
    assert [draw.samples.tolist() for draw in take(sources, 4, 0, 5)] == GOLDEN_MIXTURE


def test_a_place_far_out_is_found_at_once() -> None:
    """No counting up to there: 10^15 samples on, a batch has its shares and the known cursors."""
    sources = [Source("big", np.arange(100_000) // 100, 0.9), Source("small", [0] * 1000, 0.1)]
    taken = 10**15 + 7
    (draw,) = take(sources, 100, taken, 1)
    small = draw.samples >= 100_000
    assert small.sum() == 10
    assert set(draw.epochs[small].tolist()) == {cursors(sources, taken)["small"].epoch}
    assert draw.after == Cursor(0, taken + 100)


@given(weights_of, st.integers(2, 24), st.integers(0, 10**6), st.data())
def test_a_source_too_small_for_a_batch_is_refused_before_it_comes(
    weights: list[float], batch: int, start: int, data: st.DataObject
) -> None:
    sources = [Source(str(n), range(batch), weight) for n, weight in enumerate(weights)]
    exact = exact_weights(sources)
    held = [b - a for a, b in zip(counts(start, exact), counts(start + batch, exact), strict=True)]
    small = data.draw(st.sampled_from([n for n, count in enumerate(held) if count > 1] or [0]))
    if held[small] > 1:
        sources[small] = replace(sources[small], shard_of_sample=range(held[small] - 1))
        with pytest.raises(UserError, match=f"samples of source '{small}'"):
            take(sources, batch, 0, 1)


def test_what_cannot_be_mixed_is_named() -> None:
    good = Source("heads", [0] * 10, 1)
    chests = Source("chests", [0] * 3, 0.5)
    for sources, problem in (
        ([], "needs a source"),
        ([good, good], "two sources of a mixture are called 'heads'"),
        ([good, replace(chests, weight=0)], "'chests' is 0; it must be a number above 0"),
        ([good, replace(chests, weight=-1)], "'chests' is -1"),
        ([good, replace(chests, weight=math.nan)], "'chests' is nan"),
        ([good, replace(chests, weight=math.inf)], "'chests' is inf"),
        ([good, chests], "12 may hold 4 samples of source 'chests', which has 3.*weight 0.5"),
    ):
        with pytest.raises(UserError, match=problem):
            take(sources, 12, 0, 1)
    with pytest.raises(ValueError, match="batch is 0"):
        take([good], 0, 0, 1)
    for start in (Cursor(1, 0), Cursor(0, -1)):
        with pytest.raises(ValueError, match="no place in a mixture"):
            next(mixed_stream([good], seed=0, batch=2, start=start))
