"""Workers that cannot start, or that run short of memory, do not keep the job waiting."""

from __future__ import annotations

import logging
import signal
import subprocess
import sys

import cluster_tasks
import dask
import distributed
import pytest

from ingest import cluster, cluster_local, watch
from ingest.cluster import Workers
from study.errors import UserError
from study.ingest_sections import IngestSpeed


def memory_setting(what: str) -> object:
    """What a worker was started with; a function of the module, so that it can be sent."""
    return dask.config.get(f"distributed.worker.memory.{what}")


def test_a_worker_short_of_memory_is_ended_and_not_paused() -> None:
    """A paused worker takes no task, and with nothing to give back it stays paused."""
    with Workers(IngestSpeed(workers=1)) as workers:
        found = list(workers.ordered(memory_setting, ["target", "spill", "pause", "terminate"]))
        [handler] = workers.ordered(signal.getsignal, [signal.SIGINT])
    assert found == [False, False, False, 0.95]
    assert handler is signal.SIG_IGN  # a terminal sends Ctrl-C to all; the client ends workers


def test_a_worker_whose_nanny_gives_up_is_replaced(monkeypatch: pytest.MonkeyPatch) -> None:
    """As one does whose worker dies while it starts."""
    monkeypatch.setattr(watch, "LOOK_S", 0.2)
    with Workers(IngestSpeed(workers=1), say=lambda text: None) as workers:
        results = workers.unordered(cluster_tasks.slow_double, range(5))
        assert next(results) == 0
        own = distributed.Client.current().cluster
        own.sync(own.workers[0].close)
        assert sorted(results) == [2, 4, 6, 8]


def test_workers_that_do_not_start_are_said_so(monkeypatch: pytest.MonkeyPatch) -> None:
    starts: list[int] = []

    def killed(**_: object) -> None:
        starts.append(1)
        raise RuntimeError("Nanny failed to start.")

    monkeypatch.setattr(distributed, "LocalCluster", killed)
    with (
        Workers(IngestSpeed(workers=1)) as workers,
        pytest.raises(UserError, match=r"do not start \(Nanny failed to start\.\)"),
    ):
        list(workers.ordered(memory_setting, ["pause"]))
    assert len(starts) == cluster_local.STARTS


QUIETED = """
import logging
from ingest import cluster

cluster.quiet()
from distributed import Client

print([logging.getLogger(name).level for name in (*cluster.QUIET, *cluster.QUIETER)])
"""


def test_dask_stays_quiet_when_it_is_imported_late() -> None:
    """It sets the levels of its loggers then."""
    done = subprocess.run(
        [sys.executable, "-c", QUIETED], check=True, capture_output=True, text=True
    )
    errors, criticals = [logging.ERROR] * len(cluster.QUIET), [logging.CRITICAL] * 3
    assert done.stdout.strip() == str([*errors, *criticals])
