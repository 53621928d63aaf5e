"""A tar, cut into members and what lies between them, however damaged it is.

In: the bytes of a tar in one go, and where its books say that members begin. Out: `Piece`s that
together are all of its bytes. A header counts if it is, byte for byte, what this program writes;
where it is not, the books say what should be there; where they do not, the next good header is
looked for.
"""

from __future__ import annotations

import tarfile
from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from typing import Protocol

from shards.problem import Part
from shards.tar import BLOCK, header_of

_ZERO = bytes(BLOCK)


class Reads(Protocol):
    """What a tar is read from."""

    def read(self, count: int) -> bytes:
        """The next bytes; fewer only at the end."""


@dataclass(frozen=True)
class Piece:
    """A stretch of a tar: a member from its header to its padding, or bytes that are none."""

    name: str
    """Of the member; empty where the bytes are none."""
    start: int
    end: int
    payload: bytes = b""
    problems: tuple[tuple[Part, str], ...] = ()

    @property
    def offset(self) -> int:
        """Of the payload."""
        return self.start + BLOCK


def pieces(stream: Reads, size: int, expected: Mapping[int, tuple[str, int]]) -> Iterator[Piece]:
    """All of a tar of `size` bytes; `expected` is offset of a header -> name and length of the
    payload. The end of the archive is the last piece, named by its problems alone."""
    at = loose = 0
    stray: int | None = None  # of the first byte that is not zero since `loose`
    seen: set[str] = set()
    while at < size:
        block, told = stream.read(BLOCK), expected.get(at)
        found = _header(block, None if told is not None and told[0] in seen else told)
        if found is None:
            if stray is None and block.strip(b"\0"):
                stray = at + len(block) - len(block.lstrip(b"\0"))
            at += len(block)
            if len(block) < BLOCK:
                break
            continue
        if at > loose:
            yield Piece("", loose, at, problems=((Part.BETWEEN, f"byte {loose}: not a header"),))
        piece = _member(stream, at, found)
        seen.add(piece.name)  # a book that places it elsewhere is older than the tar
        yield piece
        at = loose = piece.end
        stray = None
    yield Piece("", loose, at, problems=tuple(_end(loose, at, stray)))


def _header(block: bytes, expected: tuple[str, int] | None) -> tuple[str, int, str] | None:
    """Name and length that a header tells of, and what is wrong with it; None where there is
    none."""
    try:
        parsed = tarfile.TarInfo.frombuf(block, "ascii", "strict")
        told = (parsed.name, parsed.size) if parsed.isreg() and parsed.size >= 0 else None
        as_written = told is not None and block == header_of(*told)
    except (tarfile.HeaderError, ValueError):
        told, as_written = None, False
    if told is not None and as_written:
        return *told, ""
    if expected is not None:
        should = header_of(*expected)
        first = next((i for i, (a, b) in enumerate(zip(block, should, strict=False)) if a != b), -1)
        return *expected, f"byte {max(first, 0)} of the header is not as it was written"
    return None if told is None else (*told, "not as this program writes it")


def _member(stream: Reads, at: int, found: tuple[str, int, str]) -> Piece:
    name, length, problem = found
    problems = [(Part.HEADER, problem)] if problem else []
    payload = stream.read(length)
    padding = stream.read(-length % BLOCK) if len(payload) == length else b""
    end = at + BLOCK + len(payload) + len(padding)
    if len(payload) < length:
        problems.append((Part.PAYLOAD, f"the shard ends at byte {end}, within it: truncated"))
    elif len(padding) < -length % BLOCK:
        problems.append((Part.PADDING, f"the shard ends at byte {end}, within it: truncated"))
    elif padding.strip(b"\0"):
        stray = end - len(padding.lstrip(b"\0"))
        problems.append((Part.PADDING, f"byte {stray} is not zero"))
    return Piece(name, at, end, payload, tuple(problems))


def _end(start: int, end: int, stray: int | None) -> Iterator[tuple[Part, str]]:
    """Two zero blocks, padded to 10240 bytes, must follow the last member."""
    should = start + 2 * BLOCK
    should += -should % tarfile.RECORDSIZE
    if stray is not None:
        yield Part.END, f"byte {stray} is not zero"
    if end < should:
        yield Part.END, f"the shard ends at byte {end}, not {should}: truncated"
    if end > should:
        yield Part.END, f"{end - should} bytes follow byte {should}, where the archive ends"
