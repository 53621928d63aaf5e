"""Source values -> grey values: the limits of a window, and how it is applied.

In: native voxels of any real dtype (D, H, W), an array or other `Slices`. Out: their range, exact
percentiles, `Window`s. The one idea: a volume may be more than a worker's memory, so that
everything here goes through it slice by slice. Percentiles are found by counting (a radix selection
of the two neighbouring order statistics), never by sorting a copy, and are numpy's to the last bit.
Voxels that are no number (NaN or infinite, which NIfTI files hold outside the head) count as the
darkest one.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np

from ingest.slices import Slices
from study.ingest_sections import Intensity

DIGIT_BITS = 16
"""Bits that one pass of the selection counts by: 65,536 counters."""
LEAST_WIDTH = 1e-30
"""Windows narrower than this are none: float32 cannot divide by their width."""
LIMIT_DIGITS = 6
"""Significant digits to which a window's limits are reported."""


@dataclass(frozen=True)
class Window:
    """Source values that become the darkest and the brightest grey; upper > lower."""

    name: str
    lower: float
    upper: float

    @property
    def limits(self) -> tuple[float, float]:
        """(lower, upper) for the record, to LIMIT_DIGITS significant digits."""
        return float(f"{self.lower:.{LIMIT_DIGITS}g}"), float(f"{self.upper:.{LIMIT_DIGITS}g}")

    def grey(self, values: np.ndarray, top: float) -> np.ndarray:
        """Floats (see `as_numbers`) -> float32 from 0 (lower and below) to `top` (upper, above)."""
        number = values.dtype.type
        with np.errstate(over="ignore"):  # what overflows is above
            scaled = values - number(self.lower)
            scaled *= number(top / (self.upper - self.lower))
        return np.clip(scaled, 0, top, out=scaled).astype(np.float32, copy=False)


def windows_of(
    voxels: Slices,
    modality: str,
    intensity: Intensity,
    filled: int = 0,
    ends: tuple[float, float] | None = None,
) -> list[Window]:
    """The windows of a volume, in the order of their names; none where every voxel is the same.

    CT has those of the settings. Everything else has one, from percentiles of all native voxels;
    `filled` of the darkest are none of these: they fill up what straightening added. `ends` is what
    `value_range` says, where that is known already.
    """
    darkest, brightest = ends or value_range(voxels)
    if not darkest < brightest:
        return []
    if modality == "CT":
        return [
            Window(n, c - w / 2, c + w / 2) for n, (c, w) in sorted(intensity.ct_windows.items())
        ]
    lower, upper = percentiles(voxels, intensity.mr_percentiles, filled, darkest)
    return [Window("percentile", lower, upper)] if upper - lower >= LEAST_WIDTH else []


def value_range(voxels: Slices) -> tuple[float, float]:
    """Darkest and brightest voxel; (0, 0) where none is a number."""
    darkest, brightest = np.inf, -np.inf
    for slice_HW in voxels:
        known = slice_HW
        if voxels.dtype.kind == "f":
            known = slice_HW[np.isfinite(slice_HW)]
        if known.size:
            darkest, brightest = min(darkest, known.min()), max(brightest, known.max())
    return (float(darkest), float(brightest)) if darkest <= brightest else (0.0, 0.0)


def as_numbers(slice_HW: np.ndarray, darkest: float) -> np.ndarray:
    """A contiguous floating-point copy in which every value is as in the source (float64 for
    integers of more than 16 bits, else float32), and what is no number is the darkest."""
    values = slice_HW.astype(np.result_type(slice_HW.dtype, np.float32), order="C")
    if slice_HW.dtype.kind == "f":
        np.copyto(values, darkest, where=~np.isfinite(values))
    return values


