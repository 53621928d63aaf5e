"""Windows, and percentiles that must be numpy's without its copies."""

from __future__ import annotations

import tracemalloc

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from hypothesis.extra.numpy import array_shapes, arrays

from ingest.intensity import Window, as_numbers, percentiles, value_range, windows_of
from study.ingest_sections import Intensity

DTYPES = ["u1", "i1", "i2", "u2", "i4", "u4", "f2", "f4", "f8", ">i2", ">f4"]
PERCENTS = st.lists(st.floats(0, 100), min_size=1, max_size=3)


def finite(dtype: str) -> st.SearchStrategy[np.ndarray]:
    floats = {"allow_nan": False, "allow_infinity": False} if "f" in dtype else {}
    return arrays(dtype, array_shapes(min_dims=3, max_dims=3, max_side=6), elements=floats or None)


@given(st.sampled_from(DTYPES).flatmap(finite), PERCENTS)
def test_percentiles_are_numpys(voxels: np.ndarray, wanted: list[float]) -> None:
    with np.errstate(over="ignore", invalid="ignore"):
        expected = np.percentile(voxels.astype(np.float64), wanted)
    if np.isfinite(expected).all():
        assert percentiles(voxels, wanted) == expected.tolist()


def test_percentiles_between_two_values_round_as_numpys() -> None:
    voxels = np.random.default_rng(0).normal(size=(3, 5, 7))
    wanted = np.linspace(0, 100, 1001)
    assert percentiles(voxels, wanted.tolist()) == np.percentile(voxels, wanted).tolist()


@given(finite("i2"), PERCENTS, st.integers(1, 50))
def test_what_fills_up_does_not_count(voxels: np.ndarray, wanted: list[float], filled: int) -> None:
    fill = np.full((1, 1, filled), voxels.min())
    grown = np.concatenate([fill.ravel(), voxels.ravel()]).reshape(1, 1, -1)
    np.testing.assert_allclose(percentiles(grown, wanted, filled), percentiles(voxels, wanted))


def test_percentiles_of_a_volume_are_exact_in_little_memory() -> None:
    rng = np.random.default_rng(0)
    for voxels in (
        rng.integers(-1000, 3000, (200, 128, 128), dtype=np.int16),
        rng.normal(200, 50, (200, 128, 128)).astype(np.float32),
    ):
        expected = np.percentile(voxels.astype(np.float64), (0.5, 99.5)).tolist()
        tracemalloc.start()
        assert percentiles(voxels, (0.5, 99.5)) == expected
        _, peak = tracemalloc.get_traced_memory()
        tracemalloc.stop()
        assert peak < voxels.nbytes / 2


def test_what_is_no_number_counts_as_the_darkest() -> None:
    voxels = np.arange(-5, 55, dtype=np.float32).reshape(3, 4, 5)
    broken = voxels.copy()
    broken[0, 0, :3] = np.nan, np.inf, -np.inf
    replaced = voxels.copy()
    replaced[0, 0, :3] = broken[np.isfinite(broken)].min()
    assert value_range(broken) == (-2, 54)
    wanted = (0.5, 30.0, 99.5)
    assert percentiles(broken, wanted) == np.percentile(replaced.astype(float), wanted).tolist()
    assert np.array_equal(as_numbers(broken[0], -2), replaced[0])


@pytest.mark.parametrize(
    "voxels",
    [
        np.full((4, 8, 8), 7, np.int16),
        np.full((4, 8, 8), np.nan, np.float32),
        np.zeros((4, 8, 8), np.float32),
    ],
    ids=["constant", "no numbers", "zero"],
)
@pytest.mark.parametrize("modality", ["CT", "MR"])
def test_a_constant_volume_has_no_window(voxels: np.ndarray, modality: str) -> None:
    assert windows_of(voxels, modality, Intensity()) == []


def test_one_bright_voxel_sets_no_window() -> None:
    voxels = np.random.default_rng(0).integers(0, 100, (10, 32, 32)).astype(np.float32)
    voxels[5, 5, 5] = 1e9
    [window] = windows_of(voxels, "MR", Intensity())
    assert window.upper < 100
    voxels[:] = 3
    voxels[5, 5, 5] = 1e9
    assert windows_of(voxels, "MR", Intensity()) == []  # nothing but an outlier: constant


def test_limits_keep_their_digits_however_small() -> None:
    assert Window("percentile", 0.000123456789, 1234567.8).limits == (0.000123457, 1234570.0)


@pytest.mark.parametrize("dtype", ["i2", "i4", "f4", "f8"])
def test_grey_runs_from_limit_to_limit(dtype: str) -> None:
    values = as_numbers(np.array([[-3000, 0, 20, 40, 80, 3000]], dtype), -3000)
    grey = Window("brain", 0, 80).grey(values, 255)
    assert grey.dtype == np.float32
    np.testing.assert_allclose(grey, [[0, 0, 63.75, 127.5, 255, 255]], rtol=1e-6)


def test_large_integers_are_not_rounded_before_they_are_windowed() -> None:
    voxels = np.arange(64, dtype=np.int32).reshape(4, 4, 4) + 2_000_000_000
    [window] = windows_of(voxels, "MR", Intensity(mr_percentiles=(0, 100)))
    grey = window.grey(as_numbers(voxels[1], 0), 63)
    np.testing.assert_allclose(grey.ravel(), np.arange(16, 32))


def test_extreme_floats_neither_warn_nor_break() -> None:
    voxels = np.array([-3e38, 0, 3e38, 1e-40], np.float32).reshape(1, 2, 2)
    [window] = windows_of(voxels, "MR", Intensity(mr_percentiles=(0, 100)))
    grey = window.grey(as_numbers(voxels[0], -3e38), 255)
    np.testing.assert_allclose(grey, [[0, 127.5], [255, 127.5]], rtol=1e-5)
    tiny = (voxels / np.float32(3e38) * 1e-35).astype(np.float32)
    assert windows_of(tiny, "MR", Intensity()) == []
