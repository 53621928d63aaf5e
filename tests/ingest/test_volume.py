"""From files to the stored grid: values, and where in the patient they are."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest
from dicom_files import AXIAL, CORONAL, SAGITTAL, make_series, save

from ingest.grid import to_grid
from ingest.group import group_study
from ingest.header import read_header
from ingest.pixels import read_volume
from ingest.undecodable import UndecodableError
from ingest.volume import Volume, straighten
from study.ingest_sections import Grid, Intensity, Rules, Select
from study.records import Reason, ScanPlan

NATIVE = Grid(depth=16, resize=32, size=32, depth_interpolation="linear")
MR_FULL_RANGE = Intensity(mr_percentiles=(0.0, 100.0))


def plan_of(folder: Path) -> ScanPlan:
    images = [row for path in sorted(folder.iterdir()) for row in read_header(str(path))]
    [plan] = group_study(images, Select(), Rules()).plans
    return plan


def volume_of(folder: Path) -> Volume:
    plan = plan_of(folder)
    return straighten(read_volume(plan), plan)


def position(affine: object, index: tuple[float, ...]) -> np.ndarray:
    return (np.asarray(affine) @ np.array([*index, 1.0]))[:3]


def test_rescale_is_applied_slice_by_slice(tmp_path: Path) -> None:
    series = make_series(np.full((5, 8, 8), 100, np.int16))
    for n, dataset in enumerate(series):
        dataset.RescaleSlope, dataset.RescaleIntercept = n + 1, -n
    save(series, tmp_path)
    assert volume_of(tmp_path).voxels[:, 0, 0].tolist() == [100 * (n + 1) - n for n in range(5)]


def test_ct_padding_is_air_whatever_sign_its_tag_has(tmp_path: Path) -> None:
    voxels = np.full((4, 8, 8), 40, np.int16)
    voxels[:, 0] = -2000
    series = make_series(voxels, modality="CT", RescaleSlope=1, RescaleIntercept=-24)
    for dataset in series:
        dataset.add_new(0x00280120, "US", 63536)
    save(series, tmp_path)
    found = volume_of(tmp_path).voxels
    assert found[:, 0].max() == -1024
    assert found[:, 1:].min() == 16


def test_monochrome1_is_inverted_alike_in_all_slices_of_an_mr(tmp_path: Path) -> None:
    voxels = np.arange(4 * 64, dtype=np.int16).reshape(4, 8, 8)
    save(make_series(voxels, PhotometricInterpretation="MONOCHROME1"), tmp_path)
    found = volume_of(tmp_path).voxels
    assert np.array_equal(found - found.max(), -(voxels - voxels.min()))


def test_monochrome1_leaves_hounsfield_units_alone(tmp_path: Path) -> None:
    voxels = np.arange(4 * 64, dtype=np.int16).reshape(4, 8, 8)
    save(make_series(voxels, PhotometricInterpretation="MONOCHROME1", modality="CT"), tmp_path)
    assert np.array_equal(volume_of(tmp_path).voxels, voxels)


def test_an_odd_rescale_slope_costs_one_scan(tmp_path: Path) -> None:
    from ingest.convert import convert_study
    from ingest.plan import StudyTask

    series = make_series(np.random.default_rng(0).integers(0, 99, (5, 8, 8)))
    series[2].RescaleSlope = [1, 1]
    save(series, tmp_path)
    plan = plan_of(tmp_path)
    task = StudyTask("1.2", "a" * 32, "b" * 32, "train", (plan,), ("d",))
    study, [failure] = convert_study(task, NATIVE, Intensity())
    assert study is Reason.NO_SCANS
    assert failure.reason is Reason.UNDECODABLE_PIXELS


def test_cut_pixels_are_a_rejection_not_a_crash(tmp_path: Path) -> None:
    paths = save(make_series(np.zeros((4, 8, 8))), tmp_path)
    plan = plan_of(tmp_path)
    paths[2].write_bytes(paths[2].read_bytes()[:-40])
    with pytest.raises(UndecodableError) as error:
        read_volume(plan)
    assert error.value.reason is Reason.UNDECODABLE_PIXELS


STEPS = {AXIAL: (0.0, 0.0, 3.0), CORONAL: (0.0, 3.0, 0.0), SAGITTAL: (-3.0, 0.0, 0.0)}


@pytest.mark.parametrize("orientation", [AXIAL, CORONAL, SAGITTAL])
@pytest.mark.parametrize("backwards", [False, True])
def test_a_landmark_is_where_it_was(
    tmp_path: Path, orientation: tuple[float, ...], backwards: bool
) -> None:
    """A bright voxel at a known place in the patient is there in the stored grid, to 0.05 mm."""
    voxels = np.zeros((16, 24, 32), np.int16)
    voxels[5, 9, 20] = 1000
    voxels[12, 3, 4] = 500
    step = tuple(-s if backwards else s for s in STEPS[orientation])
    start = (-20.0, 7.0, 33.0)
    series = make_series(
        voxels, step=step, position=start, orientation=orientation, spacing=(1.0, 1.0)
    )
    save(series, tmp_path)
    row, column = np.array(orientation[:3]), np.array(orientation[3:])
    truth = np.array(start) + 5 * np.array(step) + 20 * row + 9 * column
    volume = volume_of(tmp_path)
    index = np.unravel_index(volume.voxels.argmax(), volume.voxels.shape)
    assert position(volume.affine, index) == pytest.approx(truth, abs=0.001)
    [scan] = to_grid(volume, "MR", NATIVE, MR_FULL_RANGE)
    stored = np.unravel_index(scan.array.argmax(), scan.array.shape)
    assert scan.array.max() == 255
    assert position(scan.affine, stored) == pytest.approx(truth, abs=0.05)
    plane = {AXIAL: "axial", CORONAL: "coronal", SAGITTAL: "sagittal"}[orientation]
    assert scan.plane == plane


def test_stored_axes_run_as_rpi(tmp_path: Path) -> None:
    save(make_series(np.random.default_rng(0).integers(0, 99, (12, 16, 16))), tmp_path)
    [scan] = to_grid(volume_of(tmp_path), "MR", NATIVE, Intensity())
    axes = np.asarray(scan.affine)[:3, :3]
    assert axes[2, 0] < 0  # D to the feet
    assert axes[1, 1] > 0  # H to the back
    assert axes[0, 2] < 0  # W to the patient's right


def test_largest_spacing_is_depth_and_ties_are_axial(tmp_path: Path) -> None:
    save(make_series(np.ones((6, 8, 8)) * np.arange(8), step=(0, 0, 1.0)), tmp_path)
    [scan] = to_grid(volume_of(tmp_path), "MR", NATIVE, Intensity())
    assert scan.plane == "axial"


def test_ct_gives_a_scan_a_window(tmp_path: Path) -> None:
    voxels = np.tile(np.arange(-1000, 1048, 64, dtype=np.int16), (4, 32, 1))
    save(make_series(voxels, modality="CT"), tmp_path)
    scans = to_grid(volume_of(tmp_path), "CT", NATIVE, Intensity())
    assert [s.window for s in scans] == ["blood", "bone", "brain"]
    assert [s.window_limits for s in scans] == [(-20, 180), (-800, 2000), (0, 80)]
    brain = scans[2].array[8, 16][::-1]  # from the patient's right, as acquired
    assert (
        brain.tolist() == np.rint(np.clip(voxels[0, 0].astype(float) * 255 / 80, 0, 255)).tolist()
    )


def test_constant_intensity_gives_no_scan(tmp_path: Path) -> None:
    save(make_series(np.full((5, 8, 8), 7)), tmp_path)
    assert to_grid(volume_of(tmp_path), "MR", NATIVE, Intensity()) == []


@pytest.mark.parametrize("how", ["nearest", "linear", "area"])
def test_depth_choices_keep_a_constant(tmp_path: Path, how: str) -> None:
    voxels = np.tile(np.arange(16, dtype=np.int16) * 10, (20, 16, 1))
    save(make_series(voxels), tmp_path)
    grid = Grid(depth=6, resize=16, size=16, depth_interpolation=how)
    [scan] = to_grid(volume_of(tmp_path), "MR", grid, MR_FULL_RANGE)
    assert np.ptp(scan.array, axis=0).max() <= 1


def test_area_ignores_no_slice(tmp_path: Path) -> None:
    voxels = np.zeros((24, 16, 16), np.int16)
    voxels[0, 0, 0] = 2400
    voxels[12] = 240
    save(make_series(voxels), tmp_path)
    volume = volume_of(tmp_path)
    window = Intensity(mr_percentiles=(0.0, 100.0))
    seen = {}
    for how in ("nearest", "area"):
        grid = Grid(depth=6, resize=16, size=16, depth_interpolation=how)
        [scan] = to_grid(volume, "MR", grid, window)
        seen[how] = int(scan.array[:, 8, 8].max())
    assert seen == {"nearest": 0, "area": round(240 / 2400 * 255 / 4)}


def test_fixed_spacing_crops_and_pads(tmp_path: Path) -> None:
    save(
        make_series(np.random.default_rng(0).integers(0, 99, (20, 30, 30)), step=(0, 0, 1.5)),
        tmp_path,
    )
    grid = Grid(
        depth=12, resize=20, size=20, spacing_mm=(3.0, 1.0, 1.0), depth_interpolation="linear"
    )
    [scan] = to_grid(volume_of(tmp_path), "MR", grid, Intensity())
    assert scan.array.shape == (12, 20, 20)
    assert scan.spacing_mm == pytest.approx((3, 1, 1), abs=1e-4)
    assert (
        scan.array[0].max() == 0
    )  # 20 slices of 1.5 mm are 10 of 3 mm: one of padding at each end
    assert scan.array[1].max() > 0
