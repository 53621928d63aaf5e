"""Jobs of batch systems: the scripts, and a run through a stand-in for SLURM."""

from __future__ import annotations

import os
import shlex
import signal
import sys
from collections.abc import Iterator
from pathlib import Path

import cluster_tasks
import pytest
from hypothesis import given
from hypothesis import strategies as st
from job_runs import fingerprints, pipeline, write_key, write_reports, write_study
from pydantic import ValidationError

from ingest.cluster import Workers
from ingest.cluster_jobqueue import LEAST_MARGIN_S, MOST_MARGIN_S, Queue, lifetime
from ingest.job import ingest
from study.cluster_sections import LEAST_WALLTIME_S, Cluster, Tls, seconds
from study.errors import UserError
from study.ingest_sections import IngestSpeed

SBATCH = """#!{bash}
# Run the script here, now, and say what sbatch says.
[ -e {folder}/full ] && {{ echo "sbatch: error: QOSMaxSubmitJobPerUserLimit" >&2; exit 1; }}
number=$(ls {folder} | grep -c script)
cp "$1" {folder}/script.$number
setsid bash {folder}/script.$number >{folder}/out.$number 2>&1 </dev/null &
echo $! > {folder}/pid.$number
echo "Submitted batch job $number"
"""
SCANCEL = """#!{bash}
kill -TERM -- -$(cat {folder}/pid.$1)
"""


def settings(system: str, **more: object) -> IngestSpeed:
    cluster = {
        "system": system,
        "queue": "short",
        "account": "radiology",
        "walltime": "02:00:00",
        "workers_per_job": 3,
        "directives": ("--constraint=avx2",),
        "prologue": ("module load python",),
        "env": {"AWS_PROFILE": "the site's"},
        "python": "/opt/env/bin/python",
        "local_directory": "/scratch/$USER",
        "interface": "lo",
        **more,
    }
    return IngestSpeed(cluster=Cluster(**cluster), memory_limit="2GB")


HEADS = {
    "slurm": """
#SBATCH -J dicom2clip
#SBATCH -e {logs}/dicom2clip-%J.err
#SBATCH -o {logs}/dicom2clip-%J.out
#SBATCH -p short
#SBATCH -A radiology
#SBATCH -n 1
#SBATCH --cpus-per-task=3
#SBATCH --mem=11445M
#SBATCH -t 02:00:00
#SBATCH --constraint=avx2""",
    "pbs": """
#PBS -N dicom2clip
#PBS -q short
#PBS -A radiology
#PBS -l select=1:ncpus=3:mem=11445mb
#PBS -l walltime=02:00:00
#PBS -e {logs}/
#PBS -o {logs}/
#PBS --constraint=avx2""",
    "lsf": """
#BSUB -J dicom2clip
#BSUB -e {logs}/dummy-name-%J.err
#BSUB -o {logs}/dummy-name-%J.out
#BSUB -q short
#BSUB -P "radiology"
#BSUB -n 3
#BSUB -R "span[hosts=1]"
#BSUB -M 12000000
#BSUB -W 02:00
#BSUB --constraint=avx2""",
}
SHELL = """
export DASK_DISTRIBUTED__WORKER__DAEMON=False
export DASK_DISTRIBUTED__COMM__TIMEOUTS__CONNECT=60s
export DASK_DISTRIBUTED__WORKER__MEMORY__TARGET=False
export DASK_DISTRIBUTED__WORKER__MEMORY__SPILL=False
export DASK_DISTRIBUTED__WORKER__MEMORY__PAUSE=False
export OMP_NUM_THREADS=1
export OPENBLAS_NUM_THREADS=1
export MKL_NUM_THREADS=1
export ITK_GLOBAL_DEFAULT_NUMBER_OF_THREADS=1
export AWS_PROFILE='the site'"'"'s'
module load python"""
WORKER = (
    "/opt/env/bin/python -m distributed.cli.dask_worker {address} --name dummy-name --nthreads 1 "
    "--memory-limit 1.86GiB --nworkers 3 --nanny --death-timeout 60 "
    "--local-directory /scratch/$USER --no-dashboard --lifetime 6480s --lifetime-stagger 360s "
    "--interface lo"
)


@pytest.mark.parametrize("system", HEADS)
def test_the_script_that_a_batch_system_gets(system: str, tmp_path: Path) -> None:
    queue = Queue(settings(system), tmp_path, lambda text: None)
    try:
        script = queue.cluster.job_script()
        address = queue.cluster.scheduler_address
    finally:
        queue.close()
    logs = tmp_path / "jobs"
    expected = "\n".join(["#!/usr/bin/env bash", HEADS[system].format(logs=logs) + SHELL])
    assert script == f"{expected}\n{WORKER.format(address=address)}\n"
    assert logs.stat().st_mode & 0o777 == 0o700
    assert address.startswith("tcp://127.0.0.1")


