"""Instances on disk: a Parquet table with one column a field of `Instance`.

In: rows. Out: `instances.parquet` (zstd), and the same rows back.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import fields
from pathlib import Path
from typing import Any

import pyarrow as pa
import pyarrow.parquet as pq

from study import private
from study.records import Instance, Reason

_TYPES = {
    "str": pa.string(),
    "int": pa.int64(),
    "bool": pa.bool_(),
    "float": pa.float64(),
    "Reason": pa.string(),
    "Vector": pa.list_(pa.float64()),
}


def _arrow_type(annotation: str) -> pa.DataType:
    name = annotation.removesuffix(" | None")
    if name.startswith("tuple["):
        return pa.list_(pa.string() if name.startswith("tuple[str") else pa.float64())
    return _TYPES[name]


FACTS = b"2"
"""What rows say of a file. Raise it when the same file gives other rows than before: tables of an
earlier crawl are then read for people, and no more taken for a new crawl."""
SCHEMA = pa.schema(
    [(f.name, _arrow_type(str(f.type))) for f in fields(Instance)], {b"facts": FACTS}
)


def write(file: Path, rows: Sequence[Instance]) -> None:
    """Write the table (mode 0600), replacing an older one in one step."""
    columns = {name: [getattr(row, name) for row in rows] for name in SCHEMA.names}
    with private.replacing(file) as stream:
        pq.write_table(pa.table(columns, schema=SCHEMA), stream, compression="zstd")


def read(file: Path) -> list[Instance]:
    """Rows in the order in which they were written. Facts that this version does not know are left
    out, and those that an older one did not know are missing."""
    return [_instance(row) for row in pq.read_table(file).to_pylist()]


def read_current(file: Path) -> list[Instance]:
    """The same; none where there is no table, or one that this version would not have written."""
    try:
        schema = pq.read_schema(file)
        is_ours = (schema.metadata or {}).get(b"facts") == FACTS and schema.names == SCHEMA.names
        return read(file) if is_ours else []
    except (FileNotFoundError, pa.ArrowInvalid):
        return []


def _instance(row: dict[str, Any]) -> Instance:
    values: dict[str, Any] = {
        name: tuple(value) if isinstance(value, list) else value
        for name, value in row.items()
        if name in SCHEMA.names
    }
    return Instance(**{**values, "reason": Reason(row["reason"]) if row["reason"] else None})
