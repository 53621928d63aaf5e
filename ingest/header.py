"""One file -> the header facts of its images; never an exception.

In: a path. Out: one `Instance` for every image in the file (a frame each for enhanced multi-frame
objects), or a single Instance whose `reason` says why the file cannot be used. Pixels are not read,
only whether all their bytes are there. Sources: DICOM PS3.3 C.7.6.16 (functional groups), PS3.10
7.1 (preamble), dcm2niix's notes on Siemens mosaics.
"""

from __future__ import annotations

import os
import struct
import warnings
from typing import Any, BinaryIO, NamedTuple

import pydicom
from pydicom.dataset import Dataset
from pydicom.uid import UID

from ingest import fast_header
from ingest.place import open_bytes
from ingest.tags import IMAGE_CLASSES, image_facts, study_facts
from ingest.values import integer
from ingest.vendors import mosaic_facts
from study.records import Instance, Reason

_FAST = True
"""Tests turn it off to hold both ways of reading against each other."""

UNDEFINED = 0xFFFFFFFF
PIXEL_TAGS = (0x7FE00010, 0x7FE00008, 0x7FE00009)
"""PixelData, FloatPixelData, DoubleFloatPixelData."""


def read_header(
    path: str,
    stored_in: str = "",
    stored_at: int = 0,
    num_bytes: int | None = None,
    mtime_ns: int | None = None,
) -> list[Instance]:
    """Facts of every image in the file at `path`, in frame order. At least one Instance comes back.

    A member of an archive is `num_bytes` from `stored_at` in `stored_in`. A caller that knows size
    and time of the file (of the archive, for a member) saves asking for them again.
    """
    place = _Place(path, stored_in, stored_at)
    try:
        if num_bytes is None or mtime_ns is None:
            stat = os.stat(stored_in or path)
            num_bytes = stat.st_size - stored_at if num_bytes is None else num_bytes
            mtime_ns = stat.st_mtime_ns if mtime_ns is None else mtime_ns
    except OSError as error:
        return [
            Instance(
                path,
                stored_in=stored_in,
                stored_at=stored_at,
                reason=Reason.UNREADABLE,
                detail=type(error).__name__,
            )
        ]
    source = {**place._asdict(), "file_bytes": num_bytes, "file_mtime_ns": mtime_ns}

    def failed(reason: Reason, detail: str = "") -> list[Instance]:
        return [Instance(**source, reason=reason, detail=detail)]

    if num_bytes <= 0:
        return failed(Reason.TRUNCATED, "the file is empty")
    try:
        with open_bytes(place, num_bytes) as stream, warnings.catch_warnings():
            warnings.simplefilter("ignore")
            return _read(stream, source, num_bytes) or failed(Reason.NOT_DICOM)
    except OSError as error:
        return failed(Reason.UNREADABLE, type(error).__name__)
    except EOFError as error:
        return failed(Reason.TRUNCATED, str(error))
    except Exception as error:  # pydicom raises what its input makes it raise
        return failed(Reason.UNREADABLE, f"{type(error).__name__}: {error}"[:200])


class _Place(NamedTuple):
    """Where the bytes are, as `ingest.place` asks for it."""

    path: str
    stored_in: str
    stored_at: int


def _read(stream: BinaryIO, source: dict[str, Any], size: int) -> list[Instance]:
    """Rows of an open file: the fast way where it is an ordinary one. Empty: it is not DICOM."""
    if _FAST and (ordinary := fast_header.read(stream, size)) is not None:
        assert ordinary.pixels is not None
        pixels = _whole(stream, *ordinary.pixels, size)
        return _instances(source, ordinary, ordinary.transfer_syntax_uid, pixels)
    stream.seek(0)
    if not _looks_like_dicom(stream):
        return []
    dataset = pydicom.dcmread(stream, stop_before_pixels=True, force=True)
    syntax = str(getattr(dataset.file_meta, "TransferSyntaxUID", ""))
    return _instances(source, dataset, syntax, _pixel_bytes(stream, dataset, size))


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
    """Bytes of pixel data, None where there is none; pydicom stops with the stream before them."""
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
    return _whole(
        stream, start + (12 if explicit else 8), -1 if length == UNDEFINED else length, size
    )


def _whole(stream: BinaryIO, payload: int, length: int, size: int) -> int:
    """Bytes of the pixel data at `payload`; raises _Truncated when the file ends before they do.

    `length` is -1 for encapsulated pixels: they end with a sequence delimiter, near the file's end.
    """
    if length >= 0:
        if payload + length > size:
            raise _Truncated(f"{payload + length - size} bytes of pixel data are missing")
        return length
    stream.seek(max(payload, size - 4096))
    if b"\xfe\xff\xdd\xe0" not in stream.read():
        raise _Truncated("encapsulated pixel data has no end")
    return size - payload


def _instances(
    source: dict[str, Any], dataset: Any, syntax: str, pixels: int | None
) -> list[Instance]:
    common: dict[str, Any] = {
        **source,
        **study_facts(dataset),
        "transfer_syntax_uid": syntax,
        "has_pixels": pixels is not None,
    }
    if not common["sop_class_uid"]:
        return [Instance(**source, reason=Reason.NOT_DICOM, detail="no SOPClassUID")]
    if common["sop_class_uid"] not in IMAGE_CLASSES:
        common.update(reason=Reason.UNSUPPORTED_SOP_CLASS, detail=UID(common["sop_class_uid"]).name)
    elif not (common["study_uid"] and common["series_uid"] and common["sop_uid"]):
        common.update(reason=Reason.MISSING_UID)
    is_plain = isinstance(dataset, fast_header.Header)
    frames = None if is_plain else dataset.get("PerFrameFunctionalGroupsSequence")
    if not frames or pixels is None:
        num_frames = integer(dataset.get("NumberOfFrames")) or 1
        if num_frames > 1 and common.get("reason") is None:
            common.update(
                reason=Reason.UNSUPPORTED_SOP_CLASS, detail="frames without functional groups"
            )
        return [
            Instance(
                **{
                    **common,
                    **image_facts([dataset]),
                    **mosaic_facts(dataset),
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
                **image_facts([*_groups(item), *top]),
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
