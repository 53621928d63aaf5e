"""Images, reports and labels -> all studies grouped, on the workers, part by part.

In: `instances.parquet`, the tables of the settings, the project key. Out: the run's tables (see
`runfolder`), and `Grouped`: a key and a digest a study. The idea: the client only deals out rows,
by ranges of pseudonyms that it alone can make; grouping, scrubbing and summarising are the workers'
(`prepare`), so that neither holds more than a part of a table of any length.
"""

from __future__ import annotations

import json
from collections.abc import Callable, Iterable, Iterator
from dataclasses import dataclass
from functools import partial
from itertools import islice
from pathlib import Path
from typing import TypeVar

import numpy as np
import pyarrow as pa

from ingest import facts, partition, prepare, table
from ingest.assign import TEXT, texts
from ingest.cluster import Workers
from ingest.prepare import PartFacts
from ingest.reports import JoinCounts, labels_in, reports_in
from ingest.runfolder import HANDOVER, discard_handover, discard_other_parts
from study import private
from study.config import Pipeline
from study.ingest_sections import Ingest

Progress = Callable[[str, int, int], None]
Item = TypeVar("Item")
Result = TypeVar("Result")
ROWS_AT_A_TIME = 4096
"""Of the reports and labels."""


@dataclass(frozen=True)
class Grouped:
    """What the client keeps of all studies."""

    parts: int
    keys: np.ndarray
    """In order."""
    digests: np.ndarray
    bounds: np.ndarray
    """Part p has the studies from bounds[p] to bounds[p + 1]."""
    images: int
    reports: JoinCounts | None
    labels: JoinCounts | None
    parts_made: int
    """The others were there already."""


def check_tables(settings: Ingest) -> None:
    """Read the reports and the labels once, before anything is done: UserError for what is wrong
    with them."""
    for _ in _tables(settings):
        pass


def group_all(pipeline: Pipeline, key: bytes, workers: Workers, progress: Progress) -> Grouped:
    """Make the tables of a run from its `instances.parquet`."""
    run, settings = Path(pipeline.run), pipeline.ingest
    images = table.num_rows(run / "instances.parquet")
    parts = partition.number_of_parts(images)
    discard_handover(run)
    private.private_folder(run / HANDOVER)
    prepare.write_order(run, settings, key)
    _deal_images(run, key, parts, progress)
    _deal_tables(run, settings, key, parts)
    discard_other_parts(run, parts)
    found = sorted(
        _prepared(run, parts, settings.speed.max_retries, workers, progress), key=lambda f: f.part
    )
    if settings.report_source == "facts":
        facts.join_parts(run / HANDOVER, parts, run, settings.columns)
    discard_handover(run)
    grouped = _together(parts, found)
    assert grouped.images == images, f"{grouped.images} rows of the ledger for {images} images"
    return grouped


def _deal_images(run: Path, key: bytes, parts: int, progress: Progress) -> None:
    file = run / "instances.parquet"
    done, total = 0, table.num_rows(file)
    with partition.Scatter(run / HANDOVER / prepare.IMAGES, parts) as scatter:
        for rows in table.batches(file):
            scatter.add(rows, partition.parts_of_images(rows, key, parts))
            done += len(rows)
            if parts > 1:
                progress("deal", done, total)


def _deal_tables(run: Path, settings: Ingest, key: bytes, parts: int) -> None:
    for name, rows in _tables(settings):
        with partition.Scatter(run / HANDOVER / name, parts) as scatter:
            while some := list(islice(rows, ROWS_AT_A_TIME)):
                columns = [list(column) for column in zip(*some, strict=True)]
                values = pa.table(columns, schema=prepare.TEXTS)
                uids = values["study_uid"].combine_chunks()
                scatter.add(values, partition.parts_of_studies(uids, key, parts))


def _tables(settings: Ingest) -> Iterator[tuple[str, Iterator[tuple[str, str]]]]:
    """Name and rows of each table that there is, as texts. What is not read of one is read when the
    next is asked for."""
    found: list[tuple[str, Iterator[tuple[str, str]]]] = []
    if settings.reports:
        found.append((prepare.REPORTS, reports_in(settings.reports, settings.columns)))
    if settings.labels:
        labels = labels_in(settings.labels, settings.columns)
        found.append((prepare.LABELS, ((uid, json.dumps(values)) for uid, values in labels)))
    for name, rows in found:
        yield name, rows
        for _ in rows:
            pass


def _prepared(
    run: Path, parts: int, retries: int, workers: Workers, progress: Progress
) -> Iterator[PartFacts]:
    """Facts of all parts as they come. One part alone is made here: it is not worth a worker's
    start."""
    make = partial(tried, partial(prepare.prepare, run=run), retries=retries)
    found: Iterable[PartFacts] = (
        workers.unordered(make, range(parts)) if parts > 1 else map(make, range(parts))
    )
    for done, part in enumerate(found, start=1):
        if parts > 1:
            progress("plan", done, parts)
        yield part


def tried(function: Callable[[Item], Result], item: Item, *, retries: int) -> Result:
    """The result for an item, tried again after input/output errors, the last of which is
    raised."""
    for left in reversed(range(retries + 1)):
        try:
            return function(item)
        except OSError:
            if not left:
                raise
    raise AssertionError("unreachable")


def _together(parts: int, found: list[PartFacts]) -> Grouped:
    joined = {"reports": JoinCounts(0, 0, 0, 0), "labels": JoinCounts(0, 0, 0, 0)}
    for part in found:
        joined["reports"] += part.reports
        joined["labels"] += part.labels
    none = np.array([], TEXT)
    return Grouped(
        parts=parts,
        keys=np.concatenate([none, *(texts(part.keys) for part in found)]),
        digests=np.concatenate([none, *(texts(part.digests) for part in found)]),
        bounds=np.cumsum([0, *(len(part.keys) for part in found)]),
        images=sum(part.images for part in found),
        reports=joined["reports"] if joined["reports"].rows else None,
        labels=joined["labels"] if joined["labels"].rows else None,
        parts_made=sum(part.is_new for part in found),
    )
