"""What stays inside: the tables of a run that identify patients, mode 0600 in a folder of 0700.

In: rows, a part at a time (see `partition`). Out: `keys.parquet` (pseudonyms and what they stand
for), `studies.parquet` (samples without their scans), `scans.parquet` (planned volumes),
`sentences.parquet` (sentences by study and variant), `summaries.parquet` (what was dropped of
language models' sentences), `reports.parquet` and `labels.parquet` (what
became of every row of the user's tables), `grouped.parquet` and `ledger.parquet` (what became of
every image, before and after conversion), each a folder of Parquet files that reads as one table,
in which study keys are in order; and `config.yaml` (the resolved configuration).
"""

from __future__ import annotations

import json
import shutil
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import pyarrow as pa
import pyarrow.parquet as pq
import yaml

from ingest import ledger, report_join
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
STUDIES = pa.schema(
    [
        *KEYS,
        ("digest", pa.string()),
        ("reason", pa.string()),
        ("age_years", pa.int64()),
        ("sex", pa.string()),
        ("report", pa.string()),
        ("scrubbed", pa.string()),
        ("sentences", pa.string()),
        ("labels", pa.string()),
        ("given_labels", pa.string()),
    ]
)
"""`sentences` (variant -> list), `labels` and `scrubbed` (kind of span -> how many were cut out of
the report) are JSON; `reason` is empty where a sample is to be made; `digest` is that of the
sample."""
SENTENCES = pa.schema(
    [
        ("key", pa.string()),
        ("variant", pa.string()),
        ("number", pa.int64()),
        ("sentence", pa.string()),
    ]
)
SUMMARIES = pa.schema(
    [
        ("key", pa.string()),
        ("variant", pa.string()),
        ("flagged", pa.bool_()),
        ("failure", pa.string()),
        ("dropped", pa.string()),
    ]
)
"""What came of a language model's answer: `dropped` is JSON, [sentence, reason, detail] each."""
LABELLED = pa.schema(
    [
        ("key", pa.string()),
        ("label_set", pa.string()),
        ("flagged", pa.bool_()),
        ("failures", pa.string()),
        ("answers", pa.string()),
        ("votes", pa.string()),
    ]
)
"""Where labels are from, as JSON: `failures` by model, `answers` by label, `votes` by both."""
SCANS = pa.schema(
    [
        ("key", pa.string()),
        ("scan", pa.int64()),
        ("series_uid", pa.string()),
        ("modality", pa.string()),
        ("num_slices", pa.int64()),
        ("slice_spacing_mm", pa.float64()),
        ("flags", pa.list_(pa.string())),
        ("digest", pa.string()),
        ("plan", pa.string()),
    ]
)
TABLES = {
    "keys": KEYS,
    "studies": STUDIES,
    "scans": SCANS,
    "sentences": SENTENCES,
    "summaries": SUMMARIES,
    "labelled": LABELLED,
    "reports": report_join.OUTCOMES,
    "labels": report_join.OUTCOMES,
    "grouped": ledger.SCHEMA,
    "ledger": ledger.SCHEMA,
}
ROW_GROUP = {"studies": 64, "scans": 256}
"""Rows: a shard's studies are then found without reading their whole part."""
ROW_GROUP_ELSE = 1 << 16
HANDOVER = "partitions"
"""Folder of what the client hands to those who group; it goes when all is grouped."""


def part_file(run: Path, table: str, part: int) -> Path:
    return run / f"{table}.parquet" / f"{part:05d}.parquet"


def write_part(
    run: Path, table: str, part: int, rows: pa.Table, facts: Mapping[bytes, bytes] | None = None
) -> None:
    """Replace a part of a table; `facts` are kept in it beside the rows."""
    file = part_file(run, table, part)
    private.private_folder(file.parent)
    with private.replacing(file) as stream:
        pq.write_table(
            rows.replace_schema_metadata(facts),
            stream,
            compression="zstd",
            row_group_size=ROW_GROUP.get(table, ROW_GROUP_ELSE),
        )


def discard_other_parts(run: Path, parts: int) -> None:
    """Remove what is no part of a table of so many parts: others of an earlier run, what a crash
    left half written, and tables of one file, as they once were."""
    for table in TABLES:
        folder = run / f"{table}.parquet"
        if folder.is_file():
            folder.unlink()
        keep = {part_file(run, table, part).name for part in range(parts)}
        for file in folder.glob("*") if folder.is_dir() else ():
            if file.name not in keep:
                file.unlink()


def discard_handover(run: Path) -> None:
    shutil.rmtree(run / HANDOVER, ignore_errors=True)


def write_config(run: Path, pipeline: Pipeline) -> None:
    """The resolved configuration of a run."""
    config = {pipeline.name: pipeline.model_dump(mode="json", exclude={"name"})}
    private.write_text(run / "config.yaml", yaml.safe_dump(config, sort_keys=False))


def plan_to_json(plan: ScanPlan) -> str:
    """As `scans.parquet` holds it. Not by `dataclasses.asdict`: it copies, at ten times the
    cost."""
    facts = {**vars(plan), "slices": [vars(piece) for piece in plan.slices]}
    return json.dumps({**facts, "acquisition": dict(plan.acquisition)})


def plan_from_json(text: str) -> ScanPlan:
    """The very plan of which `scans.parquet` holds the JSON text."""
    facts = json.loads(text)
    slices = tuple(Slice(**piece) for piece in facts.pop("slices"))
    return ScanPlan(**{name: _tuples(value) for name, value in facts.items()}, slices=slices)


def _tuples(value: Any) -> Any:
    return tuple(_tuples(v) for v in value) if isinstance(value, list) else value
