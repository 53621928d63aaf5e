"""Canaries: unique strings planted wherever a study can hold a string, and the search for them.

Planting: every element of DICOM's dictionary whose VR holds text, nested and private ones too, gets
a value that is legal for its VR and recognisable: words with CANARY, numbers, dates, times, ages
and UIDs that occur nowhere else. Searching: all bytes of a dataset, packed and unpacked, for the
marks of all canaries, in any case and in four encodings.
"""

from __future__ import annotations

import io
import json
import re
import tarfile
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pyarrow.parquet as pq
import zstandard
from pydicom.datadict import DicomDictionary
from pydicom.dataset import Dataset
from pydicom.sequence import Sequence

from ingest.identity import KIND_OF_TAG

WORD = "CANARY"
MARKS = {
    "word": WORD.lower(),
    "uid": "1.2.826.0.1.99.",
    "decimal": "9876543",
    "integer": "1900010",
    "time": "010203.1",
}
"""What all canaries of a kind hold, in small letters; dates are of the year 1807 (see `DATE`)."""
DATE = re.compile(r"1807-?(?:0[1-9]|1[0-2])-?(?:0[1-9]|[12]\d)|(?<!\d)1[0-2]\d[yYmM](?![a-z0-9])")
"""Dates, and ages over 99."""
TEXT_VRS = ("AE", "AS", "CS", "DA", "DS", "DT", "IS", "LO", "LT", "PN", "SH", "ST", "TM", "UC")
TEXT_VRS = (*TEXT_VRS, "UI", "UR", "UT")

SHAPING = frozenset(
    """
    SpecificCharacterSet ImageType SOPClassUID SOPInstanceUID StudyInstanceUID SeriesInstanceUID
    PatientID IssuerOfPatientID PatientName InstanceNumber PhotometricInterpretation
    ImagePositionPatient ImageOrientationPatient PixelSpacing NumberOfFrames RescaleSlope
    RescaleIntercept TemporalPositionIdentifier LossyImageCompression RescaleType
    DateOfSecondaryCapture SecondaryCaptureDeviceID SecondaryCaptureDeviceManufacturer
    SecondaryCaptureDeviceManufacturerModelName ConversionType PixelAspectRatio FrameType
    ComplexImageComponent
    """.split()  # noqa: SIM905
)
"""Elements that decide whether there is an image at all: the test sets those itself."""


class Aviary:
    """Makes canaries, and knows which of them is which."""

    def __init__(self) -> None:
        self.number = 0

    def value(self, vr: str) -> str:
        """A value that is legal for a VR (PS3.5 table 6.2-1) and found nowhere else."""
        self.number += 1
        n = self.number
        date = f"1807{1 + n % 12:02d}{1 + n % 28:02d}"
        legal = {
            "AE": f"{WORD}{n:05d}AE",
            "AS": f"1{n % 29:02d}Y",
            "CS": f"{WORD}{n:05d}_CS",
            "DA": date,
            "DS": f"9876543.{n:05d}",
            "DT": f"{date}010203.1{n % 100000:05d}",
            "IS": f"1900010{n % 1000:03d}",
            "PN": f"{WORD.title()}{_letters(n)}^{WORD.title()}x{_letters(n)}",
            "TM": f"010203.1{n % 100000:05d}",
            "UI": f"1.2.826.0.1.99.{n}",
            "UR": f"https://{WORD.lower()}{n:05d}.example.org/x",
        }
        return legal.get(vr, f"{WORD} {n:05d} {vr.lower()}")[: 64 if vr == "LO" else None]


def _letters(number: int) -> str:
    return "".join(chr(ord("a") + int(digit)) for digit in str(number))


