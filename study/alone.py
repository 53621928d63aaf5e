"""One process at a time at work in a folder.

In: a folder. Out: a block that no other process is in for the same folder. The lock is flock(2) on
the folder itself: no file to leave behind, and it ends with the process, however that ends.
"""

from __future__ import annotations

import fcntl
import os
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from pathlib import Path

from study.errors import UserError


@contextmanager
def alone_in(folder: Path) -> Iterator[None]:
    """Raises UserError where another process is in such a block. Some network file systems lock no
    folders; nothing is held there."""
    descriptor = os.open(folder, os.O_RDONLY)
    try:
        with suppress(OSError):
            try:
                fcntl.flock(descriptor, fcntl.LOCK_EX | fcntl.LOCK_NB)
            except BlockingIOError:
                raise UserError(
                    f"another process is at work in {folder}; wait until it has ended"
                ) from None
        yield
    finally:
        os.close(descriptor)
