"""The ingestion job, from folders to a finished dataset; what is done already is not done again.

In: a `Pipeline`. Out: shards, their index and `dataset.json`; in the run folder (mode 0700):
`instances.parquet`, `ledger.parquet`, `scans.parquet`, `sentences.parquet`, `keys.parquet`,
`plan.parquet`, `config.yaml`, `log.jsonl`. Folders, tables and settings are checked before
the first byte is written. Killed anywhere, the same command does what is missing: the commit
records of the shards are the only book of what is done.
"""

from __future__ import annotations

import json
from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass
from functools import partial
from itertools import pairwise
from pathlib import Path
from typing import Any, Protocol

import numpy as np
from rich.console import RenderableType

from ingest import assign, ledger, table, turn
from ingest.allowlist import public_settings
from ingest.assign import ShardTask
from ingest.cluster import Workers
from ingest.convert import OUTCOMES, ShardOutcome, convert_shard
from ingest.crawl import settings_of
from ingest.live import Live
from ingest.long_crawl import Crawled, crawl_in_chunks
from ingest.planning import Grouped, check_tables, group_all, tried
from ingest.refusals import (
    SETTINGS_FILE,
    refuse_mixed_folders,
    refuse_other_key,
    refuse_other_settings,
    shaping_settings,
)
from ingest.report_join import JoinCounts
from ingest.runfolder import write_config
from ingest.selection import with_lists
from ingest.settle import NOT_MADE, Part, settle
from ingest.supervise import limits_of
from shards.catalog import DatasetInfo, is_finished, read_info
from shards.store import store_at
from shards.writer import committed, discard_uncommitted, finish_dataset
from study import private, pseudonyms
from study.alone import alone_in
from study.config import Pipeline, fingerprint
from study.errors import UserError
from study.ingest_sections import Ingest
from study.quantities import size_bytes
from study.records import Instance
from study.runlog import RunLog, provenance

Progress = Callable[[str, int, int], None]
"""Called as progress(stage, done, all); stages are "crawl", "deal" and "plan" (images dealt out,
and parts of them grouped, where there are several), and "shards"."""
Show = Callable[[Callable[[], RenderableType | None]], None]
"""Takes what is to stand below the progress, which may be asked for at any time."""


@dataclass(frozen=True)
class Choice:
    """Which studies get a sample now: one for each of `Grouped.keys`."""

    is_wanted: np.ndarray
    """The others are left as they are."""
    is_again: np.ndarray
    """To be made anew although nothing about them changed."""


class Choose(Protocol):
    """Says which studies get a sample, once all are grouped, and their places in earlier runs and
    the content of the committed shards are known."""

    def __call__(
        self, grouped: Grouped, before: assign.Places, done: Mapping[int, str], workers: Workers
    ) -> Choice: ...


@dataclass(frozen=True)
class JobResult:
    """What an ingestion did, and what there is now."""

    info: DatasetInfo
    sums: ledger.LedgerSums
    reports: JoinCounts | None
    labels: JoinCounts | None
    scrubbed: Mapping[str, int]
    """Spans cut out of the reports of all studies, by kind."""
    shards_written: int
    shards_kept: int

    @property
    def nothing_to_do(self) -> bool:
        return self.shards_written == 0


def unseen(_below: Callable[[], RenderableType | None]) -> None:
    """A `Show` for jobs that nobody watches."""


def ingest(pipeline: Pipeline, progress: Progress, show: Show = unseen) -> JobResult:
    """Ingest the source of a pipeline into its dataset.

    Raises UserError: no source, broken tables, no DICOM in it, a dataset made with other settings
    or another key, another process at work in the run folder, no room to write.
    """
    with prepared(pipeline, progress, show) as ready:
        return converted(ready)


def converted(ready: Prepared) -> JobResult:
    """All shards that are missing, and the dataset's books. UserError where one cannot be made."""
    pipeline, work, workers, log = ready.pipeline, ready.work, ready.workers, ready.log
    ready.live.rejected(settled_ledger(pipeline, work, workers).by_reason)
    written = _convert(pipeline, work, workers, ready.live, log)
    return _finish(pipeline, work, ready.key, ready.public, workers, written, log)


