"""What may happen to a series on its way: every case with the volumes that are right."""

from __future__ import annotations

import random
from dataclasses import replace

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from made_instances import CORONAL, SAGITTAL, group, image, reasons, series, volumes

from ingest import ledger
from ingest.group import Grouping, group_study
from study.ingest_sections import Rules, Select
from study.records import Instance, Status

CT = {"sop_class_uid": "1.2.840.10008.5.1.4.1.1.2", "modality": "CT"}


def sizes(grouping: Grouping) -> list[int]:
    return sorted(len(p.slices) for p in grouping.plans)


def split_by(grouping: Grouping) -> set[str]:
    return {p.split_by for p in grouping.plans}


@pytest.mark.parametrize(
    ("name", "values"),
    [
        ("echo_time_ms", (10.0, 20.0, 30.0)),
        ("echo_number", (1, 2)),
        ("image_type", (("ORIGINAL", "PRIMARY", "M", "W"), ("ORIGINAL", "PRIMARY", "M", "F"))),
        ("b_value_s_per_mm2", (0.0, 1000.0)),
        ("diffusion_direction", ((1.0, 0.0, 0.0), (0.0, 1.0, 0.0), None)),
        ("temporal_position", (1, 2, 3)),
        ("volume_number", (1, 2)),
        ("inversion_time_ms", (200.0, 900.0)),
        ("flip_angle_deg", (5.0, 26.0)),
        ("trigger_time_ms", (0.0, 40.0, 80.0)),
        ("acquisition_number", (1, 2)),
        ("coil_name", ("H1", "H2")),
        ("stack_id", ("1", "2")),
    ],
)
def test_mr_discriminators(name: str, values: tuple[object, ...]) -> None:
    images = volumes(5, [{name: value} for value in values])
    grouping = group(images, max_volumes_per_series=99)
    assert sizes(grouping) == [5] * len(values)
    assert split_by(grouping) == {name}


@pytest.mark.parametrize(
    ("name", "values"),
    [
        ("acquisition_number", (2, 3)),
        ("convolution_kernel", ("Br40", "Bl57")),
        ("kvp_kv", (80.0, 140.0)),
        ("cardiac_phase_percent", (30.0, 75.0)),
        ("reconstruction_diameter_mm", (200.0, 400.0)),
        ("slice_thickness_mm", (1.0, 3.0)),
        ("series_time", ("101500", "101800")),
    ],
)
def test_ct_discriminators(name: str, values: tuple[object, ...]) -> None:
    grouping = group(volumes(6, [{name: value} for value in values], **CT))
    assert sizes(grouping) == [6] * len(values)
    assert split_by(grouping) == {name}


def test_phases_are_told_apart_by_the_pause_between_them() -> None:
    """Every slice has a time of its own; nothing else differs, and numbers run through."""
    times = [f"1015{n:02d}.5" for n in range(8)] + [f"1017{n:02d}.0" for n in range(8)]
    images = [
        image(n, 3.0 * (n % 8), content_time=times[n], **CT, instance_number=1) for n in range(16)
    ]
    grouping = group(images)
    assert sizes(grouping) == [8, 8]
    assert split_by(grouping) == {"pauses in content time"}


def test_discriminators_within_each_other() -> None:
    """Two echoes of three times, and a phase that only InstanceNumber tells."""
    facts = [{"echo_time_ms": e, "temporal_position": t} for t in range(3) for e in (5.0, 9.0)]
    grouping = group(volumes(5, facts), max_volumes_per_series=99)
    assert sizes(grouping) == [5] * 6
    assert split_by(grouping) == {"echo_time_ms, temporal_position"}
    silent = [{"echo_time_ms": e} for _ in range(3) for e in (5.0, 9.0)]
    grouping = group(volumes(5, silent), max_volumes_per_series=99)
    assert sizes(grouping) == [5] * 6
    assert split_by(grouping) == {"echo_time_ms, order of instance numbers"}


