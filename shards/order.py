"""Who reads what when: pure functions of (shards, seed, epoch).

In: the shard of every sample, a seed, an epoch, how much was consumed. Out: sample numbers, and
random generators. Shards are shuffled, then samples within windows of some shards, so that a cache
of a few shards serves a remote epoch. State is a `Cursor` of two numbers; neither the number of
ranks nor that of threads enters, so a run resumes exactly on other hardware. Every draw comes from
(seed, epoch, sample, purpose), never from the state of a worker: counter-based generators, Salmon
et al., "Parallel random numbers: as easy as 1, 2, 3", SC11.

A batch never holds a sample twice, although it may span two epochs: a sample that it holds from
the end of one comes in the next right after this batch, and no later sample of it moves.
"""

from __future__ import annotations

import hashlib
import json
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass

import numpy as np

Shards = Sequence[int] | np.ndarray
"""The number of the shard in which each sample lies, by sample."""


@dataclass(frozen=True)
class Cursor:
    """A place in the endless row of epochs."""

    epoch: int = 0
    consumed: int = 0
    """Samples of the epoch that were taken, over all ranks."""


@dataclass(frozen=True)
class Draw:
    """One global batch."""

    samples: np.ndarray
    """Numbers of samples."""
    epochs: np.ndarray
    """Epoch of each: a batch may span the end of one."""
    after: Cursor
    """Where to go on; saved with the model once the batch is trained on."""

    def part(self, rank: int, world: int) -> Draw:
        """What `rank` of `world` processes takes of the batch. The ranks' parts, put together, are
        the batch, whatever the world. ValueError where they cannot be equal."""
        mine = _part(rank, world, len(self.samples))
        return Draw(self.samples[mine], self.epochs[mine], self.after)


def epoch_order(
    shard_of_sample: Shards, *, seed: int, epoch: int, window_shards: int = 4, name: str = ""
) -> np.ndarray:
    """Numbers of all samples (int64, each once) in the order in which `epoch` visits them.

    A reader that goes through it needs `window_shards` shards at a time, each fetched once. Equal
    datasets of different `name` are ordered independently.
    """
    if window_shards < 1:
        raise ValueError(f"window_shards is {window_shards}; at least one shard must be open")
    shards, shard_number = np.unique(
        np.asarray(shard_of_sample, dtype=np.int64), return_inverse=True
    )
    random = generator(seed, epoch, name, "order")
    place_of_shard = random.permutation(len(shards))
    window = place_of_shard[shard_number] // window_shards
    return np.argsort(window * len(window) + random.permutation(len(window)))


def generator(seed: int, epoch: int, sample: int | str, purpose: str) -> np.random.Generator:
    """Independent random numbers for one purpose ("scans", "sentence", "patches"), always the same.

    `sample` is best the study's key: then draws do not change when studies are added to the
    dataset.
    """
    name = json.dumps([seed, epoch, sample, purpose]).encode()
    digest = hashlib.blake2b(name, digest_size=16).digest()
    return np.random.Generator(np.random.Philox(key=np.frombuffer(digest, "<u8").astype(np.uint64)))


def stream(
    shard_of_sample: Shards,
    *,
    seed: int,
    batch: int,
    start: Cursor | None = None,
    window_shards: int = 4,
) -> Iterator[Draw]:
    """Global batches without end, from `start` on. Every sample comes once an epoch; none is left
    over or repeated, and no batch holds one twice.

    What does not fill a batch at the end of an epoch begins the next one, so a batch may span two
    epochs. `start` is exact for the batch with which it was reached. For another one, every sample
    still comes once an epoch if the cursor stands at zero or behind the larger of both batches;
    before that, that one epoch may repeat some of the samples that the new batch would have put
    off, and miss as many.
    ValueError for a batch of more samples than there are.
    """
    size, start = len(shard_of_sample), start or Cursor()
    if batch < 1:
        raise ValueError(f"batch is {batch}; it must be positive")
    if size == 0:
        raise ValueError("there are no samples to draw from")
    if batch > size:
        raise ValueError(
            f"batch is {batch}, but there are {size} samples, and no batch may hold one twice; "
            f"it can be {size} at most"
        )
    if start.epoch < 0 or not 0 <= start.consumed <= size:
        raise ValueError(f"{start} is no place in epochs of {size} samples")
    place = start.epoch * size + start.consumed
    phase = place % batch

    def batch_at(place: int) -> tuple[int, int]:
        begin = place - (place - phase) % batch
        return begin, begin + batch

    epochs = Epochs(shard_of_sample, seed=seed, window_shards=window_shards, batch_at=batch_at)
    while True:
        samples, epoch_of_sample = epochs.take(place, place + batch)
        place += batch
        epoch, last = divmod(place - 1, size)
        yield Draw(samples, epoch_of_sample, Cursor(epoch, last + 1))


