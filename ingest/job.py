"""The ingestion job, from folders to a finished dataset; what is done already is not done again.

In: a `Pipeline`. Out: shards, their index and `dataset.json`; in the run folder (mode 0700):
`instances.parquet`, `ledger.parquet`, `scans.parquet`, `sentences.parquet`, `keys.parquet`,
`plan.parquet`, `config.yaml`, `log.jsonl`. Folders, tables and settings are checked before
the first byte is written. Killed anywhere, the same command does what is missing: the commit
records of the shards are the only book of what is done.
"""

from __future__ import annotations

import json
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from functools import partial
from pathlib import Path
from typing import Any

from ingest import crawl, facts, ledger, plan, table
from ingest.allowlist import public_settings
from ingest.cluster import Workers
from ingest.convert import ShardOutcome, convert_shard
from ingest.refusals import (
    SETTINGS_FILE,
    refuse_changed_studies,
    refuse_mixed_folders,
    refuse_other_key,
    refuse_other_settings,
    shaping_settings,
)
from ingest.reports import JoinCounts, join_counts, load_labels, load_reports
from ingest.runfolder import write_run_tables
from ingest.selection import with_lists
from ingest.studies import group_studies
from ingest.supervise import limits_of
from shards.catalog import DatasetInfo, is_finished, read_info
from shards.store import Store, store_at
from shards.writer import committed, discard_uncommitted, finish_dataset
from study import private, pseudonyms
from study.alone import alone_in
from study.config import Pipeline, fingerprint
from study.errors import UserError
from study.quantities import size_bytes
from study.records import Instance, Reason, Rejection
from study.runlog import RunLog, provenance

Progress = Callable[[str, int, int], None]
"""Called as progress(stage, done, all); stages are "crawl" and "shards"."""


@dataclass(frozen=True)
class JobResult:
    """What an ingestion did, and what there is now."""

    info: DatasetInfo
    sums: ledger.LedgerSums
    reports: JoinCounts | None
    labels: JoinCounts | None
    shards_written: int
    shards_kept: int

    @property
    def nothing_to_do(self) -> bool:
        return self.shards_written == 0


def ingest(pipeline: Pipeline, progress: Progress) -> JobResult:
    """Ingest the source of a pipeline into its dataset.

    Raises UserError: no source, broken tables, no DICOM in it, a dataset made with other settings
    or another key, another process at work in the run folder, no room to write.
    """
    run, dataset = Path(pipeline.run), store_at(pipeline.dataset)
    refuse_mixed_folders(pipeline)
    select = with_lists(pipeline.ingest.select)
    pipeline = pipeline.model_copy(
        update={"ingest": pipeline.ingest.model_copy(update={"select": select})}
    )
    tables = _load_tables(pipeline)
    shaping = shaping_settings(pipeline)
    refuse_other_settings(dataset, run, shaping)
    if run.is_dir():
        with alone_in(run):
            pass  # better now than after a crawl of hours
    with Workers(pipeline.ingest.speed) as workers:
        instances = _crawl(pipeline, workers, progress)
        private.private_folder(run)
        with alone_in(run), RunLog(run / "log.jsonl") as log:
            key = pseudonyms.project_key(run / pseudonyms.KEY_FILE)
            public = public_settings(shaping, key)
            refuse_other_key(dataset, key)
            table.write(run / "instances.parquet", instances)
            log.event("crawled", files=len({i.path for i in instances}), images=len(instances))
            work = _plan(pipeline, instances, tables, key, fingerprint(public))
            refuse_changed_studies(dataset, work.tasks)
            settings = json.dumps(shaping, indent=1, sort_keys=True)
            private.write_text(run / SETTINGS_FILE, settings)
            write_run_tables(run, pipeline, work.studies)
            plan.write(run / "plan.parquet", work.tasks, plan.read(run / "plan.parquet"))
            rows = _with_outcomes(run, dataset, work.tasks, work.rows)
            ledger.write(run / "ledger.parquet", rows)
            written = _convert(pipeline, work.tasks, workers, progress, log)
            return _finish(pipeline, work, key, public, written, log)


@dataclass(frozen=True)
class _Tables:
    """Reports and labels by StudyInstanceUID."""

    reports: Mapping[str, str]
    labels: Mapping[str, Mapping[str, float]]


@dataclass(frozen=True)
class _Work:
    """Everything decided before the first pixel is read."""

    studies: Sequence[plan.StudyTask]
    tasks: Sequence[plan.ShardTask]
    rows: list[ledger.LedgerRow]
    reports: JoinCounts | None
    labels: JoinCounts | None


def _load_tables(pipeline: Pipeline) -> _Tables:
    settings = pipeline.ingest
    if not settings.source:
        raise UserError(
            f"pipeline {pipeline.name}: ingest.source is not set; "
            "give a folder, as in --set ingest.source=DIR"
        )
    if settings.report_source == "facts" and settings.reports:
        raise UserError("ingest.report_source: facts makes the reports; leave ingest.reports empty")
    return _Tables(
        load_reports(settings.reports, settings.columns) if settings.reports else {},
        load_labels(settings.labels, settings.columns) if settings.labels else {},
    )


