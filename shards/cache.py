"""A local cache of what is read from a remote dataset, of limited size.

In: a store far away, a folder near by, a limit in bytes. Out: a `Source`. What is kept is what was
asked for: a member, in a file of its own, so that exactly the chosen scans are fetched, each in one
request. The folder is all the state there is: files appear whole, by renaming, and their times say
when they were last read. So the processes of a machine share it, and a crash does no harm. A file's
name begins with its tar's SHA-256, by the commit record: a shard that was replaced is another one.
What the disk spoils the reader finds by its CRC; `forget` then has it fetched again. Source: ccache
keeps its files so.
"""

from __future__ import annotations

import contextlib
import fcntl
import json
import logging
import os
import threading
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

from shards import commit, files
from shards.source import read_at, spread
from shards.store import Store
from study.private import private_folder

LOOKS = 128
"""A process looks at the folder each time it has added the LOOKS-th part of the limit."""
PROCESSES = 8
"""So many may share a folder and keep the limit between them: each has that part to go between two
looks."""
STALE_S = 3600.0
"""Age of a temporary file that nobody writes any more."""
LOCK_FILE = ".lock"


@dataclass(frozen=True)
class CacheCounts:
    """What a `CachedSource` has done so far."""

    fetches: int = 0
    """Requests for members."""
    fetched_bytes: int = 0
    hits: int = 0
    """Members that were there."""
    hit_bytes: int = 0
    evictions: int = 0
    """Members removed to make room, by this process."""


