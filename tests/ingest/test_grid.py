"""The stored grid: HLIP's, held against torch and SimpleITK doing the same step by step."""

from __future__ import annotations

import tracemalloc

import numpy as np
import pytest
import SimpleITK as sitk
import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from torch.nn.functional import interpolate, pad

from ingest.grid import to_grid
from ingest.volume import Volume
from study.ingest_sections import Grid, Intensity
from study.records import Matrix

FULL_RANGE = Intensity(mr_percentiles=(0.0, 100.0))
RPI: Matrix = (
    (0.0, 0.0, -1.0, 40.0),
    (0.0, 1.0, 0.0, -30.0),
    (-2.0, 0.0, 0.0, 90.0),
    (0.0, 0.0, 0.0, 1.0),
)
"""(slice, row, column) -> LPS of a volume that is R-P-I already, 2 mm apart."""
CHEST = Grid(
    depth=12,
    resize=24,
    size=24,
    spacing_mm=(3.0, 1.0, 1.0),
    depth_interpolation="linear",
    dtype="float16",
)


def noise(shape: tuple[int, ...], seed: int = 0) -> np.ndarray:
    return np.random.default_rng(seed).integers(-1000, 1000, shape).astype(np.int16)


@settings(max_examples=50)
@given(
    shape=st.tuples(*[st.integers(2, 40)] * 3),
    depth=st.integers(1, 30),
    resize=st.integers(4, 40),
    cut=st.integers(0, 3),
    nearest=st.booleans(),
)
def test_heads_are_as_torch_makes_them(
    shape: tuple[int, int, int], depth: int, resize: int, cut: int, nearest: bool
) -> None:
    """Clip at the percentiles, scale, pad to a square, resize, choose slices, crop, as HLIP."""
    voxels = noise(shape)
    size = resize - cut
    how = "nearest" if nearest else "linear"
    grid = Grid(depth=depth, resize=resize, size=size, depth_interpolation=how, dtype="uint16")
    [scan] = to_grid(Volume(voxels, RPI), "MR", grid, Intensity())
    lower, upper = np.percentile(voxels.astype(np.float64), (0.5, 99.5))
    grey = (np.clip(voxels, lower, upper) - lower) / (upper - lower)
    _, height, width = shape
    square = max(height, width)
    top, left = (square - height) // 2, (square - width) // 2
    padded = pad(
        torch.from_numpy(grey)[None], (left, square - width - left, top, square - height - top)
    )
    resized = interpolate(padded, size=(resize, resize), mode="bilinear")[None]
    if nearest:
        resized = resized.float()  # as HLIP's: where a choice is midway, the dtype decides
    mode = "nearest-exact" if nearest else "trilinear"
    resized = interpolate(resized, size=(depth, resize, resize), mode=mode)[0, 0]
    start = (resize - size) // 2
    wanted = resized[:, start : start + size, start : start + size].numpy() * 65535
    assert np.abs(scan.array - wanted).max() < 0.6


