"""Where a dataset lies: a folder, or any URL that fsspec knows (s3://, gs://, memory://, ...).

In: a path or URL. Out: a `Store`, flat: names to bytes. A file is there whole or not at all: on a
disk it is written under a temporary name, fsynced and renamed; for elsewhere see `remote`.
"""

from __future__ import annotations

import os
from pathlib import Path
from typing import BinaryIO, Protocol

from shards import files
from shards.remote import RemoteStore
from study.errors import naming


class NewFile(Protocol):
    """A file that is being written. Exactly one of the two ends it; `discard` after `publish` does
    nothing."""

    stream: BinaryIO

    def sync(self) -> None:
        """Have its bytes where `publish` takes little time."""

    def publish(self) -> None:
        """Give it its name, for good."""

    def discard(self) -> None:
        """Leave no trace of it."""


class Store(Protocol):
    """Files by name, without folders. FileNotFoundError where a name is not there."""

    @property
    def url(self) -> str:
        """For people and for `store_at`."""

    def exists(self) -> bool:
        """Whether there is such a folder."""

    def sizes(self) -> dict[str, int]:
        """Bytes of all its files by name, sorted, left-over temporary ones too; empty where there
        is no such folder."""

    def size(self, name: str) -> int | None:
        """Bytes of a file; None where it is not there."""

    def read(self, name: str, offset: int = 0, length: int | None = None) -> bytes:
        """Bytes from `offset` on; fewer than `length` only at the end of the file."""

    def open(self, name: str) -> BinaryIO:
        """The file, to be read at any place."""

    def create(self, name: str) -> NewFile:
        """A new file, which replaces `name` when it is published. The folder is made if missing."""

    def remove(self, name: str) -> None:
        """Remove a file, if it is there."""


Location = Store | Path | str
"""What `store_at` takes."""


def store_at(location: Location) -> Store:
    """The store at a path or URL. UserError where fsspec does not know the protocol."""
    if isinstance(location, Path):
        return LocalStore(location)
    if not isinstance(location, str):
        return location
    if location.startswith("file://"):
        return LocalStore(Path(location.removeprefix("file://")))
    return RemoteStore(location) if is_url(location) else LocalStore(Path(location))


def is_url(location: str) -> bool:
    """Whether a place is given as a URL rather than as a path of this machine."""
    return "://" in location and not location.startswith("file://")


def write(store: Store, name: str, data: bytes) -> None:
    """Write a small file in one go."""
    with naming(f"{store.url}/{name}"):
        new = store.create(name)
        try:
            new.stream.write(data)
            new.publish()
        finally:
            new.discard()


class LocalStore:
    """A folder of this machine."""

    def __init__(self, folder: Path) -> None:
        self.folder = folder

    @property
    def url(self) -> str:
        return str(self.folder)

    def exists(self) -> bool:
        return self.folder.is_dir()

    def sizes(self) -> dict[str, int]:
        if not self.folder.is_dir():
            return {}
        with os.scandir(self.folder) as entries:
            found = {entry.name: entry.stat().st_size for entry in entries if entry.is_file()}
        return dict(sorted(found.items()))

    def size(self, name: str) -> int | None:
        path = self.folder / name
        return path.stat().st_size if path.is_file() else None

    def read(self, name: str, offset: int = 0, length: int | None = None) -> bytes:
        with (self.folder / name).open("rb") as stream:
            stream.seek(offset)
            return stream.read(-1 if length is None else length)

    def open(self, name: str) -> BinaryIO:
        return (self.folder / name).open("rb")

    def create(self, name: str) -> NewFile:
        return _LocalFile(self.folder / name)

    def remove(self, name: str) -> None:
        path = self.folder / name
        if path.exists():
            path.unlink()
            files.sync_folder(self.folder)


class _LocalFile:
    def __init__(self, path: Path) -> None:
        path.parent.mkdir(parents=True, exist_ok=True)
        self._path, self._temporary = path, files.temporary_name(path)
        self.stream: BinaryIO = self._temporary.open("xb")

    def sync(self) -> None:
        files.sync(self.stream)

    def publish(self) -> None:
        self.sync()
        self.stream.close()
        files.publish(self._temporary, self._path)

    def discard(self) -> None:
        try:
            self.stream.close()  # flushes: on a full disk that fails once more
        finally:
            self._temporary.unlink(missing_ok=True)
