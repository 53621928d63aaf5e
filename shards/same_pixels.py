"""Scans that lie under two studies: the same source images, or the same pixels.

In: what the shards' tables say of every scan. Out: groups of studies that share scans, and by which
check. Two checks: equal keyed digests say that two scans were made of the same source instances;
equal checksums and lengths of the stored members make candidates, whose arrays are then compared
voxel by voxel. A scan takes 24 bytes here, so that ten millions of them fit. Duplicates across
splits leak what a model is tested on.
"""

from __future__ import annotations

import hashlib
from collections import Counter, defaultdict
from collections.abc import Iterator, Sequence
from dataclasses import dataclass

import numpy as np

from shards.index import SampleRef
from shards.reader import CorruptSample, Dataset

Place = tuple[int, int]
"""Number of a study (in a list of samples) and of a scan in it."""


@dataclass(frozen=True)
class SharedScans:
    """Studies that have scans in common."""

    keys: tuple[str, ...]
    splits: tuple[str, ...]
    num_patients: int
    same_source: int
    """Scans of the same source instances: equal keyed digests."""
    same_pixels: int
    """Scans of equal arrays: every voxel was compared."""


class ScanTable:
    """Collects, for every scan, where it is and two numbers of 64 bits that equal scans share."""

    def __init__(self) -> None:
        self._places: list[np.ndarray] = []
        self._digests: list[np.ndarray] = []
        self._members: list[np.ndarray] = []

    def add(
        self,
        places: np.ndarray,
        digests: Sequence[str],
        crc32c: np.ndarray,
        lengths: np.ndarray,
    ) -> None:
        """Scans of a shard: `places` is (N, 2) int32. An empty digest is like no other."""
        short = [_short(digest) for digest in digests]
        self._places.append(places.astype(np.int32))
        self._digests.append(np.array(short, np.uint64))
        both = crc32c.astype(np.uint64) << np.uint64(32) | lengths.astype(np.uint64)
        self._members.append(both)

    def same_source(self) -> Iterator[list[Place]]:
        """Groups of scans with one digest, under several studies."""
        return self._groups(self._digests, without=0)

    def same_member(self) -> Iterator[list[Place]]:
        """Groups of scans with one checksum and length, under several studies: candidates."""
        return self._groups(self._members)

    def _groups(self, parts: list[np.ndarray], without: int | None = None) -> Iterator[list[Place]]:
        if not parts:
            return
        codes, places = np.concatenate(parts), np.concatenate(self._places)
        order = np.argsort(codes, kind="stable")
        ends = np.flatnonzero(np.diff(codes[order])) + 1
        starts = np.concatenate([[0], ends])
        sizes = np.diff(np.concatenate([starts, [len(order)]]))
        for start, size in zip(starts[sizes > 1], sizes[sizes > 1], strict=True):
            chosen = order[start : start + size]
            if without is not None and codes[chosen[0]] == without:
                continue
            if len(np.unique(places[chosen, 0])) > 1:
                yield [(int(study), int(scan)) for study, scan in places[chosen]]


def find(
    dataset: Dataset, refs: Sequence[SampleRef], table: ScanTable, unreadable: list[str]
) -> list[SharedScans]:
    """Groups of studies that share scans, by key. Appends to `unreadable` what could not be
    compared."""
    source: Counter[tuple[int, ...]] = Counter(_studies(group) for group in table.same_source())
    pixels: Counter[tuple[int, ...]] = Counter(
        _studies(equal)
        for group in table.same_member()
        for equal in _equal_arrays(dataset, refs, group, unreadable)
    )
    found = []
    for studies in source.keys() | pixels.keys():
        chosen = sorted((refs[number] for number in studies), key=lambda ref: ref.key)
        shared = SharedScans(
            keys=tuple(ref.key for ref in chosen),
            splits=tuple(sorted({ref.split for ref in chosen})),
            num_patients=len({ref.patient for ref in chosen}),
            same_source=source[studies],
            same_pixels=pixels[studies],
        )
        found.append(shared)
    return sorted(found, key=lambda shared: shared.keys)


def _equal_arrays(
    dataset: Dataset, refs: Sequence[SampleRef], group: list[Place], unreadable: list[str]
) -> list[list[Place]]:
    """Parts of a group whose arrays are equal in every voxel, under several studies each."""
    first: list[np.ndarray] = []
    parts: defaultdict[int, list[Place]] = defaultdict(list)
    for study, scan in group:
        try:
            array = dataset.read_scan(refs[study], scan)
        except CorruptSample as error:
            unreadable.append(str(error))
            continue
        same = (n for n, other in enumerate(first) if np.array_equal(other, array))
        part = next(same, len(first))
        if part == len(first):
            first.append(array)
        parts[part].append((study, scan))
    return [part for part in parts.values() if len(_studies(part)) > 1]


def _studies(group: list[Place]) -> tuple[int, ...]:
    return tuple(sorted({study for study, _ in group}))


def _short(digest: str) -> int:
    """64 bits of a digest; 0 for none. Ten million different ones share one by chance once in
    300,000 datasets."""
    if not digest:
        return 0
    return int.from_bytes(hashlib.blake2b(digest.encode(), digest_size=8).digest(), "big") or 1
