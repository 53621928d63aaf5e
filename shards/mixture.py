"""Several datasets in one stream, by weights.

In: sources with weights, a seed, how many samples were taken. Out: the batches of `shards.order`.
A mixture counts samples, not epochs: its state is one number. How many of the first n samples come
from each source is a formula of n and the weights, so every source stands at a known place of its
own row of epochs, in which each of its samples comes once an epoch. The formula halves the list of
sources again and again and gives the first half its share of a count, rounded: shares never stray
by more than a few samples, where those of a random choice stray by the root of n.
"""

from __future__ import annotations

import math
from bisect import bisect_right
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass
from fractions import Fraction
from functools import partial
from itertools import accumulate
from typing import TypeVar

import numpy as np

from shards.order import Cursor, Draw, Epochs, Shards
from study.errors import UserError

Count = TypeVar("Count", int, np.ndarray)
"""One count, or an array of them: of objects, ints of Python, which do not overflow."""


@dataclass(frozen=True)
class Source:
    """One dataset of a mixture. No study may be in two of them."""

    name: str
    """Enters the order of its samples, so that other sources of the mixture do not change it."""
    shard_of_sample: Shards
    weight: float | Fraction = 1.0
    """Share of the samples, relative to the other sources; above 0."""


def counts(taken: Count, weights: Sequence[int]) -> list[Count]:
    """How many of the first `taken` samples of a mixture come from each source; their sum is
    `taken`, and one more sample adds one to a single source.

    With S sources, each is within ceil(log2 S) / 2 samples of its exact share, however many are
    taken.
    """
    if len(weights) == 1:
        return [taken]
    half, total = len(weights) // 2, sum(weights)
    first = (2 * taken * sum(weights[:half]) + total) // (2 * total)
    return counts(first, weights[:half]) + counts(taken - first, weights[half:])


def mixed_stream(
    sources: Sequence[Source],
    *,
    seed: int,
    batch: int,
    start: Cursor | None = None,
    window_shards: int = 4,
) -> Iterator[Draw]:
    """Batches without end, from `start` on, of the sources' samples by their weights.

    Samples are numbered through: those of the first source, then those of the second (see
    `first_numbers`). `epochs` of a draw are those of each sample's own source. The epoch of the
    cursor is always 0, it counts the samples of all sources. No batch holds a sample twice. Each
    source has window_shards shards in use. `start` is exact for equal weights in equal order, and
    for the batch with which it was reached (see `shards.order.stream` on another batch).
    UserError for weights that are not positive, names that are not different, and a batch that
    may hold more samples of a source than it has.
    """
    start = start or Cursor()
    weights = exact_weights(sources)
    _check_sizes(sources, weights, batch)
    if start.epoch or start.consumed < 0:
        raise ValueError(f"{start} is no place in a mixture, which counts samples in epoch 0")
    taken = start.consumed
    rows = [
        Epochs(
            source.shard_of_sample,
            seed=seed,
            window_shards=window_shards,
            batch_at=_batches(partial(_count, weights, number), batch, taken % batch),
            name=source.name,
        )
        for number, source in enumerate(sources)
    ]
    numbers = first_numbers(sources)
    while True:
        places = counts(np.arange(taken, taken + batch + 1).astype(object), weights)
        samples, epochs = np.empty(batch, np.int64), np.empty(batch, np.int64)
        for row, number, place in zip(rows, numbers, places, strict=True):
            mine = np.diff(place).astype(bool)
            drawn, epochs[mine] = row.take(place[0], place[-1])
            samples[mine] = number + drawn
        taken += batch
        yield Draw(samples, epochs, Cursor(0, taken))


def first_numbers(sources: Sequence[Source]) -> list[int]:
    """The number that each source's first sample has in a mixture: put the sources' lists of
    samples one behind the other, and it is the place in that list."""
    return list(accumulate((len(s.shard_of_sample) for s in sources), initial=0))[:-1]


def cursors(sources: Sequence[Source], taken: int) -> dict[str, Cursor]:
    """Where each source stands, by name, once `taken` samples of the mixture are consumed."""
    places = zip(sources, counts(taken, exact_weights(sources)), strict=True)
    return {s.name: Cursor(*divmod(place, len(s.shard_of_sample))) for s, place in places}


def exact_weights(sources: Sequence[Source]) -> list[int]:
    """Weights in proportion to those of the sources, as these are written: 0.1 is a tenth.
    UserError where they cannot be used."""
    if not sources:
        raise UserError("a mixture needs a source at least")
    names = [source.name for source in sources]
    for source in sources:
        if names.count(source.name) > 1:
            raise UserError(f"two sources of a mixture are called {source.name!r}; rename one")
        if not (math.isfinite(source.weight) and source.weight > 0):
            raise UserError(
                f"the weight of source {source.name!r} is {source.weight}; it must be a number "
                "above 0 (leave the source out to take nothing from it)"
            )
    exact = [Fraction(str(source.weight)) for source in sources]
    unit = math.lcm(*(weight.denominator for weight in exact))
    return [int(weight * unit) for weight in exact]


def _count(weights: Sequence[int], source: int, taken: int) -> int:
    return counts(taken, weights)[source]


def _batches(
    count: Callable[[int], int], batch: int, phase: int
) -> Callable[[int], tuple[int, int]]:
    """The places [begin, end) of a source that lie in the batch which holds a place of it; `count`
    gives the place that it has come to by a number of samples, `phase` is where a batch begins."""

    def begin_of(number: int) -> int:
        return count(phase + (number - 1) * batch)

    def batch_at(place: int) -> tuple[int, int]:
        beyond = 1
        while begin_of(beyond) <= place:
            beyond *= 2
        after = bisect_right(range(beyond), place, key=begin_of)
        return begin_of(after - 1), begin_of(after)

    return batch_at


def _check_sizes(sources: Sequence[Source], weights: Sequence[int], batch: int) -> None:
    if batch < 1:
        raise ValueError(f"batch is {batch}; it must be positive")
    for source, most in zip(sources, _most(batch, weights), strict=True):
        size = len(source.shard_of_sample)
        if most > size:
            raise UserError(
                f"a batch of {batch} may hold {most} samples of source {source.name!r}, which has "
                f"{size}, and none may come twice: lower the batch or the weight {source.weight}"
            )


def _most(batch: int, weights: Sequence[int]) -> list[int]:
    """The most samples that each source can have among `batch` consecutive ones (see `counts`)."""
    if len(weights) == 1:
        return [batch]
    half, total = len(weights) // 2, sum(weights)
    first = -(-batch * sum(weights[:half]) // total)
    second = -(-batch * sum(weights[half:]) // total)
    return _most(first, weights[:half]) + _most(second, weights[half:])
