"""Native slices -> an even, rectangular volume in patient space.

In: voxels (D, H, W) of any real dtype, an array or other `Slices`, and their `ScanPlan`. Out: a
`Volume`: voxels and the affine from index (slice, row, column) to LPS. Tilted stacks are sheared
straight on a matrix that is enlarged so that nothing is cut off, and unevenly spaced ones are
interpolated to even steps; others pass untouched. What is large is straightened slice by slice, as
it is asked for. Interpolation is linear, but next to what is outside the field of view it takes the
nearest voxel, so that no half values appear at an edge that is none. As dcm2niix does it
(nii_saveNII3Dtilt, nii_saveNII3Deq), but for the step, which dcm2niix takes from the smallest gap
even where that only joins two slabs.
"""

from __future__ import annotations

from dataclasses import dataclass
from functools import lru_cache

import numpy as np
import SimpleITK as sitk

from ingest.geometry import LONG_RUN, UNEVEN_FRACTION, affine, native_affine, normal_of
from ingest.intensity import value_range
from ingest.limits import MAX_FRAME_PIXELS
from ingest.rescale import AIR_HU
from ingest.slices import OneByOne, Slices
from ingest.undecodable import UndecodableError
from study.records import Matrix, Reason, ScanPlan, Vector

EXACT_MM = 0.005
"""Shifts this near to whole voxels are whole: headers round positions to a thousandth, and copying
is better than blurring."""
FREQUENT_FRACTION = 0.1
"""A gap between slices is frequent when at least this share of all gaps, and LONG_RUN of them, are
about as wide."""
MOST_SLICES = 2
"""Times as many slices as before at most."""
SMALL_BYTES = 1 << 28
"""Straightened volumes of so many are arrays; slices of larger ones are made each time they are
asked for."""
NOWHERE = np.float32(np.nan)
"""Stands for what is outside the field of view while slices are moved."""


@dataclass(frozen=True)
class Volume:
    """Voxels (D, H, W), and where they are."""

    voxels: Slices
    affine: Matrix
    """Index (slice, row, column, 1) -> LPS mm, of voxel centres."""
    filled: int = 0
    """Voxels that hold no measurement: they were added, in the darkest value, by shearing."""
    ends: tuple[float, float] | None = None
    """Darkest and brightest voxel, where that is known."""

    @property
    def spacing_mm(self) -> Vector:
        matrix = np.asarray(self.affine)[:3, :3]
        d, h, w = (float(v) for v in np.linalg.norm(matrix, axis=0))
        return (d, h, w)

    def image(self) -> sitk.Image:
        """As a SimpleITK image: index (column, row, slice), LPS. Copies the voxels."""
        matrix = np.asarray(self.affine)
        steps = matrix[:3, [2, 1, 0]]
        spacing = np.linalg.norm(steps, axis=0)
        image = sitk.GetImageFromArray(np.asarray(self.voxels))
        image.SetSpacing([float(s) for s in spacing])
        image.SetOrigin([float(o) for o in matrix[:3, 3]])
        image.SetDirection([float(v) for v in (steps / spacing).ravel()])
        return image


def straighten(voxels: Slices, plan: ScanPlan) -> Volume:
    """Make the volume rectangular and even. `voxels` are those of `ingest.pixels.read_slices`.

    A volume that is so already keeps its voxels and dtype. Otherwise they are float32: an array up
    to SMALL_BYTES, else slices that are made when they are asked for. Peak memory beside `voxels`
    is that array and about eight slices. Raises UndecodableError, TOO_LARGE, where the drift of the
    slices makes them larger than any image is.
    """
    tilted = "GANTRY_TILT" in plan.flags
    uneven = bool({"VARIABLE_SPACING", "FILLED_SLICES"} & set(plan.flags))
    if len(plan.slices) < 2 or not (tilted or uneven):
        return Volume(voxels, native_affine(plan))
    straight = _Straight(voxels, plan, tilted, uneven)
    place = _straight_affine(plan, straight.offsets_mm[1], straight.field, tilted)
    filled = 0
    if straight.size * straight.dtype.itemsize <= SMALL_BYTES:
        result = np.empty(straight.shape, straight.dtype)
        for number in range(len(straight)):
            result[number], added = straight.made(number)
            filled += added
        return Volume(result, place, filled)
    ends = []
    for number in range(len(straight)):
        made, added = straight.made(number)
        ends += [float(made.min()), float(made.max())]
        filled += added
    return Volume(straight, place, filled, (min(ends), max(ends)))


