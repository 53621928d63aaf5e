"""Stored values -> physical values, in the smallest type that holds them exactly.

In: the values of a frame as stored. Out: HU (CT) or scanner units. The idea: slope and intercept
are nearly always whole, and then so is everything after them: int16 is half the memory and twice
the speed of float32. Sources: DICOM PS3.3 C.11.1 (modality LUT), C.7.5.1.1.2 (padding), C.7.6.3.1.2
(photometric interpretation).
"""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np

from ingest.decode import Stored
from ingest.pixel_header import PixelHeader
from ingest.slices import KINDS

AIR_HU = -1024
"""What padding outside a CT's field of view becomes: nothing in a window, and not darker than
air."""


def physical(stored: Stored, header: PixelHeader, frame: int) -> np.ndarray:
    """stored * slope + intercept of one frame: int16 or int32 where all values are whole and fit,
    else float32. The array may share memory with `stored`."""
    slope, intercept = header.rescale(frame)
    values = stored.values
    if values.dtype.kind == "f" or not (slope.is_integer() and intercept.is_integer()):
        wide = np.dtype(np.float64 if values.dtype.itemsize > 2 else np.float32).type
        with np.errstate(over="ignore"):
            return np.asarray(values.astype(wide) * wide(slope) + wide(intercept), np.float32)
    slope, intercept = int(slope), int(intercept)
    least, most = _range(values, header)
    ends = sorted((least * slope + intercept, most * slope + intercept))
    if _fits([least, most, slope, intercept, *ends], KINDS[0]):
        return _linear(values.astype(np.int16), slope, intercept)
    if not _fits([least, most, slope, intercept, *ends], np.dtype(np.int64)):
        with np.errstate(over="ignore"):
            return values.astype(np.float32) * np.float32(slope) + np.float32(intercept)
    is_wide = not _fits([least, most, slope, intercept, *ends], KINDS[1])
    values = _linear(values.astype(np.int64 if is_wide else np.int32), slope, intercept)
    ends = [int(values.min()), int(values.max())]  # what is there, not what could be
    return values.astype(next((kind for kind in KINDS[:2] if _fits(ends, kind)), KINDS[2]))


def _range(values: np.ndarray, header: PixelHeader) -> tuple[int, int]:
    """What stored values can be."""
    bits = min(header.bits_stored, 8 * values.dtype.itemsize)
    if values.dtype.kind == "i":
        return -(1 << (bits - 1)), (1 << (bits - 1)) - 1
    return 0, (1 << bits) - 1


def _fits(numbers: Sequence[int], kind: np.dtype) -> bool:
    limits = np.iinfo(kind)
    return all(limits.min <= number <= limits.max for number in numbers)


def _linear(values: np.ndarray, slope: int, intercept: int) -> np.ndarray:
    """In place."""
    if slope != 1:
        values *= values.dtype.type(slope)
    if intercept:
        values += values.dtype.type(intercept)
    return values


def without_padding(
    values: np.ndarray, stored: Stored, header: PixelHeader, frame: int
) -> np.ndarray:
    """HU in which padding, and what is darker than air, is air. Changes `values`."""
    if header.padding is not None and header.kind == "integer":
        slope, intercept = header.rescale(frame)
        is_dark = max(end * slope + intercept for end in header.padding) <= AIR_HU
        for numbers in (None if is_dark else stored.values, stored.cells):
            if numbers is not None:
                is_padding = _within(numbers, *header.padding)
                np.copyto(values, values.dtype.type(AIR_HU), where=is_padding)
    return np.maximum(values, values.dtype.type(AIR_HU), out=values)


def _within(numbers: np.ndarray, least: int, most: int) -> np.ndarray:
    """Where least <= numbers <= most, (rows, columns)."""
    limits = np.iinfo(numbers.dtype)
    least, most = max(least, int(limits.min)), min(most, int(limits.max))
    if least > most:
        return np.zeros(numbers.shape, np.bool_)
    if least == most:
        return np.equal(numbers, least)
    return (numbers >= least) & (numbers <= most)


def inverted(stored: Stored, header: PixelHeader) -> Stored:
    """White for black (MONOCHROME1) over the range of the stored bits: the same for all slices of a
    series."""
    values = stored.values
    if values.dtype.kind == "f":
        return Stored(-values, None)
    least, most = _range(values, header)
    wide = np.int32 if values.dtype.itemsize <= 2 else np.int64
    return Stored(
        values.dtype.type(0) + (least + most - values.astype(wide)).astype(values.dtype), None
    )


def joined(volume: np.ndarray, number: int, values: np.ndarray) -> np.ndarray:
    """The volume with a slice put in; a wider copy of it where the slice needs a wider type."""
    if KINDS.index(values.dtype) > KINDS.index(volume.dtype):
        volume = volume.astype(values.dtype)
    volume[number] = values
    return volume
