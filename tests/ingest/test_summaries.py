"""Sentences of language models in a whole ingestion: asked once, checked, in tables and samples."""

from __future__ import annotations

import json
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
from job_runs import fingerprints, pipeline, run, write_key, write_study
from llm_server import LlmServer, serving
from typer.testing import CliRunner

import dicom2clip
from ingest import answers, planning, versions
from ingest.estimate import estimate
from shards.reader import Dataset
from shards.verify import verify
from study import pseudonyms
from study.config import Pipeline
from study.errors import UserError
from study.llm_sections import LlmSpeed, Summarizer
from study.records import Study

KEY = "77" * 32
REPORTS = {
    0: "FINDINGS: There is a 12 mm mass in the left frontal lobe. No bleed.",
    1: "FINDINGS: The liver is normal. Cyst of 9 mm in the right kidney.",
    2: "FINDINGS: The liver is normal. Cyst of 9 mm in the right kidney.",
    3: "TECHNIQUE: Axial images were obtained.",
}
"""By study; a fourth study has none."""


@pytest.fixture
def server() -> Iterator[LlmServer]:
    with serving() as running:
        running.answer = answer
        yield running


def answer(text: str) -> dict[str, Any]:
    """A model that gets some right and some wrong."""
    if "mass" in text:
        return {"sentences": ["A 12 mm mass is in the left frontal lobe.", "A right frontal mass."]}
    if "kidney" in text:
        return {"sentences": ["9 mm cyst in the right kidney.", "Normal liver."]}
    return {"sentences": ["No significant abnormalities."]}


@pytest.fixture
def home(tmp_path: Path) -> Path:
    write_key(tmp_path / "run", KEY)
    for number in range(5):
        write_study(tmp_path / "scans", number, num_series=1)
    write_texts(tmp_path, REPORTS)
    return tmp_path


def write_texts(home: Path, texts: dict[int, str]) -> None:
    rows = [f'1.2.{number},"{text}"' for number, text in texts.items()]
    (home / "reports.csv").write_text("\n".join(["StudyInstanceUID,report", *rows]) + "\n")


def asking(server: LlmServer, variant: str = "findings-m", **speed: Any) -> Summarizer:
    prices = {"price_in": 1.0, "price_out": 2.0}
    return Summarizer(
        model="m",
        variant=variant,
        base_url=f"{server.url}/v1",
        speed=LlmSpeed(max_retries=0, **prices, **speed),
    )


def settings(home: Path, scheduler: str, *summarizers: Summarizer, **more: Any) -> Pipeline:
    return pipeline(home, scheduler, summarizers=summarizers, **more)


def study(dataset: str, number: int) -> Study:
    key = pseudonyms.pseudonym(bytes.fromhex(KEY), "study", f"1.2.{number}")
    return Dataset.open(dataset).study(key)


def command(home: Path, wanted: Pipeline, *words: str) -> tuple[int, str]:
    config = home / "pipelines.yaml"
    config.write_text(json.dumps({"test": wanted.model_dump(mode="json", exclude={"name"})}))
    result = CliRunner().invoke(
        dicom2clip.app, ["ingest", words[0], "test", *words[1:], "-c", str(config)]
    )
    if result.exception and not isinstance(result.exception, SystemExit):
        raise result.exception
    return result.exit_code, result.stdout


def test_variants_stand_side_by_side(home: Path, scheduler: str, server: LlmServer) -> None:
    wanted = settings(home, scheduler, asking(server))
    result = run(wanted)
    first = study(wanted.dataset, 0).report.sentences
    assert first["findings-m"] == ("A 12 mm mass is in the left frontal lobe.",)
    assert first["offline"] == ("There is a 12 mm mass in the left frontal lobe.", "No bleed.")
    assert study(wanted.dataset, 3).report.sentences == {}
    assert study(wanted.dataset, 4).report.sentences == {}
    counts = result.answers["summaries"]["findings-m"]
    assert (counts["reports"], counts["sentences"], counts["flagged"]) == (4, 5, 1)
    assert counts["dropped"] == {"side": 1, "words": 1}
    assert server.asked.total() == 3  # two reports are the same
    assert verify(wanted.dataset).problems == ()
    told = json.loads((Path(wanted.dataset) / "dataset.json").read_text())["settings"]
    assert told["ingest"]["summarizers"]["findings-m"]["prompt"] == "findings-1"
    assert server.url not in json.dumps(told)

    assert run(wanted).nothing_to_do
    assert server.asked.total() == 3


