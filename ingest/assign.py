"""Studies -> shards, up front: who goes where does not depend on who works when.

In: keys and digests of all studies, where each went in earlier runs, which shards are committed.
Out: `ShardTask`s, and the book of places (`plan.parquet`). Studies are shuffled by their keyed
pseudonym, so that every shard is a fair mix. What is committed stays as it is: a new study, or a
changed one, goes into a new shard after all others, and of samples with one key the last shard's
counts (`shards.census`). The content of a shard has an identity, so "done" is a fact about bytes,
not about numbers. All in arrays: a million studies take some hundred megabytes.
"""

from __future__ import annotations

import hashlib
from collections.abc import Iterable, Iterator, Mapping
from dataclasses import dataclass
from itertools import pairwise
from pathlib import Path

import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq

from shards.commit import REPAIRED
from study import private
from study.pseudonyms import PSEUDONYM_DIGITS

TEXT = f"S{PSEUDONYM_DIGITS}"
"""numpy's type of keys and digests."""
UNKNOWN = b""
"""Digest in a book of an older version, which kept none."""
SETTLED, OPEN, OTHER = range(3)
"""States of a shard: committed, and it holds what the book says; to be written; committed, and it
holds something else."""


@dataclass(frozen=True)
class ShardTask:
    """One shard to be written: the unit of work, of retry and of resumption. Its studies are read
    where the work is done (see `taskstore`)."""

    shard: int
    keys: tuple[str, ...]
    content: str
    """Identity of what the shard will hold: its studies and the settings that shape them."""


@dataclass(frozen=True)
class Places:
    """Which shard holds which version of a study: a row for each, by shard and key. Of several with
    one key the last is the present one."""

    keys: np.ndarray
    shards: np.ndarray
    digests: np.ndarray

    def __len__(self) -> int:
        return len(self.keys)

    def is_last(self) -> np.ndarray:
        """Whether a row is the last with its key."""
        _, codes = np.unique(self.keys, return_inverse=True)
        last = np.zeros(len(self), np.int64)
        last[codes] = np.arange(len(self))
        found: np.ndarray = last[codes] == np.arange(len(self))
        return found

    def shard_of(self, keys: np.ndarray) -> np.ndarray:
        """Shard of the present version of each of some studies, which all have a place."""
        is_last = self.is_last()
        known, shards = self.keys[is_last], self.shards[is_last]
        order = np.argsort(known)
        found: np.ndarray = shards[order][np.searchsorted(known[order], keys)]
        return found


NOTHING = Places(np.array([], TEXT), np.array([], np.int64), np.array([], TEXT))


@dataclass(frozen=True)
class Assignment:
    """Which studies go where, and what is to be done."""

    places: Places
    missing: tuple[ShardTask, ...]
    """Shards to be written."""
    settled: frozenset[int]
    """Shards that are committed and hold what the book says."""
    changed: int
    """Studies whose sample in a committed shard is superseded by a new one."""


