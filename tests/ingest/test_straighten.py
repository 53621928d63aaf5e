"""Tilt sheared out and uneven spacing made even: nothing lost, nothing invented, all in place."""

from __future__ import annotations

import json
import tracemalloc
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from scipy.ndimage import map_coordinates

from ingest.group import group_study
from ingest.header import read_header
from ingest.pixels import read_volume
from ingest.rescale import AIR_HU
from ingest.volume import Volume, even_count, straighten
from study.ingest_sections import Rules, Select
from study.records import ScanPlan, Slice

DTYPES = ["i2", "u2", "i4", "f4"]


def plan_for(
    offsets_mm: tuple[float, ...],
    shape: tuple[int, int],
    *,
    drift_mm: tuple[tuple[float, float], ...] | None = None,
    flags: tuple[str, ...] = (),
    spacing_mm: tuple[float, float] = (1.0, 1.0),
    modality: str = "MR",
) -> ScanPlan:
    """An axial stack of slices at `offsets_mm` above the origin, shifted by `drift_mm`."""
    gap = float(np.median(np.diff(offsets_mm)))
    drift = drift_mm or ((0.0, 0.0),) * len(offsets_mm)
    slope = np.array(drift[-1]) / offsets_mm[-1]
    return ScanPlan(
        study_uid="1",
        series_uid="1.1",
        index=0,
        modality=modality,
        slices=tuple(Slice(f"{n}", 0) for n in range(len(offsets_mm))),
        sop_uids=(),
        rows=shape[0],
        columns=shape[1],
        origin_mm=(10.0, -20.0, 30.0),
        row_direction=(1.0, 0.0, 0.0),
        column_direction=(0.0, 1.0, 0.0),
        slice_step_mm=(float(slope[0]) * gap, float(slope[1]) * gap, gap),
        pixel_spacing_mm=spacing_mm,
        slice_spacing_mm=gap,
        offsets_mm=offsets_mm,
        drift_mm=drift,
        flags=flags,
    )


def even(count: int, gap: float = 2.0) -> tuple[float, ...]:
    return tuple(n * gap for n in range(count))


def noise(shape: tuple[int, ...], dtype: str = "i2") -> np.ndarray:
    return np.random.default_rng(0).integers(1, 1000, shape).astype(dtype)


@pytest.mark.parametrize("dtype", DTYPES)
def test_straight_volumes_pass_untouched(dtype: str) -> None:
    voxels = noise((5, 6, 7), dtype)
    volume = straighten(voxels, plan_for(even(5), (6, 7), spacing_mm=(0.5, 0.25)))
    assert volume.voxels is voxels
    assert volume.spacing_mm == (2.0, 0.5, 0.25)
    assert volume.filled == 0


def test_images_are_in_lps() -> None:
    voxels = noise((3, 4, 5))
    drift = tuple((0.01 * n, -0.02 * n) for n in range(3))  # too little for a tilt: it stays
    volume = straighten(voxels, plan_for(even(3), (4, 5), drift_mm=drift, spacing_mm=(0.5, 0.25)))
    image = volume.image()
    assert image.GetSize() == (5, 4, 3)
    for d, h, w in ((0, 0, 0), (2, 3, 4), (1, 0, 2)):
        wanted = np.asarray(volume.affine) @ [d, h, w, 1]
        point = image.TransformIndexToPhysicalPoint((w, h, d))
        np.testing.assert_allclose(point, wanted[:3], atol=1e-6)
        assert image.GetPixel(w, h, d) == voxels[d, h, w]
    assert np.asarray(volume.affine)[:3, 3] + 2 * np.asarray(volume.affine)[:3, 0] == (
        pytest.approx([10.02, -20.04, 34])
    )


@given(
    shifts=st.lists(st.tuples(st.integers(-9, 9), st.integers(-9, 9)), min_size=2, max_size=6),
    dtype=st.sampled_from(DTYPES),
)
def test_whole_shifts_move_voxels_and_lose_none(shifts: list[tuple[int, int]], dtype: str) -> None:
    shifts = [(0, 0), *shifts]
    drift = tuple((0.3 * across, 0.7 * down + 0.001) for across, down in shifts[1:])
    plan = plan_for(
        even(len(shifts)),
        (5, 6),
        drift_mm=((0.0, 0.0), *drift),
        flags=("GANTRY_TILT",),
        spacing_mm=(0.7, 0.3),
    )
    voxels = noise((len(shifts), 5, 6), dtype)
    volume = straighten(voxels, plan)
    origin = np.linalg.inv(np.asarray(volume.affine)) @ [*plan.origin_mm, 1]
    top, left = (round(float(v)) for v in origin[1:3])
    for number, (across, down) in enumerate(shifts):
        place = volume.voxels[number, top + down : top + down + 5, left + across :][:, :6]
        assert np.array_equal(place, voxels[number])
    assert np.count_nonzero(volume.voxels != voxels.min()) == np.count_nonzero(
        voxels != voxels.min()
    )
    assert volume.filled == volume.voxels.size - voxels.size
    height = 5 + max(d for _, d in shifts) - min(d for _, d in shifts)
    assert volume.voxels.shape[1] == height  # and no larger than it must be


