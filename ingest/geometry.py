"""Where slices lie: pure arithmetic on positions, nothing about files or tags.

In: positions (LPS, mm), orientations, spacings. Out: order along the normal, gaps, runs, drift,
affines. Tolerances are those of `reference` converters compared in docs/decisions/0002-grouping.md.
"""

from __future__ import annotations

import itertools
import math
from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np

from study.records import Matrix, Vector

Orientation = tuple[float, float, float, float, float, float]

ANGLE_TOLERANCE_DEG = 0.1
"""Two images point the same way within this angle between their rows, and between their columns."""
SAME_POSITION_MM = 0.01
"""Slices nearer than this along the normal are at one position."""
REGULAR_FRACTION, REGULAR_MM = 0.01, 0.01
"""A gap is regular within 1 % of the median gap or 0.01 mm, whichever is more."""
UNEVEN_FRACTION = 0.10
"""Gaps up to 10 % off the median are one volume, to be resampled evenly."""
DRIFT_MM, DRIFT_PIXELS = 0.1, 0.5
"""In-plane shift over the whole stack beyond max(0.1 mm, half a pixel) is a tilt."""
LONG_RUN = 3
"""Gaps in a run, from which on wider gaps are another slab and no longer missing slices."""
MAX_RUNS = 3
"""At most so many regular runs of different spacing make one volume (head CT: fossa, vertex)."""


def normal_of(orientation: Orientation) -> Vector:
    """Cross product of row and column directions, unit length."""
    (a, b, c), (d, e, f) = orientation[:3], orientation[3:]
    x, y, z = b * f - c * e, c * d - a * f, a * e - b * d
    length = math.hypot(x, y, z)
    return (x / length, y / length, z / length)


def same_direction(
    one: Orientation, other: Orientation, tolerance_deg: float = ANGLE_TOLERANCE_DEG
) -> bool:
    """True when rows and columns each point the same way within the tolerance."""
    limit = math.cos(math.radians(tolerance_deg))
    return (
        sum(a * b for a, b in zip(one[:3], other[:3], strict=True)) >= limit
        and sum(a * b for a, b in zip(one[3:], other[3:], strict=True)) >= limit
    )


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

    @property
    def usable(self) -> bool:
        """Positions are unique and the gaps can be understood."""
        return not self.repeats and (
            self.regular or self.missing > 0 or self.uneven or self.runs <= MAX_RUNS
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
    if len(gaps) == 0:
        return Stack((int(order[0]),), (0.0,), ((0.0, 0.0),), 0.0, False, True, 0, 1, False)
    repeats = bool((gaps < SAME_POSITION_MM).any())
    distinct = gaps[gaps >= SAME_POSITION_MM]
    gap = float(np.median(distinct)) if len(distinct) else 0.0
    tolerance = max(REGULAR_FRACTION * gap, REGULAR_MM)
    regular = not repeats and bool((np.abs(gaps - gap) <= tolerance).all())
    multiples = np.rint(gaps / gap) if gap else np.ones_like(gaps)
    whole = not repeats and bool(
        ((multiples >= 1) & (np.abs(gaps - multiples * gap) <= tolerance)).all()
    )
    runs, slabs = _runs(gaps, tolerance)
    return Stack(
        order=tuple(int(i) for i in order),
        offsets_mm=tuple(float(v) for v in offsets),
        drift_mm=tuple((float(a), float(b)) for a, b in drift),
        gap_mm=gap,
        repeats=repeats,
        regular=regular,
        missing=int(multiples.sum()) - len(gaps) if whole and not regular and not slabs else 0,
        runs=1 if regular else runs,
        uneven=not repeats
        and not regular
        and bool((np.abs(gaps - gap) <= UNEVEN_FRACTION * gap).all()),
    )


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
    limit = max(DRIFT_MM, DRIFT_PIXELS * min(pixel_spacing_mm))
    return max(max(abs(a), abs(b)) for a, b in positions.drift_mm) > limit


def affine(origin_mm: Vector, axes_mm: Sequence[Sequence[float]]) -> Matrix:
    """4 x 4 matrix from index (first, second, third, 1) to LPS mm; `axes_mm` are the steps along
    each index."""
    rows = [tuple(float(axis[i]) for axis in axes_mm) + (float(origin_mm[i]),) for i in range(3)]
    return tuple((r[0], r[1], r[2], r[3]) for r in [*rows, (0.0, 0.0, 0.0, 1.0)])
