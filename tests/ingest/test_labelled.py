"""Labels from reports in a whole ingestion: beside those of the table, with who said what."""

from __future__ import annotations

import json
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pyarrow.parquet as pq
import pytest
from job_runs import pipeline, run, write_key, write_study
from llm_server import LlmServer, serving
from typer.testing import CliRunner

import dicom2clip
from shards.reader import Dataset
from shards.verify import verify
from study import pseudonyms
from study.config import Pipeline
from study.errors import UserError
from study.llm_sections import Labeler, Llm, LlmSpeed

KEY = "88" * 32
REPORTS = {
    0: "FINDINGS: Small left pleural effusion. No emphysema.",
    1: "FINDINGS: Emphysema in both upper lobes. No pleural effusion.",
    2: "TECHNIQUE: Axial images were obtained.",
}
SET = """
name: chest
version: 1
source: made for a test
absent: unknown
labels:
  - {name: Pleural effusion, question: "Is there a pleural effusion?", words: [pleural effusion]}
  - {name: Emphysema, question: "Is there emphysema?", words: [emphysema]}
  - {name: Nodule, question: "Is there a nodule?", words: [nodule]}
"""


@pytest.fixture
def server() -> Iterator[LlmServer]:
    with serving() as running:
        running.answer = answer
        yield running


def answer(text: str) -> dict[str, Any]:
    effusion = "yes" if "left pleural effusion" in text else "no"
    emphysema = "yes" if "both upper lobes" in text else "no"
    return {"Pleural effusion": effusion, "Emphysema": emphysema, "Nodule": "not mentioned"}


@pytest.fixture
def home(tmp_path: Path) -> Path:
    write_key(tmp_path / "run", KEY)
    for number in range(4):
        write_study(tmp_path / "scans", number, num_series=1)
    rows = [f'1.2.{number},"{text}"' for number, text in REPORTS.items()]
    (tmp_path / "reports.csv").write_text("\n".join(["StudyInstanceUID,report", *rows]) + "\n")
    (tmp_path / "chest.yaml").write_text(SET)
    return tmp_path


def settings(home: Path, scheduler: str, *models: Llm, **more: Any) -> Pipeline:
    labeler = Labeler(label_set=str(home / "chest.yaml"), models=models)
    return pipeline(home, scheduler, labelers=(labeler,), **more)


def model(server: LlmServer, name: str) -> Llm:
    speed = LlmSpeed(max_retries=0, price_in=1.0, price_out=1.0)
    return Llm(model=name, base_url=f"{server.url}/v1", speed=speed)


def labels(dataset: str, number: int) -> dict[str, float]:
    key = pseudonyms.pseudonym(bytes.fromhex(KEY), "study", f"1.2.{number}")
    return dict(Dataset.open(dataset).study(key).labels)


def command(home: Path, wanted: Pipeline, *words: str) -> tuple[int, str]:
    config = home / "pipelines.yaml"
    config.write_text(json.dumps({"test": wanted.model_dump(mode="json", exclude={"name"})}))
    call = ["ingest", words[0], "test", *words[1:], "-c", str(config)]
    result = CliRunner().invoke(dicom2clip.app, call)
    if result.exception and not isinstance(result.exception, SystemExit):
        raise result.exception
    return result.exit_code, result.stdout


def test_by_rule_without_a_model(home: Path, scheduler: str) -> None:
    wanted = settings(home, scheduler)
    result = run(wanted)
    assert labels(wanted.dataset, 0) == {"Pleural effusion": 1.0, "Emphysema": 0.0}
    assert labels(wanted.dataset, 1) == {"Pleural effusion": 0.0, "Emphysema": 1.0}
    assert labels(wanted.dataset, 2) == {}
    assert labels(wanted.dataset, 3) == {}
    [counts] = result.answers["labels"].values()
    assert counts["reports"] == 2
    assert counts["answers"]["Nodule"] == {"absent": 2}
    assert verify(wanted.dataset).problems == ()
    told = json.loads((Path(wanted.dataset) / "dataset.json").read_text())["settings"]["ingest"]
    assert told["labelers"]["chest-1"]["route"] == "offline"
    assert run(wanted).nothing_to_do


def test_the_table_counts_and_labelers_fill_in(home: Path, scheduler: str) -> None:
    (home / "labels.csv").write_text("StudyInstanceUID,Emphysema,mass\n1.2.0,1,1\n1.2.3,0,1\n")
    wanted = settings(home, scheduler, labels=str(home / "labels.csv"))
    run(wanted)
    assert labels(wanted.dataset, 0) == {"Pleural effusion": 1.0, "Emphysema": 1.0, "mass": 1.0}
    assert labels(wanted.dataset, 1) == {"Pleural effusion": 0.0, "Emphysema": 1.0}
    assert labels(wanted.dataset, 3) == {"Emphysema": 0.0, "mass": 1.0}
    assert run(wanted).nothing_to_do
    (home / "labels.csv").write_text("StudyInstanceUID,mass\n1.2.0,1\n1.2.3,1\n")
    run(wanted)
    assert labels(wanted.dataset, 0) == {"Pleural effusion": 1.0, "Emphysema": 0.0, "mass": 1.0}
    assert labels(wanted.dataset, 3) == {"mass": 1.0}


def test_models_vote_and_every_vote_is_kept(home: Path, scheduler: str, server: LlmServer) -> None:
    wanted = settings(home, scheduler, model(server, "m"), model(server, "n"))
    code, text = command(home, wanted, "label", "--dry-run")
    assert (code, server.asked.total()) == (0, 0)
    assert "by m: 3 reports" in text
    code, text = command(home, wanted, "label")
    assert (code, server.asked.total()) == (0, 6)
    assert "Pleural effusion" in text
    rows = pq.read_table(home / "run" / "labelled.parquet").to_pylist()
    by_key = {row["key"]: row for row in rows}
    key = pseudonyms.pseudonym(bytes.fromhex(KEY), "study", "1.2.0")
    assert by_key[key]["label_set"] == "chest-1"
    assert json.loads(by_key[key]["votes"])["Pleural effusion"] == {"m": "yes", "n": "yes"}
    _, text = command(home, wanted, "reports", "1.2.0")
    assert "labels: Emphysema 0, Pleural effusion 1" in text
    assert "Pleural effusion (m: yes, n: yes)" in text
    run(wanted)
    assert server.asked.total() == 6
    assert labels(wanted.dataset, 0) == {"Pleural effusion": 1.0, "Emphysema": 0.0}
    assert labels(wanted.dataset, 2) == {}  # nothing but technique: a model's no is not believed
    told = json.loads((Path(wanted.dataset) / "dataset.json").read_text())["settings"]
    assert [one["model"] for one in told["ingest"]["labelers"]["chest-1"]["models"]] == ["m", "n"]
    assert server.url not in json.dumps(told)
    _, text = command(home, wanted, "label", "--json")
    facts = json.loads(text)
    assert {one["cached"] for one in facts["asked"].values()} == {3}


def test_what_is_not_there_is_said(home: Path, scheduler: str) -> None:
    with pytest.raises(UserError, match=r"no ingest\.labelers"):
        command(home, pipeline(home, scheduler), "label")
    with pytest.raises(UserError, match="--label-set ct: there are"):
        command(home, settings(home, scheduler), "label", "--label-set", "ct")
    (home / "chest.yaml").write_text("name: chest\n")
    with pytest.raises(UserError, match=r"chest\.yaml"):
        run(settings(home, scheduler))
    assert not (home / "dataset").exists()
