"""Every transfer syntax gives the pixels that went in, or a reason; never others."""

from __future__ import annotations

import hashlib
import struct
from pathlib import Path
from typing import Any

import codestreams
import encoding
import numpy as np
import pydicom
import pytest
from encoding import compressed, encapsulated, image_of, save
from pydicom.encaps import encapsulate_extended

import ingest.decode
from ingest.codecs import DECODERS
from ingest.decode import open_image
from ingest.pixel_header import read_pixel_header
from ingest.pixels import digests
from ingest.place import Place
from ingest.slow_pixel_header import read_with_pydicom
from ingest.undecodable import UndecodableError
from study.records import Reason

PLAIN = (encoding.IMPLICIT, encoding.EXPLICIT, encoding.BIG_ENDIAN, encoding.DEFLATED)
LOSSLESS = (
    encoding.RLE,
    encoding.DEFLATED_FRAMES,
    encoding.JPEG_LOSSLESS,
    encoding.JPEG_LOSSLESS_SV1,
    encoding.JPEG_LS,
    encoding.JPEG_2000,
)
DEPTHS = [(8, False), (8, True), (10, False), (12, False), (12, True), (16, False), (16, True)]


def values_of(path: str, frame: int = 0) -> np.ndarray:
    with open_image(Place(path)) as image:
        return image.stored(frame).values


def picture(bits: int, is_signed: bool, shape: tuple[int, ...] = (40, 48)) -> np.ndarray:
    """Whole numbers over the full range of their bits."""
    low = -(1 << (bits - 1)) if is_signed else 0
    found = np.random.default_rng(bits).integers(low, low + (1 << bits), shape)
    found.flat[:2] = low, low + (1 << bits) - 1
    return found


@pytest.mark.parametrize(("bits", "is_signed"), DEPTHS)
@pytest.mark.parametrize("syntax", [*PLAIN, *LOSSLESS])
def test_lossless_syntaxes_give_what_went_in(
    tmp_path: Path, syntax: str, bits: int, is_signed: bool
) -> None:
    expected = picture(bits, is_signed)
    ds = image_of(expected, bits, is_signed=is_signed)
    if syntax in PLAIN:
        path = save(ds, tmp_path / "a.dcm", syntax)
    else:
        path = save(compressed(ds, syntax), tmp_path / "a.dcm")
    found = values_of(path)
    assert found.dtype.kind == ("i" if is_signed else "u")
    assert np.array_equal(found, expected)


@pytest.mark.parametrize("bits", [6, 7])
def test_jpeg_ls_of_few_bits(tmp_path: Path, bits: int) -> None:
    expected = picture(bits, False)
    path = save(compressed(image_of(expected, bits), encoding.JPEG_LS), tmp_path / "a.dcm")
    assert np.array_equal(values_of(path), expected)


@pytest.mark.parametrize("is_signed", [False, True])
@pytest.mark.parametrize("syntax", [encoding.JPEG_LS_NEAR, encoding.JPEG_2000_LOSSY])
def test_lossy_syntaxes_are_near(tmp_path: Path, syntax: str, is_signed: bool) -> None:
    smooth = np.tile(codestreams.smooth().astype(int), (2, 2))
    expected = smooth - (2000 if is_signed else 0)
    ds = image_of(expected, 12, is_signed=is_signed)
    found = values_of(save(compressed(ds, syntax), tmp_path / "a.dcm"))
    error = np.abs(found - expected).max()
    assert 0 < error <= (2 if syntax == encoding.JPEG_LS_NEAR else 150)


@pytest.mark.parametrize("syntax", [encoding.JPEG_BASELINE, encoding.JPEG_EXTENDED])
def test_jpeg_of_8_bits(tmp_path: Path, syntax: str) -> None:
    expected = codestreams.smooth() >> 4
    found = values_of(save(compressed(image_of(expected, 8), syntax), tmp_path / "a.dcm"))
    assert np.abs(found.astype(int) - expected).max() <= 12


def test_extended_jpeg_of_12_bits_is_what_libjpeg_turbo_makes_of_it(tmp_path: Path) -> None:
    ds = image_of(codestreams.smooth(), 12)
    stream = codestreams.JPEG_12_BIT_STREAM
    found = values_of(save(encapsulated(ds, encoding.JPEG_EXTENDED, [stream]), tmp_path / "a.dcm"))
    assert hashlib.sha256(found.tobytes()).hexdigest() == codestreams.JPEG_12_BIT_SHA256


