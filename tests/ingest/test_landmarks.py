"""Landmarks through the whole path: files, grouping, pixels, straightening, the stored grid.

A smooth blob at a known place in the patient must be there in the stored array, by the affine that
is stored with it, to 0.05 mm, in every plane and position. Where a blob cannot tell (tilt, uneven
spacing, edges), values that grow linearly with the position must read as the position they lie at:
linear interpolation keeps these exactly.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
from dicom_files import make_series, make_slice, save
from hypothesis import Phase, example, given, settings
from hypothesis import strategies as st
from pydicom.dataset import Dataset

from ingest.geometry import native_affine
from ingest.grid import to_grid
from ingest.group import group_study
from ingest.header import read_header
from ingest.pixels import read_volume
from ingest.volume import Volume, straighten
from study.ingest_sections import Grid, Intensity, Rules, Select
from study.records import Scan, ScanPlan

NEAR_MM = 0.05
FULL_RANGE = Intensity(mr_percentiles=(0.0, 100.0))
PLANES = {
    "axial": ((1.0, 0.0, 0.0), (0.0, 1.0, 0.0)),
    "coronal": ((1.0, 0.0, 0.0), (0.0, 0.0, -1.0)),
    "sagittal": ((0.0, 1.0, 0.0), (0.0, 0.0, -1.0)),
}
POSITIONS = {  # how the patient is turned against one that lies on the back, head first
    "HFS": np.diag([1.0, 1.0, 1.0]),
    "HFP": np.diag([-1.0, -1.0, 1.0]),
    "FFS": np.diag([-1.0, 1.0, -1.0]),
    "HFDR": np.array([[0.0, 1.0, 0.0], [-1.0, 0.0, 0.0], [0.0, 0.0, 1.0]]),
}
SPACING_MM = (4.0, 1.5, 1.1)
SHAPE = (20, 40, 48)
BLOB_MM = 6.0
"""Standard deviation of the blob: wide against the voxels, so that its centroid is exact."""


def rotation(axis: Sequence[float], angle: float) -> np.ndarray:
    """Matrix of a rotation (Rodrigues)."""
    x, y, z = np.asarray(axis) / np.linalg.norm(axis)
    skew = np.array([[0, -z, y], [z, 0, -x], [-y, x, 0]])
    return np.eye(3) + np.sin(angle) * skew + (1 - np.cos(angle)) * skew @ skew


class Place:
    """Where the voxels of a series are: an orientation, and the corner of every slice, in LPS."""

    def __init__(
        self,
        row: np.ndarray,
        column: np.ndarray,
        offsets_mm: Sequence[float],
        tilt: tuple[float, float] = (0.0, 0.0),
    ) -> None:
        """`tilt`: millimetres in plane (along rows, along columns) for each along the normal."""
        self.row, self.column = np.round(row, 8), np.round(column, 8)
        self.normal = np.cross(self.row, self.column)
        start = np.array([-31.0, 17.0, 42.0])
        along = self.normal + tilt[0] * self.row + tilt[1] * self.column
        self.corners = np.array([np.round(start + z * along, 6) for z in offsets_mm])

    def grid(self, spacing_mm: Sequence[float], shape: Sequence[int]) -> np.ndarray:
        """LPS of every voxel, (D, H, W, 3)."""
        rows, columns = np.indices(shape[1:])
        in_plane = (
            rows[..., None] * spacing_mm[1] * self.column
            + columns[..., None] * spacing_mm[2] * self.row
        )
        return self.corners[:, None, None] + in_plane[None]

    def series(self, voxels: np.ndarray, **options: object) -> list[Dataset]:
        made = make_series(
            voxels,
            orientation=(*self.row, *self.column),
            spacing=SPACING_MM[1:],
            **options,  # type: ignore[arg-type]
        )
        for dataset, corner in zip(made, self.corners, strict=True):
            dataset.ImagePositionPatient = corner.tolist()
        return made


def even_place(plane: str, position: str, *, backwards: bool = False, oblique: float = 0) -> Place:
    """A regular stack about the patient."""
    row, column = (np.array(v) for v in PLANES[plane])
    turn = rotation((1.0, -2.0, 0.5), np.radians(oblique)) @ POSITIONS[position]
    offsets = np.arange(SHAPE[0]) * SPACING_MM[0] * (-1 if backwards else 1)
    return Place(turn @ row, turn @ column, offsets)


def plan_of(folder: Path, rules: Rules = Rules()) -> ScanPlan:
    images = [row for path in sorted(folder.iterdir()) for row in read_header(str(path))]
    [plan] = group_study(images, Select(), rules).plans
    return plan


def volume_of(plan: ScanPlan) -> Volume:
    return straighten(read_volume(plan), plan)


def at(affine: object, index: np.ndarray) -> np.ndarray:
    """LPS of indices (..., 3)."""
    matrix = np.asarray(affine)
    return index @ matrix[:3, :3].T + matrix[:3, 3]


def centroid(scan: Scan) -> np.ndarray:
    """Of the stored intensity, in LPS."""
    index = np.stack(np.indices(scan.array.shape), -1)
    weight = scan.array.astype(np.float64)
    return at(scan.affine, (index * weight[..., None]).sum(axis=(0, 1, 2)) / weight.sum())


def blob(points: np.ndarray, centre: np.ndarray) -> np.ndarray:
    distance = np.linalg.norm(points - centre, axis=-1)
    return np.rint(20000 * np.exp(-0.5 * (distance / BLOB_MM) ** 2)).astype(np.int16)


def grid_for(how: str, dtype: str = "uint16") -> Grid:
    in_plane = "area" if how == "area" else "linear"
    return Grid(
        depth=24,
        resize=44,
        size=40,
        depth_interpolation=how,
        in_plane_interpolation=in_plane,
        dtype=dtype,
    )


@pytest.mark.parametrize("position", POSITIONS)
@pytest.mark.parametrize(
    ("plane", "oblique"), [*((p, 0) for p in PLANES), ("axial", 17), ("sagittal", 33)]
)
@pytest.mark.parametrize("backwards", [False, True])
def test_a_blob_stays_where_it_is(
    tmp_path: Path, plane: str, oblique: int, position: str, backwards: bool
) -> None:
    place = even_place(plane, position, backwards=backwards, oblique=oblique)
    points = place.grid(SPACING_MM, SHAPE)
    truth = points[10, 18, 22] + [0.7, -0.4, 0.3]
    save(place.series(blob(points, truth), PatientPosition=position), tmp_path)
    volume = volume_of(plan_of(tmp_path))
    for how in ("nearest", "linear", "area"):
        [scan] = to_grid(volume, "MR", grid_for(how), FULL_RANGE)
        error = centroid(scan) - truth
        if how == "nearest":  # a stored slice is up to half a native one beside its place
            across = error @ place.normal
            assert abs(across) <= SPACING_MM[0] / 2
            error = error - across * place.normal
        assert np.linalg.norm(error) < NEAR_MM, how
        normal = np.abs(place.normal)
        assert scan.plane == ("sagittal", "coronal", "axial")[normal.argmax()]
    [coarse] = to_grid(volume, "MR", grid_for("area", "uint8"), FULL_RANGE)
    assert np.linalg.norm(centroid(coarse) - truth) < NEAR_MM
    corners = np.array([[0, 0, 0], [19, 0, 0], [0, 39, 0], [0, 0, 47], [19, 39, 47]])
    native = points[::-1] if backwards else points
    expected = [native[tuple(c)] for c in corners]
    np.testing.assert_allclose(at(scan.source_affine, corners), expected, atol=2e-4)


@pytest.mark.parametrize("position", POSITIONS)
@pytest.mark.parametrize("plane", PLANES)
def test_the_left_is_on_the_left(tmp_path: Path, plane: str, position: str) -> None:
    """The patient's left, back and head have larger LPS; stored axes run to right, back, feet."""
    place = even_place(plane, position)
    points = place.grid(SPACING_MM, SHAPE)
    middle = points.mean(axis=(0, 1, 2))
    left_back_head = np.array([9.0, 9.0, 9.0])
    save(place.series(blob(points, middle + left_back_head)), tmp_path)
    [scan] = to_grid(volume_of(plan_of(tmp_path)), "MR", grid_for("linear"), FULL_RANGE)
    assert (centroid(scan) > middle + 5).all()
    bright = np.array(np.unravel_index(scan.array.argmax(), scan.array.shape))
    down, back, right = {"axial": (0, 1, 2), "coronal": (1, 0, 2), "sagittal": (1, 2, 0)}[
        scan.plane
    ]
    half = (np.array(scan.array.shape) - 1) / 2
    assert bright[right] < half[right]
    assert bright[back] > half[back]
    assert bright[down] < half[down]


