"""The converter's job: crawl, group, write one NIfTI file a scan, and the books.

In: a folder and a few settings. Out: what `ingest.native` says. No dataset, no key, no texts: the
tables hold UIDs and paths, and are for people who may see them. Small folders are read in this
process; dask workers are started only where there are files enough to be worth their start.
"""

from __future__ import annotations

import os
import shutil
from collections.abc import Callable, Iterable
from dataclasses import dataclass
from functools import partial
from pathlib import Path
from typing import Any

from ingest import ledger, native
from ingest.cluster import Workers
from ingest.crawl import crawl
from ingest.selection import with_lists
from ingest.studies import group_studies
from ingest.supervise import limits_of
from study.alone import alone_in
from study.errors import UserError
from study.ingest_sections import Ingest
from study.quantities import size_bytes
from study.records import Instance

Progress = Callable[[str, int, int], None]
"""Called as progress(stage, done, all); stages are "crawl" and "volumes"."""

SMALL = 16
"""Tasks of files up to which no workers are started."""
UNPACKED = ".unpacked"
"""Folder in OUT for what archives unpack to; it goes when the conversion ends."""


@dataclass(frozen=True)
class Converted:
    """What a conversion did."""

    volumes: int
    studies: int
    sums: ledger.LedgerSums


def convert(source: Path, out: Path, settings: Ingest, gzip: bool, progress: Progress) -> Converted:
    """Convert all scans below `source` into `out`.

    Raises UserError: a source that is missing or empty, an `out` with other things in it or another
    process at work, or either within the other.
    """
    source, out = source.resolve(), out.resolve()
    _check(source, out)
    settings = settings.model_copy(update={"select": with_lists(settings.select)})
    out.mkdir(parents=True, exist_ok=True)
    with alone_in(out):
        try:
            return _convert(source, out, settings, gzip, progress)
        finally:
            shutil.rmtree(out / UNPACKED, ignore_errors=True)


def _convert(
    source: Path, out: Path, settings: Ingest, gzip: bool, progress: Progress
) -> Converted:
    workers = settings.speed.workers or len(os.sched_getaffinity(0))
    with native.Decoders(limits_of(settings.speed), workers) as decoders:
        instances = _crawl(source, out, settings, progress)
        studies = group_studies(instances, settings.select, settings.rules)
        rows = studies.rows
        plans = [pair for g in studies.groupings.values() for pair in enumerate(g.plans)]
        wanted = native.named(plans, ".nii.gz" if gzip else ".nii")
        _discard_old(out, {item.name for item in wanted})
        ledger.write(out / "ledger.parquet", rows)
        volumes, failed = native.write_volumes(wanted, out, decoders, partial(progress, "volumes"))
    rows = ledger.with_outcomes(rows, failed, {})
    native.write_table(out / "volumes.parquet", volumes)
    ledger.write(out / "ledger.parquet", rows)
    return Converted(len(volumes), len({v["study_uid"] for v in volumes}), ledger.sums(rows))


def _check(source: Path, out: Path) -> None:
    if not source.is_dir():
        raise UserError(
            f"SRC: {source} {'is not a folder' if source.exists() else 'does not exist'}"
        )
    if out == source or out in source.parents or source in out.parents:
        raise UserError(f"SRC and OUT must be apart; found {source} and {out}")
    if out.exists() and not out.is_dir():
        raise UserError(f"OUT: {out} is not a folder")
    is_ours = (out / "ledger.parquet").exists()
    if out.is_dir() and not is_ours and any(_is_strange(file.name) for file in out.iterdir()):
        raise UserError(f"OUT: {out} holds other files; give a new or empty folder")


def _is_strange(name: str) -> bool:
    """Whether a file is none that a conversion leaves when it is killed before the ledger is
    written."""
    return name != UNPACKED and not name.endswith(native.PARTIAL)


def _discard_old(out: Path, names: set[str]) -> None:
    """Remove volumes of an earlier conversion that this one does not make, and what was left half
    written."""
    for file in out.iterdir():
        is_volume = file.name.endswith((".nii", ".nii.gz")) and file.name not in names
        if is_volume or file.name.endswith(native.PARTIAL):
            file.unlink()


def _crawl(source: Path, out: Path, settings: Ingest, progress: Progress) -> list[Instance]:
    with Workers(settings.speed) as workers:

        def run(function: Callable[[Any], Any], items: list[Any]) -> Iterable[Any]:
            if len(items) <= SMALL:
                return map(function, items)
            return workers.ordered(function, items)

        return crawl(
            [str(source)],
            out / "no table",
            run,
            partial(progress, "crawl"),
            unpacked=out / UNPACKED,
            volume_files=settings.volume_files,
            max_unpacked=size_bytes(settings.max_unpacked),
            limits=limits_of(settings.speed),
        )
