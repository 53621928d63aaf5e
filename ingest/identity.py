"""The whole header of a file -> its identifying values, nested ones included, with their kind.

In: rows of a crawl. Out: the same rows, one of each series enriched with what its file says about
people, places, visits and days at any depth: they seed the scrubbing of the study's report
(`seeds`). The reader of ordinary headers skips sequences; here one file a series is walked through
to the bottom, by `elements`, or by pydicom where it is unusual. Source: DICOM PS3.15 table E.1-1,
PS3.5 6.2 (PN, DA, DT).
"""

from __future__ import annotations

import warnings
from collections.abc import Callable, Iterator, Sequence
from dataclasses import replace
from typing import Any, BinaryIO

import pydicom
from pydicom.charset import convert_encodings, decode_bytes
from pydicom.datadict import DicomDictionary, tag_for_keyword
from pydicom.dataset import Dataset
from pydicom.valuerep import PN_DELIMS, TEXT_VR_DELIMS

from ingest import elements
from ingest.elements import Coding, Element
from ingest.place import place_of
from study.records import Instance

FUNCTIONAL_GROUPS = elements.SHARED_GROUPS
"""From here on there are only frames and pixels, which say nothing of people."""
FIRST_READ, LARGEST_READ = 1 << 15, 1 << 25
"""Bytes read at first, and at most."""
CHARACTER_SET = 0x00080005
KIND_OF_VR = {"PN": "NAME", "DA": "DATE", "DT": "DATE"}
BIRTHS = ("PatientBirthDate", "PatientBirthDateInAlternativeCalendar")
IDS = (
    "PatientID",
    "OtherPatientIDs",
    "MedicalRecordLocator",
    "AccessionNumber",
    "StudyID",
    "AdmissionID",
    "ServiceEpisodeID",
    "RequestedProcedureID",
    "ScheduledProcedureStepID",
    "PerformedProcedureStepID",
    "PlacerOrderNumberImagingServiceRequest",
    "FillerOrderNumberImagingServiceRequest",
    "PatientTelephoneNumbers",
    "ReferringPhysicianTelephoneNumbers",
    "PersonTelephoneNumbers",
    "DeviceSerialNumber",
    "InsurancePlanIdentification",
    "ClinicalTrialSubjectID",
    "ClinicalTrialSubjectReadingID",
)
PLACES = (
    "PatientAddress",
    "ReferringPhysicianAddress",
    "PersonAddress",
    "InstitutionName",
    "InstitutionAddress",
    "InstitutionalDepartmentName",
    "StationName",
    "PerformedStationName",
    "ScheduledStationName",
    "PerformedLocation",
    "CurrentPatientLocation",
    "PatientInstitutionResidence",
    "RequestingService",
    "ResponsibleOrganization",
    "IssuerOfPatientID",
)
KIND_OF_TAG = {
    tag: KIND_OF_VR[facts[0]] for tag, facts in DicomDictionary.items() if facts[0] in KIND_OF_VR
} | {
    tag_for_keyword(keyword): kind
    for kind, keywords in (("BIRTH", BIRTHS), ("ID", IDS), ("PLACE", PLACES))
    for keyword in keywords
}
"""Elements whose values identify."""
SEQUENCES = frozenset(
    tag for tag, facts in DicomDictionary.items() if facts[0] == "SQ" and tag < FUNCTIONAL_GROUPS
)
WANTED = frozenset((CHARACTER_SET, *KIND_OF_TAG, *SEQUENCES))


def deepen(
    rows: Sequence[Instance], unusual: Callable[[Instance], set[str]] | None = None
) -> list[Instance]:
    """Rows in their order, the first of every series in them with all identifying values of its
    file. A file that cannot be read keeps what it had. `unusual` reads what a general parser must
    read; by default it is done here (`values_of`)."""
    unusual = unusual or values_of
    seen: set[tuple[str, str]] = set()
    result = []
    for row in rows:
        series = (row.study_uid, row.series_uid)
        if row.study_uid and row.file_format == "dicom" and series not in seen:
            seen.add(series)
            row = replace(
                row, identifying=tuple(sorted({*row.identifying, *_of_file(row, unusual)}))
            )
        result.append(row)
    return result


def _of_file(row: Instance, unusual: Callable[[Instance], set[str]]) -> set[str]:
    try:
        with place_of(row).open() as stream, warnings.catch_warnings():
            warnings.simplefilter("ignore")  # text that is not in the character set it claims
            found = read_ordinary(stream, row.file_bytes)
    except OSError:
        return set()  # the crawl has said so already
    return unusual(row) if found is None else found


