"""What a run knows of its reports: how tables and studies met, and one study's text piece by piece.

In: a run folder, and perhaps a study by UID or key. Out: counts and rows, a part of the tables at a
time; or `StudyReport`: rows, report, and for every variant its sentences and what it left out, with
the reason. Of the rule-based variant that is worked out here; of a language model's sentences
`summaries.parquet` has what the check dropped.
"""

from __future__ import annotations

import json
import re
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any, NamedTuple

import pyarrow as pa
import pyarrow.compute as pc
import pyarrow.parquet as pq

from ingest import offline, part_texts, partition, report_join, scrub
from ingest.report_clean import plain
from ingest.report_join import JoinCounts, Outcome, RowStatus
from ingest.report_sections import Section, sections
from ingest.report_sentences import sentences
from ingest.report_titles import Kind
from ingest.runfolder import part_file
from study import pseudonyms
from study.errors import UserError
from study.pseudonyms import PSEUDONYM_DIGITS

KEY = re.compile(rf"[0-9a-f]{{{PSEUDONYM_DIGITS}}}")
WORDS = re.compile(r"\w+")
TABLES = (part_texts.REPORTS, part_texts.LABELS)


class LeftOut(NamedTuple):
    """A piece that is not among the sentences of a variant."""

    text: str
    reason: str


@dataclass(frozen=True)
class Variant:
    """The sentences of one summariser."""

    name: str
    sentences: tuple[str, ...]
    left_out: tuple[LeftOut, ...]
    flagged: bool = False
    """Someone should look: too many sentences were not supported, or the report speaks to a
    machine."""
    failure: str = ""
    """Why a language model gave no answer."""


@dataclass(frozen=True)
class StudyReport:
    """All that a run knows of the report of a study."""

    key: str
    study_uid: str
    split: str
    reason: str
    """Why the study is rejected before its pixels are read; empty: it is not."""
    rows: tuple[Outcome, ...]
    """Of the table of reports."""
    report: str
    """Scrubbed, as it is in the dataset."""
    scrubbed: Mapping[str, int]
    """Spans that were cut out of it, by kind."""
    labels: Mapping[str, float]
    votes: Mapping[str, Mapping[str, Any]]
    """Label set -> label -> what each model said of it; by rule, what the rules said."""
    variants: tuple[Variant, ...]

    def as_json(self) -> dict[str, Any]:
        return {
            **asdict(self),
            "rows": [row._asdict() for row in self.rows],
            "variants": [
                {**asdict(v), "left_out": [piece._asdict() for piece in v.left_out]}
                for v in self.variants
            ],
        }


def counts_in(run: Path) -> dict[str, JoinCounts]:
    """How each table met the studies. Raises UserError where nothing has been planned yet."""
    found = {name: JoinCounts() for name in TABLES}
    for part in range(num_parts(run)):
        studies = pq.read_table(part_file(run, "studies", part), columns=["reason"])
        scanless = pc.is_in(studies["reason"], pa.array(sorted(part_texts.SCANLESS), pa.string()))
        with_scans = len(studies) - (pc.sum(scanless).as_py() or 0)
        for name in TABLES:
            outcomes = report_join.outcomes_of(pq.read_table(part_file(run, name, part)))
            found[name] += report_join.counts(outcomes, with_scans)
    return {name: counts for name, counts in found.items() if counts.rows}


def scrubbed_in(run: Path) -> dict[str, int]:
    """Spans that were cut out of all reports, by kind."""
    found: dict[str, int] = {}
    for part in range(num_parts(run)):
        column = pq.read_table(part_file(run, "studies", part), columns=["scrubbed"])["scrubbed"]
        found = scrub.total([found, *map(json.loads, column.to_pylist())])
    return found


def rows_in(run: Path, name: str, statuses: Sequence[RowStatus]) -> Iterator[Outcome]:
    """Rows of a table (and studies without one) that became one of `statuses`."""
    wanted = [("status", "in", [str(status) for status in statuses])]
    for part in range(num_parts(run)):
        found = pq.read_table(part_file(run, name, part), filters=wanted)
        yield from report_join.outcomes_of(found)


