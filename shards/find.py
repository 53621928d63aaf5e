"""Which studies of a dataset have what one looks for.

In: a dataset and a `Query`. Out: a `Match` for every study, in the order of the dataset. Metadata
is answered from the table of the shards without touching a tar; only studies that pass are opened,
for their sentences. What is asked of scans must hold for one and the same scan: `MR`, `axial` and
`echo_time_ms<30` is an axial MR scan with a short echo time.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable, Iterator
from dataclasses import dataclass, replace
from itertools import chain
from typing import Any

import numpy as np
import pyarrow as pa
import pyarrow.compute as pc

from shards.ahead import ahead
from shards.condition import SCAN_FIELDS, STUDY_FIELDS, Condition, where
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
    refs = {(ref.key, ref.shard): ref for ref in dataset.samples(query.split)}
    table = dataset.table()
    _check_names(table, query)
    found = (
        match
        for match in _matches(table.filter(pa.array(_studies(table, query))), query)
        if (match.key, match.shard) in refs  # others are superseded
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


def _studies(table: pa.Table, query: Query) -> np.ndarray:
    """Which rows have the right split, patient, labels and counts, as bool (N,)."""
    keep = where(pc.equal(table["status"], "used"))
    if query.split is not None:
        keep &= where(pc.equal(table["split"], query.split))
    if query.sex:
        keep &= where(pc.is_in(table["sex"], pa.array(query.sex)))
    if query.age is not None:
        keep &= where(pc.greater_equal(table["age_years"], query.age[0]))
        keep &= where(pc.less_equal(table["age_years"], query.age[1]))
    for name, value in query.labels:
        found = pc.map_lookup(table["labels"], name, "first")
        keep &= where(pc.is_null(found) if value is None else pc.equal(found, value))
    for condition in query.conditions:
        if condition.name in STUDY_FIELDS:
            keep &= condition.holds(STUDY_FIELDS[condition.name](table))
    return keep


def _scans(scans: pa.Array, query: Query) -> np.ndarray:
    """Which scans match, as bool (N,)."""
    keep = np.ones(len(scans), bool)
    for name, wanted in (
        ("modality", query.modality),
        ("plane", query.plane),
        ("window", query.window),
    ):
        if wanted:
            keep &= where(pc.is_in(pc.struct_field(scans, name), pa.array(wanted)))
    if query.flag:
        flags = pc.struct_field(scans, "flags")
        hit = where(pc.is_in(pc.list_flatten(flags), pa.array(query.flag)))
        scan = pc.list_parent_indices(flags).to_numpy()
        keep &= np.bincount(scan[hit], minlength=len(scans)) > 0
    for condition in query.conditions:
        if condition.name in SCAN_FIELDS:
            keep &= condition.holds(SCAN_FIELDS[condition.name](scans))
    return keep


def _matches(table: pa.Table, query: Query) -> Iterator[Match]:
    """Studies of the table that have enough scans that match."""
    lists = table["scans"].combine_chunks()
    scans, study = pc.list_flatten(lists), pc.list_parent_indices(lists).to_numpy()
    kept = np.flatnonzero(_scans(scans, query))
    study_of_kept = study[kept]
    number_of_kept = kept - np.searchsorted(study, study_of_kept)  # of a scan in its study
    rows = np.flatnonzero(np.bincount(study_of_kept, minlength=len(table)) >= query.min_scans)
    starts = np.searchsorted(study_of_kept, rows)
    ends = np.searchsorted(study_of_kept, rows, side="right")
    facts = table.select(["key", "split", "shard", "modalities", "num_scans"]).take(rows)
    of_batches = (batch.to_pylist() for batch in facts.to_batches(max_chunksize=_ROWS))
    for row, start, end in zip(chain.from_iterable(of_batches), starts, ends, strict=True):
        yield Match(
            key=row["key"],
            split=row["split"],
            shard=row["shard"],
            modalities=tuple(row["modalities"]),
            num_scans=row["num_scans"],
            scans=tuple(number_of_kept[start:end].tolist()),
        )


def _said(report: dict[str, Any], words: Words) -> Iterator[Said]:
    texts = [
        (variant, sentence)
        for variant, sentences in report["sentences"].items()
        for sentence in sentences
    ]
    texts += [("report", piece.strip()) for piece in pieces(report["text"])]
    for place, text in texts:
        spans = words.spans(composed(text))
        if spans is not None:
            yield Said(place, composed(text), tuple(spans))


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
