"""Tasks for workers, some of which do not survive them; and the processes of a cluster."""

from __future__ import annotations

import contextlib
import os
import signal
import subprocess
import sys
import time
from collections.abc import Iterator
from pathlib import Path

import numpy as np
import psutil
from distributed import Status, Worker, get_worker

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


def until_retired(pid: int) -> bool:
    """True at once; in process `pid`, False once its worker has been told to go."""
    while os.getpid() == pid:
        if get_worker().status != Status.running:
            time.sleep(0.5)
            return False
        time.sleep(0.1)
    return True


def environment(name: str) -> str:
    return os.environ.get(name, "")


def pausing(dask_worker: Worker) -> tuple[float, list[str]]:
    """When a worker pauses, as a share of its memory; and its plugins of ours."""
    ours = [name for name in dask_worker.plugins if "dicom2clip" in name]
    return dask_worker.memory_manager.memory_pause_fraction, ours


def first_time_kills(mark: str) -> int:
    """End the worker unless a file is there, which the call makes."""
    if not Path(mark).exists():
        Path(mark).touch()
        os.kill(os.getpid(), signal.SIGKILL)
    return os.getpid()


def blamed(_: object) -> bool:
    """What an item becomes whose worker is thought to have died of it."""
    return False


def half_deadly(number: int) -> int:
    if number == 2:
        os.kill(os.getpid(), signal.SIGKILL)
    return 2 * number


def fails(code: int) -> str:
    raise OSError(code, os.strerror(code))


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
    return bool(Worker._instances)


def die() -> None:
    os.kill(os.getpid(), signal.SIGKILL)


class Poison(dict[str, float]):
    """What ends the process that it is sent to."""

    def __reduce__(self) -> tuple[object, ...]:
        return die, ()


def shard(names: tuple[str, ...]) -> list[str | Rejection]:
    return [study(name) for name in names]


def shard_alone(names: tuple[str, ...]) -> list[str | Rejection]:
    with each_alone(study, LIMITS) as convert:
        return [convert(name) for name in names]


def ends(pid: int) -> bool:
    """Whether a process ends within some seconds."""
    for _ in range(200):
        if not psutil.pid_exists(pid) or psutil.Process(pid).status() == psutil.STATUS_ZOMBIE:
            return True
        time.sleep(0.1)
    return False


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
