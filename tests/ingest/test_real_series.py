"""Every real series against what is known about it: its end, volumes, place, every voxel."""

from __future__ import annotations

import hashlib
import json
from collections import Counter, defaultdict
from itertools import product
from pathlib import Path
from typing import Any

import nibabel
import numpy as np
import pytest

from ingest import ledger, native
from ingest.crawl import crawl
from ingest.group import Grouping, group_study
from ingest.ledger import LedgerRow
from ingest.pixels import read_volume
from study.ingest_sections import Rules, Select
from study.records import Instance, Reason, ScanPlan, Status

ALL_VOLUMES = Rules(max_volumes_per_series=1000)

REJECT_AS: dict[str, set[Reason]] = {
    "color": {Reason.UNSUPPORTED_PHOTOMETRIC, Reason.UNSUPPORTED_SOP_CLASS},
    "derived_map": {Reason.DERIVED_MAP},
    "localizer": {Reason.LOCALIZER},
    "non_image": {Reason.UNSUPPORTED_SOP_CLASS},
    "not_ct_or_mr": {Reason.UNSUPPORTED_SOP_CLASS},
    "phase_map": {Reason.PHASE_MAP},
    "secondary_capture": {Reason.UNSUPPORTED_SOP_CLASS},
    "too_few_slices": {
        Reason.TOO_FEW_SLICES,
        Reason.DUPLICATE_INSTANCE,
        Reason.UNSUPPORTED_SOP_CLASS,
    },
}
"""Our reasons for what the ground truth calls a rejection."""


@pytest.fixture(scope="module")
def expected(real_data: Path) -> dict[str, Any]:
    return json.loads((real_data / "dicom" / "expected_volumes.json").read_text())["series"]


@pytest.fixture(scope="module")
def instances(real_data: Path, tmp_path_factory: pytest.TempPathFactory) -> list[Instance]:
    """The whole crawl of the corpus, with digests where copies are suspected."""
    run = tmp_path_factory.mktemp("run")
    return crawl(
        [str(real_data / "dicom")], run / "none", lambda f, items: map(f, items), lambda *_: None
    )


@pytest.fixture(scope="module")
def groupings(instances: list[Instance]) -> dict[str, Grouping]:
    by_study = defaultdict(list)
    for instance in instances:
        by_study[instance.study_uid].append(instance)
    return {
        uid: group_study(found, Select(), ALL_VOLUMES) for uid, found in by_study.items() if uid
    }


@pytest.fixture(scope="module")
def plans(groupings: dict[str, Grouping]) -> dict[str, list[ScanPlan]]:
    found = defaultdict(list)
    for grouping in groupings.values():
        for plan in grouping.plans:
            found[plan.series_uid].append(plan)
    return dict(found)


@pytest.fixture(scope="module")
def rows(groupings: dict[str, Grouping]) -> dict[str, list[LedgerRow]]:
    found = defaultdict(list)
    for grouping in groupings.values():
        for row in grouping.rows:
            found[row.series_uid].append(row)
    return dict(found)


def test_the_ledger_is_the_crawl(
    real_data: Path, instances: list[Instance], groupings: dict[str, Grouping]
) -> None:
    """Every file has an end, and the sums are those of the corpus."""
    grouped = [row for grouping in groupings.values() for row in grouping.rows]
    ledger.check(grouped, [i for i in instances if i.study_uid])
    nowhere = [i for i in instances if not i.study_uid]
    assert all(i.reason for i in nowhere)
    files = {str(p) for p in (real_data / "dicom").rglob("*") if p.is_file()}
    assert {i.path for i in instances} == files
    sums = ledger.sums(grouped)
    assert sums.images == sum(sums.by_status.values()) == len(instances) - len(nowhere)


def wanted_volumes(facts: dict[str, Any]) -> int:
    """Volumes after the minimum of slices."""
    return 0 if "after_split" in facts["expected"] else facts["expected"]["volumes_3d"]


def test_every_series_has_the_expected_number_of_volumes(
    expected: dict[str, Any], plans: dict[str, list[ScanPlan]]
) -> None:
    assert len(expected) == 39
    found = {uid: len(plans.get(uid, [])) for uid in expected}
    assert found == {uid: wanted_volumes(facts) for uid, facts in expected.items()}


def test_every_series_ends_as_expected(
    expected: dict[str, Any], rows: dict[str, list[LedgerRow]]
) -> None:
    wrong = {}
    for uid, facts in expected.items():
        want, found = facts["expected"], rows[uid]
        ends = {row.reason for row in found if row.status is not Status.USED}
        if want["action"] == "reject":
            is_right = ends and ends <= REJECT_AS[want["reject_as"]] and len(found) > 0
            is_right = is_right and all(row.status is not Status.USED for row in found)
        elif "after_split" in want:
            is_right = ends == {Reason.TOO_FEW_SLICES}
        else:
            is_right = ends <= {Reason.DUPLICATE_INSTANCE}
        if not is_right:
            wrong[uid] = (want["action"], want.get("reject_as"), ends)
    assert not wrong


