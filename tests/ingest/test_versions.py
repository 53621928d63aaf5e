"""Other settings make a new version beside the dataset, which goes on by itself."""

from __future__ import annotations

import shutil
from pathlib import Path

import pytest
from job_runs import fingerprints, pipeline, run, write_reports, write_study
from rich.console import Console

import dicom2clip
from ingest import versions
from shards.reader import Dataset
from study.config import Pipeline
from study.errors import UserError
from study.ingest_sections import Grid


def test_the_command_says_where_the_version_is(
    tmp_path: Path, scheduler: str, capsys: pytest.CaptureFixture[str]
) -> None:
    write_study(tmp_path / "scans", 1, num_series=1)
    write_reports(tmp_path / "reports.csv", range(3))
    run(pipeline(tmp_path, scheduler))
    other = pipeline(tmp_path, scheduler, grid=Grid(depth=8, resize=16, size=16))
    console = Console(soft_wrap=True)
    assert dicom2clip._new_version(other, console).run == f"{tmp_path}/run-v2"
    assert f"--set dataset={tmp_path}/dataset-v2" in capsys.readouterr().out
    copied = (tmp_path / "run-v2" / "project.key").read_text()
    assert copied == (tmp_path / "run" / "project.key").read_text()


def test_a_new_version(
    tmp_path: Path, scheduler: str, monkeypatch: pytest.MonkeyPatch, reads: list[str]
) -> None:
    for number in range(3):
        write_study(tmp_path / "scans", number, num_series=1)
    write_reports(tmp_path / "reports.csv", range(3))
    first = pipeline(tmp_path, scheduler)
    assert versions.fitting(first) == first
    run(first)
    before = fingerprints(tmp_path / "dataset")
    other = pipeline(tmp_path, scheduler, grid=Grid(depth=8, resize=16, size=16))
    with pytest.raises(UserError, match="--new-version"):
        run(other)

    def version(wanted: Pipeline) -> Pipeline:
        found = versions.fitting(wanted)
        versions.begin(wanted, found)
        return found

    second = version(other)
    names = (f"{tmp_path}/dataset-v2", f"{tmp_path}/run-v2")
    assert (second.dataset, second.run) == names
    reads.clear()
    assert run(second).info.num_studies == 3
    assert not reads  # the crawl was taken over
    assert version(other) == second
    assert run(version(other)).nothing_to_do
    assert version(first) == first
    third = version(pipeline(tmp_path, scheduler, grid=Grid(depth=6, resize=16, size=16)))
    assert (Path(third.dataset).name, Path(third.run).name) == ("dataset-v3", "run-v3")

    assert fingerprints(tmp_path / "dataset") == before
    old, new = (Dataset.open(tmp_path / name) for name in ("dataset", "dataset-v2"))
    assert [s.key for s in old.samples()] == [s.key for s in new.samples()]
    assert new.study(new.samples()[0].key).scans[0].array.shape[0] == 8
    for file in Path(second.run).rglob("*"):
        assert file.stat().st_mode & 0o077 == 0, file
    shutil.rmtree(third.run)
