"""Functions that do what a decoder may do to a process. Called in a child by test_supervise."""

from __future__ import annotations

import errno
import os
import signal
import sys
import time
from pathlib import Path
from typing import Any

import numpy as np

from ingest import pixels
from ingest.pixels import read_volume
from ingest.slices import Slices
from ingest.undecodable import UndecodableError
from study.records import Reason, ScanPlan


def echo(value: Any) -> Any:
    return value


def process_id() -> int:
    return os.getpid()


def segfault() -> None:
    os.kill(os.getpid(), signal.SIGSEGV)


def killed() -> None:
    os.kill(os.getpid(), signal.SIGKILL)


def exits() -> None:
    sys.exit(3)


def abort_with_words() -> None:
    os.write(2, b"something else\nfatal: the codestream bites\n")
    os.abort()


def loops() -> None:
    while True:
        pass


def sleeps() -> None:
    time.sleep(1000)


def works(cpu_s: float) -> str:
    end = time.process_time() + cpu_s
    while time.process_time() < end:
        pass
    return "done"


def allocates() -> int:
    kept = []
    while True:
        kept.append(np.empty(1 << 26, np.uint8))


def chatters(lines: int) -> int:
    """Far more to both streams than a pipe holds."""
    for _ in range(lines):
        os.write(2, b"warning: premature end of data segment\n" * 100)
        os.write(1, b"and this to the output\n" * 100)
    return lines


def crashes_once(mark: str) -> str:
    if not Path(mark).exists():
        Path(mark).touch()
        segfault()
    return "second try"


def noted_and_fatal(book: str) -> None:
    """Leave a byte in a file, then die."""
    with open(book, "ab") as stream:
        stream.write(b".")
    os.kill(os.getpid(), signal.SIGSEGV)


def fatal_if_odd(number: int) -> int:
    if number % 2:
        segfault()
    return number * 10


def poisonous(plan: ScanPlan) -> np.ndarray:
    """read_volume, to which one series is fatal."""
    if plan.series_uid.endswith("666"):
        segfault()
    return read_volume(plan)


def reads_large(plan: ScanPlan) -> Slices:
    """read_slices where nothing is small."""
    pixels.SMALL_VOXELS = 0
    return pixels.read_slices(plan)


def array(shape: tuple[int, ...], kind: str) -> np.ndarray:
    return np.arange(np.prod(shape, dtype=np.int64), dtype=kind).reshape(shape)


def no_such_file(path: str) -> None:
    raise OSError(errno.ESTALE, "stale", path)


def undecodable() -> None:
    raise UndecodableError(Reason.UNDECODABLE_PIXELS, "frame 3")


class LocalError(Exception):
    """Cannot be unpickled: its arguments are not what it is made of."""

    def __init__(self, one: int, two: int) -> None:
        super().__init__(f"{one} and {two}")


def odd_error() -> None:
    raise LocalError(1, 2)


def unpicklable() -> Any:
    return lambda: None
