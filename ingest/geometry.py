"""Where slices lie: pure arithmetic on positions, nothing about files or tags.

In: positions (LPS, mm), orientations, spacings. Out: order along the normal, gaps, runs, drift,
affines. Tolerances are those of `reference` converters compared in docs/decisions/0002-grouping.md.
"""

from __future__ import annotations

import itertools
import math
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np

from study.records import Matrix, ScanPlan, Vector

Orientation = tuple[float, float, float, float, float, float]

ANGLE_TOLERANCE_DEG = 0.1
"""Two images point the same way within this angle between their rows, and between their columns."""
SAME_POSITION_MM, SAME_POSITION_FRACTION, SAME_POSITION_MOST_MM = 0.01, 0.02, 0.05
"""Slices nearer than this along the normal, or than this share of the usual gap (up to the most),
are at one position."""
JITTER_MM, JITTER_TIMES = 0.2, 10.0
"""Positions within so many mm are one where the next wider gap is so many times wider."""
REGULAR_FRACTION, REGULAR_MM = 0.01, 0.01
"""A gap is regular within 1 % of the median gap or 0.01 mm, whichever is more."""
ROUNDING_MM = 0.055
"""Positions this near to an even grid are on it: scanners round positions to a tenth of a
millimetre (half of it, and a little), and the error does not add up from slice to slice."""
UNEVEN_FRACTION = 0.10
"""Gaps up to 10 % off the median are one volume, to be resampled evenly."""
DRIFT_MM, DRIFT_PIXELS = 0.1, 0.5
"""In-plane shift over the whole stack beyond max(0.1 mm, half a pixel) is a tilt."""
LONG_RUN = 3
"""Gaps in a run, from which on wider gaps are another slab and no longer missing slices."""
MAX_RUNS = 3
"""At most so many regular runs of different spacing make one volume (head CT: fossa, vertex)."""
WIDEST_HOLE = 10
"""A hole of more missing slices parts two volumes, too."""
WIDEST_JOIN = 2.0
"""A gap wider than so many times the wider spacing beside it parts two volumes."""


def normal_of(orientation: Orientation) -> Vector:
    """Cross product of row and column directions, unit length."""
    (a, b, c), (d, e, f) = orientation[:3], orientation[3:]
    x, y, z = b * f - c * e, c * d - a * f, a * e - b * d
    length = math.hypot(x, y, z)
    return (x / length, y / length, z / length)


def same_directions(
    many: np.ndarray, one: Orientation, tolerance_deg: float = ANGLE_TOLERANCE_DEG
) -> list[int]:
    """Which of the orientations (n, 6) have rows and columns that each point the same way as those
    of `one`, within the tolerance."""
    products = many * np.asarray(one)
    cosines = np.minimum(products[:, :3].sum(axis=1), products[:, 3:].sum(axis=1))
    found: list[int] = np.flatnonzero(cosines >= math.cos(math.radians(tolerance_deg))).tolist()
    return found


@dataclass(frozen=True)
class Stack:
    """Slices of one orientation in order along the normal. Indices point into the positions that
    were given."""

    order: tuple[int, ...]
    offsets_mm: tuple[float, ...]
    """Along the normal, from the first slice; ascending."""
    drift_mm: tuple[tuple[float, float], ...]
    """In-plane shift (along row, along column direction) against the first slice."""
    gap_mm: float
    """Median gap; 0 for a single slice."""
    repeats: bool
    """Some slices are at one position."""
    regular: bool
    """All gaps equal within tolerance."""
    missing: int
    """Slices left out of an otherwise regular stack; 0 when the gaps are not whole multiples."""
    runs: int
    """Number of regular runs; 1 when regular."""
    uneven: bool
    """Gaps differ from the median by less than UNEVEN_FRACTION."""

    breaks: tuple[int, ...] = ()
    """Gaps between distinct positions (counted from 0) too wide to join what lies on either
    side."""
    position_numbers: tuple[int, ...] = (0,)
    """For every slice in order, the number of its position from 0: slices at one place share it."""

    @property
    def usable(self) -> bool:
        """Positions are unique and the gaps can be understood as one volume."""
        return (
            not self.repeats
            and not self.breaks
            and (self.regular or self.missing > 0 or self.uneven or self.runs <= MAX_RUNS)
        )


