"""Stored values -> physical values: rescale, padding, high bits, tiles, frames, number kinds."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import encoding
import numpy as np
import pytest
from dicom_files import make_slice, save
from encoding import compressed, image_of
from hypothesis import given
from hypothesis import strategies as st
from pydicom.dataset import Dataset
from pydicom.sequence import Sequence
from pydicom.uid import ImplicitVRLittleEndian
from volumes import RAMP, plan_of, volume_of

from ingest.decode import Stored
from ingest.pixel_header import PixelHeader
from ingest.pixels import read_volume
from ingest.rescale import physical
from ingest.undecodable import UndecodableError
from study.records import Reason, Slice

# -------------------------------------------------------------------------------- kinds


@pytest.mark.parametrize(
    ("slope", "intercept", "kind"),
    [(1, -1024, "i2"), (2, 3, "i2"), (40, 0, "i4"), (1, 40_000, "i4"), (0.5, 0, "f4")],
)
def test_volumes_are_as_narrow_as_their_values(
    tmp_path: Path, slope: float, intercept: float, kind: str
) -> None:
    ds = make_slice(RAMP, RescaleSlope=slope, RescaleIntercept=intercept)
    found = volume_of(tmp_path, [ds, ds])
    assert found.dtype == np.dtype(kind)
    expected = RAMP * np.float64(slope) + intercept
    assert np.array_equal(found, np.stack([expected, expected]))


def test_one_wide_slice_widens_the_volume(tmp_path: Path) -> None:
    slopes = [1, 40, 0.25, 1]
    found = volume_of(tmp_path, [make_slice(RAMP, RescaleSlope=s) for s in slopes])
    assert found.dtype == np.float32
    assert np.array_equal(found, np.stack([RAMP * np.float64(s) for s in slopes]))


def test_sixteen_unsigned_bits_fit_where_their_values_do(tmp_path: Path) -> None:
    pixels = np.full((8, 8), 33_000)
    low = image_of(pixels, 16, RescaleIntercept=-1024, RescaleSlope=1)
    assert volume_of(tmp_path / "low", [low]).dtype == np.int16
    assert volume_of(tmp_path / "high", [image_of(pixels, 16)]).dtype == np.int32


@given(
    bits=st.integers(2, 32),
    is_signed=st.booleans(),
    slope=st.sampled_from([1.0, 3.0, -1.0, 70_000.0, 0.1, 1e20]),
    intercept=st.sampled_from([0.0, -1024.0, 0.5, 2.0**31]),
    seed=st.integers(0, 9),
)
def test_physical_values_are_what_arithmetic_says(
    bits: int, is_signed: bool, slope: float, intercept: float, seed: int
) -> None:
    kind = np.dtype(f"{'i' if is_signed else 'u'}{1 if bits <= 8 else 2 if bits <= 16 else 4}")
    low = -(1 << (bits - 1)) if is_signed else 0
    stored = np.random.default_rng(seed).integers(low, low + (1 << bits), (3, 4)).astype(kind)
    header = header_of(bits, is_signed, slope, intercept)
    found = physical(Stored(stored, None), header, 0)
    exact = stored.astype(object) * (int(slope) if slope.is_integer() else slope) + (
        int(intercept) if intercept.is_integer() else intercept
    )
    if slope.is_integer() and intercept.is_integer():
        fits = [
            k
            for k in ("i2", "i4")
            if np.iinfo(k).min <= exact.min() <= exact.max() <= np.iinfo(k).max
        ]
        assert found.dtype == np.dtype((fits or ["f4"])[0])
        if fits:
            assert found.tolist() == exact.tolist()
    scale = float(np.abs(stored.astype(float) * slope).max()) + abs(intercept)
    np.testing.assert_allclose(found.astype(float), exact.astype(float), atol=3e-7 * scale + 1e-30)


def header_of(bits: int, is_signed: bool, slope: float, intercept: float) -> PixelHeader:
    allocated = 8 if bits <= 8 else 16 if bits <= 16 else 32
    return PixelHeader(
        syntax=encoding.EXPLICIT,
        byte_order="<",
        kind="integer",
        rows=3,
        columns=4,
        samples_per_pixel=1,
        num_frames=1,
        bits_allocated=allocated,
        bits_stored=bits,
        high_bit=bits - 1,
        is_signed=is_signed,
        photometric="MONOCHROME2",
        padding=None,
        pixels_at=0,
        pixels_length=12 * allocated // 8,
        pixels_vr=b"OW",
        offsets=(),
        rescale=lambda frame: (slope, intercept),
    )


@pytest.mark.parametrize(
    ("tag", "kind"), [("FloatPixelData", "f4"), ("DoubleFloatPixelData", "f8")]
)
def test_floating_point_pixels(tmp_path: Path, tag: str, kind: str) -> None:
    values = RAMP.astype(kind) / 7
    ds = make_slice(RAMP, RescaleSlope=2, RescaleIntercept=1)
    del ds.PixelData
    ds.BitsAllocated = 8 * int(kind[1])
    setattr(ds, tag, values.tobytes())
    found = volume_of(tmp_path, [ds])
    assert found.dtype == np.float32
    np.testing.assert_allclose(found[0], values * 2 + 1, rtol=1e-6)


# -------------------------------------------------------------------------------- bits


@pytest.mark.parametrize("is_signed", [False, True])
def test_overlays_in_high_bits_are_masked(tmp_path: Path, is_signed: bool) -> None:
    pixels = np.arange(-32 if is_signed else 0, 32 if is_signed else 64).reshape(8, 8)
    ds = image_of(pixels, 12, is_signed=is_signed)
    words = np.frombuffer(ds.PixelData, "<u2") | np.where(np.arange(64) % 3 == 0, 0x9000, 0)
    ds.PixelData = words.astype("<u2").tobytes()
    assert np.array_equal(volume_of(tmp_path, [ds])[0], pixels)


@pytest.mark.parametrize("is_signed", [False, True])
def test_values_in_high_bits_are_shifted(tmp_path: Path, is_signed: bool) -> None:
    pixels = np.arange(-32 if is_signed else 0, 32 if is_signed else 64).reshape(8, 8)
    ds = image_of(pixels, 12, is_signed=is_signed)
    words = np.frombuffer(ds.PixelData, "<u2")
    ds.PixelData = (words << 4 | 0x3).astype("<u2").tobytes()
    ds.HighBit = 15
    assert np.array_equal(volume_of(tmp_path, [ds])[0], pixels)


def test_odd_lengths_are_padded(tmp_path: Path) -> None:
    pixels = np.arange(49).reshape(7, 7)
    for syntax in (None, encoding.RLE, encoding.JPEG_LS):
        ds = image_of(pixels, 8)
        ds.PixelData += b"\0"
        if syntax:
            ds = compressed(ds, syntax)
        assert np.array_equal(volume_of(tmp_path, [ds])[0], pixels)


# -------------------------------------------------------------------------------- padding


def ct(pixels: np.ndarray, **tags: Any) -> Dataset:
    return make_slice(pixels, modality="CT", **{"RescaleIntercept": 0, "RescaleSlope": 1, **tags})


def test_air_is_what_is_darker_than_air(tmp_path: Path) -> None:
    found = volume_of(tmp_path, [ct(RAMP)], "CT")
    assert np.array_equal(found[0], np.maximum(RAMP, -1024))
    assert np.array_equal(volume_of(tmp_path, [ct(RAMP)], "CT", "keep")[0], RAMP)
    assert np.array_equal(volume_of(tmp_path, [ct(RAMP)], "MR")[0], RAMP)


def test_padding_is_that_of_its_slice(tmp_path: Path) -> None:
    slices = [ct(RAMP, PixelPaddingValue=pad) for pad in (500, 600)] + [ct(RAMP)]
    found = volume_of(tmp_path, slices, "CT")
    for got, pad in zip(found, (500, 600, None), strict=True):
        assert np.array_equal(got, np.where(pad == RAMP, -1024, np.maximum(RAMP, -1024)))
    kept = volume_of(tmp_path, slices, "CT", "keep")
    assert np.array_equal(kept, np.stack([RAMP] * 3))


@pytest.mark.parametrize("ends", [(500, 900), (900, 500), (-2000, 900)])
def test_padding_may_be_a_range(tmp_path: Path, ends: tuple[int, int]) -> None:
    ds = ct(RAMP, PixelPaddingValue=ends[0], PixelPaddingRangeLimit=ends[1])
    is_padding = (min(ends) <= RAMP) & (max(ends) >= RAMP)
    expected = np.where(is_padding, -1024, np.maximum(RAMP, -1024))
    assert np.array_equal(volume_of(tmp_path, [ds], "CT")[0], expected)


@pytest.mark.parametrize("intercept", [0, 1100, -1024])
def test_an_unsigned_tag_of_a_signed_image(tmp_path: Path, intercept: int) -> None:
    """63536 means -2000, also where the intercept lifts it above air."""
    pixels = np.where(RAMP == 0, -2000, np.maximum(RAMP, 0))
    ds = ct(pixels, RescaleIntercept=intercept)
    ds.add_new("PixelPaddingValue", "US", 63536)
    expected = np.where(pixels == -2000, -1024, np.maximum(pixels + intercept, -1024))
    assert np.array_equal(volume_of(tmp_path, [ds], "CT")[0], expected)


def test_padding_beyond_the_stored_bits(tmp_path: Path) -> None:
    """-2000 in an image of 12 unsigned bits is not the 2096 that its low bits say."""
    pixels = np.full((8, 8), 2096)
    ds = image_of(pixels, 12, Modality="CT", RescaleIntercept=-1024, RescaleSlope=1)
    words = np.frombuffer(ds.PixelData, "<u2").copy()
    words[::2] = 63536
    ds.PixelData = words.tobytes()
    ds.add_new("PixelPaddingValue", "US", 63536)
    found = volume_of(tmp_path, [ds], "CT")[0]
    assert np.array_equal(found.ravel(), np.where(np.arange(64) % 2 == 0, -1024, 1072))


# -------------------------------------------------------------------------------- photometric


@pytest.mark.parametrize("is_signed", [False, True])
def test_monochrome1_is_inverted_before_the_rescale(tmp_path: Path, is_signed: bool) -> None:
    pixels = np.arange(-32 if is_signed else 0, 32 if is_signed else 64).reshape(8, 8)
    tags = {"PhotometricInterpretation": "MONOCHROME1", "RescaleSlope": 2, "RescaleIntercept": 1}
    ds = image_of(pixels, 12, is_signed=is_signed, **tags)
    top = -1 if is_signed else 4095
    assert np.array_equal(volume_of(tmp_path, [ds])[0], (top - pixels) * 2 + 1)
    assert np.array_equal(volume_of(tmp_path, [ds], padding="keep")[0], pixels * 2 + 1)
    assert np.array_equal(volume_of(tmp_path, [ds], "CT")[0], pixels * 2 + 1)


# -------------------------------------------------------------------------------- frames


def enhanced(frames: np.ndarray, *, per_frame: list[float | None], shared: float | None) -> Dataset:
    """A multi-frame image whose slopes are in functional groups (None: in none)."""

    def group(slope: float | None) -> Dataset:
        item, position = Dataset(), Dataset()
        position.ImagePositionPatient = [0, 0, 0]
        item.PlanePositionSequence = Sequence([position])
        if slope is not None:
            transform = Dataset()
            transform.RescaleIntercept, transform.RescaleSlope = 10, slope
            transform.RescaleType = "US"
            item.PixelValueTransformationSequence = Sequence([transform])
        return item

    ds = image_of(frames, 16, is_signed=True, RescaleSlope=7, RescaleIntercept=1)
    ds.SharedFunctionalGroupsSequence = Sequence([group(shared)])
    ds.PerFrameFunctionalGroupsSequence = Sequence([group(slope) for slope in per_frame])
    return ds


@pytest.mark.parametrize("is_undefined", [False, True])
@pytest.mark.parametrize("is_implicit", [False, True])
@pytest.mark.parametrize(
    ("per_frame", "shared", "expected"),
    [
        ([2, 3, 4], 5, [(2, 10), (3, 10), (4, 10)]),
        ([2, None, 4], 5, [(2, 10), (5, 10), (4, 10)]),
        ([None] * 3, 5, [(5, 10)] * 3),
        ([2, None, None], None, [(2, 10), (7, 1), (7, 1)]),
    ],
)
def test_a_frame_has_its_own_rescale(
    tmp_path: Path,
    per_frame: list[float | None],
    shared: float | None,
    expected: list[tuple[float, float]],
    is_implicit: bool,
    is_undefined: bool,
) -> None:
    frames = np.stack([RAMP, RAMP + 1, RAMP + 2])
    ds = enhanced(frames, per_frame=per_frame, shared=shared)
    if is_implicit:
        ds.file_meta.TransferSyntaxUID = ImplicitVRLittleEndian
    if is_undefined:
        for name in ("SharedFunctionalGroupsSequence", "PerFrameFunctionalGroupsSequence"):
            ds[name].is_undefined_length = True
            for item in ds[name].value:
                item.is_undefined_length_sequence_item = True
    [path] = save([ds], tmp_path)
    order = [2, 0, 1]
    found = read_volume(plan_of([Slice(str(path), n) for n in order], (8, 8)))
    wanted = [frames[n] * expected[n][0] + expected[n][1] for n in order]
    assert np.array_equal(found, np.stack(wanted))


def test_a_frame_that_is_not_there(tmp_path: Path) -> None:
    [path] = save([make_slice(RAMP)], tmp_path)
    with pytest.raises(UndecodableError, match="frame 1 of 1"):
        read_volume(plan_of([Slice(str(path), 1)], (8, 8)))


@pytest.mark.parametrize("value", [np.nan, np.inf])
def test_values_that_are_not_finite_are_a_reason(tmp_path: Path, value: float) -> None:
    ds = make_slice(RAMP)
    del ds.PixelData
    ds.BitsAllocated = 32
    ds.FloatPixelData = np.where(RAMP == 0, value, RAMP).astype("<f4").tobytes()
    with pytest.raises(UndecodableError, match="not finite"):
        volume_of(tmp_path, [ds])
    with pytest.raises(UndecodableError, match="not finite"):
        volume_of(tmp_path / "b", [make_slice(RAMP, RescaleSlope="1e38")])


@pytest.mark.parametrize("slope", ["nan", "inf", "1\\1"])
def test_a_slope_that_is_no_number_is_a_reason(tmp_path: Path, slope: str) -> None:
    [path] = save([make_slice(RAMP, RescaleSlope="123")], tmp_path)
    data = path.read_bytes()
    assert data.count(b"DS\x04\x00123 ") == 1
    path.write_bytes(data.replace(b"DS\x04\x00123 ", b"DS\x04\x00" + slope.encode().ljust(4)))
    with pytest.raises(UndecodableError) as error:
        read_volume(plan_of([Slice(str(path), 0)], (8, 8)))
    assert error.value.reason is Reason.UNDECODABLE_PIXELS


def test_tiles_lie_in_reading_order(tmp_path: Path) -> None:
    tiles = np.arange(5 * 4 * 6).reshape(5, 4, 6)
    sheet = np.zeros((8, 18), int)
    for n, tile in enumerate(tiles):
        sheet[n // 3 * 4 : n // 3 * 4 + 4, n % 3 * 6 : n % 3 * 6 + 6] = tile
    [path] = save([make_slice(sheet)], tmp_path)
    found = read_volume(plan_of([Slice(str(path), 0, n) for n in (4, 0, 2)], (4, 6)))
    assert np.array_equal(found, tiles[[4, 0, 2]])
    with pytest.raises(UndecodableError):
        read_volume(plan_of([Slice(str(path), 0, 6)], (4, 6)))
    with pytest.raises(UndecodableError):
        read_volume(plan_of([Slice(str(path), 0, 0)], (4, 19)))
