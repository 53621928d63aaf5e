"""A folder that fsspec reaches, as a `Store` (see `store`).

In: a URL. Out: files by name. A new file is written to a local temporary file first, then sent in
one piece: to its name where the service makes an object visible only when it is complete, to a
temporary name and renamed otherwise. A request that fails is made again; what fails for good is a
`StoreFailure`. Access keys and endpoints are fsspec's and the service's own affair (environment,
configuration files): they never enter a dataset.
Source: filesystem_spec, fsspec.spec.AbstractFileSystem.
"""

from __future__ import annotations

import contextlib
import io
import os
import tempfile
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any, BinaryIO, TypeVar, cast

import fsspec

from shards import files
from study.errors import UserError

ATOMIC_PUT = frozenset({"s3", "s3a", "gs", "gcs", "az", "abfs", "abfss", "oci", "r2", "oss"})
"""Services where an object appears when its last byte is there, and where renaming is a copy."""
TRIES = 3
"""Of a request to a service; errors of the network pass. s3fs asks some times more by itself."""
FIRST_PAUSE_S = 0.2
"""Before the second try; doubled before each further one."""
READ_AHEAD = 8 * 2**20
"""Bytes of one request of a stream."""
_NOT_THERE = (FileNotFoundError, IsADirectoryError, NotADirectoryError)
_REFUSED = (PermissionError, NotImplementedError, ValueError)
"""What asking again does not change."""
_BUGS = (AssertionError, AttributeError, MemoryError, TypeError)

_T = TypeVar("_T")


class StoreFailure(OSError, UserError):
    """A place that cannot be read or written: no network, no access, no room."""


class RemoteStore:
    """A folder that fsspec reaches. May be used from many threads, and pickled."""

    def __init__(self, url: str) -> None:
        self._url = url.rstrip("/") if not url.endswith("://") else url
        try:
            self._fs, self._root = fsspec.core.url_to_fs(self._url, use_listings_cache=False)
        except ImportError as error:
            how = "; `pip install 'dicom2clip[s3]'`" if url.startswith("s3") else ""
            raise UserError(f"{url}: {error}{how}") from None
        except ValueError as error:
            raise UserError(f"{url}: {error}") from None
        protocol = self._fs.protocol
        names = {protocol} if isinstance(protocol, str) else set(protocol)
        self._is_atomic = bool(names & ATOMIC_PUT)

    @property
    def url(self) -> str:
        return self._url

    def exists(self) -> bool:
        return bool(self._ask(lambda: self._fs.isdir(self._root)))

    def sizes(self) -> dict[str, int]:
        return dict(sorted(self._ask(self._list).items()))

    def size(self, name: str) -> int | None:
        try:
            return int(self._ask(lambda: self._fs.info(self._path(name)), name)["size"])
        except FileNotFoundError:
            return None

    def read(self, name: str, offset: int = 0, length: int | None = None) -> bytes:
        if length == 0:
            return b""
        path = self._path(name)
        if length is None and not offset:
            return bytes(self._ask(lambda: self._fs.cat_file(path), name))
        end = None if length is None else offset + length
        try:
            return bytes(self._ask(lambda: self._fs.cat_file(path, start=offset, end=end), name))
        except StoreFailure:
            if offset >= (self.size(name) or 0):
                return b""  # S3 answers 416 to a range beyond the end
            raise

    def open(self, name: str) -> BinaryIO:
        size = self.size(name)
        if size is None:
            raise FileNotFoundError(f"{self._url}/{name}")
        return cast(BinaryIO, io.BufferedReader(_Ranges(self, name, size), READ_AHEAD))

    def create(self, name: str) -> _RemoteFile:
        return _RemoteFile(self, name)

    def remove(self, name: str) -> None:
        try:
            self._ask(lambda: self._fs.rm_file(self._path(name)), name)
        except FileNotFoundError:
            return

    def send(self, source: str, name: str) -> None:
        """Copy a local file here. StoreFailure where it has not arrived whole."""
        last = name if self._is_atomic else files.temporary_name(Path(name)).name
        try:
            self._ask(lambda: self._send(source, last), name)
            if last != name:
                self._ask(lambda: self._fs.mv(self._path(last), self._path(name)), name)
        except BaseException as error:
            if last != name:
                self.remove(last)
            if isinstance(error, FileNotFoundError):
                raise StoreFailure(f"{self._url} cannot be written: {error}") from None
            raise

    def _send(self, source: str, name: str) -> None:
        if not self._is_atomic:  # s3fs would make a bucket of a misspelt name
            self._fs.makedirs(self._root, exist_ok=True)
        self._fs.put_file(source, self._path(name))
        sent, arrived = Path(source).stat().st_size, self._fs.info(self._path(name))["size"]
        if sent != arrived:
            self._fs.rm_file(self._path(name))
            raise OSError(f"{arrived} of {sent} bytes have arrived")

    def _ask(self, request: Callable[[], _T], name: str = "") -> _T:
        """The answer to a request, tried again after errors that may pass; StoreFailure after
        others. FileNotFoundError and its like come through."""
        pause_s, tries_left = FIRST_PAUSE_S, TRIES
        while True:
            tries_left -= 1
            try:
                return request()
            except (*_NOT_THERE, *_BUGS):
                raise
            except Exception as error:  # each service has errors of its own
                if _is_refused(error):
                    what = f"refused, check access and credentials: {_said(error)}"
                    raise StoreFailure(f"{self._where(name)}: {what}") from error
                if not tries_left:
                    what = f"failed {TRIES} times, check network and endpoint: {_said(error)}"
                    raise StoreFailure(f"{self._where(name)}: {what}") from error
            time.sleep(pause_s)
            pause_s *= 2

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

    def _where(self, name: str) -> str:
        return f"{self._url}/{name}" if name else self._url

    def __reduce__(self) -> tuple[Any, ...]:
        return RemoteStore, (self._url,)


