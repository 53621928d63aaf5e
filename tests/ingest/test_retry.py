"""`ingest retry`: what failed is tried again, and only what gives something else is written."""

from __future__ import annotations

import json
import shutil
from pathlib import Path

import pydicom
import pytest
from job_runs import fingerprints, pipeline, places, run, write_key, write_reports, write_study
from typer.testing import CliRunner

import dicom2clip
from ingest import ledger
from ingest.retry import Tried, retry
from shards.reader import Dataset
from shards.verify import verify
from study import pseudonyms
from study.errors import UserError

KEY = "44" * 32


@pytest.fixture
def home(tmp_path: Path) -> Path:
    """Four studies of two series; one slice of study 1 and one of study 2 cannot be decoded."""
    write_key(tmp_path / "run", KEY)
    for number in range(4):
        write_study(tmp_path / "scans", number)
    write_reports(tmp_path / "reports.csv", range(4))
    for number in (1, 2):
        spoil(victim(tmp_path, number))
    return tmp_path


def victim(home: Path, number: int) -> Path:
    return home / "scans" / f"study{number}" / "series0" / "0002.dcm"


def spoil(file: Path) -> None:
    """A header that reads well, of pixels that nothing can decode."""
    shutil.copy(file, file.parents[3] / f"{file.parents[1].name}.good")
    dataset = pydicom.dcmread(file)
    dataset.BitsAllocated = 12
    dataset.save_as(file)


def mend(home: Path, number: int) -> None:
    shutil.copy(home / f"study{number}.good", victim(home, number))


def again(home: Path, scheduler: str) -> Tried:
    """Retry, and check that what was there is untouched and the dataset is sound."""
    before = tars(home)
    found = retry(pipeline(home, scheduler), lambda stage, done, total: None)
    after = tars(home)
    assert {name: after[name] for name in before} == before
    assert verify(home / "dataset").problems == ()
    return found


def tars(home: Path) -> dict[str, str]:
    found = fingerprints(home / "dataset")
    return {name: mark for name, mark in found.items() if name[:5].isdigit()}


def scans(home: Path, number: int) -> int:
    key = pseudonyms.pseudonym(bytes.fromhex(KEY), "study", f"1.2.{number}")
    return len(Dataset.open(home / "dataset").study(key).scans)


def test_what_can_be_read_now_goes_into_a_supplementary_shard(home: Path, scheduler: str) -> None:
    first = run(pipeline(home, scheduler))
    assert (first.sums.failures, first.info.num_shards) == (12, 2)
    assert [scans(home, n) for n in range(4)] == [2, 1, 1, 2]

    mend(home, 1)
    found = again(home, scheduler)
    assert (found.studies, found.better, found.found) == (2, 1, 0)
    assert found.as_before == {"UNDECODABLE_PIXELS": 1}
    assert found.result is not None
    assert (found.result.shards_written, found.result.info.num_shards) == (1, 3)
    assert found.result.info.num_studies == 4
    assert [scans(home, n) for n in range(4)] == [2, 2, 1, 2]
    assert found.result.sums.failures == 6
    assert found.result.sums.by_status["used"] == 4 * 12 - 6

    assert run(pipeline(home, scheduler)).nothing_to_do


def test_failures_that_stay_write_nothing(home: Path, scheduler: str) -> None:
    run(pipeline(home, scheduler))
    before, book = fingerprints(home / "dataset"), places(home)
    for _ in range(2):
        found = again(home, scheduler)
        assert (found.studies, found.better) == (2, 0)
        assert found.as_before == {"UNDECODABLE_PIXELS": 2}
        assert found.is_failing
    assert (fingerprints(home / "dataset"), places(home)) == (before, book)


def test_new_studies_wait_for_a_run_unless_their_files_had_failed(
    home: Path, scheduler: str
) -> None:
    write_study(home / "scans", 7)
    unread = {file: file.read_bytes() for file in (home / "scans" / "study7").rglob("*.dcm")}
    for file, content in unread.items():
        file.write_bytes(content[:500])
    first = run(pipeline(home, scheduler))
    assert first.sums.by_reason["TRUNCATED"] == 12
    for file, content in unread.items():
        file.write_bytes(content)
    write_study(home / "scans", 8)

    found = again(home, scheduler)
    assert (found.found, found.better) == (1, 0)
    assert scans(home, 7) == 2
    key = pseudonyms.pseudonym(bytes.fromhex(KEY), "study", "1.2.8")
    assert key not in places(home)
    rows = ledger.read(home / "run" / "ledger.parquet")
    assert {row.status for row in rows if row.study_uid == "1.2.8"} == {"used"}

    result = run(pipeline(home, scheduler))
    assert (result.shards_written, result.info.num_studies) == (1, 6)
    assert scans(home, 8) == 2


def test_a_study_whose_report_changed_is_superseded_and_not_tried(
    home: Path, scheduler: str
) -> None:
    run(pipeline(home, scheduler))
    text = (home / "reports.csv").read_text()
    (home / "reports.csv").write_text(text.replace("Finding number 1.", "A mass."))
    found = again(home, scheduler)
    assert (found.studies, found.better, found.as_before.total()) == (2, 1, 1)
    assert found.result is not None
    assert found.result.shards_written == 1


def test_a_retry_that_was_stopped_is_finished_by_a_run(
    home: Path, scheduler: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    run(pipeline(home, scheduler))
    mend(home, 1)
    with monkeypatch.context() as patch:
        patch.setattr("ingest.job._convert", _stop)
        with pytest.raises(KeyboardInterrupt):
            retry(pipeline(home, scheduler), lambda stage, done, total: None)
    result = run(pipeline(home, scheduler))
    assert result.shards_written == 1
    assert scans(home, 1) == 2
    assert again(home, scheduler).better == 0


def _stop(*_: object, **__: object) -> None:
    raise KeyboardInterrupt


def test_before_the_first_run_there_is_nothing_to_retry(home: Path) -> None:
    with pytest.raises(UserError, match="has no finished dataset"):
        retry(pipeline(home), lambda stage, done, total: None)


def test_the_command_says_what_came_of_it(home: Path, scheduler: str) -> None:
    run(pipeline(home, scheduler))
    mend(home, 1)
    config = home / "pipelines.yaml"
    settings = pipeline(home, scheduler).model_dump(mode="json", exclude={"name"})
    config.write_text(json.dumps({"test": settings}))
    call = ["ingest", "retry", "test", "-c", str(config)]
    result = CliRunner().invoke(dicom2clip.app, [*call, "--json"])
    facts = json.loads(result.stdout)
    assert result.exit_code == 3
    assert (facts["tried"], facts["better"], facts["shards_written"]) == (2, 1, 1)
    assert (facts["failed_files_before"], facts["failed_files_now"]) == (12, 6)
    mend(home, 2)
    result = CliRunner().invoke(dicom2clip.app, call)
    assert result.exit_code == 0
    assert "files with failures: 6 before, 0 now" in result.stdout
    assert "conversion had failed: 1 tried, 1 give something else now" in result.stdout
    assert "shards written: 1; the dataset has 4 studies" in result.stdout