def ramp(points: np.ndarray, direction: np.ndarray) -> np.ndarray:
    """Values 0 to 30000 that grow linearly along a direction."""
    along = points @ direction
    return np.rint((along - along.min()) / np.ptp(along) * 30000).astype(np.int16)


def errors_mm(scan: Scan, points: np.ndarray, direction: np.ndarray, known: Volume) -> np.ndarray:
    """Along `direction`, from where a stored voxel of a ramp lies to where its value says that it
    lies; of all voxels well within the native slices of `known`."""
    along = points @ direction
    lower, upper = scan.window_limits
    values = lower + scan.array.astype(np.float64) / 65535 * (upper - lower)
    says = along.min() + values / 30000 * np.ptp(along)
    stored = at(scan.affine, np.stack(np.indices(scan.array.shape), -1))
    to_native = np.linalg.inv(np.asarray(known.affine))
    native = at(to_native, stored)
    covered = np.abs((to_native @ np.asarray(scan.affine))[:3, :3]).sum(axis=1)
    margin = np.maximum(1.0, covered)  # native voxels that a stored one reaches over, each axis
    within = ((native > margin) & (native < np.array(known.voxels.shape) - 1 - margin)).all(-1)
    assert within.sum() > 200
    return (says - stored @ direction)[within]


