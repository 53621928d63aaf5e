"""Sentences of language models, put beside the rule-based ones, part by part.

In: the tables of a run as grouping left them (scrubbed reports among them), the pipeline's
summarisers, the answers that were paid. Out: the same tables with the sentences of every variant,
`summaries.parquet` (what the check dropped, what was flagged or failed), and a digest of every
sample anew. The idea: asking is the client's, and ends before anything is written; what the tables
get is a function of them and of the answers, so that it may be done again at any time. A part whose
tables and answers are those of the last time is not done again.
"""

from __future__ import annotations

import hashlib
import json
from collections import Counter
from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import asdict, dataclass, field, replace
from functools import partial
from pathlib import Path
from typing import Any

import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq

from ingest import assign, offline, prepare, runfolder, summarize, turn
from ingest.cluster import Workers
from ingest.live import Live
from ingest.llm_cache import Cache, key_of
from ingest.llm_prompt import Question
from ingest.llm_spent import Spent, Stop
from ingest.plan import digest_of
from ingest.planning import Grouped, tried
from ingest.runfolder import part_file
from ingest.summarize import Summary
from study.errors import UserError
from study.ingest_sections import Ingest
from study.llm_sections import Summarizer
from study.records import Reason, Report

MARK, COUNTS = b"summarised", b"summaries"
"""Kept in a part of `studies`: what its sentences were made of, and what came of it."""
ASKED = ("", str(Reason.NO_REPORT))
"""Reasons of studies whose report is asked about: those that get a sample, and those that lack
nothing but sentences."""
ROWS = 1024


@dataclass
class Counts:
    """What came of a variant."""

    reports: int = 0
    """With an answer."""
    sentences: int = 0
    """Supported by their report."""
    dropped: Counter[str] = field(default_factory=Counter)
    """Sentences that are not, by reason."""
    flagged: int = 0
    """Reports that someone should look at."""
    failed: Counter[str] = field(default_factory=Counter)
    """Reports without an answer, by reason."""
    unanswered: int = 0
    """Reports that were not asked yet."""

    @classmethod
    def of(cls, facts: Mapping[str, Any]) -> Counts:
        counters = {name: Counter(facts[name]) for name in ("dropped", "failed")}
        return cls(**{**facts, **counters})

    def as_json(self) -> dict[str, Any]:
        counters = {name: dict(getattr(self, name).most_common()) for name in ("dropped", "failed")}
        return {**vars(self), **counters}

    def __add__(self, other: Counts) -> Counts:
        mine, others = vars(self), vars(other)
        return Counts(**{name: value + others[name] for name, value in mine.items()})

    def add(self, summary: Summary | None) -> None:
        if summary is None:
            self.unanswered += 1
        elif summary.failure:
            self.failed[str(summary.failure)] += 1
        else:
            self.reports += 1
            self.sentences += len(summary.sentences)
            self.dropped.update(str(dropped.reason) for dropped in summary.dropped)
            self.flagged += summary.flagged


@dataclass(frozen=True)
class Summarised:
    """Studies with their sentences."""

    grouped: Grouped
    counts: Mapping[str, Counts] = field(default_factory=dict)
    """By variant."""

    def as_json(self) -> dict[str, Any]:
        return {variant: counts.as_json() for variant, counts in self.counts.items()}


@dataclass(frozen=True)
class PutPart:
    """What the client must know of a part."""

    part: int
    digests: tuple[str, ...]
    """Of its samples, in the order of keys."""
    counts: dict[str, Counts]


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


def ask(
    run: Path, parts: int, settings: Ingest, summarizer: Summarizer, live: Live, **how: Any
) -> Spent:
    """Have one summariser asked about all reports of a run; `how` as of `summarize.ask_all`."""

    def progress(done: int, total: int, cost: float) -> None:
        live.spent(summarizer.variant, cost)
        live("summarize", done, total)

    folder = answers_in(run, settings)
    texts = Texts(run, parts)
    return summarize.ask_all(texts, summarizer, folder, scrubbed=True, progress=progress, **how)


def refuse_unanswered(summarizer: Summarizer, spent: Spent) -> None:
    """Raise UserError where reports are left without an answer: a dataset has all or none."""
    if spent.stopped is Stop.COST:
        why = f"max_cost is reached after {spent.cost:.2f}"
    elif spent.unanswered:
        why = f"the endpoint left {spent.unanswered:,} unanswered ({spent.told})"
    else:
        return
    raise UserError(
        f"summarizer {summarizer.variant}: not all reports have an answer: {why}. What was "
        "answered is kept; the same command goes on from there."
    )


def facts_of(spent: Spent) -> dict[str, Any]:
    """A run of questions as JSON."""
    return {**asdict(spent), "stopped": str(spent.stopped) if spent.stopped else None}


