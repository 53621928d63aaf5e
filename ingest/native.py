"""A folder of DICOM -> one NIfTI file a scan on its native grid, before any resampling.

In: folders. Out: OUT/*.nii (or .nii.gz), OUT/volumes.parquet with a row a file, and
OUT/ledger.parquet with a row an input file or frame. For people who want only a converter, and to
hold the grouping against other converters. Values are what the files say after their rescale:
nothing is clipped, padded or replaced. The affine (RAS, millimetres, voxel centres) is exact
also for tilted stacks, whose third axis is slanted then.
"""

from __future__ import annotations

import gzip
import os
from collections.abc import Callable, Iterator, Sequence
from concurrent.futures import ThreadPoolExecutor, as_completed
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from queue import SimpleQueue
from types import TracebackType
from typing import Any, BinaryIO

import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq

from ingest.geometry import native_affine, tilt_deg
from ingest.pixels import read_volume, ready
from ingest.rules import judge_voxels
from ingest.supervise import Limits, Supervised
from ingest.undecodable import rejection_of
from study.errors import naming
from study.records import Reason, Rejection, ScanPlan

LPS_TO_RAS = np.diag([-1.0, -1.0, 1.0, 1.0])
HEADER_BYTES = 352
"""NIfTI-1: 348 of the header and four that say that no extension follows."""
GZIP_LEVEL = 1
PARTIAL = ".partial"
"""Ending of a file that is being written."""

Written = dict[str, Any] | Rejection
"""The row of a volume that was written, or why there is none."""

SCHEMA = pa.schema(
    [
        ("nifti", pa.string()),
        ("study_uid", pa.string()),
        ("series_uid", pa.string()),
        ("shape", pa.list_(pa.int64())),
        ("spacing_mm", pa.list_(pa.float64())),
        ("affine", pa.list_(pa.list_(pa.float64()))),
        ("n_slices", pa.int64()),
        ("flags", pa.list_(pa.string())),
        ("scan", pa.int64()),
        ("index", pa.int64()),
        ("modality", pa.string()),
        ("series_number", pa.int64()),
        ("split_by", pa.string()),
        ("tilt_deg", pa.float64()),
        ("offsets_mm", pa.list_(pa.float64())),
        ("dtype", pa.string()),
    ]
)
"""Columns of volumes.parquet. `shape`, `spacing_mm` and `affine` are in NIfTI's order (column, row,
slice); `offsets_mm` are the slices' places along the normal; `scan` is the number in the ledger."""


@dataclass(frozen=True)
class NamedPlan:
    """A volume to be written: its plan, its number in the study and the name of its file."""

    plan: ScanPlan
    scan: int
    name: str


def named(plans: Sequence[tuple[int, ScanPlan]], suffix: str) -> list[NamedPlan]:
    """Give every volume a file name: its SeriesInstanceUID, with the volume's index where the
    series has several. `plans` are pairs of scan number and plan. Studies may share a series
    UID."""
    several = {p.series_uid for _, p in plans if p.index > 0}
    found: list[NamedPlan] = []
    taken: set[str] = set()
    for scan, plan in plans:
        stem = "".join(c if c.isalnum() or c in "._-" else "_" for c in plan.series_uid)[:128]
        if plan.series_uid in several:
            stem = f"{stem}_{plan.index:03d}"
        name, twin = stem, 1
        while name in taken:
            twin += 1
            name = f"{stem}_study{twin}"
        taken.add(name)
        found.append(NamedPlan(plan, scan, name + suffix))
    return found


class Decoders:
    """Threads with a decoding process each. They start at once, so that the processes are there
    when the first volume is wanted."""

    def __init__(self, limits: Limits, workers: int) -> None:
        self._idle: SimpleQueue[Supervised] = SimpleQueue()
        self._pool = ThreadPoolExecutor(workers)
        self._decoders = [Supervised(limits) for _ in range(workers)]
        for decoder in self._decoders:
            self._pool.submit(self._warm, decoder)

    def __enter__(self) -> Decoders:
        return self

    def __exit__(
        self,
        kind: type[BaseException] | None,
        value: BaseException | None,
        trace: TracebackType | None,
    ) -> None:
        self._pool.shutdown(cancel_futures=True)
        for decoder in self._decoders:
            decoder.close()

    def _warm(self, decoder: Supervised) -> None:
        try:
            decoder.call(ready)
        finally:
            self._idle.put(decoder)

    def write(self, wanted: Sequence[NamedPlan], out: Path) -> Iterator[tuple[int, Written]]:
        """Write volumes in any order; (number in `wanted`, its row or why there is none)."""
        flying = {self._pool.submit(self._write, item, out): n for n, item in enumerate(wanted)}
        for future in as_completed(flying):
            yield flying[future], future.result()

    def _write(self, item: NamedPlan, out: Path) -> Written:
        decoder = self._idle.get()
        try:
            return write_volume(item, out, decoder)
        finally:
            self._idle.put(decoder)


