"""One file -> the header facts of its images; never an exception.

In: a path. Out: one `Instance` for every image in the file (a frame each for enhanced multi-frame
objects), or a single Instance whose `reason` says why the file cannot be used. Pixels are not read,
only whether all their bytes are there. Sources: DICOM PS3.3 C.7.6.16 (functional groups), PS3.10
7.1 (preamble), dcm2niix's notes on Siemens mosaics.
"""

from __future__ import annotations

import math
import os
import struct
import warnings
from collections.abc import Iterable
from typing import Any, BinaryIO

import pydicom
from pydicom.dataset import Dataset
from pydicom.uid import UID

from ingest import siemens
from study.records import Instance, Reason

PIXEL_TAGS = (0x7FE00010, 0x7FE00008, 0x7FE00009)
"""PixelData, FloatPixelData, DoubleFloatPixelData."""

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


def read_header(path: str) -> list[Instance]:
    """Facts of every image in the file at `path`, in frame order. At least one Instance comes
    back."""
    try:
        stat = os.stat(path)
        size, mtime = stat.st_size, stat.st_mtime_ns
    except OSError as error:
        return [Instance(path, reason=Reason.UNREADABLE, detail=type(error).__name__)]

    def failed(reason: Reason, detail: str = "") -> list[Instance]:
        return [Instance(path, reason=reason, detail=detail, file_bytes=size, file_mtime_ns=mtime)]

    if size == 0:
        return failed(Reason.TRUNCATED, "the file is empty")
    try:
        with open(path, "rb") as stream, warnings.catch_warnings():
            warnings.simplefilter("ignore")
            if not _looks_like_dicom(stream):
                return failed(Reason.NOT_DICOM)
            dataset = pydicom.dcmread(stream, stop_before_pixels=True, force=True)
            pixels = _pixel_bytes(stream, dataset, size)
            return _instances(path, dataset, pixels, size, mtime)
    except OSError as error:
        return failed(Reason.UNREADABLE, type(error).__name__)
    except EOFError as error:
        return failed(Reason.TRUNCATED, str(error))
    except (
        Exception
    ) as error:  # pydicom raises what its input makes it raise; one file must not stop the crawl
        return failed(Reason.UNREADABLE, f"{type(error).__name__}: {error}"[:200])


def _looks_like_dicom(stream: BinaryIO) -> bool:
    """A Part 10 preamble, or (old exports) a data set that begins with group 0002 or 0008 without
    one."""
    head = stream.read(132)
    stream.seek(0)
    if head[128:132] == b"DICM":
        return True
    if len(head) < 8:
        return False
    group, element, length = struct.unpack("<HHI", head[:8])
    explicit = head[4:6].isalpha() and head[4:6].isupper()
    return group in (0x0002, 0x0008) and element < 0x0100 and (explicit or length < 0x0400)


class _Truncated(EOFError):
    """Fewer bytes in the file than its elements announce."""


def _pixel_bytes(stream: BinaryIO, dataset: Dataset, size: int) -> int | None:
    """Bytes of pixel data, None where there is none. Raises _Truncated when the file ends before
    they do.

    pydicom stops with the stream at the pixel element (or at the end of the file). Encapsulated
    pixels have no length: they end with a sequence delimiter, which is looked for in the last
    bytes.
    """
    syntax = UID(str(getattr(dataset.file_meta, "TransferSyntaxUID", "")) or "1.2.840.10008.1.2")
    if syntax == "1.2.840.10008.1.2.1.99":
        return 0 if dataset.get("Rows") else None  # deflated: the stream is not the data set
    endian = ">" if syntax == "1.2.840.10008.1.2.2" else "<"
    start = stream.tell()
    head = stream.read(12)
    if len(head) == 0:
        return None
    if len(head) < 8:
        raise _Truncated("ends within an element")
    group, element = struct.unpack(f"{endian}HH", head[:4])
    if (group << 16 | element) not in PIXEL_TAGS:
        return None
    explicit = head[4:6] in (b"OW", b"OB", b"OF", b"OD", b"UN")
    if explicit and len(head) < 12:
        raise _Truncated("ends within an element")
    length = struct.unpack(f"{endian}I", head[8:12] if explicit else head[4:8])[0]
    payload = start + (12 if explicit else 8)
    if length != 0xFFFFFFFF:
        if payload + length > size:
            raise _Truncated(f"{payload + length - size} bytes of pixel data are missing")
        return int(length)
    stream.seek(max(payload, size - 4096))
    if b"\xfe\xff\xdd\xe0" not in stream.read():
        raise _Truncated("encapsulated pixel data has no end")
    return size - payload


