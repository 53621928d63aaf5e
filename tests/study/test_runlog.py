from __future__ import annotations

import errno
import json
from pathlib import Path

import pytest

from study.runlog import RunLog, provenance


def test_events_are_lines_and_are_appended(tmp_path: Path) -> None:
    file = tmp_path / "run" / "log.jsonl"
    with RunLog(file) as log:
        log.event("begun", files=3)
    with RunLog(file) as log:
        log.event("work", done=7)
    lines = [json.loads(line) for line in file.read_text().splitlines()]
    assert [line["event"] for line in lines] == ["begun", "work"]
    assert lines[1]["done"] == 7


@pytest.mark.skipif(not Path("/dev/full").exists(), reason="no /dev/full")
def test_a_full_disk_is_named(tmp_path: Path) -> None:
    file = tmp_path / "log.jsonl"
    file.symlink_to("/dev/full")
    with pytest.raises(OSError, match="No space") as raised, RunLog(file) as log:
        log.event("begun")
    assert (raised.value.errno, raised.value.filename) == (errno.ENOSPC, str(file))


def test_provenance_names_versions_only() -> None:
    assert set(provenance()) >= {"python", "pydicom", "SimpleITK", "torch"}