def plant(dataset: Dataset, aviary: Aviary, *, every: int = 1) -> None:
    """Give every text element of the dictionary but the shaping ones a canary (or one in `every`,
    and all that identify); nest one in eight, two sequences deep; add a private block that holds
    text in every way it can."""
    nested = Dataset()
    texts = [
        (tag, vr)
        for tag, (vr, _, _, _, keyword) in sorted(DicomDictionary.items())
        if vr in TEXT_VRS and keyword and tag >> 16 >= 0x0008 and keyword not in SHAPING
    ]
    for number, (tag, vr) in enumerate(texts):
        if number % every == 0 or tag in KIND_OF_TAG:
            dataset.add_new(tag, vr, aviary.value(vr))
        if number % 8 == 0 or tag in KIND_OF_TAG:
            nested.add_new(tag, vr, aviary.value(vr))
    deeper = Dataset()
    deeper.RequestAttributesSequence = Sequence([nested])
    dataset.OtherPatientIDsSequence = Sequence([deeper])
    block = dataset.private_block(0x0071, aviary.value("LO"), create=True)
    for offset, vr in enumerate((*TEXT_VRS, "UN", "OB")):
        text = aviary.value(vr)
        block.add_new(offset, vr, text.encode() if vr in ("UN", "OB") else text)
    hidden = Dataset()
    hidden.PatientComments = aviary.value("LT")
    block.add_new(0x40, "SQ", Sequence([hidden]))
    meta = dataset.file_meta
    meta.SourceApplicationEntityTitle = aviary.value("AE")
    meta.ImplementationVersionName = aviary.value("SH").replace(" ", "")[:16]
    meta.PrivateInformationCreatorUID = aviary.value("UI")
    meta.PrivateInformation = aviary.value("LO").encode()
    dataset.preamble = aviary.value("LO").encode().ljust(128, b"\0")


def num_planted(dataset: Dataset) -> int:
    return sum(element.VR in TEXT_VRS for element in dataset.iterall())


# -------------------------------------------------------------------------------- searching


def contents(dataset: Path) -> Iterator[tuple[str, bytes]]:
    """(where, bytes) of all that is in a dataset: names, files as they are, members of tars as
    stored and unpacked, JSON unescaped, Parquet's values, statistics and schemas as text."""
    for file in sorted(dataset.rglob("*")):
        if not file.is_file():
            continue
        data = file.read_bytes()
        yield f"name of {file.name}", file.name.encode()
        yield file.name, data
        if file.suffix == ".json":
            yield f"{file.name} as text", _as_text(json.loads(data))
        if file.suffix == ".parquet":
            yield from _parquet(file)
        if file.suffix == ".tar":
            with tarfile.open(file) as tar:
                for member in tar:
                    yield f"{file.name}: header", repr(member.get_info()).encode()
                    payload = tar.extractfile(member).read()  # type: ignore[union-attr]
                    if member.name.endswith(".zst"):
                        payload = zstandard.ZstdDecompressor().stream_reader(payload).read()
                    yield f"{file.name}: {member.name}", payload
                    if member.name.endswith(".json"):
                        yield f"{file.name}: {member.name} as text", _as_text(json.loads(payload))


def _as_text(value: Any) -> bytes:
    return json.dumps(value, ensure_ascii=False, default=str).encode()


def _parquet(file: Path) -> Iterator[tuple[str, bytes]]:
    parquet = pq.ParquetFile(file)
    yield f"{file.name}: values", _as_text(parquet.read().to_pylist())
    texts = [str(parquet.schema), str(parquet.schema_arrow), str(parquet.metadata.metadata)]
    for group in range(parquet.metadata.num_row_groups):
        for column in range(parquet.metadata.num_columns):
            texts.append(str(parquet.metadata.row_group(group).column(column)))
    yield f"{file.name}: footer", "\n".join(texts).encode()


def found(dataset: Path) -> list[str]:
    """Where canaries are in a dataset, and what stands there."""
    hits = []
    for where, data in contents(dataset):
        for encoding in ("utf-8", "utf-16-le", "utf-16-be", "utf-32-le"):
            for kind, mark in MARKS.items():
                for form in {mark, mark.upper(), mark.title()}:
                    place = data.find(form.encode(encoding))
                    if place >= 0:
                        hits.append(f"{where}: {kind} {data[max(0, place - 30) : place + 40]!r}")
        if not where.endswith((".npy", ".zst", ".tar")):  # voxels may spell any eight digits
            for match in DATE.finditer(data.decode("utf-8", "replace")):
                hits.append(f"{where}: date or age {match[0]}")
    return hits


def zip_of(files: dict[str, bytes]) -> bytes:
    """A zip whose members and comment are named for canaries."""
    import zipfile

    stream = io.BytesIO()
    with zipfile.ZipFile(stream, "w", zipfile.ZIP_DEFLATED) as archive:
        archive.comment = f"{WORD} comment".encode()
        for name, data in files.items():
            archive.writestr(name, data)
    return stream.getvalue()
