"""One task of the job: the studies of a shard -> samples, one study at a time; memory is bounded by
one study.

In: a `ShardTask`. Out: a committed shard, and a small `ShardOutcome` about what failed. Files are
read in a child process, one for every thread that converts, so that a file that crashes or hangs a
decoder costs one scan.
"""

from __future__ import annotations

import json
from collections.abc import Iterator
from contextlib import nullcontext
from dataclasses import dataclass, replace
from pathlib import Path

import SimpleITK as sitk

from ingest import taskstore, turn
from ingest.allowlist import out_of_range
from ingest.assign import ShardTask
from ingest.grid import to_grid
from ingest.pixels import read_slices
from ingest.plan import StudyTask
from ingest.poison import each_alone
from ingest.rules import judge_voxels
from ingest.shelf import Shelf
from ingest.supervise import USUAL_LIMITS, Limits, Supervised, child_of_thread
from ingest.undecodable import rejection_of
from ingest.volume import straighten
from shards.commit import is_committed
from shards.writer import ShardWriter
from study import private
from study.ingest_sections import Grid, Intensity
from study.records import Reason, Rejection, Scan, ScanPlan, Study

OUTCOMES = "outcomes"
"""Folder of the run in which every shard's outcome is kept."""


@dataclass(frozen=True)
class ScanFailure:
    """A volume that was planned and could not be made."""

    study_uid: str
    scan: int
    reason: Reason
    detail: str


@dataclass(frozen=True)
class ShardOutcome:
    """What conversion found out about a shard's studies; kept in the run folder for the ledger."""

    shard: int
    content: str
    studies: dict[str, Reason]
    """Rejected studies."""
    scans: tuple[ScanFailure, ...]
    samples: int

    def save(self, folder: Path) -> None:
        facts = {
            "content": self.content,
            "samples": self.samples,
            "studies": self.studies,
            "scans": [[f.study_uid, f.scan, f.reason, f.detail] for f in self.scans],
        }
        folder.mkdir(parents=True, exist_ok=True, mode=private.FOLDER_MODE)
        private.write_text(self.file(folder, self.shard), json.dumps(facts))

    @staticmethod
    def file(folder: Path, shard: int) -> Path:
        return folder / f"{shard:05d}.json"

    @staticmethod
    def load(folder: Path, shard: int) -> ShardOutcome | None:
        """The outcome of a shard; None where there is none."""
        file = ShardOutcome.file(folder, shard)
        if not file.exists():
            return None
        facts = json.loads(file.read_text())
        return ShardOutcome(
            shard,
            facts["content"],
            {uid: Reason(reason) for uid, reason in facts["studies"].items()},
            tuple(
                ScanFailure(uid, scan, Reason(reason), detail)
                for uid, scan, reason, detail in facts["scans"]
            ),
            facts["samples"],
        )


def convert_shard(
    task: ShardTask,
    dataset: str,
    run: Path,
    parts: int,
    compression: str,
    grid: Grid,
    intensity: Intensity,
    limits: Limits = USUAL_LIMITS,
    alone: bool = False,
    of_turn: str = turn.NOBODY,
) -> ShardOutcome:
    """Make and commit a shard, of studies whose tasks are in the `parts` parts of a run's tables.
    `alone`: every study in a process that may be lost, once a worker has died of the shard (see
    `poison`). Raises OSError, and leaves nothing committed, when reading or writing fails;
    UserError where the job `of_turn` is over."""
    turn.refuse_if_over(run, of_turn)
    sitk.ProcessObject.SetGlobalDefaultNumberOfThreads(1)
    rejected: dict[str, Reason] = {}
    failures: list[ScanFailure] = []
    samples = 0

    def before_commit() -> bool:
        turn.refuse_if_over(run, of_turn)
        if is_committed(dataset, task.shard, task.content):
            return False  # by another worker, which was given the task when this one was silent
        outcome().save(run / OUTCOMES)  # a committed shard always has one
        return True

    def outcome() -> ShardOutcome:
        return ShardOutcome(task.shard, task.content, rejected, tuple(failures), samples)

    with (
        ShardWriter(
            dataset, task.shard, compression, content=task.content, before_commit=before_commit
        ) as writer,
        each_alone(convert_study, limits) if alone else nullcontext(convert_study) as convert,
    ):
        for study_task in taskstore.read(run, parts, task.keys):
            made = convert(study_task, grid, intensity, limits)
            study, failed = (made.reason, []) if isinstance(made, Rejection) else made
            failures.extend(failed)
            if isinstance(study, Reason):
                rejected[study_task.study_uid] = study
                writer.reject(study_task.key, study_task.patient, study_task.split, study)
            else:
                samples += 1
                writer.add(study)
    return outcome()


def convert_study(
    task: StudyTask, grid: Grid, intensity: Intensity, limits: Limits = USUAL_LIMITS
) -> tuple[Study | Reason, list[ScanFailure]]:
    """The sample of a study, or the reason why there is none; and the volumes that failed."""
    if task.reason is not None:
        return task.reason, []
    scans: list[Scan] = []
    failures: list[ScanFailure] = []
    shelf = Shelf()
    for made in _scans(task, grid, intensity, child_of_thread(limits)):
        if isinstance(made, ScanFailure):
            failures.append(made)
        else:
            scans.append(replace(made, array=shelf.put(made.array)))
    if not scans:
        return Reason.NO_SCANS, failures
    study = Study(
        key=task.key,
        patient=task.patient,
        split=task.split,
        scans=tuple(scans),
        report=task.report,
        labels=task.labels,
        age_years=task.age_years,
        sex=task.sex,
    )
    return study, failures


def _scans(
    task: StudyTask, grid: Grid, intensity: Intensity, child: Supervised
) -> Iterator[Scan | ScanFailure]:
    for number, (plan, digest) in enumerate(zip(task.plans, task.digests, strict=True)):
        try:
            scans = _converted(plan, grid, intensity, child)
        except Exception as error:  # the disk's are raised: the shard is tried again
            scans = rejection_of(error)
        if isinstance(scans, Rejection):
            yield ScanFailure(task.study_uid, number, *scans)
            continue
        if not scans:
            yield ScanFailure(task.study_uid, number, Reason.INTENSITY_CONSTANT, "")
        for scan in scans:
            if wrong := out_of_range(scan):
                detail = f"out of range: {wrong}"
                yield ScanFailure(task.study_uid, number, Reason.MISSING_GEOMETRY, detail)
                break
            yield replace(
                scan,
                series_index=number,
                digest=digest,
                flags=plan.flags,
                acquisition=plan.acquisition,
            )


def _converted(
    plan: ScanPlan, grid: Grid, intensity: Intensity, child: Supervised
) -> list[Scan] | Rejection:
    """One volume on the grid. Its voxels go with this function: before the next ones come."""
    voxels = child.call(read_slices, plan)
    verdict = judge_voxels(voxels)
    return verdict or to_grid(straighten(voxels, plan), plan.modality, grid, intensity)
