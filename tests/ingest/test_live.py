"""What a job is at: on the screen, in RUN/live.json, in `ingest status`."""

from __future__ import annotations

import io
import json
import threading
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
from job_runs import pipeline, write_reports, write_study
from rich.console import Console, RenderableType
from rich.progress import Progress, TaskID
from typer.testing import CliRunner

import dicom2clip
from ingest import live
from ingest.cluster import Workers
from ingest.convert import ScanFailure, ShardOutcome
from ingest.job import ingest
from ingest.live import Live, last_seen, table_of
from study.config import Pipeline
from study.ingest_sections import IngestSpeed
from study.progress import Bars, RateColumn
from study.records import Reason
from study.runlog import RunLog


@pytest.fixture
def quick(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(live, "BEAT_S", 0.01)
    monkeypatch.setattr(live, "FIRST_S", 0.0)
    monkeypatch.setattr(live, "LOG_S", 0.0)


def shown(below: RenderableType | None) -> str:
    stream = io.StringIO()
    Console(file=stream, width=200).print(below)
    return stream.getvalue()


def outcome(*reasons: Reason) -> ShardOutcome:
    scans = tuple(ScanFailure("1.2", n, reason, "") for n, reason in enumerate(reasons))
    return ShardOutcome(0, "", {}, scans, 3)


def wait_for(condition: Callable[[], Any]) -> Any:
    for _ in range(2000):
        if found := condition():
            return found
        threading.Event().wait(0.005)
    raise AssertionError("it did not come")


def test_the_facts_are_those_of_the_stage(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    clock = iter([100.0, 110.0, 114.0, 114.0, 114.0])
    calls: list[tuple[str, int, int]] = []
    with Workers(IngestSpeed()) as workers:
        now = Live(tmp_path, workers, lambda *call: calls.append(call))
        monkeypatch.setattr(live.time, "monotonic", lambda: next(clock))
        now("crawl", 5, 5)
        now("shards", 10, 50)
        assert now.facts()["rate_per_s"] is None
        now("shards", 18, 50)
        now.rejected({"LOCALIZER": 7})
        now.shard(outcome(Reason.DECODE_TIMEOUT, Reason.TRUNCATED, Reason.DECODE_TIMEOUT))
        facts = now.facts()
    assert calls == [("crawl", 5, 5), ("shards", 10, 50), ("shards", 18, 50)]
    assert facts["stage"] == "shards"
    assert facts["rate_per_s"] == 2.0  # 8 in 4 seconds; ten were there before
    assert facts["seconds_left"] == 16
    assert facts["rejected_images"] == {"LOCALIZER": 7}
    assert facts["failed_volumes"] == {"DECODE_TIMEOUT": 2, "TRUNCATED": 1}


def test_the_table_says_what_was_left_out_and_who_works() -> None:
    facts = {
        "rejected_images": {f"R{n}": n for n in range(1, 12)},
        "failed_volumes": {"DECODE_TIMEOUT": 2},
        "cost": {"findings": 1.5, "labels": 0.25},
        "workers": 3,
        "memory_bytes": 400_000_000,
        "peak_memory_bytes": 900_000_000,
        "memory_limit": "2GB",
        "dashboard": "http://127.0.0.1:8787/status",
    }
    text = shown(table_of(facts))
    assert "11 R11, 10 R10" in text
    assert "3 more reasons" in text
    assert "2 DECODE_TIMEOUT" in text
    assert "1.50 findings, 0.25 labels" in text
    assert "3; 400 MB in the largest, 900 MB at most so far, limit 2GB" in text
    assert "http://127.0.0.1:8787/status" in text
    nothing = {
        "rejected_images": {},
        "failed_volumes": {},
        "cost": {},
        "workers": 0,
        "dashboard": "",
    }
    assert table_of(nothing) is None


def test_the_file_is_there_while_the_job_is(tmp_path: Path, quick: None) -> None:
    run = tmp_path / "run"
    with (
        Workers(IngestSpeed()) as workers,
        Live(run, workers, lambda *_: None) as now,
    ):
        now("shards", 1, 9)
        facts = wait_for(lambda: (found := last_seen(run)) and found["stage"] and found)
        assert (facts["done"], facts["total"], facts["is_running"]) == (1, 9, True)
        assert (run / live.FILE).stat().st_mode & 0o777 == 0o600
        assert run.stat().st_mode & 0o777 == 0o700
    assert last_seen(run) is None


def test_a_job_of_seconds_leaves_nothing(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(live, "BEAT_S", 0.01)
    with Workers(IngestSpeed()) as workers, Live(tmp_path / "run", workers, lambda *_: None) as now:
        now("crawl", 1, 1)
        threading.Event().wait(0.1)
    assert not (tmp_path / "run").exists()


def test_workers_are_noted_in_the_log(tmp_path: Path, quick: None) -> None:
    class Two(Workers):
        def memory(self) -> dict[str, int]:
            return {"a": 5, "b": 9}

    file = tmp_path / "log.jsonl"
    with Two(IngestSpeed()) as workers, Live(tmp_path, workers, lambda *_: None) as now:
        now("shards", 1, 2)
        with RunLog(file) as log, now.noting(log):
            line = json.loads(wait_for(lambda: file.read_text().splitlines())[0])
    assert (line["event"], line["workers"], line["memory_bytes"]) == ("workers", 2, 9)


def test_a_file_that_stays_tells_of_a_killed_job(tmp_path: Path) -> None:
    (tmp_path / live.FILE).write_text(json.dumps({"stage": "shards", "time": 1000.0}))
    facts = last_seen(tmp_path)
    assert facts is not None
    assert not facts["is_running"]
    assert facts["seen_s_ago"] > 10**6
    (tmp_path / live.FILE).write_text('{"stage": "sha')
    assert last_seen(tmp_path) is None


def home_of(folder: Path, scheduler: str) -> tuple[Pipeline, list[str]]:
    for number in range(3):
        write_study(folder / "scans", number, num_series=1)
    write_reports(folder / "reports.csv", range(3))
    settings = pipeline(folder, scheduler)
    config = folder / "pipelines.yaml"
    config.write_text(json.dumps({"test": settings.model_dump(mode="json", exclude={"name"})}))
    return settings, ["ingest", "status", "test", "-c", str(config)]


def test_status_while_it_runs_and_after(tmp_path: Path, scheduler: str, quick: None) -> None:
    settings, call = home_of(tmp_path, scheduler)
    seen: list[tuple[str, dict[str, Any]]] = []

    def progress(stage: str, done: int, total: int) -> None:
        if stage == "shards" and done == 2:
            wait_for(lambda: (facts := last_seen(tmp_path / "run")) and facts["done"] == 2)
            said = CliRunner().invoke(dicom2clip.app, call).stdout
            seen.append(
                (said, json.loads(CliRunner().invoke(dicom2clip.app, [*call, "--json"]).stdout))
            )

    ingest(settings, progress)
    [(text, facts)] = seen
    assert "test is running. studies: 2 of 3" in text
    assert "left" in text
    assert "limit 2GB" in text
    assert facts["job"]["workers"] == 1
    assert facts["job"]["is_running"]
    assert facts["images"] == 18
    after = json.loads(CliRunner().invoke(dicom2clip.app, [*call, "--json"]).stdout)
    assert after["job"] is None
    assert after["by_status"] == {"used": 18}
    assert facts["dataset"]["shards_planned"] == 2
    assert not facts["dataset"]["is_finished"]
    assert after["dataset"]["is_finished"]
    assert "shards: 2 of 2" in CliRunner().invoke(dicom2clip.app, call).stdout
    (Path(settings.dataset) / "00001_stats.json").unlink()
    said = CliRunner().invoke(dicom2clip.app, call).stdout
    assert "shards: 1 of 2" in said
    assert "is not finished" in said


def test_status_of_a_killed_job(tmp_path: Path) -> None:
    settings, call = home_of(tmp_path, "")
    Path(settings.run).mkdir()
    with Workers(IngestSpeed()) as workers:
        facts = Live(tmp_path, workers, lambda *_: None).facts()
    facts |= {"stage": "crawl", "done": 1000, "total": 5000, "time": 1000.0}
    (Path(settings.run) / live.FILE).write_text(json.dumps(facts))
    said = CliRunner().invoke(dicom2clip.app, call)
    assert said.exit_code == 0
    assert "test was killed" in said.stdout
    assert "headers: 1,000 of 5,000" in said.stdout
    assert "shards: not planned yet" in said.stdout
    assert "dashboard" not in said.stdout


def test_the_rate_of_a_bar_is_that_since_it_began() -> None:
    now = [0.0]
    progress = Progress(get_time=lambda: now[0])
    task = progress.add_task("headers", total=400, before=0)
    now[0] = 9.999
    progress.update(task, completed=100)
    now[0] = 10.0
    progress.update(task, completed=200)
    assert RateColumn().render(progress.tasks[0]).plain == "20/s"
    now[0] = 20.0
    progress.update(task, completed=400)
    now[0] = 100.0
    assert RateColumn().render(progress.tasks[0]).plain == "20/s"
    progress.add_task("studies", total=400, completed=390, before=390)
    now[0] = 200.0
    assert RateColumn().render(progress.tasks[1]).plain == ""
    progress.update(TaskID(1), completed=395)
    assert RateColumn().render(progress.tasks[1]).plain == "0.05/s"
    progress.add_task("all at once", total=400, completed=400, before=0)
    assert RateColumn().render(progress.tasks[2]).plain == ""


def test_bars_show_what_is_below_on_a_terminal_only() -> None:
    for is_terminal in (True, False):
        stream = io.StringIO()
        terminal = {"TERM": "xterm", "COLUMNS": "120", "LINES": "40"}
        console = Console(file=stream, force_terminal=is_terminal, _environ=terminal)
        with Bars(console, {"shards": "ingest: studies"}) as bars:
            bars.show(lambda: "images without pixels")
            bars("shards", 3, 9)
            threading.Event().wait(0.6)
        text = stream.getvalue()
        assert ("images without pixels" in text) == is_terminal
        assert ("ingest: studies" in text) == is_terminal
