"""Images, reports and labels -> all studies grouped, on the workers, part by part.

In: `instances.parquet`, the tables of the settings, the project key. Out: the run's tables (see
`runfolder`), and `Grouped`: a key and a digest a study. The idea: the client only deals out rows,
by ranges of pseudonyms that it alone can make; grouping, scrubbing and summarising are the workers'
(`prepare`), so that neither holds more than a part of a table of any length.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from functools import partial
from itertools import islice
from pathlib import Path
from typing import TypeVar

import numpy as np

from ingest import facts, part_texts, partition, prepare, report_join, scrub, table, turn
from ingest.assign import TEXT, texts
from ingest.cluster import Workers
from ingest.known_studies import Finder, Known
from ingest.prepare import PartFacts
from ingest.report_join import JoinCounts
from ingest.reports import Row, columns_taken, labels_in, reports_in
from ingest.runfolder import HANDOVER, discard_handover, discard_other_parts
from ingest.supervise import limits_of
from study import private
from study.config import Pipeline
from study.errors import UserError
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
    scrubbed: Mapping[str, int]
    """Spans cut out of all reports, by kind."""
    parts_made: int
    """The others were there already."""


def check_tables(settings: Ingest) -> None:
    """Read the reports and the labels once, before anything is done: UserError for what is wrong
    with them, or with what the settings say of them."""
    if settings.report_source != "table" and settings.reports:
        raise UserError(
            f"ingest.report_source: {settings.report_source} makes the reports; leave "
            "ingest.reports empty"
        )
    if settings.report_source == "facts" and settings.labels:
        raise UserError("ingest.report_source: facts makes the labels; leave ingest.labels empty")
    columns_taken(settings.reports, settings.labels, settings.columns)
    for _, rows in _tables(settings, only_tables=True):
        for _ in rows:
            pass


def group_all(
    pipeline: Pipeline,
    key: bytes,
    workers: Workers,
    progress: Progress,
    of_turn: str = turn.NOBODY,
) -> Grouped:
    """Make the tables of a run from its `instances.parquet`."""
    run, settings = Path(pipeline.run), pipeline.ingest
    images = table.num_rows(run / "instances.parquet")
    parts = partition.number_of_parts(images)
    discard_handover(run)
    private.private_folder(run / HANDOVER)
    prepare.write_order(run, settings, key)
    finder = Finder() if settings.reports or settings.labels else None
    _deal_images(run, key, parts, progress, finder)
    if finder is not None:
        _deal_tables(run, settings, key, parts, finder.known())
    discard_other_parts(run, parts)
    found = sorted(
        _prepared(run, parts, settings.speed.max_retries, workers, progress, of_turn),
        key=lambda f: f.part,
    )
    if settings.report_source == "facts":
        facts.join_parts(run / HANDOVER, parts, run)
    discard_handover(run)
    grouped = _together(parts, found, settings)
    assert grouped.images == images, f"{grouped.images} rows of the ledger for {images} images"
    return grouped


def _deal_images(
    run: Path, key: bytes, parts: int, progress: Progress, finder: Finder | None
) -> None:
    file = run / "instances.parquet"
    done, total = 0, table.num_rows(file)
    with partition.Scatter(run / HANDOVER / prepare.IMAGES, parts) as scatter:
        for rows in table.batches(file):
            scatter.add(rows, partition.parts_of_images(rows, key, parts))
            if finder is not None:
                finder.add(rows)
            done += len(rows)
            if parts > 1:
                progress("deal", done, total)


def _deal_tables(run: Path, settings: Ingest, key: bytes, parts: int, known: Known) -> None:
    for name, rows in _tables(settings):
        left = report_join.dealt(rows, known)
        with partition.Scatter(run / HANDOVER / name, parts) as scatter:
            while some := list(islice(left, ROWS_AT_A_TIME)):
                values = report_join.to_table(some)
                spread = partial(_spread, some)
                scatter.add(values, partition.parts_of_rows(values, spread, key, parts))


def _spread(rows: Sequence[report_join.Dealt], number: int) -> str:
    return report_join.spread(rows[number])


def _tables(settings: Ingest, *, only_tables: bool = False) -> Iterator[tuple[str, Iterator[Row]]]:
    """Name and rows of each table that there is."""
    if settings.reports:
        limits = limits_of(settings.speed)
        reports = reports_in(settings.reports, settings.columns, limits, only_tables=only_tables)
        yield part_texts.REPORTS, reports
    if settings.labels:
        yield part_texts.LABELS, labels_in(settings.labels, settings.columns)


def _prepared(
    run: Path, parts: int, retries: int, workers: Workers, progress: Progress, of_turn: str
) -> Iterator[PartFacts]:
    """Facts of all parts as they come. One part alone is made here: it is not worth a worker's
    start."""
    make = partial(tried, partial(prepare.prepare, run=run, of_turn=of_turn), retries=retries)
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


def _together(parts: int, found: list[PartFacts], settings: Ingest) -> Grouped:
    makes = settings.report_source
    reports = sum((part.reports for part in found), start=JoinCounts())
    labels = sum((part.labels for part in found), start=JoinCounts())
    none = np.array([], TEXT)
    return Grouped(
        parts=parts,
        keys=np.concatenate([none, *(texts(part.keys) for part in found)]),
        digests=np.concatenate([none, *(texts(part.digests) for part in found)]),
        bounds=np.cumsum([0, *(len(part.keys) for part in found)]),
        images=sum(part.images for part in found),
        reports=reports if settings.reports or makes != "table" else None,
        labels=labels if settings.labels or makes == "facts" else None,
        scrubbed=scrub.total(part.scrubbed for part in found),
        parts_made=sum(part.is_new for part in found),
    )
