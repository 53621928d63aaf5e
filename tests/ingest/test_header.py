"""Whatever is in a file, its header gives rows with facts or with a reason."""

from __future__ import annotations

import io
import struct
import zipfile
import zlib
from pathlib import Path

import numpy as np
import pydicom
import pytest
from dicom_files import make_slice, save
from hypothesis import given, settings
from hypothesis import strategies as st
from made_headers import ENHANCED_MR, MR, Elements, Style, encoded, identified, part10
from pydicom.data import get_testdata_file
from pydicom.dataelem import RawDataElement
from pydicom.uid import DeflatedExplicitVRLittleEndian, JPEGBaseline8Bit

from ingest import header, limits
from ingest.fast_header import PER_FRAME_GROUPS
from ingest.header import read_header
from ingest.place import Place
from study.records import Instance, Reason


def test_facts_of_a_plain_slice(tmp_path: Path) -> None:
    dataset = make_slice(
        position=(1.5, -2.0, 3.25), EchoTime=12.5, InstanceNumber=7, SeriesNumber=3
    )
    [path] = save([dataset], tmp_path)
    [row] = read_header(str(path))
    assert row.reason is None
    assert row.position_mm == (1.5, -2.0, 3.25)
    assert (row.echo_time_ms, row.instance_number, row.series_number) == (12.5, 7, 3)
    assert (row.rows, row.columns, row.pixel_spacing_mm) == (8, 8, (1.0, 1.0))
    assert row.file_bytes == path.stat().st_size
    assert "Doe^Jane" in row.identifying


@pytest.mark.parametrize(
    ("content", "reason"),
    [
        (b"", Reason.TRUNCATED),
        (b"hello, I am not DICOM at all", Reason.NOT_DICOM),
        (b"\x89PNG\r\n\x1a\n" + bytes(200), Reason.NOT_DICOM),
        (bytes(128) + b"DICM", Reason.NOT_DICOM),
    ],
)
def test_what_is_not_dicom_becomes_a_row_with_a_reason(
    tmp_path: Path, content: bytes, reason: Reason
) -> None:
    path = tmp_path / "file"
    path.write_bytes(content)
    [row] = read_header(str(path))
    assert row.reason is reason


def test_missing_pixel_bytes_are_a_truncation(tmp_path: Path) -> None:
    [path] = save([make_slice()], tmp_path)
    whole = path.read_bytes()
    path.write_bytes(whole[:-10])
    [row] = read_header(str(path))
    assert row.reason is Reason.TRUNCATED
    assert "10 bytes" in row.detail


def test_cut_anywhere_it_is_truncated_but_between_two_elements(tmp_path: Path) -> None:
    content = save([make_slice(EchoTime=12.5)], tmp_path)[0].read_bytes()
    whole = pydicom.dcmread(io.BytesIO(content))
    items = [whole.get_item(tag) for tag in sorted(whole.keys())]
    ends = {item.value_tell + item.length for item in items if isinstance(item, RawDataElement)}
    meta = 144 + whole.file_meta.FileMetaInformationGroupLength
    start = items[0].value_tell + items[0].length  # with one element there is nothing to go by
    between = []
    for cut in (*range(133, meta), *range(start, len(content))):
        [row] = rows_of(content[:cut], tmp_path)
        if row.reason is not Reason.TRUNCATED:
            between.append(cut)
    assert set(between) <= ends
    assert len(between) > 10


def test_a_missing_file_is_unreadable(tmp_path: Path) -> None:
    [row] = read_header(str(tmp_path / "gone"))
    assert row.reason is Reason.UNREADABLE


def test_what_pydicom_raises_is_not_taken_for_the_systems_errors(tmp_path: Path) -> None:
    """pydicom raises OSError for a sequence that is cut within an item's header: another try will
    not read it."""
    path = tmp_path / "file"
    sequence = struct.pack("<HH2sHI", 0x0008, 0x1110, b"SQ", 0, 0xFFFFFFFF)
    path.write_bytes(bytes(128) + b"DICM" + sequence + b"\xfe\xff")
    [row] = read_header(str(path))
    assert row.reason is Reason.UNREADABLE
    assert row.detail.startswith("OSError: No tag to read")


def test_rounded_direction_cosines_become_unit_vectors(tmp_path: Path) -> None:
    rounded = (0.9986, 0.0523, 0.0, -0.0523, 0.9986, 0.0)
    [row] = read_header(str(save([make_slice(orientation=rounded)], tmp_path)[0]))
    assert row.orientation is not None
    assert sum(v * v for v in row.orientation[:3]) == pytest.approx(1, abs=1e-12)


