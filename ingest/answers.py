"""What language models (or rules) make of reports, put into the tables of a run, part by part.

In: the tables of a run as grouping left them (scrubbed reports among them), the pipeline's
summarizers and labelers, the answers that were paid. Out: the same tables with the sentences of
every variant and the labels of every set, and a digest of every sample anew. The idea: asking is
the client's, and ends before anything is written; what the tables get is a function of them and of
the answers, so that it may be done again at any time. A part whose tables and answers are those of
the last time is not done again.
"""

from __future__ import annotations

import hashlib
import json
from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import asdict, dataclass, field, replace
from functools import partial
from pathlib import Path
from typing import Any

import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq

from ingest import (
    assign,
    labelled,
    labels,
    llm_run,
    prepare,
    runfolder,
    summaries,
    summarize,
    turn,
)
from ingest.cluster import Workers
from ingest.labelled import LabelCounts
from ingest.live import Live
from ingest.llm_cache import Cache, key_of
from ingest.llm_prompt import Prompt, Question
from ingest.llm_spent import Spent, Stop
from ingest.plan import digest_of
from ingest.planning import Grouped, tried
from ingest.runfolder import part_file
from ingest.summaries import Counts
from study.errors import UserError
from study.ingest_sections import Ingest
from study.llm_sections import Llm
from study.records import Reason, Report

MARK, COUNTS = b"answered", b"answers"
"""Kept in a part of `studies`: what its sentences and labels were made of, and what came of it."""
ASKED = ("", str(Reason.NO_REPORT))
"""Reasons of studies whose report is asked about: those that get a sample, and those that lack
nothing but sentences."""
ROWS = 1024


@dataclass(frozen=True)
class Answered:
    """Studies with their sentences and labels."""

    grouped: Grouped
    summaries: Mapping[str, Counts] = field(default_factory=dict)
    """By variant."""
    labels: Mapping[str, LabelCounts] = field(default_factory=dict)
    """By label set."""

    def as_json(self) -> dict[str, Any]:
        return {
            "summaries": {name: counts.as_json() for name, counts in self.summaries.items()},
            "labels": {name: counts.as_json() for name, counts in self.labels.items()},
        }


@dataclass(frozen=True)
class PutPart:
    """What the client must know of a part."""

    part: int
    digests: tuple[str, ...]
    """Of its samples, in the order of keys."""
    summaries: dict[str, Counts]
    labels: dict[str, LabelCounts]


class Texts(Iterable[str]):
    """The scrubbed reports of a run that are worth asking about, read anew each time."""

    def __init__(self, run: Path, parts: int) -> None:
        self._run, self._parts = run, parts

    def __iter__(self) -> Iterator[str]:
        for part in range(self._parts):
            with pq.ParquetFile(part_file(self._run, "studies", part)) as file:
                for rows in file.iter_batches(ROWS, columns=["report", "reason"]):
                    for row in rows.to_pylist():
                        if row["report"] and row["reason"] in ASKED:
                            yield row["report"]


def answers_in(run: Path, settings: Ingest) -> Path:
    """Where the answers of language models are kept."""
    return Path(settings.speed.answers) if settings.speed.answers else run / summarize.FOLDER


@dataclass(frozen=True)
class Asking:
    """One prompt to one model, about all reports."""

    name: str
    """A variant of sentences, or a label set and the model that is asked."""
    prompt: Prompt
    model: Llm


def askings(settings: Ingest) -> list[Asking]:
    """All that a pipeline has language models asked. UserError where a prompt or set is broken."""
    sentences = [Asking(s.variant, summarize.prompt_of(s), s) for s in settings.summarizers]
    by_label = [
        Asking(f"{labeler.label_set} by {model.model}", labels.prompt_of(labeler), model)
        for labeler in settings.labelers
        for model in labeler.models
    ]
    return sentences + by_label