def test_one_image_in_nine_transfer_syntaxes_is_one_volume_and_eight_copies(
    expected: dict[str, Any], rows: dict[str, list[LedgerRow]]
) -> None:
    [uid] = [uid for uid, f in expected.items() if "duplicates_of_one_volume" in f["expected"]]
    assert Counter(row.status for row in rows[uid]) == {Status.USED: 1, Status.DUPLICATE: 8}


def canonical(voxels: np.ndarray, plan: ScanPlan) -> nibabel.Nifti1Image:
    image = nibabel.Nifti1Image(voxels.transpose(2, 1, 0), native.nifti_affine(plan))
    return nibabel.as_closest_canonical(image)


def sha256(array: np.ndarray) -> str:
    return hashlib.sha256(np.ascontiguousarray(array, "<i4").tobytes()).hexdigest()


def test_every_voxel_is_what_dcm2niix_reads(
    expected: dict[str, Any], plans: dict[str, list[ScanPlan]]
) -> None:
    """SHA-256 of all voxels in RAS order, 4D series joined in our order of time; sums where the
    values are not whole."""
    checked = 0
    for uid, found in plans.items():
        truth = [v for v in expected[uid]["dcm2niix"]["volumes"] if v["kind"] == "plain"]
        voxels = [read_volume(plan, "keep") for plan in found]
        arrays = [np.asarray(canonical(v, p).dataobj) for v, p in zip(voxels, found, strict=True)]
        want = {v["canonical_ras"].get("sha256_int32_c_order", "") for v in truth}
        total = sum(v["sum"] for v in truth) / len(truth) * len(want)
        assert sum(float(v.sum(dtype=np.float64)) for v in voxels) == pytest.approx(total, rel=1e-9)
        if want != {""}:
            joined = len(truth[0]["canonical_ras"]["shape"]) == 4
            ours = {sha256(np.stack(arrays, -1))} if joined else {sha256(a) for a in arrays}
            assert ours == want, uid
        checked += len(found)
    assert checked == 37


def corners(shape: tuple[int, ...], affine: np.ndarray) -> np.ndarray:
    """The eight corner voxels in space, in a fixed order."""
    points = [
        affine @ np.array([*(s - 1 if c else 0 for s, c in zip(shape, p, strict=True)), 1.0])
        for p in product((0, 1), repeat=3)
    ]
    return np.array(sorted(tuple(np.round(p[:3], 2)) for p in points))


def test_volumes_are_where_dcm2niix_puts_them(
    expected: dict[str, Any], plans: dict[str, list[ScanPlan]]
) -> None:
    """Shape, spacing, and the place of all corners within 0.05 mm."""
    checked = 0
    for uid, found in plans.items():
        truth = next(v for v in expected[uid]["dcm2niix"]["volumes"] if v["kind"] == "plain")
        for plan in found:
            shape = (plan.columns, plan.rows, len(plan.slices))
            y_mm, x_mm = plan.pixel_spacing_mm
            spacing = (x_mm, y_mm, plan.slice_spacing_mm)
            assert sorted(shape) == sorted(truth["shape"][:3])
            assert sorted(spacing) == pytest.approx(sorted(truth["voxel_mm"][:3]), abs=0.002)
            if not plan.flags:  # dcm2niix's affine of a tilted stack is not meant to be right
                ours = corners(shape, native.nifti_affine(plan))
                theirs = corners(tuple(truth["shape"][:3]), np.asarray(truth["affine_ras"]))
                np.testing.assert_allclose(ours, theirs, atol=0.05, err_msg=uid)
                checked += 1
    assert checked == 36


def test_a_tilted_stack_is_where_its_positions_say(
    expected: dict[str, Any], plans: dict[str, list[ScanPlan]], instances: list[Instance]
) -> None:
    """The GE head of 28 slices, tilted by 18.5 degrees, in two slabs: every slice's corner."""
    [plan] = [p for found in plans.values() for p in found if "GANTRY_TILT" in p.flags]
    assert expected[plan.series_uid]["expected"]["action"] == "use_after_geometry_fix"
    assert plan.flags == ("GANTRY_TILT", "VARIABLE_SPACING")
    positions = {i.path: np.array(i.position_mm) for i in instances if i.position_mm}
    row, column = np.array(plan.row_direction), np.array(plan.column_direction)
    normal = np.cross(row, column)
    for piece, offset, drift in zip(plan.slices, plan.offsets_mm, plan.drift_mm, strict=True):
        place = np.array(plan.origin_mm) + offset * normal + drift[0] * row + drift[1] * column
        np.testing.assert_allclose(place, positions[piece.path], atol=0.05)
    tilt = np.degrees(np.arctan2(plan.drift_mm[-1][1], plan.offsets_mm[-1]))
    assert abs(tilt) == pytest.approx(18.5, abs=0.01)