@pytest.mark.parametrize("syntax", encoding.HTJ2K)
def test_high_throughput_jpeg_2000(tmp_path: Path, syntax: str) -> None:
    ds = image_of(codestreams.busy(), 12)
    stream = codestreams.HTJ2K_LOSSLESS_STREAM
    path = save(encapsulated(ds, syntax, [stream]), tmp_path / "a.dcm")
    assert np.array_equal(values_of(path), codestreams.busy())
    lossy = encapsulated(ds, syntax, [codestreams.HTJ2K_LOSSY_STREAM])
    found = values_of(save(lossy, tmp_path / "b.dcm"))
    assert np.abs(found.astype(int) - codestreams.smooth()).max() <= 60


@pytest.mark.parametrize(
    "stream",
    [codestreams.JPEG_LOSSLESS_STREAM, codestreams.JPEG_LOSSLESS_PREDICTOR_6_STREAM],
)
@pytest.mark.parametrize(
    "syntax", [encoding.JPEG_LOSSLESS, encoding.JPEG_BASELINE, encoding.JPEG_LS]
)
def test_the_codestream_says_what_it_is(tmp_path: Path, stream: bytes, syntax: str) -> None:
    """Lossless JPEG, also under the UID of something else."""
    ds = encapsulated(image_of(codestreams.busy(), 12), syntax, [stream])
    assert np.array_equal(values_of(save(ds, tmp_path / "a.dcm")), codestreams.busy())


@pytest.mark.parametrize("syntax", [encoding.JPEG_LS, encoding.JPEG_2000, encoding.JPEG_LOSSLESS])
def test_an_unsigned_codestream_of_signed_pixels(tmp_path: Path, syntax: str) -> None:
    expected = picture(12, True)
    ds = compressed(image_of(expected & 0xFFF, 12), syntax)
    ds.PixelRepresentation = 1
    assert np.array_equal(values_of(save(ds, tmp_path / "a.dcm")), expected)


def test_a_signed_codestream_of_unsigned_pixels(tmp_path: Path) -> None:
    expected = picture(12, False)
    ds = compressed(image_of(expected, 12, is_signed=True), encoding.JPEG_2000)
    ds.PixelRepresentation = 0
    assert np.array_equal(values_of(save(ds, tmp_path / "a.dcm")), expected)


@pytest.mark.parametrize("syntax", [encoding.JPEG_LS, encoding.JPEG_2000, encoding.JPEG_LOSSLESS])
def test_a_codestream_of_fewer_bits_than_the_header_says(tmp_path: Path, syntax: str) -> None:
    expected = picture(12, True)
    if syntax == encoding.JPEG_LOSSLESS:  # GDCM would write 16 bits
        expected = (codestreams.busy().astype(int) ^ 0x800) - 0x800
        stream = codestreams.JPEG_LOSSLESS_STREAM
        ds = encapsulated(image_of(expected & 0xFFF, 12), syntax, [stream])
    else:
        ds = compressed(image_of(expected & 0xFFF, 12), syntax)
    ds.PixelRepresentation, ds.BitsStored, ds.HighBit = 1, 16, 15
    assert np.array_equal(values_of(save(ds, tmp_path / "a.dcm")), expected)


def test_the_table_is_what_the_readme_promises() -> None:
    named = {*LOSSLESS, *encoding.HTJ2K, encoding.JPEG_BASELINE, encoding.JPEG_EXTENDED}
    assert set(DECODERS) == named | {encoding.JPEG_LS_NEAR, encoding.JPEG_2000_LOSSY}


@pytest.mark.parametrize("syntax", ["1.2.840.10008.1.2.4.100", "1.2.840.10008.1.2.4.110", "1.2.3"])
def test_other_syntaxes_are_not_guessed_at(tmp_path: Path, syntax: str) -> None:
    path = save(encapsulated(image_of(np.zeros((4, 4)), 8), syntax, [b"\0\0"]), tmp_path / "a.dcm")
    with pytest.raises(UndecodableError) as error:
        values_of(path)
    assert error.value.reason is Reason.UNDECODABLE_TRANSFER_SYNTAX
    assert syntax in error.value.detail


# -------------------------------------------------------------------------------- damage


