"""Failures tried again: what gives something else now goes into supplementary shards.

In: a pipeline that has been ingested. Out: the samples of studies of which a volume could not be
read, where it can be now (larger limits, another decoder, a repaired file), in new shards; old
shards stay as they are, and of samples with one key the last counts. The idea: a failed volume is
read first, and its study is made anew only where that gives another verdict, so that a failure that
stays costs no bytes, however often it is tried. Files whose headers could not be read are read
again by every crawl where that may help; a study that comes to light so is taken too, all other new
studies are left to the next run.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterator, Mapping
from dataclasses import dataclass, field, replace
from functools import partial
from pathlib import Path
from typing import Any

import numpy as np
import pyarrow as pa
import pyarrow.compute as pc
import pyarrow.parquet as pq

from ingest import assign, ledger, taskstore
from ingest.cluster import Workers
from ingest.convert import OUTCOMES, ScanFailure, ShardOutcome, convert_study
from ingest.job import JobResult, converted
from ingest.planning import Grouped, tried
from ingest.poison import each_alone
from ingest.ready import Choice, Progress, Show, prepared, unseen
from ingest.supervise import Limits, limits_of
from shards.catalog import is_finished
from shards.store import store_at
from study.config import Pipeline
from study.errors import UserError
from study.ingest_sections import Grid, Intensity
from study.records import FAILURE_REASONS, Reason, Rejection

STUDIES_A_TASK = 32
"""Tried one after the other by a worker: enough to be worth the start of a process."""


@dataclass(frozen=True)
class Failed:
    """What went wrong with a study in conversion."""

    key: str
    study: Reason | None
    """It broke its process as a whole."""
    scans: tuple[tuple[int, Reason], ...]
    """Volumes that could not be read, in order."""


@dataclass
class Tried:
    """What came of a retry."""

    files_before: int = 0
    """With failures in the ledger, of whatever kind."""
    files_now: int = 0
    """The same, when all was tried."""
    studies: int = 0
    """That had failures in conversion, and were tried."""
    better: int = 0
    """Of those: give something else now."""
    found: int = 0
    """New studies, of files that could not be read before."""
    as_before: Counter[str] = field(default_factory=Counter)
    """Failures that stayed, by reason."""
    result: JobResult | None = None

    @property
    def is_failing(self) -> bool:
        """Whether the dataset lacks something by a failure."""
        return self.result is not None and self.result.sums.failures > 0

    def as_json(self) -> dict[str, Any]:
        assert self.result is not None, "set when the job has ended"
        return {
            "failed_files_before": self.files_before,
            "failed_files_now": self.files_now,
            "tried": self.studies,
            "better": self.better,
            "found": self.found,
            "as_before": dict(self.as_before.most_common()),
            "shards_written": self.result.shards_written,
            "studies": self.result.info.num_studies,
            "ledger": self.result.sums.as_json(),
        }


def retry(pipeline: Pipeline, progress: Progress, show: Show = unseen) -> Tried:
    """Try the failures of the last run again. Raises UserError as `job.ingest`, and where nothing
    has been ingested yet."""
    run, dataset = Path(pipeline.run), store_at(pipeline.dataset)
    if not (run / "ledger.parquet").exists() or not is_finished(dataset):
        raise UserError(
            f"pipeline {pipeline.name} has no finished dataset at {pipeline.dataset} yet; "
            f"run `dicom2clip run {pipeline.name} --stage ingest` to its end first"
        )
    paths = _failed_files(run / "ledger.parquet")
    found = Tried(files_before=len(paths))
    choose = partial(_choice, pipeline=pipeline, paths=paths, found=found, progress=progress)
    with prepared(pipeline, progress, show, choose) as work:
        found.result = converted(work)
        found.files_now = len(_failed_files(run / "ledger.parquet"))
        as_before = dict(found.as_before)
        work.begun.log.event(
            "retried", tried=found.studies, better=found.better, as_before=as_before
        )
    return found


def _failed_files(file: Path) -> pa.Array:
    """Paths of a ledger whose images were rejected by a failure, a part at a time."""
    reasons = pa.array([str(reason) for reason in FAILURE_REASONS])
    found = [pa.array([], pa.string())]
    for rows in ledger.tables(file, ["path", "reason"]):
        found.append(pc.unique(rows.filter(pc.is_in(rows["reason"], reasons))["path"]))
    return pa.concat_arrays(
        [a.combine_chunks() if isinstance(a, pa.ChunkedArray) else a for a in found]
    )


def _choice(
    grouped: Grouped,
    before: assign.Places,
    done: Mapping[int, str],
    workers: Workers,
    *,
    pipeline: Pipeline,
    paths: pa.Array,
    found: Tried,
    progress: Progress,
) -> Choice:
    """See `job.Choose`: studies known already, and those that come to light. A study that changed
    needs no try: its sample is superseded anyhow."""
    run = Path(pipeline.run)
    is_known = np.isin(grouped.keys, before.keys)
    is_found = np.isin(grouped.keys, _keys_with(run, paths)) & ~is_known
    found.found = int(is_found.sum())
    failed = list(_failures(run, before, done))
    found.studies = len(failed)
    is_changed = _is_changed(grouped, before, [f.key for f in failed])
    same = [f for f, changed in zip(failed, is_changed, strict=True) if not changed]
    better = _better(pipeline, grouped.parts, same, workers, found, progress)
    found.better = len(better) + len(failed) - len(same)
    return Choice(is_known | is_found, np.isin(grouped.keys, assign.texts(better)))


def _is_changed(grouped: Grouped, before: assign.Places, keys: list[str]) -> np.ndarray:
    """Whether the samples of some studies, which are all known, would be others now."""
    wanted, present = assign.texts(keys), before.is_last()
    order = np.argsort(before.keys[present])
    old = before.digests[present][order]
    at_old = np.searchsorted(before.keys[present][order], wanted)
    changed: np.ndarray = old[at_old] != grouped.digests[np.searchsorted(grouped.keys, wanted)]
    return changed


def _keys_with(run: Path, paths: pa.Array) -> np.ndarray:
    """Keys of the studies that have images in some files now."""
    keys: list[str] = []
    for file in sorted((run / "grouped.parquet").glob("*.parquet")):
        rows = pq.read_table(file, columns=["path", "study_uid"])
        uids = pc.unique(rows.filter(pc.is_in(rows["path"], paths))["study_uid"])
        known = pq.read_table(run / "keys.parquet" / file.name, columns=["key", "study_uid"])
        keys += known.filter(pc.is_in(known["study_uid"], uids))["key"].to_pylist()
    return assign.texts(keys)


def _failures(run: Path, before: assign.Places, done: Mapping[int, str]) -> Iterator[Failed]:
    """What failed in the conversion of the samples that count, by shard and key."""
    present = before.is_last()
    for shard in sorted(set(before.shards[present].tolist()) & done.keys()):
        outcome = ShardOutcome.load(run / OUTCOMES, shard)
        if outcome is None or outcome.content != done[shard]:
            continue  # repaired since: a run makes it again
        by_uid: dict[str, list[tuple[int, Reason]]] = {}
        for failure in outcome.scans:
            if failure.reason in FAILURE_REASONS:
                by_uid.setdefault(failure.study_uid, []).append((failure.scan, failure.reason))
        broke = {uid: r for uid, r in outcome.studies.items() if r in FAILURE_REASONS}
        if not by_uid and not broke:
            continue
        ours = set(before.keys[present & (before.shards == shard)].tolist())
        for key, uid in sorted(_keys_of(run, {*by_uid, *broke}).items()):
            if key.encode() in ours:
                yield Failed(key, broke.get(uid), tuple(by_uid.get(uid, ())))


def _keys_of(run: Path, uids: set[str]) -> dict[str, str]:
    """Key -> StudyInstanceUID of some studies that are still there."""
    wanted, found = pa.array(sorted(uids)), {}
    for file in sorted((run / "keys.parquet").glob("*.parquet")):
        known = pq.read_table(file, columns=["key", "study_uid"])
        for row in known.filter(pc.is_in(known["study_uid"], wanted)).to_pylist():
            found[row["key"]] = row["study_uid"]
    return found


def _better(
    pipeline: Pipeline,
    parts: int,
    failed: list[Failed],
    workers: Workers,
    found: Tried,
    progress: Progress,
) -> list[str]:
    """Keys of the studies that give something else now; what stays is counted."""
    settings = pipeline.ingest
    attempt = partial(
        tried,
        partial(
            verdicts,
            run=Path(pipeline.run),
            parts=parts,
            grid=settings.grid,
            intensity=settings.intensity,
            limits=limits_of(settings.speed),
        ),
        retries=settings.speed.max_retries,
    )
    some = [failed[n : n + STUDIES_A_TASK] for n in range(0, len(failed), STUDIES_A_TASK)]
    before = {f.key: f for f in failed}
    better: list[str] = []
    seen = 0
    if failed:
        progress("retry", 0, len(failed))
    for now in workers.unordered(attempt, some):
        for verdict in now:
            if verdict != before[verdict.key]:
                better.append(verdict.key)
            else:
                reasons = [verdict.study] if verdict.study else [r for _, r in verdict.scans]
                found.as_before.update(str(reason) for reason in reasons)
        seen += len(now)
        progress("retry", seen, len(failed))
    return sorted(better)


def verdicts(
    failed: list[Failed],
    *,
    run: Path,
    parts: int,
    grid: Grid,
    intensity: Intensity,
    limits: Limits,
) -> list[Failed]:
    """What goes wrong with each study now, of what went wrong before; a worker runs it. The studies
    are tried in a process that may be lost."""
    tasks = taskstore.read(run, parts, [f.key for f in failed])
    found: list[Failed] = []
    with each_alone(convert_study, limits) as convert:
        for before, task in zip(failed, tasks, strict=True):
            scans = [scan for scan, _ in before.scans if scan < len(task.plans)]
            if before.study is None and len(scans) == len(before.scans):
                task = replace(
                    task,
                    plans=tuple(task.plans[scan] for scan in scans),
                    digests=tuple(task.digests[scan] for scan in scans),
                )
            made = convert(task, grid, intensity, limits)
            if isinstance(made, Rejection):
                found.append(replace(before, study=made.reason))
            else:
                found.append(_verdict(before, scans, made[1]))
    return found


def _verdict(before: Failed, scans: list[int], failures: list[ScanFailure]) -> Failed:
    """`failures` count the volumes that were tried: those of `scans`, or all of a study that broke
    its process."""
    number = dict(enumerate(scans)) if before.study is None else {}
    return Failed(
        before.key,
        None,
        tuple((number.get(failure.scan, failure.scan), failure.reason) for failure in failures),
    )
