"""Instances on disk: a Parquet table with one column a field of `Instance`.

In: rows. Out: `instances.parquet` (zstd), and the same rows back: all, or some at a time.
"""

from __future__ import annotations

from collections.abc import Iterable, Iterator
from dataclasses import fields
from itertools import islice
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


FACTS = b"4"
"""What rows say of a file. Raise it when the same file gives other rows than before: tables of an
earlier crawl are then read for people, and no more taken for a new crawl."""
SCHEMA = pa.schema(
    [(f.name, _arrow_type(str(f.type))) for f in fields(Instance)], {b"facts": FACTS}
)


ROW_GROUP = 1 << 16
"""Rows written, and read, at a time."""
_LISTS = [pa.types.is_list(field.type) for field in SCHEMA]
_REASON = SCHEMA.names.index("reason")


def write(file: Path, rows: Iterable[Instance]) -> None:
    """Write the table (mode 0600), replacing an older one in one step."""
    left = iter(rows)
    with (
        private.replacing(file) as stream,
        pq.ParquetWriter(stream, SCHEMA, compression="zstd") as writer,
    ):
        while some := list(islice(left, ROW_GROUP)):
            columns = {name: [getattr(row, name) for row in some] for name in SCHEMA.names}
            writer.write_table(pa.table(columns, schema=SCHEMA))


def read(file: Path) -> list[Instance]:
    """Rows in the order in which they were written. Facts that this version does not know are left
    out, and those that an older one did not know are missing."""
    return [_instance(row) for row in pq.read_table(file).to_pylist()]


def batches(file: Path) -> Iterator[pa.Table]:
    """The table that this version wrote, some rows at a time."""
    with pq.ParquetFile(file) as table:
        for batch in table.iter_batches(ROW_GROUP):
            yield pa.Table.from_batches([batch], SCHEMA)


def num_rows(file: Path) -> int:
    return int(pq.read_metadata(file).num_rows)


def instances_of(rows: pa.Table) -> list[Instance]:
    """Rows of a table with exactly the columns of `SCHEMA`."""
    columns = [column.to_pylist() for column in rows.columns]
    for number, is_list in enumerate(_LISTS):
        if is_list:
            columns[number] = [None if v is None else tuple(v) for v in columns[number]]
    columns[_REASON] = [Reason(v) if v else None for v in columns[_REASON]]
    return [Instance(*values) for values in zip(*columns, strict=True)]


def read_current(file: Path) -> list[Instance]:
    """The same; none where there is no table, or one that this version would not have written."""
    return read(file) if _is_current(file) else []


def read_between(file: Path, first: str, last: str) -> list[Instance]:
    """Of the same, the rows whose paths are from `first` to `last`, both included."""
    if not _is_current(file):
        return []
    rows = pq.read_table(file, filters=[("path", ">=", first), ("path", "<=", last)])
    return instances_of(rows)


def read_paths(file: Path, paths: Iterable[str]) -> list[Instance]:
    """Rows of some files; none where there is no table. Facts as `read` gives them."""
    wanted = sorted(paths)
    if not wanted or not file.exists():
        return []
    rows = pq.read_table(file, filters=[("path", "in", wanted)])
    return [_instance(row) for row in rows.to_pylist()]


def _is_current(file: Path) -> bool:
    try:
        schema = pq.read_schema(file)
    except (FileNotFoundError, pa.ArrowInvalid):
        return False
    return (schema.metadata or {}).get(b"facts") == FACTS and schema.names == SCHEMA.names


def _instance(row: dict[str, Any]) -> Instance:
    values: dict[str, Any] = {
        name: tuple(value) if isinstance(value, list) else value
        for name, value in row.items()
        if name in SCHEMA.names
    }
    return Instance(**{**values, "reason": Reason(row["reason"]) if row["reason"] else None})