def ask(run: Path, parts: int, settings: Ingest, asking: Asking, live: Live, **how: Any) -> Spent:
    """Have one model asked about all reports of a run; `how` as of `llm_run.ask`."""

    def progress(done: int, total: int, cost: float) -> None:
        live.spent(asking.name, cost)
        live("ask", done, total)

    return llm_run.ask(
        Texts(run, parts),
        asking.prompt,
        asking.model,
        answers_in(run, settings),
        scrubbed=True,
        progress=progress,
        **how,
    )


def refuse_unanswered(asking: Asking, spent: Spent) -> None:
    """Raise UserError where reports are left without an answer: a dataset has all or none."""
    if spent.stopped is Stop.COST:
        why = f"max_cost is reached after {spent.cost:.2f}"
    elif spent.unanswered:
        why = f"the endpoint left {spent.unanswered:,} unanswered ({spent.told})"
    else:
        return
    raise UserError(
        f"{asking.name}: not all reports have an answer: {why}. What was answered is kept; the "
        "same command goes on from there."
    )


def facts_of(spent: Spent) -> dict[str, Any]:
    """A run of questions as JSON."""
    return {**asdict(spent), "stopped": str(spent.stopped) if spent.stopped else None}


def put(
    run: Path, grouped: Grouped, settings: Ingest, workers: Workers, live: Live, of_turn: str
) -> Answered:
    """Put sentences and labels into all parts, on the workers where there are several."""
    Cache(answers_in(run, settings)).close()  # there, if only empty, for all to read
    one = partial(put_part, run=run, settings=settings, of_turn=of_turn)
    make = partial(tried, one, retries=settings.speed.max_retries)
    parts = range(grouped.parts)
    found = workers.unordered(make, parts) if grouped.parts > 1 else map(make, parts)
    made: list[PutPart] = []
    for part in found:
        made.append(part)
        if grouped.parts > 1:
            live("check", len(made), grouped.parts)
    made.sort(key=lambda part: part.part)
    digests = np.concatenate([np.array([], assign.TEXT), *(assign.texts(p.digests) for p in made)])
    return Answered(
        replace(grouped, digests=digests),
        {
            s.variant: sum((p.summaries[s.variant] for p in made), Counts())
            for s in settings.summarizers
        },
        {
            labeler.label_set: sum((p.labels[labeler.label_set] for p in made), LabelCounts())
            for labeler in settings.labelers
        },
    )


def put_part(part: int, run: Path, settings: Ingest, of_turn: str = turn.NOBODY) -> PutPart:
    """Put sentences and labels into one part; a worker runs it."""
    turn.refuse_if_over(run, of_turn)
    studies = pq.read_table(part_file(run, "studies", part))
    known = studies.schema.metadata or {}
    rows = studies.to_pylist()
    texts = {s.variant: Counts() for s in settings.summarizers}
    answers = {labeler.label_set: LabelCounts() for labeler in settings.labelers}
    scans = _scan_digests(run, part)
    more: dict[str, list[dict[str, Any]]] = {"summaries": [], "labelled": []}
    with Cache(answers_in(run, settings), read_only=True) as cache:
        mark = _mark(rows, known, settings, cache)
        if known.get(MARK) == mark:
            return _as_before(part, rows, json.loads(known[COUNTS]))
        for row in rows:
            is_asked = _is_asked(row)
            said = summaries.of_report(
                row["report"], settings.summarizers if is_asked else (), cache
            )
            summaries.put(row, said)
            found = labelled.of_row(row, settings.labelers if is_asked else (), cache)
            labelled.put(row, found)
            _finish(row, scans.get(row["key"], ()), settings)
            more["summaries"] += summaries.rows_of(row["key"], said)
            more["labelled"] += labelled.rows_of(row["key"], found)
            for variant, summary in said.items():
                texts[variant].add(summary)
            for name, labels_found in found.items():
                answers[name].add(labels_found)
    counts = {
        "summaries": {name: counted.as_json() for name, counted in texts.items()},
        "labels": {name: counted.as_json() for name, counted in answers.items()},
    }
    turn.refuse_if_over(run, of_turn)
    _write(run, part, rows, more, {**known, MARK: mark, COUNTS: json.dumps(counts).encode()})
    return PutPart(part, tuple(row["digest"] for row in rows), texts, answers)


