"""What a run keeps of its scrubbing: how many spans of which kind, and nothing of their content."""

from __future__ import annotations

import json
from pathlib import Path

import pyarrow.parquet as pq
import pytest
from hypothesis import given
from hypothesis import strategies as st
from job_runs import pipeline, run, write_study
from typer.testing import CliRunner

from dicom2clip import app
from ingest import partition, planning, scrub, taskstore
from ingest.cluster import Workers
from study import pseudonyms
from study.ingest_sections import IngestSpeed

TEXTS = {
    "1.2.0": "Compared with 03/14/2021 and 5 May 2020. No bleed.",
    "1.2.1": "Seen by Dr. Canaryname on 03/14/2021: a mass.",
    "1.2.2": "No bleed at all.",
}
COUNTS = {"1.2.0": {"DATE": 2}, "1.2.1": {"DATE": 1, "NAME": 1}, "1.2.2": {}, "1.2.3": {}}
TOTAL = {"DATE": 3, "NAME": 1}
COUNT = st.dictionaries(st.sampled_from(["DATE", "NAME", "ID"]), st.integers(1, 9))


@given(st.lists(COUNT))
def test_totals_are_sums_by_kind(counts: list[dict[str, int]]) -> None:
    total = scrub.total(counts)
    assert total == scrub.total(reversed(counts))
    assert total == scrub.total([scrub.total(counts[:2]), scrub.total(counts[2:])])
    assert sum(total.values()) == sum(sum(of_one.values()) for of_one in counts)


@pytest.fixture
def home(tmp_path: Path) -> Path:
    for number in range(4):
        write_study(tmp_path / "scans", number, num_series=1)
    lines = ["StudyInstanceUID,report", *(f'{uid},"{text}"' for uid, text in TEXTS.items())]
    (tmp_path / "reports.csv").write_text("\n".join(lines) + "\n")
    return tmp_path


def test_every_book_of_a_run_says_what_was_scrubbed(
    home: Path, scheduler: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(partition, "ROWS", 12)
    wanted = pipeline(home, scheduler)
    assert run(wanted).scrubbed == TOTAL
    books = home / "run"
    rows = pq.read_table(books / "studies.parquet").to_pylist()
    assert {row["study_uid"]: json.loads(row["scrubbed"]) for row in rows} == COUNTS
    events = [json.loads(line) for line in (books / "log.jsonl").read_text().splitlines()]
    assert [e["scrubbed"] for e in events if "scrubbed" in e] == [TOTAL]
    assert "Canaryname" not in (books / "log.jsonl").read_text()
    tasks = taskstore.read(books, 2, [row["key"] for row in rows])
    assert {task.study_uid: dict(task.scrubbed) for task in tasks} == COUNTS

    key = pseudonyms.project_key(books / "project.key")
    with Workers(IngestSpeed(scheduler=scheduler)) as workers:
        again = planning.group_all(wanted, key, workers, lambda *_: None)
    assert (again.parts, again.parts_made) == (2, 0)
    assert again.scrubbed == TOTAL


def test_the_commands_say_it(home: Path, scheduler: str) -> None:
    config = home / "pipelines.yaml"
    speed = f"speed: {{scheduler: '{scheduler}'}}" if scheduler else "speed: {workers: 1}"
    config.write_text(
        "p: {dataset: dataset, run: run, ingest: {source: scans, reports: reports.csv, "
        f"grid: {{depth: 4, resize: 16, size: 16}}, {speed}}}}}\n"
    )

    def command(*arguments: str) -> str:
        result = CliRunner().invoke(app, [*arguments, "-c", str(config)])
        assert result.exit_code == 0, result.output
        return result.output

    said = "4 spans scrubbed: 3 DATE, 1 NAME"
    assert f"reports: {said}" in command("run", "p", "--stage", "ingest")
    facts = json.loads(command("run", "p", "--stage", "ingest", "--json"))
    assert facts["ingest"]["scrubbed"] == TOTAL
    assert said in command("ingest", "reports", "p")
    assert json.loads(command("ingest", "reports", "p", "--json"))["reports"]["scrubbed"] == TOTAL
    assert "2 spans scrubbed: 1 DATE, 1 NAME" in command("ingest", "reports", "p", "1.2.1")
    study = json.loads(command("ingest", "reports", "p", "1.2.1", "--json"))
    assert study["scrubbed"] == COUNTS["1.2.1"]
