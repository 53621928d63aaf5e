"""The Parquet file beside a tar: a row a study, the rejected ones too.

In: the metadata of a written study, or the reason why there is none. Out: a row, and the table of a
shard. It holds what a person would filter by, and the address of every member, so that the index of
a dataset is put together without reading a tar. No text of a report, and nothing about a failure
but its code.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import pyarrow as pa
import pyarrow.parquet as pq

from shards import allowed, commit
from shards.index import ADDRESS_FIELDS, Address, SampleRef, address_from_row, address_row
from shards.store import Store
from study.records import Reason, Status

_SCAN = pa.struct(
    [
        pa.field("modality", pa.string()),
        pa.field("plane", pa.string()),
        pa.field("window", pa.string()),
        pa.field("series_index", pa.int32()),
        pa.field("shape", pa.list_(pa.int32())),
        pa.field("spacing_mm", pa.list_(pa.float64())),
        pa.field("source_shape", pa.list_(pa.int32())),
        pa.field("source_spacing_mm", pa.list_(pa.float64())),
        pa.field("flags", pa.list_(pa.string())),
        pa.field("digest", pa.string()),
    ]
)
SCHEMA = pa.schema(
    [
        pa.field("key", pa.string(), nullable=False),
        pa.field("patient", pa.string(), nullable=False),
        pa.field("split", pa.string(), nullable=False),
        pa.field("status", pa.string(), nullable=False),
        pa.field("reason", pa.string(), nullable=False),
        pa.field("num_scans", pa.int32(), nullable=False),
        pa.field("age_years", pa.int32()),
        pa.field("sex", pa.string()),
        pa.field("modalities", pa.list_(pa.string())),
        pa.field("planes", pa.list_(pa.string())),
        pa.field("windows", pa.list_(pa.string())),
        pa.field("num_sentences", pa.map_(pa.string(), pa.int32())),
        pa.field("report_chars", pa.int32()),
        pa.field("labels", pa.map_(pa.string(), pa.float64())),
        pa.field("bytes", pa.int64(), nullable=False),
        pa.field("scans", pa.list_(_SCAN)),
        pa.field("members", pa.list_(pa.struct(ADDRESS_FIELDS))),
    ]
)


def used_row(meta: dict[str, Any], members: Sequence[Address]) -> dict[str, Any]:
    """Row of a study that is in the tar; `meta` is its KEY.json, `members` begins with that of the
    metadata."""
    scans = meta["scans"]
    return {
        "key": meta["key"],
        "patient": meta["patient"],
        "split": meta["split"],
        "status": str(Status.USED),
        "reason": "",
        "num_scans": len(scans),
        "age_years": meta["age_years"],
        "sex": meta["sex"],
        "modalities": sorted({scan["modality"] for scan in scans}),
        "planes": sorted({scan["plane"] for scan in scans}),
        "windows": sorted({scan["window"] for scan in scans}),
        "num_sentences": sorted((name, len(s)) for name, s in meta["report"]["sentences"].items()),
        "report_chars": len(meta["report"]["text"]),
        "labels": sorted(meta["labels"].items()),
        "bytes": sum(address.length for address in members),
        "scans": [{field.name: scan[field.name] for field in _SCAN} for scan in scans],
        "members": [address_row(address) for address in members],
    }


def rejected_row(key: str, patient: str, split: str, reason: Reason) -> dict[str, Any]:
    """Row of a study that is not in the tar."""
    row = {field.name: None for field in SCHEMA}
    facts = {
        "key": key,
        "patient": patient,
        "split": split,
        "status": str(Status.REJECTED),
        "reason": str(reason),
    }
    return {**row, **facts, "num_scans": 0, "bytes": 0}


def table(rows: Sequence[dict[str, Any]]) -> pa.Table:
    """Rows of a shard, in the order in which its studies came. ValueError for what is not on the
    allow-list."""
    for row in rows:
        named = {name: dict(row[name] or ()) for name in ("num_sentences", "labels")}
        allowed.refuse_misfits(allowed.misfits({**row, **named}, allowed.TABLE))
    return pa.Table.from_pylist(list(rows), schema=SCHEMA)


def read(dataset: Store, shard: int, columns: Sequence[str] | None = None) -> pa.Table:
    """The table of a committed shard, or some of its columns."""
    schema = SCHEMA if columns is None else pa.schema([SCHEMA.field(name) for name in columns])
    with dataset.open(commit.parquet_name(shard)) as stream:
        return pq.read_table(stream, columns=columns, schema=schema)


def samples(table: pa.Table, shard: int) -> list[SampleRef]:
    """The samples that a shard's table tells of."""
    rows = table.select(["key", "patient", "split", "members"]).to_pylist()
    found = []
    for row in rows:
        if row["members"]:
            metadata, *scans = (address_from_row(member) for member in row["members"])
            found.append(
                SampleRef(row["key"], row["patient"], row["split"], shard, metadata, tuple(scans))
            )
    return found