def test_frames_are_told_apart_by_their_dimensions() -> None:
    images = [
        image(
            0,
            2.0 * s,
            path="/data/enhanced",
            frame=5 * t + s,
            num_frames=10,
            instance_number=1,
            dimension_index=(1.0, float(s + 1), float(t + 1)),
        )
        for t in range(2)
        for s in range(5)
    ]
    grouping = group(images)
    assert sizes(grouping) == [5, 5]
    assert split_by(grouping) == {"dimension 3"}


def test_the_last_time_point_may_be_incomplete() -> None:
    images = volumes(6, [{"temporal_position": t} for t in range(12)])[:-4]
    grouping = group(images, max_volumes_per_series=99)
    assert sizes(grouping) == [6] * 11
    assert reasons(grouping) == {"TOO_FEW_SLICES": 2}


def test_a_slice_taken_twice_leaves_a_stray() -> None:
    images = series([3.0 * n for n in range(12)], acquisition_number=1, **CT)
    again = image(99, 15.0, acquisition_number=2, **CT)
    grouping = group([*images, again])
    assert sizes(grouping) == [12]
    assert reasons(grouping) == {"TOO_FEW_SLICES": 1}


def test_overlapping_stations_are_two_volumes() -> None:
    neck = series([2.0 * n for n in range(20)], acquisition_number=1, **CT)
    chest = series([2.0 * n for n in range(16, 40)], first=50, acquisition_number=2, **CT)
    assert sizes(group(neck + chest)) == [20, 24]