@pytest.mark.parametrize("syntax", [*LOSSLESS, encoding.JPEG_BASELINE])
def test_a_cut_frame_is_a_reason_not_half_an_image(tmp_path: Path, syntax: str) -> None:
    bits = 8 if syntax == encoding.JPEG_BASELINE else 12
    ds = image_of(picture(bits, False), bits)
    whole = raw_streams(compressed(ds, syntax))[0]
    for cut in (20, len(whole) // 2, len(whole) - 3):
        path = save(encapsulated(ds, syntax, [whole[:-cut]]), tmp_path / "a.dcm")
        with pytest.raises(UndecodableError) as error:
            values_of(path)
        assert error.value.reason is Reason.UNDECODABLE_PIXELS


@pytest.mark.parametrize("syntax", LOSSLESS)
def test_a_frame_of_another_size_is_refused_unread(tmp_path: Path, syntax: str) -> None:
    ds = compressed(image_of(picture(12, False), 12), syntax)
    ds.Rows = 41
    with pytest.raises(UndecodableError) as error:
        values_of(save(ds, tmp_path / "a.dcm"))
    assert error.value.reason is Reason.UNDECODABLE_PIXELS


def test_jpeg_2000_may_lack_its_end(tmp_path: Path) -> None:
    ds = image_of(picture(12, False), 12)
    [stream] = raw_streams(compressed(ds, encoding.JPEG_2000))
    assert stream.rstrip(b"\0").endswith(b"\xff\xd9")
    short = stream.rstrip(b"\0")[:-2]
    path = save(encapsulated(ds, encoding.JPEG_2000, [short]), tmp_path / "a.dcm")
    assert np.array_equal(values_of(path), picture(12, False))


# -------------------------------------------------------------------------------- fragments


def raw_streams(ds: pydicom.Dataset) -> list[bytes]:
    return list(pydicom.encaps.generate_frames(ds.PixelData, number_of_frames=1))


def multi_frame(syntax: str = encoding.JPEG_LS) -> tuple[np.ndarray, pydicom.Dataset, list[bytes]]:
    expected = picture(12, False, (5, 40, 48))
    ds = image_of(expected, 12)
    streams = [raw_streams(compressed(image_of(f, 12), syntax))[0] for f in expected]
    return expected, ds, streams


@pytest.mark.parametrize("has_table", [True, False])
@pytest.mark.parametrize("pieces", [1, 3])
@pytest.mark.parametrize("syntax", [encoding.JPEG_LS, encoding.JPEG_2000, encoding.RLE])
def test_frames_in_pieces(tmp_path: Path, syntax: str, pieces: int, has_table: bool) -> None:
    expected, ds, streams = multi_frame(syntax)
    ds = encapsulated(ds, syntax, streams, fragments_per_frame=pieces, has_bot=has_table)
    path = save(ds, tmp_path / "a.dcm")
    if syntax == encoding.RLE and pieces > 1 and not has_table:
        with pytest.raises(UndecodableError, match="no offset table"):
            values_of(path)  # nothing says where a frame begins
        return
    for frame, pixels in enumerate(expected):
        assert np.array_equal(values_of(path, frame), pixels)


@pytest.mark.parametrize("wrong", ["shifted", "zeros", "short", "beyond"])
def test_a_wrong_offset_table_is_not_believed(tmp_path: Path, wrong: str) -> None:
    expected, ds, streams = multi_frame()
    ds = encapsulated(ds, encoding.JPEG_LS, streams, fragments_per_frame=2)
    data = bytearray(ds.PixelData)
    table = list(struct.unpack_from("<5I", data, 8))
    table = {
        "shifted": [n + 2 * (n > 0) for n in table],
        "zeros": [0] * 5,
        "short": [*table[:4], table[0]],
        "beyond": [*table[:4], 1 << 31],
    }[wrong]
    struct.pack_into("<5I", data, 8, *table)
    ds.PixelData = bytes(data)
    path = save(ds, tmp_path / "a.dcm")
    assert all(np.array_equal(values_of(path, n), f) for n, f in enumerate(expected))


def test_an_extended_offset_table(tmp_path: Path) -> None:
    expected, ds, streams = multi_frame(encoding.RLE)
    encapsulated(ds, encoding.RLE, streams)
    pixels, offsets, lengths = encapsulate_extended(streams)
    ds.PixelData, ds.ExtendedOffsetTable, ds.ExtendedOffsetTableLengths = pixels, offsets, lengths
    path = save(ds, tmp_path / "a.dcm")
    assert all(np.array_equal(values_of(path, n), f) for n, f in enumerate(expected))


def test_a_single_frame_in_many_pieces_without_an_end(tmp_path: Path) -> None:
    expected = picture(12, False)
    ds = image_of(expected, 12)
    streams = raw_streams(compressed(ds, encoding.JPEG_2000))
    ds = encapsulated(ds, encoding.JPEG_2000, streams, fragments_per_frame=7)
    path = tmp_path / "a.dcm"
    save(ds, path)
    path.write_bytes(path.read_bytes()[:-8])  # the sequence delimiter
    assert np.array_equal(values_of(str(path)), expected)


def test_only_wanted_frames_are_decoded(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    expected, ds, streams = multi_frame()
    path = save(encapsulated(ds, encoding.JPEG_LS, streams), tmp_path / "a.dcm")
    decoded = []

    def count(data: bytes, header: Any) -> tuple[np.ndarray, int]:
        decoded.append(len(data))
        return DECODERS[header.syntax](data, header)

    monkeypatch.setattr(ingest.decode, "decode_frame", count)
    assert np.array_equal(values_of(path, 3), expected[3])
    assert len(decoded) == 1


def test_of_ten_thousand_frames_only_the_wanted_bytes_are_read(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    frame = picture(16, True, (64, 64))
    ds = image_of(frame, 16, is_signed=True, NumberOfFrames=10_000)
    path = Path(save(ds, tmp_path / "a.dcm"))
    data = bytearray(path.read_bytes()[: -frame.size * 2])
    struct.pack_into("<I", data, len(data) - 4, 10_000 * frame.size * 2)
    with path.open("wb") as file:  # a file with a hole: every other frame is zero
        file.write(data)
        file.seek(9_998 * frame.size * 2, 1)
        file.write(frame.astype("<i2").tobytes())
        file.truncate(len(data) + 10_000 * frame.size * 2)
    read: list[int] = []
    original = ingest.source.FileSource.read

    def counted(self: Any, start: int, length: int) -> bytes:
        found = original(self, start, length)
        read.append(len(found))
        return found

    monkeypatch.setattr(ingest.source.FileSource, "read", counted)
    assert np.array_equal(values_of(str(path), 9_998), frame)
    assert read == [frame.size * 2]


# -------------------------------------------------------------------------------- real files


def test_one_image_in_nine_transfer_syntaxes(real_data: Path) -> None:
    folder = real_data / "dicom" / "mr_transfer_syntaxes_siemens" / "data" / "In"
    paths = sorted(folder.iterdir())
    assert len(paths) == 9
    first = values_of(str(paths[0]))
    assert int(first.sum()) == 38036663
    assert all(np.array_equal(values_of(str(path)), first) for path in paths)
    assert len({digest for path in paths for digest in digests(Place(str(path)))}) == 1


def test_headers_as_pydicom_reads_them(real_data: Path) -> None:
    """The walk over raw elements, and pydicom, on every file that has grey pixels."""
    compared = 0
    for path in sorted((real_data / "dicom").rglob("*"))[::5]:
        if not path.is_file() or path.parent == real_data / "dicom" or path.stat().st_size < 1000:
            continue
        with path.open("rb") as stream:
            try:
                ours, source = read_pixel_header(stream, path.stat().st_size)
            except UndecodableError:
                continue
            if type(source).__name__ != "FileSource":
                continue
            theirs = read_with_pydicom(stream)
        for name in ours.__dataclass_fields__:
            if name not in ("rescale", "offsets"):
                assert getattr(ours, name) == getattr(theirs, name), (path, name)
        frames = range(min(ours.num_frames, 200))
        assert [ours.rescale(n) for n in frames] == [theirs.rescale(n) for n in frames]
        compared += 1
    assert compared > 50


def test_pydicoms_own_files_as_pydicom_decodes_them() -> None:
    folder = Path(pydicom.__file__).parent / "data" / "test_files"
    compared = []
    for path in sorted(folder.glob("*.dcm")):
        try:
            ds = pydicom.dcmread(path)
            expected = ds.pixel_array
        except Exception:  # not an image, or broken on purpose
            continue
        if ds.SamplesPerPixel != 1 or ds.BitsAllocated == 1:
            continue
        expected = expected.reshape(-1, ds.Rows, ds.Columns)
        with open_image(Place(str(path))) as image:
            for frame, pixels in enumerate(expected[:3]):
                assert np.array_equal(image.stored(frame).values, pixels), (path.name, frame)
        compared.append(path.name)
    assert {"MR_small_RLE.dcm", "JPEG2000.dcm", "J2K_pixelrep_mismatch.dcm"} <= set(compared)
    assert len(compared) > 20
