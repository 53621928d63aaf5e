"""Volumes that are no DICOM: NIfTI (.nii, .nii.gz) and .npz arrays, as public benchmarks come.

In: a file, the source folder that it was found in, and `VolumeFiles`. Out: one `Instance` a
volume (a frame each for 4D images, an array each for .npz), and the voxels of one. The idea: such a
file is a mosaic whose tiles lie one after the other (`tiles_across` 0), so that grouping and
conversion need nothing new. What DICOM has in tags, study and patient, comes from the path below
the source.
"""

from __future__ import annotations

import io
import os
import re
import zipfile
import zlib
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import replace
from typing import Any, BinaryIO

import numpy as np

from ingest import nifti, zip_members
from ingest.compressed import (
    Compression,
    DamagedStreamError,
    compression_of,
    decompressed,
    first_bytes,
)
from ingest.place import Place
from ingest.undecodable import UndecodableError
from study.ingest_sections import VolumeFiles
from study.records import Instance, Reason, Rejection

SOP_CLASSES = {"CT": "1.2.840.10008.5.1.4.1.1.2", "MR": "1.2.840.10008.5.1.4.1.1.4"}
"""Image Storage classes: they tell the rest of the code which family a volume belongs to."""
SUFFIXES = (".nii.gz", ".nii", ".npz")
MAX_RATIO = 1032
"""Bytes that one byte of deflate can stand for at most (zlib's technical notes)."""
MAX_ARRAY_HEADER = 1 << 14
"""Bytes of an array's header that are read; real ones have 128."""
MAX_DIRECTORY = 1 << 20
"""Bytes of an .npz file's list of arrays; real ones have some hundred."""
AXIAL = (1.0, 0.0, 0.0, 0.0, 1.0, 0.0)
"""Columns to the patient's left, rows to the back: what an .npz array is taken for."""


def read_volume_header(place: Place, source_root: str, settings: VolumeFiles) -> list[Instance]:
    """One row a volume, or one with the reason why there is none; empty: the file is no such file.

    The file's name in tables, below `source_root`, says which study it is.
    """
    try:
        place = place.measured()
        base = Instance(**place.as_facts())
        with place.open() as stream:
            rows = _npz_rows(stream, base, settings) or _nifti_rows(stream, base)
    except OSError as error:
        unread = Instance(**place.as_facts())
        return [replace(unread, reason=Reason.UNREADABLE, detail=type(error).__name__)]
    identity = _identity(place.path, source_root, settings)
    return [_without_study(replace(row, **identity)) for row in rows]


def is_current(row: Instance, source_root: str, settings: VolumeFiles) -> bool:
    """Whether a row of an earlier crawl is what these settings would make of the same file."""
    if row.file_format == "dicom":
        return True
    identity = _identity(row.path, source_root, settings)
    if any(getattr(row, name) != value for name, value in identity.items()):
        return False
    if row.file_format == "nifti" or row.reason is Reason.UNREADABLE:
        return True
    is_wanted = row.protocol_name == settings.npz_key
    spacing = (row.spacing_between_slices_mm, *(row.pixel_spacing_mm or ()))
    return is_wanted != (row.reason is Reason.NOT_SELECTED) and (
        row.pixel_spacing_mm is None or spacing == settings.npz_spacing_mm
    )


def _identity(path: str, source_root: str, settings: VolumeFiles) -> dict[str, Any]:
    """What stands for DICOM's identifying tags: study and patient from the path, series and
    instance the path itself. `description_has` looks into the file's name."""
    below = os.path.relpath(path, source_root).replace(os.sep, "/")
    folder, _, name = below.rpartition("/")
    stem = next((name[: -len(s)] for s in SUFFIXES if name.lower().endswith(s)), name)
    study, patient = folder or stem, None
    if settings.pattern:
        match = re.search(settings.pattern, below)
        study = (match and match["study"]) or ""
        patient = match.groupdict().get("patient") if match else None
    return {
        "study_uid": study,
        "series_uid": below,
        "sop_uid": below,
        "sop_class_uid": SOP_CLASSES[settings.modality],
        "modality": settings.modality,
        "patient_key": f"|{patient or study}",
        "series_description": stem,
    }


def _without_study(row: Instance) -> Instance:
    if row.study_uid or row.reason is not None:
        return row
    detail = "ingest.volume_files.pattern does not match the path"
    return replace(row, reason=Reason.MISSING_UID, detail=detail)


# -------------------------------------------------------------------------------- NIfTI


