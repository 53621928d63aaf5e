"""The fast way of reading a header gives what pydicom gives, or leaves the file to it."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pydicom
import pytest
from dicom_files import make_slice, save
from hypothesis import given, settings
from hypothesis import strategies as st
from pydicom.dataset import Dataset
from pydicom.sequence import Sequence
from pydicom.uid import DeflatedExplicitVRLittleEndian, ExplicitVRBigEndian, ImplicitVRLittleEndian

from ingest import fast_header, header
from study.records import Instance, Reason


def both(path: Path, monkeypatch: pytest.MonkeyPatch) -> tuple[list[Instance], list[Instance]]:
    with monkeypatch.context() as patch:
        patch.setattr(header, "_FAST", True)
        fast = header.read_header(str(path))
        patch.setattr(header, "_FAST", False)
        return fast, header.read_header(str(path))


def is_fast(path: Path) -> bool:
    with path.open("rb") as stream:
        return fast_header.read(stream, path.stat().st_size) is not None


def nested(depth: int) -> Dataset:
    item = Dataset()
    item.StudyInstanceUID = "9.9.9"
    if depth:
        item.ReferencedImageSequence = Sequence([nested(depth - 1), nested(depth - 1)])
        item["ReferencedImageSequence"].is_undefined_length = depth % 2 == 0
        item.is_undefined_length_sequence_item = depth % 2 == 1
    return item


@pytest.mark.parametrize(
    "tags",
    [
        {},
        {"PatientName": "Müller^Jörg", "SpecificCharacterSet": "ISO_IR 100"},
        {"PatientName": "山田^太郎", "SpecificCharacterSet": "ISO_IR 192"},
        {"StudyDescription": " padded ", "AccessionNumber": "", "EchoTime": "12.5"},
        {"ReferencedImageSequence": Sequence([nested(2)])},
        {"StudyComments": "a\\b", "SeriesDescription": "x" * 60},
        {"ImageComments": "y" * 9000, "OtherPatientIDs": ["A", "B"]},
    ],
)
def test_equal_and_fast(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, tags: dict[str, Any]
) -> None:
    [path] = save([make_slice(**tags)], tmp_path)
    fast, slow = both(path, monkeypatch)
    assert fast == slow
    assert is_fast(path)


def test_implicit_vr_is_fast_too(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    dataset = make_slice(EchoTime=3.5)
    dataset.file_meta.TransferSyntaxUID = ImplicitVRLittleEndian
    [path] = save([dataset], tmp_path)
    fast, slow = both(path, monkeypatch)
    assert fast == slow
    assert is_fast(path)


@pytest.mark.parametrize("syntax", [ExplicitVRBigEndian, DeflatedExplicitVRLittleEndian])
def test_unusual_syntaxes_are_left_to_pydicom(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, syntax: pydicom.uid.UID
) -> None:
    dataset = make_slice()
    dataset.file_meta.TransferSyntaxUID = syntax
    if syntax == ExplicitVRBigEndian:
        dataset["PixelData"].VR = "OW"
        dataset.set_original_encoding(False, False)
    [path] = save([dataset], tmp_path)
    fast, slow = both(path, monkeypatch)
    assert fast == slow
    assert not is_fast(path)


@settings(max_examples=100, deadline=None)
@given(data=st.data())
def test_equal_on_damaged_files(
    tmp_path_factory: pytest.TempPathFactory, data: st.DataObject
) -> None:
    """Whatever bytes are flipped: the fast way answers as pydicom does, where both can read it."""
    folder = tmp_path_factory.mktemp("mutated")
    tags = {"EchoTime": 3.0, "SOPInstanceUID": "1.2.3.4.5.6", "AccessionNumber": "A1"}
    [path] = save([make_slice(**tags)], folder)
    content = bytearray(path.read_bytes())
    for _ in range(data.draw(st.integers(1, 3))):
        content[data.draw(st.integers(144, len(content) - 130))] = data.draw(st.integers(0, 255))
    path.write_bytes(bytes(content))
    with pytest.MonkeyPatch.context() as monkeypatch:
        fast, slow = both(path, monkeypatch)
    assert fast == slow or slow[0].reason is Reason.UNREADABLE


def test_equal_with_any_one_byte_flipped(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    [path] = save([make_slice(EchoTime=3.0, SOPInstanceUID="1.2.3.4.5.6")], tmp_path)
    whole = path.read_bytes()
    for position in range(132, len(whole) - 128):
        content = bytearray(whole)
        content[position] ^= 1 << (position % 8)
        path.write_bytes(bytes(content))
        fast, slow = both(path, monkeypatch)
        assert fast == slow or slow[0].reason is Reason.UNREADABLE, position


def test_equal_on_every_real_file(real_data: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    fast_ones = 0
    for path in sorted((real_data / "dicom").rglob("*")):
        if path.is_file():
            fast, slow = both(path, monkeypatch)
            assert fast == slow, path
            fast_ones += is_fast(path)
    assert fast_ones > 300