@settings(max_examples=50)
@given(shape=st.tuples(st.integers(4, 40), st.integers(20, 40), st.integers(20, 40)))
def test_chests_are_as_torch_makes_them(shape: tuple[int, int, int]) -> None:
    """Trilinear in HU to 3 x 1 x 1 mm, floor sizes, then the window, then padding: HLIP's order."""
    voxels = noise(shape)
    spacing = np.array([1.25, 0.8, 0.7])
    affine = np.asarray(RPI).copy()
    affine[:3, :3] *= spacing / [2, 1, 1]
    volume = Volume(voxels, tuple(map(tuple, affine.tolist())))
    windows = Intensity(ct_windows={"chest": (-400.0, 1500.0)})
    [scan] = to_grid(volume, "CT", CHEST, windows)
    sizes = [max(1, int(n * s / w)) for n, s, w in zip(shape, spacing, (3, 1, 1), strict=True)]
    hu = torch.from_numpy(voxels.astype(np.float32))[None, None]
    resampled = interpolate(hu, size=sizes, mode="trilinear")[0, 0].numpy()
    grey = (np.clip(resampled, -1150, 350) + 1150) / 1500
    for axis, want in enumerate((12, 24, 24)):
        have = grey.shape[axis]
        if have > want:
            grey = grey.take(range((have - want) // 2, (have - want) // 2 + want), axis)
        before = max(0, (want - grey.shape[axis]) // 2)
        around = [(0, 0)] * 3
        around[axis] = (before, want - grey.shape[axis] - before)
        grey = np.pad(grey, around)
    np.testing.assert_allclose(scan.array, grey, atol=1e-3)
    assert scan.spacing_mm == pytest.approx(np.array(shape) * spacing / sizes, abs=1e-5)


def test_a_size_is_not_cut_by_a_rounding_error() -> None:
    """90 slices of 0.7 mm are 21 of 3 mm, though 90 * 0.7 / 3 is less in floating point."""
    assert int(90 * 0.7 / 3) == 20
    affine = np.asarray(RPI) * [0.35, 1, 1, 1]
    volume = Volume(noise((90, 24, 24)), tuple(map(tuple, affine.tolist())))
    [scan] = to_grid(volume, "MR", CHEST, FULL_RANGE)
    assert scan.spacing_mm == pytest.approx((3, 1, 1))


def test_what_straightening_added_sets_no_limits() -> None:
    voxels = noise((9, 20, 20))
    around = np.full((9, 60, 20), voxels.min())
    around[:, 20:40] = voxels
    [alone] = to_grid(Volume(voxels, RPI), "MR", Grid(), Intensity())
    [inside] = to_grid(Volume(around, RPI, filled=9 * 40 * 20), "MR", Grid(), Intensity())
    assert inside.window_limits == alone.window_limits


def random_affine(seed: int) -> np.ndarray:
    rng = np.random.default_rng(seed)
    turn, _ = np.linalg.qr(rng.normal(size=(3, 3)))  # either handedness
    if seed % 3 == 0:
        turn = np.eye(3)[rng.permutation(3)] * rng.choice([-1, 1], 3)
    if seed % 3 == 1:  # 45 degrees: ties between axes
        turn = turn.round() @ np.array(
            [[0.5**0.5, -(0.5**0.5), 0], [0.5**0.5, 0.5**0.5, 0], [0, 0, 1]]
        )
        if abs(np.linalg.det(turn)) < 0.5:
            turn = np.eye(3)
    affine = np.eye(4)
    affine[:3, :3] = turn * rng.uniform(0.5, 3, 3)
    affine[:3, 3] = rng.uniform(-100, 100, 3)
    return affine


@settings(max_examples=50)
@given(seed=st.integers(0, 10**6))
def test_axes_turn_as_itk_turns_them(seed: int) -> None:
    affine = random_affine(seed)
    volume = Volume(noise((5, 6, 7), seed), tuple(map(tuple, affine.tolist())))
    oriented = sitk.DICOMOrient(volume.image(), "RPI")
    wanted = sitk.GetArrayFromImage(oriented)
    spacing = np.array(oriented.GetSpacing())[::-1]
    plane = next(n for n in range(3) if spacing[n] > spacing.max() * 0.999)
    axes = ((0, 1, 2), (1, 0, 2), (2, 0, 1))[plane]
    wanted = wanted.transpose(axes)
    square = max(wanted.shape[1:])
    grid = Grid(depth=wanted.shape[0], resize=square, size=square, dtype="uint16")
    [scan] = to_grid(volume, "MR", grid, FULL_RANGE)
    assert scan.plane == ("axial", "coronal", "sagittal")[plane]
    values = np.rint(scan.array / 65535 * np.ptp(wanted.astype(int)) + wanted.min())
    top, left = ((square - n) // 2 for n in wanted.shape[1:])
    inner = values[:, top : top + wanted.shape[1], left : left + wanted.shape[2]]
    assert np.array_equal(inner, wanted)
    for index in ((0, 0, 0), (1, 2, 3)):
        x_y_z = np.zeros(3, int)
        x_y_z[[2 - a for a in axes]] = index
        stored = np.asarray(scan.affine) @ [index[0], index[1] + top, index[2] + left, 1]
        expected = oriented.TransformIndexToPhysicalPoint([int(i) for i in x_y_z])
        np.testing.assert_allclose(stored[:3], expected, atol=1e-4)


def test_native_axes_are_kept_where_the_settings_say_so() -> None:
    """CT-RATE: D is the slice axis as the file has it, head last, whatever the spacings."""
    voxels = noise((6, 8, 8))
    lps = ((0.0, 0.0, 2.0, 0.0), (0.0, 2.0, 0.0, 0.0), (0.5, 0.0, 0.0, 0.0), (0.0, 0.0, 0.0, 1.0))
    grid = Grid(depth=6, resize=8, size=8, reorient=False, dtype="uint16")
    [scan] = to_grid(Volume(voxels, lps), "MR", grid, FULL_RANGE)
    assert scan.plane == "axial"
    assert scan.affine == lps
    values = scan.array / 65535 * np.ptp(voxels.astype(int)) + voxels.min()
    assert np.array_equal(np.rint(values), voxels)


def test_chests_are_axial_though_their_slices_are_thin() -> None:
    thin = np.asarray(RPI).copy()
    thin[:3, 0] /= 4
    [scan] = to_grid(
        Volume(noise((60, 24, 24)), tuple(map(tuple, thin.tolist()))), "MR", CHEST, FULL_RANGE
    )
    assert scan.plane == "axial"
    assert scan.spacing_mm == pytest.approx((3, 1, 1))


@pytest.mark.parametrize(("dtype", "top"), [("uint8", 255), ("uint16", 65535), ("float16", 1)])
def test_dtypes_hold_the_same_window(dtype: str, top: float) -> None:
    voxels = np.linspace(0, 1000, 8 * 16 * 16).reshape(8, 16, 16).astype(np.float32)
    grid = Grid(depth=8, resize=16, size=16, dtype=dtype)
    [scan] = to_grid(Volume(voxels, RPI), "MR", grid, FULL_RANGE)
    assert scan.array.dtype == dtype
    wanted = voxels / 1000 * top
    assert np.abs(scan.array.astype(np.float64) - wanted).max() <= (0.5005 if top > 1 else 3e-4)


def test_in_plane_area_sees_every_voxel() -> None:
    voxels = np.zeros((4, 64, 64), np.int16)
    voxels[:, 35, 20] = 1600
    seen = {}
    for how in ("linear", "area"):
        grid = Grid(depth=4, resize=16, size=16, in_plane_interpolation=how, dtype="uint16")
        [scan] = to_grid(Volume(voxels, RPI), "MR", grid, FULL_RANGE)
        seen[how] = scan.array[0].sum() / 65535
    assert seen == {"linear": 0, "area": pytest.approx(1 / 16, rel=1e-3)}


@pytest.mark.parametrize("dtype", ["u1", "i2", "u2", "i4", "f4", "f8"])
def test_any_real_dtype_gives_the_same_scan(dtype: str) -> None:
    voxels = np.random.default_rng(0).integers(0, 120, (9, 20, 20))
    grid = Grid(depth=6, resize=24, size=20, depth_interpolation="area")
    [scan] = to_grid(Volume(voxels.astype(dtype), RPI), "MR", grid, Intensity())
    [other] = to_grid(Volume(voxels.astype(np.float32), RPI), "MR", grid, Intensity())
    differ = np.abs(scan.array.astype(int) - other.array)
    assert differ.max() <= 1  # midway between two grey levels, float32 and float64 may part
    assert differ.mean() < 0.01


def test_what_is_no_number_is_dark_and_spreads_nowhere() -> None:
    voxels = np.random.default_rng(0).uniform(50, 100, (9, 20, 20)).astype(np.float32)
    voxels[:, :4] = np.nan
    voxels[3, 10, 10] = np.inf
    grid = Grid(depth=9, resize=20, size=20, depth_interpolation="linear")
    [scan] = to_grid(Volume(voxels, RPI), "MR", grid, Intensity())
    voxels[~np.isfinite(voxels)] = np.nanmin(voxels)
    [clean] = to_grid(Volume(voxels, RPI), "MR", grid, Intensity())
    assert np.array_equal(scan.array, clean.array)
    assert scan.array[:, :4].max() == 0


@pytest.mark.parametrize("how", ["nearest", "area"])
def test_nothing_of_the_size_of_a_volume_is_allocated(how: str) -> None:
    voxels = noise((300, 128, 128))
    grid = Grid(depth=12, resize=32, size=28, depth_interpolation=how)
    tracemalloc.start()
    assert len(to_grid(Volume(voxels, RPI), "CT", grid, Intensity())) == 3
    _, peak = tracemalloc.get_traced_memory()
    tracemalloc.stop()
    assert peak < voxels.nbytes / 5
