"""Enhanced multi-frame objects, mosaics and grids for tests, built in memory."""

from __future__ import annotations

import struct
from collections.abc import Sequence
from typing import Any

import numpy as np
from dicom_files import AXIAL, make_slice
from pydicom.dataset import Dataset
from pydicom.sequence import Sequence as Items
from pydicom.uid import (
    EnhancedCTImageStorage,
    EnhancedMRImageStorage,
    LegacyConvertedEnhancedMRImageStorage,
)


def item(**tags: Any) -> Items:
    """A sequence of one item."""
    ds = Dataset()
    for keyword, value in tags.items():
        setattr(ds, keyword, value)
    return Items([ds])


def enhanced(
    voxels: np.ndarray,
    positions: Sequence[tuple[float, float, float]],
    per_frame: Sequence[dict[str, Any]] = (),
    *,
    orientation: tuple[float, ...] = AXIAL,
    spacing: tuple[float, float] = (1.0, 1.0),
    shared_geometry: bool = True,
    modality: str = "MR",
    legacy: bool = False,
    **tags: Any,
) -> Dataset:
    """An enhanced object of (frames, rows, columns) int16.

    `per_frame` has the items of each frame's functional groups beside its position. With
    `shared_geometry` orientation and spacing are in the shared groups, else in every frame's own.
    """
    ds = make_slice(voxels[0], modality=modality, spacing=spacing, **tags)
    for keyword in ("ImagePositionPatient", "ImageOrientationPatient", "PixelSpacing"):
        delattr(ds, keyword)
    ds.SOPClassUID = EnhancedCTImageStorage if modality == "CT" else EnhancedMRImageStorage
    if legacy:
        ds.SOPClassUID = LegacyConvertedEnhancedMRImageStorage
    ds.file_meta.MediaStorageSOPClassUID = ds.SOPClassUID
    ds.NumberOfFrames = len(voxels)
    ds.PixelData = voxels.astype("<i2").tobytes()
    geometry = {
        "PlaneOrientationSequence": item(ImageOrientationPatient=list(orientation)),
        "PixelMeasuresSequence": item(PixelSpacing=list(spacing), SliceThickness=2.0),
    }
    frames = []
    for number, position in enumerate(positions):
        frame = Dataset()
        frame.PlanePositionSequence = item(ImagePositionPatient=list(position))
        groups = dict(per_frame[number]) if per_frame else {}
        if not shared_geometry:
            groups |= geometry
        for keyword, value in groups.items():
            setattr(frame, keyword, value)
        frames.append(frame)
    ds.PerFrameFunctionalGroupsSequence = Items(frames)
    shared = Dataset()
    for keyword, value in (geometry if shared_geometry else {}).items():
        setattr(shared, keyword, value)
    ds.SharedFunctionalGroupsSequence = Items([shared])
    return ds


def tiled(voxels: np.ndarray, square: bool = True) -> np.ndarray:
    """(tiles, rows, columns) as one image of tiles in reading order, in a square (Siemens) or
    without its empty rows of tiles (United Imaging)."""
    across = int(np.ceil(np.sqrt(len(voxels))))
    down = across if square else -(-len(voxels) // across)
    rows, columns = voxels.shape[1:]
    image = np.zeros((down * rows, across * columns), voxels.dtype)
    for n, tile in enumerate(voxels):
        y, x = n // across * rows, n % across * columns
        image[y : y + rows, x : x + columns] = tile
    return image


def csa_header(**values: Sequence[Any]) -> bytes:
    """A CSA image header of version 2 (SV10) with the named values."""
    data = b"SV10\4\3\2\1" + struct.pack("<II", len(values), 77)
    for name, found in values.items():
        items = [f"{v}".encode() + b"\0" for v in found]
        data += name.encode().ljust(64, b"\0") + struct.pack(
            "<i4siii", len(items), b"FD\0\0", 4, len(items), 77
        )
        for text in items:
            data += struct.pack("<4i", len(text), len(text), 77, len(text))
            data += text.ljust((len(text) + 3) // 4 * 4, b"\0")
    return data


def mosaic(
    voxels: np.ndarray,
    *,
    first: tuple[float, float, float],
    normal: tuple[float, float, float],
    gap: float,
    spacing: float = 1.0,
    orientation: tuple[float, ...] = AXIAL,
    **tags: Any,
) -> Dataset:
    """A Siemens mosaic of (tiles, rows, columns); `first` is the place of the first tile's first
    voxel."""
    image = tiled(voxels)
    outward = [(a - b) / 2 * spacing for a, b in zip(image.shape, voxels.shape[1:], strict=True)]
    position = tuple(
        f - outward[1] * r - outward[0] * c
        for f, r, c in zip(first, orientation[:3], orientation[3:], strict=True)
    )
    ds = make_slice(
        image,
        position=position,  # type: ignore[arg-type]
        orientation=orientation,
        spacing=(spacing, spacing),
        ImageType=["ORIGINAL", "PRIMARY", "M", "ND", "MOSAIC"],
        Manufacturer="SIEMENS",
        SpacingBetweenSlices=gap,
        **tags,
    )
    block = ds.private_block(0x0029, "SIEMENS CSA HEADER", create=True)
    header = csa_header(NumberOfImagesInMosaic=[len(voxels)], SliceNormalVector=normal)
    block.add_new(0x10, "OB", header + bytes(len(header) % 2))
    return ds


def uih_grid(
    voxels: np.ndarray, positions: Sequence[tuple[float, float, float]], **tags: Any
) -> Dataset:
    """A United Imaging grid of (tiles, rows, columns): every tile's place is in a private
    sequence."""
    ds = make_slice(
        tiled(voxels, square=False),
        position=positions[0],
        ImageType=["ORIGINAL", "PRIMARY", "M", "VFRAME"],
        Manufacturer="UIH",
        **tags,
    )
    block = ds.private_block(0x0065, "Image Private Header", create=True)
    block.add_new(0x50, "DS", str(len(voxels)))
    frames = []
    for position in positions:
        frame = Dataset()
        frame.ImagePositionPatient = list(position)
        frames.append(frame)
    block.add_new(0x51, "SQ", Items(frames))
    return ds
