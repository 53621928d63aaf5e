"""Rows of reports or labels meet the studies: what becomes of every row, and who is left without.

In: rows (`reports`), the studies of a crawl (`known_studies`). Out: first rows dealt out, each with
its study, as Arrow tables; then, for the studies of a part, a value a study and an `Outcome` for
every row and for every study without one, as `RUN/reports.parquet` and `RUN/labels.parquet` hold
them. Nothing is dropped in silence. The order of rows is that of the files; who works when does not
matter.
"""

from __future__ import annotations

import hashlib
import json
from collections import Counter, defaultdict
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from dataclasses import asdict, dataclass, field
from enum import StrEnum
from typing import Any, NamedTuple

import pyarrow as pa

from ingest.known_studies import Known
from ingest.members import escaped
from ingest.reports import Row


class RowStatus(StrEnum):
    """What became of a row, or (the last) of a study that none is of."""

    JOINED = "joined"
    DUPLICATE = "duplicate"
    """Another row of the study says the same."""
    SUPERSEDED = "superseded"
    """A later row of the study counts in its place."""
    AMBIGUOUS = "ambiguous"
    """It could be of several studies, or several rows of the study differ."""
    SURPLUS = "surplus"
    """Its study is not among the images."""
    EMPTY = "empty"
    """It says nothing."""
    BROKEN = "broken"
    """It cannot be read, or does not say whose it is."""
    MISSING = "missing"
    """No row: a study that has scans, and no report (or no labels)."""


class Outcome(NamedTuple):
    """What became of a row, or of a study without one (then without file)."""

    file: str
    line: int
    """0: the file is one report."""
    key: str
    """What the row says of its study, as it stands there."""
    study_uid: str
    """Empty: not known."""
    status: RowStatus
    reason: str = ""


OUTCOMES = pa.schema(
    [(name, pa.int64() if name == "line" else pa.string()) for name in Outcome._fields]
)


class Dealt(NamedTuple):
    """A row with the study that it is of; `status` is set where it is settled already."""

    study_uid: str
    file: str
    line: int
    key: str
    value: str
    status: str = ""
    reason: str = ""


DEALT = pa.schema([(name, pa.int64() if name == "line" else pa.string()) for name in Dealt._fields])


@dataclass(frozen=True)
class JoinCounts:
    """How a table and the studies met."""

    rows: int = 0
    joined: int = 0
    """Studies with scans that have a value."""
    surplus: int = 0
    """Rows of studies that were not found."""
    missing: int = 0
    """Studies with scans that have none."""
    duplicate: int = 0
    """Rows that say what another of their study says."""
    superseded: int = 0
    ambiguous: int = 0
    empty: int = 0
    broken: int = 0

    def __add__(self, other: JoinCounts) -> JoinCounts:
        """Of two parts of a table and of the studies."""
        mine, theirs = asdict(self), asdict(other)
        return JoinCounts(**{name: mine[name] + theirs[name] for name in mine})

    def as_json(self) -> dict[str, Any]:
        return asdict(self)

    def words(self) -> str:
        """What did not join, for people; empty where all did."""
        said = {
            "rows whose study is not there": self.surplus,
            "studies without a row": self.missing,
            "rows that cannot be read": self.broken,
            "rows that could be of several studies, or contradict others": self.ambiguous,
            "rows superseded by later ones": self.superseded,
            "rows that are empty": self.empty,
        }
        return ", ".join(f"{what}: {count:,}" for what, count in said.items() if count)


# ------------------------------------------------------------------------------- the client


def dealt(rows: Iterable[Row], known: Known) -> Iterator[Dealt]:
    """Rows with their studies. Of a study that is not there, nothing but the key is carried on."""
    for row in rows:
        place = escaped(row.file), row.line, escaped(row.key.words())
        if row.fault:
            yield Dealt("", *place, "", RowStatus.BROKEN, escaped(row.fault))
        elif row.key.study_uid:
            is_there = known.has(row.key.study_uid)
            study_uid = escaped(row.key.study_uid)
            yield Dealt(study_uid, *place, row.value if is_there else "")
        else:
            yield _by_order(row, known, place)


