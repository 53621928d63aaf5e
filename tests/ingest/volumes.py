"""Plans for tests that need no grouping: slices of files, one after the other."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import numpy as np
from dicom_files import save
from pydicom.dataset import Dataset

from ingest.pixels import read_volume
from study.records import ScanPlan, Slice


def plan_of(slices: list[Slice], shape: tuple[int, int], modality: str = "MR") -> ScanPlan:
    return ScanPlan(
        study_uid="1",
        series_uid="1.1",
        index=0,
        modality=modality,
        slices=tuple(slices),
        sop_uids=(),
        rows=shape[0],
        columns=shape[1],
        origin_mm=(0, 0, 0),
        row_direction=(1, 0, 0),
        column_direction=(0, 1, 0),
        slice_step_mm=(0, 0, 1),
        pixel_spacing_mm=(1, 1),
        slice_spacing_mm=1,
        offsets_mm=tuple(float(n) for n in range(len(slices))),
        drift_mm=((0.0, 0.0),) * len(slices),
    )


def volume_of(
    folder: Path, datasets: list[Dataset], modality: str = "MR", padding: Any = "air"
) -> np.ndarray:
    paths = save(datasets, folder)
    shape = datasets[0].Rows, datasets[0].Columns
    return read_volume(plan_of([Slice(str(p), 0) for p in paths], shape, modality), padding)


RAMP = np.arange(-32, 32, dtype=np.int16).reshape(8, 8) * 100
