"""One axis at a time, held against torch's `interpolate`."""

from __future__ import annotations

import numpy as np
import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st
from torch.nn.functional import interpolate

from ingest.taps import Taps, fitted

SIZES = st.integers(1, 400)


def plain(have: int, count: int, how: str) -> Taps:
    return fitted(have, have, count, count, how)


def test_nearest_chooses_as_torch_for_every_size() -> None:
    """All pairs up to 120 -> 50, and the stored sizes from far more slices."""
    pairs = [(have, count) for have in range(1, 120) for count in range(1, 50)]
    pairs += [(have, count) for have in range(200, 1600, 7) for count in (48, 96, 112, 144)]
    for have, count in pairs:
        index = torch.arange(have, dtype=torch.float32).reshape(1, 1, have, 1, 1)
        chosen = interpolate(index, size=(count, 1, 1), mode="nearest-exact").flatten()
        assert np.array_equal(plain(have, count, "nearest").index[:, 0], chosen.numpy()), (
            have,
            count,
        )


@given(have=SIZES, count=SIZES, seed=st.integers(0, 99))
def test_linear_weighs_as_torch(have: int, count: int, seed: int) -> None:
    values = np.random.default_rng(seed).normal(size=(have, 1)).astype(np.float32)
    wanted = interpolate(torch.from_numpy(values.T[None]), size=count, mode="linear")
    found = plain(have, count, "linear").apply(values, 0)
    np.testing.assert_allclose(found[:, 0], wanted[0, 0].numpy(), atol=2e-4)


@given(count=st.integers(1, 60), factor=st.integers(1, 12), seed=st.integers(0, 99))
def test_area_is_the_mean_where_sizes_divide(count: int, factor: int, seed: int) -> None:
    values = np.random.default_rng(seed).normal(size=(count * factor, 1)).astype(np.float32)
    found = plain(count * factor, count, "area").apply(values, 0)[:, 0]
    np.testing.assert_allclose(found, values.reshape(count, factor).mean(1), atol=1e-5)


@given(have=SIZES, count=SIZES)
def test_area_shares_every_voxel_out_once(have: int, count: int) -> None:
    taps = plain(have, count, "area")
    np.testing.assert_allclose(taps.weight.sum(axis=1), 1, atol=1e-5)
    if have >= count:
        shares = np.zeros(have)
        np.add.at(shares, taps.index, taps.weight)
        np.testing.assert_allclose(shares, count / have, rtol=1e-4)


@given(
    have=SIZES,
    pad=st.integers(0, 90),
    count=SIZES,
    kept=SIZES,
    how=st.sampled_from(["nearest", "linear", "area"]),
)
def test_padding_resizing_and_cropping_in_one_go(
    have: int, pad: int, count: int, kept: int, how: str
) -> None:
    """The taps of all three are those of one after the other."""
    values = np.random.default_rng(have).normal(size=have).astype(np.float32) + 9
    before = pad // 2
    steps = np.pad(values, (before, pad - before))
    steps = plain(have + pad, count, how).apply(steps[:, None], 0)[:, 0]
    if count >= kept:
        start = (count - kept) // 2
        steps = steps[start : start + kept]
    else:
        left = (kept - count) // 2
        steps = np.pad(steps, (left, kept - count - left))
    taps = fitted(have, have + pad, count, kept, how)
    np.testing.assert_allclose(taps.apply(values[:, None], 0)[:, 0], steps, atol=1e-4)
    assert np.array_equal(taps.inside, taps.weight.sum(axis=1) > 0)
    assert taps.index.min() >= 0
    assert taps.index.max() < have


@given(have=st.integers(4, 300), pad=st.integers(0, 40), count=SIZES, kept=SIZES)
def test_a_new_index_lies_where_its_taps_do(have: int, pad: int, count: int, kept: int) -> None:
    """Linear interpolation of the index itself tells where a new voxel's centre is."""
    taps = fitted(have, have + pad, count, kept, "linear")
    at = taps.start + taps.step * np.arange(kept)
    within = (at >= 0) & (at <= have - 1)
    found = taps.apply(np.arange(have, dtype=np.float64)[:, None], 0)[:, 0]
    np.testing.assert_allclose(found[within], at[within], atol=1e-3)


@pytest.mark.parametrize("axis", [0, 1])
def test_each_axis_of_a_slice(axis: int) -> None:
    slice_HW = np.arange(24, dtype=np.float32).reshape(4, 6)
    taps = plain(slice_HW.shape[axis], 2, "area")
    wanted = slice_HW.reshape(2, 2, 6).mean(1) if axis == 0 else slice_HW.reshape(4, 2, 3).mean(2)
    np.testing.assert_allclose(taps.apply(slice_HW, axis), wanted, atol=1e-5)
