"""Bytes of members, into the caller's buffers.

In: a store. Out: a `Source`. A local one is `preadv` on descriptors that stay open; a remote one is
a request for the range. What keeps remote bytes on a local disk is in `cache`. All may be used from
many threads at once.
"""

from __future__ import annotations

import os
import threading
from collections import OrderedDict
from pathlib import Path
from typing import Any, Protocol

from shards.store import LocalStore, Store

MAX_OPEN_FILES = 128
"""Descriptors kept open; the usual limit of a process is 1024."""


class Source(Protocol):
    """Where the bytes of files come from."""

    def fill(self, name: str, offset: int, views: list[memoryview], *, keep: bool = True) -> int:
        """Read bytes from `offset` on into the views, one after the other.

        Returns how many were read: fewer than the views hold only where the file ends before.
        FileNotFoundError where there is no such file. `keep=False`: they will not be wanted soon
        again.
        """

    def forget(self, name: str, offset: int, length: int) -> None:
        """These bytes were wrong: the next reading must not be served from a copy."""


def source_of(store: Store) -> Source:
    """The plain way to the bytes of a store."""
    return LocalSource(store.folder) if isinstance(store, LocalStore) else RemoteSource(store)


def read_at(descriptor: int, offset: int, views: list[memoryview]) -> int:
    """`Source.fill` from an open file."""
    done, left = 0, [view for view in views if len(view)]
    while left:
        count = os.preadv(descriptor, left, offset + done)
        if count == 0:
            break
        done += count
        while left and count >= len(left[0]):
            count -= len(left.pop(0))
        if count:
            left[0] = left[0][count:]
    return done


def spread(data: bytes, views: list[memoryview]) -> int:
    """Copy bytes into the views, one after the other; returns how many."""
    whole, done = memoryview(data), 0
    for view in views:
        part = whole[done : done + len(view)]
        view[: len(part)] = part
        done += len(part)
    return done


class LocalSource:
    """Files of a folder, from the page cache straight into the buffers."""

    def __init__(self, folder: Path) -> None:
        self._folder = folder
        self._files: OrderedDict[str, _OpenFile] = OrderedDict()
        self._lock = threading.Lock()

    def fill(self, name: str, offset: int, views: list[memoryview], *, keep: bool = True) -> int:
        file = self._open(name)  # held: its descriptor closes with it
        return read_at(file.descriptor, offset, views)

    def forget(self, name: str, offset: int, length: int) -> None:
        with self._lock:
            self._files.pop(name, None)  # a file system that was remounted wants a new descriptor

    def _open(self, name: str) -> _OpenFile:
        with self._lock:
            file = self._files.get(name)
            if file is None:
                file = self._files[name] = _OpenFile(self._folder / name)
                if len(self._files) > MAX_OPEN_FILES:
                    self._files.popitem(last=False)
            self._files.move_to_end(name)
            return file

    def __reduce__(self) -> tuple[Any, ...]:
        return LocalSource, (self._folder,)


class RemoteSource:
    """One request a reading."""

    def __init__(self, store: Store) -> None:
        self._store = store

    def fill(self, name: str, offset: int, views: list[memoryview], *, keep: bool = True) -> int:
        return spread(self._store.read(name, offset, sum(len(view) for view in views)), views)

    def forget(self, name: str, offset: int, length: int) -> None:
        """Nothing is kept."""


class _OpenFile:
    """A descriptor that closes when its last user lets go: one that falls out of the cache may
    still be read from."""

    def __init__(self, path: Path) -> None:
        self.descriptor = os.open(path, os.O_RDONLY | os.O_CLOEXEC)

    def __del__(self) -> None:
        if hasattr(self, "descriptor"):
            os.close(self.descriptor)
