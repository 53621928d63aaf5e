"""Where the bytes of a file are: on their own, or within an archive.

In: an `Instance` or a `Slice`. Out: a `Place`, and a binary stream of exactly its bytes. The idea:
a member of an archive is a range of bytes of a file, so nothing that reads headers or pixels knows
about archives. A member is named ARCHIVE!/MEMBER in tables.
"""

from __future__ import annotations

import io
import os
from typing import Any, BinaryIO, NamedTuple

from study.records import Instance, Slice

MEMBER = "!/"
"""Between the path of an archive and the name of a member."""


class Place(NamedTuple):
    """A file by its name in tables, and where its bytes are."""

    path: str
    stored_in: str = ""
    """The file that holds the bytes, where that is not `path`."""
    stored_at: int = 0
    """Offset of the bytes in it."""
    num_bytes: int | None = None
    """None: not known yet, up to the end of the file."""
    mtime_ns: int | None = None
    """Of the file that holds the bytes; None: not known yet."""

    @property
    def file(self) -> str:
        """The file to open."""
        return self.stored_in or self.path

    def measured(self) -> Place:
        """With size and time, which are asked for only where they are not known. Raises OSError."""
        if self.num_bytes is not None and self.mtime_ns is not None:
            return self
        facts = os.stat(self.file)
        return self._replace(
            num_bytes=facts.st_size - self.stored_at if self.num_bytes is None else self.num_bytes,
            mtime_ns=facts.st_mtime_ns if self.mtime_ns is None else self.mtime_ns,
        )

    def size(self) -> int:
        """Bytes, asked for where they are not known. Raises OSError."""
        if self.num_bytes is None:
            return os.stat(self.file).st_size - self.stored_at
        return self.num_bytes

    def open(self) -> BinaryIO:
        """A seekable stream over the bytes. Raises OSError."""
        if not self.stored_in:
            return open(self.path, "rb")
        return open_range(self.stored_in, self.stored_at, self.size())

    def as_facts(self) -> dict[str, Any]:
        """As fields of an `Instance`; 0 for what is not known."""
        return {
            "path": self.path,
            "stored_in": self.stored_in,
            "stored_at": self.stored_at,
            "file_bytes": self.num_bytes or 0,
            "file_mtime_ns": self.mtime_ns or 0,
        }


def place_of(row: Instance | Slice) -> Place:
    """Where the file of an image or a slice is."""
    if isinstance(row, Slice):  # one that was made by hand has no size
        return Place(row.path, row.stored_in, row.stored_at, row.num_bytes or None)
    return Place(row.path, row.stored_in, row.stored_at, row.file_bytes, row.file_mtime_ns)


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
