"""A plan -> a volume: the slices of a scan decoded, rescaled one by one, and put in order.

In: a `ScanPlan`. Out: (D, H, W) in HU (CT) or scanner units (MR) on the native grid, rows and
columns as in the file. A slice that cannot be decoded raises `UndecodableError` with its reason;
the caller makes a Rejection of it. Every file is opened once, every frame decoded once, and only
those that are wanted. A volume that is large for a process is never in it: its slices go into a
file as they are decoded. `ingest.supervise` runs this in a process of its own.
"""

from __future__ import annotations

import hashlib
from collections import defaultdict
from collections.abc import Sequence
from typing import Literal, Protocol

import numpy as np

from ingest.decode import Image, open_image
from ingest.place import Place, place_of
from ingest.rescale import inverted, joined, physical, without_padding
from ingest.slices import KINDS, Slices
from ingest.spooled import Spooled
from ingest.undecodable import UndecodableError, damaged
from study.records import ScanPlan, Slice

Padding = Literal["air", "keep"]

SMALL_VOXELS = 1 << 26
"""Volumes of so many are arrays (134 MB of int16); larger ones are spooled."""


class _Target(Protocol):
    """Where slices (H, W) go, in any order."""

    def put(self, number: int, values: np.ndarray, /) -> None: ...


class _Array:
    """A volume in memory."""

    def __init__(self, shape: tuple[int, int, int]) -> None:
        self.voxels = np.zeros(shape, KINDS[0])

    def put(self, number: int, values: np.ndarray, /) -> None:
        self.voxels = joined(self.voxels, number, values)


def ready() -> None:
    """Nothing: a process that has called it has the decoders imported."""


def read_volume(plan: ScanPlan, padding: Padding = "air") -> np.ndarray:
    """Voxels of a scan, (D, H, W): slices in the plan's order, rows, columns. int16 or int32 where
    every value is whole, else float32.

    With `padding` "air", values of a CT that stand for no tissue (padding, and all below -1024 HU)
    are -1024 HU, and MONOCHROME1 of other modalities is inverted. With "keep" values are what the
    files say. Raises UndecodableError; OSError where the disk fails.
    """
    array = _Array(_shape(plan))
    _read(plan, padding, array)
    return array.voxels


def read_slices(plan: ScanPlan, padding: Padding = "air") -> Slices:
    """As `read_volume`; a large volume is `Spooled`, in which a slice is read when it is asked
    for."""
    shape = _shape(plan)
    if int(np.prod(shape, dtype=np.int64)) <= SMALL_VOXELS:
        return read_volume(plan, padding)
    spooled = Spooled(shape)
    _read(plan, padding, spooled)
    return spooled


def _shape(plan: ScanPlan) -> tuple[int, int, int]:
    return len(plan.slices), plan.rows, plan.columns


def _read(plan: ScanPlan, padding: Padding, target: _Target) -> None:
    by_file: dict[tuple[Place, str], list[tuple[int, Slice]]] = defaultdict(list)
    for number, piece in enumerate(plan.slices):
        by_file[place_of(piece), piece.file_format].append((number, piece))
    for (place, file_format), pieces in by_file.items():
        if file_format == "dicom":
            with open_image(place) as image:
                _read_slices(image, pieces, plan, padding, target)
        elif isinstance(target, Spooled):
            _spool_voxels(place, file_format, pieces, target)
        else:
            _read_voxels(place, file_format, pieces, plan, target)


def _read_slices(
    image: Image,
    pieces: Sequence[tuple[int, Slice]],
    plan: ScanPlan,
    padding: Padding,
    target: _Target,
) -> None:
    """The slices of one file."""
    for frame, wanted in _by_frame(pieces).items():
        values = _values(image, frame, plan, padding)
        for number, piece in wanted:
            target.put(number, _tile(values, piece.tile, plan))


def _by_frame(pieces: Sequence[tuple[int, Slice]]) -> dict[int, list[tuple[int, Slice]]]:
    by_frame: dict[int, list[tuple[int, Slice]]] = defaultdict(list)
    for number, piece in pieces:
        by_frame[piece.frame].append((number, piece))
    return dict(sorted(by_frame.items()))


def _values(image: Image, frame: int, plan: ScanPlan, padding: Padding) -> np.ndarray:
    """Physical values of a frame."""
    header, is_ct = image.header, plan.modality == "CT"
    stored = image.stored(frame)
    if padding == "air" and header.photometric == "MONOCHROME1" and not is_ct:
        stored = inverted(stored, header)  # not HU, which are HU however they are shown
    values = physical(stored, header, frame)
    if values.dtype.kind == "f" and not np.isfinite(values).all():
        raise damaged(f"values of frame {frame} are not finite")
    return without_padding(values, stored, header, frame) if padding == "air" and is_ct else values


