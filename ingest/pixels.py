"""Files -> voxels in physical units: decode, rescale slice by slice, put slices in order.

In: a `ScanPlan`. Out: float32 (D, H, W) in HU (CT) or scanner units (MR), on the native grid, rows
and columns as in the file. A slice that cannot be decoded raises `UndecodableError` with its
reason; the caller makes a Rejection of it. Sources: DICOM PS3.3 C.7.6.3 (pixels), C.7.6.16.2.9
(per-frame rescale), C.7.5.1.1.2 (padding).
"""

from __future__ import annotations

import hashlib
import os
import warnings
from collections import defaultdict
from collections.abc import Sequence
from typing import Any

import numpy as np
import pydicom

from ingest import fast_header
from study.records import Reason, ScanPlan, Slice

UNCOMPRESSED = ("1.2.840.10008.1.2", "1.2.840.10008.1.2.1")
PLAIN_DTYPES = {(8, 0): "u1", (8, 1): "i1", (16, 0): "<u2", (16, 1): "<i2"}
"""(BitsAllocated, PixelRepresentation) of what is read without a decoder."""
AIR_HU = -1024.0
"""What padding outside a CT's field of view becomes: nothing in a window, and not darker than
air."""


class UndecodableError(Exception):
    """Pixels of a slice cannot be had; `reason` and `detail` go into the ledger."""

    def __init__(self, reason: Reason, detail: str) -> None:
        super().__init__(f"{reason}: {detail}")
        self.reason = reason
        self.detail = detail


def read_volume(plan: ScanPlan) -> np.ndarray:
    """Voxels of a scan, float32 (D, H, W): slices in the plan's order, rows, columns.

    Raises UndecodableError.
    """
    volume = np.empty((len(plan.slices), plan.rows, plan.columns), dtype=np.float32)
    by_path: dict[str, list[tuple[int, Slice]]] = defaultdict(list)
    for number, piece in enumerate(plan.slices):
        by_path[piece.path].append((number, piece))
    for path, pieces in by_path.items():
        with warnings.catch_warnings():
            warnings.simplefilter("ignore")
            dataset, frames = _decode(path)
            for frame_number in sorted({piece.frame for _, piece in pieces}):
                wanted = [(n, p) for n, p in pieces if p.frame == frame_number]
                values = _rescale(dataset, frames, frame_number, plan.modality)
                for number, piece in wanted:
                    volume[number] = _tile(values, piece, plan)
    return volume


def _decode(path: str) -> tuple[Any, np.ndarray]:
    """The header and the stored values, (frames, rows, columns), of a file."""
    ordinary = _read_plain(path)
    if ordinary is not None:
        return ordinary
    dataset = None
    try:
        dataset = pydicom.dcmread(path, force=True)
        if not hasattr(dataset.file_meta, "TransferSyntaxUID"):
            dataset.file_meta.TransferSyntaxUID = pydicom.uid.ImplicitVRLittleEndian
        array = np.asarray(dataset.pixel_array)
    except (NotImplementedError, RuntimeError) as error:
        syntax = str(getattr(getattr(dataset, "file_meta", None), "TransferSyntaxUID", ""))
        reason = Reason.UNDECODABLE_TRANSFER_SYNTAX
        raise UndecodableError(reason, f"{syntax}: {error}"[:200]) from error
    except MemoryError:
        raise
    except Exception as error:  # decoders raise what broken input makes them raise
        if isinstance(error, OSError) and error.errno is not None:
            raise  # the disk; decoders raise OSError too, but without a number
        detail = f"{type(error).__name__}: {error}"[:200]
        raise UndecodableError(Reason.UNDECODABLE_PIXELS, detail) from error
    return dataset, array if array.ndim == 3 else array[np.newaxis]