TILT = np.tan(np.radians(18.5))


def tilted(
    count: int, shape: tuple[int, int], gap: float, spacing_mm: float, modality: str
) -> tuple[ScanPlan, np.ndarray]:
    """A stack seen by a gantry tilted by 18.5 degrees, and LPS of all its voxels."""
    offsets = even(count, gap)
    drift = tuple((0.0, TILT * z) for z in offsets)
    plan = plan_for(
        offsets,
        shape,
        drift_mm=drift,
        flags=("GANTRY_TILT",),
        spacing_mm=(spacing_mm, spacing_mm),
        modality=modality,
    )
    d, h, w = np.indices((count, *shape))
    y = h * spacing_mm + TILT * gap * d
    return plan, np.stack([w * spacing_mm, y, d * gap], -1) + plan.origin_mm


def test_a_sphere_seen_by_a_tilted_gantry_is_a_sphere_again() -> None:
    """Its centre to 0.05 mm, its three widths equal and right to 1 %."""
    plan, points = tilted(60, (90, 90), 1.0, 1.0, "CT")
    centre, radius = points[30, 45, 45] + [0.3, 0.4, -0.2], 18.0
    distance = np.linalg.norm(points - centre, axis=-1)
    hu = np.rint(1040 * np.clip(radius + 0.5 - distance, 0, 1) - 1000).astype(np.int16)
    volume = straighten(hu, plan)
    assert volume.voxels.dtype == np.float32
    assert volume.voxels.min() == AIR_HU  # what was added
    weight = np.maximum(volume.voxels.astype(np.float64) + 1000, 0)
    index = np.stack(np.indices(weight.shape), -1)
    matrix = np.asarray(volume.affine)
    place = index @ matrix[:3, :3].T + matrix[:3, 3]
    mean = (place * weight[..., None]).sum((0, 1, 2)) / weight.sum()
    assert np.abs(mean - centre).max() < 0.05
    spread = np.sqrt(((place - mean) ** 2 * weight[..., None]).sum((0, 1, 2)) / weight.sum())
    np.testing.assert_allclose(spread, radius / np.sqrt(5), rtol=0.01)
    skew = ((place - mean)[..., 1] * (place - mean)[..., 2] * weight).sum() / weight.sum()
    assert abs(skew) < 0.01 * radius**2 / 5  # sheared, it would be a tilted ellipsoid


@pytest.mark.parametrize(("modality", "fill"), [("CT", AIR_HU), ("MR", 0.0)])
@pytest.mark.parametrize("part", [0.25, 0.5, 0.75])
def test_the_edge_of_the_field_is_no_edge_of_tissue(
    modality: str, fill: float, part: float
) -> None:
    """Tissue up to the border: where slices shift by part of a pixel, or lie between two, there is
    tissue or nothing, and no value in between."""
    drift = tuple((part * n, -1.5 * part * n) for n in range(6))
    flags = ("GANTRY_TILT", "FILLED_SLICES")
    plan = plan_for(
        (0.0, 2.0, 4.0, 6.0, 10.0, 12.0), (8, 8), drift_mm=drift, flags=flags, modality=modality
    )
    voxels = np.full((6, 8, 8), 40, np.int16)
    voxels[0, 0, 0] = 0 if modality == "MR" else 39
    volume = straighten(voxels, plan)
    assert volume.voxels.shape[0] == 7
    rest = volume.voxels[1:]
    assert set(np.unique(rest)) == {np.float32(fill), np.float32(40)}
    tissue = np.count_nonzero(rest == 40) / 6
    assert tissue == pytest.approx(64, abs=8)  # it neither grew nor shrank by a row


