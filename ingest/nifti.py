"""A NIfTI file's header -> shape, type and place of its voxels; and the voxels of one volume.

In: the first bytes of a single-file NIfTI-1 or NIfTI-2 image. Out: `NiftiImage`, or a `Rejection`.
NIfTI's world is RAS: x and y are flipped into DICOM's LPS here, once. nibabel reads the fields, and
its rules hold: sform before qform before pixdim. Voxels lie with i fastest, so that bytes are
(k, j, i) in C order: slices, rows, columns. Sources: nifti1.h, nifti2.h (nifti.nimh.nih.gov).
"""

from __future__ import annotations

import math
from dataclasses import dataclass
from typing import Any

import nibabel
import numpy as np

from study.records import Reason, Rejection, Vector

HEADER_BYTES = 544
"""A NIfTI-2 header and its extension flag; a NIfTI-1 header has 352."""
MAX_FRAMES = 100_000
"""Volumes of one file; more are no time series but a header that is wrong."""
SHEAR = 0.01
"""Cosine between rows and columns from which a slice is no rectangle, as in IDC's rule."""
MILLIMETRES = {"meter": 1000.0, "micron": 0.001}
"""Of a spatial unit; mm is the rule, unknown is taken for mm."""
LABELS = 1002
"""NIFTI_INTENT_LABEL: voxels are names of regions."""


@dataclass(frozen=True)
class NiftiImage:
    """What a header says of the volumes in its file. Directions and positions are LPS, mm."""

    slices: int
    rows: int
    columns: int
    frames: int
    """Sizes along k, j, i and the fourth dimension."""
    dtype: np.dtype[Any]
    data_at: int
    """Offset of the first voxel in the (uncompressed) file."""
    scale: tuple[float, float] | None
    """Slope and intercept of stored values; None: they are what they are."""
    origin_mm: Vector
    """Centre of voxel (0, 0, 0)."""
    directions: tuple[Vector, Vector, Vector]
    """Unit vectors along i, j, k."""
    steps_mm: Vector
    """Voxel sizes along i, j, k."""
    detail: str = ""

    @property
    def frame_bytes(self) -> int:
        return self.slices * self.rows * self.columns * self.dtype.itemsize

    @property
    def file_bytes(self) -> int:
        """That the uncompressed file has at least."""
        return self.data_at + self.frames * self.frame_bytes


def header_of(head: bytes) -> Any | None:
    """nibabel's header of a single-file image, in its byte order; None: these bytes are none."""
    for order in ("<", ">"):
        length = int.from_bytes(head[:4], "little" if order == "<" else "big")
        if length == 348 and head[344:348] == b"n+1\0":
            return nibabel.Nifti1Header(head[:348], endianness=order, check=False)
        if length == 540 and head[4:12] == b"n+2\0\r\n\x1a\n" and len(head) >= 540:
            return nibabel.Nifti2Header(head[:540], endianness=order, check=False)
    return None


def read_image(header: Any) -> NiftiImage | Rejection:
    """What the header says, or why its volumes cannot be used."""
    try:
        return _image(header)
    except Exception as error:  # nibabel raises what a header makes it raise
        return Rejection(Reason.UNREADABLE, f"{type(error).__name__}: {error}"[:200])


def _image(header: Any) -> NiftiImage | Rejection:
    shape = [int(n) for n in header.get_data_shape()]
    while len(shape) > 3 and shape[-1] == 1:
        shape.pop()
    if not shape or min(shape) < 1:
        return Rejection(Reason.UNREADABLE, f"shape {tuple(shape)}")
    if len(shape) < 3:
        return Rejection(Reason.TOO_FEW_SLICES, f"{len(shape)} dimensions")
    if len(shape) > 4:
        return Rejection(Reason.UNSUPPORTED_SOP_CLASS, f"{len(shape)} dimensions")
    frames = shape[3] if len(shape) == 4 else 1
    if frames > MAX_FRAMES:
        return Rejection(Reason.TOO_LARGE, f"{frames} volumes")
    if int(header["intent_code"]) == LABELS:
        return Rejection(Reason.DERIVED_MAP, "labels")
    try:
        dtype = header.get_data_dtype()
    except (KeyError, nibabel.spatialimages.HeaderDataError):
        return Rejection(Reason.UNSUPPORTED_PHOTOMETRIC, f"data type {int(header['datatype'])}")
    if dtype.kind not in "iuf" or dtype.itemsize > 8:
        return Rejection(Reason.UNSUPPORTED_PHOTOMETRIC, f"data type {dtype}")
    slope, intercept = header.get_slope_inter()
    geometry = _geometry(header)
    if isinstance(geometry, Rejection):
        return geometry
    origin, directions, steps = geometry
    is_placed = int(header["sform_code"]) or int(header["qform_code"])
    return NiftiImage(
        slices=shape[2],
        rows=shape[1],
        columns=shape[0],
        frames=frames,
        dtype=dtype,
        data_at=max(int(header["vox_offset"]), 352 if int(header["sizeof_hdr"]) == 348 else 544),
        scale=None if slope is None else (slope, intercept),
        origin_mm=origin,
        directions=directions,
        steps_mm=steps,
        detail="" if is_placed else "no sform or qform: axes and origin assumed",
    )


def _geometry(header: Any) -> tuple[Vector, tuple[Vector, Vector, Vector], Vector] | Rejection:
    """Origin, directions along i, j, k, and voxel sizes, LPS mm."""
    try:
        affine = np.asarray(header.get_best_affine(), dtype=np.float64)
    except (ValueError, nibabel.spatialimages.HeaderDataError) as error:
        return Rejection(Reason.MISSING_GEOMETRY, str(error)[:200])
    affine = np.diag([-1.0, -1.0, 1.0]) @ affine[:3] * MILLIMETRES.get(_unit(header), 1.0)
    steps = np.linalg.norm(affine[:, :3], axis=0)
    if not np.isfinite(affine).all() or steps.min() < 1e-6:
        return Rejection(Reason.MISSING_GEOMETRY, "the affine is not one")
    i, j, k = (affine[:, axis] / steps[axis] for axis in range(3))
    if abs(i @ j) > SHEAR:
        angle = math.degrees(math.acos(float(np.clip(i @ j, -1, 1))))
        return Rejection(Reason.MISSING_GEOMETRY, f"rows and columns at {angle:.1f} degrees")
    if abs(np.cross(i, j) @ k) < SHEAR:
        return Rejection(Reason.MISSING_GEOMETRY, "slices lie in one plane")
    return _vector(affine[:, 3]), (_vector(i), _vector(j), _vector(k)), _vector(steps)


def _unit(header: Any) -> str:
    try:
        return str(header.get_xyzt_units()[0])
    except KeyError:
        return "unknown"


def _vector(values: np.ndarray) -> Vector:
    x, y, z = (float(v) + 0.0 for v in values)  # + 0.0: no negative zeros
    return x, y, z


def scaled(data: bytes | bytearray, image: NiftiImage) -> np.ndarray:
    """The bytes of one volume as values, (slices, rows, columns): whole numbers as they are where
    nothing scales them, else float32."""
    stored = np.frombuffer(data, image.dtype).reshape(image.slices, image.rows, image.columns)
    if image.scale in (None, (1.0, 0.0)) and image.dtype.kind in "iu":
        return stored.astype(image.dtype.newbyteorder("="), copy=False)
    values: np.ndarray = stored.astype(np.float32 if image.dtype.itemsize <= 2 else np.float64)
    if image.scale is not None:
        values *= image.scale[0]
        values += image.scale[1]
    return values.astype(np.float32, copy=False)
