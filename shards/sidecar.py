"""The Parquet file beside a tar: a row a study, the rejected ones too.

In: the metadata of a written study, or the reason why there is none. Out: a row, and the table of a
shard. It holds what a person would filter by, and the address of every member, so that the index of
a dataset is put together without reading a tar. No text of a report, and nothing about a failure
but its code.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any, BinaryIO

import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq

from shards import allowed, commit
from shards.index import ADDRESS_FIELDS, Address, SampleRef, address_from_row, address_row
from shards.remote import StoreFailure
from shards.store import Store
from shards.view import PLANES
from study.errors import UserError
from study.records import Reason, Status


def _field(name: str, kind: pa.DataType, description: str, *, required: bool = False) -> pa.Field:
    return pa.field(name, kind, nullable=not required, metadata={"description": description})


_TEXTS, _INTS, _FLOATS = pa.list_(pa.string()), pa.list_(pa.int32()), pa.list_(pa.float64())
_ACQUISITION = pa.struct(
    [
        pa.field(name, pa.float64() if isinstance(rule, allowed.Range) else pa.string())
        for name, rule in allowed.ACQUISITION.items()
    ]
)
_SCAN = pa.struct(
    [
        pa.field("modality", pa.string()),
        pa.field("plane", pa.string()),
        pa.field("source_plane", pa.string()),
        pa.field("window", pa.string()),
        pa.field("series_index", pa.int32()),
        pa.field("shape", _INTS),
        pa.field("spacing_mm", _FLOATS),
        pa.field("source_shape", _INTS),
        pa.field("source_spacing_mm", _FLOATS),
        pa.field("flags", _TEXTS),
        pa.field("acquisition", _ACQUISITION),
        pa.field("digest", pa.string()),
    ]
)
SCHEMA = pa.schema(
    [
        _field("key", pa.string(), "Pseudonym of the study", required=True),
        _field("patient", pa.string(), "Pseudonym of the patient", required=True),
        _field("split", pa.string(), "train, valid or test; by patient", required=True),
        _field("status", pa.string(), "used or rejected", required=True),
        _field("reason", pa.string(), "Code of a rejection; empty if used", required=True),
        _field("num_scans", pa.int32(), "Arrays of the study", required=True),
        _field("num_series", pa.int32(), "Source volumes that its scans are of"),
        _field("age_years", pa.int32(), "90 stands for 90 and over"),
        _field("sex", pa.string(), "F, M, O or empty"),
        _field("modalities", _TEXTS, "CT, MR"),
        _field("planes", _TEXTS, "Of the stored slices: axial, coronal, sagittal"),
        _field("source_planes", _TEXTS, "Of the slices as they were acquired"),
        _field("windows", _TEXTS, "Names of the intensity windows"),
        _field("flags", _TEXTS, "What its scans are marked with, such as GANTRY_TILT"),
        _field("manufacturers", _TEXTS, "Of the scanners; DICOM Manufacturer"),
        _field("body_parts", _TEXTS, "DICOM BodyPartExamined"),
        _field("magnetic_fields_t", _FLOATS, "Tesla; DICOM MagneticFieldStrength"),
        _field("num_sentences", pa.map_(pa.string(), pa.int32()), "By summariser"),
        _field("report_chars", pa.int32(), "Length of the scrubbed report"),
        _field("labels", pa.map_(pa.string(), pa.float64()), "0 or 1; absent if unknown"),
        _field("bytes", pa.int64(), "Of all its members in the tar", required=True),
        _field("scans", pa.list_(_SCAN), "What KEY.json says of every scan, less its affines"),
        _field("members", pa.list_(pa.struct(ADDRESS_FIELDS)), "Where its members lie in the tar"),
    ]
)
"""Every column says in the file itself what it is (metadata of the field: `description`). Units are
in the names; what is known of no scan is an empty list, what is known of this scan alone is in
`scans`."""


def used_row(meta: dict[str, Any], members: Sequence[Address]) -> dict[str, Any]:
    """Row of a study that is in the tar; `meta` is its KEY.json, `members` begins with that of the
    metadata."""
    scans = [{**s, "source_plane": _plane_of(s["source_affine"])} for s in meta["scans"]]
    acquired = [scan["acquisition"] for scan in scans]
    return {
        "key": meta["key"],
        "patient": meta["patient"],
        "split": meta["split"],
        "status": str(Status.USED),
        "reason": "",
        "num_scans": len(scans),
        "num_series": len({scan["series_index"] for scan in scans}),
        "age_years": meta["age_years"],
        "sex": meta["sex"],
        "modalities": _distinct(scans, "modality"),
        "planes": _distinct(scans, "plane"),
        "source_planes": _distinct(scans, "source_plane"),
        "windows": _distinct(scans, "window"),
        "flags": sorted({flag for scan in scans for flag in scan["flags"]}),
        "manufacturers": _distinct(acquired, "manufacturer"),
        "body_parts": _distinct(acquired, "body_part"),
        "magnetic_fields_t": _distinct(acquired, "magnetic_field_t"),
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
    """The table of a committed shard, or some of its columns. UserError where it is damaged."""
    name = commit.parquet_name(shard)
    try:
        with dataset.open(name) as stream:
            return parsed(stream, columns)
    except StoreFailure:
        raise
    except (OSError, ValueError, pa.ArrowException) as error:
        what = "".join(c if c.isprintable() else " " for c in str(error)).strip()  # bytes of it
        raise UserError(
            f"{dataset.url}/{name} cannot be read: {what}; see `dicom2clip shards verify "
            f"{dataset.url}` and `repair`"
        ) from None


def parsed(stream: BinaryIO, columns: Sequence[str] | None = None) -> pa.Table:
    """The table in an open file, or some of its columns; a column that the file lacks is null.

    Read by this thread alone: `pq.read_table`, or reading ahead, lets Arrow's threads hold the
    Python file beyond the call, and they may abort the program as it ends (apache/arrow#33975).
    """
    names = list(columns or SCHEMA.names)
    table = pq.ParquetFile(stream, pre_buffer=False).read(names, use_threads=False)
    for name in names:
        if name not in table.column_names:
            table = table.append_column(name, pa.nulls(len(table), SCHEMA.field(name).type))
    return table.select(names).cast(pa.schema([SCHEMA.field(name) for name in names]))


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


def _distinct(facts: Sequence[dict[str, Any]], name: str) -> list[Any]:
    return sorted({fact[name] for fact in facts if name in fact})


def _plane_of(affine: Sequence[Sequence[float]]) -> str:
    """Plane of the slices of a grid: that of the axis nearest to their normal."""
    steps = np.array(affine, dtype=float)[:3, :3]
    return PLANES[int(np.argmax(np.abs(np.cross(steps[:, 2], steps[:, 1]))))]
