"""Files that are there whole or not at all.

In: a path and what to write. Out: the file under its own name, only once its bytes are on the disk.
A file is written under a temporary name in the same folder, fsynced, renamed, and the folder is
fsynced: rename within a file system is atomic (POSIX), and without the second fsync a power cut may
undo it.
"""

from __future__ import annotations

import os
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import BinaryIO

TEMPORARY = ".tmp"
"""Ending of a file that is being written. It begins with a dot, so that globs for *.tar pass it
by."""


@contextmanager
def atomic_file(path: Path) -> Iterator[BinaryIO]:
    """A new file to write; it replaces `path` when the block ends, and vanishes when the block
    raises."""
    temporary = temporary_name(path)
    with temporary.open("xb") as stream:
        try:
            yield stream
            sync(stream)
        except BaseException:
            temporary.unlink()
            raise
    publish(temporary, path)


def write_atomic(path: Path, data: bytes) -> None:
    """Write a small file in one go."""
    with atomic_file(path) as stream:
        stream.write(data)


def temporary_name(path: Path) -> Path:
    """Where `path` is written before it is published. Two writers of one file never share a
    name."""
    return path.with_name(f".{path.name}.{os.urandom(6).hex()}{TEMPORARY}")


def is_temporary(path: Path) -> bool:
    """Whether a crash left this file over."""
    return path.name.startswith(".") and path.name.endswith(TEMPORARY)


def sync(stream: BinaryIO) -> None:
    """Have the bytes on the disk before anything says that they are there."""
    stream.flush()
    os.fsync(stream.fileno())


def publish(temporary: Path, path: Path) -> None:
    """Give a synced temporary file its name, for good."""
    temporary.replace(path)
    sync_folder(path.parent)


def sync_folder(folder: Path) -> None:
    """Make renames and removals in `folder` survive a power cut."""
    descriptor = os.open(folder, os.O_RDONLY)
    try:
        os.fsync(descriptor)
    finally:
        os.close(descriptor)
