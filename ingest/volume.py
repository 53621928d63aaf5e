"""Native slices -> an even, rectangular volume in patient space.

In: float32 (D, H, W) and its `ScanPlan`. Out: a `Volume`: voxels and the affine from index (slice,
row, column) to LPS. Tilted stacks are sheared straight and unevenly spaced ones are interpolated to
even steps; others pass untouched.
"""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
import SimpleITK as sitk

from ingest.geometry import affine, normal_of
from study.records import Matrix, ScanPlan, Vector


@dataclass(frozen=True)
class Volume:
    """Voxels (D, H, W) float32, and where they are."""

    voxels: np.ndarray
    affine: Matrix
    """Index (slice, row, column, 1) -> LPS mm, of voxel centres."""

    @property
    def spacing_mm(self) -> Vector:
        matrix = np.asarray(self.affine)[:3, :3]
        d, h, w = (float(v) for v in np.linalg.norm(matrix, axis=0))
        return (d, h, w)

    def image(self) -> sitk.Image:
        """As a SimpleITK image: index (column, row, slice), LPS."""
        matrix = np.asarray(self.affine)
        steps = matrix[:3, [2, 1, 0]]
        spacing = np.linalg.norm(steps, axis=0)
        image = sitk.GetImageFromArray(self.voxels)
        image.SetSpacing([float(s) for s in spacing])
        image.SetOrigin([float(o) for o in matrix[:3, 3]])
        image.SetDirection([float(v) for v in (steps / spacing).ravel()])
        return image


def straighten(voxels: np.ndarray, plan: ScanPlan) -> Volume:
    """Make the volume rectangular and even. `voxels` are those of `ingest.pixels.read_volume`."""
    normal = normal_of((*plan.row_direction, *plan.column_direction))
    step: Vector = plan.slice_step_mm
    if "GANTRY_TILT" in plan.flags:
        voxels = _shear(voxels, plan)
        step = tuple(plan.slice_spacing_mm * n for n in normal)  # type: ignore[assignment]
    if "VARIABLE_SPACING" in plan.flags:
        voxels, spacing_mm = _even(voxels, plan.offsets_mm)
        step = tuple(spacing_mm * n for n in normal)  # type: ignore[assignment]
    elif len(plan.slices) > 1 and "GANTRY_TILT" not in plan.flags:
        mean = plan.offsets_mm[-1] / (
            len(plan.slices) - 1
        )  # steps add up to the extent, no rounding piles up
        step = tuple(s / plan.slice_spacing_mm * mean for s in step)  # type: ignore[assignment]
    y_mm, x_mm = plan.pixel_spacing_mm
    down = [y_mm * v for v in plan.column_direction]
    right = [x_mm * v for v in plan.row_direction]
    return Volume(voxels, affine(plan.origin_mm, (step, down, right)))


def _shear(voxels: np.ndarray, plan: ScanPlan) -> np.ndarray:
    """Move every slice in plane to where the first slice's normal meets it; linear, the darkest
    value outside."""
    y_mm, x_mm = plan.pixel_spacing_mm
    fill = float(voxels.min())
    result = np.empty_like(voxels)
    for number, (along_row, along_column) in enumerate(plan.drift_mm):
        image = sitk.GetImageFromArray(voxels[number])
        shift = sitk.TranslationTransform(2, (-along_row / x_mm, -along_column / y_mm))
        moved = sitk.Resample(image, image, shift, sitk.sitkLinear, fill)
        result[number] = sitk.GetArrayViewFromImage(moved)
    return result


def _even(voxels: np.ndarray, offsets_mm: tuple[float, ...]) -> tuple[np.ndarray, float]:
    """Interpolate linearly to even steps of the smallest frequent gap, at most twice as many slices
    as before."""
    offsets = np.asarray(offsets_mm)
    gaps = np.diff(offsets)
    extent = float(offsets[-1])
    count = min(int(np.ceil(extent / float(np.percentile(gaps, 10)) - 1e-6)) + 1, 2 * len(offsets))
    wanted = np.linspace(0.0, extent, count)
    upper = np.clip(np.searchsorted(offsets, wanted), 1, len(offsets) - 1)
    weight = ((wanted - offsets[upper - 1]) / (offsets[upper] - offsets[upper - 1])).astype(
        np.float32
    )
    w = weight[:, None, None]
    return voxels[upper - 1] * (1 - w) + voxels[upper] * w, extent / (count - 1)
