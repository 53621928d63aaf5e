"""What `ingest.speed` may say about where workers run: jobs of a batch system, and encryption.

In: the values of `ingest.speed.cluster` and `ingest.speed.tls`. Out: typed, checked settings; they
change how fast ingestion goes, never what it makes.
"""

from __future__ import annotations

import re
from collections.abc import Mapping
from typing import Literal

from pydantic import field_validator, model_validator

from study.quantities import Positive, Size
from study.section import Section

LEAST_WALLTIME_S = 600
"""Shorter jobs would spend themselves on starting and ending."""


class Tls(Section):
    """Encryption between client, scheduler and workers. The files are PEM; each party shows a
    certificate that `ca` has signed, and takes no one who shows none."""

    ca: str = ""
    """Certificate of the authority."""
    cert: str = ""
    """Certificate of this user."""
    key: str = ""
    """Private key of that certificate; readable by its owner alone."""
    temporary: bool = False
    """Make a key for this run: for workers that ingestion starts itself (on this machine, or by
    `cluster`), not for a `scheduler` that runs already. Needs the package `cryptography`."""

    @model_validator(mode="after")
    def _all_or_none(self) -> Tls:
        files = [self.ca, self.cert, self.key]
        if any(files) and not all(files):
            raise ValueError("tls needs three files: ca, cert and key")
        if self.temporary and any(files):
            raise ValueError("tls: either files (ca, cert, key) or temporary: true")
        return self

    @property
    def is_on(self) -> bool:
        return self.temporary or bool(self.ca)


class Cluster(Section):
    """Workers as jobs of a batch system, submitted from where the command runs."""

    system: Literal["", "slurm", "pbs", "lsf"] = ""
    """The batch system; empty: none."""
    queue: str = ""
    """Queue, or partition; empty: the site's default."""
    account: str = ""
    """Account, or project, that is charged; empty: the user's default."""
    walltime: str = "04:00:00"
    """Of one job, as HH:MM:SS, 10 minutes at least. Workers leave before it ends, and others take
    their place."""
    jobs: Positive = 1
    """Jobs at a time, at most."""
    min_jobs: Positive = 1
    """Jobs that are kept even when there is little to do."""
    workers_per_job: Positive = 4
    """Worker processes in a job; a CPU is asked for each."""
    memory: Size | Literal[""] = ""
    """Asked for a job. Empty: `memory_limit` twice a worker, for itself and for its decoding
    process."""
    directives: tuple[str, ...] = ()
    """More directives for the head of the script, as in "--constraint=avx2"."""
    prologue: tuple[str, ...] = ()
    """Lines of shell before the workers start, as in "module load gcc"."""
    env: Mapping[str, str] = {}
    """Environment variables of the workers. They stand in the script: no place for passwords."""
    python: str = ""
    """Python that has dicom2clip installed, on the nodes; empty: the path of this one."""
    local_directory: str = ""
    """Fast folder on the nodes for the workers' own files, as in /scratch/$USER."""
    interface: str = ""
    """Network interface, as in ib0, by which nodes and this machine reach each other."""
    log_directory: str = ""
    """Where jobs write their output; empty: the folder `jobs` of the run folder."""

    @field_validator("walltime", mode="before")
    @classmethod
    def _read_walltime(cls, value: object) -> object:
        """YAML reads 12:00:00 without quotes as a number of seconds."""
        if isinstance(value, int) and not isinstance(value, bool):
            return f"{value // 3600:02}:{value // 60 % 60:02}:{value % 60:02}"
        return value

    @field_validator("walltime")
    @classmethod
    def _long_enough(cls, text: str) -> str:
        if not re.fullmatch(r"\d{1,4}:[0-5]\d:[0-5]\d", text):
            raise ValueError(f"walltime {text!r}: write HH:MM:SS")
        if seconds(text) < LEAST_WALLTIME_S:
            raise ValueError(f"walltime {text}: at least {LEAST_WALLTIME_S // 60} minutes")
        return text

    @field_validator("env")
    @classmethod
    def _names(cls, env: Mapping[str, str]) -> Mapping[str, str]:
        for name in env:
            if not re.fullmatch(r"[A-Za-z_]\w*", name, re.ASCII):
                raise ValueError(f"env: {name!r} is no name of an environment variable")
        return env

    @model_validator(mode="after")
    def _fewest_below_most(self) -> Cluster:
        if self.min_jobs > self.jobs:
            raise ValueError(f"min_jobs {self.min_jobs} is more than jobs {self.jobs}")
        return self


def seconds(walltime: str) -> int:
    """Of a walltime.

    >>> seconds("04:30:15")
    16215
    """
    hours, minutes, rest = (int(part) for part in walltime.split(":"))
    return hours * 3600 + minutes * 60 + rest