def _nifti_rows(stream: BinaryIO, base: Instance) -> list[Instance]:
    head = _head(stream)
    if isinstance(head, Rejection):
        is_named_so = base.path.lower().endswith(".nii.gz")
        return [_failed(base, "nifti", head)] if is_named_so else []
    header = nifti.header_of(head)
    if header is None:
        return []
    image = nifti.read_image(header)
    if isinstance(image, Rejection):
        return [_failed(base, "nifti", image)]
    stream.seek(0)
    kind = compression_of(stream.read(16))
    at_most = base.file_bytes * (MAX_RATIO if kind is Compression.GZIP else 1)
    if image.file_bytes > at_most and kind in (None, Compression.GZIP):  # others have no bound
        lacking = Rejection(Reason.TRUNCATED, f"{image.file_bytes - at_most} bytes are missing")
        return [_failed(base, "nifti", lacking)]
    i, j, k = image.directions
    first = replace(
        base,
        file_format="nifti",
        num_frames=image.frames,
        rows=image.rows,
        columns=image.columns,
        mosaic_tiles=image.slices,
        position_mm=image.origin_mm,
        orientation=(*i, *j),
        slice_normal=k,
        pixel_spacing_mm=(image.steps_mm[1], image.steps_mm[0]),
        spacing_between_slices_mm=image.steps_mm[2],
        image_type=("ORIGINAL", "PRIMARY"),
        photometric="MONOCHROME2",
        detail=image.detail,
    )
    return [replace(first, frame=frame) for frame in range(image.frames)]


def _head(stream: BinaryIO) -> bytes | Rejection:
    """The first bytes of what the file holds when uncompressed."""
    stream.seek(0)
    head = stream.read(nifti.HEADER_BYTES)
    kind = compression_of(head)
    if kind is None:
        return head
    stream.seek(0)
    try:
        return first_bytes(stream, kind, nifti.HEADER_BYTES)
    except DamagedStreamError as error:
        return error.rejection


def _failed(base: Instance, file_format: str, verdict: Rejection) -> Instance:
    return replace(base, file_format=file_format, reason=verdict.reason, detail=verdict.detail)


# -------------------------------------------------------------------------------- npz


def _npz_rows(stream: BinaryIO, base: Instance, settings: VolumeFiles) -> list[Instance]:
    """A row for every array; all but the wanted one are NOT_SELECTED."""
    if not base.path.lower().endswith(".npz"):
        return []
    stream.seek(0)
    if stream.read(4) not in (zip_members.LOCAL, zip_members.END):
        return []
    directory = zip_members.find_directory(stream, base.file_bytes)
    if directory is None:
        return [_failed(base, "npz", Rejection(Reason.TRUNCATED, "no central directory"))]
    if directory.end - directory.at > MAX_DIRECTORY:
        return [_failed(base, "npz", Rejection(Reason.UNREADABLE, "too many arrays"))]
    try:
        with zipfile.ZipFile(stream) as archive:
            arrays = archive.infolist()
            rows = [_npz_row(archive, array, base, settings) for array in arrays]
    except OSError:
        raise
    except Exception as error:  # zipfile raises what its input makes it raise
        detail = f"{type(error).__name__}: {error}"[:200]
        return [_failed(base, "npz", Rejection(Reason.UNREADABLE, detail))]
    if not rows:
        return [_failed(base, "npz", Rejection(Reason.NOT_DICOM, "no arrays"))]
    return [replace(row, frame=n, num_frames=len(rows)) for n, row in enumerate(rows)]


def _npz_row(
    archive: zipfile.ZipFile, array: zipfile.ZipInfo, base: Instance, settings: VolumeFiles
) -> Instance:
    name = array.filename.removesuffix(".npy")
    named = replace(base, protocol_name=name)
    if name != settings.npz_key:
        other = f"npz_key: array {name!r}, not {settings.npz_key!r}"
        return _failed(named, "npz", Rejection(Reason.NOT_SELECTED, other))
    with archive.open(array) as stream:
        shape, dtype = _npy_header(stream)
    if dtype.kind not in "iufb" or dtype.itemsize > 8:
        wrong = Rejection(Reason.UNSUPPORTED_PHOTOMETRIC, f"data type {dtype}")
        return _failed(named, "npz", wrong)
    if len(shape) != 3 or min(shape) < 1:
        wrong = Rejection(Reason.UNSUPPORTED_SOP_CLASS, f"shape {shape}")
        return _failed(named, "npz", wrong)
    lacking = int(np.prod(shape, dtype=object)) * dtype.itemsize - array.file_size
    if lacking > 0:
        return _failed(named, "npz", Rejection(Reason.TRUNCATED, f"{lacking} bytes are missing"))
    slice_mm, row_mm, column_mm = settings.npz_spacing_mm
    return replace(
        named,
        file_format="npz",
        rows=shape[1],
        columns=shape[2],
        mosaic_tiles=shape[0],
        position_mm=(0.0, 0.0, 0.0),
        orientation=AXIAL,
        slice_normal=(0.0, 0.0, 1.0),
        pixel_spacing_mm=(row_mm, column_mm),
        spacing_between_slices_mm=slice_mm,
        image_type=("ORIGINAL", "PRIMARY"),
        photometric="MONOCHROME2",
        detail="orientation assumed: rows to the back, columns to the left, slices to the head",
    )


