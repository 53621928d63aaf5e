"""Header values -> the facts of an `Instance`, whatever read them.

In: sources of values with `get(keyword)` (a pydicom data set, or `fast_header.Header`). Out:
keyword arguments of `Instance`. Missing and malformed values become None or empty, never an
exception. Sources: DICOM PS3.3 C.7.6.16 (functional groups), vendors' conformance statements for
b-values.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

from ingest import siemens
from ingest.values import Source, frame, integer, is_multi, number, numbers, spacing, text, texts
from ingest.vendors import (
    GE_SEQUENCES,
    GE_SLICES,
    GE_VARIANT,
    b_value,
    component,
    direction,
    is_upside_down,
    private,
    turned_over,
)

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

LOSSY_SYNTAXES = frozenset(f"1.2.840.10008.1.2.4.{n}" for n in (50, 51, 81, 91, 203))
"""JPEG baseline and extended, near-lossless JPEG-LS, and the JPEG 2000 and HTJ2K syntaxes that
allow loss."""

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
    "ComplexImageComponent",
    "ContentTime",
    "ConversionType",
    "ConvolutionKernel",
    "DateOfSecondaryCapture",
    "DiffusionBValue",
    "DiffusionGradientOrientation",
    "DimensionIndexValues",
    "EchoNumbers",
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
    "ImagesInAcquisition",
    "InstanceNumber",
    "InversionTime",
    "IssuerOfPatientID",
    "InversionTimes",
    "KVP",
    "LossyImageCompression",
    "MagneticFieldStrength",
    "Manufacturer",
    "Modality",
    "NominalCardiacTriggerDelayTime",
    "NominalPercentageOfCardiacPhase",
    "NumberOfFrames",
    "PatientAge",
    "PatientPosition",
    "PatientSex",
    "PhotometricInterpretation",
    "PixelSpacing",
    "ProtocolName",
    "ReceiveCoilName",
    "ReconstructionDiameter",
    "RepetitionTime",
    "RescaleType",
    "Rows",
    "SOPClassUID",
    "SOPInstanceUID",
    "SamplesPerPixel",
    "SecondaryCaptureDeviceID",
    "SecondaryCaptureDeviceManufacturer",
    "SecondaryCaptureDeviceManufacturerModelName",
    "SeriesDescription",
    "SeriesInstanceUID",
    "SeriesNumber",
    "SeriesTime",
    "SliceThickness",
    "SpacingBetweenSlices",
    "StackID",
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
    "PixelPaddingRangeLimit",
    "HighBit",
)
KEYWORDS = (*IDENTIFYING_KEYWORDS, *OTHER_KEYWORDS, *PIXEL_KEYWORDS, "SpecificCharacterSet")
"""All that the functions below, and `ingest.pixels`, ask for."""
PRIVATE_TAGS = (
    siemens.NUMBER_OF_IMAGES_IN_MOSAIC,
    *siemens.CSA_IMAGE_HEADERS,
    *GE_SEQUENCES,
    GE_VARIANT,
    GE_SLICES,
    0x00191017,
    0x0019100C,
    0x0019100E,
    0x001910BB,
    0x001910BC,
    0x001910BD,
    0x001910A2,
    0x00271035,
    0x0043102F,
    0x00431039,
    0x00651009,
    0x00651037,
    0x00651050,
    0x00651051,
    0x20011003,
    0x20011004,
    0x20051011,
    0x200510B0,
    0x200510B1,
    0x200510B2,
    0x20051413,
)
"""Private elements that they ask for: mosaics, diffusion, complex component, volume number, plane
and sequence of Siemens, GE, UIH and Philips."""


CAPTURE_KEYWORDS = (
    "ConversionType",
    "DateOfSecondaryCapture",
    "SecondaryCaptureDeviceID",
    "SecondaryCaptureDeviceManufacturer",
    "SecondaryCaptureDeviceManufacturerModelName",
)
"""Filled where an image was made from a screen, film or paper (the rule of CTP's pixel filter)."""
GE_PLANES, GE_LOCALIZER_PLANE = (0x00191017, 0x00271035), 256
"""Plane of a series (3-plane: a localizer) and of an image, as dcm2niix reads them."""
MAX_DIMENSIONS = 32


def study_facts(dataset: Source) -> dict[str, Any]:
    return {
        "study_uid": text(dataset.get("StudyInstanceUID")),
        "series_uid": text(dataset.get("SeriesInstanceUID")),
        "sop_uid": text(dataset.get("SOPInstanceUID")),
        "sop_class_uid": text(
            dataset.get("SOPClassUID")
            or getattr(dataset, "file_meta", {}).get("MediaStorageSOPClassUID")
        ),
        "patient_key": "|".join(text(dataset.get(k)) for k in ("IssuerOfPatientID", "PatientID")),
        "accession_number": text(dataset.get("AccessionNumber")),
        "modality": text(dataset.get("Modality")),
        "manufacturer": text(dataset.get("Manufacturer")),
        "series_number": integer(dataset.get("SeriesNumber")),
        "study_description": text(dataset.get("StudyDescription")),
        "series_description": text(dataset.get("SeriesDescription")),
        "protocol_name": text(dataset.get("ProtocolName")),
        "body_part": text(dataset.get("BodyPartExamined")),
        "study_date": text(dataset.get("StudyDate")),
        "patient_age": text(dataset.get("PatientAge")),
        "patient_sex": text(dataset.get("PatientSex")),
        "rows": integer(dataset.get("Rows")) or 0,
        "columns": integer(dataset.get("Columns")) or 0,
        "samples_per_pixel": integer(dataset.get("SamplesPerPixel")) or 1,
        "photometric": text(dataset.get("PhotometricInterpretation")),
        "burned_in_annotation": text(dataset.get("BurnedInAnnotation")),
        "is_capture": any(text(dataset.get(k)) for k in CAPTURE_KEYWORDS),
        "is_lossy": text(dataset.get("LossyImageCompression")) == "01",
        "is_localizer_plane": _is_localizer_plane(dataset),
        "bits_stored": integer(dataset.get("BitsStored")),
        "series_time": text(dataset.get("SeriesTime")),
        "patient_position": text(dataset.get("PatientPosition")),
        "coil_name": text(dataset.get("ReceiveCoilName")),
        "frame_of_reference_uid": text(dataset.get("FrameOfReferenceUID")),
        "magnetic_field_t": number(dataset.get("MagneticFieldStrength")),
        "identifying": tuple(
            sorted({v for k in IDENTIFYING_KEYWORDS for v in texts(dataset.get(k)) if v})
        ),
    }


def _is_localizer_plane(dataset: Source) -> bool:
    is_ge = text(dataset.get("Manufacturer")).upper().startswith("GE")
    planes = [number(private(dataset.get, tag)) for tag in GE_PLANES]
    return is_ge and GE_LOCALIZER_PLANE in planes


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

    position = numbers(first("ImagePositionPatient"), 3)
    orientation = frame(numbers(first("ImageOrientationPatient"), 6))
    pixel_mm = spacing(first("PixelSpacing"))
    if is_upside_down(first):
        rows = integer(first("Rows")) or 0
        position, orientation = turned_over(position, orientation, pixel_mm, rows)
    return {
        "image_type": tuple(texts(first("FrameType", "ImageType"))),
        "acquisition_number": integer(first("FrameAcquisitionNumber", "AcquisitionNumber")),
        "instance_number": integer(first("InstanceNumber")),
        "content_time": text(first("ContentTime")),
        "acquisition_time": text(
            first("FrameAcquisitionDateTime", "AcquisitionTime", "AcquisitionDateTime")
        ),
        "position_mm": position,
        "orientation": orientation,
        "pixel_spacing_mm": pixel_mm,
        "slice_thickness_mm": number(first("SliceThickness")),
        "spacing_between_slices_mm": number(first("SpacingBetweenSlices")),
        "echo_time_ms": number(first("EffectiveEchoTime", "EchoTime")),
        "repetition_time_ms": number(first("RepetitionTime")),
        "inversion_time_ms": number(first("InversionTime", "InversionTimes")),
        "echo_number": integer(first("EchoNumbers")),
        "flip_angle_deg": number(first("FlipAngle")),
        "b_value_s_per_mm2": b_value(first),
        "diffusion_direction": direction(first),
        "temporal_position": integer(first("TemporalPositionIndex", "TemporalPositionIdentifier")),
        "trigger_time_ms": number(first("NominalCardiacTriggerDelayTime", "TriggerTime")),
        "kvp_kv": number(first("KVP")),
        "convolution_kernel": "\\".join(texts(first("ConvolutionKernel"))),
        "gantry_tilt_deg": number(first("GantryDetectorTilt")),
        "cardiac_phase_percent": number(first("NominalPercentageOfCardiacPhase")),
        "reconstruction_diameter_mm": number(first("ReconstructionDiameter")),
        "rescale_type": text(first("RescaleType")),
        "stack_id": text(first("StackID")),
        "dimension_index": _index(first("DimensionIndexValues")),
        "volume_number": integer(private(first, 0x20051413)) or integer(private(first, 0x001910A2)),
        "component": component(first),
    }


def _index(value: Any) -> tuple[float, ...]:
    """DimensionIndexValues; empty where they are none, or too many to be any."""
    values = value if is_multi(value) else [] if value is None else [value]
    numbers = tuple(n for n in (number(v) for v in values[:MAX_DIMENSIONS]) if n is not None)
    return numbers if len(numbers) == len(values) else ()
