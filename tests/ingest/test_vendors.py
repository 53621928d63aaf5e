"""What only vendors' private elements tell."""

from __future__ import annotations

from pathlib import Path

import pytest
from dicom_files import save
from made_series import Private, times

from ingest.group import Grouping, group_study
from ingest.header import read_header
from study.ingest_sections import Rules, Select
from study.records import Reason, Status

GE = "GE MEDICAL SYSTEMS"


def grouped(datasets: list, folder: Path) -> Grouping:  # type: ignore[type-arg]
    images = [image for path in save(datasets, folder) for image in read_header(str(path))]
    return group_study(images, Select(), Rules(max_volumes_per_series=99))


def b0_map(sequence: str, internal: str, images: int = 10) -> list:  # type: ignore[type-arg]
    acquisition = "GEMS_ACQU_01"
    tags: list[Private] = [
        (0x19, acquisition, 0x9C, "LO", sequence),
        (0x19, acquisition, 0x9E, "LO", internal),
        (0x21, "GEMS_RELA_01", 0x4F, "SL", 5),
    ]
    return times([{}, {}], GE, [tags, tags], ImagesInAcquisition=images)


@pytest.mark.parametrize("names", [("B0map", "B0map"), ("3db0map", "EFGRE3D"), ("B0rf", "B0map")])
def test_the_first_volume_of_a_b0_mapping_series_of_ge_is_the_map(
    names: tuple[str, str], tmp_path: Path
) -> None:
    grouping = grouped(b0_map(*names), tmp_path)
    [plan] = grouping.plans
    assert sorted(Path(s.path).name for s in plan.slices) == [f"{n:04d}.dcm" for n in range(5, 10)]
    rejected = {r.reason for r in grouping.rows if r.status is not Status.USED}
    assert rejected == {Reason.PHASE_MAP}


def test_other_series_of_two_volumes_have_no_map(tmp_path: Path) -> None:
    assert len(grouped(b0_map("epi", "EPI"), tmp_path / "a").plans) == 2
    assert len(grouped(b0_map("B0map", "B0map", images=5), tmp_path / "b").plans) == 2


@pytest.mark.parametrize(
    ("maker", "group", "creator", "element", "is_localizer"),
    [
        (GE, 0x19, "GEMS_ACQU_01", 0x17, True),
        (GE, 0x27, "GEMS_IMAG_01", 0x35, True),
        ("SIEMENS", 0x19, "SIEMENS MR HEADER", 0x17, False),
    ],
)
def test_three_planes_of_ge(
    maker: str, group: int, creator: str, element: int, is_localizer: bool, tmp_path: Path
) -> None:
    found = grouped(times([{}], maker, [[(group, creator, element, "SS", 256)]]), tmp_path)
    assert (not found.plans) is is_localizer


def test_real_part_of_philips(tmp_path: Path) -> None:
    facts = [
        {"ImageType": ["ORIGINAL", "PRIMARY", kind + "_FFE", kind, "FFE"]}
        for kind in ("M", "R", "I")
    ]
    found = grouped(times(facts, "Philips"), tmp_path)
    assert len(found.plans) == 1
    assert {r.reason for r in found.rows} == {None, Reason.PHASE_MAP}