def put(
    run: Path, grouped: Grouped, settings: Ingest, workers: Workers, live: Live, of_turn: str
) -> Summarised:
    """Put the sentences into all parts, on the workers where there are several."""
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
    counts = {
        s.variant: sum((p.counts[s.variant] for p in made), Counts()) for s in settings.summarizers
    }
    return Summarised(replace(grouped, digests=digests), counts)


def put_part(part: int, run: Path, settings: Ingest, of_turn: str = turn.NOBODY) -> PutPart:
    """Put the sentences into one part; a worker runs it."""
    turn.refuse_if_over(run, of_turn)
    studies = pq.read_table(part_file(run, "studies", part))
    known = studies.schema.metadata or {}
    rows = studies.to_pylist()
    with Cache(answers_in(run, settings), read_only=True) as cache:
        mark = _mark(rows, known, settings.summarizers, cache)
        if known.get(MARK) == mark:
            counts = {name: Counts.of(facts) for name, facts in json.loads(known[COUNTS]).items()}
            return PutPart(part, tuple(row["digest"] for row in rows), counts)
        found = [_summaries(row, settings.summarizers, cache) for row in rows]
    counts = {summarizer.variant: Counts() for summarizer in settings.summarizers}
    scans = _scan_digests(run, part)
    for row, summaries in zip(rows, found, strict=True):
        for variant, summary in summaries.items():
            counts[variant].add(summary)
        _put_row(row, summaries, scans.get(row["key"], ()), settings)
    turn.refuse_if_over(run, of_turn)
    _write(
        run,
        part,
        rows,
        found,
        {
            **known,
            MARK: mark,
            COUNTS: json.dumps({n: c.as_json() for n, c in counts.items()}).encode(),
        },
    )
    return PutPart(part, tuple(row["digest"] for row in rows), counts)


def _mark(
    rows: Sequence[Mapping[str, Any]],
    known: Mapping[bytes, bytes],
    summarizers: Sequence[Summarizer],
    cache: Cache,
) -> bytes:
    """What the sentences of a part are made of: its reports, the settings, the answers, and the
    program (that is in the part's identity)."""
    found = hashlib.sha256(known[prepare.IDENTITY])
    found.update(json.dumps([summarize.shaping(s) for s in summarizers], sort_keys=True).encode())
    for row in rows:
        for summarizer in summarizers if _is_asked(row) else ():
            question = Question(summarize.prompt_of(summarizer), row["report"])
            settled = None if question.is_empty else cache.get(key_of(question, summarizer))
            answer = None if settled is None else [settled.answer, settled.failure]
            found.update(json.dumps(answer, sort_keys=True).encode())
    return found.hexdigest().encode()


def _is_asked(row: Mapping[str, Any]) -> bool:
    return bool(row["report"]) and row["reason"] in ASKED


def _summaries(
    row: Mapping[str, Any], summarizers: Sequence[Summarizer], cache: Cache
) -> dict[str, Summary | None]:
    """By variant; nothing where nothing is asked."""
    if not _is_asked(row):
        return {}
    return {s.variant: summarize.summary_of(row["report"], s, cache) for s in summarizers}


def _put_row(
    row: dict[str, Any],
    summaries: Mapping[str, Summary | None],
    scans: Sequence[str],
    settings: Ingest,
) -> None:
    """Give a row of `studies` its sentences, reason and digest."""
    by_rule = json.loads(row["sentences"]).get(offline.VARIANT)
    sentences = {offline.VARIANT: by_rule} if by_rule else {}
    for variant, summary in summaries.items():
        if summary and summary.sentences:
            sentences[variant] = list(summary.sentences)
    row["sentences"] = json.dumps(sentences)
    if row["reason"] in ASKED:
        is_missing = settings.without_report == "reject" and not sentences
        row["reason"] = str(Reason.NO_REPORT) if is_missing else ""
    row["digest"] = digest_of(
        scans,
        Report({name: tuple(found) for name, found in sentences.items()}, row["report"]),
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
    found: Sequence[Mapping[str, Summary | None]],
    facts: Mapping[bytes, bytes],
) -> None:
    """Write the tables of a part, `studies` last: its mark says that the others are there."""
    sentences = [
        {"key": row["key"], "variant": variant, "number": number, "sentence": sentence}
        for row in rows
        for variant, said in json.loads(row["sentences"]).items()
        for number, sentence in enumerate(said)
    ]
    summaries = [
        {
            "key": row["key"],
            "variant": variant,
            "flagged": summary.flagged,
            "failure": str(summary.failure or ""),
            "dropped": json.dumps([[d.sentence, d.reason, d.detail] for d in summary.dropped]),
        }
        for row, by_variant in zip(rows, found, strict=True)
        for variant, summary in by_variant.items()
        if summary is not None
    ]
    tables = {"sentences": sentences, "summaries": summaries, "studies": rows}
    for name, content in tables.items():
        table = pa.Table.from_pylist(list(content), schema=runfolder.TABLES[name])
        runfolder.write_part(run, name, part, table, facts if name == "studies" else None)
