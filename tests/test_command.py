"""The command as a user meets it: messages, exit codes, JSON."""

from __future__ import annotations

import json
import signal
import sys
from pathlib import Path

import pytest

import dicom2clip

PIPELINE = """\
p:
  description: for tests
  dataset: data
  run: run
  ingest: {source: scans, reports: reports.csv}
  train: {steps: 2}
"""


@pytest.fixture(autouse=True)
def folder(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    (tmp_path / "pipelines.yaml").write_text(PIPELINE)
    monkeypatch.chdir(tmp_path)
    return tmp_path


def call(*arguments: str) -> int:
    """Run the command in this process and return its exit code."""
    before, sys.argv = sys.argv, ["dicom2clip", *arguments]
    try:
        with pytest.raises(SystemExit) as stop:
            dicom2clip.main()
    finally:
        sys.argv = before
    return int(stop.value.code or 0)


def test_lists_pipelines(capsys: pytest.CaptureFixture[str]) -> None:
    assert call("run", "--list") == 0
    assert "for tests" in capsys.readouterr().out


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        (["run", "q"], "no pipeline 'q'"),
        (["run", "p", "--set", "train.step=3"], "did you mean 'steps'?"),
        (["run", "p", "--stage", "cook"], "--stage cook: there are ingest, train, eval"),
        (["run", "p"], "reports.csv does not exist"),
        (["run", "p", "--set", "ingest.reports=''"], "scans does not exist"),
        (["run", "p", "--set", "ingest.source="], "ingest.source is not set"),
        (["train", "p"], "there is no folder"),
        (["eval", "p"], "eval.benchmarks is empty"),
        (["export", "p", "out"], "holds no checkpoint"),
        (["ingest", "status", "p"], "has not been ingested yet"),
        (["shards", "info", "nowhere"], "there is no folder"),
        (["demo", "--size", "huge"], "there are small and large"),
        (["run", "p", "--config", "none.yaml"], "there is no none.yaml"),
        (["ingest", "status", "p", "-c", "none.yaml"], "there is no none.yaml"),
        (["run", "--what"], "No such option"),
        (["ingest", "reports", "p", "--status", "lost"], "Invalid value for '--status'"),
        (["run", "p", "--set", "train.steps=null"], "epochs or steps (neither is set)"),
    ],
)
def test_wrong_input_is_one_message_and_exit_code_2(
    folder: Path, capsys: pytest.CaptureFixture[str], arguments: list[str], message: str
) -> None:
    assert call(*arguments) == 2
    error = capsys.readouterr().err
    assert message in error
    assert "Traceback" not in error
    assert sorted(p.name for p in folder.iterdir()) == ["pipelines.yaml"]


def test_an_empty_folder_and_one_without_dicom(
    folder: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    (folder / "scans").mkdir()
    (folder / "reports.csv").write_text("StudyInstanceUID,report\n1,x\n")
    assert call("run", "p") == 2
    assert "holds no files" in capsys.readouterr().err
    (folder / "scans" / "readme.txt").write_text("hello")
    assert call("run", "p") == 2
    assert "none of the 1 files" in capsys.readouterr().err
    assert not (folder / "run").exists()
    assert not (folder / "data").exists()


def test_json_of_the_ledger(folder: Path, capsys: pytest.CaptureFixture[str]) -> None:
    from ingest import ledger
    from study.records import Reason, Status

    (folder / "run").mkdir()
    rows = [
        ledger.LedgerRow("/a", 0, "1", "2", "3", Status.USED, scan=0, slice=0),
        ledger.LedgerRow("/b", 0, "", "", "", Status.REJECTED, Reason.TRUNCATED, "10 bytes"),
    ]
    ledger.write(folder / "run" / "ledger.parquet", rows)
    assert call("ingest", "status", "p", "--json") == 0
    facts = json.loads(capsys.readouterr().out)
    assert facts["by_status"] == {"used": 1, "rejected": 1}
    assert call("ingest", "failed", "p", "--json") == 0
    assert json.loads(capsys.readouterr().out)[0]["path"] == "/b"


def test_a_signal_ends_with_75_and_says_so(
    capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    def interrupted(*_: object) -> None:
        signal.raise_signal(signal.SIGTERM)

    monkeypatch.setattr(dicom2clip, "run_stages", interrupted)
    assert call("run", "p") == 75
    assert "The same command goes on" in capsys.readouterr().err