class Epochs:
    """The endless row of the epochs of a dataset, as those see it who take it in batches.

    Place i of the row is place i % N of epoch i // N, with N samples. `batch_at(i)` gives the
    places [begin, end) of the batch that holds place i; no batch may be longer than N. The orders
    depend on nothing else, so that a row can be entered anywhere; one order is kept in memory.
    """

    def __init__(
        self,
        shard_of_sample: Shards,
        *,
        seed: int,
        window_shards: int,
        batch_at: Callable[[int], tuple[int, int]],
        name: str = "",
    ) -> None:
        self._shard_of_sample = np.asarray(shard_of_sample, dtype=np.int64)
        self._seed, self._window_shards, self._name = seed, window_shards, name
        self._batch_at = batch_at
        self._size = len(self._shard_of_sample)
        self._epoch, self._order = -1, np.empty(0, np.int64)

    def take(self, begin: int, end: int) -> tuple[np.ndarray, np.ndarray]:
        """Samples at the places [begin, end), and the epoch of each."""
        samples, epochs = [np.empty(0, np.int64)], [np.empty(0, np.int64)]
        while begin < end:
            epoch, place = divmod(begin, self._size)
            part = self.order(epoch)[place : place + end - begin]
            samples.append(part)
            epochs.append(np.full(len(part), epoch))
            begin += len(part)
        return np.concatenate(samples), np.concatenate(epochs)

    def order(self, epoch: int) -> np.ndarray:
        """Samples in the order in which an epoch visits them: `epoch_order`, but for what its
        first batch holds already from the epoch before."""
        if epoch == self._epoch:
            return self._order
        known = self._epoch if self._epoch == epoch - 1 else self._settled(epoch)
        order = self._order if known == self._epoch else self._undisturbed(known)
        for later in range(known + 1, epoch + 1):
            boundary = later * self._size
            begin, end = self._batch_at(boundary)
            held = order[self._size - (boundary - begin) :]
            order = self._undisturbed(later)
            if len(held):
                order = put_off(order, held, end - boundary)
        self._epoch, self._order = epoch, order
        return order

    def _undisturbed(self, epoch: int) -> np.ndarray:
        return epoch_order(
            self._shard_of_sample,
            seed=self._seed,
            epoch=epoch,
            window_shards=self._window_shards,
            name=self._name,
        )

    def _settled(self, epoch: int) -> int:
        """The last epoch, up to `epoch`, of which all that matters to it can be known without the
        one before: it begins with a batch, or is so long that what its first batch put off does
        not reach its last one. Only epochs shorter than two batches lead further back."""
        while epoch > 0:
            boundary = epoch * self._size
            begin, _ = self._batch_at(boundary)
            if begin == boundary:
                return epoch
            epoch, boundary = epoch - 1, boundary - self._size
            first_begin, first_end = self._batch_at(boundary)
            if begin - boundary >= first_end - first_begin:
                return epoch
        return 0


def put_off(order: np.ndarray, held: np.ndarray, count: int) -> np.ndarray:
    """`order` with its first `count` samples that are not among `held` in front, behind them those
    of `held` that stood between, then the rest as it was."""
    late = np.isin(order[: count + len(held)], held)
    end = np.flatnonzero(~late)[count - 1] + 1
    head, late = order[:end], late[:end]
    return np.concatenate([head[~late], head[late], order[end:]])


def _part(rank: int, world: int, batch: int) -> slice:
    if world < 1 or batch % world:
        raise ValueError(
            f"a batch of {batch} cannot be cut into {world} equal parts; make it a multiple"
        )
    if not 0 <= rank < world:
        raise ValueError(f"rank {rank} is not one of {world} processes")
    share = batch // world
    return slice(rank * share, (rank + 1) * share)