class _Straight(OneByOne):
    """Even, rectangular slices, each made of one or two native ones when it is asked for."""

    def __init__(self, voxels: Slices, plan: ScanPlan, tilted: bool, uneven: bool) -> None:
        self._native_mm = np.asarray(plan.offsets_mm)
        count = even_count(plan.offsets_mm) if uneven else len(self._native_mm)
        self.offsets_mm = np.linspace(0.0, self._native_mm[-1], count)
        height, width = voxels.shape[1:]
        field = _Field.of(plan, (height, width)) if tilted else _Field(0, 0, height, width)
        if field.rows * field.columns > MAX_FRAME_PIXELS:
            detail = f"straightened slices of {field.rows} x {field.columns}"
            raise UndecodableError(Reason.TOO_LARGE, detail)
        super().__init__((count, field.rows, field.columns), np.dtype(np.float32))
        is_ct = plan.modality == "CT"
        self._fill = AIR_HU if is_ct else value_range(voxels)[0]
        self.field, self._uneven = field, uneven

        @lru_cache(maxsize=2)  # neighbours serve several wanted slices
        def placed(number: int) -> np.ndarray:
            values = voxels[number].astype(np.float32)
            values[~np.isfinite(values)] = NOWHERE
            if is_ct:  # what is not brighter than this is outside the field of view
                values[values <= AIR_HU] = NOWHERE
            return field.place(values, plan.drift_mm[number], plan.pixel_spacing_mm)

        self._placed = placed  # which does not know `self`: the volume goes as soon as we do

    def __getitem__(self, number: int, /) -> np.ndarray:
        return self.made(number)[0]

    def made(self, number: int) -> tuple[np.ndarray, int]:
        """A slice (H, W), and how many of its voxels were filled up."""
        lower, part = number, 0.0
        if self._uneven:
            lower, part = _between(self._native_mm, self.offsets_mm[number])
        if part:
            values = _mixed(self._placed(lower), self._placed(lower + 1), part)
        else:
            values = self._placed(lower).copy()
        nowhere = np.isnan(values)
        values[nowhere] = self._fill
        return values, int(nowhere.sum())


def even_count(offsets_mm: tuple[float, ...]) -> int:
    """How many slices in even steps replace those at `offsets_mm` (ascending, from 0).

    The step is about the smallest frequent gap: missing slices are filled in, and of two slabs the
    finer one keeps its slices, while a lone narrow gap that joins them does not count. Gaps that
    only jitter keep their number.

    >>> even_count((0.0, 2.0, 4.0, 8.0, 10.0)), even_count((0.0, 2.1, 3.9, 6.0))
    (6, 4)
    """
    gaps = np.diff(np.asarray(offsets_mm))
    usual = float(np.median(gaps))
    if (np.abs(gaps - usual) <= UNEVEN_FRACTION * usual).all():
        return len(offsets_mm)
    about = np.abs(gaps[:, None] - gaps[None]) <= UNEVEN_FRACTION * gaps[:, None]
    frequent = about.sum(axis=1) >= max(LONG_RUN, FREQUENT_FRACTION * len(gaps))
    if frequent.any():
        usual = float(np.median(gaps[about[np.flatnonzero(frequent)[gaps[frequent].argmin()]]]))
    return min(round(float(offsets_mm[-1]) / usual) + 1, MOST_SLICES * len(offsets_mm))