def assign(
    keys: np.ndarray,
    digests: np.ndarray,
    before: Places,
    done: Mapping[int, str],
    studies_per_shard: int,
    settings_fingerprint: str,
    again: np.ndarray | None = None,
) -> Assignment:
    """Places of all studies, given by their keys (sorted, each once) and digests; those of `again`
    that are committed get new ones, though nothing about them changed.

    `before` is the book of the last run, `done` maps the committed shards to their content. A shard
    that was planned and not written yet is written with those of its studies that are there now, as
    they are now. One that `shards repair` took samples from is written again where all its studies
    are there; where some are not, and where a shard holds something else than the book says, it
    stays, and those of its studies that are there go into new shards.
    """
    at = np.searchsorted(keys, before.keys)
    is_there = np.append(keys, UNKNOWN).astype(TEXT)[at] == before.keys
    now = np.where(is_there, np.append(digests, UNKNOWN).astype(TEXT)[at], UNKNOWN)
    old = np.where(before.digests == UNKNOWN, now, before.digests)
    is_last = before.is_last()
    state = np.zeros(len(before), np.int8)
    for shard, rows in _by_shard(before.shards):
        content = content_of(before.keys[rows], old[rows], settings_fingerprint)
        all_there = bool(is_there[rows][is_last[rows]].all())
        state[rows] = _state(done.get(shard), content, all_there)
    is_open = state == OPEN
    kept = ~is_open | (is_last & is_there)
    is_again = np.isin(before.keys, [] if again is None else again)
    is_good = (state == SETTLED) & (old == now) & ~is_again
    is_held = is_last & is_there & (is_open | is_good)
    is_fresh = ~np.isin(keys, before.keys[is_held])
    start = max(int(before.shards[kept].max(initial=-1)), *done, -1) + 1
    places = Places(
        np.concatenate([before.keys[kept], keys[is_fresh]]),
        np.concatenate(
            [before.shards[kept], start + np.arange(int(is_fresh.sum())) // studies_per_shard]
        ),
        np.concatenate([np.where(is_open, now, old)[kept], digests[is_fresh]]),
    )
    is_missing = np.concatenate([is_open[kept], np.ones(int(is_fresh.sum()), bool)])
    return Assignment(
        places,
        tuple(
            ShardTask(
                shard,
                tuple(key.decode() for key in places.keys[rows].tolist()),
                content_of(places.keys[rows], places.digests[rows], settings_fingerprint),
            )
            for shard, rows in _by_shard(places.shards)
            if is_missing[rows.start]
        ),
        frozenset(before.shards[state == SETTLED].tolist()),
        int(np.isin(keys[is_fresh], before.keys[~is_open]).sum()),
    )


def _state(done: str | None, content: str, all_there: bool) -> int:
    """State of a shard: `done` is the content that is committed, `content` that of the book."""
    if done is None or (done == REPAIRED and all_there):
        return OPEN
    return SETTLED if done == content else OTHER


def _by_shard(shards: np.ndarray) -> Iterator[tuple[int, slice]]:
    """Every shard of an ascending array, and where its rows are."""
    bounds = np.flatnonzero(np.diff(shards, prepend=-1, append=-1))
    for start, end in pairwise(bounds.tolist()):
        yield int(shards[start]), slice(start, end)


def content_of(keys: np.ndarray, digests: np.ndarray, settings_fingerprint: str) -> str:
    """Identity of a shard's content, without anything that identifies a patient."""
    pairs = zip(keys.tolist(), digests.tolist(), strict=True)
    lines = [settings_fingerprint.encode(), *(key + b" " + digest for key, digest in pairs)]
    return hashlib.sha256(b"\n".join(lines)).hexdigest()


def write(file: Path, places: Places) -> None:
    """Write the book: every version of every study that has a shard, also of those that are not
    there any more."""
    columns = {
        "key": pa.array(places.keys).cast(pa.string()),
        "shard": pa.array(places.shards),
        "digest": pa.array(places.digests).cast(pa.string()),
    }
    with private.replacing(file) as stream:
        pq.write_table(pa.table(columns), stream, compression="zstd")


def read(file: Path) -> Places:
    """The book of the last run; empty where there was none."""
    if not file.exists():
        return NOTHING
    table = pq.read_table(file)
    keys, shards = _texts(table["key"]), table["shard"].to_numpy().astype(np.int64)
    digests = _texts(table["digest"]) if "digest" in table.column_names else np.full_like(keys, b"")
    order = np.lexsort((keys, shards))
    return Places(keys[order], shards[order], digests[order])


def texts(values: Iterable[str]) -> np.ndarray:
    """Keys or digests as an array."""
    return np.array([value.encode() for value in values], TEXT)


def _texts(column: pa.ChunkedArray) -> np.ndarray:
    return column.cast(pa.binary()).to_numpy().astype(TEXT)