class CachedSource:
    """Members of a remote dataset, kept in `folder`, at most `limit_bytes` of them; 0 keeps none.

    The least recently read ones go first. Where the folder cannot be written, `warn` is told once
    and members are read from afar each time.
    """

    def __init__(
        self,
        store: Store,
        folder: Path,
        limit_bytes: int,
        warn: Callable[[str], None] = logging.getLogger(__name__).warning,
    ) -> None:
        self._store, self._folder, self._limit, self._warn = store, folder, limit_bytes, warn
        self._counts = CacheCounts()
        self._lock = threading.Lock()
        self._looking = threading.Lock()
        self._fetching: dict[Path, _Turn] = {}
        self._tars: dict[str, str] = {}
        """Name of a tar -> its SHA-256."""
        self._keeps = limit_bytes > 0
        self._to_go = 0
        """Bytes that may be added before the next look."""
        if self._keeps:
            try:
                private_folder(folder)
                self._look()
            except OSError as error:
                self._give_up(error)

    @property
    def counts(self) -> CacheCounts:
        return self._counts

    def fill(self, name: str, offset: int, views: list[memoryview], *, keep: bool = True) -> int:
        length = sum(len(view) for view in views)
        file = self._file(name, offset, length) if keep and length <= self._limit else None
        if file is None:
            return self._fetch(name, offset, length, views)[0]
        if self._read(file, length, views):
            return length
        with self._turn(file):
            if self._read(file, length, views):  # fetched while we waited
                return length
            count, data = self._fetch(name, offset, length, views)
            if count == length:
                self._keep(file, data)
        return count

    def forget(self, name: str, offset: int, length: int) -> None:
        file = self._file(name, offset, length)
        if file is not None:
            with contextlib.suppress(OSError):
                file.unlink()
        with self._lock:
            self._tars.pop(name, None)

    def _file(self, name: str, offset: int, length: int) -> Path | None:
        """Where a member is kept; None where there is no record that tells tars of a name apart."""
        sha256 = self._tars.get(name)
        if sha256 is None:
            sha256 = self._sha256(name)
            with self._lock:
                self._tars[name] = sha256
        return self._folder / f"{sha256[:16]}-{offset}-{length}" if sha256 else None

    def _sha256(self, name: str) -> str:
        try:
            record = json.loads(self._store.read(commit.stats_name(int(Path(name).stem))))
            return str(record["tar_sha256"])
        except (FileNotFoundError, ValueError, KeyError, TypeError):
            return ""

    def _read(self, file: Path, length: int, views: list[memoryview]) -> bool:
        """Whether the member was there."""
        try:
            descriptor = os.open(file, os.O_RDONLY | os.O_CLOEXEC)
        except OSError:
            return False
        try:
            if os.fstat(descriptor).st_size != length:  # a power cut may leave that
                return False
            if read_at(descriptor, 0, views) != length:
                return False
            with contextlib.suppress(OSError):  # another user's file: it ages, no more
                os.utime(descriptor)
        except OSError:
            return False
        finally:
            os.close(descriptor)
        self._count(hits=1, hit_bytes=length)
        return True

    def _fetch(
        self, name: str, offset: int, length: int, views: list[memoryview]
    ) -> tuple[int, bytes]:
        data = self._store.read(name, offset, length)
        self._count(fetches=1, fetched_bytes=len(data))
        return spread(data, views), data

    def _keep(self, file: Path, data: bytes) -> None:
        if not self._keeps:
            return
        temporary = files.temporary_name(file)
        try:
            with temporary.open("xb", buffering=0) as stream:
                left = memoryview(data)
                while left:
                    left = left[stream.write(left) :]
            temporary.replace(file)
            with self._lock:
                self._to_go -= len(data)
            with self._looking:  # while one looks, nobody adds more than he is adding now
                if self._to_go < 0:
                    self._look()
        except OSError as error:
            with contextlib.suppress(OSError):
                temporary.unlink(missing_ok=True)
            self._give_up(error)

    def _look(self) -> None:
        """See what all processes have put into the folder, and remove the oldest of it where that
        is more than fits."""
        with self._lock:
            self._to_go = self._limit // LOOKS
        with (self._folder / LOCK_FILE).open("ab") as lock:
            fcntl.flock(lock, fcntl.LOCK_EX)
            found = sorted(self._members())
            total = sum(size for _, size, _ in found)
            room = self._limit * PROCESSES // LOOKS
            gone = 0
            for _, size, path in found:
                if total <= self._limit - room:
                    break
                Path(path).unlink(missing_ok=True)
                total, gone = total - size, gone + 1
        self._count(evictions=gone)

    def _members(self) -> Iterator[tuple[int, int, str]]:
        """Time of the last reading, size and path of what is kept. Removes left-over temporary
        files."""
        stale_ns = time.time_ns() - int(STALE_S * 1e9)
        with os.scandir(self._folder) as entries:
            for entry in entries:
                with contextlib.suppress(FileNotFoundError):  # forgotten meanwhile
                    facts = entry.stat()
                    if entry.name == LOCK_FILE or not entry.is_file():
                        continue
                    if files.is_temporary(Path(entry.name)) and facts.st_mtime_ns < stale_ns:
                        os.unlink(entry.path)
                    else:
                        yield facts.st_mtime_ns, facts.st_size, entry.path

    def _give_up(self, error: OSError) -> None:
        with self._lock:
            is_first, self._keeps = self._keeps, False
        if is_first:
            self._warn(
                f"{self._folder}: {error.strerror or error}; what is read from {self._store.url} "
                "is no longer kept"
            )

    def _count(self, **more: int) -> None:
        with self._lock:
            now = self._counts
            self._counts = replace(now, **{k: getattr(now, k) + n for k, n in more.items()})

    @contextmanager
    def _turn(self, file: Path) -> Iterator[None]:
        """One fetch of a member at a time."""
        with self._lock:
            turn = self._fetching.setdefault(file, _Turn())
            turn.wanted += 1
        try:
            with turn.lock:
                yield
        finally:
            with self._lock:
                turn.wanted -= 1
                if not turn.wanted:
                    del self._fetching[file]

    def __reduce__(self) -> tuple[Any, ...]:
        return CachedSource, (self._store, self._folder, self._limit)


class _Turn:
    """Who fetches a member, and how many want to."""

    def __init__(self) -> None:
        self.lock = threading.Lock()
        self.wanted = 0
