"""What a command and all processes below it take: CPU time, memory, threads, by role.

In: a command. Out: for every process that it started its role (client, nanny, worker, decoder,
other), CPU seconds, peak resident memory (VmHWM), and the most threads that worked. The kernel's
numbers are read ten times a second, so that a process may do a tenth of a second unseen at its end.
"""

from __future__ import annotations

import subprocess
import time
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import IO

import psutil

LOOK_EVERY_S = 0.1
BUSY_S = 0.5
"""A thread that has worked for less (heartbeats, waiting pools) is not counted."""


@dataclass
class Taken:
    """What one process has taken so far."""

    role: str
    cpu_s: float = 0.0
    peak_bytes: int = 0
    threads: int = 0
    """That exist."""
    busy_threads: int = 0
    """That have worked."""


def run(
    command: list[str], output: IO[bytes], environment: Mapping[str, str]
) -> tuple[dict[int, Taken], float]:
    """Run a command to its end: process id -> what it took, and seconds of the clock.

    Raises CalledProcessError where it fails.
    """
    started = time.monotonic()
    client = subprocess.Popen(command, stdout=output, env=environment)
    taken: dict[int, Taken] = {}
    while client.poll() is None:
        _look(client.pid, taken)
        time.sleep(LOOK_EVERY_S)
    if client.returncode not in (0, 3):  # 3: done, with rejections
        raise subprocess.CalledProcessError(client.returncode, command)
    return taken, time.monotonic() - started


def _look(client: int, taken: dict[int, Taken]) -> None:
    try:
        processes = [psutil.Process(client), *psutil.Process(client).children(recursive=True)]
    except psutil.Error:
        return
    for process in processes:
        try:
            found = taken.setdefault(process.pid, Taken(""))
            found.role = found.role or _role(process, client)
            times = process.cpu_times()
            found.cpu_s = times.user + times.system
            found.peak_bytes = max(found.peak_bytes, _peak_bytes(process.pid))
            threads = process.threads()
            found.threads = max(found.threads, len(threads))
            busy = sum(t.user_time + t.system_time > BUSY_S for t in threads)
            found.busy_threads = max(found.busy_threads, busy)
        except (psutil.Error, OSError, StopIteration):
            continue  # it has just ended


def _role(process: psutil.Process, client: int) -> str:
    if process.pid == client:
        return "client"
    line = " ".join(process.cmdline())
    if "ingest.child" in line:
        return "decoder"
    if "spawn_main" in line:
        return "worker"
    return "other" if line else ""


def _peak_bytes(pid: int) -> int:
    lines = Path(f"/proc/{pid}/status").read_text().splitlines()
    return next(int(line.split()[1]) << 10 for line in lines if line.startswith("VmHWM"))
