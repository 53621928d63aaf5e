"""The bytes of a file, read as far as they are needed.

In: a stream of a DICOM file. Out: its first bytes as one buffer that grows, and any range of it.
A deflated data set is inflated as it is read, so that a small file that inflates to terabytes
costs only what is asked of it. Source: DICOM PS3.5 A.5 (deflated transfer syntax: RFC 1951).
"""

from __future__ import annotations

import zlib
from typing import BinaryIO, Protocol

FIRST_READ = 1 << 20
"""Bytes that are read at once: most files whole, most headers of larger ones. Reading them twice
costs more."""
LARGEST_HEADER = 1 << 28
"""Bytes that are held to find the pixel data; a header of more is no header."""


class Source(Protocol):
    """Bytes by position."""

    data: bytes
    """From the first byte on, as far as was read."""
    is_complete: bool
    """`data` is all that there is."""
    size: int
    """Bytes in all, or more than any source has where that is not known."""

    def grow(self) -> None:
        """Make `data` longer."""

    def read(self, start: int, length: int) -> bytes:
        """The bytes from `start` on; fewer than `length` where the source ends."""


class FileSource:
    """The bytes of a file of `size` bytes."""

    def __init__(self, stream: BinaryIO, size: int) -> None:
        self._stream, self.size = stream, size
        stream.seek(0)
        self.data = stream.read(min(size, FIRST_READ))
        self.is_complete = len(self.data) >= size

    def grow(self) -> None:
        wanted = min(self.size, max(4 * len(self.data), FIRST_READ))
        self._stream.seek(len(self.data))
        more = self._stream.read(wanted - len(self.data))
        self.data += more
        self.is_complete = len(self.data) >= self.size or not more

    def read(self, start: int, length: int) -> bytes:
        if start + length <= len(self.data):
            return self.data[start : start + length]
        self._stream.seek(start)
        return self._stream.read(max(0, min(length, self.size - start)))


class InflatedSource:
    """What a deflated data set inflates to. Raises zlib.error where it is broken."""

    size = 1 << 62

    def __init__(self, deflated: bytes) -> None:
        self._inflater = zlib.decompressobj(wbits=-zlib.MAX_WBITS)
        self._deflated = deflated
        self.data = b""
        self.is_complete = False
        self.grow()

    def grow(self) -> None:
        self._inflate(max(4 * len(self.data), FIRST_READ))

    def read(self, start: int, length: int) -> bytes:
        self._inflate(start + length)
        return self.data[start : start + length]

    def _inflate(self, wanted: int) -> None:
        """Inflate until there are `wanted` bytes."""
        pieces, have = [self.data], len(self.data)
        while have < wanted and not self.is_complete:
            piece = self._inflater.decompress(self._deflated, wanted - have)
            self._deflated = self._inflater.unconsumed_tail
            pieces.append(piece)
            have += len(piece)
            self.is_complete = self._inflater.eof or not (piece or self._deflated)
        self.data = b"".join(pieces)