def test_an_unchanged_part_is_not_checked_again(
    home: Path, scheduler: str, server: LlmServer, monkeypatch: pytest.MonkeyPatch
) -> None:
    wanted = settings(home, scheduler, asking(server))
    before = run(wanted).answers
    monkeypatch.setattr("ingest.summarize.checked", _never)
    assert run(wanted).answers == before


def _never(*_: object) -> None:
    raise AssertionError("called")


def test_a_changed_report_alone_is_asked_and_superseded(
    home: Path, scheduler: str, server: LlmServer
) -> None:
    wanted = settings(home, scheduler, asking(server))
    run(wanted)
    write_texts(home, {**REPORTS, 1: "FINDINGS: A small mass of 12 mm in the left frontal lobe."})
    result = run(wanted)
    assert (result.shards_written, server.asked.total()) == (1, 4)
    told = study(wanted.dataset, 1).report.sentences["findings-m"]
    assert told == ("A 12 mm mass is in the left frontal lobe.",)


def test_a_further_variant_is_refused_or_a_new_version_and_pays_only_its_own(
    home: Path, scheduler: str, server: LlmServer
) -> None:
    one = settings(home, scheduler, asking(server))
    run(one)
    two = settings(home, scheduler, asking(server), asking(server, "other"))
    with pytest.raises(UserError, match=r"(?s)summarizers\.other: None there.*--new-version"):
        run(two)
    version = versions.fitting(two)
    versions.begin(two, version)
    result = run(version)
    assert version.dataset.endswith("-v2")
    assert set(result.answers["summaries"]) == {"findings-m", "other"}
    assert server.asked.total() == 3  # same model, same prompt: both are one question
    assert set(study(version.dataset, 0).report.sentences) == {"offline", "findings-m", "other"}


def test_a_model_that_stops_answering_leaves_the_dataset_for_later(
    home: Path, scheduler: str, server: LlmServer
) -> None:
    wanted = settings(home, scheduler, asking(server, concurrency=1))
    text = "FINDINGS: There is a 12 mm mass in the left frontal lobe. No bleed."
    server.faults[text].extend(["500"] * 3)
    with pytest.raises(
        UserError, match=r"findings-m: not all reports have an answer.*1 unanswered"
    ):
        run(wanted)
    assert not list(Path(wanted.dataset).glob("*.tar"))
    server.faults.clear()
    assert run(wanted).info.num_studies == 5
    assert server.written.total() == 3


def test_refused_reports_keep_their_rule_based_sentences(
    home: Path, scheduler: str, server: LlmServer
) -> None:
    wanted = settings(home, scheduler, asking(server))
    server.faults[REPORTS[0]].append("refusal")
    result = run(wanted)
    assert result.answers["summaries"]["findings-m"]["failed"] == {"REFUSED": 1}
    assert set(study(wanted.dataset, 0).report.sentences) == {"offline"}
    code, text = command(home, wanted, "summarize", "--retry-failed")
    assert (code, "1 answered" in text) == (0, True)
    assert run(wanted).shards_written == 1
    assert "findings-m" in study(wanted.dataset, 0).report.sentences


