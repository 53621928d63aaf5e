"""Series whose volumes are not alike: slices are missing or not quite where they were, volumes are
short, or lie side by side."""

from __future__ import annotations

from dataclasses import replace

import pytest
from made_instances import CT, group, image, reasons, series, volumes

from ingest.group import Grouping


def sizes(grouping: Grouping) -> list[int]:
    return sorted(len(p.slices) for p in grouping.plans)


def split_by(grouping: Grouping) -> set[str]:
    return {p.split_by for p in grouping.plans}


def test_a_discriminator_that_would_leave_holes_gives_way() -> None:
    """Slice timing in TriggerTime: equal times make parts that lack a slice each, order makes whole
    ones."""
    images = [
        replace(i, trigger_time_ms=100.0 * ((i.instance_number or 0) % 5))
        for i in (
            image(4 * z + t, 3.0 * z, position_mm=(0.0, 0.0, 3.0 * z))
            for z in range(5)
            for t in range(4)
        )
    ]
    grouping = group(images, max_volumes_per_series=99)
    assert sizes(grouping) == [5] * 4
    assert split_by(grouping) == {"order of instance numbers"}


def test_a_volume_of_a_series_may_lack_a_slice() -> None:
    images = volumes(
        8, [{"echo_time_ms": e, "flip_angle_deg": f} for e in (1.0, 2.0) for f in (5.0, 9.0)]
    )
    grouping = group([i for i in images if i.instance_number != 11], max_volumes_per_series=99)
    assert sizes(grouping) == [8, 8, 8]
    assert reasons(grouping) == {"MISSING_SLICES": 7}


def test_volumes_that_are_not_quite_in_one_place() -> None:
    """Positions that differ by up to a tenth of a millimetre between time points repeat."""
    images = [
        image(6 * t + z, 0.0, position_mm=(0.0, 0.0, 2.5 * z + shift), temporal_position=t)
        for t, shift in enumerate((0.0, 0.07, 0.12, 0.03))
        for z in range(6)
    ]
    grouping = group(images, max_volumes_per_series=99)
    assert sizes(grouping) == [6] * 4
    assert split_by(grouping) == {"temporal_position"}
    assert {p.flags for p in grouping.plans} == {()}


CT_FACTS = {"sop_class_uid": CT, "modality": "CT"}


def test_a_phase_of_the_liver_alone_is_a_volume_beside_the_abdomen() -> None:
    abdomen = series([3.0 * n for n in range(100)], acquisition_number=2, **CT_FACTS)
    liver = series([3.0 * n for n in range(20, 50)], 200, acquisition_number=3, **CT_FACTS)
    grouping = group(abdomen + liver)
    assert sizes(grouping) == [30, 100]
    assert split_by(grouping) == {"acquisition_number"}


def test_thick_slices_among_thin_ones() -> None:
    thin = series([1.0 * n for n in range(100)], slice_thickness_mm=1.0, **CT_FACTS)
    thick = series([5.0 * n for n in range(20)], 200, slice_thickness_mm=5.0, **CT_FACTS)
    assert sizes(group(thin + thick)) == [20, 100]


def test_an_echo_of_fewer_slices() -> None:
    images = series([3.0 * n for n in range(30)], echo_time_ms=1.0)
    assert sizes(group(images + series([15.0, 18.0, 21.0, 24.0], 99, echo_time_ms=9.0))) == [4, 30]


def test_slices_that_watch_the_contrast_arrive_cost_only_themselves() -> None:
    chest = series([3.0 * n for n in range(100)], acquisition_number=3, **CT_FACTS)
    watched = series([150.0] * 9, 200, acquisition_number=2, **CT_FACTS)
    grouping = group(chest + watched)
    assert sizes(grouping) == [100]
    assert reasons(grouping) == {"POSITIONS_NOT_UNIQUE": 9}


@pytest.mark.parametrize("offset", [0.0, 1.3, 1.5, 60.0])
def test_stacks_side_by_side_are_two_volumes(offset: float) -> None:
    """Both knees in one series, whether their slices are at the same depths, interleaved, or go
    on."""
    images = [
        image(20 * side + n, 0.0, position_mm=(230.0 * side, 0.0, 3.0 * n + offset * side))
        for side in range(2)
        for n in range(20)
    ]
    grouping = group(images)
    assert sizes(grouping) == [20, 20]
    assert {p.flags for p in grouping.plans} == {()}