def _crawl(pipeline: Pipeline, workers: Workers, progress: Progress) -> list[Instance]:
    source, run = pipeline.ingest.source, Path(pipeline.run)
    instances = crawl.crawl(
        source,
        run / "instances.parquet",
        workers.ordered,
        partial(progress, "crawl"),
        unpacked=run / "unpacked",
        volume_files=pipeline.ingest.volume_files,
        max_unpacked=size_bytes(pipeline.ingest.max_unpacked),
        limits=limits_of(pipeline.ingest.speed),
    )
    if all(i.reason is Reason.NOT_DICOM for i in instances):
        raise UserError(
            f"ingest.source: none of the {len(instances)} files in {', '.join(source)} is DICOM"
        )
    return instances


def _plan(
    pipeline: Pipeline, instances: Sequence[Instance], tables: _Tables, key: bytes, mark: str
) -> _Work:
    """Group all studies, join their texts, give them their shards."""
    settings, run = pipeline.ingest, Path(pipeline.run)
    found = group_studies(instances, settings.select, settings.rules)
    if settings.report_source == "facts":
        tables = _Tables(*facts.write_tables(run, found.groupings, settings.columns))
    reports, labels = tables.reports, tables.labels
    studies = [
        plan.study_task(
            found.instances[uid], grouping, key, settings, reports.get(uid), labels.get(uid, {})
        )
        for uid, grouping in found.groupings.items()
    ]
    previous = plan.read(run / "plan.parquet")
    taken = committed(pipeline.dataset)
    tasks = plan.assign(studies, previous, taken, pipeline.shards.studies_per_shard, mark)
    with_scans = [uid for uid, grouping in found.groupings.items() if grouping.plans]
    return _Work(
        studies,
        tasks,
        found.rows,
        join_counts(reports, found.instances, with_scans) if reports else None,
        join_counts(labels, found.instances, with_scans) if labels else None,
    )


def _finish(
    pipeline: Pipeline, work: _Work, key: bytes, public: dict[str, Any], written: int, log: RunLog
) -> JobResult:
    """Settle the ledger and, unless nothing changed, write the dataset's books."""
    run, dataset = Path(pipeline.run), store_at(pipeline.dataset)
    rows = _with_outcomes(run, dataset, work.tasks, work.rows)
    ledger.write(run / "ledger.parquet", rows)
    done = committed(dataset)
    if not any(stats.successes for stats in done.values()):
        raise UserError(_nothing_usable(rows))
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
    sums, kept = ledger.sums(rows), len(work.tasks) - written
    log.event("ingested", written=written, kept=kept, **sums.as_json())
    return JobResult(info, sums, work.reports, work.labels, written, kept)


def _convert(
    pipeline: Pipeline,
    tasks: Sequence[plan.ShardTask],
    workers: Workers,
    progress: Progress,
    log: RunLog,
) -> int:
    """Write the shards that are missing and return how many they were.

    Raises UserError, after all others are written, where some could not be: the dataset is then
    unfinished, and the same command goes on.
    """
    dataset = store_at(pipeline.dataset)
    discard_uncommitted(dataset)
    done = {shard: stats.content for shard, stats in committed(dataset).items()}
    missing = [task for task in tasks if done.get(task.shard) != task.content]
    total = sum(len(task.studies) for task in tasks)
    finished = total - sum(len(task.studies) for task in missing)
    progress("shards", finished, total)
    convert = partial(
        _try_shard,
        dataset=dataset.url,
        outcomes=str(Path(pipeline.run) / "outcomes"),
        compression=pipeline.shards.compression,
        grid=pipeline.ingest.grid,
        intensity=pipeline.ingest.intensity,
        limits=limits_of(pipeline.ingest.speed),
        retries=pipeline.ingest.speed.max_retries,
    )
    by_number = {task.shard: task for task in missing}
    failed: list[str] = []
    for shard, outcome in workers.unordered(convert, missing):
        if isinstance(outcome, str):
            failed.append(f"shard {shard}: {outcome}")
            log.event("shard failed", shard=shard, error=outcome)
        else:
            log.event(
                "shard", shard=shard, samples=outcome.samples, scan_failures=len(outcome.scans)
            )
            finished += len(by_number[shard].studies)
        progress("shards", finished, total)
    if failed:
        raise UserError(
            f"{len(failed)} of {len(missing)} shards could not be written to {dataset.url}:\n  "
            + "\n  ".join(failed)
            + "\nThe others are. Run the same command again when the cause is gone."
        )
    return len(missing)


def _try_shard(
    task: plan.ShardTask, *, retries: int, **settings: Any
) -> tuple[int, ShardOutcome | str]:
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


def _with_outcomes(
    run: Path, dataset: Store, tasks: Sequence[plan.ShardTask], rows: list[ledger.LedgerRow]
) -> list[ledger.LedgerRow]:
    """The ledger with what conversion found out, from the outcomes of committed shards."""
    scans: dict[tuple[str, int], Rejection] = {}
    studies: dict[str, Reason] = {}
    done = committed(dataset)
    for task in tasks:
        if task.shard in done and done[task.shard].content == task.content:
            outcome = ShardOutcome.load(run / "outcomes", task.shard)
            if outcome is None:
                raise UserError(
                    f"{run}/outcomes lacks shard {task.shard} of {dataset.url}: the run folder is "
                    "not the one that the dataset was made with"
                )
            scans.update(
                {(f.study_uid, f.scan): Rejection(f.reason, f.detail) for f in outcome.scans}
            )
            studies.update(outcome.studies)
    return ledger.with_outcomes(rows, scans, studies)


def _nothing_usable(rows: Sequence[ledger.LedgerRow]) -> str:
    reasons = ", ".join(f"{n} {reason}" for reason, n in ledger.sums(rows).by_reason.items())
    return f"no study could be made of {len(rows)} images: {reasons}"