def _read_plain(path: str) -> tuple[fast_header.Header, np.ndarray] | None:
    """An ordinary uncompressed grey image straight from its bytes; None: a general decoder must."""
    with open(path, "rb") as stream:
        header = fast_header.read(stream, os.fstat(stream.fileno()).st_size)
        if header is None or header.transfer_syntax_uid not in UNCOMPRESSED:
            return None
        assert header.pixels is not None
        rows, columns = header.get("Rows") or 0, header.get("Columns") or 0
        kind = PLAIN_DTYPES.get((header.get("BitsAllocated"), header.get("PixelRepresentation")))
        wanted = rows * columns * np.dtype(kind).itemsize
        position, length = header.pixels
        is_one_grey_frame = (
            (header.get("SamplesPerPixel") or 1) == 1
            and (header.get("NumberOfFrames") or "1") == "1"
            and length in (wanted, wanted + wanted % 2)
        )
        if kind is None or not wanted or not is_one_grey_frame:
            return None
        stream.seek(position)
        data = stream.read(wanted)
    if len(data) < wanted:
        return None
    return header, np.frombuffer(data, kind).reshape(1, rows, columns)


def _rescale(dataset: Any, frames: np.ndarray, number: int, modality: str) -> np.ndarray:
    """Stored values of one frame -> physical values, float32 (rows, columns)."""
    if number >= len(frames):
        raise UndecodableError(Reason.UNDECODABLE_PIXELS, f"frame {number} of {len(frames)}")
    stored = frames[number]
    slope = float(_frame_value(dataset, number, "RescaleSlope") or 1.0)
    intercept = float(_frame_value(dataset, number, "RescaleIntercept") or 0.0)
    if dataset.get("PhotometricInterpretation") == "MONOCHROME1" and modality != "CT":
        stored = _inverted(stored, dataset)  # HU are HU, however they are shown
    values = stored.astype(np.float32) * np.float32(slope) + np.float32(intercept)
    padding = _padding_value(dataset)
    if modality == "CT":
        if padding is not None:
            values[stored == padding] = AIR_HU
        np.maximum(values, AIR_HU, out=values)
    return values


def _inverted(stored: np.ndarray, dataset: Any) -> np.ndarray:
    """White for black over the range of the stored bits: the same for all slices of a series."""
    bits = int(dataset.get("BitsStored") or 16)
    top = -1 if dataset.get("PixelRepresentation") == 1 else (1 << bits) - 1
    return top - stored.astype(np.int32)


def _frame_value(dataset: Any, number: int, keyword: str) -> Any:
    """A value of a frame: from its own functional groups, the shared ones, or the top, in this
    order."""
    if isinstance(dataset, fast_header.Header):
        return dataset.get(keyword)
    per_frame = dataset.get("PerFrameFunctionalGroupsSequence")
    for item in ([per_frame[number]] if per_frame else []) + list(
        dataset.get("SharedFunctionalGroupsSequence") or []
    ):
        transform = item.get("PixelValueTransformationSequence")
        if transform and transform[0].get(keyword) is not None:
            return transform[0].get(keyword)
    return dataset.get(keyword)


def _padding_value(dataset: Any) -> int | None:
    """PixelPaddingValue as the signed number that is stored (63536 in an unsigned tag means
    -2000)."""
    value = dataset.get("PixelPaddingValue")
    if not isinstance(value, int):
        return None
    bits = int(dataset.get("BitsAllocated") or 16)
    return (
        value - (1 << bits)
        if dataset.get("PixelRepresentation") == 1 and value >= 1 << (bits - 1)
        else value
    )


def _tile(values: np.ndarray, piece: Slice, plan: ScanPlan) -> np.ndarray:
    if piece.tile >= 0:
        across = values.shape[1] // plan.columns
        top, left = piece.tile // across * plan.rows, piece.tile % across * plan.columns
        values = values[top : top + plan.rows, left : left + plan.columns]
    if values.shape != (plan.rows, plan.columns):
        raise UndecodableError(
            Reason.UNDECODABLE_PIXELS, f"{values.shape} pixels, not {(plan.rows, plan.columns)}"
        )
    return values


def digests(path: str) -> Sequence[str]:
    """SHA-256 of the decoded stored values of every frame; the text of the failure where a file
    does not decode."""
    try:
        with warnings.catch_warnings():
            warnings.simplefilter("ignore")
            _, frames = _decode(path)
    except (UndecodableError, OSError):
        return [f"undecodable {path}"]  # equal to no other: what cannot be read is no copy
    return [
        hashlib.sha256(
            f"{f.shape}".encode() + np.ascontiguousarray(f, dtype="<i4").tobytes()
        ).hexdigest()
        for f in frames
    ]
