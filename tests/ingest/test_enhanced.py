"""Objects of many slices: enhanced and legacy converted files, Siemens mosaics, United Imaging
grids."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import numpy as np
import pytest
from dicom_files import CORONAL, make_slice, save
from enhanced_files import enhanced, item, mosaic, uih_grid
from pydicom.dataset import Dataset
from pydicom.sequence import Sequence as Items

from ingest.geometry import native_affine
from ingest.group import Grouping, group_study
from ingest.header import read_header
from ingest.pixels import read_volume
from study.ingest_sections import Rules, Select
from study.records import Instance, Reason, ScanPlan

RNG = np.random.default_rng(1)
ALL = Rules(max_volumes_per_series=1000)


def grouped(datasets: list[Dataset], folder: Path) -> tuple[Grouping, list[Instance]]:
    rows = [row for file in save(datasets, folder) for row in read_header(str(file))]
    return group_study(rows, Select(), ALL), rows


def stack(count: int, gap: float = 2.5) -> list[tuple[float, float, float]]:
    return [(0.0, 0.0, gap * n) for n in range(count)]


def voxels(*shape: int) -> np.ndarray:
    return RNG.integers(0, 1000, shape, dtype=np.int16)


@pytest.mark.parametrize("shared", [True, False])
@pytest.mark.parametrize("modality", ["MR", "CT"])
def test_macros_in_either_place(shared: bool, modality: str, tmp_path: Path) -> None:
    data = voxels(6, 4, 5)
    order = [3, 0, 5, 1, 4, 2]
    ds = enhanced(
        data[order], [stack(6)[n] for n in order], shared_geometry=shared, modality=modality
    )
    grouping, _ = grouped([ds], tmp_path)
    [plan] = grouping.plans
    np.testing.assert_array_equal(read_volume(plan, "keep"), data)
    assert plan.slice_spacing_mm == pytest.approx(2.5)


def test_times_and_echoes_in_one_file(tmp_path: Path) -> None:
    data = voxels(2 * 3 * 5, 4, 4)
    facts, places = [], []
    for time in range(2):
        for echo in range(3):
            for n in range(5):
                facts.append(
                    {
                        "MREchoSequence": item(EffectiveEchoTime=10.0 * (echo + 1)),
                        "FrameContentSequence": item(TemporalPositionIndex=time + 1),
                    }
                )
                places.append(stack(5)[n])
    grouping, _ = grouped([enhanced(data, places, facts)], tmp_path)
    assert len(grouping.plans) == 6
    assert {p.split_by for p in grouping.plans} == {"echo_time_ms, temporal_position"}
    found = sorted(read_volume(p, "keep").tobytes() for p in grouping.plans)
    assert found == sorted(data[5 * n : 5 * n + 5].tobytes() for n in range(6))


def test_magnitude_and_phase_frames(tmp_path: Path) -> None:
    """Phase frames are rejected one by one; the magnitude is a volume."""
    frames = [
        {"MRImageFrameTypeSequence": item(FrameType=kind, ComplexImageComponent=component)}
        for kind, component in (
            (["ORIGINAL", "PRIMARY", "M_FFE", "M"], "MAGNITUDE"),
            (["ORIGINAL", "PRIMARY", "PHASE MAP", "P"], "PHASE"),
        )
        for _ in range(5)
    ]
    grouping, _ = grouped([enhanced(voxels(10, 4, 4), stack(5) * 2, frames)], tmp_path)
    assert [len(p.slices) for p in grouping.plans] == [5]
    assert [r.reason for r in grouping.rows if r.reason] == [Reason.PHASE_MAP] * 5


def test_rescale_of_every_frame(tmp_path: Path) -> None:
    frames = [
        {"PixelValueTransformationSequence": item(RescaleSlope=float(n + 1), RescaleIntercept=-n)}
        for n in range(5)
    ]
    data = voxels(5, 4, 4)
    grouping, _ = grouped([enhanced(data, stack(5), frames)], tmp_path)
    want = data * np.arange(1.0, 6.0)[:, None, None] - np.arange(5.0)[:, None, None]
    np.testing.assert_allclose(read_volume(grouping.plans[0], "keep"), want)


def test_three_stacks_of_one_place_are_one_volume(tmp_path: Path) -> None:
    """Stack numbers are not believed where positions make one even volume (dcm2niix#839)."""
    frames = [
        {"FrameContentSequence": item(StackID=str(n // 3), InStackPositionNumber=n % 3 + 1)}
        for n in range(9)
    ]
    grouping, _ = grouped([enhanced(voxels(9, 4, 4), stack(9), frames)], tmp_path)
    assert [len(p.slices) for p in grouping.plans] == [9]


def test_a_localizer_of_three_planes_in_one_file(tmp_path: Path) -> None:
    planes = [(1.0, 0, 0, 0, 1.0, 0), CORONAL, (0.0, 1.0, 0, 0, 0, -1.0)]
    frames = [
        {"PlaneOrientationSequence": item(ImageOrientationPatient=list(plane))}
        for plane in planes
        for _ in range(3)
    ]
    places = [
        (9.0 * k * (n == 2), 9.0 * k * (n == 1), 9.0 * k * (n == 0))
        for n in range(3)
        for k in range(3)
    ]
    grouping, _ = grouped([enhanced(voxels(9, 4, 4), places, frames)], tmp_path)
    assert {r.reason for r in grouping.rows} == {Reason.LOCALIZER}


def test_legacy_converted_enhanced(tmp_path: Path) -> None:
    """Old images packed into one object: their tags are in converted attributes, and there are no
    dimensions (D. Clunie in dcm2niix#372)."""
    frames: list[dict[str, Any]] = []
    for echo in range(2):
        for n in range(5):
            converted = item(EchoTime=20.0 + 60.0 * echo, InstanceNumber=5 * echo + n + 1)
            frames.append({"UnassignedPerFrameConvertedAttributesSequence": converted})
    data = voxels(10, 4, 4)
    ds = enhanced(data, stack(5) * 2, frames, legacy=True, shared_geometry=False)
    grouping, rows = grouped([ds], tmp_path)
    assert {i.echo_time_ms for i in rows} == {20.0, 80.0}
    assert [len(p.slices) for p in grouping.plans] == [5, 5]
    np.testing.assert_array_equal(read_volume(grouping.plans[0], "keep"), data[:5])


def test_one_file_a_time_point(tmp_path: Path) -> None:
    data = voxels(3, 6, 4, 4)
    files = [enhanced(v, stack(6), InstanceNumber=n + 1) for n, v in enumerate(data)]
    grouping, _ = grouped(files, tmp_path)
    assert [len(p.slices) for p in grouping.plans] == [6, 6, 6]
    for n, plan in enumerate(grouping.plans):
        np.testing.assert_array_equal(read_volume(plan, "keep"), data[n])


def place_of(plan: ScanPlan, index: tuple[int, int, int]) -> np.ndarray:
    return (np.asarray(native_affine(plan)) @ [*index, 1.0])[:3]


@pytest.mark.parametrize("downwards", [False, True])
@pytest.mark.parametrize("orientation", [(1.0, 0, 0, 0, 1.0, 0), CORONAL])
def test_siemens_mosaic(downwards: bool, orientation: tuple[float, ...], tmp_path: Path) -> None:
    """Tiles follow the CSA header's normal, also against row x column (H >> F)."""
    row, column = np.array(orientation[:3]), np.array(orientation[3:])
    normal = np.cross(row, column) * (-1.0 if downwards else 1.0)
    data = voxels(7, 4, 4)
    first = np.array([-20.0, 11.0, 5.0])
    ds = mosaic(
        data,
        first=tuple(first),
        normal=tuple(normal),
        gap=3.0,
        spacing=2.0,
        orientation=orientation,
    )
    grouping, _ = grouped([ds], tmp_path)
    [plan] = grouping.plans
    stored = read_volume(plan, "keep")
    for tile in range(7):
        [at] = np.flatnonzero([(s == data[tile]).all() for s in stored])
        want = first + 3.0 * tile * normal + 2.0 * 1 * column + 2.0 * 3 * row
        np.testing.assert_allclose(place_of(plan, (int(at), 1, 3)), want, atol=1e-6)


def test_mosaics_of_a_time_series(tmp_path: Path) -> None:
    data = voxels(3, 9, 4, 4)
    files = [
        mosaic(
            v,
            first=(0.0, 0, 0),
            normal=(0.0, 0, 1.0),
            gap=3.0,
            InstanceNumber=n + 1,
            AcquisitionTime=f"10150{n}",
        )
        for n, v in enumerate(data)
    ]
    grouping, _ = grouped(files, tmp_path)
    assert [len(p.slices) for p in grouping.plans] == [9, 9, 9]


def test_a_mosaic_without_its_private_header_is_no_slice(tmp_path: Path) -> None:
    image = make_slice(voxels(12, 12), ImageType=["ORIGINAL", "PRIMARY", "M", "MOSAIC"])
    grouping, _ = grouped([image], tmp_path)
    assert [r.reason for r in grouping.rows] == [Reason.MISSING_GEOMETRY]


@pytest.mark.parametrize("step", [3.0, -3.0])
@pytest.mark.parametrize("tiles", [6, 9, 20])
def test_uih_grid(tiles: int, step: float, tmp_path: Path) -> None:
    """A grid of 20 tiles is 5 wide and 4 high: rows of tiles that would be empty are left out."""
    data = voxels(tiles, 5, 4)
    positions = [(-7.0, 2.0, 40.0 + step * n) for n in range(tiles)]
    grouping, _ = grouped([uih_grid(data, positions)], tmp_path)
    [plan] = grouping.plans
    stored = read_volume(plan, "keep")
    assert stored.shape == (tiles, 5, 4)
    for tile in range(tiles):
        [at] = np.flatnonzero([(s == data[tile]).all() for s in stored])
        np.testing.assert_allclose(place_of(plan, (int(at), 0, 0)), positions[tile], atol=1e-6)


def test_more_frames_announced_than_described(tmp_path: Path) -> None:
    ds = enhanced(voxels(6, 4, 4), stack(6))
    ds.PerFrameFunctionalGroupsSequence = Items(list(ds.PerFrameFunctionalGroupsSequence)[:5])
    grouping, rows = grouped([ds], tmp_path)
    assert len(rows) == 5
    assert [len(p.slices) for p in grouping.plans] == [5]
