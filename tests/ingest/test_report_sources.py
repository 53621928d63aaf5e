"""Whole jobs with reports from anywhere, and what `ingest reports` says of them."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import pyarrow.parquet as pq
import pydicom
import pytest
from dicom_files import save
from job_runs import fingerprints, pipeline, run, write_key, write_study
from sr_files import document, item
from typer.testing import CliRunner

from dicom2clip import app
from ingest import partition, planning, report_join, report_view
from ingest.cluster import Workers
from ingest.report_join import JoinCounts, Outcome, RowStatus
from shards.reader import Dataset
from study import pseudonyms
from study.config import Pipeline
from study.errors import UserError
from study.ingest_sections import IngestSpeed

KEY = "77" * 32


def key_of(number: int) -> str:
    return pseudonyms.pseudonym(bytes.fromhex(KEY), "study", f"1.2.{number}")


def build(home: Path) -> None:
    """Six studies: the first two of different patients with one accession number, the last two of
    one patient with one accession number."""
    write_key(home / "run", KEY)
    accessions = ["A0", "A0", "A2", "A3", "A5", "A5"]
    for number, accession in enumerate(accessions):
        write_study(home / "scans", number, num_series=1)
        for file in (home / "scans" / f"study{number}").rglob("*.dcm"):
            dataset = pydicom.dcmread(file)
            dataset.AccessionNumber = accession
            dataset.PatientID = f"P{min(number, 4)}"
            dataset.save_as(file)


def ris(home: Path) -> Path:
    """A table by accession number and patient, with all that may go wrong."""
    rows = [
        ("A0", "P0", "FINDINGS: Bleed of zero."),
        ("A0", "P1", "FINDINGS: Mass of one."),
        ("A0", "P9", "FINDINGS: Nobody's."),
        ("A2", "P2", "FINDINGS: Infarct of two."),
        ("A2", "P2", "ADDENDUM: There is a cyst too."),
        ("A2", "P2", "FINDINGS: Infarct of two."),
        ("A3", "P3", ""),
        ("A5", "P4", "FINDINGS: Whose of the two?"),
    ]
    lines = [json.dumps({"accession": a, "mrn": p, "text": t}) for a, p, t in rows]
    file = home / "ris.jsonl"
    file.write_text("\n".join([*lines, "{broken"]) + "\n")
    return file


def listed(home: Path, table: str = "reports") -> list[Outcome]:
    files = sorted((home / "run" / f"{table}.parquet").iterdir())
    assert all(file.stat().st_mode & 0o777 == 0o600 for file in files)
    return sorted(o for file in files for o in report_join.outcomes_of(pq.read_table(file)))


def sentences(home: Path, number: int) -> tuple[str, ...]:
    study = Dataset.open(home / "dataset").study(key_of(number))
    return study.report.sentences.get("offline", ())


def silent(stage: str, done: int, total: int) -> None:
    pass


@pytest.mark.parametrize("rows_of_a_part", [1000, 12])
def test_rows_by_accession_number_and_patient_reach_their_studies(
    tmp_path: Path, scheduler: str, monkeypatch: pytest.MonkeyPatch, rows_of_a_part: int
) -> None:
    monkeypatch.setattr(partition, "ROWS", rows_of_a_part)
    build(tmp_path)
    result = run(pipeline(tmp_path, scheduler, reports=str(ris(tmp_path))))
    assert result.reports == JoinCounts(
        rows=9, joined=3, missing=3, surplus=1, duplicate=1, ambiguous=1, empty=1, broken=1
    )
    assert [sentences(tmp_path, n) for n in range(6)] == [
        ("Bleed of zero.",),
        ("Mass of one.",),
        ("Infarct of two.", "There is a cyst too."),
        (),
        (),
        (),
    ]
    outcomes = listed(tmp_path)
    by_line = {o.line: (str(o.status), o.study_uid) for o in outcomes if o.line}
    assert by_line == {
        1: ("joined", "1.2.0"),
        2: ("joined", "1.2.1"),
        3: ("surplus", ""),
        4: ("joined", "1.2.2"),
        5: ("joined", "1.2.2"),
        6: ("duplicate", "1.2.2"),
        7: ("empty", "1.2.3"),
        8: ("ambiguous", ""),
        9: ("broken", ""),
    }
    missing = {o.study_uid: o.reason for o in outcomes if o.status is RowStatus.MISSING}
    assert missing == {"1.2.3": "its rows are empty", "1.2.4": "no row", "1.2.5": "no row"}


def test_the_form_of_a_table_and_the_parts_do_not_matter(
    tmp_path: Path, scheduler: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    found = []
    for n, (rows_of_a_part, form) in enumerate(((1000, "jsonl"), (12, "csv"), (6, "txt"))):
        monkeypatch.setattr(partition, "ROWS", rows_of_a_part)
        home = tmp_path / str(n)
        build(home)
        texts = {f"1.2.{n}": f"FINDINGS: Finding number {n}. No bleed." for n in range(5)}
        if form == "txt":
            (home / "texts").mkdir()
            for uid, text in texts.items():
                (home / "texts" / f"{uid}.txt").write_text(text)
            wanted = pipeline(home, scheduler, reports=[str(home / "texts")])
        else:
            file = home / f"reports.{form}"
            rows = [json.dumps({"study_uid": u, "report": t}) for u, t in texts.items()]
            if form == "csv":
                rows = ["study_uid;report", *(f'{u};"{t}"' for u, t in reversed(texts.items()))]
            file.write_text("\n".join(rows) + "\n")
            wanted = pipeline(home, scheduler, reports=str(file))
        assert run(wanted).reports == JoinCounts(rows=5, joined=5, missing=1)
        found.append(fingerprints(home / "dataset"))
    assert found[0] == found[1] == found[2]


def test_reports_from_structured_reports_among_the_images(
    tmp_path: Path, scheduler: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(partition, "ROWS", 12)
    build(tmp_path)
    documents = [
        document(
            [item("Findings", [item("Finding", f"Bleed of {n}.")])],
            StudyInstanceUID=f"1.2.{n}",
            PatientID=f"P{n}",
        )
        for n in (0, 1, 2)
    ]
    save(documents, tmp_path / "scans" / "sr")
    wanted = pipeline(tmp_path, scheduler, reports="", report_source="sr")
    result = run(wanted)
    assert result.reports == JoinCounts(rows=3, joined=3, missing=3)
    assert sentences(tmp_path, 1) == ("Bleed of 1.",)
    before = listed(tmp_path)
    key = pseudonyms.project_key(tmp_path / "run" / "project.key")
    with Workers(IngestSpeed(scheduler=scheduler)) as workers:
        again = planning.group_all(wanted, key, workers, silent)
    assert again.parts_made == 0
    assert again.reports == result.reports
    assert listed(tmp_path) == before
    old = documents[1]
    old.ContentSequence[0].ContentSequence[0].TextValue = "A mass after all."
    save([old], tmp_path / "scans" / "sr", "0001.dcm")
    assert run(wanted).shards_written == 1
    assert sentences(tmp_path, 1) == ("A mass after all.",)
    with pytest.raises(UserError, match="sr makes the reports"):
        run(pipeline(tmp_path, scheduler, reports=str(ris(tmp_path)), report_source="sr"))


def test_where_rows_stand_is_no_reason_to_group_anew(tmp_path: Path, scheduler: str) -> None:
    build(tmp_path)
    file = tmp_path / "reports.csv"
    file.write_text("StudyInstanceUID,report\n1.2.0,FINDINGS: Bleed.\n1.2.1,FINDINGS: Mass.\n")
    wanted = pipeline(tmp_path, scheduler)
    run(wanted)
    file.write_text(
        "StudyInstanceUID,report\n1.2.1,FINDINGS: Mass.\n9.9,x\n1.2.0,FINDINGS: Bleed.\n"
    )
    key = pseudonyms.project_key(tmp_path / "run" / "project.key")
    with Workers(IngestSpeed(scheduler=scheduler)) as workers:
        again = planning.group_all(wanted, key, workers, silent)
    assert again.parts_made == 0
    assert again.reports == JoinCounts(rows=3, joined=2, missing=4, surplus=1)
    lines = {o.line: str(o.status) for o in listed(tmp_path) if o.line}
    assert lines == {2: "joined", 3: "surplus", 4: "joined"}


def command(pipelines: Path, *arguments: str) -> tuple[int, str]:
    result = CliRunner().invoke(app, ["ingest", "reports", *arguments, "-c", str(pipelines)])
    if isinstance(result.exception, UserError):
        raise result.exception
    assert result.exception is None or isinstance(result.exception, SystemExit), result.exception
    return result.exit_code, result.stdout


def test_the_command_counts_lists_and_shows(tmp_path: Path, scheduler: str) -> None:
    build(tmp_path)
    table = ris(tmp_path)
    config = tmp_path / "pipelines.yaml"
    config.write_text("p: {dataset: dataset, run: run}\n")
    with pytest.raises(UserError, match="nothing has been planned"):
        command(config, "p")
    result = run(pipeline(tmp_path, scheduler, reports=str(table)))
    assert result.reports is not None

    facts: dict[str, Any] = json.loads(command(config, "p", "--json", "--status", "broken")[1])
    assert list(facts) == ["reports"]
    rows = facts["reports"].pop("listed")
    assert facts["reports"].pop("scrubbed") == result.scrubbed
    assert facts["reports"] == result.reports.as_json()
    assert [(row["line"], row["status"]) for row in rows] == [(9, "broken")]
    text = command(config, "p", "--status", "surplus", "--status", "missing", "--limit", "2")[1]
    assert "studies with scans that have none" in text
    assert sum(line.startswith(("surplus  ", "missing  ")) for line in text.splitlines()) == 2

    study = json.loads(command(config, "p", "1.2.2", "--json")[1])
    assert study["key"] == key_of(2)
    assert [row["line"] for row in study["rows"]] == [4, 5, 6]
    assert study["variants"][0]["sentences"] == ["Infarct of two.", "There is a cyst too."]
    assert (
        command(config, "p", key_of(2), "--json")[1] == command(config, "p", "1.2.2", "--json")[1]
    )
    shown = command(config, "p", "1.2.2")[1]
    assert "Infarct of two." in shown
    assert "line 6" in shown
    with pytest.raises(UserError, match="is no study in"):
        command(config, "p", "1.2.77")
    with pytest.raises(UserError, match="is no study in"):
        command(config, "p", "0" * 32)


def test_what_the_rules_leave_out_and_why() -> None:
    text = "TECHNIQUE: MRI with contrast.\nFINDINGS: No bleed. No bleed.\nA mass.\nSigned by Dr. X"
    found = list(report_view.left_out(text, ["No bleed.", "A mass."]))
    assert [piece.text for piece in found] == ["MRI with contrast.", "No bleed.", "Signed by Dr. X"]
    assert [piece.reason for piece in found] == ["under 'TECHNIQUE'", "said before", "boilerplate"]


def test_an_unknown_pipeline_setting(tmp_path: Path) -> None:
    with pytest.raises(ValueError, match="groups named accession and patient"):
        Pipeline(
            name="p",
            dataset="d",
            run="r",
            ingest={"columns": {"pattern": "(?P<accession>x)"}},  # type: ignore[arg-type]
        )