def _by_order(row: Row, known: Known, place: tuple[str, int, str]) -> Dealt:
    """A row that names its study by accession number and patient."""
    found = known.studies_of(row.key)
    if not found:
        why = "no image has this accession number and PatientID"
        return Dealt("", *place, "", RowStatus.SURPLUS, why)
    if len(found) > 1:
        why = f"{len(found)} studies have this accession number and PatientID"
        return Dealt("", *place, "", RowStatus.AMBIGUOUS, why)
    return Dealt(found[0], *place, row.value)


def to_table(rows: Sequence[Dealt]) -> pa.Table:
    return pa.table([list(column) for column in zip(*rows, strict=True)], schema=DEALT)


def from_table(rows: pa.Table) -> list[Dealt]:
    columns = [column.to_pylist() for column in rows.columns]
    return [Dealt(*values) for values in zip(*columns, strict=True)]


def spread(row: Dealt) -> str:
    """What a row without a study is dealt out by: hexadecimal digits, evenly spread."""
    return hashlib.sha256(f"{row.file}:{row.line}".encode("utf-8", "surrogatepass")).hexdigest()


# ------------------------------------------------------------------------------- a part

Together = Callable[[Sequence[str]], tuple[str, frozenset[int]] | None]
"""Different values of one study -> one, and which of them it says without their being added; None
where they contradict each other."""


@dataclass
class Joined:
    """Values by StudyInstanceUID, and what became of every row."""

    values: dict[str, str] = field(default_factory=dict)
    outcomes: list[Outcome] = field(default_factory=list)

    def add(self, other: Joined) -> None:
        self.values |= other.values
        self.outcomes += other.outcomes


def join(
    rows: Sequence[Dealt], studies: frozenset[str], several: str, together: Together
) -> Joined:
    """Rows in order -> a value a study. `studies` are those that there are; `several` is the
    setting `ingest.several_reports`."""
    result = Joined()
    by_study: dict[str, list[Dealt]] = defaultdict(list)
    for row in rows:
        if row.status:
            result.outcomes.append(_outcome(row, RowStatus(row.status), row.reason))
        elif row.study_uid not in studies:
            why = "no image has this StudyInstanceUID"
            result.outcomes.append(_outcome(row, RowStatus.SURPLUS, why))
        elif not row.value:
            result.outcomes.append(_outcome(row, RowStatus.EMPTY, "it says nothing"))
        else:
            by_study[row.study_uid].append(row)
    for study_uid, found in by_study.items():
        value, outcomes = _of_study(found, several, together)
        result.outcomes += outcomes
        if value:
            result.values[study_uid] = value
    return result


def _of_study(rows: Sequence[Dealt], several: str, together: Together) -> tuple[str, list[Outcome]]:
    """The value of one study, whose rows all say something."""
    if several == "last":
        return rows[-1].value, [_before_the_last(row, rows[-1]) for row in rows]
    first: dict[str, Dealt] = {}
    for row in rows:
        first.setdefault(row.value, row)
    values = list(first)
    joined = together(values) if several == "join" or len(values) == 1 else None
    if joined is None:
        why = f"{len(values)} rows of the study " + (
            "differ (ingest.several_reports: reject)"
            if several == "reject"
            else "contradict each other"
        )
        return "", [_outcome(row, RowStatus.AMBIGUOUS, why) for row in rows]
    value, within = joined
    outcomes = []
    for row in rows:
        if row is not first[row.value]:
            outcomes.append(_outcome(row, RowStatus.DUPLICATE, f"as {_place(first[row.value])}"))
        elif values.index(row.value) in within:
            outcomes.append(
                _outcome(row, RowStatus.SUPERSEDED, "another row of the study holds all of it")
            )
        else:
            outcomes.append(_outcome(row, RowStatus.JOINED))
    return value, outcomes


