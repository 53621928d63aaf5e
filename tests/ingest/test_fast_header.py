"""The fast way of reading a header gives what pydicom gives, or leaves the file to it."""

from __future__ import annotations

import os
import random
from pathlib import Path
from typing import Any

import pydicom
import pytest
from dicom_files import make_slice, save
from hypothesis import given, settings
from hypothesis import strategies as st
from made_headers import Maker
from pydicom.data import get_testdata_files
from pydicom.dataset import Dataset
from pydicom.sequence import Sequence
from pydicom.uid import (
    DeflatedExplicitVRLittleEndian,
    EnhancedMRImageStorage,
    ExplicitVRBigEndian,
    ImplicitVRLittleEndian,
)

from ingest import fast_header, fast_values, header, slow_header, tags, vendors
from ingest.elements import Unusual
from study.records import Instance, Reason

SOAK = int(os.environ.get("DICOM2CLIP_SOAK", "0"))


def both(path: Path | str) -> tuple[list[Instance], list[Instance]]:
    """Rows of the file, read the fast way and by pydicom."""
    rows = []
    for fast in (True, False):
        with pytest.MonkeyPatch.context() as patch:
            patch.setattr(header, "_FAST", fast)
            rows.append(header.read_header(str(path)))
    return rows[0], rows[1]


def is_fast(path: Path | str) -> bool:
    """Whether the file's rows were made without pydicom."""
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(slow_header, "read", lambda stream, size: None)
        return header.read_header(str(path))[0].reason is not Reason.NOT_DICOM


def is_lost_by_pydicom(slow: list[Instance]) -> bool:
    """pydicom gives up on the whole file for damage within a sequence that nobody asks for; it is
    the better for the fast way to go on."""
    return slow[0].reason is Reason.UNREADABLE


def nested(depth: int) -> Dataset:
    item = Dataset()
    item.StudyInstanceUID = "9.9.9"
    if depth:
        item.ReferencedImageSequence = Sequence([nested(depth - 1), nested(depth - 1)])
        item["ReferencedImageSequence"].is_undefined_length = depth % 2 == 0
        item.is_undefined_length_sequence_item = depth % 2 == 1
    return item


def enhanced(num_frames: int = 3, *, undefined: bool = False) -> Dataset:
    """Frames that differ in position, share an echo time, and override a shared spacing."""
    dataset = make_slice(NumberOfFrames=num_frames, EchoTime=99.0)
    dataset.SOPClassUID = dataset.file_meta.MediaStorageSOPClassUID = EnhancedMRImageStorage
    dataset.PixelData = dataset.PixelData * num_frames
    shared = Dataset()
    shared.MREchoSequence = Sequence([Dataset()])
    shared.MREchoSequence[0].EffectiveEchoTime = 12.5
    shared.PixelMeasuresSequence = Sequence([Dataset()])
    shared.PixelMeasuresSequence[0].PixelSpacing = [3.0, 3.0]
    dataset.SharedFunctionalGroupsSequence = Sequence([shared])
    dataset.PerFrameFunctionalGroupsSequence = Sequence()
    for index in range(num_frames):
        frame = Dataset()
        for keyword, inner, value in (
            ("PixelMeasuresSequence", "PixelSpacing", [2.0, 2.0]),
            ("PlanePositionSequence", "ImagePositionPatient", [0.0, 0.0, 1.5 * index]),
            ("FrameContentSequence", "StackID", "1"),
        ):
            item = Dataset()
            setattr(item, inner, value)
            item.is_undefined_length_sequence_item = undefined
            setattr(frame, keyword, Sequence([item]))
            frame[keyword].is_undefined_length = undefined
        frame.is_undefined_length_sequence_item = undefined
        dataset.PerFrameFunctionalGroupsSequence.append(frame)
    dataset["PerFrameFunctionalGroupsSequence"].is_undefined_length = undefined
    return dataset


