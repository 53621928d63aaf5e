"""Header values -> the facts of an `Instance`, whatever read them.

In: sources of values with `get(keyword)` (a pydicom data set, or `fast_header.Header`). Out:
keyword arguments of `Instance`. Missing and malformed values become None or empty, never an
exception. Sources: DICOM PS3.3 C.7.6.16 (functional groups), vendors' conformance statements for
b-values.
"""

from __future__ import annotations

import math
from collections.abc import Sequence
from typing import Any, Protocol

import pydicom

from ingest import siemens

IMAGE_CLASSES = {
    f"1.2.840.10008.5.1.4.1.1.{tail}": family
    for tail, family in {
        "2": "CT",
        "2.1": "CT",
        "2.2": "CT",
        "4": "MR",
        "4.1": "MR",
        "4.4": "MR",
    }.items()
}
"""SOP classes of scans (PS3.4 B.5): CT and MR, their enhanced and legacy converted enhanced
forms."""

IDENTIFYING_KEYWORDS = (
    "PatientName",
    "PatientID",
    "OtherPatientIDs",
    "PatientBirthDate",
    "PatientAddress",
    "PatientTelephoneNumbers",
    "AccessionNumber",
    "StudyID",
    "ReferringPhysicianName",
    "PerformingPhysicianName",
    "RequestingPhysician",
    "NameOfPhysiciansReadingStudy",
    "OperatorsName",
    "InstitutionName",
    "InstitutionalDepartmentName",
    "StationName",
)


OTHER_KEYWORDS = (
    "AcquisitionDateTime",
    "AcquisitionNumber",
    "AcquisitionTime",
    "BodyPartExamined",
    "BurnedInAnnotation",
    "Columns",
    "ContentTime",
    "ConvolutionKernel",
    "DiffusionBValue",
    "DiffusionGradientOrientation",
    "EchoTime",
    "EffectiveEchoTime",
    "FlipAngle",
    "FrameAcquisitionDateTime",
    "FrameAcquisitionNumber",
    "FrameOfReferenceUID",
    "FrameType",
    "GantryDetectorTilt",
    "ImageOrientationPatient",
    "ImagePositionPatient",
    "ImageType",
    "InstanceNumber",
    "InversionTime",
    "IssuerOfPatientID",
    "KVP",
    "MagneticFieldStrength",
    "Manufacturer",
    "Modality",
    "NominalCardiacTriggerDelayTime",
    "NumberOfFrames",
    "PatientAge",
    "PatientSex",
    "PhotometricInterpretation",
    "PixelSpacing",
    "ProtocolName",
    "RepetitionTime",
    "Rows",
    "SOPClassUID",
    "SOPInstanceUID",
    "SamplesPerPixel",
    "SeriesDescription",
    "SeriesInstanceUID",
    "SeriesNumber",
    "SliceThickness",
    "SpacingBetweenSlices",
    "StudyDate",
    "StudyDescription",
    "StudyInstanceUID",
    "TemporalPositionIdentifier",
    "TemporalPositionIndex",
    "TriggerTime",
)
PIXEL_KEYWORDS = (
    "BitsAllocated",
    "BitsStored",
    "PixelRepresentation",
    "RescaleSlope",
    "RescaleIntercept",
    "PixelPaddingValue",
)
KEYWORDS = (*IDENTIFYING_KEYWORDS, *OTHER_KEYWORDS, *PIXEL_KEYWORDS, "SpecificCharacterSet")
"""All that the functions below, and `ingest.pixels`, ask for."""
PRIVATE_TAGS = (
    siemens.NUMBER_OF_IMAGES_IN_MOSAIC,
    siemens.CSA_IMAGE_HEADER,
    0x0019100C,
    0x0019100E,
    0x001910BB,
    0x001910BC,
    0x001910BD,
    0x00431039,
    0x00651009,
)
"""Private elements that they ask for: Siemens, GE and UIH mosaics and diffusion."""


class Source(Protocol):
    """Whatever answers with the value of a keyword, or (pydicom) the element of a private tag."""

    def get(self, name: Any) -> Any: ...


def study_facts(dataset: Source) -> dict[str, Any]:
    return {
        "study_uid": _text(dataset.get("StudyInstanceUID")),
        "series_uid": _text(dataset.get("SeriesInstanceUID")),
        "sop_uid": _text(dataset.get("SOPInstanceUID")),
        "sop_class_uid": _text(
            dataset.get("SOPClassUID")
            or getattr(dataset, "file_meta", {}).get("MediaStorageSOPClassUID")
        ),
        "patient_key": "|".join(_text(dataset.get(k)) for k in ("IssuerOfPatientID", "PatientID")),
        "accession_number": _text(dataset.get("AccessionNumber")),
        "modality": _text(dataset.get("Modality")),
        "manufacturer": _text(dataset.get("Manufacturer")),
        "series_number": integer(dataset.get("SeriesNumber")),
        "study_description": _text(dataset.get("StudyDescription")),
        "series_description": _text(dataset.get("SeriesDescription")),
        "protocol_name": _text(dataset.get("ProtocolName")),
        "body_part": _text(dataset.get("BodyPartExamined")),
        "study_date": _text(dataset.get("StudyDate")),
        "patient_age": _text(dataset.get("PatientAge")),
        "patient_sex": _text(dataset.get("PatientSex")),
        "rows": integer(dataset.get("Rows")) or 0,
        "columns": integer(dataset.get("Columns")) or 0,
        "samples_per_pixel": integer(dataset.get("SamplesPerPixel")) or 1,
        "photometric": _text(dataset.get("PhotometricInterpretation")),
        "burned_in_annotation": _text(dataset.get("BurnedInAnnotation")),
        "frame_of_reference_uid": _text(dataset.get("FrameOfReferenceUID")),
        "magnetic_field_t": _number(dataset.get("MagneticFieldStrength")),
        "identifying": tuple(
            sorted({v for k in IDENTIFYING_KEYWORDS for v in texts(dataset.get(k)) if v})
        ),
    }


