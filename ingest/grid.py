"""A volume in patient space -> the array that the model sees, on HLIP's grid.

In: a `Volume` and the settings. Out: `Scan`s, (D, H, W), one per intensity window, with the affine
of the stored grid. Steps, as HLIP prepares its data: orient to R-P-I (as DICOMOrientImageFilter
names it: columns run to the patient's right, rows to the back, slices to the feet), make the axis
of largest spacing D (axial on a tie), take limits from all native voxels, pad in plane to a square,
resize (bilinear in plane, D by `depth_interpolation`), crop the centre, round last.
The one idea: every axis is resampled on its own, so that all of padding, resizing and cropping is a
few taps (old index, weight) for each new index (see `ingest.taps`). A stored slice is made straight
from the native slices that it needs: nothing is ever allocated of a volume's size, which may be
more than memory.
"""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
import SimpleITK as sitk

from ingest.intensity import Window, as_numbers, value_range, windows_of
from ingest.slices import Slices
from ingest.taps import Taps, fitted
from ingest.turned import Turned
from ingest.volume import Volume
from study.ingest_sections import Grid, Intensity
from study.records import Matrix, Scan, Vector

SAME_SPACING = 1e-3
"""Relative: axes whose spacing differs by less are a tie, and a tie is axial."""
PLANES = ("axial", "coronal", "sagittal")
ALONG = ("IS", "AP", "RL")
"""For each plane, the letters of the two directions that its slices may follow each other in."""
STORED = ("I", "P", "R")
"""Letters of D, H, W of an R-P-I array seen as axial slices."""
AXES_DHW = ((0, 1, 2), (1, 0, 2), (2, 0, 1))
"""For each plane, which axes of the oriented (z, y, x) array become D, H, W."""
BRIGHTEST = {"uint8": 255.0, "uint16": 65535.0, "float16": 1.0}
"""Stored value of a window's upper limit, by dtype; the lower one is 0."""
FLOOR_SLACK = 1e-6
"""A size this little below a whole number is that number, and not cut by rounding errors."""


@dataclass(frozen=True)
class _Placed:
    """The native voxels, axes turned, and the affine of their index."""

    voxels: Turned
    affine: np.ndarray
    plane: str


def to_grid(volume: Volume, modality: str, grid: Grid, intensity: Intensity) -> list[Scan]:
    """Scans of a volume on the stored grid; none when its intensity is constant.

    Voxels that are no number count as the darkest. Facts that do not come from the voxels (digest,
    acquisition, series_index) are left for the caller to fill in. Peak memory beside the volume:
    the scans, a few slices, and `ingest.turned.BLOCK_BYTES` where D is not the axis of slices.
    """
    ends = volume.ends or value_range(volume.voxels)
    windows = windows_of(volume.voxels, modality, intensity, volume.filled, ends)
    if not windows:
        return []
    turned = _turn(volume, grid)
    axes = _axes(turned, grid)
    arrays = _resample(turned.voxels, axes, windows, grid, ends[0])
    native = np.asarray(volume.affine)
    affine = turned.affine.copy()
    for axis, taps in enumerate(axes):
        affine[:3, 3] += turned.affine[:3, axis] * taps.start
        affine[:3, axis] *= taps.step
    return [
        Scan(
            array=array,
            modality=modality,
            plane=turned.plane,
            window=window.name,
            window_limits=window.limits,
            spacing_mm=_spacing(affine),
            affine=_matrix(affine),
            source_shape=_shape(volume.voxels),
            source_spacing_mm=_spacing(native),
            source_affine=_matrix(native),
        )
        for window, array in zip(windows, arrays, strict=True)
    ]


