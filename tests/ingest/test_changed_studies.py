"""Studies that change after they were written: their sample is superseded, nothing is rewritten."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest
from job_runs import fingerprints, pipeline, places, run, write_key, write_reports, write_study

from ingest import ledger
from ingest.job import JobResult
from shards.reader import Dataset
from study import pseudonyms
from study.config import Pipeline
from study.records import Study

KEY = "66" * 32


def build(home: Path) -> None:
    """Five studies with reports and labels: shards of two, two and one."""
    write_key(home / "run", KEY)
    for number in range(5):
        write_study(home / "scans", number, num_series=1)
    write_reports(home / "reports.csv", range(5))
    write_labels(home, {})


def write_labels(home: Path, values: dict[int, int]) -> None:
    rows = [f"1.2.{n},{values.get(n, 0)}" for n in range(5)]
    (home / "labels.csv").write_text("\n".join(["StudyInstanceUID,mass", *rows]) + "\n")


def addendum(home: Path, number: int) -> None:
    text = (home / "reports.csv").read_text()
    old = f"Finding number {number}. No bleed."
    (home / "reports.csv").write_text(text.replace(old, f"{old} A small mass."))


def settings(home: Path, scheduler: str) -> Pipeline:
    return pipeline(home, scheduler, labels=str(home / "labels.csv"))


def tars(home: Path) -> dict[str, str]:
    found = fingerprints(home / "dataset")
    return {n: f for n, f in found.items() if n[:5].isdigit()}


def study(home: Path, number: int) -> Study:
    key = pseudonyms.pseudonym(bytes.fromhex(KEY), "study", f"1.2.{number}")
    return Dataset.open(home / "dataset").study(key)


def again(home: Path, scheduler: str) -> JobResult:
    """Run, check that what was there is untouched, and that one run more does nothing."""
    before = tars(home)
    result = run(settings(home, scheduler))
    after = tars(home)
    assert {name: after[name] for name in before} == before
    assert run(settings(home, scheduler)).nothing_to_do
    assert tars(home) == after
    return result


def test_late_series_addendum_labels_and_new_studies(tmp_path: Path, scheduler: str) -> None:
    build(tmp_path)
    run(settings(tmp_path, scheduler))

    write_study(tmp_path / "scans", 1, num_series=2)  # a second series, the first as it was
    result = again(tmp_path, scheduler)
    assert (result.shards_written, result.shards_kept, result.info.num_studies) == (1, 3, 5)
    assert result.info.by_status == {"used": 5, "superseded": 1}
    assert len(study(tmp_path, 1).scans) == 2
    assert result.sums.by_status == {"used": 36}

    addendum(tmp_path, 2)
    result = again(tmp_path, scheduler)
    assert (result.shards_written, result.info.by_status["superseded"]) == (1, 2)
    assert "A small mass." in study(tmp_path, 2).report.sentences["offline"]

    write_labels(tmp_path, {3: 1})
    assert again(tmp_path, scheduler).info.by_status == {"used": 5, "superseded": 3}
    assert study(tmp_path, 3).labels == {"mass": 1.0}

    addendum(tmp_path, 1)  # of the study that has changed once already
    write_study(tmp_path / "scans", 4, num_series=2)
    write_study(tmp_path / "scans", 77, num_series=1)
    result = again(tmp_path, scheduler)
    assert (result.shards_written, result.info.num_studies) == (2, 6)
    assert result.info.by_status == {"used": 6, "superseded": 5}
    assert [len(study(tmp_path, n).scans) for n in (1, 4, 77)] == [2, 2, 1]
    assert "A small mass." in study(tmp_path, 1).report.sentences["offline"]
    assert max(places(tmp_path).values()) == 7


def test_a_kill_between_plan_and_end_is_no_matter(
    tmp_path: Path, scheduler: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    def stopped(*_: Any, **__: Any) -> None:
        raise KeyboardInterrupt

    found = []
    for where in ("", "_convert", "finish_dataset"):
        home = tmp_path / f"stopped at {where}"
        home.mkdir()
        build(home)
        run(settings(home, scheduler))
        addendum(home, 2)
        write_study(home / "scans", 3, num_series=2)
        write_study(home / "scans", 8, num_series=1)
        if where:
            with monkeypatch.context() as patch:
                patch.setattr(f"ingest.job.{where}", stopped)
                with pytest.raises(KeyboardInterrupt):
                    run(settings(home, scheduler))
        run(settings(home, scheduler))
        found.append(fingerprints(home / "dataset"))
    assert found[0] == found[1] == found[2]


def test_a_study_that_is_gone_keeps_its_sample_and_its_neighbours(
    tmp_path: Path, scheduler: str
) -> None:
    build(tmp_path)
    run(settings(tmp_path, scheduler))
    (tmp_path / "scans" / "study1").rename(tmp_path / "study1")
    assert run(settings(tmp_path, scheduler)).nothing_to_do
    assert len(study(tmp_path, 1).scans) == 1
    (tmp_path / "study1").rename(tmp_path / "scans" / "study1")
    assert again(tmp_path, scheduler).nothing_to_do


def test_the_outcome_of_the_present_shard_counts(tmp_path: Path, scheduler: str) -> None:
    """A study that could not be made is made when its files are replaced; the ledger says so."""
    import pydicom

    build(tmp_path)
    victim = tmp_path / "scans" / "study1" / "series0" / "0002.dcm"
    whole, dataset = victim.read_bytes(), pydicom.dcmread(victim)
    dataset.BitsAllocated = 12  # nothing can decode this
    dataset.save_as(victim)
    assert run(settings(tmp_path, scheduler)).sums.by_reason == {"UNDECODABLE_PIXELS": 6}
    victim.write_bytes(whole)
    write_study(tmp_path / "scans", 1, num_series=2)
    result = again(tmp_path, scheduler)
    assert result.sums.by_status == {"used": 36}
    rows = ledger.read(tmp_path / "run" / "ledger.parquet")
    assert {row.scan for row in rows if row.study_uid == "1.2.1"} == {0, 1}
    assert len(study(tmp_path, 1).scans) == 2