def _before_the_last(row: Dealt, last: Dealt) -> Outcome:
    if row is last:
        return _outcome(row, RowStatus.JOINED)
    status = RowStatus.DUPLICATE if row.value == last.value else RowStatus.SUPERSEDED
    return _outcome(row, status, f"by {_place(last)}")


def _outcome(row: Dealt, status: RowStatus, reason: str = "") -> Outcome:
    return Outcome(row.file, row.line, row.key, row.study_uid, status, reason)


def _place(row: Dealt) -> str:
    return f"line {row.line} of {row.file}" if row.line else row.file


def texts_together(values: Sequence[str]) -> tuple[str, frozenset[int]]:
    """Texts one after the other; one that another holds whole (an addended report that repeats the
    first) is not said twice.

    >>> texts_together(["No bleed.", "No bleed. Addendum: a mass.", "Seen by A."])
    ('No bleed. Addendum: a mass.\\n\\nSeen by A.', frozenset({0}))
    """
    within = frozenset(
        n for n, value in enumerate(values) if any(value in o for o in values if o != value)
    )
    return "\n\n".join(v for n, v in enumerate(values) if n not in within), within


def labels_together(values: Sequence[str]) -> tuple[str, frozenset[int]] | None:
    """Labels of all rows; None where two rows give one label different values.

    >>> labels_together(['{"mass": 1.0}', '{"bleed": 0.0}'])[0]
    '{"mass": 1.0, "bleed": 0.0}'
    >>> labels_together(['{"mass": 1.0}', '{"mass": 0.0}']) is None
    True
    """
    found: dict[str, float] = {}
    for value in values:
        for name, number in json.loads(value).items():
            if found.setdefault(name, number) != number:
                return None
    return json.dumps(found), frozenset()


def with_missing(joined: Joined, with_scans: Mapping[str, bool]) -> list[Outcome]:
    """All outcomes of a part, in a fixed order, with those of the studies that have scans and no
    value. `with_scans`: such studies, and whether anything was found in their text."""
    by_study: dict[str, Counter[RowStatus]] = defaultdict(Counter)
    for outcome in joined.outcomes:
        by_study[outcome.study_uid][outcome.status] += 1
    missing = []
    for study_uid, says_something in with_scans.items():
        if study_uid in joined.values and says_something:
            continue
        statuses = ", ".join(sorted(by_study[study_uid])) if study_uid in by_study else ""
        why = (
            "its text holds no finding"
            if study_uid in joined.values
            else f"its rows are {statuses}"
            if statuses
            else "no row"
        )
        missing.append(Outcome("", 0, "", study_uid, RowStatus.MISSING, why))
    return [*sorted(joined.outcomes), *sorted(missing)]


def counts(outcomes: Iterable[Outcome], with_scans: int) -> JoinCounts:
    """Sums of the outcomes of a part with so many studies that have scans."""
    by_status = Counter(outcome.status for outcome in outcomes)
    missing = by_status.pop(RowStatus.MISSING, 0)
    rows = sum(by_status.values())
    by_status.pop(RowStatus.JOINED, 0)
    rest = {str(status): count for status, count in by_status.items()}
    return JoinCounts(rows=rows, joined=with_scans - missing, missing=missing, **rest)


def outcomes_table(outcomes: Sequence[Outcome]) -> pa.Table:
    columns = [list(column) for column in zip(*outcomes, strict=True)] or [[]] * len(OUTCOMES)
    return pa.table(columns, schema=OUTCOMES)


def outcomes_of(rows: pa.Table) -> list[Outcome]:
    """Inverse of `outcomes_table`."""
    columns = [column.to_pylist() for column in rows.columns]
    return [
        Outcome(file, line, key, study_uid, RowStatus(status), reason)
        for file, line, key, study_uid, status, reason in zip(*columns, strict=True)
    ]