def percentiles(
    voxels: Slices, wanted: Sequence[float], filled: int = 0, darkest: float | None = None
) -> list[float]:
    """`np.percentile` (linear) of the values as float64, without a copy of them.

    The `filled` darkest voxels are left out; `darkest` is their value where that is known already.
    Peak memory: a few copies of one slice.
    """
    darkest = value_range(voxels)[0] if darkest is None else darkest
    count = voxels.size - filled
    ranks: set[int] = set()
    places = []
    for percent in wanted:
        place = percent / 100 * (count - 1)
        below = min(int(place), count - 1)
        above = min(below + 1, count - 1)
        ranks |= {below, above}
        places.append((below, above, place - below))
    at = _order_statistics(voxels, {rank + filled for rank in ranks}, darkest)
    found = []
    for below, above, part in places:
        low, high = at[below + filled], at[above + filled]
        # numpy's own rounding: from the nearer end
        found.append(high - (high - low) * (1 - part) if part >= 0.5 else low + (high - low) * part)
    return found


def _order_statistics(voxels: Slices, ranks: set[int], darkest: float) -> dict[int, float]:
    """Values of the voxels that a sort would put at `ranks` (from 0).

    Values become unsigned keys of the same order. Each pass over the volume counts the next digit
    of those keys that begin as a wanted one does, so that after the last the keys are known.
    """
    bits = voxels.dtype.itemsize * 8
    digit_bits = min(DIGIT_BITS, bits)
    known = {rank: (0, rank) for rank in ranks}  # rank -> (first digits, rank among those)
    for shift in range(bits - digit_bits, -1, -digit_bits):
        prefixes = {prefix for prefix, _ in known.values()}
        counts = {prefix: np.zeros(1 << digit_bits, np.int64) for prefix in prefixes}
        for slice_HW in voxels:
            keys = _keys(slice_HW, darkest).ravel()
            for prefix, total in counts.items():
                chosen = keys if shift == bits - digit_bits else keys[_starts(keys, shift, prefix)]
                digits = (chosen >> keys.dtype.type(shift)) & keys.dtype.type((1 << digit_bits) - 1)
                total += np.bincount(digits.astype(np.int64), minlength=len(total))
        for rank, (prefix, within) in known.items():
            cumulative = np.cumsum(counts[prefix])
            digit = int(np.searchsorted(cumulative, within, side="right"))
            before = int(cumulative[digit - 1]) if digit else 0
            known[rank] = (prefix << digit_bits | digit, within - before)
    return {rank: _value(key, voxels.dtype) for rank, (key, _) in known.items()}


def _starts(keys: np.ndarray, shift: int, prefix: int) -> np.ndarray:
    """Which keys begin with the digits known so far."""
    return (keys >> keys.dtype.type(shift + DIGIT_BITS)) == keys.dtype.type(prefix)


def _keys(slice_HW: np.ndarray, darkest: float) -> np.ndarray:
    """Unsigned integers in the order of the values: the sign bit is turned over, and all bits of
    negative floats, which grow with their size."""
    kind, size = slice_HW.dtype.kind, slice_HW.dtype.itemsize
    unsigned = np.dtype(f"u{size}")
    values = np.ascontiguousarray(slice_HW, slice_HW.dtype.newbyteorder("="))
    if kind == "u":
        return values
    sign = unsigned.type(1 << (size * 8 - 1))
    if kind == "f":
        values = np.where(np.isfinite(values), values, values.dtype.type(darkest))
        values += values.dtype.type(0)  # -0.0 becomes 0.0
        bits = values.view(unsigned)
        return np.where(bits & sign, ~bits, bits | sign)
    return values.view(unsigned) ^ sign


def _value(key: int, dtype: np.dtype) -> float:
    """The value of a key: `_keys` turned back."""
    dtype, size = dtype.newbyteorder("="), dtype.itemsize
    unsigned = np.dtype(f"u{size}").type
    sign = 1 << (size * 8 - 1)
    if dtype.kind == "u":
        return float(key)
    if dtype.kind == "f":
        bits = key ^ sign if key & sign else ~key & ((sign << 1) - 1)
        return float(unsigned(bits).view(dtype))
    return float(unsigned(key ^ sign).view(dtype))