@pytest.mark.parametrize(
    "tags",
    [
        {},
        {"PatientName": "Müller^Jörg", "SpecificCharacterSet": "ISO_IR 100"},
        {"PatientName": "山田^太郎", "SpecificCharacterSet": "ISO_IR 192"},
        {"PatientName": "Иванов", "SpecificCharacterSet": "ISO_IR 144"},
        {"PatientName": "Wang", "SpecificCharacterSet": ["", "ISO 2022 IR 87"]},
        {"StudyDescription": " padded ", "AccessionNumber": "", "EchoTime": "12.5"},
        {"ReferencedImageSequence": Sequence([nested(2)])},
        {"StudyComments": "a\\b", "SeriesDescription": "x" * 60},
        {"ImageComments": "y" * 40000, "OtherPatientIDs": ["A", "B"]},
        {"SOPClassUID": "1.2.840.10008.5.1.4.1.1.7"},
    ],
)
@pytest.mark.parametrize("syntax", [None, ImplicitVRLittleEndian])
def test_equal_and_fast(tmp_path: Path, tags: dict[str, Any], syntax: str | None) -> None:
    dataset = make_slice(**tags)
    if syntax:
        dataset.file_meta.TransferSyntaxUID = syntax
    [path] = save([dataset], tmp_path)
    fast, slow = both(path)
    assert fast == slow
    assert is_fast(path)


@pytest.mark.parametrize("syntax", [None, ImplicitVRLittleEndian])
@pytest.mark.parametrize("undefined", [False, True])
def test_enhanced_frames_are_fast(tmp_path: Path, undefined: bool, syntax: str | None) -> None:
    dataset = enhanced(undefined=undefined)
    if syntax:
        dataset.file_meta.TransferSyntaxUID = syntax
    [path] = save([dataset], tmp_path)
    fast, slow = both(path)
    assert fast == slow
    assert is_fast(path)
    assert [row.position_mm for row in fast] == [(0, 0, 0), (0, 0, 1.5), (0, 0, 3.0)]
    assert {row.pixel_spacing_mm for row in fast} == {(2.0, 2.0)}  # its own over the shared
    assert {row.echo_time_ms for row in fast} == {12.5}  # shared over the top
    assert {(row.stack_id, row.num_frames) for row in fast} == {("1", 3)}


def test_groups_with_a_character_set_of_their_own_are_left_to_pydicom(tmp_path: Path) -> None:
    dataset = enhanced()
    item = dataset.PerFrameFunctionalGroupsSequence[1].FrameContentSequence[0]
    item.SpecificCharacterSet, item.StackID = "ISO_IR 144", "\u0416"
    [path] = save([dataset], tmp_path)
    fast, slow = both(path)
    assert fast == slow
    assert [row.stack_id for row in fast] == ["1", "\u0416", "1"]
    assert not is_fast(path)


@pytest.mark.parametrize("announced", [1, 2, 3, 5, 2_000_000_000])
def test_rows_of_frames_that_both_numbers_name(tmp_path: Path, announced: int) -> None:
    dataset = enhanced(3)
    dataset.NumberOfFrames = announced
    fast, slow = both(save([dataset], tmp_path)[0])
    assert fast == slow
    assert [row.frame for row in fast] == list(range(min(3, announced)))
    assert {row.num_frames for row in fast} == {min(3, announced)}
    assert bool(fast[0].detail) is (announced != 3)


def test_private_elements_in_implicit_vr_are_looked_up(tmp_path: Path) -> None:
    dataset = make_slice()
    dataset.file_meta.TransferSyntaxUID = ImplicitVRLittleEndian
    dataset.add_new(0x00190010, "LO", "SIEMENS MR HEADER")
    dataset.add_new(0x0019100C, "IS", "750")
    [path] = save([dataset], tmp_path)
    fast, slow = both(path)
    assert fast == slow
    assert fast[0].b_value_s_per_mm2 == 750
    assert is_fast(path)


@pytest.mark.parametrize("syntax", [ExplicitVRBigEndian, DeflatedExplicitVRLittleEndian])
def test_unusual_syntaxes_are_left_to_pydicom(tmp_path: Path, syntax: pydicom.uid.UID) -> None:
    dataset = make_slice()
    dataset.file_meta.TransferSyntaxUID = syntax
    if syntax == ExplicitVRBigEndian:
        dataset["PixelData"].VR = "OW"
        dataset.set_original_encoding(False, False)
    [path] = save([dataset], tmp_path)
    fast, slow = both(path)
    assert fast == slow
    assert fast[0].reason is None
    assert not is_fast(path)


