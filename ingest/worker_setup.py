"""What every worker is made to be, whoever started it and whenever it joins.

In: versions of the client. Out: a plugin of dask that a worker runs when it starts: one thread for
native libraries, no pausing for want of memory, and a refusal to work with other versions.
"""

from __future__ import annotations

import platform
import signal
import threading
from collections.abc import Mapping
from typing import Any

import dask
import distributed
from distributed import Status, Worker, WorkerPlugin

from ingest.machine import one_thread
from study.runlog import version_of

PLUGIN = "dicom2clip"
SHAPING = ("dicom2clip", "pydicom", "SimpleITK", "numpy")
"""Packages of which another version may make other bytes."""


def versions() -> dict[str, str]:
    """Versions on which client, scheduler and workers have to agree: those that shape what is
    made, and those that speak with each other."""
    python = ".".join(platform.python_version_tuple()[:2])
    speaking = {"python": python, "dask": dask.__version__, "distributed": distributed.__version__}
    return {**speaking, **{name: version_of(name) for name in SHAPING}}


def differences(theirs: Mapping[str, str], ours: Mapping[str, str]) -> str:
    """Versions that differ, in words; empty: none."""
    return ", ".join(
        f"{name} {theirs.get(name, 'none')} there, {version} here"
        for name, version in ours.items()
        if theirs.get(name) != version
    )


class WorkerSetup(WorkerPlugin):  # type: ignore[misc]  # distributed has no types
    """Sets a worker up. `ours`: versions of the client; `is_own`: started by this client."""

    name = PLUGIN

    def __init__(self, ours: Mapping[str, str], is_own: bool) -> None:
        self._ours, self._is_own = dict(ours), is_own
        self._fractions: dict[str, Any] = {}

    def setup(self, worker: Worker) -> None:
        """Called by the worker; an exception keeps it from joining."""
        if wrong := differences(versions(), self._ours):
            raise RuntimeError(f"other versions than the client's: {wrong}")
        one_thread()
        self._never_pause(worker)
        if self._is_own and threading.current_thread() is threading.main_thread():
            # a terminal sends Ctrl-C to all: the client answers it, which ends the workers
            signal.signal(signal.SIGINT, signal.SIG_IGN)

    def teardown(self, worker: Worker) -> None:
        """Called when the client leaves a worker that goes on: give back what was changed."""
        for name, fraction in self._fractions.items():
            setattr(worker.memory_manager, name, fraction)

    def _never_pause(self, worker: Worker) -> None:
        """A worker has one task at a time and keeps no results: one that pauses for want of memory
        gets none back, and the job would wait for ever."""
        manager: Any = worker.memory_manager
        for name in ("memory_pause_fraction", "memory_spill_fraction"):
            self._fractions[name] = getattr(manager, name)
            setattr(manager, name, False)
        if worker.status == Status.paused:
            worker.status = Status.running
