"""Workers on this machine: as many as there are CPUs and memory for.

In: the speed settings. Out: a dask cluster on loopback, and a line about what was chosen.
"""

from __future__ import annotations

import logging
from collections.abc import Callable
from typing import TYPE_CHECKING

from ingest import machine
from ingest.cluster_security import security_of
from study.errors import UserError
from study.ingest_sections import IngestSpeed
from study.quantities import size_bytes

if TYPE_CHECKING:
    from distributed import LocalCluster

MEMORY = {f"distributed.worker.memory.{what}": False for what in ("target", "spill", "pause")}
"""Never pause, never spill (see `ingest.worker_setup`): beyond the limit a worker is ended."""
OWN = {
    "distributed.worker.daemon": False,
    "distributed.comm.timeouts.connect": "60s",
    "distributed.scheduler.allowed-failures": 0,
    "distributed.deploy.lost-worker-timeout": "600 s",
    **MEMORY,
}
"""Of clusters that are ours. A task whose worker dies comes back at once, and the client decides
what then (see `ingest.cluster`): it would kill other workers in turn. A worker that is started
again may take far longer than dask's 15 seconds where the machine is loaded; after those it would
be closed, and not come back."""


STARTS = 2
"""Of a cluster: one worker that is ended while it starts takes the others with it."""


def local_cluster(speed: IngestSpeed, say: Callable[[str], None]) -> LocalCluster:
    """Start workers. Raises UserError where they do not start."""
    import dask
    from distributed import LocalCluster

    fit = room(speed)
    say(_chosen(speed, fit))
    dask.config.set(OWN)
    security = security_of(speed.tls)
    for left in reversed(range(STARTS)):
        try:
            return LocalCluster(
                n_workers=fit.workers,
                threads_per_worker=1,
                memory_limit=fit.memory_bytes,
                dashboard_address="127.0.0.1:0",
                silence_logs=logging.CRITICAL,
                host="127.0.0.1",
                protocol="tls://" if security else None,
                security=security,
            )
        except (RuntimeError, TimeoutError) as error:
            if not left:
                raise UserError(
                    f"the workers do not start ({error}); they were ended from outside, or the "
                    "machine is out of memory: run the same command again, perhaps with fewer "
                    "ingest.speed.workers"
                ) from None
    raise AssertionError("unreachable")


def replace_lost(cluster: LocalCluster) -> None:
    """Start workers anew whose nanny has given up: one that dies while it starts is not started
    again (distributed 2026.8), and with none left the job would wait for ever."""
    cluster.sync(_replace_lost, cluster)


async def _replace_lost(cluster: LocalCluster) -> None:
    from distributed import Status

    for name, nanny in list(cluster.workers.items()):
        if nanny.status in (Status.closed, Status.failed):
            del cluster.workers[name]
    if len(cluster.workers) < len(cluster.worker_spec):
        cluster.scale(len(cluster.worker_spec))


def room(speed: IngestSpeed) -> machine.Fit:
    """Workers that this machine has room for."""
    limit = size_bytes(speed.memory_limit)
    return machine.fit(speed.workers, limit, machine.cpus(), machine.memory_bytes())


def _chosen(speed: IngestSpeed, fit: machine.Fit) -> str:
    """The choice, and why it is not what was asked for."""
    cpus, there = machine.cpus(), machine.memory_bytes()
    text = f"workers: {fit.workers} of {_gigabytes(fit.memory_bytes)} each"
    text += f" (this machine: {cpus} CPUs, {_gigabytes(there)})"
    wanted = speed.workers or cpus
    if fit.workers < wanted:
        text += f"; there is no memory for {wanted} of ingest.speed.memory_limit"
    elif fit.memory_bytes < size_bytes(speed.memory_limit):
        text += f"; ingest.speed.memory_limit is {speed.memory_limit}, which is not there"
    return text


def _gigabytes(count: int) -> str:
    return f"{count / 1e9:.3g} GB"
