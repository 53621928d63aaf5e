"""A volume in patient space -> the array that the model sees, on HLIP's grid.

In: a `Volume` and the settings. Out: `Scan`s, uint8 (D, H, W), one per intensity window, with the
affine of the stored grid. Steps, as HLIP prepares its data: orient to R-P-I (as
DICOMOrientImageFilter names it: columns run to the patient's right, rows to the back, slices to the
feet), make the axis of largest spacing D (axial on a tie), take limits from all native voxels, pad
in plane to a square, resize (bilinear in plane, D by `depth_interpolation`), crop the centre, round
last.
"""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
import SimpleITK as sitk

from ingest.volume import Volume
from study.records import Matrix, Scan, Vector
from study.sections import Grid, Intensity

SAME_SPACING = 1e-3
"""Relative: axes whose spacing differs by less are a tie, and a tie is axial."""
PLANES = ("axial", "coronal", "sagittal")
AXES_DHW = ((0, 1, 2), (1, 0, 2), (2, 0, 1))
"""For each plane, which axes of the oriented (z, y, x) array become D, H, W."""


@dataclass(frozen=True)
class Window:
    """Source values that become 0 and 255."""

    name: str
    lower: float
    upper: float


@dataclass(frozen=True)
class _Placed:
    """An array with the affine of its index; the working state between the steps below."""

    array: np.ndarray
    affine: np.ndarray


def windows_of(voxels: np.ndarray, modality: str, intensity: Intensity) -> list[Window]:
    """The windows of a volume: those of CT by name, one from percentiles of all native voxels for
    everything else."""
    if modality == "CT":
        return [
            Window(n, c - w / 2, c + w / 2) for n, (c, w) in sorted(intensity.ct_windows.items())
        ]
    lower, upper = (float(v) for v in np.percentile(voxels, intensity.mr_percentiles))
    return [Window("percentile", lower, upper)] if upper > lower else []


def to_grid(volume: Volume, modality: str, grid: Grid, intensity: Intensity) -> list[Scan]:
    """Scans of a volume on the stored grid; none when its intensity is constant.

    Facts that do not come from the voxels (digest, acquisition, series_index) are left for the
    caller to fill in.
    """
    if volume.voxels.max() == volume.voxels.min():
        return []
    windows = windows_of(volume.voxels, modality, intensity)
    oriented = _orient(volume)
    plane = _plane(oriented.affine)
    turned = _turn(oriented, AXES_DHW[PLANES.index(plane)])
    scans = []
    for window in windows:
        grey = np.clip(
            (turned.array - window.lower) * (255.0 / (window.upper - window.lower)), 0.0, 255.0
        )
        stored = _resample(_Placed(grey.astype(np.float32), turned.affine), grid)
        scans.append(
            Scan(
                array=np.rint(stored.array).astype(np.uint8),
                modality=modality,
                plane=plane,
                window=window.name,
                window_limits=(round(window.lower, 3), round(window.upper, 3)),
                spacing_mm=_spacing(stored.affine),
                affine=_matrix(stored.affine),
                source_shape=_shape(volume.voxels),
                source_spacing_mm=_spacing(np.asarray(volume.affine)),
                source_affine=_matrix(np.asarray(volume.affine)),
            )
        )
    return scans


def _orient(volume: Volume) -> _Placed:
    image = sitk.DICOMOrient(volume.image(), "RPI")
    direction = np.asarray(image.GetDirection()).reshape(3, 3) * np.asarray(image.GetSpacing())
    affine = np.eye(4)
    affine[:3, :3] = direction[:, ::-1]  # index order (x, y, z) -> (z, y, x) of the array
    affine[:3, 3] = image.GetOrigin()
    return _Placed(sitk.GetArrayFromImage(image), affine)


def _plane(affine: np.ndarray) -> str:
    spacing = np.linalg.norm(affine[:3, :3], axis=0)
    largest = spacing.max()
    return next(
        p for p, s in zip(PLANES, spacing, strict=True) if s >= largest * (1 - SAME_SPACING)
    )


def _turn(placed: _Placed, axes: tuple[int, int, int]) -> _Placed:
    affine = placed.affine.copy()
    affine[:3, :3] = placed.affine[:3, list(axes)]
    return _Placed(np.ascontiguousarray(placed.array.transpose(axes)), affine)