def _turn(volume: Volume, grid: Grid) -> _Placed:
    """Turn the axes to D, H, W."""
    native = np.asarray(volume.affine)
    directions = native[:3, :3] / np.linalg.norm(native[:3, :3], axis=0)
    letters = sitk.DICOMOrientImageFilter.GetOrientationFromDirectionCosines(
        [float(v) for v in directions[:, ::-1].ravel()]
    )[::-1]  # of the axes (slice, row, column): where each runs to
    if not grid.reorient:
        plane = next(p for p, pair in zip(PLANES, ALONG, strict=True) if letters[0] in pair)
        return _Placed(Turned(volume.voxels, (0, 1, 2), (False, False, False)), native, plane)
    order = [next(n for n, c in enumerate(letters) if c in pair) for pair in ALONG]
    plane = (
        "axial" if grid.spacing_mm is not None else _coarsest(np.asarray(volume.spacing_mm)[order])
    )
    d, h, w = (order[n] for n in AXES_DHW[PLANES.index(plane)])
    affine = native.copy()
    affine[:3, :3] = native[:3, (d, h, w)]
    flipped = [letters[source] not in STORED for source in (d, h, w)]
    voxels = Turned(volume.voxels, (d, h, w), (flipped[0], flipped[1], flipped[2]))
    for axis in np.flatnonzero(flipped):
        affine[:3, 3] += affine[:3, axis] * (voxels.shape[axis] - 1)
        affine[:3, axis] *= -1
    return _Placed(voxels, affine, plane)


def _coarsest(spacing_mm: np.ndarray) -> str:
    """The plane across the axis of largest spacing, of axes (z, y, x)."""
    limit = spacing_mm.max() * (1 - SAME_SPACING)
    return next(p for p, s in zip(PLANES, spacing_mm, strict=True) if s >= limit)


def _axes(turned: _Placed, grid: Grid) -> tuple[Taps, Taps, Taps]:
    """How D, H and W are resampled."""
    have = turned.voxels.shape
    kept = (grid.depth, grid.size, grid.size)
    hows = (grid.depth_interpolation, grid.in_plane_interpolation, grid.in_plane_interpolation)
    if grid.spacing_mm is not None:
        wanted = zip(have, _spacing(turned.affine), grid.spacing_mm, strict=True)
        sizes = [max(1, int(n * old / new + FLOOR_SLACK)) for n, old, new in wanted]
        padded: tuple[int, ...] = have
    else:
        sizes = [grid.depth, grid.resize, grid.resize]
        padded = (have[0], *(max(have[1:]),) * 2)
    d, h, w = (fitted(*axis) for axis in zip(have, padded, sizes, kept, hows, strict=True))
    return d, h, w


def _resample(
    voxels: Turned,
    axes: tuple[Taps, Taps, Taps],
    windows: list[Window],
    grid: Grid,
    darkest: float,
) -> list[np.ndarray]:
    """One array (D, H, W) for each window; `darkest` is the value of voxels that are no number.

    Heads are windowed before they are resized, padding being the window's 0; with a fixed spacing
    HU are resampled and windowed after, as HLIP does for chests.
    """
    first = grid.spacing_mm is None
    top = BRIGHTEST[grid.dtype]
    depth, rows, columns = axes
    outside = ~(rows.inside[:, None] & columns.inside[None])
    result = [np.zeros([len(taps.index) for taps in axes], grid.dtype) for _ in windows]
    wanted = [(number, taps) for number, taps in enumerate(depth) if taps]
    planes = voxels.planes([[index for index, _ in taps] for _, taps in wanted])
    for (number, taps), natives in zip(wanted, planes, strict=True):
        mixed: list[np.ndarray] = []
        for (_, weight), native in zip(taps, natives, strict=True):
            values = as_numbers(native, darkest)
            layers = [w.grey(values, top) for w in windows] if first else [values]
            for layer in layers:
                layer *= layer.dtype.type(weight)
            mixed = [m + x for m, x in zip(mixed, layers, strict=True)] if mixed else layers
        for array, window, n in zip(result, windows, range(len(windows)), strict=True):
            values = columns.apply(rows.apply(mixed[n if first else 0], 0), 1)
            grey = values if first else window.grey(values, top)
            grey[outside] = 0
            array[number] = np.rint(grey) if array.dtype.kind == "u" else grey
    return result


def _spacing(affine: np.ndarray) -> Vector:
    d, h, w = (round(float(v), 6) for v in np.linalg.norm(affine[:3, :3], axis=0))
    return (d, h, w)


def _shape(voxels: Slices) -> tuple[int, int, int]:
    d, h, w = voxels.shape
    return (d, h, w)


def _matrix(affine: np.ndarray) -> Matrix:
    return tuple(
        (r[0], r[1], r[2], r[3])
        for r in [[round(float(v), 6) + 0.0 for v in row] for row in affine]
    )
