"""How a stored slice must be turned to be shown in radiological convention.

In: a scan's affine. Out: a `View`: transposition, flips, letters for the four edges, millimetres a
pixel. The patient's right is on the viewer's left; axial slices are seen from the feet, front up;
coronal from the front, head up; sagittal with the face to the viewer's left. All of it follows from
the affine, nothing is assumed about how arrays were oriented when they were stored. LPS: DICOM
PS3.3 C.7.6.2.1.1.
"""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np

from study.records import Matrix

PLANES = ("sagittal", "coronal", "axial")
"""Plane by the LPS axis (x, y, z) nearest to its normal."""

_LETTERS = (("L", "R"), ("P", "A"), ("S", "I"))
"""Where an LPS axis points to, and away from."""

_RIGHT_AND_DOWN = {
    "axial": (np.array([1, 0, 0]), np.array([0, 1, 0])),
    "coronal": (np.array([1, 0, 0]), np.array([0, 0, -1])),
    "sagittal": (np.array([0, 1, 0]), np.array([0, 0, -1])),
}
"""LPS directions towards the right and the bottom edge of the picture."""

OBLIQUE = 0.4
"""Smallest cosine with an axis for its letter to be shown as a second one (about 24 degrees of
tilt)."""


@dataclass(frozen=True)
class View:
    """Turning of a slice (H, W) for display: transpose first, then flip."""

    plane: str
    transpose: bool
    flip_rows: bool
    flip_columns: bool
    left: str
    """Letter or two of the patient's side at the left edge of the picture."""
    right: str
    top: str
    bottom: str
    pixel_mm: tuple[float, float]
    """Height and width of a pixel of the turned picture."""
    reverse_slices: bool
    """Whether to go backwards along D to go from foot to head, from front to back, from right to
    left."""

    def apply(self, slice_HW: np.ndarray) -> np.ndarray:
        """The slice as it is to be seen."""
        picture = slice_HW.T if self.transpose else slice_HW
        rows = slice(None, None, -1 if self.flip_rows else 1)
        columns = slice(None, None, -1 if self.flip_columns else 1)
        return picture[rows, columns]


def view_of(affine: Matrix) -> View:
    """The view for slices along D of an array whose index (d, h, w) `affine` maps to LPS
    millimetres."""
    steps = np.array(affine, dtype=float)[:3, :3]
    along_d, along_h, along_w = steps[:, 0], steps[:, 1], steps[:, 2]
    mm_h, mm_w = float(np.linalg.norm(along_h)), float(np.linalg.norm(along_w))
    unit_h, unit_w = along_h / mm_h, along_w / mm_w
    axis = int(np.argmax(np.abs(np.cross(unit_w, unit_h))))
    plane = PLANES[axis]
    right, down = _RIGHT_AND_DOWN[plane]
    as_stored = abs(unit_w @ right) + abs(unit_h @ down)
    transposed = abs(unit_h @ right) + abs(unit_w @ down)
    transpose = bool(transposed > as_stored)
    if transpose:
        unit_h, unit_w, mm_h, mm_w = unit_w, unit_h, mm_w, mm_h
    flip_rows, flip_columns = bool(unit_h @ down < 0), bool(unit_w @ right < 0)
    to_bottom = -unit_h if flip_rows else unit_h
    to_right = -unit_w if flip_columns else unit_w
    return View(
        plane=plane,
        transpose=transpose,
        flip_rows=flip_rows,
        flip_columns=flip_columns,
        left=letters(-to_right),
        right=letters(to_right),
        top=letters(-to_bottom),
        bottom=letters(to_bottom),
        pixel_mm=(mm_h, mm_w),
        reverse_slices=bool(along_d[axis] < 0),
    )


def letters(direction: np.ndarray) -> str:
    """Where a unit vector in LPS points: L, R, A, P, S, I, or two of them, the nearer first
    (LA)."""
    order = np.argsort(-np.abs(direction), kind="stable")
    kept = [axis for rank, axis in enumerate(order) if rank == 0 or abs(direction[axis]) >= OBLIQUE]
    return "".join(_LETTERS[axis][0 if direction[axis] > 0 else 1] for axis in kept[:2])
