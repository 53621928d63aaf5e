"""Tasks for workers, some of which do not survive them; and the processes of a cluster."""

from __future__ import annotations

import contextlib
import errno
import os
import signal
import subprocess
import sys
import time
from collections.abc import Iterator
from pathlib import Path

import numpy as np

from ingest.poison import each_alone
from ingest.supervise import Limits
from study.records import Rejection

LIMITS = Limits(cpu_s=60, memory_bytes=10**9)
HERE = Path(__file__).parent
RUN = "import sys; from distributed.cli import {0}; sys.exit({0}.main())"


def double(number: int) -> int:
    return 2 * number


def slow_double(number: int) -> int:
    time.sleep(0.2)
    return 2 * number


def environment(name: str) -> str:
    return os.environ.get(name, "")


def first_time_kills(mark: str) -> int:
    """End the worker unless a file is there, which the call makes."""
    if not Path(mark).exists():
        Path(mark).touch()
        os.kill(os.getpid(), signal.SIGKILL)
    return os.getpid()


def half_deadly(number: int) -> int:
    if number == 2:
        os.kill(os.getpid(), signal.SIGKILL)
    return 2 * number


def disk_fails(_: str) -> str:
    raise OSError(errno.EIO, "the disk fails")


def study(name: str) -> str:
    """Convert a study, by what its name says."""
    if name == "kills":
        os.kill(os.getpid(), signal.SIGKILL)
    if name == "crashes":
        os.kill(os.getpid(), signal.SIGSEGV)
    if name == "large":  # more than a worker of 500 MB has
        held = np.ones(700_000_000, np.uint8)
        time.sleep(3.0 if _in_worker() else 0)
        return f"large {held[-1]}"
    if name == "endless":
        held_all = []
        while True:
            held_all.append(np.empty(100_000_000, np.uint8))
    return f"sample of {name}"


def _in_worker() -> bool:
    from distributed import worker

    return bool(worker.Worker._instances)


def shard(names: tuple[str, ...]) -> list[str | Rejection]:
    return [study(name) for name in names]


def shard_alone(names: tuple[str, ...]) -> list[str | Rejection]:
    with each_alone(study, LIMITS) as convert:
        return [convert(name) for name in names]


@contextlib.contextmanager
def process(program: str, *arguments: str, path: str = "") -> Iterator[subprocess.Popen[bytes]]:
    """`dask_scheduler` or `dask_worker`, as a process of its own, ended with the block."""
    paths = os.pathsep.join(p for p in (path, str(HERE), str(HERE.parents[1])) if p)
    running = subprocess.Popen(
        [sys.executable, "-c", RUN.format(program), *arguments],
        env={**os.environ, "PYTHONPATH": paths},
        stdout=subprocess.DEVNULL,
        stderr=subprocess.DEVNULL,
    )
    try:
        yield running
    finally:
        running.terminate()
        try:
            running.wait(timeout=15)
        except subprocess.TimeoutExpired:
            running.kill()
            running.wait()
