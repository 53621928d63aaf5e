"""Damage done to datasets on purpose, and what of their studies it hits."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path

import hypothesis.strategies as st

from shards import index


@dataclass(frozen=True)
class Damage:
    """Something that happens to a file: flip (the bits of `mask` in one byte), truncate, remove or
    zero (a block of 512 bytes). `place` is where, from 0 to 1 of the file's length."""

    kind: str
    file: str
    place: float
    mask: int

    def byte(self, size: int) -> int:
        return min(int(self.place * size), size - 1)

    def hits(self, size: int) -> range:
        """Bytes of the file that are not as they were."""
        at = self.byte(size)
        if self.kind == "flip":
            return range(at, at + 1)
        if self.kind == "zero":
            return range(at // 512 * 512, at // 512 * 512 + 512)
        return range(at if self.kind == "truncate" else 0, size)

    def do(self, folder: Path) -> range:
        """Do it, if there is anything left to damage; returns `hits`."""
        path = folder / self.file
        data = bytearray(path.read_bytes()) if path.exists() else bytearray()
        if not data:
            return range(0)
        if self.kind == "remove":
            path.unlink()
            return self.hits(len(data))
        hit = self.hits(len(data))
        if self.kind == "flip":
            data[hit.start] ^= self.mask
        elif self.kind == "zero":
            data[hit.start : hit.stop] = bytes(len(data[hit.start : hit.stop]))
        else:
            del data[hit.start :]
        path.write_bytes(bytes(data))
        return hit


def damages(files: list[str], kinds: tuple[str, ...]) -> st.SearchStrategy[Damage]:
    return st.builds(
        Damage,
        st.sampled_from(kinds),
        st.sampled_from(files),
        st.floats(0, 1, exclude_max=True),
        st.integers(1, 255),
    )


def payloads(folder: Path) -> dict[tuple[str, str], list[range]]:
    """(tar, key of a study) -> where its payloads lie, of an intact dataset."""
    found = {}
    for ref in index.load(folder):
        addresses = (ref.metadata, *ref.scans)
        places = [range(a.offset, a.offset + a.length) for a in addresses]
        found[f"{ref.shard:05d}.tar", ref.key] = places
    return found


def overlap(one: range, other: range) -> bool:
    return max(one.start, other.start) < min(one.stop, other.stop)
