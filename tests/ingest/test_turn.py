"""Workers that go on when their client is gone, or when their task was given to another."""

from __future__ import annotations

from functools import partial
from pathlib import Path
from typing import Any

import pytest
from job_runs import pipeline, run, write_reports, write_study

from ingest import convert, job, prepare, turn
from ingest.convert import ShardOutcome, convert_shard
from ingest.prepare import PartFacts
from study.errors import UserError


@pytest.fixture
def home(tmp_path: Path) -> Path:
    for number in range(4):
        write_study(tmp_path / "scans", number)
    write_reports(tmp_path / "reports.csv", range(4))
    return tmp_path


def files(folder: Path) -> dict[str, tuple[int, int]]:
    return {
        str(path): (path.stat().st_ino, path.stat().st_mtime_ns)
        for path in folder.rglob("*")
        if path.is_file()
    }


def test_one_turn_at_a_time(tmp_path: Path) -> None:
    first = turn.begin(tmp_path)
    turn.refuse_if_over(tmp_path, first)
    turn.refuse_if_over(tmp_path, turn.NOBODY)
    second = turn.begin(tmp_path)
    turn.refuse_if_over(tmp_path, second)
    with pytest.raises(UserError, match=f"another run has begun in {tmp_path}"):
        turn.refuse_if_over(tmp_path, first)


def test_a_shard_of_a_job_that_is_over_is_not_committed(
    home: Path, scheduler: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    """The next job begins while a worker converts: whatever the worker had is thrown away."""
    begun: list[int] = []

    def late(*arguments: Any, **settings: Any) -> ShardOutcome:
        with monkeypatch.context() as patch:

            def meanwhile(*of_study: Any) -> Any:
                if not begun:
                    begun.append(1)
                    turn.begin(home / "run")
                return convert_study(*of_study)

            convert_study = convert.convert_study
            patch.setattr(convert, "convert_study", meanwhile)
            return convert_shard(*arguments, **settings)

    with monkeypatch.context() as patch:
        patch.setattr(job, "convert_shard", late)
        with pytest.raises(UserError, match="another run has begun"):
            run(pipeline(home, scheduler))
    assert list((home / "dataset").iterdir()) == []
    assert not list((home / "run").glob("outcomes/*"))
    assert run(pipeline(home, scheduler)).shards_written == 2


def test_a_part_of_a_job_that_is_over_is_not_written(
    home: Path, scheduler: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Its images may be those of yesterday, or half of today's."""
    run(pipeline(home, scheduler))
    write_study(home / "scans", 4)
    before = files(home / "run" / "studies.parquet")

    def late(part: int, run: Path, of_turn: str) -> PartFacts:
        group = prepare.group_studies

        def meanwhile(*arguments: Any) -> Any:
            turn.begin(run)
            return group(*arguments)

        with monkeypatch.context() as patch:
            patch.setattr(prepare, "group_studies", meanwhile)
            return make(part, run, of_turn)

    make = prepare.prepare
    with monkeypatch.context() as patch:
        patch.setattr(prepare, "prepare", late)
        with pytest.raises(UserError, match="another run has begun"):
            run(pipeline(home, scheduler))
    assert files(home / "run" / "studies.parquet") == before
    assert run(pipeline(home, scheduler)).info.num_studies == 5


def test_a_task_that_was_done_by_another_worker_changes_nothing(
    home: Path, scheduler: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    """A worker that is silent for long is thought to be dead, and may still come to its end."""
    calls: list[partial[ShardOutcome]] = []

    def noted(*arguments: Any, **settings: Any) -> ShardOutcome:
        calls.append(partial(convert_shard, *arguments, **settings))
        return convert_shard(*arguments, **settings)

    monkeypatch.setattr(job, "convert_shard", noted)
    run(pipeline(home, scheduler))
    before = files(home)
    assert [call().samples for call in calls] == [2, 2]
    assert files(home) == before