def stack(positions_mm: Sequence[Vector], orientation: Orientation) -> Stack:
    """Order slices along the normal of `orientation` and describe their gaps.

    `positions_mm` are the centres of the first voxels, LPS. The normal is row x column, so a stack
    is right-handed whatever the order in which it was acquired.
    """
    positions = np.asarray(positions_mm, dtype=np.float64)
    row, column = np.asarray(orientation[:3]), np.asarray(orientation[3:])
    along = positions @ np.asarray(normal_of(orientation))
    order = np.argsort(along, kind="stable")
    relative = positions[order] - positions[order[0]]
    offsets = along[order] - along[order[0]]
    drift = np.stack([relative @ row, relative @ column], axis=1)
    gaps = np.diff(offsets)
    same = _same_position(gaps)
    numbers = np.concatenate([[0], np.cumsum(~same)])
    distinct = gaps[~same]
    facts: dict[str, Any] = {
        "order": tuple(int(i) for i in order),
        "offsets_mm": tuple(float(v) for v in offsets),
        "drift_mm": tuple((float(a), float(b)) for a, b in drift),
        "repeats": bool(same.any()),
        "position_numbers": tuple(int(n) for n in numbers),
    }
    if len(distinct) == 0:
        return Stack(gap_mm=0.0, regular=True, missing=0, runs=1, uneven=False, **facts)
    return Stack(**facts, **_spacing_facts(distinct))


def _same_position(gaps: np.ndarray) -> np.ndarray:
    """Which gaps are none: below the tolerance, which grows with the usual gap. Scanners that place
    every volume of a series a little differently leave gaps of two kinds: none, and a slice."""
    wide = np.sort(gaps[gaps >= SAME_POSITION_MM])
    if len(wide) == 0:
        return gaps < SAME_POSITION_MM
    usual = float(np.median(wide))
    limit = min(SAME_POSITION_FRACTION * usual, SAME_POSITION_MOST_MM)
    jumps = np.flatnonzero((wide[1:] >= JITTER_TIMES * wide[:-1]) & (wide[:-1] <= JITTER_MM))
    if len(jumps):
        apart = gaps >= wide[jumps[-1] + 1]
        reach = np.bincount(np.cumsum(apart), weights=np.where(apart, 0.0, gaps))
        if (reach <= JITTER_MM).all():
            return ~apart
    return gaps < max(SAME_POSITION_MM, limit)


def _spacing_facts(gaps: np.ndarray) -> dict[str, Any]:
    """What the gaps between distinct positions are."""
    gap = float(np.median(gaps))
    tolerance = max(REGULAR_FRACTION * gap, REGULAR_MM)
    multiples = np.maximum(np.rint(gaps / gap), 1.0)
    whole = bool((np.abs(gaps - multiples * gap) <= tolerance * multiples).all()) or _on_grid(
        gaps, multiples
    )
    runs, slabs = _runs(gaps, tolerance)
    regular = whole and bool((multiples == 1).all())
    is_missing = whole and not regular and not slabs
    return {
        "gap_mm": gap,
        "regular": regular,
        "missing": int(multiples.sum()) - len(gaps) if is_missing else 0,
        "runs": 1 if regular else runs,
        "uneven": not regular and bool((np.abs(gaps - gap) <= UNEVEN_FRACTION * gap).all()),
        "breaks": _holes(multiples) if whole and not slabs else _breaks(gaps),
    }


def _on_grid(gaps: np.ndarray, multiples: np.ndarray) -> bool:
    """True when the positions fit an even grid (with places left empty) within a rounding error."""
    at = np.concatenate([[0.0], np.cumsum(gaps)])
    index = np.concatenate([[0.0], np.cumsum(multiples)])
    middle = index - index.mean()
    slope = float(middle @ at / (middle @ middle))
    rest = at - at.mean() - slope * middle  # least squares
    return bool((np.abs(rest) <= min(ROUNDING_MM, slope / 4)).all())


def _holes(multiples: np.ndarray) -> tuple[int, ...]:
    """Gaps with so many slices missing that they are no oversight."""
    return tuple(int(n) for n in np.flatnonzero(multiples - 1 > WIDEST_HOLE))


