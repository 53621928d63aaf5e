"""Which studies of a dataset have what one looks for.

In: a dataset and a `Query`. Out: a `Match` for every study, in the order of the dataset. Metadata
is answered from the table of the shards without touching a tar; only studies that pass are opened,
for their sentences. What is asked of scans must hold for one and the same scan: `MR`, `axial` and
`echo_time_ms<30` is an axial MR scan with a short echo time.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable, Iterator
from dataclasses import dataclass, replace
from typing import Any

import pyarrow as pa
import pyarrow.compute as pc

from shards.ahead import ahead
from shards.condition import SCAN_FIELDS, STUDY_FIELDS, Condition
from shards.index import SampleRef
from shards.reader import Dataset
from shards.words import Span, Words, composed, pieces
from study.errors import UserError

THREADS = 16
"""That read metadata; they wait for the disk or the network more than they compute."""
_ROWS = 4096
"""Of the table, made into Python values at a time."""

Heard = Callable[[int, int], None]
"""Told how many studies of how many have been looked at."""


@dataclass(frozen=True)
class Query:
    """What a study must be; empty means anything. Several words of one field mean any of them."""

    split: str | None = None
    sex: tuple[str, ...] = ()
    age: tuple[float, float] | None = None
    """Years, both included; a study of unknown age does not match."""
    labels: tuple[tuple[str, float | None], ...] = ()
    """Name and value of labels, all of which must hold; None: not known for the study."""
    modality: tuple[str, ...] = ()
    plane: tuple[str, ...] = ()
    window: tuple[str, ...] = ()
    flag: tuple[str, ...] = ()
    conditions: tuple[Condition, ...] = ()
    min_scans: int = 1
    """Scans that match what is asked of scans."""
    words: Words | None = None


@dataclass(frozen=True)
class Said:
    """A sentence that was found."""

    where: str
    """The summariser's variant, or `report` for a sentence of the report."""
    text: str
    spans: tuple[Span, ...]


@dataclass(frozen=True)
class Match:
    """A study that was found."""

    key: str
    split: str
    shard: int
    modalities: tuple[str, ...]
    num_scans: int
    scans: tuple[int, ...]
    """Numbers of the scans that match."""
    said: tuple[Said, ...] = ()


def find(dataset: Dataset, query: Query, heard: Heard = lambda done, of: None) -> Iterator[Match]:
    """The studies of a dataset that match, in its order. UserError for a window or label that the
    dataset does not have; nothing is read before it is asked for."""
    table = dataset.table()
    table = table.filter(pc.equal(table["status"], "used"))
    _check_names(table, query)
    refs = {(ref.key, ref.shard): ref for ref in dataset.samples(query.split)}
    rows = (
        row
        for row in _rows(table, query)
        if (row["key"], row["shard"]) in refs  # others are superseded
    )
    found = (
        _match(refs[row["key"], row["shard"]], row, scans)
        for row in rows
        if (scans := _scans(row, query)) is not None
    )
    if query.words is None:
        yield from found
        return
    chosen = list(found)  # how many there are is known before the first is opened
    wanted = query.words

    def read(match: Match) -> Match:
        meta = dataset.metadata(refs[match.key, match.shard])
        return replace(match, said=tuple(_said(meta["report"], wanted)))

    done = ahead(read, chosen, threads=THREADS, window=8 * THREADS)
    for number, match in enumerate(done, 1):
        heard(number, len(chosen))
        if match.said:
            yield match


def _rows(table: pa.Table, query: Query) -> Iterator[dict[str, Any]]:
    """Rows that have the right patient, labels and counts, and may have the right scans."""
    if query.split is not None:
        table = table.filter(pc.equal(table["split"], query.split))
    if query.sex:
        table = table.filter(pc.is_in(table["sex"], pa.array(query.sex)))
    if query.age is not None:
        low, high = query.age
        years = table["age_years"]
        table = table.filter(
            pc.and_(pc.greater_equal(years, low), pc.less_equal(years, high))  # null is dropped
        )
    table = table.filter(pc.greater_equal(table["num_scans"], query.min_scans))
    for batch in table.to_batches(max_chunksize=_ROWS):
        for row in batch.to_pylist(maps_as_pydicts="strict"):
            labels = row["labels"]
            if all(labels.get(name) == value for name, value in query.labels) and all(
                condition.holds(STUDY_FIELDS[condition.name](row))
                for condition in query.conditions
                if condition.name in STUDY_FIELDS
            ):
                yield row


def _scans(row: dict[str, Any], query: Query) -> tuple[int, ...] | None:
    """Numbers of the scans that match; None for too few."""
    numbers = tuple(n for n, scan in enumerate(row["scans"]) if _scan_matches(scan, query))
    return numbers if len(numbers) >= query.min_scans else None


def _scan_matches(scan: dict[str, Any], query: Query) -> bool:
    for wanted, value in (
        (query.modality, scan["modality"]),
        (query.plane, scan["plane"]),
        (query.window, scan["window"]),
    ):
        if wanted and value not in wanted:
            return False
    if query.flag and not set(query.flag) & set(scan["flags"]):
        return False
    return all(
        condition.holds(SCAN_FIELDS[condition.name](scan))
        for condition in query.conditions
        if condition.name in SCAN_FIELDS
    )


def _said(report: dict[str, Any], words: Words) -> Iterator[Said]:
    texts = [
        (variant, sentence)
        for variant, sentences in report["sentences"].items()
        for sentence in sentences
    ]
    texts += [("report", piece.strip()) for piece in pieces(report["text"])]
    for where, text in texts:
        spans = words.spans(composed(text))
        if spans is not None:
            yield Said(where, composed(text), tuple(spans))


def _match(ref: SampleRef, row: dict[str, Any], scans: tuple[int, ...]) -> Match:
    return Match(ref.key, ref.split, ref.shard, tuple(row["modalities"]), row["num_scans"], scans)


def _check_names(table: pa.Table, query: Query) -> None:
    """Windows and labels are the user's own words: what the dataset has is what may be asked."""
    if query.window:
        _check("--window", query.window, _distinct(table["windows"]), "window")
    if query.labels:
        names = [name for name, _ in query.labels]
        keys = pa.chunked_array([maps.keys for maps in table["labels"].chunks], pa.string())
        _check("--label", names, pc.unique(keys).to_pylist(), "label")


def _distinct(lists: pa.ChunkedArray) -> list[str]:
    return list(pc.unique(pc.list_flatten(lists)).to_pylist())


def _check(option: str, asked: Iterable[str], there: Iterable[str], what: str) -> None:
    known = sorted(there)
    for name in asked:
        if name not in known:
            has = f"there are: {', '.join(known)}" if known else f"it has no {what}s"
            raise UserError(f"{option} {name!r}: the dataset has no such {what}; {has}")
