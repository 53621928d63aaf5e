"""Where the bytes of a file are: on their own, or within an archive.

In: an `Instance` or a `Slice`. Out: a binary stream of exactly its bytes. The idea: a member of an
archive is a range of bytes of a file, so nothing that reads headers or pixels knows about archives.
A member is named ARCHIVE!/MEMBER in tables.
"""

from __future__ import annotations

import io
from typing import Any, BinaryIO, Protocol

MEMBER = "!/"
"""Between the path of an archive and the name of a member."""


class Placed(Protocol):
    """What says where its bytes are: `Instance` and `Slice`."""

    @property
    def path(self) -> str: ...
    @property
    def stored_in(self) -> str: ...
    @property
    def stored_at(self) -> int: ...


def open_bytes(placed: Placed, num_bytes: int) -> BinaryIO:
    """A seekable stream over the file's bytes. Raises OSError where the file cannot be opened."""
    if not placed.stored_in:
        return open(placed.path, "rb")
    return open_range(placed.stored_in, placed.stored_at, num_bytes)


def open_range(file: str, start: int, num_bytes: int) -> BinaryIO:
    """A seekable stream over `num_bytes` of a file from `start`. Raises OSError."""
    return _Range(open(file, "rb"), start, num_bytes)


class _Range(io.RawIOBase, BinaryIO):
    """Bytes start .. start + length of a file, as a file of its own."""

    def __init__(self, file: BinaryIO, start: int, length: int) -> None:
        self._file, self._start, self._length, self._position = file, start, length, 0

    def readable(self) -> bool:
        return True

    def seekable(self) -> bool:
        return True

    def tell(self) -> int:
        return self._position

    def seek(self, offset: int, whence: int = io.SEEK_SET) -> int:
        base = {io.SEEK_SET: 0, io.SEEK_CUR: self._position, io.SEEK_END: self._length}[whence]
        self._position = max(0, base + offset)
        return self._position

    def read(self, size: int | None = -1) -> bytes:
        left = max(0, self._length - self._position)
        wanted = left if size is None or size < 0 else min(size, left)
        self._file.seek(self._start + self._position)
        data = self._file.read(wanted)
        self._position += len(data)
        return data

    def readinto(self, buffer: Any) -> int:
        data = self.read(len(buffer))
        buffer[: len(data)] = data
        return len(data)

    def close(self) -> None:
        self._file.close()
        super().close()