def _instances(
    path: str, dataset: Dataset, pixels: int | None, size: int, mtime: int
) -> list[Instance]:
    syntax = str(getattr(dataset.file_meta, "TransferSyntaxUID", ""))
    common: dict[str, Any] = {
        **_study_facts(dataset),
        "path": path,
        "transfer_syntax_uid": syntax,
        "has_pixels": pixels is not None,
        "file_bytes": size,
        "file_mtime_ns": mtime,
    }
    if not common["sop_class_uid"]:
        return [
            Instance(
                path,
                reason=Reason.NOT_DICOM,
                detail="no SOPClassUID",
                file_bytes=size,
                file_mtime_ns=mtime,
            )
        ]
    if common["sop_class_uid"] not in IMAGE_CLASSES:
        common.update(reason=Reason.UNSUPPORTED_SOP_CLASS, detail=UID(common["sop_class_uid"]).name)
    elif not (common["study_uid"] and common["series_uid"] and common["sop_uid"]):
        common.update(reason=Reason.MISSING_UID)
    frames = dataset.get("PerFrameFunctionalGroupsSequence")
    if not frames or pixels is None:
        num_frames = _integer(dataset.get("NumberOfFrames")) or 1
        if num_frames > 1 and common.get("reason") is None:
            common.update(
                reason=Reason.UNSUPPORTED_SOP_CLASS, detail="frames without functional groups"
            )
        return [
            Instance(
                **{
                    **common,
                    **_image_facts([dataset]),
                    **_mosaic_facts(dataset),
                    "num_frames": num_frames,
                }
            )
        ]
    shared_items = dataset.get("SharedFunctionalGroupsSequence") or [Dataset()]
    shared = _groups(shared_items[0])
    top = [dataset, *shared]
    return [
        Instance(
            **{
                **common,
                **_image_facts([*_groups(item), *top]),
                "frame": index,
                "num_frames": len(frames),
            }
        )
        for index, item in enumerate(frames)
    ]


def _groups(item: Dataset) -> list[Dataset]:
    """The first items of all functional group macros in an item of a functional groups sequence,
    flattened."""
    found = []
    for element in item:
        if element.VR == "SQ" and element.value:
            found.append(element.value[0])
            found.extend(_groups(element.value[0]))
    return found


def _study_facts(dataset: Dataset) -> dict[str, Any]:
    return {
        "study_uid": _text(dataset.get("StudyInstanceUID")),
        "series_uid": _text(dataset.get("SeriesInstanceUID")),
        "sop_uid": _text(dataset.get("SOPInstanceUID")),
        "sop_class_uid": _text(
            dataset.get("SOPClassUID") or dataset.file_meta.get("MediaStorageSOPClassUID")
        ),
        "patient_key": "|".join(_text(dataset.get(k)) for k in ("IssuerOfPatientID", "PatientID")),
        "accession_number": _text(dataset.get("AccessionNumber")),
        "modality": _text(dataset.get("Modality")),
        "manufacturer": _text(dataset.get("Manufacturer")),
        "series_number": _integer(dataset.get("SeriesNumber")),
        "study_description": _text(dataset.get("StudyDescription")),
        "series_description": _text(dataset.get("SeriesDescription")),
        "protocol_name": _text(dataset.get("ProtocolName")),
        "body_part": _text(dataset.get("BodyPartExamined")),
        "study_date": _text(dataset.get("StudyDate")),
        "patient_age": _text(dataset.get("PatientAge")),
        "patient_sex": _text(dataset.get("PatientSex")),
        "rows": _integer(dataset.get("Rows")) or 0,
        "columns": _integer(dataset.get("Columns")) or 0,
        "samples_per_pixel": _integer(dataset.get("SamplesPerPixel")) or 1,
        "photometric": _text(dataset.get("PhotometricInterpretation")),
        "burned_in_annotation": _text(dataset.get("BurnedInAnnotation")),
        "frame_of_reference_uid": _text(dataset.get("FrameOfReferenceUID")),
        "magnetic_field_t": _number(dataset.get("MagneticFieldStrength")),
        "identifying": tuple(
            sorted({v for k in IDENTIFYING_KEYWORDS for v in _texts(dataset.get(k)) if v})
        ),
    }


