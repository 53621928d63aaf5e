"""Rows of a ledger of many parts, found by UID or path, and no more read than is needed."""

from __future__ import annotations

import json
from pathlib import Path

import pytest
from job_runs import pipeline, run, write_key, write_reports, write_study
from typer.testing import CliRunner

from dicom2clip import app
from ingest import explain, ledger, ledger_search, partition
from ingest.ledger_search import find
from ingest.taskstore import read

KEY = "88" * 32


@pytest.fixture(scope="module")
def home(tmp_path_factory: pytest.TempPathFactory, scheduler: str) -> Path:
    """A run of seven studies in several parts."""
    home = tmp_path_factory.mktemp("run")
    write_key(home / "run", KEY)
    for number in range(7):
        write_study(home / "scans", number)
    (home / "scans" / "notes").write_text("not DICOM")
    write_reports(home / "reports.csv", range(7))
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(partition, "ROWS", 20)
        run(pipeline(home, scheduler))
    assert len(list((home / "run" / "ledger.parquet").iterdir())) == 5
    return home


@pytest.mark.parametrize(
    ("target", "what", "images"),
    [
        ("1.2.3.1", "series", 6),
        ("1.2.3", "study", 12),
        ("{scans}/notes", "file", 1),
        ("study4/series1/0003.dcm", "file", 1),
        ("0003.dcm", "file", 14),
        ("{scans}/study2", "folder", 12),
        ("study2/", "folder", 12),
        ("series0", "folder", 42),
        ("{scans}", "folder", 85),
        ("1.2.99", "", 0),
        ("", "", 0),
    ],
)
def test_what_a_target_stands_for(home: Path, target: str, what: str, images: int) -> None:
    found = find(home / "run", target.format(scans=home / "scans"))
    assert (found.what, len(found.rows)) == (what, images)
    everything = ledger.read(home / "run" / "ledger.parquet")
    assert set(found.rows) <= set(everything)
    for row in found.rows:
        in_part = home / "run" / "ledger.parquet" / f"{found.part_of[row.study_uid]:05d}.parquet"
        assert row.study_uid == "" or row in ledger.read(in_part)


def test_a_study_is_read_from_its_own_part_alone(
    home: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    opened: list[str] = []
    read_table = ledger_search.pq.read_table

    def counted(file: Path, **options: object) -> object:
        opened.append(Path(file).parent.name + "/" + Path(file).name)
        return read_table(file, **options)

    monkeypatch.setattr(ledger_search.pq, "read_table", counted)
    found = find(home / "run", "1.2.3")
    plans = ledger_search.plans_of(home / "run", explain.scans_shown(found.rows), found.part_of)
    assert len({name.split("/")[1] for name in opened}) == 1
    monkeypatch.undo()
    [task] = [t for t in read(home / "run", 5, _keys(home)) if t.study_uid == "1.2.3"]
    assert plans == {("1.2.3", n): plan for n, plan in enumerate(task.plans)}


def _keys(home: Path) -> list[str]:
    import pyarrow.parquet as pq

    found: list[str] = pq.read_table(home / "run" / "keys.parquet")["key"].to_pylist()
    return found


def test_explain_tells_of_some_scans_of_many(home: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(explain, "SCANS_SHOWN", 3)
    command = ["ingest", "explain", str(home / "scans"), "--run", str(home / "run"), "--json"]
    result = CliRunner().invoke(app, command, catch_exceptions=False)
    told = json.loads(result.stdout)
    assert told["images"] == 85
    assert sum("6 slices of 16 x 16" in line for line in told["sentences"]) == 3
    assert told["sentences"][-1] == "and 11 more scans"