def test_a_model_may_save_a_study_that_the_rules_find_no_sentence_in(
    home: Path, scheduler: str, server: LlmServer, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("ingest.offline.summarize", lambda text: [])
    wanted = settings(home, scheduler, asking(server), without_report="reject")
    result = run(wanted)
    assert result.info.num_studies == 3
    assert result.sums.by_reason["NO_REPORT"] == 12
    assert run(wanted).reports == result.reports


def test_bytes_do_not_depend_on_parts_or_workers(
    home: Path, scheduler: str, server: LlmServer, monkeypatch: pytest.MonkeyPatch
) -> None:
    wanted = settings(home, scheduler, asking(server))
    run(wanted)
    monkeypatch.setattr("ingest.partition.number_of_parts", lambda images: 4)
    other = wanted.model_copy(update={"dataset": str(home / "dataset2"), "run": str(home / "run2")})
    write_key(home / "run2", KEY)
    run(other)
    assert fingerprints(home / "dataset2") == fingerprints(home / "dataset")


def test_the_estimate_knows_the_cost_and_spends_nothing(
    home: Path, scheduler: str, server: LlmServer
) -> None:
    wanted = settings(home, scheduler, asking(server))
    found = estimate(wanted, lambda stage, done, total: None)
    assert found.llm_requests == {"findings-m": 3}
    assert found.llm_cost["findings-m"] > 0
    assert any("findings-m, 3 requests, cost about" in line for line in found.lines())
    assert server.asked.total() == 0
    run(wanted)
    found = estimate(wanted, lambda stage, done, total: None)
    assert (found.tasks, found.llm_requests) == (0, {"findings-m": 0})


def test_summarize_says_what_it_would_cost_asks_some_and_goes_on(
    home: Path, scheduler: str, server: LlmServer
) -> None:
    wanted = settings(home, scheduler, asking(server))
    code, text = command(home, wanted, "summarize", "--dry-run")
    assert (code, server.asked.total()) == (0, 0)
    assert "3 requests" in text
    with pytest.raises(UserError, match="would cost about"):
        command(home, wanted, "summarize", "--max-cost", "0.000001")
    code, text = command(home, wanted, "summarize", "--limit", "1")
    assert (code, server.asked.total()) == (0, 1)
    assert "reports are not asked yet" in text
    code, text = command(home, wanted, "summarize", "--json")
    facts = json.loads(text)
    asked = facts["asked"]["findings-m"]
    assert (code, asked["answered"], asked["cached"]) == (0, 2, 1)
    assert asked["cost"] > 0
    assert facts["found"]["findings-m"]["sentences"] == 5
    with pytest.raises(UserError, match=r"--variant nobody: there are findings-m"):
        command(home, wanted, "summarize", "--variant", "nobody")
    with pytest.raises(UserError, match=r"no ingest\.summarizers"):
        command(home, settings(home, scheduler), "summarize")
    run(wanted)
    assert server.asked.total() == 3


def test_reports_shows_what_was_dropped_and_why(
    home: Path, scheduler: str, server: LlmServer
) -> None:
    wanted = settings(home, scheduler, asking(server))
    command(home, wanted, "summarize")
    _, text = command(home, wanted, "reports", "1.2.0", "--json")
    [by_rule, by_model] = json.loads(text)["variants"]
    assert by_rule["name"] == "offline"
    assert by_model["sentences"] == ["A 12 mm mass is in the left frontal lobe."]
    assert [piece["text"] for piece in by_model["left_out"]] == ["A right frontal mass."]
    assert by_model["left_out"][0]["reason"].startswith("side")
    _, text = command(home, wanted, "reports", "1.2.0")
    assert "findings-m" in text


def test_tables_after_the_last_summarizer_is_gone(
    home: Path, scheduler: str, server: LlmServer
) -> None:
    command(home, settings(home, scheduler, asking(server)), "summarize")
    plain = settings(home, scheduler)
    run(plain)
    assert set(study(plain.dataset, 0).report.sentences) == {"offline"}
    assert not list((home / "run" / "summaries.parquet").glob("*.parquet"))


def test_texts_are_read_anew_each_time(home: Path, scheduler: str) -> None:
    run(settings(home, scheduler))
    texts = answers.Texts(home / "run", 1)
    assert sorted(texts) == sorted(texts) == sorted(REPORTS.values())
    assert planning.partition.number_of_parts(30) == 1