def test_missing_uid(tmp_path: Path) -> None:
    dataset = make_slice()
    del dataset.SeriesInstanceUID
    [row] = read_header(str(save([dataset], tmp_path)[0]))
    assert row.reason is Reason.MISSING_UID


@settings(max_examples=100, deadline=None)
@given(data=st.data())
def test_no_mutation_of_a_file_raises(
    tmp_path_factory: pytest.TempPathFactory, data: st.DataObject
) -> None:
    """Flipped bytes and cut ends give rows, never an exception."""
    folder = tmp_path_factory.mktemp("mutated")
    [path] = save([make_slice(EchoTime=3.0, SOPInstanceUID="1.2.3.4.5.6")], folder)
    content = bytearray(path.read_bytes())
    for _ in range(data.draw(st.integers(1, 6))):
        content[data.draw(st.integers(0, len(content) - 1))] = data.draw(st.integers(0, 255))
    path.write_bytes(bytes(content[: data.draw(st.integers(0, len(content)))]))
    assert len(read_header(str(path))) >= 1


def test_every_file_of_the_corpus_gives_rows(real_data: Path) -> None:
    for path in sorted((real_data / "dicom").rglob("*")):
        if path.is_file():
            rows = read_header(str(path))
            assert rows
            assert all(row.reason is not Reason.UNREADABLE for row in rows), path


def rows_of(content: bytes, folder: Path) -> list[Instance]:
    """Rows of a file with the content, which both ways of reading agree on."""
    path = folder / "file"
    path.write_bytes(content)
    rows = []
    for fast in (True, False):
        with pytest.MonkeyPatch.context() as patch:
            patch.setattr(header, "_FAST", fast)
            rows.append(read_header(str(path)))
    assert rows[0] == rows[1]
    return rows[0]


def zipped() -> bytes:
    out = io.BytesIO()
    with zipfile.ZipFile(out, "w") as archive:
        archive.writestr("image.dcm", bytes(1000))
    return out.getvalue()


@pytest.mark.parametrize(
    "content",
    [zipped(), struct.pack("<i", 348) + bytes(344) + b"n+1\0", b"patient,finding\n" * 90],
    ids=["zip", "nifti", "table"],
)
def test_other_formats_are_not_dicom(tmp_path: Path, content: bytes) -> None:
    assert rows_of(content, tmp_path)[0].reason is Reason.NOT_DICOM


@pytest.mark.parametrize("preamble", [b"", bytes(128) + b"DICM"], ids=["no preamble", "no meta"])
@pytest.mark.parametrize("explicit", [True, False])
def test_a_data_set_without_meta_information_is_read(
    tmp_path: Path, preamble: bytes, explicit: bool
) -> None:
    content: Elements = identified(MR) | {0x7FE00010: (b"OW", bytes(64))}
    [row] = rows_of(preamble + encoded(content, Style(explicit)), tmp_path)
    assert (row.reason, row.sop_uid, row.has_pixels) == (None, "1.2.3", True)


def test_a_directory_of_files_is_no_image(tmp_path: Path) -> None:
    path = get_testdata_file("DICOMDIR")
    assert isinstance(path, str)
    [row] = rows_of(Path(path).read_bytes(), tmp_path)
    assert row.reason is Reason.UNSUPPORTED_SOP_CLASS


def test_deep_nesting_does_not_end_the_process(tmp_path: Path) -> None:
    level = struct.pack("<HH2sHI", 0x0008, 0x1140, b"SQ", 0, 0xFFFFFFFF)
    level += struct.pack("<HHI", 0xFFFE, 0xE000, 0xFFFFFFFF)
    whole = part10(identified(MR), Style(explicit=True))
    place = whole.index(b"\x20\x00\x0d\x00UI")
    [row] = rows_of(whole[:place] + level * 50_000 + whole[place:], tmp_path)
    assert row.reason is Reason.UNREADABLE


def test_lengths_beyond_the_file(tmp_path: Path) -> None:
    for tag in (0x00081140, 0x00100010, PER_FRAME_GROUPS):
        whole = part10(identified(MR), Style(explicit=True))
        lying = struct.pack("<HH2sHI", tag >> 16, tag & 0xFFFF, b"UT", 0, 0xFFFFFFF0)
        rows = rows_of(whole[:-76] + lying + whole[-76:], tmp_path)
        assert [row.reason for row in rows] == [Reason.TRUNCATED]


