from __future__ import annotations

import math

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from ingest.geometry import is_tilted, normal_of, same_directions, stack

AXIAL = (1.0, 0.0, 0.0, 0.0, 1.0, 0.0)


def test_normals_are_right_handed() -> None:
    assert normal_of(AXIAL) == (0, 0, 1)
    assert normal_of((1.0, 0.0, 0.0, 0.0, 0.0, -1.0)) == (0, 1, 0)
    assert normal_of((0.0, 1.0, 0.0, 0.0, 0.0, -1.0)) == (-1, 0, 0)


@pytest.mark.parametrize(("degrees", "same"), [(0.05, True), (0.2, False)])
def test_same_direction_within_a_tenth_of_a_degree(degrees: float, same: bool) -> None:
    angle = math.radians(degrees)
    turned = (math.cos(angle), math.sin(angle), 0.0, -math.sin(angle), math.cos(angle), 0.0)
    assert same_directions(np.array([AXIAL, turned]), AXIAL) == ([0, 1] if same else [0])


def test_opposite_directions_differ() -> None:
    assert same_directions(np.array([(-1.0, 0.0, 0.0, 0.0, 1.0, 0.0)]), AXIAL) == []


@given(
    st.lists(st.integers(-1000, 1000), min_size=2, max_size=40, unique=True),
    st.floats(0.3, 10.0),
)
def test_order_and_missing_slices(numbers: list[int], gap: float) -> None:
    """Slices at multiples of a gap come out in order; holes are counted, unless they are slabs."""
    found = stack([(0.0, 0.0, n * gap) for n in numbers], AXIAL)
    assert [numbers[i] for i in found.order] == sorted(numbers)
    assert not found.repeats
    steps = sorted(b - a for a, b in zip(sorted(numbers), sorted(numbers)[1:], strict=False))
    if steps[len(steps) // 2] == 1 and steps[(len(steps) - 1) // 2] == 1:
        assert found.missing in (0, sum(steps) - len(steps))
        assert found.missing or found.regular or found.runs > 1
        assert found.gap_mm == pytest.approx(gap)


def test_repeats_are_seen() -> None:
    assert stack([(0, 0, 0), (0, 0, 3), (0, 0, 3.001)], AXIAL).repeats


def test_volumes_that_are_placed_a_little_differently_repeat_their_positions() -> None:
    shifts = [0.0, 0.07, 0.12, 0.03]
    found = stack([(0, 0, 2.5 * n + shift) for shift in shifts for n in range(6)], AXIAL)
    assert found.repeats
    assert found.position_numbers[-1] == 5
    assert found.gap_mm == pytest.approx(2.38, abs=0.13)


def test_thin_slices_on_both_sides_of_a_gap_are_no_repeats() -> None:
    found = stack([(0, 0, 0.1 * n + (3.0 if n > 9 else 0.0)) for n in range(20)], AXIAL)
    assert not found.repeats
    assert found.breaks == (9,)


def test_rounding_of_positions_is_no_tilt() -> None:
    straight = stack([(0.001 * (n % 2), 0, 5.0 * n) for n in range(20)], AXIAL)
    assert not is_tilted(straight, (0.5, 0.5))
    assert is_tilted(stack([(0, 0.5 * n, 5.0 * n) for n in range(20)], AXIAL), (0.5, 0.5))
