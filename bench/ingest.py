"""Ingestion with one worker and with four: CPU seconds a study, peak memory, threads.

In: a folder of DICOM (default: a made cohort). Out: JSON: for each number of workers the CPU
seconds of workers and their decoding processes, whole and less what a start takes (the same command
on the first studies alone), the ratio, and the largest peaks. Both take turns in one run, the best
of the rounds counts; datasets must be equal to the byte.

    python bench/ingest.py [--studies 60] [--rounds 3]
    python bench/ingest.py --source FOLDER --workers 2 --rounds 1
"""

from __future__ import annotations

import argparse
import hashlib
import json
import os
import platform
import shutil
import subprocess
import sys
import tempfile
from pathlib import Path
from typing import Any

import processes

from shards.catalog import read_info
from shards.store import store_at

FIRST_STUDIES = 4
"""Of the command whose time is taken for that of starting."""
COHORT = """import sys
from pathlib import Path
from ingest.cohort import write_cohort
write_cohort(Path(sys.argv[1]), num_studies=int(sys.argv[2]), seed=0, workers=1)
"""
"""Another process makes it: for this one, `ingest` is this file."""
WORKING = ("worker", "decoder")


def ingest(source: Path, work: Path, workers: int, per_shard: int) -> dict[str, Any]:
    """One ingestion from nothing."""
    shutil.rmtree(work, ignore_errors=True)
    settings = {
        "ingest.source": source,
        "ingest.valid_fraction": 0,
        "ingest.test_fraction": 0,
        "ingest.speed.workers": workers,
        "shards.studies_per_shard": per_shard,
        "dataset": work / "data",
        "run": work / "run",
    }
    command = [str(Path(sys.executable).parent / "dicom2clip"), "run", "real", "--json"]
    command += ["--stage", "ingest"]
    command += [part for key, value in settings.items() for part in ("--set", f"{key}={value}")]
    with tempfile.TemporaryFile() as output:
        taken, seconds = processes.run(command, output, os.environ)
        output.seek(0)
        said = json.loads(output.read().splitlines()[-1])
    info = read_info(store_at(str(work / "data")))
    assert info is not None
    by_role: dict[str, list[processes.Taken]] = {}
    for one in taken.values():
        by_role.setdefault(one.role, []).append(one)
    return {
        "seconds": round(seconds, 1),
        "cpu_s": {role: round(sum(t.cpu_s for t in ts), 2) for role, ts in by_role.items()},
        "peak_mb": {role: max(t.peak_bytes for t in ts) // 10**6 for role, ts in by_role.items()},
        "threads": {role: max(t.threads for t in ts) for role, ts in by_role.items()},
        "busy_threads": {role: max(t.busy_threads for t in ts) for role, ts in by_role.items()},
        "studies": info.num_studies,
        "scans": info.num_scans,
        "dataset_bytes": info.bytes,
        "sha256": _digest(work / "data"),
        "said": said,
    }


def _digest(dataset: Path) -> str:
    """Of all shards. The project keys of two runs differ, and with them names and order: what is
    compared are the arrays."""
    import tarfile

    found = []
    for file in sorted(dataset.glob("*.tar")):
        with tarfile.open(file) as tar:
            for member in tar:
                if member.name.endswith(".npy"):
                    stream = tar.extractfile(member)
                    assert stream is not None
                    found.append(hashlib.sha256(stream.read()).hexdigest())
    return hashlib.sha256("\n".join(sorted(found)).encode()).hexdigest()


def worked_s(result: dict[str, Any]) -> float:
    """CPU seconds of workers and their decoding processes."""
    return float(sum(result["cpu_s"].get(role, 0.0) for role in WORKING))


def first_studies(source: Path, work: Path, count: int) -> Path:
    """A folder with links to some studies of a made cohort."""
    target = work / "first"
    for study in sorted(path for path in source.glob("*/*") if path.is_dir())[:count]:
        shutil.copytree(study, target / study.relative_to(source), copy_function=os.link)
    return target


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--source", type=Path, default=None)
    parser.add_argument("--studies", type=int, default=60)
    parser.add_argument("--workers", type=int, nargs="+", default=[1, 4])
    parser.add_argument("--rounds", type=int, default=3)
    parser.add_argument("--per-shard", type=int, default=4)
    arguments = parser.parse_args()
    with tempfile.TemporaryDirectory() as name:
        work, source, few = Path(name), arguments.source, None
        if source is None:
            make = [sys.executable, "-P", "-c", COHORT, str(work / "cohort")]
            subprocess.run([*make, str(arguments.studies)], check=True)
            source = work / "cohort" / "dicom"
            few = first_studies(source, work, FIRST_STUDIES)
        rounds: dict[int, list[dict[str, Any]]] = {n: [] for n in arguments.workers}
        starts: dict[int, list[dict[str, Any]]] = {n: [] for n in arguments.workers}
        for _ in range(arguments.rounds):
            for workers in arguments.workers:
                rounds[workers].append(ingest(source, work / "out", workers, arguments.per_shard))
                if few is not None:  # as many shards as workers: each starts all that it needs
                    starts[workers].append(ingest(few, work / "out", workers, 1))
        print(json.dumps(report(rounds, starts), indent=1))


def report(
    rounds: dict[int, list[dict[str, Any]]], starts: dict[int, list[dict[str, Any]]]
) -> dict[str, Any]:
    """The best rounds, and ratios of the most to the fewest workers."""
    assert len({r["sha256"] for rs in rounds.values() for r in rs}) == 1, "datasets differ"
    found: dict[str, Any] = {
        "python": platform.python_version(),
        "machine": f"{platform.machine()}, {os.cpu_count()} CPUs",
        "load": [round(load, 1) for load in os.getloadavg()],
    }
    whole, marginal = {}, {}
    for workers, results in rounds.items():
        best = min(results, key=worked_s)
        whole[workers] = worked_s(best) / best["studies"]
        found[f"{workers} workers"] = {
            **best,
            "cpu_s_of_rounds": [round(worked_s(r), 1) for r in results],
            "cpu_s_a_study": round(whole[workers], 3),
        }
        if starts[workers]:
            start = min(starts[workers], key=worked_s)
            more = best["studies"] - start["studies"]
            marginal[workers] = (worked_s(best) - worked_s(start)) / more
            found[f"{workers} workers"] |= {
                "cpu_s_of_starts": [round(worked_s(r), 1) for r in starts[workers]],
                "cpu_s_a_study_without_start": round(marginal[workers], 3),
            }
    fewest, most = min(rounds), max(rounds)
    if fewest < most:
        found["ratio"] = round(whole[most] / whole[fewest], 3)
        if marginal:
            found["ratio_without_start"] = round(marginal[most] / marginal[fewest], 3)
    return found


if __name__ == "__main__":
    main()
