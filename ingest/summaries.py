"""Sentences of language models, put beside the rule-based ones of a study.

In: a row of the run's `studies`, the pipeline's summarizers, the answers that were paid. Out: the
row's sentences by variant, what was dropped of them, and `Counts`.
"""

from __future__ import annotations

import json
from collections import Counter
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any

from ingest import offline, summarize
from ingest.llm_cache import Cache
from ingest.summarize import Summary
from study.llm_sections import Summarizer


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
        """Inverse of `as_json`."""
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


Summaries = Mapping[str, Summary | None]
"""Of a report, by variant; None: it was not asked yet."""


def of_report(text: str, summarizers: Sequence[Summarizer], cache: Cache) -> Summaries:
    return {s.variant: summarize.summary_of(text, s, cache) for s in summarizers}


def put(row: dict[str, Any], found: Summaries) -> None:
    """Give a row of `studies` its sentences: those by rule, then those that are found."""
    by_rule = json.loads(row["sentences"]).get(offline.VARIANT)
    sentences = {offline.VARIANT: by_rule} if by_rule else {}
    for variant, summary in found.items():
        if summary and summary.sentences:
            sentences[variant] = list(summary.sentences)
    row["sentences"] = json.dumps(sentences)


def rows_of(key: str, found: Summaries) -> Iterator[dict[str, Any]]:
    """Rows of the run's `summaries`."""
    for variant, summary in found.items():
        if summary is not None:
            yield {
                "key": key,
                "variant": variant,
                "flagged": summary.flagged,
                "failure": str(summary.failure or ""),
                "dropped": json.dumps([[d.sentence, d.reason, d.detail] for d in summary.dropped]),
            }
