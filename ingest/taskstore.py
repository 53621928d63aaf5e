"""The studies of a run on disk: written by who groups, read by who converts, never all in memory.

In: `StudyTask`s of a part, by key. Out: its parts of `studies`, `scans`, `keys` and `sentences`;
and, for the keys of a shard, the very tasks back. The idea: the client hands out keys, not plans:
a shard's studies lie in one or two parts, and within them in a few row groups.
"""

from __future__ import annotations

import json
from collections import defaultdict
from collections.abc import Iterator, Mapping, Sequence
from pathlib import Path
from typing import Any

import pyarrow as pa
import pyarrow.parquet as pq

from ingest import partition, runfolder
from ingest.plan import StudyTask
from ingest.runfolder import part_file, plan_from_json, plan_to_json, write_part
from study.records import Reason, Report


def write(run: Path, part: int, tasks: Sequence[StudyTask], facts: Mapping[bytes, bytes]) -> None:
    """Write the tables of a part, `studies` last: where it is, the others are. `facts` are kept in
    it."""
    for name in ("studies", "summaries", "labelled"):
        part_file(run, name, part).unlink(missing_ok=True)
    tasks = sorted(tasks, key=lambda task: task.key)
    tables = {
        "keys": [_key_row(task) for task in tasks],
        "sentences": [row for task in tasks for row in _sentence_rows(task)],
        "scans": [row for task in tasks for row in _scan_rows(task)],
        "studies": [_study_row(task) for task in tasks],
    }
    for name, rows in tables.items():
        table = pa.Table.from_pylist(rows, schema=runfolder.TABLES[name])
        write_part(run, name, part, table, facts if name == "studies" else None)


def facts_of(run: Path, part: int) -> Mapping[bytes, bytes]:
    """What `write` was given with a part that is there; nothing where there is none."""
    try:
        return pq.read_schema(part_file(run, "studies", part)).metadata or {}
    except (FileNotFoundError, pa.ArrowInvalid):
        return {}


def read(run: Path, parts: int, keys: Sequence[str]) -> Iterator[StudyTask]:
    """The tasks of studies, in the order of `keys`; their plans are read study by study."""
    by_part: dict[int, list[str]] = defaultdict(list)
    for key in keys:
        by_part[partition.part_of(key, parts)].append(key)
    rows = {
        row["key"]: (part, row)
        for part, wanted in by_part.items()
        for row in _rows(run, "studies", part, wanted)
    }
    for key in keys:
        part, row = rows[key]
        yield _task(row, _rows(run, "scans", part, [key]))


def _rows(run: Path, table: str, part: int, keys: Sequence[str]) -> list[dict[str, Any]]:
    first, last = min(keys), max(keys)
    wanted = [("key", ">=", first), ("key", "<=", last)]
    found = pq.read_table(part_file(run, table, part), filters=wanted).to_pylist()
    return [row for row in found if row["key"] in set(keys)]


def _key_row(task: StudyTask) -> dict[str, Any]:
    return {
        "key": task.key,
        "study_uid": task.study_uid,
        "patient": task.patient,
        "split": task.split,
    }


def _study_row(task: StudyTask) -> dict[str, Any]:
    return {
        **_key_row(task),
        "digest": task.digest,
        "reason": str(task.reason or ""),
        "age_years": task.age_years,
        "sex": task.sex,
        "report": task.report.text,
        "scrubbed": json.dumps(dict(task.scrubbed)),
        "sentences": json.dumps(dict(task.report.sentences)),
        "labels": json.dumps(dict(task.labels)),
        "given_labels": json.dumps(dict(task.labels)),
    }


def _sentence_rows(task: StudyTask) -> list[dict[str, Any]]:
    return [
        {"key": task.key, "variant": variant, "number": number, "sentence": sentence}
        for variant, found in task.report.sentences.items()
        for number, sentence in enumerate(found)
    ]


def _scan_rows(task: StudyTask) -> list[dict[str, Any]]:
    return [
        {
            "key": task.key,
            "scan": number,
            "series_uid": plan.series_uid,
            "modality": plan.modality,
            "num_slices": len(plan.slices),
            "slice_spacing_mm": plan.slice_spacing_mm,
            "flags": list(plan.flags),
            "digest": digest,
            "plan": plan_to_json(plan),
        }
        for number, (plan, digest) in enumerate(zip(task.plans, task.digests, strict=True))
    ]


def _task(row: dict[str, Any], scans: Sequence[dict[str, Any]]) -> StudyTask:
    scans = sorted(scans, key=lambda scan: scan["scan"])
    sentences = {name: tuple(found) for name, found in json.loads(row["sentences"]).items()}
    return StudyTask(
        study_uid=row["study_uid"],
        key=row["key"],
        patient=row["patient"],
        split=row["split"],
        plans=tuple(plan_from_json(scan["plan"]) for scan in scans),
        digests=tuple(scan["digest"] for scan in scans),
        report=Report(sentences, row["report"]),
        labels=json.loads(row["labels"]),
        age_years=row["age_years"],
        sex=row["sex"],
        scrubbed=json.loads(row["scrubbed"]),
        reason=Reason(row["reason"]) if row["reason"] else None,
    )
