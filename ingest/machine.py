"""What this machine, or the part of it that is ours, has: CPUs and memory; and how to use one
thread of it.

In: the kernel's files. Out: a number of CPUs, a number of bytes, and how many workers fit. A job of
a batch system or a container is a cgroup, perhaps within others: the smallest limit on the way up
counts. Sources: cgroups(7), cgroup-v2.rst of the kernel.
"""

from __future__ import annotations

import math
import os
import sys
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path

import psutil

CGROUPS = Path("/sys/fs/cgroup")
THREADS = dict.fromkeys(
    (
        "OMP_NUM_THREADS",
        "OPENBLAS_NUM_THREADS",
        "MKL_NUM_THREADS",
        "ITK_GLOBAL_DEFAULT_NUMBER_OF_THREADS",
    ),
    "1",
)
"""Environment of processes that are to use one thread each."""


@dataclass(frozen=True)
class Fit:
    """So many workers of so many bytes."""

    workers: int
    memory_bytes: int


def fit(asked: int, limit_bytes: int, cpus: int, memory_bytes: int) -> Fit:
    """Workers that have room: `asked` (0: one per CPU), fewer where their limits together are more
    than the memory; one at least, with what there is.

    >>> fit(0, 2 * 10**9, cpus=16, memory_bytes=9 * 10**9)
    Fit(workers=4, memory_bytes=2000000000)
    """
    workers = max(1, min(asked or cpus, memory_bytes // limit_bytes))
    return Fit(workers, min(limit_bytes, memory_bytes // workers))


def cpus(root: Path = CGROUPS, membership: Path = Path("/proc/self/cgroup")) -> int:
    """CPUs that this process may run on, or the time of as many."""
    affinity = getattr(os, "sched_getaffinity", None)
    found = len(affinity(0)) if affinity else (os.cpu_count() or 1)
    for folder in _cgroups(root, membership, "cpu"):
        quota, period = _cpu_quota(folder)
        if quota > 0 and period > 0:
            found = min(found, math.ceil(quota / period))
    return max(1, found)


def memory_bytes(root: Path = CGROUPS, membership: Path = Path("/proc/self/cgroup")) -> int:
    """Memory of the machine, or what the cgroups of this process leave of it."""
    found = int(psutil.virtual_memory().total)
    for folder in _cgroups(root, membership, "memory"):
        for name in ("memory.max", "memory.limit_in_bytes"):
            limit = _number(folder / name)
            if limit > 0:
                found = min(found, limit)
    return found


def one_thread() -> None:
    """Have libraries of this process, and the processes that it starts, use one thread: workers
    are as many as CPUs already."""
    os.environ.update(THREADS)
    if "SimpleITK" in sys.modules:
        import SimpleITK as sitk

        sitk.ProcessObject.SetGlobalDefaultNumberOfThreads(1)


def _cgroups(root: Path, membership: Path, controller: str) -> Iterator[Path]:
    """Folders of the cgroups that this process is in, innermost first: of version 2, then those of
    a version 1 controller."""
    try:
        lines = membership.read_text().splitlines()
    except OSError:
        return
    for line in lines:
        _, controllers, path = line.split(":", 2)
        if controllers and controller not in controllers.split(","):
            continue
        top = root / controllers if controllers else root
        inner = top / path.lstrip("/")
        yield from (folder for folder in (inner, *inner.parents) if folder.is_relative_to(top))
        if controllers:
            yield root / controller  # as some systems mount it


def _cpu_quota(folder: Path) -> tuple[int, int]:
    """(quota, period) in microseconds; 0 or less: no limit."""
    try:
        quota, period = (folder / "cpu.max").read_text().split()
    except (OSError, ValueError):
        return _number(folder / "cpu.cfs_quota_us"), _number(folder / "cpu.cfs_period_us")
    return (int(quota) if quota.isdigit() else 0), int(period)


def _number(file: Path) -> int:
    """The number in a file; 0 where there is none ("max")."""
    try:
        return int(file.read_text())
    except (OSError, ValueError):
        return 0