def image_facts(sources: Sequence[Source]) -> dict[str, Any]:
    """Facts that may be given per frame, shared by all frames, or at the top: the first source that
    has one wins."""

    def first(*keywords: str) -> Any:
        for keyword in keywords:
            for source in sources:
                value = source.get(keyword)
                if value is not None and value != "":
                    return value
        return None

    position, orientation = (
        _numbers(first("ImagePositionPatient"), 3),
        _numbers(first("ImageOrientationPatient"), 6),
    )
    return {
        "image_type": tuple(texts(first("FrameType", "ImageType"))),
        "acquisition_number": integer(first("FrameAcquisitionNumber", "AcquisitionNumber")),
        "instance_number": integer(first("InstanceNumber")),
        "content_time": _text(first("ContentTime")),
        "acquisition_time": _text(
            first("FrameAcquisitionDateTime", "AcquisitionTime", "AcquisitionDateTime")
        ),
        "position_mm": position,
        "orientation": _frame(orientation),
        "pixel_spacing_mm": _spacing(first("PixelSpacing")),
        "slice_thickness_mm": _number(first("SliceThickness")),
        "spacing_between_slices_mm": _number(first("SpacingBetweenSlices")),
        "echo_time_ms": _number(first("EffectiveEchoTime", "EchoTime")),
        "repetition_time_ms": _number(first("RepetitionTime")),
        "inversion_time_ms": _number(first("InversionTime")),
        "flip_angle_deg": _number(first("FlipAngle")),
        "b_value_s_per_mm2": _b_value(first),
        "diffusion_direction": _direction(first),
        "temporal_position": integer(first("TemporalPositionIndex", "TemporalPositionIdentifier")),
        "trigger_time_ms": _number(first("NominalCardiacTriggerDelayTime", "TriggerTime")),
        "kvp_kv": _number(first("KVP")),
        "convolution_kernel": "\\".join(texts(first("ConvolutionKernel"))),
        "gantry_tilt_deg": _number(first("GantryDetectorTilt")),
    }


def _b_value(first: Any) -> float | None:
    """Standard tag, else the vendor's: Siemens (0019,100C), GE (0043,1039), UIH (0065,1009)."""
    standard = _number(first("DiffusionBValue"))
    if standard is not None:
        return standard
    siemens_value = _number(_private(first, 0x0019100C))
    if siemens_value is not None:
        return siemens_value
    values = texts(_private(first, 0x00431039))
    number = _number(values[0]) if values else _number(_private(first, 0x00651009))
    return None if number is None else number % 100_000  # GE adds 1e9 as a flag


def _private(first: Any, tag: int) -> Any:
    element = first(tag)
    value = getattr(element, "value", element)
    return None if isinstance(value, bytes) else value


def _direction(first: Any) -> tuple[float, ...] | None:
    """Standard tag, else Siemens (0019,100E) or GE (0019,10BB..BD)."""
    for value in (first("DiffusionGradientOrientation"), _private(first, 0x0019100E)):
        numbers = _numbers(value, 3)
        if numbers:
            return numbers
    parts = [_number(_private(first, tag)) for tag in (0x001910BB, 0x001910BC, 0x001910BD)]
    return tuple(p for p in parts if p is not None) if all(p is not None for p in parts) else None


def mosaic_facts(dataset: Source) -> dict[str, Any]:
    if "MOSAIC" not in texts(dataset.get("ImageType")):
        return {}
    tiles, normal = siemens.mosaic(dataset)
    return {"mosaic_tiles": tiles, "slice_normal": normal}


def texts(value: Any) -> list[str]:
    if value is None:
        return []
    many = value if _is_multi(value) else [value]
    return [_text(v) for v in many]


def _is_multi(value: Any) -> bool:
    return isinstance(value, list | tuple | pydicom.multival.MultiValue)


def _text(value: Any) -> str:
    if value is None:
        return ""
    if _is_multi(value):
        return "\\".join(_text(v) for v in value)
    return str(value).replace("\0", "").strip()


def _number(value: Any) -> float | None:
    try:
        number = float(value[0] if _is_multi(value) and value else value)
    except (TypeError, ValueError):
        return None
    return number if math.isfinite(number) else None


def integer(value: Any) -> int | None:
    """A whole number; None for what is none, or does not fit DICOM's 32 bits."""
    number = _number(value)
    return None if number is None or abs(number) >= 1 << 32 else int(number)


def _numbers(value: Any, count: int) -> Any:
    if not _is_multi(value) or len(value) != count:
        return None
    numbers = tuple(n for n in (_number(v) for v in value) if n is not None)
    return numbers if len(numbers) == count else None


def _spacing(value: Any) -> tuple[float, float] | None:
    numbers = _numbers(value, 2)
    return numbers if numbers and min(numbers) > 0 else None


def _frame(orientation: tuple[float, ...] | None) -> tuple[float, ...] | None:
    """ImageOrientationPatient as two exact unit vectors; None unless they nearly are, at a right
    angle. Scanners round the cosines to a few digits."""
    if orientation is None:
        return None
    row, column = orientation[:3], orientation[3:]
    long_row, long_column = math.hypot(*row), math.hypot(*column)
    if abs(long_row - 1) > 0.01 or abs(long_column - 1) > 0.01:
        return None
    if abs(sum(a * b for a, b in zip(row, column, strict=True))) > 0.01:
        return None
    return (*(v / long_row for v in row), *(v / long_column for v in column))
