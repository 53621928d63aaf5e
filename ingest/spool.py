"""Where unpacked bytes go: one file an archive, there whole or not at all.

In: chunks of bytes and a limit. Out: a file of mode 0600 under its name, once it is published, in
a folder of mode 0700.
"""

from __future__ import annotations

import os
import re
from pathlib import Path
from types import TracebackType
from typing import BinaryIO

from ingest.members import TooLargeError
from shards.files import publish, sync, temporary_name


class CannotUnpackError(OSError):
    """The unpack folder cannot be written: a full disk, no permission."""


class Spool:
    """The one file that takes what is unpacked of an archive. Unless it is published, it vanishes
    when the block ends."""

    def __init__(self, path: Path, max_bytes: int) -> None:
        self.is_published = False
        self._path, self._max_bytes, self._position = path, max_bytes, 0
        self._temporary = temporary_name(path)
        self._file: BinaryIO | None = None

    def __enter__(self) -> Spool:
        return self

    def __exit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        trace: TracebackType | None,
    ) -> None:
        try:
            if self._file is not None:
                self._file.close()
        except OSError:
            pass  # bytes that could not be written belong to a file that goes away
        finally:
            if not self.is_published:
                self._temporary.unlink(missing_ok=True)

    def tell(self) -> int:
        return self._position

    def write(self, data: bytes) -> None:
        """Raises TooLargeError beyond the limit, CannotUnpackError where the disk refuses."""
        if self._position + len(data) > self._max_bytes:
            raise TooLargeError(more_than(self._max_bytes))
        try:
            self._open().write(data)
        except OSError as error:
            raise cannot(error, self._path) from None
        self._position += len(data)

    def back_to(self, position: int) -> None:
        """Take back what was written after `position`."""
        if position != self._position:
            try:
                self._open().seek(position)
                self._open().truncate()
            except OSError as error:
                raise cannot(error, self._path) from None
            self._position = position

    def reader(self) -> BinaryIO:
        """The stream itself, with all bytes in the file, for reading."""
        try:
            self._open().flush()
        except OSError as error:
            raise cannot(error, self._path) from None
        return self._open()

    def publish(self) -> None:
        """Put the file under its name, whole and on the disk."""
        try:
            sync(self._open())
            publish(self._temporary, self._path)
        except OSError as error:
            raise cannot(error, self._path) from None
        self.is_published = True

    def _open(self) -> BinaryIO:
        if self._file is None:
            descriptor = os.open(self._temporary, os.O_RDWR | os.O_CREAT | os.O_EXCL, 0o600)
            self._file = os.fdopen(descriptor, "w+b")
        return self._file


def make_folder(folder: str) -> None:
    """The unpack folder, which nobody else may read. Raises CannotUnpackError."""
    try:
        Path(folder).parent.mkdir(parents=True, exist_ok=True, mode=0o700)
        Path(folder).mkdir(exist_ok=True, mode=0o700)
    except OSError as error:
        raise cannot(error, Path(folder)) from None


def more_than(max_bytes: int) -> str:
    """What is said of what unpacks to more; `limit_in` reads it back."""
    return f"unpacks to more than {max_bytes} bytes"


def limit_in(text: str) -> int | None:
    """The limit that a verdict names.

    >>> limit_in(more_than(1000))
    1000
    """
    match = re.fullmatch(r"unpacks to more than (\d+) bytes", text)
    return int(match[1]) if match else None


def cannot(error: OSError, path: Path) -> CannotUnpackError:
    """The error of the disk as one that says where it was."""
    return CannotUnpackError(error.errno, error.strerror, str(path))
