"""NIfTI and .npz volumes slice by slice: the same as whole, in the memory of a slice."""

from __future__ import annotations

import tracemalloc
from pathlib import Path

import nibabel
import numpy as np
import pytest
from volumes import plan_of

from ingest import pixels
from ingest.place import Place
from ingest.spooled import Spooled
from ingest.undecodable import UndecodableError
from ingest.volume_slices import each_slice
from study.records import Reason, ScanPlan, Slice

SHAPE = (7, 5, 4)
"""Slices, rows, columns."""


def noise(dtype: str, most: int = 30000) -> np.ndarray:
    low = 0 if "u" in dtype else -most
    return np.random.default_rng(0).integers(low, most, SHAPE).astype(dtype)


def plan(path: Path, file_format: str, frame: int = 0) -> ScanPlan:
    tiles = range(SHAPE[0] - 1, -1, -1)
    slices = [Slice(str(path), frame, tile, file_format=file_format) for tile in tiles]
    return plan_of(slices, SHAPE[1:])


def nifti_file(path: Path, voxels: np.ndarray, scale: tuple[float, float] | None = None) -> Path:
    """Two volumes, `voxels` as the second one."""
    both = np.stack([np.zeros_like(voxels), voxels]).transpose(3, 2, 1, 0)
    image = nibabel.Nifti1Image(both, np.eye(4), dtype=voxels.dtype)
    if scale:
        image.header.set_slope_inter(*scale)
        image = nibabel.Nifti1Image(both * scale[0] + scale[1], np.eye(4), image.header)
    nibabel.save(image, path)
    return path


def assert_same(found: ScanPlan, monkeypatch: pytest.MonkeyPatch) -> None:
    whole = pixels.read_volume(found)
    monkeypatch.setattr(pixels, "SMALL_VOXELS", 0)
    spooled = pixels.read_slices(found)
    assert isinstance(spooled, Spooled)
    assert spooled.dtype == whole.dtype
    np.testing.assert_array_equal(list(spooled), whole)


@pytest.mark.parametrize("suffix", [".nii", ".nii.gz"])
@pytest.mark.parametrize("dtype", ["u1", "i2", "u2", "i4", "u4", "f4", "f8"])
def test_nifti_is_the_same(
    tmp_path: Path, dtype: str, suffix: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    voxels = noise(dtype, 200 if dtype == "u1" else 30000)
    if dtype in ("u2", "u4"):
        voxels[3, 2, 1] = np.iinfo(dtype).max  # one slice needs a wider type
    file = nifti_file(tmp_path / f"a{suffix}", voxels)
    assert_same(plan(file, "nifti", 1), monkeypatch)


def test_scaled_nifti_is_the_same(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    file = nifti_file(tmp_path / "a.nii.gz", noise("i2", 900), (0.5, -1024))
    found = plan(file, "nifti", 1)
    assert pixels.read_volume(found).dtype == np.float32
    assert_same(found, monkeypatch)


def test_values_that_are_no_number_are_filled_from_the_whole_volume(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    voxels = noise("f4")
    voxels[0, 0, :3] = np.nan, np.inf, -np.inf
    voxels[5] = np.nan
    assert_same(plan(nifti_file(tmp_path / "a.nii", voxels), "nifti", 1), monkeypatch)
    none = plan(nifti_file(tmp_path / "b.nii", np.full_like(voxels, np.nan)), "nifti", 1)
    with pytest.raises(UndecodableError, match="no finite voxel"):
        pixels.read_slices(none)


@pytest.mark.parametrize("order", ["C", "F"])
@pytest.mark.parametrize("dtype", ["?", "i2", ">i4", "f2", "f8"])
def test_npz_is_the_same(
    tmp_path: Path, dtype: str, order: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    voxels = np.asarray(noise("i2") > 0 if dtype == "?" else noise(dtype), order=order)  # type: ignore[call-overload]
    np.savez_compressed(tmp_path / "a.npz", ct=voxels)
    assert_same(plan(tmp_path / "a.npz", "npz"), monkeypatch)


@pytest.mark.parametrize("suffix", [".nii", ".nii.gz"])
def test_what_is_cut_off_is_truncated(
    tmp_path: Path, suffix: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    file = nifti_file(tmp_path / f"a{suffix}", noise("i2"))
    file.write_bytes(file.read_bytes()[:-60])
    found = plan(file, "nifti", 1)
    reasons = []
    for read in (pixels.read_volume, pixels.read_slices):
        with pytest.raises(UndecodableError) as caught:
            read(found)
        reasons.append((caught.value.reason, caught.value.detail))
        monkeypatch.setattr(pixels, "SMALL_VOXELS", 0)
    assert reasons[0] == reasons[1]
    assert reasons[0][0] is Reason.TRUNCATED


def test_slices_that_are_not_there_are_damage(tmp_path: Path) -> None:
    file = nifti_file(tmp_path / "a.nii", noise("i2"))
    more = plan_of([Slice(str(file), 1, SHAPE[0], file_format="nifti")], SHAPE[1:])
    other = plan_of([Slice(str(file), 1, 0, file_format="nifti")], (9, 9))
    for wrong in (more, other):
        with pytest.raises(UndecodableError) as caught:
            pixels._read(wrong, "air", Spooled((1, wrong.rows, wrong.columns)))
        assert caught.value.reason is Reason.UNDECODABLE_PIXELS


@pytest.mark.parametrize("suffix", [".nii", ".nii.gz"])
def test_a_slice_is_all_that_is_held(tmp_path: Path, suffix: str) -> None:
    voxels = np.zeros((256, 128, 128), np.int16)
    file = nifti_file(tmp_path / f"a{suffix}", voxels)
    tracemalloc.start()
    assert sum(1 for _ in each_slice(Place(str(file)), "nifti", 1)) == 256
    _, peak = tracemalloc.get_traced_memory()
    tracemalloc.stop()
    assert peak < voxels.nbytes / 2