def test_big_elements_are_not_read(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    dataset = make_slice(EchoTime=3.0)
    dataset.add_new(0x00290010, "LO", "SIEMENS CSA HEADER")
    dataset.add_new(0x00291020, "OB", bytes(1 << 20))
    [path] = save([dataset], tmp_path)
    num_bytes = 0

    class Counting:
        def __init__(self, file: Any) -> None:
            self.seek, self._file = file.seek, file

        def read(self, size: int = -1) -> bytes:
            nonlocal num_bytes
            data: bytes = self._file.read(size)
            num_bytes += len(data)
            return data

    with path.open("rb") as file:
        found = fast_header.read(Counting(file), path.stat().st_size)  # type: ignore[arg-type]
    assert found is not None
    assert found.get("EchoTime") == "3.0"
    assert num_bytes <= 2 * fast_header.FIRST_READ


def test_nothing_is_asked_for_that_is_not_kept() -> None:
    """Keywords and tags that the facts ask for, and the lists that readers keep."""
    asked: set[Any] = set()

    class Recorder:
        def get(self, name: Any) -> Any:
            asked.add(name)
            return {"ImageType": ["ORIGINAL", "PRIMARY", "MOSAIC"], 0x00651050: 4}.get(name)

    source = Recorder()
    tags.study_facts(source)
    tags.image_facts([source])
    vendors.mosaic_facts(source)
    unknown = {n for n in asked if n not in (fast_values.TAGS if isinstance(n, str) else KEPT)}
    assert not unknown - {"MediaStorageSOPClassUID"}


KEPT = frozenset(tags.PRIVATE_TAGS)


def test_values_of_unclear_type_are_left_to_pydicom() -> None:
    for vr, payload in (
        (b"PN", b"A="),
        (b"LO", b"\x1b$B"),
        (b"US", b"\1"),
        (b"IS", b"1.5 "),
        (b"DS", b"abc "),
        (b"CS", b"\xe9t"),
        (b"SQ", b"\xfe\xff"),
        (b"OB", b"ab"),
    ):
        with pytest.raises(Unusual):
            fast_values.Values({0x00180081: (vr, payload)}, "latin-1").get("EchoTime")


@settings(max_examples=250 * (SOAK or 1))
@given(seed=st.integers(0, 1 << 40))
def test_equal_on_made_files(tmp_path_factory: pytest.TempPathFactory, seed: int) -> None:
    """Whatever is in the file, however it is encoded, cut or damaged: both ways give equal rows."""
    path = tmp_path_factory.getbasetemp() / "made.dcm"
    maker = Maker(seed)
    path.write_bytes(maker.damaged(maker.file()))
    fast, slow = both(path)
    assert fast == slow or is_lost_by_pydicom(slow)


def test_many_made_files_are_fast(tmp_path: Path) -> None:
    """So that the test above is about the fast way."""
    path = tmp_path / "made.dcm"
    single = frames = 0
    for seed in range(100):
        path.write_bytes(Maker(seed).file())
        if is_fast(path):
            single += len(header.read_header(str(path))) == 1
            frames += len(header.read_header(str(path))) > 1
    assert single > 10
    assert frames > 10


def test_equal_with_any_one_byte_flipped(tmp_path: Path) -> None:
    [path] = save([make_slice(EchoTime=3.0, SOPInstanceUID="1.2.3.4.5.6")], tmp_path)
    whole = path.read_bytes()
    for position in range(132, len(whole) - 128, 2):
        content = bytearray(whole)
        content[position] ^= 1 << (position % 8)
        path.write_bytes(bytes(content))
        fast, slow = both(path)
        assert fast == slow, position


def test_equal_on_every_real_file(real_data: Path) -> None:
    fast_ones = 0
    for path in sorted((real_data / "dicom").rglob("*")):
        if path.is_file():
            fast, slow = both(path)
            assert fast == slow, path
            fast_ones += is_fast(path)
    assert fast_ones > 370


@pytest.mark.parametrize("path", [f for f in get_testdata_files() if Path(f).is_file()])
def test_equal_on_files_of_pydicom(path: str) -> None:
    """Odd encodings: big endian, deflated, wrong order, other character sets, no meta."""
    fast, slow = both(path)
    assert fast == slow


def test_equal_on_damaged_real_files(real_data: Path, tmp_path: Path) -> None:
    """Bytes of real headers replaced, files cut."""
    chance = random.Random(7)
    paths = [p for p in sorted((real_data / "dicom").rglob("*")) if p.is_file()]
    paths = [p for p in paths if p.stat().st_size > 1000]
    for number in range(60 * (SOAK or 1)):
        content = bytearray(chance.choice(paths).read_bytes()[: 1 << 16])
        for _ in range(chance.randint(1, 4)):
            content[chance.randrange(132, len(content))] = chance.randrange(256)
        path = tmp_path / "damaged"
        path.write_bytes(bytes(content))
        fast, slow = both(path)
        assert fast == slow or is_lost_by_pydicom(slow), number