def _image_facts(sources: list[Dataset]) -> dict[str, Any]:
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
        "image_type": tuple(_texts(first("FrameType", "ImageType"))),
        "acquisition_number": _integer(first("FrameAcquisitionNumber", "AcquisitionNumber")),
        "instance_number": _integer(first("InstanceNumber")),
        "content_time": _text(first("ContentTime")),
        "acquisition_time": _text(
            first("FrameAcquisitionDateTime", "AcquisitionTime", "AcquisitionDateTime")
        ),
        "position_mm": position,
        "orientation": orientation if orientation and _is_frame(orientation) else None,
        "pixel_spacing_mm": _spacing(first("PixelSpacing")),
        "slice_thickness_mm": _number(first("SliceThickness")),
        "spacing_between_slices_mm": _number(first("SpacingBetweenSlices")),
        "echo_time_ms": _number(first("EffectiveEchoTime", "EchoTime")),
        "repetition_time_ms": _number(first("RepetitionTime")),
        "inversion_time_ms": _number(first("InversionTime")),
        "flip_angle_deg": _number(first("FlipAngle")),
        "b_value_s_per_mm2": _b_value(first),
        "diffusion_direction": _direction(first),
        "temporal_position": _integer(first("TemporalPositionIndex", "TemporalPositionIdentifier")),
        "trigger_time_ms": _number(first("NominalCardiacTriggerDelayTime", "TriggerTime")),
        "kvp_kv": _number(first("KVP")),
        "convolution_kernel": "\\".join(_texts(first("ConvolutionKernel"))),
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
    values = _texts(_private(first, 0x00431039))
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


def _mosaic_facts(dataset: Dataset) -> dict[str, Any]:
    if "MOSAIC" not in _texts(dataset.get("ImageType")):
        return {}
    tiles, normal = siemens.mosaic(dataset)
    return {"mosaic_tiles": tiles, "slice_normal": normal}


def _texts(value: Any) -> list[str]:
    if value is None:
        return []
    many = (
        value
        if isinstance(value, Iterable) and not isinstance(value, str | bytes) and _is_multi(value)
        else [value]
    )
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


def _integer(value: Any) -> int | None:
    number = _number(value)
    return None if number is None else int(number)


def _numbers(value: Any, count: int) -> Any:
    if not _is_multi(value) or len(value) != count:
        return None
    numbers = tuple(n for n in (_number(v) for v in value) if n is not None)
    return numbers if len(numbers) == count else None


def _spacing(value: Any) -> tuple[float, float] | None:
    numbers = _numbers(value, 2)
    return numbers if numbers and min(numbers) > 0 else None


def _is_frame(orientation: tuple[float, ...]) -> bool:
    """Two unit vectors at a right angle, to a hundredth: what ImageOrientationPatient must be."""
    row, column = orientation[:3], orientation[3:]
    lengths = (math.hypot(*row), math.hypot(*column))
    return (
        all(abs(n - 1) < 0.01 for n in lengths)
        and abs(sum(a * b for a, b in zip(row, column, strict=True))) < 0.01
    )