@contextmanager
def prepared(
    pipeline: Pipeline, progress: Progress, show: Show = unseen, choose: Choose | None = None
) -> Iterator[Prepared]:
    """All that comes before the first pixel: the images crawled, grouped and planned, and that
    written into the run folder, which is held. The dataset is not touched. UserError as `ingest`.
    """
    run, dataset = Path(pipeline.run), store_at(pipeline.dataset)
    refuse_mixed_folders(pipeline)
    select = with_lists(pipeline.ingest.select)
    pipeline = pipeline.model_copy(
        update={"ingest": pipeline.ingest.model_copy(update={"select": select})}
    )
    check_tables(_with_source(pipeline))
    shaping = shaping_settings(pipeline)
    refuse_other_settings(dataset, run, shaping)
    if run.is_dir():
        with alone_in(run):
            pass  # better now than after a crawl of hours
    with (
        Workers(pipeline.ingest.speed, run) as workers,
        Live(run, workers, progress) as live,
    ):
        show(live.table)
        instances = Crawled(_crawl(pipeline, workers, live), pipeline.ingest.source)
        private.private_folder(run)
        with alone_in(run), RunLog(run / "log.jsonl") as log, live.noting(log):
            key = pseudonyms.project_key(run / pseudonyms.KEY_FILE)
            public = public_settings(shaping, key)
            refuse_other_key(dataset, key)
            table.write(run / "instances.parquet", instances)
            log.event("crawled", files=instances.files, images=instances.images)
            settings = json.dumps(shaping, indent=1, sort_keys=True)
            private.write_text(run / SETTINGS_FILE, settings)
            write_config(run, pipeline)
            work = plan(pipeline, key, fingerprint(public), workers, live, choose)
            log.event("planned", **work.as_json())
            yield Prepared(pipeline, work, workers, live, log, key, public)


@dataclass(frozen=True)
class Prepared:
    """What conversion starts from."""

    pipeline: Pipeline
    """With the lists of `ingest.select` read."""
    work: Work
    workers: Workers
    live: Live
    log: RunLog
    key: bytes
    public: dict[str, Any]
    """Settings as a dataset may tell them."""


@dataclass(frozen=True)
class Work:
    """Everything decided before the first pixel is read."""

    grouped: Grouped
    places: assign.Assignment
    of_turn: str
    """Of this job (see `ingest.turn`)."""

    @property
    def has_place(self) -> np.ndarray:
        """Of each study: whether it has a sample, or will have."""
        return np.isin(self.grouped.keys, self.places.places.keys)

    def as_json(self) -> dict[str, Any]:
        return {
            "studies": len(self.grouped.keys),
            "parts": self.grouped.parts,
            "parts_made": self.grouped.parts_made,
            "shards_missing": len(self.places.missing),
            "studies_changed": self.places.changed,
            "scrubbed": dict(self.grouped.scrubbed),
        }


def plan(
    pipeline: Pipeline,
    key: bytes,
    mark: str,
    workers: Workers,
    progress: Progress,
    choose: Choose | None = None,
) -> Work:
    """Group all studies of the run's `instances.parquet`, give them their shards, and write it
    down. `mark` is the fingerprint of the settings."""
    book = Path(pipeline.run) / "plan.parquet"
    of_turn = turn.begin(Path(pipeline.run))
    grouped = group_all(pipeline, key, workers, progress, of_turn)
    done = {shard: stats.content for shard, stats in committed(pipeline.dataset).items()}
    before = assign.read(book)
    keys, digests, again = grouped.keys, grouped.digests, np.array([], assign.TEXT)
    if choose is not None:
        choice = choose(grouped, before, done, workers)
        again = keys[choice.is_again]
        keys, digests = keys[choice.is_wanted], digests[choice.is_wanted]
    places = assign.assign(
        keys, digests, before, done, pipeline.shards.studies_per_shard, mark, again
    )
    assign.write(book, places.places)
    return Work(grouped, places, of_turn)


def _with_source(pipeline: Pipeline) -> Ingest:
    settings = pipeline.ingest
    if not settings.source:
        raise UserError(
            f"pipeline {pipeline.name}: ingest.source is not set; "
            "give a folder, as in --set ingest.source=DIR"
        )
    return settings


def _crawl(pipeline: Pipeline, workers: Workers, progress: Progress) -> Iterator[list[Instance]]:
    run, settings = Path(pipeline.run), pipeline.ingest
    previous = run / "instances.parquet"
    how = settings_of(
        settings.source,
        previous,
        run / "unpacked",
        settings.volume_files,
        size_bytes(settings.max_unpacked),
        limits_of(settings.speed),
    )
    return crawl_in_chunks(
        settings.source, previous, workers.ordered, partial(progress, "crawl"), how
    )


