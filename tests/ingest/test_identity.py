"""Identifying values of a whole header: nested, in every coding and character set."""

from __future__ import annotations

import io
import struct
from pathlib import Path

import numpy as np
import pydicom
import pytest
from dicom_files import make_slice, save
from pydicom.dataset import Dataset
from pydicom.uid import (
    DeflatedExplicitVRLittleEndian,
    ExplicitVRBigEndian,
    ExplicitVRLittleEndian,
    ImplicitVRLittleEndian,
)

from ingest import elements, identity
from ingest.header import read_header

EXPECTED = {
    "NAME=Doe^Jane",
    "NAME=M\u00fcller^J\u00f6rg",
    "NAME=Roe^Richard",
    "NAME=Poe^Ed",
    "ID=P1",
    "ID=OTHER-77",
    "ID=REQ-5",
    "BIRTH=19610315",
    "DATE=20240311",
    "DATE=20240311101112",
    "PLACE=Springfield General",
}


def make_file(folder: Path, syntax: str, *, undefined: bool, charset: str = "ISO_IR 192") -> Path:
    other = Dataset()
    other.PatientID = "OTHER-77"
    inner = Dataset()
    inner.NameOfPhysiciansReadingStudy = ["Roe^Richard", "Poe^Ed"]
    request = Dataset()
    request.RequestedProcedureID = "REQ-5"
    request.ReferencedStudySequence = [inner]
    dataset = make_slice(
        SpecificCharacterSet=charset,
        PatientBirthDate="19610315",
        StudyDate="20240311",
        AcquisitionDateTime="20240311101112",
        InstitutionName="Springfield General",
        ReferringPhysicianName="M\u00fcller^J\u00f6rg",
        OtherPatientIDsSequence=[other],
        RequestAttributesSequence=[request],
        SeriesDescription="nobody",
    )
    for sequence in ("OtherPatientIDsSequence", "RequestAttributesSequence"):
        dataset[sequence].is_undefined_length = undefined
    big = syntax == ExplicitVRBigEndian
    dataset.PixelData = np.zeros((8, 8), ">i2" if big else "<i2").tobytes()
    dataset.file_meta.TransferSyntaxUID = syntax
    return save([dataset], folder)[0]


@pytest.mark.parametrize("undefined", [True, False])
@pytest.mark.parametrize(
    "syntax",
    [
        ExplicitVRLittleEndian,
        ImplicitVRLittleEndian,
        ExplicitVRBigEndian,
        DeflatedExplicitVRLittleEndian,
    ],
)
def test_values_of_every_depth(tmp_path: Path, syntax: str, undefined: bool) -> None:
    file = make_file(tmp_path, syntax, undefined=undefined)
    with file.open("rb") as stream:
        assert identity.read(stream, file.stat().st_size) == EXPECTED


@pytest.mark.parametrize("charset", ["ISO_IR 100", "ISO_IR 192", "GB18030"])
def test_character_sets(tmp_path: Path, charset: str) -> None:
    file = make_file(tmp_path, ExplicitVRLittleEndian, undefined=False, charset=charset)
    with file.open("rb") as stream:
        assert identity.read(stream, file.stat().st_size) == EXPECTED


def test_one_file_of_every_series_is_enough(tmp_path: Path) -> None:
    file = make_file(tmp_path, ExplicitVRLittleEndian, undefined=False)
    rows = [*read_header(str(file)), *read_header(str(file))]
    first, second = identity.deepen(rows)
    assert set(first.identifying) >= EXPECTED
    assert second == rows[1]


def test_a_file_that_is_gone_keeps_what_the_crawl_found(tmp_path: Path) -> None:
    file = make_file(tmp_path, ExplicitVRLittleEndian, undefined=False)
    rows = read_header(str(file))
    file.unlink()
    assert identity.deepen(rows) == rows


def test_nesting_without_end_costs_the_deep_values_of_one_file(tmp_path: Path) -> None:
    file = make_file(tmp_path, ExplicitVRLittleEndian, undefined=False)
    nested = b""
    for _ in range(1500):
        item = struct.pack("<HHI", 0xFFFE, 0xE000, len(nested)) + nested
        nested = struct.pack("<HH2sHI", 0x0008, 0x1140, b"SQ", 0, len(item)) + item
    data = file.read_bytes()
    at = data.index(struct.pack("<HH2s", 0x0010, 0x0010, b"PN"))
    file.write_bytes(data[:at] + nested + data[at:])
    rows = read_header(str(file))
    assert rows[0].reason is None
    assert "NAME=Doe^Jane" in identity.deepen(rows)[0].identifying


@pytest.mark.real
def test_both_ways_of_reading_agree_on_real_files(real_data: Path) -> None:
    compared = unusual = 0
    for file in sorted((real_data / "dicom").rglob("*"))[::6]:
        if not file.is_file() or file.suffix in (".md", ".json", ".txt", ".sha256"):
            continue
        data = file.read_bytes()
        try:
            quick = set(identity._walk_file(data, len(data)))
        except (elements.Unusual, elements.NeedMore):
            unusual += 1
            continue
        whole = pydicom.dcmread(io.BytesIO(data), stop_before_pixels=True, force=True)
        assert quick == identity.identifying_values(whole), file.name
        compared += 1
    assert compared > 50
    assert unusual < 5