def _tile(values: np.ndarray, tile: int, plan: ScanPlan) -> np.ndarray:
    """The slice in a frame: one tile of a mosaic in reading order, or (-1) all of it."""
    if tile >= 0:
        across = values.shape[1] // plan.columns
        if not across:
            raise damaged(f"{values.shape[1]} columns hold no tile of {plan.columns}")
        top, left = tile // across * plan.rows, tile % across * plan.columns
        values = values[top : top + plan.rows, left : left + plan.columns]
    if values.shape != (plan.rows, plan.columns):
        raise damaged(f"{values.shape} pixels, not {(plan.rows, plan.columns)}")
    return values


def _read_voxels(
    place: Place,
    file_format: str,
    pieces: Sequence[tuple[int, Slice]],
    plan: ScanPlan,
    target: _Target,
) -> None:
    """The slices of a NIfTI or .npz file. Values are whole in the volume where they are in the file
    and fit."""
    from ingest.volume_files import read_voxels

    for frame, wanted in _by_frame(pieces).items():
        voxels = read_voxels(place, file_format, frame)
        voxels = voxels.astype(_kind_for(voxels), copy=False)
        for number, piece in wanted:
            slice_ = max(piece.tile, 0)
            if slice_ >= len(voxels) or voxels.shape[1:] != (plan.rows, plan.columns):
                raise damaged(f"{voxels.shape} voxels, no slice {slice_} of {plan.rows} rows")
            target.put(number, voxels[slice_])


def _spool_voxels(
    place: Place, file_format: str, pieces: Sequence[tuple[int, Slice]], target: Spooled
) -> None:
    """The same for a volume that is larger than memory, slice by slice."""
    from ingest.volume_slices import each_slice

    for frame, wanted in _by_frame(pieces).items():
        numbers: dict[int, list[int]] = defaultdict(list)
        for number, piece in wanted:
            numbers[max(piece.tile, 0)].append(number)
        low, high = np.float32(np.inf), np.float32(-np.inf)
        has_gaps: list[int] = []
        for tile, slice_HW in enumerate(each_slice(place, file_format, frame)):
            values = slice_HW.astype(_kind_for(slice_HW), copy=False)
            places = numbers.pop(tile, [])
            if places and values.shape != target.shape[1:]:
                raise damaged(f"{values.shape} voxels, not {target.shape[1:]}")
            if values.dtype.kind == "f":
                known = values[np.isfinite(values)]
                low, high = min(low, known.min(initial=low)), max(high, known.max(initial=high))
                has_gaps += places if known.size < values.size else []
            for number in places:
                target.put(number, values)
        if numbers:
            raise damaged(f"no slice {min(numbers)} in the volume")
        if has_gaps and low > high:
            raise damaged("ValueError: no finite voxel")
        least, most = float(low), float(high)
        for number in has_gaps:  # as `volume_files.read_voxels` fills them
            target.put(number, np.nan_to_num(target[number], nan=least, posinf=most, neginf=least))


def _kind_for(voxels: np.ndarray) -> np.dtype:
    """The narrowest kind of volume that holds the values of an array as they are."""
    if voxels.dtype.kind in "iub":
        for kind in KINDS[:2]:
            limits = np.iinfo(kind)
            if np.can_cast(voxels.dtype, kind) or (
                voxels.size and int(voxels.min()) >= limits.min and int(voxels.max()) <= limits.max
            ):
                return kind
    return KINDS[2]


def digests(place: Place) -> list[str]:
    """SHA-256 of every frame of a DICOM file as an image: its stored values, and what they mean.

    Equal for equal pixels in whatever transfer syntax; another rescale is another image. A frame
    that cannot be had has a text that is equal to no other: what cannot be read is no copy.
    """
    try:
        with open_image(place) as image:
            found = [_digest(image, frame, place) for frame in range(image.num_frames)]
            return found or [_undecodable(place, 0)]
    except MemoryError:
        raise
    except Exception:  # as in `undecodable.rejection_of`; the disk's too: it is only not compared
        return [_undecodable(place, 0)]


def _digest(image: Image, frame: int, place: Place) -> str:
    try:
        values = image.stored(frame).values
        slope, intercept = image.header.rescale(frame)
    except (UndecodableError, OSError):
        return _undecodable(place, frame)
    meaning = (values.shape, slope, intercept, image.header.photometric)
    kind = "<f8" if values.dtype.kind == "f" else "<i8" if values.dtype.itemsize > 2 else "<i4"
    return hashlib.sha256(
        f"{meaning}".encode() + np.ascontiguousarray(values, kind).tobytes()
    ).hexdigest()


def _undecodable(place: Place, frame: int) -> str:
    return f"undecodable {place.path} {frame}"
