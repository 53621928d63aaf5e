"""A study that ends its worker costs itself, and nothing else: not the worker's other studies, not
the job, not a byte of another shard."""

from __future__ import annotations

import errno
import hashlib
import os
from collections.abc import Iterator
from dataclasses import replace
from pathlib import Path

import cluster_tasks
import numpy as np
import pytest
from dicom_files import make_series, save

from ingest import taskstore
from ingest.assign import ShardTask
from ingest.cluster import Workers
from ingest.convert import OUTCOMES, ShardOutcome, convert_shard, convert_study
from ingest.group import group_study
from ingest.header import read_header
from ingest.plan import StudyTask
from ingest.poison import each_alone
from ingest.supervise import USUAL_LIMITS
from study.errors import UserError
from study.ingest_sections import Grid, IngestSpeed, Intensity, Rules, Select
from study.records import Reason, Rejection, Study

SHARDS = [("a", "b"), ("c", "kills", "d", "crashes", "endless", "e"), ("large", "f")]
"""Of studies; the third ends a worker for want of memory, and has enough on its own."""


SETTINGS = (Grid(depth=4, resize=16, size=16), Intensity(), USUAL_LIMITS)


def study_task(folder: Path, uid: str) -> StudyTask:
    """A study of one small series."""
    rng = np.random.default_rng(5)
    datasets = make_series(rng.integers(0, 500, (6, 16, 16)), PatientID="P", StudyInstanceUID=uid)
    instances = [row for file in save(datasets, folder) for row in read_header(str(file))]
    plans = group_study(instances, Select(), Rules()).plans
    key = hashlib.sha256(uid.encode()).hexdigest()[:32]
    return StudyTask(uid, key, "1" * 32, "train", plans, tuple("2" * 16 for _ in plans))


@pytest.fixture(scope="module")
def workers() -> Iterator[Workers]:
    with Workers(IngestSpeed(workers=1, memory_limit="500MB"), say=lambda text: None) as workers:
        yield workers


@pytest.mark.slow
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
    task = study_task(tmp_path, "1.2")
    here = convert_study(task, *SETTINGS)
    with each_alone(convert_study, USUAL_LIMITS) as convert:
        there = convert(task, *SETTINGS)
    assert isinstance(here[0], Study)
    assert len(here[0].scans) == 1
    assert there == here


def test_errors_of_the_disk_are_no_fault_of_the_study_and_want_of_memory_is() -> None:
    with each_alone(cluster_tasks.fails, USUAL_LIMITS) as convert:
        with pytest.raises(OSError, match="Input/output error"):
            convert(errno.EIO)
        rejection = convert(errno.ENOMEM)
    assert isinstance(rejection, Rejection)
    assert rejection.reason is Reason.DECODE_MEMORY


def test_a_shard_is_made_without_the_study_that_ends_its_process(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    good = study_task(tmp_path / "good", "1.2")
    poisonous = replace(study_task(tmp_path / "bad", "1.3"), labels=cluster_tasks.Poison())
    other = study_task(tmp_path / "other", "1.4")
    monkeypatch.setattr(taskstore, "read", lambda *_: [good, poisonous, other])
    shard = ShardTask(0, (good.key, poisonous.key, other.key), "content")
    outcome = convert_shard(
        shard,
        str(tmp_path / "dataset"),
        tmp_path / "run",
        1,
        "none",
        *SETTINGS,
        alone=True,
    )
    assert outcome.samples == 2
    assert outcome.studies == {"1.3": Reason.DECODE_MEMORY}
    record = ShardOutcome.load(tmp_path / "run" / OUTCOMES, 0)
    assert record == outcome
