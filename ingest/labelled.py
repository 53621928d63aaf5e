"""Labels of reports, put beside those of the labels table.

In: a row of the run's `studies`, the pipeline's labelers, the answers that were paid. Out: the
row's labels, who said what of them, and `LabelCounts`. What the table says of a study counts; what
a labeler says fills in the rest, an earlier set before a later one.
"""

from __future__ import annotations

import json
from collections import Counter
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any

from ingest import offline
from ingest.label_set import find_label_set
from ingest.label_words import offline_labels
from ingest.labels import Labels, labels_of
from ingest.llm_cache import Cache
from study.llm_sections import Labeler


@dataclass
class LabelCounts:
    """What came of a label set."""

    reports: int = 0
    """With answers."""
    answers: dict[str, Counter[str]] = field(default_factory=dict)
    """Label -> answer -> reports."""
    flagged: int = 0
    """Reports that someone should look at."""
    failed: Counter[str] = field(default_factory=Counter)
    """Failures of models by reason; a report without any answer has one for each model."""
    unanswered: int = 0
    """Reports that were not asked yet."""

    @classmethod
    def of(cls, facts: Mapping[str, Any]) -> LabelCounts:
        """Inverse of `as_json`."""
        answers = {label: Counter(found) for label, found in facts["answers"].items()}
        return cls(**{**facts, "answers": answers, "failed": Counter(facts["failed"])})

    def as_json(self) -> dict[str, Any]:
        answers = {label: dict(found) for label, found in self.answers.items()}
        return {**vars(self), "answers": answers, "failed": dict(self.failed.most_common())}

    def __add__(self, other: LabelCounts) -> LabelCounts:
        names = dict.fromkeys([*self.answers, *other.answers])
        none: Counter[str] = Counter()
        return LabelCounts(
            self.reports + other.reports,
            {n: self.answers.get(n, none) + other.answers.get(n, none) for n in names},
            self.flagged + other.flagged,
            self.failed + other.failed,
            self.unanswered + other.unanswered,
        )

    def add(self, found: Labels | None) -> None:
        if found is None:
            self.unanswered += 1
            return
        self.failed.update(str(failure) for failure in found.failures.values())
        self.flagged += found.flagged
        self.reports += bool(found.answers)
        for label, answer in found.answers.items():
            self.answers.setdefault(label, Counter())[str(answer)] += 1


Found = Mapping[str, Labels | None]
"""Of a report, by label set; None: a model was not asked yet."""


def of_row(row: Mapping[str, Any], labelers: Sequence[Labeler], cache: Cache) -> Found:
    """Labels by every labeler; those without models go by the rule-based sentences."""
    return {labeler.label_set: _of_one(row, labeler, cache) for labeler in labelers}


def _of_one(row: Mapping[str, Any], labeler: Labeler, cache: Cache) -> Labels | None:
    if labeler.models:
        return labels_of(row["report"], labeler, cache)
    sentences = json.loads(row["sentences"]).get(offline.VARIANT, [])
    return Labels(offline_labels(sentences, find_label_set(labeler.label_set)))


def put(row: dict[str, Any], found: Found) -> None:
    """Give a row of `studies` its labels."""
    values: dict[str, float] = {}
    for name, labels in reversed(list(found.items())):
        if labels is not None:
            values |= find_label_set(name).values(dict(labels.answers))
    row["labels"] = json.dumps({**values, **json.loads(row["given_labels"])})


def rows_of(key: str, found: Found) -> Iterator[dict[str, Any]]:
    """Rows of the run's `labelled`: where a study's labels are from."""
    for name, labels in found.items():
        if labels is not None:
            yield {
                "key": key,
                "label_set": find_label_set(name).title,
                "flagged": labels.flagged,
                "failures": json.dumps(dict(labels.failures)),
                "answers": json.dumps(dict(labels.answers)),
                "votes": json.dumps({label: dict(v) for label, v in labels.votes.items()}),
            }
