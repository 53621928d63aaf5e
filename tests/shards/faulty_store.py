"""A file system whose requests fail as a test says, behind the URL faulty://."""

from __future__ import annotations

from pathlib import Path
from typing import Any, ClassVar

import fsspec
from fsspec.implementations.memory import MemoryFileSystem


class FaultyFileSystem(MemoryFileSystem):
    """memory:// with failures. Its plan is the class's, as its files are."""

    protocol = "faulty"
    store: ClassVar[dict[str, Any]] = {}
    pseudo_dirs: ClassVar[list[str]] = [""]
    fail: ClassVar[dict[str, int]] = {}
    """Request -> how many times it fails from now on."""
    spoil: ClassVar[dict[str, int]] = {}
    """Name of a file -> of how many readings from now on the last byte is wrong."""
    lose = 0
    """Bytes that the next file sent is short of."""
    error: Exception = ConnectionResetError("connection reset by peer")
    asked: ClassVar[list[str]] = []
    """Requests, in their order."""
    read_bytes = 0
    """By all requests."""

    def _fail(self, request: str) -> None:
        self.asked.append(request)
        if self.fail.get(request, 0):
            self.fail[request] -= 1
            raise self.error

    def cat_file(self, path: str, start: Any = None, end: Any = None, **options: Any) -> bytes:
        self._fail("cat_file")
        data: bytes = super().cat_file(path, start=start, end=end, **options)
        if self.spoil.get(Path(path).name, 0):
            self.spoil[Path(path).name] -= 1
            data = data[:-1] + bytes([data[-1] ^ 1])
        type(self).read_bytes += len(data)
        return data

    def info(self, path: str, **options: Any) -> dict[str, Any]:
        self._fail("info")
        return super().info(path, **options)

    def ls(self, path: str, detail: bool = True, **options: Any) -> Any:
        self._fail("ls")
        return super().ls(path, detail=detail, **options)

    def mv(self, path1: str, path2: str, **options: Any) -> None:
        self._fail("mv")
        super().mv(path1, path2, **options)

    def put_file(self, lpath: str, rpath: str, **options: Any) -> None:
        """Half of the file is there when it fails."""
        with open(lpath, "rb") as stream:
            data = stream.read()
        whole, cls = len(data), type(self)
        if self.fail.get("put_file"):
            data = data[: whole // 2]
        if cls.lose:
            data, cls.lose = data[: -cls.lose], 0
        self.pipe_file(rpath, data)
        self._fail("put_file")


def clean() -> type[FaultyFileSystem]:
    """An empty one, without faults."""
    cls = FaultyFileSystem
    cls.store.clear()
    cls.pseudo_dirs[:] = [""]
    cls.fail, cls.spoil, cls.lose, cls.asked, cls.read_bytes = {}, {}, 0, [], 0
    cls.error = ConnectionResetError("connection reset by peer")
    return cls


fsspec.register_implementation("faulty", FaultyFileSystem, clobber=True)
