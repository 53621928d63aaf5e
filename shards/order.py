"""Who reads what when: pure functions of (shards, seed, epoch).

In: the shard of every sample, a seed, an epoch, how much was consumed. Out: sample numbers, and
random generators. Shards are shuffled, then samples within windows of some shards, so that a cache
of a few shards serves a remote epoch. State is a `Cursor` of two numbers; neither the number of
ranks nor that of threads enters, so a run resumes exactly on other hardware. Every draw comes from
(seed, epoch, sample, purpose), never from the state of a worker: counter-based generators, Salmon
et al., "Parallel random numbers: as easy as 1, 2, 3", SC11.
"""

from __future__ import annotations

import hashlib
import json
from collections.abc import Iterator, Sequence
from dataclasses import dataclass

import numpy as np


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


def epoch_order(
    shard_of_sample: Sequence[int] | np.ndarray, *, seed: int, epoch: int, window_shards: int = 4
) -> np.ndarray:
    """Numbers of all samples (int64, each once) in the order in which `epoch` visits them.

    A reader that goes through it needs `window_shards` shards at a time, each fetched once.
    """
    if window_shards < 1:
        raise ValueError(f"window_shards is {window_shards}; at least one shard must be open")
    shards, shard_number = np.unique(
        np.asarray(shard_of_sample, dtype=np.int64), return_inverse=True
    )
    random = generator(seed, epoch, "", "order")
    place_of_shard = random.permutation(len(shards))
    window = place_of_shard[shard_number] // window_shards
    return np.lexsort((random.permutation(len(window)), window))


def generator(seed: int, epoch: int, sample: int | str, purpose: str) -> np.random.Generator:
    """Independent random numbers for one purpose ("scans", "sentence", "patches"), always the same.

    `sample` is best the study's key: then draws do not change when studies are added to the
    dataset.
    """
    name = json.dumps([seed, epoch, sample, purpose]).encode()
    digest = hashlib.blake2b(name, digest_size=16).digest()
    return np.random.Generator(np.random.Philox(key=np.frombuffer(digest, "<u8").astype(np.uint64)))


def stream(
    shard_of_sample: Sequence[int] | np.ndarray,
    *,
    seed: int,
    batch: int,
    start: Cursor | None = None,
    window_shards: int = 4,
) -> Iterator[Draw]:
    """Global batches without end, from `start` on. Every sample comes once an epoch; none is left
    over or repeated.

    What does not fill a batch at the end of an epoch begins the next one, so a batch may span two
    epochs.
    """
    if batch < 1:
        raise ValueError(f"batch is {batch}; it must be positive")
    if len(shard_of_sample) == 0:
        raise ValueError("there are no samples to draw from")
    epoch, consumed = (start.epoch, start.consumed) if start else (0, 0)
    order = epoch_order(shard_of_sample, seed=seed, epoch=epoch, window_shards=window_shards)
    while True:
        samples, epochs = [], []
        missing = batch
        while missing:
            if consumed >= len(order):
                epoch, consumed = epoch + 1, 0
                order = epoch_order(
                    shard_of_sample, seed=seed, epoch=epoch, window_shards=window_shards
                )
            part = order[consumed : consumed + missing]
            samples.append(part)
            epochs.append(np.full(len(part), epoch))
            consumed += len(part)
            missing -= len(part)
        yield Draw(np.concatenate(samples), np.concatenate(epochs), Cursor(epoch, consumed))


def rank_slice(order: np.ndarray, rank: int, world: int, batch: int) -> np.ndarray:
    """What `rank` of `world` processes sees of an order that is cut into global batches of `batch`.

    Every global batch is cut into `world` equal parts; what fills no batch at the end is left out
    (use `stream` to carry it over). The ranks' parts, put together batch by batch, are the same
    samples for any `world`.
    """
    if batch % world:
        raise ValueError(
            f"a batch of {batch} cannot be cut into {world} equal parts; make it a multiple"
        )
    if not 0 <= rank < world:
        raise ValueError(f"rank {rank} is not one of {world} processes")
    whole = len(order) // batch * batch
    return np.ascontiguousarray(
        order[:whole].reshape(-1, world, batch // world)[:, rank].reshape(-1)
    )