def report_of(run: Path, target: str) -> StudyReport:
    """The report of a study, given by its UID or key. Raises UserError where it is not there."""
    parts, key = num_parts(run), target
    if not KEY.fullmatch(target):
        file = run / pseudonyms.KEY_FILE
        if not file.exists():
            raise UserError(f"there is no {file}: give the study's key, not its UID")
        key = pseudonyms.pseudonym(pseudonyms.project_key(file), "study", target)
    part = partition.part_of(key, parts)
    file = part_file(run, "studies", part)
    rows = pq.read_table(file, filters=[("key", "=", key)]).to_pylist()
    if not rows:
        raise UserError(f"{target} is no study in {run}: give a StudyInstanceUID or a study key")
    study = rows[0]
    mine = [("study_uid", "=", study["study_uid"])]
    table = pq.read_table(part_file(run, part_texts.REPORTS, part), filters=mine)
    text = study["report"]
    return StudyReport(
        key,
        study["study_uid"],
        study["split"],
        study["reason"],
        tuple(report_join.outcomes_of(table)),
        text,
        json.loads(study["scrubbed"]),
        json.loads(study["labels"]),
        _votes(part_file(run, "labelled", part), key),
        tuple(_variants(run, part, key, text, json.loads(study["sentences"]))),
    )


def _votes(file: Path, key: str) -> dict[str, dict[str, Any]]:
    rows = pq.read_table(file, filters=[("key", "=", key)]).to_pylist() if file.exists() else []
    return {
        row["label_set"]: json.loads(row["votes"]) or json.loads(row["answers"]) for row in rows
    }


def _variants(
    run: Path, part: int, key: str, text: str, sentences: Mapping[str, list[str]]
) -> Iterator[Variant]:
    """The rule-based one is always there, if only to say what it left out."""
    kept = sentences.get(offline.VARIANT, [])
    yield Variant(offline.VARIANT, tuple(kept), tuple(left_out(text, kept)))
    file = part_file(run, "summaries", part)
    rows = pq.read_table(file, filters=[("key", "=", key)]).to_pylist() if file.exists() else []
    for row in rows:
        dropped = json.loads(row["dropped"])
        yield Variant(
            row["variant"],
            tuple(sentences.get(row["variant"], ())),
            tuple(LeftOut(said, f"{reason}: {detail}") for said, reason, detail in dropped),
            row["flagged"],
            row["failure"],
        )


def left_out(text: str, kept: Sequence[str]) -> Iterator[LeftOut]:
    """What the rule-based summariser did not take of a report, and why."""
    whole = f" {' '.join(map(_folded, kept))} "
    seen = set[str]()
    for section in sections(plain(text)):
        for sentence in _pieces(section):
            words = _folded(sentence)
            if words and f" {words} " not in whole:
                yield LeftOut(sentence, _why(section))
            elif words and words in seen:
                yield LeftOut(sentence, "said before")
            seen.add(words)


def _pieces(section: Section) -> Iterator[str]:
    """Sentences of a section; of an administrative line, the line with its title."""
    if section.kind is Kind.LINE:
        yield ": ".join(part for part in (section.title, *section.lines) if part)
        return
    for line in section.lines:
        yield from sentences(line)


def _why(section: Section) -> str:
    if section.kind in offline.KEPT or section.kind is Kind.LINE:
        return "boilerplate"
    return f"under {section.title!r}" if section.title else "no finding"


def _folded(text: str) -> str:
    """The words of a text."""
    return " ".join(WORDS.findall(text.casefold()))


def num_parts(run: Path) -> int:
    """Of the tables of a run. Raises UserError where nothing has been planned yet."""
    found = len(list((run / "studies.parquet").glob("*.parquet")))
    if not found or not all((run / f"{name}.parquet").is_dir() for name in TABLES):
        raise UserError(f"there is no {run}/reports.parquet: nothing has been planned there yet")
    return found
