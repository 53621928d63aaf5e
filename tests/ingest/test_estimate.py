"""`dicom2clip plan`: what an ingestion would do, held against what it then does."""

from __future__ import annotations

from pathlib import Path

import pytest
from job_runs import pipeline, run, write_reports, write_study

from ingest.estimate import estimate
from study.config import Pipeline
from study.errors import UserError


def silent(stage: str, done: int, total: int) -> None:
    pass


@pytest.fixture
def planned(tmp_path: Path, scheduler: str) -> Pipeline:
    for number in range(5):
        write_study(tmp_path / "scans", number)
    write_reports(tmp_path / "reports.csv", range(4))
    return pipeline(tmp_path, scheduler)


def test_an_estimate_is_what_the_job_then_does(planned: Pipeline) -> None:
    found = estimate(planned, silent)
    assert not Path(planned.dataset).exists()
    assert (found.images, found.studies, found.volumes_to_convert) == (60, 5, 10)
    assert (found.studies_to_convert, found.slices_to_convert) == (5, 60)
    assert (found.tasks, found.shards_done, found.timed_studies) == (3, 0, 5)
    assert found.seconds is not None
    assert found.seconds > 0
    assert (found.reports, found.llm_requests, found.llm_cost) == (4, {}, {})
    assert any("3 tasks" in line for line in found.lines())
    result = run(planned)
    assert (result.shards_written, result.info.num_studies) == (found.tasks, found.studies)
    assert found.dataset_bytes is not None
    stored = 5 * 2 * (4 * 16 * 16 + 128)
    assert found.dataset_bytes == stored
    assert result.info.bytes > stored  # headers and metadata come on top


def test_nothing_is_left_to_do(planned: Pipeline) -> None:
    run(planned)
    found = estimate(planned, silent)
    assert (found.tasks, found.shards_done, found.slices_to_convert) == (0, 3, 0)
    assert found.lines()[-1] == "nothing to do"
    assert run(planned).nothing_to_do


def test_wrong_settings_are_refused_as_the_job_does(planned: Pipeline) -> None:
    run(planned)
    grid = planned.ingest.grid.model_copy(update={"depth": 5})
    changed = planned.model_copy(
        update={"ingest": planned.ingest.model_copy(update={"grid": grid})}
    )
    with pytest.raises(UserError, match="other settings"):
        estimate(changed, silent)