class _Ranges(io.RawIOBase):
    """A remote file as a stream of requests for ranges."""

    def __init__(self, store: RemoteStore, name: str, size: int) -> None:
        self._store, self._name, self._size, self._position = store, name, size, 0

    def readable(self) -> bool:
        return True

    def seekable(self) -> bool:
        return True

    def seek(self, offset: int, whence: int = os.SEEK_SET) -> int:
        base = {os.SEEK_SET: 0, os.SEEK_CUR: self._position, os.SEEK_END: self._size}[whence]
        self._position = base + offset
        return self._position

    def readinto(self, buffer: Any) -> int:
        view = memoryview(buffer).cast("B")
        wanted = max(0, min(len(view), self._size - self._position))
        data = self._store.read(self._name, self._position, wanted)
        view[: len(data)] = data
        if wanted and not data:
            raise OSError(f"{self._store.url}/{self._name} ends at byte {self._position}")
        self._position += len(data)
        return len(data)


class _RemoteFile:
    """Written to a local temporary file (in TMPDIR), sent when it is complete."""

    def __init__(self, store: RemoteStore, name: str) -> None:
        self._store, self._name = store, name
        try:
            self._spool = tempfile.NamedTemporaryFile(  # noqa: SIM115  # discard closes it
                prefix="dicom2clip-", buffering=0
            )
        except OSError as error:
            raise StoreFailure(_no_room(error)) from error
        self.stream: BinaryIO = cast(BinaryIO, _Spool(self._spool.fileno()))

    def sync(self) -> None:
        self.stream.flush()

    def publish(self) -> None:
        self.sync()
        self._store.send(self._spool.name, self._name)

    def discard(self) -> None:
        try:
            with contextlib.suppress(StoreFailure):  # of a flush that failed before
                self.stream.close()
        finally:
            self._spool.close()


class _Spool(io.BufferedRandom):
    """A temporary file that says what to do when it is full."""

    def __init__(self, descriptor: int) -> None:
        super().__init__(io.FileIO(descriptor, "r+b", closefd=False))

    def write(self, data: Any) -> int:
        try:
            return super().write(data)
        except OSError as error:
            raise StoreFailure(_no_room(error)) from error

    def flush(self) -> None:
        try:
            super().flush()
        except OSError as error:
            raise StoreFailure(_no_room(error)) from error


def _no_room(error: OSError) -> str:
    place = tempfile.gettempdir()
    return f"{place}: {error.strerror}; set TMPDIR to a folder with room for a few shards"


def _is_refused(error: Exception) -> bool:
    """Whether the same request would fail again: access, or missing credentials (botocore's
    NoCredentialsError and its like are no PermissionError)."""
    return isinstance(error, _REFUSED) or "Credential" in type(error).__name__


def _said(error: Exception) -> str:
    text = str(error).strip()
    return text or type(error).__name__
