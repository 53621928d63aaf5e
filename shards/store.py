"""Where a dataset lies: a folder, or any URL that fsspec knows (s3://, gs://, memory://, ...).

In: a path or URL. Out: a `Store`, flat: names to bytes. A file is there whole or not at all: on a
disk it is written under a temporary name, fsynced and renamed; elsewhere it is written to a local
temporary file first, then sent in one piece, to its name where the service makes an object visible
only when it is complete, to a temporary name and renamed otherwise. Access keys and endpoints are
fsspec's and the service's own affair (environment, configuration files): they never enter a
dataset.
Source: filesystem_spec, fsspec.spec.AbstractFileSystem.
"""

from __future__ import annotations

import os
import tempfile
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any, BinaryIO, Protocol, TypeVar, cast

import fsspec

from shards import files
from study.errors import UserError

ATOMIC_PUT = frozenset({"s3", "s3a", "gs", "gcs", "az", "abfs", "abfss", "oci", "r2", "oss"})
"""Services where an object appears when its last byte is there, and where renaming is a copy."""
TRIES = 4
"""Of a request to a service; errors of the network pass."""
FIRST_PAUSE_S = 0.2
"""Before the second try; doubled before each further one."""
_FINAL = (FileNotFoundError, PermissionError, IsADirectoryError, NotADirectoryError)

_T = TypeVar("_T")


class NewFile(Protocol):
    """A file that is being written. Exactly one of the two ends it; `discard` after `publish` does
    nothing."""

    stream: BinaryIO

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

    def publish(self) -> None:
        files.sync(self.stream)
        self.stream.close()
        files.publish(self._temporary, self._path)

    def discard(self) -> None:
        try:
            self.stream.close()  # flushes: on a full disk that fails once more
        finally:
            self._temporary.unlink(missing_ok=True)


class RemoteStore:
    """A folder that fsspec reaches. May be used from many threads, and pickled."""

    def __init__(self, url: str) -> None:
        self._url = url.rstrip("/") if not url.endswith("://") else url
        try:
            self._fs, self._root = fsspec.core.url_to_fs(self._url, use_listings_cache=False)
        except (ImportError, ValueError) as error:
            raise UserError(f"{url}: {error}") from None
        protocol = self._fs.protocol
        names = {protocol} if isinstance(protocol, str) else set(protocol)
        self._is_atomic = bool(names & ATOMIC_PUT)

    @property
    def url(self) -> str:
        return self._url

    def exists(self) -> bool:
        return bool(_retried(lambda: self._fs.isdir(self._root)))

    def sizes(self) -> dict[str, int]:
        return dict(sorted(_retried(self._list).items()))

    def size(self, name: str) -> int | None:
        try:
            return int(_retried(lambda: self._fs.info(self._path(name)))["size"])
        except FileNotFoundError:
            return None

    def read(self, name: str, offset: int = 0, length: int | None = None) -> bytes:
        end = None if length is None else offset + length
        if length == 0:
            return b""
        return bytes(_retried(lambda: self._fs.cat_file(self._path(name), offset, end)))

    def open(self, name: str) -> BinaryIO:
        return cast(BinaryIO, _retried(lambda: self._fs.open(self._path(name), "rb")))

    def create(self, name: str) -> NewFile:
        return _RemoteFile(self, name)

    def remove(self, name: str) -> None:
        try:
            _retried(lambda: self._fs.rm_file(self._path(name)))
        except FileNotFoundError:
            return

    def send(self, source: str, name: str) -> None:
        """Copy a local file here. OSError where fewer bytes have arrived than were sent."""
        last = name if self._is_atomic else files.temporary_name(Path(name)).name
        try:
            _retried(lambda: self._send(source, last))
            if last != name:
                _retried(lambda: self._fs.mv(self._path(last), self._path(name)))
        except BaseException:
            if last != name:
                self.remove(last)
            raise

    def _send(self, source: str, name: str) -> None:
        self._fs.makedirs(self._root, exist_ok=True)
        self._fs.put_file(source, self._path(name))
        sent, arrived = Path(source).stat().st_size, self._fs.info(self._path(name))["size"]
        if sent != arrived:
            raise OSError(f"{self._url}/{name}: {arrived} of {sent} bytes have arrived")

    def _list(self) -> dict[str, int]:
        try:
            found: list[dict[str, Any]] = self._fs.ls(self._root, detail=True)
        except (FileNotFoundError, NotADirectoryError):
            return {}
        files_ = [item for item in found if item["type"] == "file"]
        sizes = {item["name"].rsplit("/", 1)[-1]: int(item["size"]) for item in files_}
        return {name: size for name, size in sizes.items() if name}

    def _path(self, name: str) -> str:
        return f"{self._root.rstrip('/')}/{name}"

    def __reduce__(self) -> tuple[Any, ...]:
        return RemoteStore, (self._url,)


class _RemoteFile:
    """Written to a local temporary file (in TMPDIR), sent when it is complete."""

    def __init__(self, store: RemoteStore, name: str) -> None:
        self._store, self._name = store, name
        spool = tempfile.NamedTemporaryFile(prefix="dicom2clip-")  # noqa: SIM115  # discard closes
        self._path = spool.name
        self.stream: BinaryIO = cast(BinaryIO, spool)

    def publish(self) -> None:
        self.stream.flush()
        self._store.send(self._path, self._name)

    def discard(self) -> None:
        self.stream.close()


def _retried(call: Callable[[], _T]) -> _T:
    """The result of a request, tried again after errors that may pass."""
    pause_s = FIRST_PAUSE_S
    for _ in range(TRIES - 1):
        try:
            return call()
        except _FINAL:
            raise
        except OSError:
            time.sleep(pause_s)
            pause_s *= 2
    return call()
