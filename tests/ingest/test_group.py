from __future__ import annotations

import math
import random
import time
from dataclasses import replace

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from made_instances import AXIAL, CT, group, image, reasons, series, volumes

from ingest import ledger
from ingest.group import evenly, group_study
from study.ingest_sections import Rules, Select
from study.records import Instance, Reason, Status


def test_slices_in_any_order_are_one_volume() -> None:
    images = series([0, 3, 6, 9, 12])
    random.Random(0).shuffle(images)
    [plan] = group(images).plans
    assert [s.path for s in plan.slices] == [f"/data/{n}" for n in range(5)]
    assert plan.slice_spacing_mm == pytest.approx(3)
    assert plan.slice_step_mm == pytest.approx((0, 0, 3))
    assert plan.flags == ()


def test_spacing_comes_from_positions_not_from_slice_thickness() -> None:
    [plan] = group(series([0, 2, 4, 6, 8], slice_thickness_mm=2.5)).plans
    assert plan.slice_spacing_mm == pytest.approx(2)


def test_echoes_are_split_and_acquisition_numbers_are_not() -> None:
    one = series([0, 3, 6, 9], echo_time_ms=20.0)
    two = series([0, 3, 6, 9], first=10, echo_time_ms=80.0)
    assert len(group(one + two).plans) == 2
    numbered = [replace(i, acquisition_number=n // 2) for n, i in enumerate(series([0, 3, 6, 9]))]
    assert len(group(numbered).plans) == 1


def test_contrast_phases_differ_only_by_acquisition_number() -> None:
    phases = [
        image(10 * phase + n, 2.0 * n, acquisition_number=phase, sop_class_uid=CT, modality="CT")
        for phase in (1, 2)
        for n in range(6)
    ]
    plans = group(phases).plans
    assert [p.acquisition_number for p in plans] == [1, 2]
    assert all(len(p.slices) == 6 for p in plans)


@pytest.mark.parametrize("slice_major", [False, True])
def test_time_points_told_apart_by_instance_number_alone(slice_major: bool) -> None:
    times, slices = 3, 5
    images = [
        image(s * times + t if slice_major else t * slices + s, 4.0 * s)
        for t in range(times)
        for s in range(slices)
    ]
    plans = group(images, max_volumes_per_series=10).plans
    assert len(plans) == times
    assert all(len({s.path for s in p.slices}) == slices for p in plans)


def test_series_of_many_volumes_keeps_some_and_accounts_for_all() -> None:
    images = [image(t * 5 + s, 4.0 * s, temporal_position=t) for t in range(6) for s in range(5)]
    grouping = group(images, max_volumes_per_series=2)
    assert len(grouping.plans) == 2
    assert reasons(grouping) == {"REDUNDANT_TIMEPOINT": 20}


def test_tilt_is_seen_without_its_tag() -> None:
    images = [image(n, 5.0 * n, position_mm=(0.0, 1.5 * n, 5.0 * n)) for n in range(8)]
    [plan] = group(images).plans
    assert "GANTRY_TILT" in plan.flags
    assert plan.slice_step_mm == pytest.approx((0, 1.5, 5))
    assert plan.slice_spacing_mm == pytest.approx(5)


def test_two_regular_runs_are_one_volume_of_variable_spacing() -> None:
    zs = [4.0 * n for n in range(10)] + [37.0 + 7 * n for n in range(10)]
    [plan] = group(series(zs)).plans
    assert plan.flags == ("VARIABLE_SPACING",)


@pytest.mark.parametrize(
    ("zs", "reason"),
    [
        ([0, 3, 6], Reason.TOO_FEW_SLICES),
        ([0, 3, 6, 12, 15, 18], Reason.MISSING_SLICES),
        ([0, 1, 5, 6.3, 11, 18, 30, 31], Reason.SLICE_SPACING_IRREGULAR),
    ],
)
def test_stacks_that_are_no_volume(zs: list[float], reason: Reason) -> None:
    grouping = group(series(zs))
    assert grouping.plans == ()
    assert reasons(grouping) == {reason: len(zs)}


def test_repeats_that_nothing_tells_apart_are_rejected() -> None:
    images = [
        replace(i, instance_number=1) for i in series([0, 3, 6, 9]) + series([0, 3, 6, 9], 10)
    ]
    assert reasons(group(images)) == {"POSITIONS_NOT_UNIQUE": 8}


def test_copies_are_duplicates_and_collisions_are_rejected() -> None:
    images = series([0, 3, 6, 9, 12])
    copy = replace(images[0], path="/data/copy")
    grouping = group([*images, copy])
    assert ledger.sums(grouping.rows).by_status == {"used": 5, "duplicate": 1}
    other = replace(images[0], path="/data/other", pixel_digest="b")
    grouping = group([replace(images[0], pixel_digest="a"), *images[1:], other])
    assert reasons(grouping) == {"SOP_UID_COLLISION": 2}


def test_two_patients_under_one_study_are_rejected() -> None:
    images = [*series([0, 3, 6, 9]), *series([0, 3, 6, 9], 10, patient_key="|Q", series_uid="9")]
    assert reasons(group(images)) == {"PATIENT_MISMATCH": 8}


@pytest.mark.parametrize(
    ("facts", "reason"),
    [
        ({"image_type": ("ORIGINAL", "PRIMARY", "LOCALIZER")}, Reason.LOCALIZER),
        ({"series_description": "AAHScout_32ch"}, Reason.LOCALIZER),
        ({"image_type": ("DERIVED", "SECONDARY", "MPR")}, Reason.DERIVED_SECONDARY),
        ({"image_type": ("DERIVED", "PRIMARY", "DIFFUSION", "FA")}, Reason.DERIVED_MAP),
        ({"image_type": ("ORIGINAL", "PRIMARY", "P", "ND")}, Reason.PHASE_MAP),
        ({"image_type": ("ORIGINAL", "PRIMARY", "R_FFE", "R", "FFE")}, Reason.PHASE_MAP),
        ({"image_type": ("DERIVED", "PRIMARY", "ASL", "NORM", "SUB", "TTEST")}, Reason.DERIVED_MAP),
        ({"image_type": ("DERIVED", "PRIMARY", "ASL", "NORM")}, Reason.DERIVED_MAP),
        (
            {"image_type": ("ORIGINAL", "PRIMARY", "PERFUSION"), "manufacturer": "Philips"},
            Reason.DERIVED_MAP,
        ),
        ({"protocol_name": "AAHead_Scout"}, Reason.LOCALIZER),
        ({"is_localizer_plane": True}, Reason.LOCALIZER),
        ({"photometric": "PALETTE COLOR"}, Reason.UNSUPPORTED_PHOTOMETRIC),
        ({"photometric": "RGB", "samples_per_pixel": 3}, Reason.UNSUPPORTED_PHOTOMETRIC),
        ({"position_mm": None}, Reason.MISSING_GEOMETRY),
        ({"burned_in_annotation": "YES"}, Reason.BURNED_IN_ANNOTATION),
        ({"has_pixels": False}, Reason.NO_PIXEL_DATA),
    ],
)
def test_rules(facts: dict[str, object], reason: Reason) -> None:
    assert reasons(group(series([0, 3, 6, 9], **facts))) == {reason: 4}


@pytest.mark.parametrize(
    "facts",
    [
        {"image_type": ("DERIVED", "PRIMARY", "M", "ND", "UNI")},
        {"image_type": ("DERIVED", "PRIMARY", "ASL", "NORM", "MOCO")},
        {"image_type": ("ORIGINAL", "PRIMARY", "ASL", "NONE")},
        {"image_type": ("ORIGINAL", "PRIMARY", "M_FFE", "M", "FFE")},
        {"image_type": ("ORIGINAL", "PRIMARY", "M", "NORM", "DRS", "DIS2D", "DRB", "MFSPLIT")},
        {"image_type": ("ORIGINAL", "PRIMARY", "W", "W", "DERIVED"), "manufacturer": "Philips"},
        {
            "image_type": ("ORIGINAL", "PRIMARY", "PERFUSION", "NONE"),
            "manufacturer": "Philips",
            "component": "MAGNITUDE",
            "sop_class_uid": "1.2.840.10008.5.1.4.1.1.4.1",
        },
        {"image_type": ("ORIGINAL", "PRIMARY", "GDC"), "manufacturer": "CANON_MEC"},
        {"image_type": ()},
        {"photometric": ""},
        {"series_description": "t1_fl2d_sag", "protocol_name": "t1_fl2d_sag"},
        {"series_description": "ALLOCATED SCOUTING"},
    ],
)
def test_scans_that_look_like_none(facts: dict[str, object]) -> None:
    assert len(group(series([0, 3, 6, 9], **facts)).plans) == 1


def test_kept_maps_are_kept() -> None:
    images = series([0, 3, 6, 9], image_type=("DERIVED", "PRIMARY", "DIFFUSION", "ADC"))
    assert len(group(images).plans) == 1


@pytest.mark.parametrize("case", ["times", "orientations"])
def test_a_study_of_many_images_takes_seconds(case: str) -> None:
    if case == "times":
        images = volumes(40, [{"echo_time_ms": float(v % 4)} for v in range(250)])
        count = 250
    else:
        turns = [0.01 * n for n in range(3000)]
        images = [
            image(n, 3.0 * n, orientation=(1.0, 0, 0, 0, math.cos(a), math.sin(a)))
            for n, a in enumerate(turns)
        ]
        count = 0
    start = time.process_time()
    grouping = group(images, max_volumes_per_series=999)
    assert time.process_time() - start < 10.0
    assert len(grouping.plans) == count


def test_select_counts_what_it_leaves_out() -> None:
    grouping = group_study(series([0, 3, 6, 9]), Select(modalities=("CT",)), Rules())
    assert reasons(grouping) == {"NOT_SELECTED": 4}


def test_evenly() -> None:
    assert evenly(10, 3) == [0, 3, 6]


study_of_stacks = st.lists(
    st.tuples(st.integers(2, 9), st.floats(0.5, 8.0), st.integers(1, 3), st.booleans()),
    min_size=1,
    max_size=4,
)


@settings(max_examples=150, deadline=None)
@given(stacks=study_of_stacks, seed=st.integers(0, 1000))
def test_grouping_does_not_depend_on_order_or_names(
    stacks: list[tuple[int, float, int, bool]], seed: int
) -> None:
    images: list[Instance] = []
    for number, (count, gap, echoes, coronal) in enumerate(stacks):
        for echo in range(echoes):
            for n in range(count):
                facts = {
                    "series_uid": f"1.2.{number}",
                    "series_number": number,
                    "echo_time_ms": 10.0 * (echo + 1),
                    "orientation": (1.0, 0.0, 0.0, 0.0, 0.0, -1.0) if coronal else AXIAL,
                    "position_mm": (0.0, round(n * gap, 4) if coronal else 0.0, round(n * gap, 4)),
                }
                images.append(image(len(images), 0.0, **facts))
    before = group(images)
    rng = np.random.default_rng(seed)
    names = {i.sop_uid: f"/elsewhere/{rng.integers(1 << 40)}" for i in images}
    shuffled = [
        replace(images[n], path=names[images[n].sop_uid]) for n in rng.permutation(len(images))
    ]
    after = group(shuffled)
    assert [p.sop_uids for p in before.plans] == [p.sop_uids for p in after.plans]
    assert {(r.sop_uid, r.status, r.reason, r.scan, r.slice) for r in before.rows} == {
        (r.sop_uid, r.status, r.reason, r.scan, r.slice) for r in after.rows
    }
    assert all(r.status in Status for r in after.rows)