def values_of(row: Instance) -> set[str]:
    """All identifying values of the file of a row as KIND=VALUE, by a general parser; none where
    that fails."""
    try:
        with place_of(row).open() as stream, warnings.catch_warnings():
            warnings.simplefilter("ignore")
            return _by_pydicom(stream)
    except Exception:  # pydicom raises what its input makes it raise; the crawl has said so already
        return set()


def read(stream: BinaryIO, size: int) -> set[str]:
    """All identifying values of a file as KIND=VALUE. Raises whatever pydicom raises."""
    found = read_ordinary(stream, size)
    return _by_pydicom(stream) if found is None else found


def _by_pydicom(stream: BinaryIO) -> set[str]:
    stream.seek(0)
    return identifying_values(pydicom.dcmread(stream, stop_before_pixels=True, force=True))


def read_ordinary(stream: BinaryIO, size: int) -> set[str] | None:
    """All identifying values of a file; None where a general parser must look at it."""
    num_bytes = FIRST_READ
    while num_bytes <= LARGEST_READ:
        stream.seek(0)
        try:
            return set(_walk_file(stream.read(num_bytes), size))
        except elements.NeedMore:
            if num_bytes >= size:
                break
            num_bytes *= 8
        except (elements.Unusual, LookupError, ValueError):
            break
    return None


def _walk_file(data: bytes, size: int) -> Iterator[str]:
    if data[128:132] != b"DICM":
        raise elements.Unusual
    meta, start = elements.find(
        data, 132, size, elements.EXPLICIT, frozenset((elements.TRANSFER_SYNTAX,)), 0x00030000
    )
    if elements.TRANSFER_SYNTAX not in meta:
        raise elements.Unusual
    syntax = _bytes(data, meta[elements.TRANSFER_SYNTAX]).decode("ascii", "replace").strip(" \0")
    if syntax == elements.DEFLATED:
        raise elements.Unusual
    coding = elements.coding_of(syntax)
    yield from _walk_bytes(data, start, size, coding, FUNCTIONAL_GROUPS, ["iso8859"])


def _walk_bytes(
    data: bytes,
    start: int,
    end: int,
    coding: Coding,
    stop: int,
    encodings: list[str],
    depth: int = 0,
) -> Iterator[str]:
    if depth > elements.LARGEST_NESTING:
        raise elements.Unusual
    found, _ = elements.find(data, start, end, coding, WANTED, stop)
    if CHARACTER_SET in found:
        names = _bytes(data, found[CHARACTER_SET]).decode("ascii").strip(" \0").split("\\")
        encodings = convert_encodings(names)
    for tag, element in found.items():
        if tag in SEQUENCES:
            inner = elements.inner(coding, element.vr)
            for begin, stop_at in elements.items(data, element, coding):
                yield from _walk_bytes(
                    data, begin, stop_at, inner, 0xFFFFFFFF, encodings, depth + 1
                )
        elif tag in KIND_OF_TAG:
            raw = _bytes(data, element)
            is_name = KIND_OF_TAG[tag] == "NAME"
            text = decode_bytes(raw, encodings, PN_DELIMS if is_name else TEXT_VR_DELIMS)
            yield from _marked(KIND_OF_TAG[tag], text.split("\\"))


def _bytes(data: bytes, element: Element) -> bytes:
    if element.length < 0:
        raise elements.Unusual
    return data[element.start : element.start + element.length]


def identifying_values(dataset: Dataset) -> set[str]:
    """All identifying values of a data set of pydicom as KIND=VALUE."""
    return set(_walk(dataset))


def _walk(dataset: Dataset) -> Iterator[str]:
    for tag in list(dataset.keys()):
        if tag not in WANTED:
            continue
        try:
            value = dataset[tag].value
        except Exception:  # one element that cannot be parsed
            continue
        if tag in SEQUENCES:
            for item in value or ():
                yield from _walk(item)
        elif tag in KIND_OF_TAG:
            yield from _marked(KIND_OF_TAG[tag], _texts(value))


def _texts(value: Any) -> list[str]:
    many = value if isinstance(value, list | tuple | pydicom.multival.MultiValue) else [value]
    return ["" if one is None or isinstance(one, bytes) else str(one) for one in many]


def _marked(kind: str, texts: Sequence[str]) -> Iterator[str]:
    for text in texts:
        plain = text.replace("\0", "").strip()
        if plain:
            yield f"{kind}={plain}"