def check_ramps(place: Place, folder: Path) -> None:
    """Along x, y and z: linear is exact everywhere. So is area on the whole; a voxel of it may be
    off by an eighth of the native ones, where it covers parts of these."""
    shape = (len(place.corners), *SHAPE[1:])
    points = place.grid(SPACING_MM, shape)
    for axis in range(3):
        direction = np.eye(3)[axis]
        save(place.series(ramp(points, direction)), folder / str(axis))
        plan = plan_of(folder / str(axis))
        native = Volume(np.empty(shape, np.int8), native_affine(replace(plan, flags=())))
        volume = volume_of(plan)
        for how in ("linear", "area"):
            grid = grid_for(how).model_copy(update={"depth": 7 if how == "area" else 31})
            [scan] = to_grid(volume, "MR", grid, FULL_RANGE)
            errors = errors_mm(scan, points, direction, native)
            if how == "linear":
                assert np.abs(errors).max() < NEAR_MM
            else:
                assert abs(errors.mean()) < NEAR_MM
                parts = np.abs(np.asarray(native.affine)[axis, :3]) / 8
                assert np.abs(errors).max() < parts.sum() + NEAR_MM


@example(axis=(0.5754, 0.0, -0.8173), angle=1.1397617623020981, gap=1.3689658251399017)
@given(
    axis=st.tuples(*[st.floats(-1, 1)] * 3).filter(lambda a: np.linalg.norm(a) > 0.1),
    angle=st.floats(0, np.pi),
    gap=st.floats(1.3, 9.0),
)
@settings(max_examples=8, phases=(Phase.explicit, Phase.reuse, Phase.generate))
def test_any_oblique_orientation_is_right_to_a_twentieth_of_a_millimetre(
    tmp_path_factory: pytest.TempPathFactory, axis: tuple[float, ...], angle: float, gap: float
) -> None:
    turn = rotation(axis, angle)
    place = Place(turn[:, 0], turn[:, 1], np.arange(12) * gap)
    check_ramps(place, tmp_path_factory.mktemp("oblique"))


@pytest.mark.parametrize(
    ("row_tilt", "column_tilt"), [(0.0, np.tan(np.radians(18.5))), (0.0, -0.4), (0.2, 0.35)]
)
def test_tilted_stacks_are_right(tmp_path: Path, row_tilt: float, column_tilt: float) -> None:
    turn = rotation((1.0, 0.3, 0.0), -0.3)
    place = Place(turn[:, 0], turn[:, 1], np.arange(16) * 4.0, (row_tilt, column_tilt))
    check_ramps(place, tmp_path)
    plan = plan_of(tmp_path / "0")
    assert "GANTRY_TILT" in plan.flags


SLABS = [4.0 * n for n in range(9)] + [33.1 + 7 * n for n in range(9)]
HOLES = [3.0 * n for n in range(22) if n not in (5, 11, 12)]
JITTER = [5.0 * n + 0.1 * (-1) ** n for n in range(18)]