def test_certificates_reach_the_workers(tmp_path: Path) -> None:
    """Files by their paths; temporary ones as files that the owner alone can read."""
    speed = settings("slurm").model_copy(update={"tls": Tls(temporary=True)})
    queue = Queue(speed, tmp_path, lambda text: None)
    try:
        words = shlex.split(queue.cluster.job_script().splitlines()[-1].replace("$", ""))
        assert queue.cluster.scheduler_address.startswith("tls://")
        assert words[words.index("--protocol") + 1] == "tls://"
        for option in ("--tls-ca-file", "--tls-cert", "--tls-key"):
            file = Path(words[words.index(option) + 1])
            assert file.parent == tmp_path / "jobs"
            assert file.stat().st_mode & 0o777 == 0o600
            assert file.read_text().startswith("-----BEGIN")
    finally:
        queue.close()


@given(st.integers(LEAST_WALLTIME_S, 100 * 86400))
def test_workers_leave_before_their_job_ends(walltime_s: int) -> None:
    lifetime_s, stagger_s = lifetime(walltime_s)
    spare = walltime_s - (lifetime_s + stagger_s)
    assert LEAST_MARGIN_S // 2 <= spare <= MOST_MARGIN_S
    assert 0 < stagger_s < lifetime_s


@pytest.mark.parametrize(
    ("settings", "message"),
    [
        ({"walltime": "4h"}, "write HH:MM:SS"),
        ({"walltime": "00:09:59"}, "at least 10 minutes"),
        ({"env": {"A B": "1"}}, "'A B' is no name"),
        ({"jobs": 2, "min_jobs": 3}, "min_jobs 3 is more than jobs 2"),
        ({"system": "condor"}, "slurm"),
    ],
)
def test_what_a_cluster_may_not_be(settings: dict[str, object], message: str) -> None:
    with pytest.raises(ValidationError, match=message):
        Cluster(**settings)


def test_a_walltime_that_yaml_reads_as_a_number() -> None:
    assert Cluster(walltime=43200).walltime == "12:00:00"  # type: ignore[arg-type]
    assert seconds("12:00:00") == 43200


@pytest.fixture
def batch_system(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[Path]:
    """A folder in which sbatch keeps scripts, output and process ids of the jobs."""
    folder, programs = tmp_path / "slurm", tmp_path / "bin"
    folder.mkdir()
    programs.mkdir()
    for name, text in (("sbatch", SBATCH), ("scancel", SCANCEL)):
        program = programs / name
        program.write_text(text.format(bash="/bin/bash", folder=folder))
        program.chmod(0o755)
    monkeypatch.setenv("PATH", f"{programs}{os.pathsep}{os.environ['PATH']}")
    yield folder
    for file in folder.glob("pid.*"):
        try:
            os.killpg(int(file.read_text()), signal.SIGKILL)
        except ProcessLookupError:
            continue


def local(**more: object) -> IngestSpeed:
    """Jobs of one worker on this machine."""
    paths = os.pathsep.join([str(cluster_tasks.HERE), str(cluster_tasks.HERE.parents[1])])
    here = {"python": sys.executable, "local_directory": "", "prologue": (), "directives": ()}
    env = {"PYTHONPATH": paths, "SITE": "this one"}
    return settings("slurm", **{"workers_per_job": 1, "env": env, **here, **more})


def test_jobs_do_the_work_and_are_cancelled(batch_system: Path, tmp_path: Path) -> None:
    with Workers(local(), run=tmp_path / "run", say=lambda text: None) as workers:
        assert list(workers.ordered(cluster_tasks.double, [1, 2, 3])) == [2, 4, 6]
        [site] = workers.ordered(cluster_tasks.environment, ["SITE"])
        [pid] = [int(file.read_text()) for file in batch_system.glob("pid.*")]
        logs = tmp_path / "run" / "jobs"
        first = f"slurm: up to 1 jobs of 1 workers, 02:00:00 each; their output is in {logs}"
        assert workers.notes[:2] == [first, "waiting for the first job to start"]
        assert not any("WARNING" in note for note in workers.notes)
    assert site == "this one"
    assert cluster_tasks.ends(pid)


def test_jobs_make_the_very_dataset(batch_system: Path, tmp_path: Path, scheduler: str) -> None:
    """The whole ingestion by jobs of a batch system, and in this process."""
    write_study(tmp_path / "scans", 1)
    write_study(tmp_path / "scans", 2)
    write_reports(tmp_path / "reports.csv", range(3))
    found = []
    for name, speed in (("jobs", local()), ("here", IngestSpeed(scheduler=scheduler))):
        home = tmp_path / name
        write_key(home / "run", "33" * 32)
        (home / "scans").symlink_to(tmp_path / "scans")
        (home / "reports.csv").symlink_to(tmp_path / "reports.csv")
        ingest(pipeline(home, speed=speed), lambda stage, done, total: None)
        found.append(fingerprints(home / "dataset"))
    assert found[0] == found[1]
    assert "00000.tar" in found[0]
    assert list(batch_system.glob("script.*"))


def test_a_job_that_is_not_taken_is_said_so(batch_system: Path, tmp_path: Path) -> None:
    (batch_system / "full").touch()
    with (
        Workers(local(), run=tmp_path / "run", say=lambda text: None) as workers,
        pytest.raises(UserError, match="no job was taken: sbatch: error: QOSMaxSubmitJob"),
    ):
        list(workers.ordered(cluster_tasks.double, [1]))