def _as_before(part: int, rows: Sequence[Mapping[str, Any]], counts: Mapping[str, Any]) -> PutPart:
    return PutPart(
        part,
        tuple(row["digest"] for row in rows),
        {name: Counts.of(facts) for name, facts in counts["summaries"].items()},
        {name: LabelCounts.of(facts) for name, facts in counts["labels"].items()},
    )


def _mark(
    rows: Sequence[Mapping[str, Any]],
    known: Mapping[bytes, bytes],
    settings: Ingest,
    cache: Cache,
) -> bytes:
    """What the sentences and labels of a part are made of: its reports, the settings, the answers,
    and the program (that is in the part's identity)."""
    found = hashlib.sha256(known[prepare.IDENTITY])
    found.update(json.dumps(shaping(settings), sort_keys=True).encode())
    asked = askings(settings)
    for row in rows:
        for asking in asked if _is_asked(row) else ():
            question = Question(asking.prompt, row["report"])
            settled = None if question.is_empty else cache.get(key_of(question, asking.model))
            answer = None if settled is None else [settled.answer, settled.failure]
            found.update(json.dumps(answer, sort_keys=True).encode())
    return found.hexdigest().encode()


def shaping(settings: Ingest) -> dict[str, Any]:
    """What of summarizers and labelers shapes a dataset; nothing where there are none."""
    found: dict[str, Any] = {}
    if settings.summarizers:
        found["summarizers"] = {s.variant: summarize.shaping(s) for s in settings.summarizers}
    if settings.labelers:
        made = [labels.provenance(labeler) for labeler in settings.labelers]
        found["labelers"] = {facts["set"]: facts for facts in made}
    return found


def _is_asked(row: Mapping[str, Any]) -> bool:
    return bool(row["report"]) and row["reason"] in ASKED


def _finish(row: dict[str, Any], scans: Sequence[str], settings: Ingest) -> None:
    """Give a row of `studies`, which has its sentences and labels, its reason and digest."""
    sentences = {name: tuple(said) for name, said in json.loads(row["sentences"]).items()}
    if row["reason"] in ASKED:
        is_missing = settings.without_report == "reject" and not sentences
        row["reason"] = str(Reason.NO_REPORT) if is_missing else ""
    row["digest"] = digest_of(
        scans,
        Report(sentences, row["report"]),
        json.loads(row["labels"]),
        (row["age_years"], row["sex"], row["patient"], row["split"]),
        Reason(row["reason"]) if row["reason"] else None,
    )


def _scan_digests(run: Path, part: int) -> dict[str, list[str]]:
    """Digests of the scans of each study of a part, in order."""
    columns = ["key", "scan", "digest"]
    rows = pq.read_table(part_file(run, "scans", part), columns=columns).to_pylist()
    found: dict[str, list[str]] = {}
    for row in sorted(rows, key=lambda row: (row["key"], row["scan"])):
        found.setdefault(row["key"], []).append(row["digest"])
    return found


def _write(
    run: Path,
    part: int,
    rows: Sequence[Mapping[str, Any]],
    more: Mapping[str, Sequence[Mapping[str, Any]]],
    facts: Mapping[bytes, bytes],
) -> None:
    """Write the tables of a part, `studies` last: its mark says that the others are there."""
    sentences = [
        {"key": row["key"], "variant": variant, "number": number, "sentence": sentence}
        for row in rows
        for variant, said in json.loads(row["sentences"]).items()
        for number, sentence in enumerate(said)
    ]
    for name, content in {"sentences": sentences, **more, "studies": rows}.items():
        table = pa.Table.from_pylist(list(content), schema=runfolder.TABLES[name])
        runfolder.write_part(run, name, part, table, facts if name == "studies" else None)
