"""Series that lack slices, or whose slices are not quite where they were a volume ago."""

from __future__ import annotations

from dataclasses import replace

from made_instances import group, image, reasons, volumes

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
