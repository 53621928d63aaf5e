"""Studies -> shards, up front: who goes where does not depend on who works when.

In: grouped studies with their texts and labels, the project key, the plan of the last run. Out:
`ShardTask`s. Studies are shuffled by their keyed pseudonym, so that every shard is a fair mix. A
study keeps its shard once assigned; new studies go into new shards. The content of a shard has an
identity, so "done" is a fact about bytes, not about numbers.
"""

from __future__ import annotations

import hashlib
import json
from collections import Counter, defaultdict
from collections.abc import Collection, Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path

import pyarrow as pa
import pyarrow.parquet as pq

from ingest import deidentify, offline
from ingest.group import Grouping
from ingest.scrub import scrub
from study import private, pseudonyms
from study.records import Instance, Reason, Report, ScanPlan
from study.sections import Ingest


@dataclass(frozen=True)
class StudyTask:
    """All that a worker needs to make one sample. It holds identifiers and stays within the run."""

    study_uid: str
    key: str
    patient: str
    split: str
    plans: tuple[ScanPlan, ...]
    digests: tuple[str, ...]
    """Keyed digest of the source instances of each plan."""
    report: Report = field(default_factory=Report)
    labels: Mapping[str, float] = field(default_factory=dict)
    age_years: int | None = None
    sex: str = ""
    reason: Reason | None = None
    """Set when the study is rejected before its pixels are read."""

    @property
    def digest(self) -> str:
        """Changes when the sample would: other slices, text or labels."""
        facts = [
            self.digests,
            self.report.text,
            {k: list(v) for k, v in self.report.sentences.items()},
            dict(self.labels),
            self.age_years,
            self.sex,
            self.split,
            str(self.reason),
        ]
        return hashlib.sha256(json.dumps(facts, sort_keys=True).encode()).hexdigest()[:32]


@dataclass(frozen=True)
class ShardTask:
    """One shard to be written: the unit of work, of retry and of resumption."""

    shard: int
    studies: tuple[StudyTask, ...]
    content: str
    """Identity of what the shard will hold: its studies and the settings that shape them."""


def study_task(
    instances: Sequence[Instance],
    grouping: Grouping,
    key: bytes,
    settings: Ingest,
    report: str | None,
    labels: Mapping[str, float],
) -> StudyTask:
    """Join what is known of a study. `report` is None where the reports table has no row for it."""
    ordered = sorted(instances, key=lambda i: (i.series_uid, i.instance_number or 0, i.sop_uid))
    study_uid = instances[0].study_uid
    patient = deidentify.patient_of(key, ordered, study_uid)
    ages = [deidentify.age_years(i.patient_age) for i in ordered]
    identifying = sorted({v for i in instances for v in i.identifying})
    text = scrub(report, identifying).strip() if report else ""
    sentences = tuple(offline.summarize(text)) if text else ()
    return StudyTask(
        study_uid=study_uid,
        key=pseudonyms.pseudonym(key, "study", study_uid),
        patient=patient,
        split=pseudonyms.split_of(patient, settings.valid_fraction, settings.test_fraction),
        plans=grouping.plans,
        digests=tuple(deidentify.digest_of(key, plan) for plan in grouping.plans),
        report=Report({offline.VARIANT: sentences} if sentences else {}, text),
        labels=dict(labels),
        age_years=next((age for age in ages if age is not None), None),
        sex=next((s for i in ordered if (s := deidentify.sex_code(i.patient_sex))), ""),
        reason=_early_reason(grouping, settings, bool(sentences)),
    )


def _early_reason(grouping: Grouping, settings: Ingest, has_sentences: bool) -> Reason | None:
    if not grouping.plans:
        reasons = Counter(row.reason for row in grouping.rows if row.reason)
        return (
            Reason.PATIENT_MISMATCH
            if set(reasons) == {Reason.PATIENT_MISMATCH}
            else Reason.NO_SCANS
        )
    if settings.without_report == "reject" and not has_sentences:
        return Reason.NO_REPORT
    return None


def assign(
    studies: Sequence[StudyTask],
    previous: Mapping[str, int],
    taken: Collection[int],
    studies_per_shard: int,
    settings_fingerprint: str,
) -> list[ShardTask]:
    """Shards of all studies. `previous` maps the keys of studies that have a shard to its number;
    `taken` are the numbers of shards that exist."""
    by_shard: dict[int, list[StudyTask]] = defaultdict(list)
    fresh = []
    for study in sorted(studies, key=lambda s: s.key):
        if study.key in previous:
            by_shard[previous[study.key]].append(study)
        else:
            fresh.append(study)
    start = max([*previous.values(), *taken], default=-1) + 1
    for number, study in enumerate(fresh):
        by_shard[start + number // studies_per_shard].append(study)
    return [
        ShardTask(shard, tuple(members), content_of(members, settings_fingerprint))
        for shard, members in sorted(by_shard.items())
    ]


def content_of(studies: Sequence[StudyTask], settings_fingerprint: str) -> str:
    """Identity of a shard's content, without anything that identifies a patient."""
    lines = [settings_fingerprint, *(f"{s.key} {s.digest}" for s in studies)]
    return hashlib.sha256("\n".join(lines).encode()).hexdigest()


def write(file: Path, tasks: Sequence[ShardTask], previous: Mapping[str, int]) -> None:
    """Remember which shard each study has, also of studies that are not there any more."""
    now = {study.key: task.shard for task in tasks for study in task.studies}
    pairs = sorted({**previous, **now}.items())
    columns = {"key": [key for key, _ in pairs], "shard": [shard for _, shard in pairs]}
    schema = pa.schema([("key", pa.string()), ("shard", pa.int64())])
    with private.replacing(file) as stream:
        pq.write_table(pa.table(columns, schema=schema), stream)


def read(file: Path) -> dict[str, int]:
    """Study key -> shard, of the last run; empty where there was none."""
    if not file.exists():
        return {}
    columns = pq.read_table(file).to_pydict()
    return dict(zip(columns["key"], columns["shard"], strict=True))