def _finish(
    pipeline: Pipeline,
    work: Work,
    key: bytes,
    public: dict[str, Any],
    workers: Workers,
    written: int,
    log: RunLog,
) -> JobResult:
    """Settle the ledger and, unless nothing changed, write the dataset's books."""
    dataset = store_at(pipeline.dataset)
    sums = settled_ledger(pipeline, work, workers)
    done = committed(dataset)
    if not any(stats.successes for stats in done.values()):
        reasons = ", ".join(f"{count} {reason}" for reason, count in sums.by_reason.items())
        raise UserError(f"no study could be made of {sums.images} images: {reasons}")
    mark, there = fingerprint(public), read_info(dataset) if is_finished(dataset) else None
    if written or there is None or (there.num_shards, there.fingerprint) != (len(done), mark):
        info = finish_dataset(
            dataset,
            fingerprint=mark,
            provenance=provenance(),
            settings=public,
            key_fingerprint=pseudonyms.key_fingerprint(key),
            name=pipeline.name,
        )
    else:
        info = there
    kept = len(work.places.settled)
    log.event("ingested", written=written, kept=kept, **sums.as_json())
    of = work.grouped
    return JobResult(info, sums, of.reports, of.labels, of.scrubbed, written, kept)


def _convert(pipeline: Pipeline, work: Work, workers: Workers, live: Live, log: RunLog) -> int:
    """Write the shards that are missing and return how many they were.

    Raises UserError, after all others are written, where some could not be: the dataset is then
    unfinished, and the same command goes on.
    """
    dataset, missing = store_at(pipeline.dataset), work.places.missing
    discard_uncommitted(dataset)
    total = int(work.has_place.sum())
    finished = total - sum(len(task.keys) for task in missing)
    live("shards", finished, total)
    convert = partial(
        _try_shard,
        dataset=dataset.url,
        run=Path(pipeline.run),
        parts=work.grouped.parts,
        compression=pipeline.shards.compression,
        grid=pipeline.ingest.grid,
        intensity=pipeline.ingest.intensity,
        limits=limits_of(pipeline.ingest.speed),
        retries=pipeline.ingest.speed.max_retries,
        of_turn=work.of_turn,
    )
    by_number = {task.shard: task for task in missing}
    failed: list[str] = []
    for shard, outcome in workers.unordered(convert, missing, partial(convert, alone=True)):
        if isinstance(outcome, str):
            failed.append(f"shard {shard}: {outcome}")
            log.event("shard failed", shard=shard, error=outcome)
        else:
            log.event(
                "shard", shard=shard, samples=outcome.samples, scan_failures=len(outcome.scans)
            )
            live.shard(outcome)
            finished += len(by_number[shard].keys)
        live("shards", finished, total)
    if failed:
        raise UserError(
            f"{len(failed)} of {len(missing)} shards could not be written to {dataset.url}:\n  "
            + "\n  ".join(failed)
            + "\nThe others are. Run the same command again when the cause is gone."
        )
    return len(missing)


def _try_shard(task: ShardTask, *, retries: int, **settings: Any) -> tuple[int, ShardOutcome | str]:
    """Convert a shard, again after input/output errors; the last error as text, so that other
    shards go on."""
    for attempt in range(retries + 1):
        try:
            return task.shard, convert_shard(task, **settings)
        except OSError as error:
            last = f"{type(error).__name__}: {error}"
            if attempt == retries:
                return task.shard, last
    raise AssertionError("unreachable")


def settled_ledger(pipeline: Pipeline, work: Work, workers: Workers) -> ledger.LedgerSums:
    """Write the ledger with what conversion found out of the shards that are committed."""
    run, dataset = Path(pipeline.run), store_at(pipeline.dataset)
    content = {task.shard: task.content for task in work.places.missing}
    made = set(work.places.settled)
    made |= {n for n, stats in committed(dataset).items() if content.get(n) == stats.content}
    lost = sorted(n for n in made if not ShardOutcome.file(run / OUTCOMES, n).exists())
    if lost:
        raise UserError(
            f"{run}/{OUTCOMES} lacks shard {lost[0]} of {dataset.url}: the run folder is not the "
            "one that the dataset was made with"
        )
    has_place = work.has_place
    shards = np.full(len(has_place), NOT_MADE)
    shards[has_place] = work.places.places.shard_of(work.grouped.keys[has_place])
    shards = np.where(np.isin(shards, list(made)), shards, NOT_MADE)
    bounds = work.grouped.bounds.tolist()
    parts = [Part(p, shards[a:b]) for p, (a, b) in enumerate(pairwise(bounds))]
    make = partial(settle, run=run, of_turn=work.of_turn)
    write = partial(tried, make, retries=pipeline.ingest.speed.max_retries)
    sums = workers.unordered(write, parts) if len(parts) > 1 else map(write, parts)
    return sum(sums, start=ledger.NOTHING)