@pytest.mark.parametrize(
    ("offsets_mm", "flag"),
    [(SLABS, "VARIABLE_SPACING"), (HOLES, "FILLED_SLICES"), (JITTER, "VARIABLE_SPACING")],
    ids=["slabs", "holes", "jitter"],
)
@pytest.mark.parametrize("tilt", [(0.0, 0.0), (0.0, 0.3)])
def test_uneven_stacks_are_right(
    tmp_path: Path, offsets_mm: list[float], flag: str, tilt: tuple[float, float]
) -> None:
    turn = rotation((0.2, 1.0, 0.1), 0.4)
    place = Place(turn[:, 0], turn[:, 1], offsets_mm, tilt)
    rules = Rules(max_missing_slices=5)
    shape = (len(offsets_mm), *SHAPE[1:])
    points = place.grid(SPACING_MM, shape)
    for axis in range(3):
        direction = np.eye(3)[axis]
        save(place.series(ramp(points, direction)), tmp_path / str(axis))
        plan = plan_of(tmp_path / str(axis), rules)
        assert flag in plan.flags
        volume = volume_of(plan)
        native = Volume(np.empty(shape, np.int8), native_affine(replace(plan, flags=())))
        [scan] = to_grid(volume, "MR", grid_for("linear"), FULL_RANGE)
        assert np.abs(errors_mm(scan, points, direction, native)).max() < NEAR_MM


@pytest.mark.parametrize("how", ["nearest", "linear", "area"])
def test_fixed_spacing_is_right(tmp_path: Path, how: str) -> None:
    """The chest's grid: floor sizes change the scale a little, and the affine knows it."""
    place = even_place("axial", "HFS")
    points = place.grid(SPACING_MM, SHAPE)
    truth = points[10, 18, 22] + [0.7, -0.4, 0.3]
    save(place.series(blob(points, truth)), tmp_path)
    grid = Grid(
        depth=30,
        resize=60,
        size=60,
        spacing_mm=(3.1, 1.13, 1.07),
        depth_interpolation=how,
        dtype="uint16",
    )
    [scan] = to_grid(volume_of(plan_of(tmp_path)), "MR", grid, FULL_RANGE)
    assert scan.spacing_mm == pytest.approx((20 * 4 / 25, 40 * 1.5 / 53, 48 * 1.1 / 49), abs=1e-5)
    error = np.abs(centroid(scan) - truth)
    assert error[2] < (SPACING_MM[0] / 2 if how == "nearest" else NEAR_MM)
    assert error[:2].max() < NEAR_MM


@pytest.mark.parametrize("position", ["HFS", "HFDR"])
def test_a_mosaic_is_where_its_tiles_are(tmp_path: Path, position: str) -> None:
    """A Siemens mosaic's position is that of a big slice about the same centre."""
    place = even_place("axial", position)
    points = place.grid(SPACING_MM, SHAPE)
    truth = points[9, 21, 20] + [0.2, 0.5, -0.8]
    tiles = blob(points, truth)
    across, (_, height, width) = 5, SHAPE
    big = np.zeros((across * height, across * width), np.int16)
    for n, tile in enumerate(tiles):
        top, left = n // across * height, n % across * width
        big[top : top + height, left : left + width] = tile
    corner = (
        place.corners[0]
        - (across - 1) * width / 2 * SPACING_MM[2] * place.row
        - (across - 1) * height / 2 * SPACING_MM[1] * place.column
    )
    mosaic = make_slice(
        big,
        position=tuple(corner),
        orientation=(*place.row, *place.column),
        spacing=SPACING_MM[1:],
        Manufacturer="SIEMENS",
        SpacingBetweenSlices=SPACING_MM[0],
        InstanceNumber=1,
    )
    mosaic.ImageType = ["ORIGINAL", "PRIMARY", "M", "MOSAIC"]
    mosaic.add_new(0x00190010, "LO", "SIEMENS MR HEADER")
    mosaic.add_new(0x0019100A, "US", SHAPE[0])
    save([mosaic], tmp_path)
    [scan] = to_grid(volume_of(plan_of(tmp_path)), "MR", grid_for("linear"), FULL_RANGE)
    assert np.linalg.norm(centroid(scan) - truth) < NEAR_MM
