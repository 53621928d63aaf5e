"""What stays inside: the tables of a run that identify patients, mode 0600 in a folder of 0700.

In: the studies of a run. Out: `keys.parquet` (pseudonyms and what they stand for), `scans.parquet`
(planned volumes), `sentences.parquet` (sentences by study and variant), `config.yaml` (the resolved
configuration).
"""

from __future__ import annotations

import json
from collections.abc import Sequence
from dataclasses import asdict
from pathlib import Path
from typing import Any

import pyarrow as pa
import pyarrow.parquet as pq
import yaml

from ingest.plan import StudyTask
from study import private
from study.config import Pipeline
from study.records import ScanPlan, Slice

KEYS = pa.schema(
    [
        ("key", pa.string()),
        ("study_uid", pa.string()),
        ("patient", pa.string()),
        ("split", pa.string()),
    ]
)
SENTENCES = pa.schema(
    [
        ("key", pa.string()),
        ("variant", pa.string()),
        ("number", pa.int64()),
        ("sentence", pa.string()),
    ]
)
SCANS = pa.schema(
    [
        ("key", pa.string()),
        ("scan", pa.int64()),
        ("series_uid", pa.string()),
        ("modality", pa.string()),
        ("num_slices", pa.int64()),
        ("slice_spacing_mm", pa.float64()),
        ("flags", pa.list_(pa.string())),
        ("plan", pa.string()),
    ]
)


def write_run_tables(run: Path, pipeline: Pipeline, studies: Sequence[StudyTask]) -> None:
    """Write the tables and the resolved configuration of a run, replacing those of an earlier
    one."""
    config = {pipeline.name: pipeline.model_dump(mode="json", exclude={"name"})}
    private.write_text(run / "config.yaml", yaml.safe_dump(config, sort_keys=False))
    keys = [
        {"key": s.key, "study_uid": s.study_uid, "patient": s.patient, "split": s.split}
        for s in studies
    ]
    sentences = [
        {"key": s.key, "variant": variant, "number": number, "sentence": sentence}
        for s in studies
        for variant, found in s.report.sentences.items()
        for number, sentence in enumerate(found)
    ]
    scans = [
        {
            "key": s.key,
            "scan": number,
            "series_uid": p.series_uid,
            "modality": p.modality,
            "num_slices": len(p.slices),
            "slice_spacing_mm": p.slice_spacing_mm,
            "flags": list(p.flags),
            "plan": json.dumps(asdict(p)),
        }
        for s in studies
        for number, p in enumerate(s.plans)
    ]
    for name, schema, rows in (
        ("keys", KEYS, keys),
        ("sentences", SENTENCES, sentences),
        ("scans", SCANS, scans),
    ):
        with private.replacing(run / f"{name}.parquet") as stream:
            pq.write_table(pa.Table.from_pylist(rows, schema=schema), stream, compression="zstd")


def read_plans(run: Path) -> dict[tuple[str, int], ScanPlan]:
    """Planned volumes of a run by StudyInstanceUID and scan; empty where there are none."""
    if not (run / "scans.parquet").exists() or not (run / "keys.parquet").exists():
        return {}
    plans = pq.read_table(run / "scans.parquet", columns=["scan", "plan"]).to_pylist()
    found = [(row["scan"], plan_from_json(row["plan"])) for row in plans]
    return {(plan.study_uid, scan): plan for scan, plan in found}


def plan_from_json(text: str) -> ScanPlan:
    """The very plan of which `scans.parquet` holds the JSON text."""
    facts = json.loads(text)
    slices = tuple(Slice(**piece) for piece in facts.pop("slices"))
    return ScanPlan(**{name: _tuples(value) for name, value in facts.items()}, slices=slices)


def _tuples(value: Any) -> Any:
    return tuple(_tuples(v) for v in value) if isinstance(value, list) else value
