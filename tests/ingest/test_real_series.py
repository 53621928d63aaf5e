"""Every real series against what is known about it: volumes, shape, place, intensities."""

from __future__ import annotations

import json
from collections import Counter, defaultdict
from itertools import product
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from ingest import ledger
from ingest.group import Grouping, group_study
from ingest.header import read_header
from ingest.pixels import read_volume
from ingest.volume import straighten
from study.records import Instance, Status
from study.sections import Rules, Select

ALL_VOLUMES = Rules(max_volumes_per_series=1000)


@pytest.fixture(scope="module")
def expected(real_data: Path) -> dict[str, Any]:
    return json.loads((real_data / "dicom" / "expected_volumes.json").read_text())["series"]


@pytest.fixture(scope="module")
def instances(real_data: Path) -> list[Instance]:
    paths = [p for p in sorted((real_data / "dicom").rglob("*")) if p.is_file()]
    return [row for path in paths for row in read_header(str(path))]


@pytest.fixture(scope="module")
def groupings(instances: list[Instance]) -> dict[str, Grouping]:
    by_study = defaultdict(list)
    for instance in instances:
        by_study[instance.study_uid].append(instance)
    return {
        uid: group_study(found, Select(), ALL_VOLUMES) for uid, found in by_study.items() if uid
    }


def test_the_ledger_is_the_crawl(instances: list[Instance], groupings: dict[str, Grouping]) -> None:
    rows = [row for grouping in groupings.values() for row in grouping.rows]
    ledger.check(rows, [i for i in instances if i.study_uid])


REJECT_ANYWAY = {"split", "use"}


def test_every_series_has_the_expected_number_of_volumes(
    expected: dict[str, Any], groupings: dict[str, Grouping]
) -> None:
    found = Counter(plan.series_uid for g in groupings.values() for plan in g.plans)
    wrong = {}
    for uid, facts in expected.items():
        want = facts["expected"]
        volumes = 0 if "after_split" in want else want["volumes_3d"]
        if "duplicates_of_one_volume" in want:
            continue  # one mosaic in nine transfer syntaxes: needs the pixel digests of a crawl
        if found[uid] != volumes:
            wrong[uid] = (
                facts["corpus"],
                facts["tags"].get("SeriesDescription"),
                found[uid],
                volumes,
            )
    assert not wrong


def test_rejected_series_have_reasons_and_no_used_rows(
    expected: dict[str, Any], groupings: dict[str, Grouping]
) -> None:
    rows = defaultdict(list)
    for grouping in groupings.values():
        for row in grouping.rows:
            rows[row.series_uid].append(row)
    for uid, facts in expected.items():
        if facts["expected"]["action"] == "reject" and uid in rows:
            assert all(r.status is not Status.USED for r in rows[uid])
            assert all(r.reason for r in rows[uid])


def corners(shape: tuple[int, ...], affine: np.ndarray) -> np.ndarray:
    """The eight corner voxels in space, in a fixed order."""
    points = [
        affine @ np.array([*(s - 1 if c else 0 for s, c in zip(shape, p, strict=True)), 1.0])
        for p in product((0, 1), repeat=3)
    ]
    return np.array(sorted(tuple(np.round(p[:3], 2)) for p in points))


def test_plain_volumes_are_where_dcm2niix_puts_them(
    expected: dict[str, Any], groupings: dict[str, Grouping]
) -> None:
    """Shape, the place of all corners (0.05 mm), and for MR the sum of intensities."""
    checked = 0
    for grouping in groupings.values():
        for plan in grouping.plans:
            facts = expected[plan.series_uid]
            plain = [v for v in facts["dcm2niix"]["volumes"] if v["kind"] == "plain"]
            if plan.flags or facts["expected"]["action"] != "use" or len(plain) != 1:
                continue
            voxels = read_volume(plan)
            volume = straighten(voxels, plan)
            shape = tuple(plain[0]["shape"][:3])
            assert sorted(shape) == sorted(voxels.shape)
            to_ras = np.diag([-1.0, -1.0, 1.0, 1.0]) @ np.asarray(volume.affine)
            ours = corners(voxels.shape, to_ras)
            theirs = corners(shape, np.asarray(plain[0]["affine_ras"]))
            np.testing.assert_allclose(ours, theirs, atol=0.05, err_msg=str(plan.series_uid))
            if plan.modality == "MR":
                assert float(voxels.sum(dtype=np.float64)) == pytest.approx(
                    plain[0]["sum"], rel=1e-6
                )
            checked += 1
    assert checked >= 9