def write_volumes(
    wanted: Sequence[NamedPlan],
    out: Path,
    decoders: Decoders,
    on_progress: Callable[[int, int], None],
) -> tuple[list[dict[str, Any]], dict[tuple[str, int], Rejection]]:
    """Write every volume and return the rows of volumes.parquet, and what could not be made, by
    study UID and scan."""
    rows: dict[int, dict[str, Any]] = {}
    failed: dict[tuple[str, int], Rejection] = {}
    for done, (number, result) in enumerate(decoders.write(wanted, out), 1):
        if isinstance(result, Rejection):
            failed[(wanted[number].plan.study_uid, wanted[number].scan)] = result
        else:
            rows[number] = result
        on_progress(done, len(wanted))
    return [rows[number] for number in sorted(rows)], failed


def write_volume(item: NamedPlan, out: Path, decoder: Supervised) -> Written:
    """Write one volume; its row of volumes.parquet, or why there is none. A file that is gone or
    unreadable since the crawl costs its volume. Raises OSError for what cannot be written."""
    try:
        voxels = decoder.call(read_volume, item.plan, "keep")
    except ChildProcessError:
        raise
    except OSError as error:
        return Rejection(Reason.UNREADABLE, type(error).__name__)
    except Exception as error:
        return rejection_of(error)
    try:
        verdict = judge_voxels(voxels)
        if verdict is not None:
            return verdict
        affine = nifti_affine(item.plan)
        save(out / item.name, voxels, affine, item.plan.slice_spacing_mm)
    except Exception as error:
        return rejection_of(error)
    return _row(item, voxels, affine)


def _row(item: NamedPlan, voxels: np.ndarray, affine: np.ndarray) -> dict[str, Any]:
    plan = item.plan
    y_mm, x_mm = plan.pixel_spacing_mm
    orientation = (*plan.row_direction, *plan.column_direction)
    return {
        "nifti": item.name,
        "study_uid": plan.study_uid,
        "series_uid": plan.series_uid,
        "shape": list(voxels.shape[::-1]),
        "spacing_mm": [x_mm, y_mm, plan.slice_spacing_mm],
        "affine": affine.tolist(),
        "n_slices": len(plan.slices),
        "flags": list(plan.flags),
        "scan": item.scan,
        "index": plan.index,
        "modality": plan.modality,
        "series_number": plan.series_number,
        "split_by": plan.split_by,
        "tilt_deg": tilt_deg(plan.slice_step_mm, orientation),
        "offsets_mm": list(plan.offsets_mm),
        "dtype": str(voxels.dtype),
    }


def nifti_affine(plan: ScanPlan) -> np.ndarray:
    """4 x 4 from NIfTI's index (column, row, slice, 1) to RAS millimetres."""
    by_slice = LPS_TO_RAS @ np.asarray(native_affine(plan))
    result: np.ndarray = by_slice[:, [2, 1, 0, 3]] + 0.0  # no negative zeros
    return result


def save(file: Path, voxels: np.ndarray, affine: np.ndarray, slice_spacing_mm: float) -> None:
    """Write (slice, row, column) voxels as a NIfTI-1 file, replacing an older one in one step."""
    import nibabel  # half a second to import, in the time that the first volume is decoded

    header = nibabel.Nifti1Header()
    header.set_data_dtype(voxels.dtype)
    header.set_data_shape(voxels.shape[::-1])
    header.set_qform(affine, code=1)  # the nearest rotation, for readers that know no other
    header.set_sform(affine, code=1)
    x_mm, y_mm = np.linalg.norm(affine[:3, :2], axis=0)
    header.set_zooms((x_mm, y_mm, slice_spacing_mm))
    header.set_xyzt_units("mm")
    header["vox_offset"] = HEADER_BYTES
    with _replacing(file) as raw:
        if file.suffix == ".gz":
            with gzip.GzipFile("", "wb", GZIP_LEVEL, raw, mtime=0) as stream:
                stream.write(header.binaryblock + bytes(4))
                stream.write(np.ascontiguousarray(voxels).data)
        else:
            raw.write(header.binaryblock + bytes(4))
            raw.write(np.ascontiguousarray(voxels).data)


@contextmanager
def _replacing(file: Path) -> Iterator[BinaryIO]:
    """A stream whose bytes become `file` when the block ends well. Nothing is left of it else, and
    what the disk refuses is said with the file's name."""
    partial = file.with_name(file.name + PARTIAL)
    try:
        with naming(file), open(partial, "wb") as stream:
            yield stream
        os.replace(partial, file)
    except BaseException:
        partial.unlink(missing_ok=True)
        raise


def write_table(file: Path, rows: Sequence[dict[str, Any]]) -> None:
    """Write volumes.parquet."""
    with _replacing(file) as stream:
        pq.write_table(pa.Table.from_pylist(list(rows), schema=SCHEMA), stream, compression="zstd")