def _breaks(gaps: np.ndarray) -> tuple[int, ...]:
    """Gaps much wider than those beside them."""
    found = []
    for i, gap in enumerate(gaps):
        beside = [gaps[k] for k in (i - 1, i + 1) if 0 <= k < len(gaps)]
        if beside and gap > WIDEST_JOIN * max(beside):
            found.append(i)
    return tuple(found)


def _runs(gaps: np.ndarray, tolerance: float) -> tuple[int, bool]:
    """(number of runs of equal gaps, True when they are long and their gaps differ).

    A lone odd gap between two runs joins them and is not a run.
    """
    starts = [0, *(i for i in range(1, len(gaps)) if abs(gaps[i] - gaps[i - 1]) > tolerance)]
    pieces = [gaps[a:b] for a, b in zip(starts, [*starts[1:], len(gaps)], strict=True)]
    runs = [piece for piece in pieces if len(piece) >= 2]
    lone = len(pieces) - len(runs)
    count = len(runs) + max(0, lone - max(len(runs) - 1, 0))
    long = len(runs) >= 2 and all(len(run) >= LONG_RUN for run in runs)
    differ = any(abs(a[0] - b[0]) > tolerance for a, b in itertools.pairwise(runs))
    return count, long and differ and count == len(runs)


def is_tilted(positions: Stack, pixel_spacing_mm: tuple[float, float]) -> bool:
    """True when slices shift in plane over the stack by more than a rounding error."""
    return is_shift(positions.drift_mm, pixel_spacing_mm)


def is_shift(
    drift_mm: Sequence[tuple[float, float]], pixel_spacing_mm: tuple[float, float]
) -> bool:
    """True when any in-plane shift is more than a rounding error."""
    limit = max(DRIFT_MM, DRIFT_PIXELS * min(pixel_spacing_mm))
    return max(max(abs(a), abs(b)) for a, b in drift_mm) > limit


def shift_off_line(positions: Stack, pixel_spacing_mm: tuple[float, float]) -> bool:
    """True when the in-plane shift is not proportional to the offset: no tilt of the gantry."""
    extent = positions.offsets_mm[-1]
    last = positions.drift_mm[-1]
    rest = [
        (a - last[0] * z / extent, b - last[1] * z / extent)
        for (a, b), z in zip(positions.drift_mm, positions.offsets_mm, strict=True)
    ]
    return is_shift(rest, pixel_spacing_mm)


def tilt_deg(slice_step_mm: Vector, orientation: Orientation) -> float:
    """Angle between the step from slice to slice and the normal of the slices, degrees."""
    length = math.hypot(*slice_step_mm)
    along = sum(a * b for a, b in zip(slice_step_mm, normal_of(orientation), strict=True))
    return math.degrees(math.acos(max(-1.0, min(1.0, abs(along) / length)))) if length else 0.0


def native_affine(plan: ScanPlan) -> Matrix:
    """4 x 4 matrix from (slice, row, column, 1) on the native grid to LPS mm, voxel centres.

    Exact for tilted stacks too (the step is slanted then); for unevenly spaced ones the steps are
    the median step, and only the first slice is where it says.
    """
    step = plan.slice_step_mm
    if len(plan.slices) > 1 and not {"VARIABLE_SPACING", "FILLED_SLICES"} & set(plan.flags):
        mean = plan.offsets_mm[-1] / (len(plan.slices) - 1)  # no rounding piles up
        x, y, z = (s / plan.slice_spacing_mm * mean for s in step)
        step = (x, y, z)
    y_mm, x_mm = plan.pixel_spacing_mm
    down = [y_mm * v for v in plan.column_direction]
    right = [x_mm * v for v in plan.row_direction]
    return affine(plan.origin_mm, (step, down, right))


def affine(origin_mm: Vector, axes_mm: Sequence[Sequence[float]]) -> Matrix:
    """4 x 4 matrix from index (first, second, third, 1) to LPS mm; `axes_mm` are the steps along
    each index."""
    rows = [tuple(float(axis[i]) for axis in axes_mm) + (float(origin_mm[i]),) for i in range(3)]
    return tuple((r[0], r[1], r[2], r[3]) for r in [*rows, (0.0, 0.0, 0.0, 1.0)])
