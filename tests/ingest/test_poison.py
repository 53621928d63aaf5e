"""A study that ends its worker costs itself, and nothing else: not the worker's other studies, not
the job, not a byte of another shard."""

from __future__ import annotations

import os
from collections.abc import Iterator
from pathlib import Path

import cluster_tasks
import numpy as np
import pytest
from dicom_files import make_series, save

from ingest.cluster import Workers
from ingest.convert import convert_study
from ingest.group import group_study
from ingest.header import read_header
from ingest.plan import StudyTask
from ingest.poison import each_alone
from ingest.supervise import USUAL_LIMITS
from study.errors import UserError
from study.records import Reason, Rejection, Study
from study.sections import Grid, IngestSpeed, Intensity, Rules, Select

SHARDS = [("a", "b"), ("c", "kills", "d", "crashes", "endless", "e"), ("large", "f")]
"""Of studies; the third ends a worker for want of memory, and has enough on its own."""


@pytest.fixture(scope="module")
def workers() -> Iterator[Workers]:
    with Workers(IngestSpeed(workers=1, memory_limit="500MB"), say=lambda text: None) as workers:
        yield workers


def test_the_studies_that_end_workers_are_set_aside_and_no_others(workers: Workers) -> None:
    found = workers.unordered(cluster_tasks.shard, SHARDS, after_death=cluster_tasks.shard_alone)
    by_first = {str(results): results for results in found}
    samples = {s for results in by_first.values() for s in results if isinstance(s, str)}
    assert samples == {*(f"sample of {name}" for name in "abcdef"), "large 1"}
    rejected = [s for results in by_first.values() for s in results if isinstance(s, Rejection)]
    assert sorted(r.reason for r in rejected) == [
        Reason.DECODE_CRASH,
        Reason.DECODE_MEMORY,
        Reason.DECODE_MEMORY,
    ]


def test_a_worker_ended_from_outside_costs_nothing(workers: Workers, tmp_path: Path) -> None:
    mark = tmp_path / "mark"
    [pid] = workers.ordered(cluster_tasks.first_time_kills, [str(mark)])
    assert pid != os.getpid()


def test_what_ends_workers_for_ever_is_given_up_after_all_others(
    workers: Workers, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("ingest.cluster.MOST_DEATHS", 3)
    done: list[int] = []
    with pytest.raises(UserError, match=r"1 tasks ended their workers again and again"):
        done.extend(workers.unordered(cluster_tasks.half_deadly, [0, 1, 2, 3]))
    assert sorted(done) == [0, 2, 6]


def test_a_study_alone_gives_the_very_same(tmp_path: Path) -> None:
    """Otherwise the bytes would depend on who was killed when."""
    rng = np.random.default_rng(5)
    datasets = make_series(rng.integers(0, 500, (6, 16, 16)), PatientID="P")
    files = save(datasets, tmp_path)
    instances = [row for file in files for row in read_header(str(file))]
    plans = group_study(instances, Select(), Rules()).plans
    task = StudyTask("1.2", "0" * 32, "1" * 32, "train", plans, tuple("2" * 16 for _ in plans))
    settings = (Grid(depth=4, resize=16, size=16), Intensity(), USUAL_LIMITS)
    here = convert_study(task, *settings)
    with each_alone(convert_study, USUAL_LIMITS) as convert:
        there = convert(task, *settings)
    assert isinstance(here[0], Study)
    assert len(here[0].scans) == 1
    assert there == here


def test_errors_of_the_disk_are_no_fault_of_the_study() -> None:
    with (
        each_alone(cluster_tasks.disk_fails, USUAL_LIMITS) as convert,
        pytest.raises(OSError, match="the disk"),
    ):
        convert("a")