def _resample(placed: _Placed, grid: Grid) -> _Placed:
    target = (grid.depth, grid.size, grid.size)
    if grid.spacing_mm is not None:
        sizes = tuple(
            max(1, int(n * have / want))
            for n, have, want in zip(
                placed.array.shape, _spacing(placed.affine), grid.spacing_mm, strict=True
            )
        )
        return _fit(
            _resize_in_plane(_resize_depth(placed, sizes[0], grid.depth_interpolation), sizes[1:]),
            target,
        )
    square = max(placed.array.shape[1:])
    placed = _fit(placed, (placed.array.shape[0], square, square))
    placed = _resize_depth(placed, grid.depth, grid.depth_interpolation)
    return _fit(_resize_in_plane(placed, (grid.resize, grid.resize)), target)


def _fit(placed: _Placed, shape: tuple[int, ...]) -> _Placed:
    """Centre-crop or zero-pad every axis to `shape`."""
    array, affine = placed.array, placed.affine.copy()
    for axis, wanted in enumerate(shape):
        have = array.shape[axis]
        start = (have - wanted) // 2
        if have >= wanted:
            array = array.take(range(start, start + wanted), axis=axis) if have > wanted else array
        else:
            before = (wanted - have) // 2
            array = np.pad(
                array, [(before, wanted - have - before) if a == axis else (0, 0) for a in range(3)]
            )
            start = -before
        affine[:3, 3] += affine[:3, axis] * start
    return _Placed(array, affine)


def _scaled(affine: np.ndarray, axis: int, scale: float) -> np.ndarray:
    """Affine after resizing an axis so that `scale` old voxels make a new one, outer edges kept."""
    result = affine.copy()
    result[:3, axis] = affine[:3, axis] * scale
    result[:3, 3] = affine[:3, 3] + affine[:3, axis] * (scale / 2 - 0.5)
    return result


def _resize_depth(placed: _Placed, count: int, how: str) -> _Placed:
    have = placed.array.shape[0]
    scale = have / count
    affine = _scaled(placed.affine, 0, scale)
    if how == "nearest":
        chosen = np.minimum(((np.arange(count) + 0.5) * scale).astype(np.int64), have - 1)
        return _Placed(placed.array[chosen], affine)
    weights = _linear_weights(have, count) if how == "linear" else _area_weights(have, count)
    return _Placed(np.tensordot(weights, placed.array, axes=1), affine)


def _linear_weights(have: int, count: int) -> np.ndarray:
    at = np.clip((np.arange(count) + 0.5) * have / count - 0.5, 0, have - 1)
    return np.maximum(0, 1 - np.abs(at[:, None] - np.arange(have)[None])).astype(np.float32)


def _area_weights(have: int, count: int) -> np.ndarray:
    """Share of every old slice in each new one (rows add up to 1); linear when there are fewer
    slices than wanted."""
    if have <= count:
        return _linear_weights(have, count)
    edges = np.arange(count + 1) * have / count
    old = np.arange(have)
    overlap = np.minimum(edges[1:, None], old + 1) - np.maximum(edges[:-1, None], old)
    return (np.maximum(overlap, 0) * count / have).astype(np.float32)


def _resize_in_plane(placed: _Placed, size: tuple[int, ...]) -> _Placed:
    """Bilinear, voxel edges kept, no anti-aliasing: what torch's `interpolate(align_corners=False)`
    does."""
    depth, height, width = placed.array.shape
    scale_y, scale_x = height / size[0], width / size[1]
    image = sitk.GetImageFromArray(placed.array)
    resampled = sitk.Resample(
        image,
        (int(size[1]), int(size[0]), depth),
        sitk.Transform(),
        sitk.sitkLinear,
        (scale_x / 2 - 0.5, scale_y / 2 - 0.5, 0.0),
        (scale_x, scale_y, 1.0),
        image.GetDirection(),
        0.0,
    )
    return _Placed(
        sitk.GetArrayFromImage(resampled), _scaled(_scaled(placed.affine, 1, scale_y), 2, scale_x)
    )


def _spacing(affine: np.ndarray) -> Vector:
    d, h, w = (round(float(v), 6) for v in np.linalg.norm(affine[:3, :3], axis=0))
    return (d, h, w)


def _shape(voxels: np.ndarray) -> tuple[int, int, int]:
    d, h, w = voxels.shape
    return (d, h, w)


def _matrix(affine: np.ndarray) -> Matrix:
    return tuple(
        (r[0], r[1], r[2], r[3])
        for r in [[round(float(v), 6) + 0.0 for v in row] for row in affine]
    )
