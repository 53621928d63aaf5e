"""DICOM for tests, built in memory: a slice, a series, a file on disk."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import numpy as np
import pydicom
from pydicom.dataset import Dataset, FileMetaDataset
from pydicom.uid import CTImageStorage, ExplicitVRLittleEndian, MRImageStorage, generate_uid

AXIAL = (1.0, 0.0, 0.0, 0.0, 1.0, 0.0)
CORONAL = (1.0, 0.0, 0.0, 0.0, 0.0, -1.0)
SAGITTAL = (0.0, 1.0, 0.0, 0.0, 0.0, -1.0)


def make_slice(
    pixels: np.ndarray | None = None,
    *,
    position: tuple[float, float, float] = (0.0, 0.0, 0.0),
    orientation: tuple[float, ...] = AXIAL,
    spacing: tuple[float, float] = (1.0, 1.0),
    modality: str = "MR",
    **tags: Any,
) -> Dataset:
    """A data set of one slice. `pixels` is (rows, columns) int16; `tags` are DICOM keywords."""
    pixels = np.zeros((8, 8), np.int16) if pixels is None else np.asarray(pixels, np.int16)
    ds = Dataset()
    ds.file_meta = FileMetaDataset()
    ds.file_meta.TransferSyntaxUID = ExplicitVRLittleEndian
    ds.SOPClassUID = CTImageStorage if modality == "CT" else MRImageStorage
    ds.SOPInstanceUID = generate_uid()
    ds.StudyInstanceUID = tags.pop("StudyInstanceUID", "1.2.3.4")
    ds.SeriesInstanceUID = tags.pop("SeriesInstanceUID", "1.2.3.4.5")
    ds.PatientID = "P1"
    ds.PatientName = "Doe^Jane"
    ds.Modality = modality
    ds.ImageType = ["ORIGINAL", "PRIMARY", "AXIAL" if modality == "CT" else "M"]
    ds.Rows, ds.Columns = pixels.shape
    ds.PixelSpacing = list(spacing)
    ds.ImagePositionPatient = [round(p, 6) for p in position]
    ds.ImageOrientationPatient = [round(o, 8) for o in orientation]
    ds.SamplesPerPixel = 1
    ds.PhotometricInterpretation = "MONOCHROME2"
    ds.BitsAllocated = ds.BitsStored = 16
    ds.HighBit = 15
    ds.PixelRepresentation = 1
    ds.PixelData = pixels.astype("<i2").tobytes()
    for keyword, value in tags.items():
        if value is None:
            delattr(ds, keyword)
        else:
            setattr(ds, keyword, value)
    ds.file_meta.MediaStorageSOPClassUID = ds.SOPClassUID
    ds.file_meta.MediaStorageSOPInstanceUID = ds.SOPInstanceUID
    return ds


def make_series(
    voxels: np.ndarray, *, step: tuple[float, float, float] = (0.0, 0.0, 2.0), **options: Any
) -> list[Dataset]:
    """A data set for each slice of `voxels` (D, H, W); slice n is at position + n * step, LPS."""
    start = options.pop("position", (0.0, 0.0, 0.0))
    return [
        make_slice(
            pixels,
            position=tuple(a + n * b for a, b in zip(start, step, strict=True)),  # type: ignore[arg-type]
            **{"InstanceNumber": n + 1, **options},
        )
        for n, pixels in enumerate(voxels)
    ]


def save(datasets: list[Dataset], folder: Path, name: str = "{:04d}.dcm") -> list[Path]:
    """Write data sets as Part 10 files."""
    folder.mkdir(parents=True, exist_ok=True)
    paths = [folder / name.format(n) for n in range(len(datasets))]
    for dataset, path in zip(datasets, paths, strict=True):
        pydicom.dcmwrite(path, dataset, enforce_file_format=True)
    return paths
