"""The ledger: one row per input file (or frame of a multi-frame file), and what became of it.

In: rows from the crawl, the grouping and the conversion. Out: `ledger.parquet`, sums by status and
reason. The one invariant: the ledger has exactly the rows of the crawl, and every row has a status.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import asdict, dataclass, replace
from pathlib import Path
from typing import Any

import pyarrow as pa
import pyarrow.compute as pc
import pyarrow.parquet as pq

from study import private
from study.records import FAILURE_REASONS, Instance, Reason, Rejection, Status

SCHEMA = pa.schema(
    [
        ("path", pa.string()),
        ("frame", pa.int64()),
        ("study_uid", pa.string()),
        ("series_uid", pa.string()),
        ("sop_uid", pa.string()),
        ("status", pa.string()),
        ("reason", pa.string()),
        ("detail", pa.string()),
        ("scan", pa.int64()),
        ("slice", pa.int64()),
    ]
)


@dataclass(frozen=True)
class LedgerRow:
    """What became of one image. `scan` counts the volumes of a study, `slice` the slices of a
    volume; -1: none."""

    path: str
    frame: int
    study_uid: str
    series_uid: str
    sop_uid: str
    status: Status
    reason: Reason | None = None
    detail: str = ""
    scan: int = -1
    slice: int = -1


def row_for(
    instance: Instance, status: Status, reason: Reason | None = None, detail: str = ""
) -> LedgerRow:
    return LedgerRow(
        instance.path,
        instance.frame,
        instance.study_uid,
        instance.series_uid,
        instance.sop_uid,
        status,
        reason,
        detail,
    )


def with_outcomes(
    rows: Iterable[LedgerRow],
    scans: Mapping[tuple[str, int], Rejection],
    studies: Mapping[str, Reason],
) -> list[LedgerRow]:
    """Ledger after conversion: rows of scans and studies that failed there become rejected.

    `scans` maps (study UID, scan) and `studies` a study UID to the reason.
    """
    result = []
    for row in rows:
        if row.status is Status.USED and (row.study_uid, row.scan) in scans:
            reason, detail = scans[(row.study_uid, row.scan)]
            row = replace(
                row, status=Status.REJECTED, reason=reason, detail=detail, scan=-1, slice=-1
            )
        elif row.status is Status.USED and row.study_uid in studies:
            row = replace(
                row, status=Status.REJECTED, reason=studies[row.study_uid], scan=-1, slice=-1
            )
        result.append(row)
    return result


@dataclass(frozen=True)
class LedgerSums:
    """Counts of images by status and reason, and of files."""

    images: int
    files: int
    by_status: Mapping[str, int]
    by_reason: Mapping[str, int]

    @property
    def failures(self) -> int:
        """Images rejected because something is damaged, not because a rule says so."""
        return sum(self.by_reason.get(str(reason), 0) for reason in FAILURE_REASONS)

    def __add__(self, other: LedgerSums) -> LedgerSums:
        """Of two parts of a ledger, none of whose files is in both."""
        return LedgerSums(
            self.images + other.images,
            self.files + other.files,
            _ordered(Counter(self.by_status) + Counter(other.by_status), by_count=False),
            _ordered(Counter(self.by_reason) + Counter(other.by_reason), by_count=True),
        )

    def as_json(self) -> dict[str, Any]:
        return asdict(self)


NOTHING = LedgerSums(0, 0, {}, {})


def _ordered(counts: Mapping[str, int], *, by_count: bool) -> dict[str, int]:
    return dict(sorted(counts.items(), key=lambda pair: (-pair[1] * by_count, pair[0])))


def sums(rows: Sequence[LedgerRow]) -> LedgerSums:
    """Count the ledger."""
    return LedgerSums(
        images=len(rows),
        files=len({row.path for row in rows}),
        by_status=_ordered(Counter(str(row.status) for row in rows), by_count=False),
        by_reason=_ordered(Counter(str(r.reason) for r in rows if r.reason), by_count=True),
    )


def sums_of(table: pa.Table) -> LedgerSums:
    """The same of rows in Arrow."""
    counts = {
        name: {
            row["values"]: row["counts"]
            for row in pc.value_counts(table[name].combine_chunks()).to_pylist()
            if row["values"]
        }
        for name in ("status", "reason")
    }
    return LedgerSums(
        images=len(table),
        files=pc.count_distinct(table["path"]).as_py(),
        by_status=_ordered(counts["status"], by_count=False),
        by_reason=_ordered(counts["reason"], by_count=True),
    )


def sums_in(file: Path) -> LedgerSums:
    """The sums of a ledger, a file or a folder of its parts, read a part at a time."""
    columns = ["path", "status", "reason"]
    return sum(map(sums_of, tables(file, columns)), start=NOTHING)


def tables(file: Path, columns: list[str]) -> Iterator[pa.Table]:
    """Some columns of a ledger, a file or a folder of its parts, a part at a time."""
    for part in _parts(file):
        yield pq.read_table(part, columns=columns)


def _parts(file: Path) -> list[Path]:
    return sorted(file.glob("*.parquet")) if file.is_dir() else [file]


def failures_in(file: Path) -> Iterator[LedgerRow]:
    """Rows of a ledger, a file or a folder of its parts, in which something is damaged; no more
    than a part is in memory."""
    reasons = sorted(map(str, FAILURE_REASONS))
    for part in _parts(file):
        yield from from_table(pq.read_table(part, filters=[("reason", "in", reasons)]))


def images_in(file: Path) -> int:
    """Rows of a ledger, without reading them."""
    return sum(pq.read_metadata(part).num_rows for part in _parts(file))


def check(rows: Sequence[LedgerRow], instances: Sequence[Instance]) -> None:
    """Assert that the ledger is the crawl, image for image."""
    have = Counter((row.path, row.frame) for row in rows)
    want = Counter((instance.path, instance.frame) for instance in instances)
    assert have == want, f"ledger and crawl differ in {len((have - want) + (want - have))} images"


def write(file: Path, rows: Sequence[LedgerRow]) -> None:
    """Write the ledger to a Parquet file (zstd, mode 0600), replacing an older one in one step."""
    with private.replacing(file) as stream:
        pq.write_table(to_table(rows), stream, compression="zstd")


def to_table(rows: Sequence[LedgerRow]) -> pa.Table:
    """Rows in Arrow."""
    columns = {name: [getattr(row, name) for row in rows] for name in SCHEMA.names}
    return pa.table(columns, schema=SCHEMA)


def read(file: Path) -> list[LedgerRow]:
    """Rows of a ledger, a file or a folder of its parts, in its order."""
    return [row for part in _parts(file) for row in from_table(pq.read_table(part))]


def from_table(table: pa.Table) -> list[LedgerRow]:
    """Inverse of `to_table`."""
    return [
        LedgerRow(
            **{
                **row,
                "status": Status(row["status"]),
                "reason": Reason(row["reason"]) if row["reason"] else None,
            }
        )
        for row in table.to_pylist()
    ]