@dataclass(frozen=True)
class _Field:
    """The matrix that holds all slices where they belong, in pixels of the first one."""

    left: int
    """Columns added before the first slice's first one."""
    above: int
    """Rows added before the first slice's first one."""
    rows: int
    columns: int

    @staticmethod
    def of(plan: ScanPlan, shape: tuple[int, ...]) -> _Field:
        """Just wide enough for the drift of every slice."""
        y_mm, x_mm = plan.pixel_spacing_mm
        across = [_pixels(along_row, x_mm) for along_row, _ in plan.drift_mm]
        down = [_pixels(along_column, y_mm) for _, along_column in plan.drift_mm]
        left, above = -int(np.floor(min(across))), -int(np.floor(min(down)))
        return _Field(
            left,
            above,
            shape[0] + above + int(np.ceil(max(down))),
            shape[1] + left + int(np.ceil(max(across))),
        )

    def place(
        self, slice_HW: np.ndarray, drift_mm: tuple[float, float], spacing_mm: tuple[float, float]
    ) -> np.ndarray:
        """A slice moved by its drift (along row, along column); NOWHERE around it."""
        height, width = slice_HW.shape
        if (height, width) == (self.rows, self.columns):
            return slice_HW
        down = self.above + _pixels(drift_mm[1], spacing_mm[0])
        across = self.left + _pixels(drift_mm[0], spacing_mm[1])
        top, first = int(np.floor(down)), int(np.floor(across))
        placed = np.full((self.rows, self.columns), NOWHERE)
        placed[top : top + height, first : first + width] = slice_HW
        for axis, part in ((0, down - top), (1, across - first)):
            if part:
                before = np.roll(placed, 1, axis)  # what is rolled over the edge is NOWHERE
                placed = _mixed(placed, before, part)
        return placed


def _pixels(shift_mm: float, pixel_mm: float) -> float:
    """A shift in pixels; whole where it is nearly so."""
    whole = round(shift_mm / pixel_mm)
    return float(whole) if abs(shift_mm - whole * pixel_mm) <= EXACT_MM else shift_mm / pixel_mm


def _between(offsets: np.ndarray, position: float) -> tuple[int, float]:
    """(slice at or below a position, share of the next one); a share of 0 for a slice that is
    there."""
    nearest = int(np.abs(offsets - position).argmin())
    if abs(offsets[nearest] - position) <= EXACT_MM:
        return nearest, 0.0
    upper = int(np.clip(np.searchsorted(offsets, position), 1, len(offsets) - 1))
    lower = upper - 1
    return lower, float((position - offsets[lower]) / (offsets[upper] - offsets[lower]))


def _mixed(one: np.ndarray, other: np.ndarray, part: float) -> np.ndarray:
    """Linear between two slices, `part` of `other`; the nearer one where either is NOWHERE."""
    mixed = one * np.float32(1 - part) + other * np.float32(part)
    edge = np.isnan(mixed)
    mixed[edge] = (other if part > 0.5 else one)[edge]
    return mixed


def _straight_affine(plan: ScanPlan, step_mm: float, field: _Field, tilted: bool) -> Matrix:
    """Affine of the new grid. Its slices follow the normal; where a drift is too small for a tilt,
    they follow that, as the slices themselves do."""
    row, column = np.asarray(plan.row_direction), np.asarray(plan.column_direction)
    y_mm, x_mm = plan.pixel_spacing_mm
    if tilted:
        along = np.asarray(normal_of((*plan.row_direction, *plan.column_direction)))
    else:
        along = np.asarray(plan.slice_step_mm) / plan.slice_spacing_mm
    origin = np.asarray(plan.origin_mm) - field.left * x_mm * row - field.above * y_mm * column
    x, y, z = (float(v) for v in origin)
    return affine((x, y, z), (tuple(step_mm * along), tuple(y_mm * column), tuple(x_mm * row)))