def test_a_number_of_frames_beyond_reason(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    frames = (b"SQ", [{}] * 11)
    content: Elements = identified(ENHANCED_MR) | {
        0x00280008: (b"IS", b"2000000000"),
        PER_FRAME_GROUPS: frames,
    }
    assert len(rows_of(part10(content, Style(explicit=True)), tmp_path)) == 11
    monkeypatch.setattr(limits, "MAX_FRAMES", 10)
    [row] = rows_of(part10(content, Style(explicit=True)), tmp_path)
    assert row.reason is Reason.TOO_LARGE


def test_deflated_data_is_inflated_within_a_limit(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    dataset = make_slice(np.zeros((64, 64)), ImageComments="x" * 5000)
    dataset.file_meta.TransferSyntaxUID = DeflatedExplicitVRLittleEndian
    content = save([dataset], tmp_path)[0].read_bytes()
    [row] = rows_of(content, tmp_path)
    assert (row.reason, row.has_pixels, row.rows) == (None, True, 64)
    [row] = rows_of(content[:-40], tmp_path)
    assert row.reason is Reason.TRUNCATED
    monkeypatch.setattr(limits, "LARGEST_INFLATED", 9000)
    [row] = rows_of(content, tmp_path)
    assert row.reason is Reason.TOO_LARGE


def test_a_deflate_bomb_is_not_inflated_whole(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    dataset = make_slice()
    dataset.file_meta.TransferSyntaxUID = DeflatedExplicitVRLittleEndian
    content = save([dataset], tmp_path)[0].read_bytes()
    start = 144 + struct.unpack_from("<I", content, 140)[0]
    press = zlib.compressobj(9, zlib.DEFLATED, -zlib.MAX_WBITS)
    bomb = b"".join(press.compress(bytes(1 << 20)) for _ in range(64)) + press.flush()
    monkeypatch.setattr(limits, "LARGEST_INFLATED", 4 << 20)
    [row] = rows_of(content[:start] + bomb, tmp_path)
    assert row.reason is Reason.TOO_LARGE


def test_encapsulated_pixels_are_followed_to_their_end(tmp_path: Path) -> None:
    """Frames in fragments; padding after them is no truncation, a missing end is one."""
    dataset = make_slice(NumberOfFrames=2)
    dataset.file_meta.TransferSyntaxUID = JPEGBaseline8Bit
    dataset.PixelData = pydicom.encaps.encapsulate([b"\xff" * 3000, b"\xfe" * 3000])
    dataset["PixelData"].is_undefined_length = True
    dataset.add_new(0xFFFCFFFC, "OB", bytes(9000))
    content = save([dataset], tmp_path)[0].read_bytes()
    [row] = rows_of(content, tmp_path)
    assert row.reason is Reason.UNSUPPORTED_SOP_CLASS  # frames without functional groups
    for cut in (12_000, 9_100, 9_020):
        [row] = rows_of(content[:-cut], tmp_path)
        assert row.reason is Reason.TRUNCATED


def test_a_member_of_an_archive_is_read_where_it_lies(tmp_path: Path) -> None:
    path = save([make_slice(EchoTime=12.5)], tmp_path)[0]
    content = path.read_bytes()
    archive = tmp_path / "archive.tar"
    archive.write_bytes(bytes(777) + content + bytes(333))
    [row] = read_header(Place("archive.tar!/a", str(archive), 777, len(content), 42))
    assert (row.path, row.stored_in, row.stored_at) == ("archive.tar!/a", str(archive), 777)
    assert (row.file_bytes, row.file_mtime_ns, row.echo_time_ms) == (len(content), 42, 12.5)
    [row] = read_header(Place("archive.tar!/a", str(archive), 777, len(content) - 9, 42))
    assert row.reason is Reason.TRUNCATED


def test_one_element_that_cannot_be_converted_costs_only_itself(tmp_path: Path) -> None:
    content: Elements = identified(MR) | {
        0x00180081: (b"DS", b"12.5"),
        0x00200011: (b"IS", b"inf "),
        0x00280010: (b"US", b"\1\0\0"),
    }
    [row] = rows_of(part10(content, Style(explicit=True)), tmp_path)
    assert (row.reason, row.echo_time_ms, row.series_number, row.rows) == (None, 12.5, None, 0)


def test_a_header_for_which_memory_does_not_suffice_says_so(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    def starved(*_: object) -> None:
        raise MemoryError

    monkeypatch.setattr(header.slow_header, "read", starved)
    monkeypatch.setattr(header, "_FAST", False)
    path = save([make_slice()], tmp_path)[0]
    assert read_header(str(path))[0].reason is Reason.DECODE_MEMORY