def test_exposure_and_numbers_that_vary_split_nothing() -> None:
    images = [
        replace(i, acquisition_number=n // 2, content_time=f"10150{n % 10}", series_time=str(n))
        for n, i in enumerate(series([2.5 * n for n in range(30)], **CT))
    ]
    assert sizes(group(images)) == [30]


def test_slabs_far_apart_are_volumes_of_their_own() -> None:
    lumbar = [3.0 * n for n in range(8)] + [100.0 + 3.0 * n for n in range(8)]
    grouping = group(series(lumbar))
    assert sizes(grouping) == [8, 8]
    assert split_by(grouping) == {"slab"}


def test_interleaved_stacks_that_make_no_sense_together() -> None:
    one = series([4.0 * n for n in range(8)], echo_time_ms=10.0)
    two = series([1.3 + 4.0 * n for n in range(8)], first=20, echo_time_ms=90.0)
    assert sizes(group(one + two)) == [8, 8]


@pytest.mark.parametrize("gap", [0.625, 0.7, 1.25])
def test_positions_rounded_to_a_tenth_are_regular(gap: float) -> None:
    [plan] = group(series([round(gap * n, 1) for n in range(40)])).plans
    assert plan.flags == ()


def test_holes_can_be_allowed() -> None:
    zs = [3.0 * n for n in range(12) if n not in (4, 7)]
    assert reasons(group(series(zs))) == {"MISSING_SLICES": 10}
    [plan] = group(series(zs), max_missing_slices=2).plans
    assert plan.flags == ("FILLED_SLICES",)


def test_spacing_tag_that_the_positions_deny() -> None:
    tag = {"spacing_between_slices_mm": 5.0}
    [plan] = group(series([4.0 * n for n in range(9)], **tag)).plans
    assert plan.slice_spacing_mm == pytest.approx(4.0)
    assert plan.flags == ("SPACING_TAG_DIFFERS",)


def test_a_single_slice_is_as_deep_as_its_header_says() -> None:
    [plan] = group(series([7.0], slice_thickness_mm=4.0), min_slices=1).plans
    assert plan.slice_step_mm == (0.0, 0.0, 4.0)
    [plan] = group(series([7.0]), min_slices=1).plans
    assert plan.slice_step_mm == (0.0, 0.0, 1.0)


def test_negative_spacing_tag_is_no_lie() -> None:
    [plan] = group(series([4.0 * n for n in range(9)], spacing_between_slices_mm=-4.0)).plans
    assert plan.flags == ()


def test_frame_of_reference() -> None:
    one = series([3.0 * n for n in range(6)], frame_of_reference_uid="1")
    two = series([1.5 + 3.0 * n for n in range(6)], first=20, frame_of_reference_uid="2")
    assert sizes(group(one + two)) == [6, 6]
    mixed = [replace(i, frame_of_reference_uid="1" if n % 2 else "") for n, i in enumerate(one)]
    assert sizes(group(mixed)) == [6]
    scrambled = [replace(i, frame_of_reference_uid=str(n)) for n, i in enumerate(one)]
    assert sizes(group(scrambled)) == [6]


def test_pixel_spacing_differs_by_rounding_only() -> None:
    images = [
        replace(i, pixel_spacing_mm=(0.48825, 0.48825 if n % 2 else 0.488249))
        for n, i in enumerate(series([3.0 * n for n in range(6)]))
    ]
    assert sizes(group(images)) == [6]


def test_opposite_orientations_are_apart() -> None:
    turned = series([3.0 * n for n in range(6)], first=20, orientation=(-1.0, 0, 0, 0, -1.0, 0))
    assert sizes(group(series([3.0 * n for n in range(6)]) + turned)) == [6, 6]


@pytest.mark.parametrize("count", [1, 3])
def test_few_slices_in_several_planes_are_a_localizer(count: int) -> None:
    images = [
        image(10 * k + n, 0.0, orientation=plane, position_mm=tuple(10.0 * n * v for v in normal))
        for k, (plane, normal) in enumerate(
            [
                ((1.0, 0, 0, 0, 1.0, 0), (0.0, 0.0, 1.0)),
                (CORONAL, (0.0, 1.0, 0.0)),
                (SAGITTAL, (1.0, 0.0, 0.0)),
            ]
        )
        for n in range(count)
    ]
    assert reasons(group(images)) == {"LOCALIZER": 3 * count}


def test_two_full_stacks_in_one_series_are_two_scans() -> None:
    axial = series([5.0 * n for n in range(20)])
    coronal = [
        image(50 + n, 0.0, orientation=CORONAL, position_mm=(0.0, 5.0 * n, 0.0)) for n in range(20)
    ]
    assert sizes(group(axial + coronal)) == [20, 20]


def test_mixed_units_are_refused() -> None:
    images = [
        replace(i, rescale_type="HU" if n % 2 else "US")
        for n, i in enumerate(series([3.0 * n for n in range(6)], **CT))
    ]
    assert reasons(group(images)) == {"RESCALE_INCONSISTENT": 6}


# ------------------------------------------------------------------ copies


def test_a_series_sent_twice_under_new_uids_is_one_volume() -> None:
    images = [
        replace(i, pixel_digest=f"d{n}") for n, i in enumerate(series([3.0 * n for n in range(6)]))
    ]
    again = [
        replace(i, sop_uid=i.sop_uid + ".9", path=i.path + "b", series_number=7) for i in images
    ]
    grouping = group(images + again)
    assert sizes(grouping) == [6]
    assert reasons(grouping) == {"DUPLICATE_INSTANCE": 6}


def test_equal_empty_slices_of_two_times_are_no_copies() -> None:
    """Above the head all slices are black: equal digests at two of six positions."""
    images = [
        replace(i, pixel_digest="black" if n % 6 in (0, 5) else f"d{n}")
        for n, i in enumerate(volumes(6, [{}, {}]))
    ]
    grouping = group(images)
    assert sizes(grouping) == [6, 6]
    assert reasons(grouping) == {}


def test_of_equal_time_points_one_is_kept() -> None:
    images = [
        replace(i, pixel_digest=f"d{n % 12}")
        for n, i in enumerate(volumes(6, [{"temporal_position": t} for t in range(3)]))
    ]
    grouping = group(images, max_volumes_per_series=99)
    assert sizes(grouping) == [6, 6]
    assert reasons(grouping) == {"DUPLICATE_INSTANCE": 6}


# ------------------------------------------------------------------ patients, studies


def test_a_missing_patient_id_names_nobody() -> None:
    images = series([3.0 * n for n in range(6)], patient_key="HOSP|P1")
    report = image(99, 0.0, patient_key="|", has_pixels=False)
    other = image(98, 0.0, patient_key="|p1 ", has_pixels=False)
    assert sizes(group([*images, report, other])) == [6]


def test_accession_numbers_that_collide_join_nothing() -> None:
    one = series([3.0 * n for n in range(6)], accession_number="A1")
    two = [
        replace(i, study_uid="9.9", path=i.path + "x", patient_key="|Q", accession_number="A1")
        for i in one
    ]
    assert sizes(group(one)) == sizes(group(two)) == [6]


# ------------------------------------------------------------------ properties

CASES = st.sampled_from(["plain", "echoes", "times", "phases", "tilt", "copies", "localizer"])


def made(case: str, number: int) -> list[Instance]:
    facts = {"series_uid": f"1.2.{number}", "series_number": number}
    if case == "echoes":
        found = volumes(6, [{"echo_time_ms": e} for e in (10.0, 20.0)], **facts)
    elif case == "times":
        found = volumes(5, [{} for _ in range(4)], **facts)
    elif case == "phases":
        found = volumes(7, [{"acquisition_number": a} for a in (1, 2)], **facts, **CT)
    elif case == "tilt":
        found = [image(n, 0.0, position_mm=(0.0, 1.1 * n, 4.0 * n), **facts) for n in range(9)]
    elif case == "copies":
        once = [replace(i, pixel_digest=f"d{n}") for n, i in enumerate(volumes(6, [{}], **facts))]
        found = once + [replace(i, sop_uid=f"{i.sop_uid}.1", series_number=9) for i in once]
    elif case == "localizer":
        found = volumes(3, [{}], **facts, image_type=("ORIGINAL", "PRIMARY", "LOCALIZER"))
    else:
        found = volumes(8, [{}], **facts)
    return [
        replace(i, sop_uid=f"{i.sop_uid}.{number}", path=f"/{case}{number}/{n:04d}")
        for n, i in enumerate(found)
    ]


def outcome(grouping: Grouping) -> object:
    """All that must not depend on names: slices by UID, and every image's end."""
    frames = {(r.path, r.frame): r.sop_uid for r in grouping.rows}
    plans = [
        ([frames[(s.path, s.frame)] for s in p.slices], p.flags, p.split_by, p.index, p.origin_mm)
        for p in grouping.plans
    ]
    rows = sorted(
        (r.sop_uid, r.frame, str(r.status), str(r.reason), r.scan, r.slice) for r in grouping.rows
    )
    return plans, rows


@settings(max_examples=60)
@given(cases=st.lists(CASES, min_size=1, max_size=4), seed=st.integers(0, 1 << 30))
def test_order_names_and_folders_do_not_matter(cases: list[str], seed: int) -> None:
    images = [i for number, case in enumerate(cases) for i in made(case, number)]
    before = group_study(images, Select(), Rules(max_volumes_per_series=3))
    rng = random.Random(seed)
    moved = [replace(i, path=f"/{rng.choice('abc')}/{rng.getrandbits(64):x}") for i in images]
    rng.shuffle(moved)
    after = group_study(moved, Select(), Rules(max_volumes_per_series=3))
    ledger.check(after.rows, moved)
    assert outcome(before) == outcome(after)


@settings(max_examples=40)
@given(cases=st.lists(CASES, min_size=2, max_size=4))
def test_series_are_grouped_as_if_they_were_alone(cases: list[str]) -> None:
    """Other series in the study change nothing but the numbers of scans."""
    parts = [made(case, number) for number, case in enumerate(cases)]
    together = group_study([i for part in parts for i in part], Select(), Rules())
    alone = [group_study(part, Select(), Rules()) for part in parts]
    assert sum(len(g.plans) for g in alone) == len(together.plans)
    assert {(r.path, r.frame, r.status, r.reason, r.slice) for g in alone for r in g.rows} == {
        (r.path, r.frame, r.status, r.reason, r.slice) for r in together.rows
    }
    assert all(r.status in Status for r in together.rows)