def test_padding_within_a_ct_does_not_bleed_into_tissue() -> None:
    plan = plan_for(
        even(4),
        (8, 8),
        drift_mm=tuple((0.0, 0.6 * n) for n in range(4)),
        flags=("GANTRY_TILT",),
        modality="CT",
    )
    voxels = np.full((4, 8, 8), 40, np.int16)
    voxels[:, :, :3] = -2000  # what the scanner marks as outside its field of view
    values = np.unique(straighten(voxels, plan).voxels)
    assert values.tolist() == [AIR_HU, 40]


def test_air_beside_tissue_is_still_interpolated() -> None:
    plan = plan_for(
        even(4),
        (8, 8),
        drift_mm=tuple((0.0, 0.5 * n) for n in range(4)),
        flags=("GANTRY_TILT",),
        modality="CT",
    )
    voxels = np.full((4, 8, 8), -1000, np.int16)
    voxels[:, 4] = 200
    assert straighten(voxels, plan).voxels[1].max() == -400


def test_what_is_no_number_spreads_nowhere() -> None:
    plan = plan_for((0.0, 2.0, 4.0, 8.0, 10.0), (6, 6), flags=("FILLED_SLICES",))
    voxels = np.full((5, 6, 6), 50, np.float32)
    voxels[2, 3, 3] = np.nan
    voxels[0, 0, 0] = 10
    volume = straighten(voxels, plan)
    assert np.isfinite(volume.voxels).all()
    assert set(np.unique(volume.voxels)) == {10, 50}


def runs(*pieces: tuple[int, float]) -> tuple[float, ...]:
    """Offsets of (number of gaps, gap) one after the other."""
    gaps = np.concatenate([np.full(n, gap) for n, gap in pieces])
    return (0.0, *(float(v) for v in np.cumsum(gaps)))


@pytest.mark.parametrize(
    ("offsets_mm", "count"),
    [
        (runs((13, 4.002), (1, 1.081), (13, 6.999)), 37),  # the join does not set the step
        (runs((13, 5.0), (1, 2.5), (13, 5.0)), 27),  # nor between equal slabs: 132.5 / 5
        (runs((10, 2.5), (10, 5.0), (10, 10.0)), 62),  # 71 would be more than twice as many
        (runs((4, 2.0), (40, 5.0)), 43),  # four of 44 gaps are not frequent
        (runs((6, 3.0), (1, 6.0), (5, 3.0), (1, 9.0), (4, 3.0)), 21),  # holes
        (tuple(5.0 * n + 0.2 * (n % 2) for n in range(12)), 12),  # jitter
        (runs((1, 2.0), (1, 3.0), (1, 2.0)), 5),  # too few to tell: the median
    ],
)
def test_the_step_is_the_smallest_frequent_gap(offsets_mm: tuple[float, ...], count: int) -> None:
    assert even_count(offsets_mm) == count


@given(jitter=st.lists(st.floats(-0.045, 0.045), min_size=3, max_size=40), gap=st.floats(0.5, 10))
def test_jitter_keeps_the_number_of_slices(jitter: list[float], gap: float) -> None:
    offsets = np.cumsum([0.0, *(gap * (1 + j) for j in jitter)])
    assert even_count(tuple(offsets)) == len(offsets)


@given(
    gaps=st.lists(st.sampled_from([1.0, 2.5, 4.0, 7.0]), min_size=3, max_size=20),
    dtype=st.sampled_from(DTYPES),
)
def test_uneven_slices_are_interpolated_to_even_steps(gaps: list[float], dtype: str) -> None:
    """Values that grow with the position do so evenly, from the first slice to the last."""
    offsets = tuple(np.concatenate([[0.0], np.cumsum(gaps)]))
    voxels = (np.array(offsets)[:, None, None] * 2 + np.zeros((1, 2, 2))).astype(dtype)
    volume = straighten(voxels, plan_for(offsets, (2, 2), flags=("VARIABLE_SPACING",)))
    count = len(volume.voxels)
    assert count <= 2 * len(offsets)
    np.testing.assert_allclose(
        volume.voxels[:, 1, 0], np.linspace(0, 2 * offsets[-1], count), atol=1e-4
    )
    assert volume.spacing_mm[0] == pytest.approx(offsets[-1] / (count - 1))
    assert volume.filled == 0


def test_a_drift_too_small_for_a_tilt_stays_in_the_affine() -> None:
    offsets = (0.0, 2.0, 4.0, 8.0, 10.0)
    drift = tuple((0.02 * z, -0.03 * z) for z in offsets)
    plan = plan_for(offsets, (5, 5), drift_mm=drift, flags=("FILLED_SLICES",))
    volume = straighten(noise((5, 5, 5)), plan)
    last = np.asarray(volume.affine) @ [5, 0, 0, 1]
    assert last[:3] == pytest.approx([10 + 0.2, -20 - 0.3, 40])


