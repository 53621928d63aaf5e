"""Workers as jobs of a batch system: SLURM, PBS or LSF, by dask-jobqueue.

In: the settings of `ingest.speed.cluster`. Out: a cluster that keeps the wanted number of jobs
running for as long as there is work. Walltimes are safe: workers leave before their job ends, at
staggered times; what they were at is done again by others, and counts against no study. Source:
jobqueue.dask.org, "How to handle job queueing system walltime killing workers".
"""

from __future__ import annotations

import os
import shlex
from collections.abc import Callable, Mapping
from pathlib import Path
from typing import TYPE_CHECKING, Any

from ingest.cluster_local import OWN
from ingest.cluster_security import security_of
from ingest.machine import THREADS
from study import private
from study.cluster_sections import Cluster, seconds
from study.errors import UserError
from study.ingest_sections import IngestSpeed
from study.quantities import size_bytes

if TYPE_CHECKING:
    from dask_jobqueue.core import JobQueueCluster

NAMES = {"slurm": "SLURM", "pbs": "PBS", "lsf": "LSF"}
JOB = "dicom2clip"
LEAST_MARGIN_S, MOST_MARGIN_S = 120, 900
"""Between a worker's leave and the end of its job: a tenth of the walltime within these."""
LOOK_S = 10
"""Between looks whether a job has to be submitted."""


class Queue:
    """A cluster of jobs; `refusals` holds what the batch system said when it took none."""

    def __init__(self, speed: IngestSpeed, run: Path | None, say: Callable[[str], None]) -> None:
        """Start a scheduler here.

        Raises UserError where dask-jobqueue is missing, or a folder cannot be made.
        """
        import dask

        self.refusals: list[str] = []
        self.most_workers = speed.cluster.jobs * speed.cluster.workers_per_job
        dask.config.set(OWN)
        made, job = _classes(speed.cluster.system)
        security = security_of(speed.tls)
        shared = str(_log_folder(speed.cluster, run))  # nodes have to reach it
        self.cluster: JobQueueCluster = made(
            job_cls=_watched(job, self._refused),
            security=security,
            shared_temp_directory=shared,
            scheduler_options={"dashboard_address": "127.0.0.1:0"},
            **job_settings(speed, shared),
        )
        self._jobs, self._shared, self._say = speed.cluster, shared, say

    def submit(self) -> None:
        """Submit the first jobs, and others whenever some have ended or more could be used."""
        jobs = self._jobs
        self._say(
            f"{jobs.system}: up to {jobs.jobs} jobs of {jobs.workers_per_job} workers, "
            f"{jobs.walltime} each; their output is in {self._shared}"
        )
        self.cluster.scale(jobs=jobs.min_jobs)
        self.cluster.adapt(
            minimum_jobs=jobs.min_jobs, maximum_jobs=jobs.jobs, interval=f"{LOOK_S}s"
        )

    def look(self) -> None:
        """Raises UserError where the batch system has taken no job."""
        if self.refusals:
            raise UserError(f"ingest.speed.cluster: no job was taken: {self.refusals[-1]}")

    def close(self) -> None:
        """Cancel the jobs and end the scheduler."""
        self.cluster.close()

    def _refused(self, name: object, words: str) -> None:
        """Note a job that was not taken, and forget it: the next look submits another."""
        if not self.refusals or self.refusals[-1] != words:
            self._say(f"a job was not taken, trying again: {words}")
        self.refusals.append(words)
        self.cluster.worker_spec.pop(name, None)


def job_settings(speed: IngestSpeed, log_directory: str) -> dict[str, Any]:
    """What dask-jobqueue is to put into its scripts."""
    jobs = speed.cluster
    limit = size_bytes(speed.memory_limit) * jobs.workers_per_job
    asked = size_bytes(jobs.memory) if jobs.memory else 2 * limit
    lifetime_s, stagger_s = lifetime(seconds(jobs.walltime))
    return {
        "job_name": JOB,
        "cores": jobs.workers_per_job,
        "processes": jobs.workers_per_job,
        "memory": f"{limit}B",
        "queue": jobs.queue or None,
        "python": jobs.python or None,
        "interface": jobs.interface or None,
        "local_directory": jobs.local_directory or None,
        "log_directory": log_directory,
        "job_extra_directives": list(jobs.directives),
        "job_script_prologue": [*_exports(jobs.env), *jobs.prologue],
        "worker_extra_args": [
            "--no-dashboard",
            *("--lifetime", f"{lifetime_s}s"),
            *("--lifetime-stagger", f"{stagger_s}s"),
        ],
        **_asked(jobs, asked),
    }


