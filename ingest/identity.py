"""The whole header of a file -> its identifying values, nested ones included, with their kind.

In: rows of a crawl. Out: the same rows, one of each series enriched with what its file says about
people, places, visits and days at any depth: they seed the scrubbing of the study's report
(`seeds`). The reader of ordinary headers skips sequences; here a general parser reads one file a
series. Source: DICOM PS3.15 table E.1-1, PS3.5 6.2 (PN, DA, DT).
"""

from __future__ import annotations

import warnings
from collections.abc import Iterator, Sequence
from dataclasses import replace
from typing import Any

import pydicom
from pydicom.dataset import Dataset

from ingest.place import open_bytes
from study.records import Instance

PER_FRAME = 0x52009230
"""PerFrameFunctionalGroupsSequence: thousands of items that say nothing of people."""
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
KIND_OF_KEYWORD = {
    **dict.fromkeys(BIRTHS, "BIRTH"),
    **dict.fromkeys(IDS, "ID"),
    **dict.fromkeys(PLACES, "PLACE"),
}
"""Keywords whose values identify though their VR does not say so."""


def deepen(rows: Sequence[Instance]) -> list[Instance]:
    """Rows in their order, the first of every series in them with all identifying values of its
    file. A file that cannot be read keeps what it had."""
    seen: set[tuple[str, str]] = set()
    result = []
    for row in rows:
        series = (row.study_uid, row.series_uid)
        if row.study_uid and row.file_format == "dicom" and series not in seen:
            seen.add(series)
            row = replace(row, identifying=tuple(sorted({*row.identifying, *_values(row)})))
        result.append(row)
    return result


def _values(row: Instance) -> set[str]:
    try:
        with open_bytes(row, row.file_bytes) as stream, warnings.catch_warnings():
            warnings.simplefilter("ignore")
            return identifying_values(pydicom.dcmread(stream, stop_before_pixels=True, force=True))
    except Exception:  # pydicom raises what its input makes it raise; the crawl has said so already
        return set()


def identifying_values(dataset: Dataset) -> set[str]:
    """All identifying values of a data set as KIND=VALUE."""
    return set(_walk(dataset))


def _walk(dataset: Dataset) -> Iterator[str]:
    for tag in list(dataset.keys()):
        if tag == PER_FRAME:
            continue
        try:
            element = dataset[tag]
            value = element.value
        except Exception:  # one element that cannot be parsed
            continue
        if element.VR == "SQ":
            for item in value or ():
                yield from _walk(item)
            continue
        kind = KIND_OF_KEYWORD.get(element.keyword) or KIND_OF_VR.get(element.VR)
        if kind:
            yield from (f"{kind}={text}" for text in _texts(value))


def _texts(value: Any) -> Iterator[str]:
    many = value if isinstance(value, list | tuple | pydicom.multival.MultiValue) else [value]
    for one in many:
        text = "" if one is None or isinstance(one, bytes) else str(one).replace("\0", "").strip()
        if text:
            yield text
