"""The ingestion job, from folders to a finished dataset; what is done already is not done again.

In: a `Pipeline`. Out: shards, their index and `dataset.json`; in the run folder (mode 0700):
`instances.parquet`, `ledger.parquet`, `scans.parquet`, `sentences.parquet`, `keys.parquet`,
`plan.parquet`, `config.yaml`, `log.jsonl`. `ready` does all that comes before the first pixel; here
are the shards and the books. Killed anywhere, the same command does what is missing: the commit
records of the shards are the only book of what is done.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from functools import partial
from itertools import pairwise
from pathlib import Path
from typing import Any

import numpy as np

from ingest import ledger
from ingest.assign import ShardTask
from ingest.convert import OUTCOMES, ShardOutcome, convert_shard
from ingest.planning import tried
from ingest.ready import Progress, Show, Work, prepared, unseen
from ingest.report_join import JoinCounts
from ingest.settle import NOT_MADE, Part, settle
from ingest.supervise import limits_of
from shards.catalog import DatasetInfo, is_finished, read_info
from shards.store import store_at
from shards.writer import committed, discard_uncommitted, finish_dataset
from study import pseudonyms
from study.config import Pipeline, fingerprint
from study.errors import UserError
from study.runlog import provenance

MOST_FAILED = 10
"""Shards that could not be written, told one by one; the log has all."""


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
    answers: Mapping[str, Any] = field(default_factory=dict)
    """What came of language models' answers: `summaries` by variant (see `summaries.Counts`),
    `labels` by label set (see `labelled.LabelCounts`)."""

    @property
    def nothing_to_do(self) -> bool:
        return self.shards_written == 0


def ingest(pipeline: Pipeline, progress: Progress, show: Show = unseen) -> JobResult:
    """Ingest the source of a pipeline into its dataset.

    Raises UserError: no source, broken tables, no DICOM in it, a dataset made with other settings
    or another key, another process at work in the run folder, no room to write.
    """
    with prepared(pipeline, progress, show) as work:
        return converted(work)


def converted(work: Work) -> JobResult:
    """All shards that are missing, and the dataset's books. UserError where one cannot be made."""
    work.begun.live.rejected(settled_ledger(work).by_reason)
    return _finish(work, _convert(work))


def _finish(work: Work, written: int) -> JobResult:
    """Settle the ledger and, unless nothing changed, write the dataset's books."""
    pipeline, public = work.begun.pipeline, work.begun.public
    dataset = store_at(pipeline.dataset)
    sums = settled_ledger(work)
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
            key_fingerprint=pseudonyms.key_fingerprint(work.begun.key),
            name=pipeline.name,
        )
    else:
        info = there
    kept = len(work.places.settled)
    work.begun.log.event("ingested", written=written, kept=kept, **sums.as_json())
    of, answers = work.grouped, work.answered.as_json()
    return JobResult(info, sums, of.reports, of.labels, of.scrubbed, written, kept, answers)


def _convert(work: Work) -> int:
    """Write the shards that are missing and return how many they were.

    Raises UserError, after all others are written, where some could not be: the dataset is then
    unfinished, and the same command goes on.
    """
    pipeline, live, log = work.begun.pipeline, work.begun.live, work.begun.log
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
        of_turn=work.begun.of_turn,
    )
    by_number = {task.shard: task for task in missing}
    failed: list[str] = []
    made = work.begun.workers.unordered(convert, missing, partial(convert, alone=True))
    for shard, outcome in made:
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
        more = len(failed) - MOST_FAILED
        shown = sorted(failed)[:MOST_FAILED] + [f"{more:,} more: see log.jsonl"] * (more > 0)
        raise UserError(
            f"{len(failed)} of {len(missing)} shards could not be written to {dataset.url}:\n  "
            + "\n  ".join(shown)
            + "\nRun the same command again when the cause is gone: the others are not made again."
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


def settled_ledger(work: Work) -> ledger.LedgerSums:
    """Write the ledger with what conversion found out of the shards that are committed."""
    pipeline, workers = work.begun.pipeline, work.begun.workers
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
    make = partial(settle, run=run, of_turn=work.begun.of_turn)
    write = partial(tried, make, retries=pipeline.ingest.speed.max_retries)
    sums = workers.unordered(write, parts) if len(parts) > 1 else map(write, parts)
    return sum(sums, start=ledger.NOTHING)