def lifetime(walltime_s: int) -> tuple[int, int]:
    """(lifetime, stagger) of a worker in seconds. It leaves at lifetime +- stagger, at the latest
    half a margin before its job ends; the other half is for the job's start and the worker's end.

    >>> lifetime(4 * 3600)
    (13500, 450)
    """
    margin = min(MOST_MARGIN_S, max(LEAST_MARGIN_S, walltime_s // 10))
    return walltime_s - margin, margin // 2


def _asked(jobs: Cluster, memory_bytes: int) -> dict[str, Any]:
    """Memory, walltime and account, as each batch system calls them."""
    if jobs.system == "slurm":
        mebibytes = -(-memory_bytes // 2**20)
        return {
            "job_mem": f"{mebibytes}M",
            "walltime": jobs.walltime,
            "account": jobs.account or None,
        }
    if jobs.system == "pbs":
        mebibytes = -(-memory_bytes // 2**20)
        select = f"select=1:ncpus={jobs.workers_per_job}:mem={mebibytes}mb"
        return {
            "resource_spec": select,
            "walltime": jobs.walltime,
            "account": jobs.account or None,
        }
    return {
        "mem": memory_bytes,
        "walltime": jobs.walltime.rpartition(":")[0],  # LSF knows no seconds
        "project": jobs.account or None,
    }


def _exports(env: Mapping[str, str]) -> list[str]:
    """Shell that sets the environment of the workers: dask's settings, one thread, the user's."""
    settings = {
        "DASK_" + key.upper().replace(".", "__").replace("-", "_"): str(value)
        for key, value in OWN.items()
        if key.startswith(("distributed.worker", "distributed.comm"))
    }
    return [
        f"export {name}={shlex.quote(value)}"
        for name, value in {**settings, **THREADS, **env}.items()
    ]


def _log_folder(jobs: Cluster, run: Path | None) -> Path:
    """Where jobs write their output, made for its owner alone: it may name files."""
    folder = Path(jobs.log_directory) if jobs.log_directory else (run or Path.cwd()) / "jobs"
    try:
        private.private_folder(folder.resolve())
    except OSError as error:
        raise UserError(
            f"ingest.speed.cluster.log_directory: cannot make {folder}: {error}"
        ) from None
    return folder.resolve()


def _classes(system: str) -> tuple[Any, Any]:
    """dask-jobqueue's cluster and job of a batch system."""
    try:
        import dask_jobqueue
        from dask_jobqueue import lsf, pbs, slurm
    except ImportError:
        raise UserError(
            "ingest.speed.cluster needs the package dask-jobqueue: "
            "pip install 'dicom2clip[jobqueue]'"
        ) from None
    jobs = {"slurm": slurm.SLURMJob, "pbs": pbs.PBSJob, "lsf": lsf.LSFJob}
    return getattr(dask_jobqueue, f"{NAMES[system]}Cluster"), jobs[system]


def _watched(job: Any, refused: Callable[[object, str], None]) -> Any:
    """The job class, which tells when the batch system does not take a job: dask only logs it."""

    class Watched(job):  # type: ignore[misc]  # dask-jobqueue has no types
        async def start(self) -> None:
            from distributed import Status

            try:
                await super().start()
            except (RuntimeError, OSError, ValueError) as error:
                self.status = Status.failed
                refused(self.name, _words(error))
                raise

    return Watched


def _words(error: Exception) -> str:
    """What a batch system said, of dask-jobqueue's account of it."""
    text = str(error)
    said = text.rpartition("stderr:\n")[2].strip() or text
    return " ".join(said.split())[:500] if os.linesep in text else text