def test_slices_that_are_there_stay_as_they_are() -> None:
    offsets = (0.0, 3.0, 6.001, 9.0, 15.0, 18.0)
    voxels = noise((6, 5, 5))
    volume = straighten(voxels, plan_for(offsets, (5, 5), flags=("FILLED_SLICES",)))
    assert len(volume.voxels) == 7
    assert np.array_equal(volume.voxels[[0, 1, 2, 3, 5, 6]], voxels)
    middle = (voxels[3].astype(np.float32) + voxels[4]) / 2
    np.testing.assert_allclose(volume.voxels[4], middle, rtol=1e-6)


def test_memory_is_the_result_and_a_few_slices() -> None:
    voxels = noise((200, 96, 96))
    offsets = runs((100, 1.0), (99, 2.0))
    drift = tuple((0.0, 0.1 * z) for z in offsets)
    flags = ("GANTRY_TILT", "VARIABLE_SPACING")
    plan = plan_for(offsets, (96, 96), drift_mm=drift, flags=flags)
    tracemalloc.start()
    volume = straighten(voxels, plan)
    _, peak = tracemalloc.get_traced_memory()
    tracemalloc.stop()
    assert peak < volume.voxels.nbytes + 12 * volume.voxels[0].nbytes


# ---------------------------------------------------------------------- a real tilted head CT


@pytest.fixture(scope="module")
def hispeed(real_data: Path) -> tuple[ScanPlan, np.ndarray, Volume, dict[str, Any]]:
    """The series of two slabs under 18.5 degrees: its plan, its voxels, straightened, and what
    dcm2niix made of it (`_Tilt_Eq`)."""
    files = sorted((real_data / "dicom" / "ct_head_ge_hispeed" / "data").rglob("*.dcm"))
    images = [row for path in files for row in read_header(str(path))]
    [plan] = group_study(images, Select(), Rules()).plans
    series = json.loads((real_data / "dicom" / "expected_volumes.json").read_text())["series"]
    made = series[plan.series_uid]["dcm2niix"]["volumes"]
    [theirs] = [v for v in made if "Tilt" in v["nifti"]]
    voxels = read_volume(plan)
    return plan, voxels, straighten(voxels, plan), theirs


def test_the_real_field_is_dcm2niix(
    hispeed: tuple[ScanPlan, np.ndarray, Volume, dict[str, Any]],
) -> None:
    """Its rows run the other way; the eight corners of the two fields are the same points."""
    _, _, volume, theirs = hispeed
    assert volume.voxels.shape == (37, 611, 512)
    assert theirs["shape"] == [512, 611, 56]
    assert volume.spacing_mm[0] == pytest.approx(4.0025, abs=1e-3)
    ours = np.diag([-1, -1, 1, 1]) @ np.asarray(volume.affine)
    affine = np.asarray(theirs["affine_ras"])
    for d, h, w in np.ndindex(2, 2, 2):
        mine = ours @ [36 * d, 610 * h, 511 * w, 1]
        other = affine @ [511 * w, 610 * (1 - h), 55 * d, 1]
        np.testing.assert_allclose(mine, other, atol=0.05)


def test_real_values_are_dcm2niix_at_its_probes(
    hispeed: tuple[ScanPlan, np.ndarray, Volume, dict[str, Any]],
) -> None:
    """Its slices lie elsewhere (2.62 mm apart): brain to 1 HU, bone to 1 %."""
    _, _, volume, theirs = hispeed
    for probe in theirs["probes"]:
        x, y, z = probe["xyz_ras_mm"]
        index = np.linalg.solve(np.asarray(volume.affine), [-x, -y, z, 1])[:3]
        value = map_coordinates(volume.voxels, index[:, None], order=1)[0]
        assert value == pytest.approx(probe["value"], abs=1, rel=0.01)


def test_nothing_of_the_real_head_is_lost(
    hispeed: tuple[ScanPlan, np.ndarray, Volume, dict[str, Any]],
) -> None:
    """Mass above that of air, integrated along the normal, to a tenth of a percent."""
    plan, voxels, volume, _ = hispeed
    before = np.maximum(voxels.astype(np.float64) + 1000, 0).sum((1, 2))
    after = np.maximum(volume.voxels.astype(np.float64) + 1000, 0).sum((1, 2))
    mass = np.trapezoid(before, plan.offsets_mm)
    assert np.trapezoid(after, dx=volume.spacing_mm[0]) == pytest.approx(mass, rel=1e-3)