def _npy_header(stream: Any) -> tuple[tuple[int, ...], np.dtype[Any]]:
    """Shape and type of an array, without its data. Raises ValueError."""
    head = io.BytesIO(stream.read(MAX_ARRAY_HEADER))
    version = np.lib.format.read_magic(head)
    if version == (1, 0):
        shape, _, dtype = np.lib.format.read_array_header_1_0(head)
    elif version == (2, 0):
        shape, _, dtype = np.lib.format.read_array_header_2_0(head)
    else:
        raise ValueError(f"npy version {version}")
    return shape, dtype


# -------------------------------------------------------------------------------- voxels


def read_voxels(place: Place, file_format: str, frame: int) -> np.ndarray:
    """One volume, scaled, (slices, rows, columns): whole numbers where the file has such and scales
    nothing, else float32. Values that are not finite become the smallest (+inf: the largest) that
    is.

    Raises UndecodableError, or OSError where the disk fails.
    """
    with place.open() as stream, broken_is_undecodable():
        read = {"nifti": _nifti_voxels, "npz": _npz_voxels}[file_format]
        return _finite(read(stream, frame))


@contextmanager
def broken_is_undecodable() -> Iterator[None]:
    """What readers raise where the file is broken becomes UndecodableError."""
    try:
        yield
    except DamagedStreamError as error:
        raise UndecodableError(*error.rejection) from None
    except (ValueError, EOFError, zipfile.BadZipFile, zlib.error, IndexError) as error:
        detail = f"{type(error).__name__}: {error}"[:200]
        raise UndecodableError(Reason.UNDECODABLE_PIXELS, detail) from None


def nifti_image(stream: BinaryIO, frame: int) -> nifti.NiftiImage:
    """What a file says of volume `frame`. Raises ValueError where there is none."""
    head = _head(stream)
    header = nifti.header_of(head) if isinstance(head, bytes) else None
    image = nifti.read_image(header) if header is not None else Rejection(Reason.NOT_DICOM)
    if isinstance(image, Rejection) or frame >= image.frames:
        raise ValueError(f"no volume {frame} in this file")
    return image


def _nifti_voxels(stream: BinaryIO, frame: int) -> np.ndarray:
    image = nifti_image(stream, frame)
    data = _bytes_at(stream, image.data_at + frame * image.frame_bytes, image.frame_bytes)
    if len(data) < image.frame_bytes:
        lacking = image.frame_bytes - len(data)
        raise DamagedStreamError(Reason.TRUNCATED, f"{lacking} bytes are missing")
    return nifti.scaled(data, image)


def _bytes_at(stream: BinaryIO, start: int, count: int) -> bytes | bytearray:
    """`count` bytes from `start` of what the stream holds when uncompressed; fewer at its end."""
    stream.seek(0)
    kind = compression_of(stream.read(16))
    if kind is None:
        stream.seek(start)
        return stream.read(count)
    stream.seek(0)
    found, position = bytearray(), 0
    for chunk in decompressed(stream, kind):
        skip = max(0, start - position)
        found += chunk[skip : skip + count - len(found)]
        position += len(chunk)
        if len(found) == count:
            break
    return found


def _npz_voxels(stream: BinaryIO, frame: int) -> np.ndarray:
    with zipfile.ZipFile(stream) as archive, archive.open(archive.infolist()[frame]) as member:
        values = np.lib.format.read_array(member, allow_pickle=False)
    if values.ndim != 3 or values.dtype.kind not in "iufb":
        raise ValueError(f"no volume: {values.dtype} of shape {values.shape}")
    return as_values(values)


def as_values(values: np.ndarray) -> np.ndarray:
    """Stored values of an .npz array as whole numbers or float32."""
    if values.dtype.kind == "b":
        return values.astype(np.uint8)
    return values if values.dtype.kind in "iu" else values.astype(np.float32)


def _finite(values: np.ndarray) -> np.ndarray:
    """Masked-out voxels of public volumes are NaN, and no percentile survives one."""
    if values.dtype.kind != "f" or (good := np.isfinite(values)).all():
        return values
    if not good.any():
        raise ValueError("no finite voxel")
    low, high = values[good].min(), values[good].max()
    return np.nan_to_num(values, copy=False, nan=low, posinf=high, neginf=low)
