from __future__ import annotations

import json
from pathlib import Path

import pytest

from study.runlog import RunLog, provenance


def test_events_are_lines_and_are_appended(tmp_path: Path) -> None:
    file = tmp_path / "run" / "log.jsonl"
    with RunLog(file) as log:
        log.event("begun", files=3)
    with RunLog(file) as log, log.timed("work", stage="x") as facts:
        facts["done"] = 7
    lines = [json.loads(line) for line in file.read_text().splitlines()]
    assert [line["event"] for line in lines] == ["begun", "work"]
    assert lines[1]["done"] == 7
    assert lines[1]["seconds"] >= 0


def test_a_failing_block_is_logged(tmp_path: Path) -> None:
    with RunLog(tmp_path / "log") as log, pytest.raises(KeyError), log.timed("work"):
        raise KeyError("x")
    assert json.loads((tmp_path / "log").read_text())["error"] == "KeyError"


def test_provenance_names_versions_only() -> None:
    assert set(provenance()) >= {"python", "pydicom", "SimpleITK", "torch"}
