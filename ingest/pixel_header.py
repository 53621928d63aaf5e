"""What has to be known about a file before its pixels can be read: a dozen elements.

In: a stream. Out: a `PixelHeader`, and the `Source` that the pixels come from. The idea: reading
pixels must not cost a parse of the header, least of all for a file of ten thousand frames of which
thirty are wanted. pydicom reads what is written in an unusual way. Sources: DICOM PS3.10 chapter 7
(meta information), PS3.3 C.7.6.3 (pixels).
"""

from __future__ import annotations

import struct
import zlib
from collections.abc import Mapping
from dataclasses import dataclass
from typing import BinaryIO

import numpy as np

from ingest import frame_rescale
from ingest.elements import (
    DEFLATED,
    EXPLICIT,
    EXPLICIT_LITTLE,
    IMPLICIT_LITTLE,
    LONG_VRS,
    SHORT_VRS,
    TRANSFER_SYNTAX,
    UNDEFINED,
    Coding,
    Element,
    NeedMore,
    Unusual,
    coding_of,
    find,
    head,
)
from ingest.frame_rescale import Rescale, rescale_of
from ingest.source import LARGEST_HEADER, FileSource, InflatedSource, Source
from ingest.undecodable import damaged

META_LENGTH = 0x00020000
OFFSETS, LENGTHS = 0x7FE00001, 0x7FE00002
"""The extended offset table."""
PIXELS = {0x7FE00008: "float32", 0x7FE00009: "float64", 0x7FE00010: "integer"}
NUMBERS = {
    0x00280002: "SamplesPerPixel",
    0x00280008: "NumberOfFrames",
    0x00280010: "Rows",
    0x00280011: "Columns",
    0x00280100: "BitsAllocated",
    0x00280101: "BitsStored",
    0x00280102: "HighBit",
    0x00280103: "PixelRepresentation",
    0x00280120: "PixelPaddingValue",
    0x00280121: "PixelPaddingRangeLimit",
}
PHOTOMETRIC = 0x00280004
WANTED = frozenset([*NUMBERS, PHOTOMETRIC, *frame_rescale.WANTED, OFFSETS, LENGTHS])


@dataclass(frozen=True)
class PixelHeader:
    """How the pixels of a file are stored. Frames count from 0."""

    syntax: str
    byte_order: str
    """Of uncompressed pixels, as struct and numpy write it: < or >."""
    kind: str
    """integer, float32 or float64."""
    rows: int
    columns: int
    samples_per_pixel: int
    num_frames: int
    bits_allocated: int
    bits_stored: int
    high_bit: int
    is_signed: bool
    photometric: str
    padding: tuple[int, int] | None
    """Lowest and highest stored value that stand for "no pixel here"."""
    pixels_at: int
    pixels_length: int
    """-1: encapsulated, ends with a delimiter."""
    pixels_vr: bytes
    offsets: tuple[int, ...]
    """Of the frames, from the extended offset table: empty where there is none."""
    rescale: Rescale
    """Slope and intercept of a frame: its own, the shared ones, or those of the top, in this
    order."""

    @property
    def frame_bytes(self) -> int:
        """Of one uncompressed frame."""
        return self.rows * self.columns * self.samples_per_pixel * self.bits_allocated // 8


def read_pixel_header(stream: BinaryIO, size: int) -> tuple[PixelHeader, Source]:
    """The header of a file of `size` bytes, and where its pixels are.

    Raises UndecodableError; OSError for the disk.
    """
    source: Source = FileSource(stream, size)
    try:
        return _read(source)
    except (Unusual, struct.error, ValueError, zlib.error):
        from ingest.slow_pixel_header import read_with_pydicom  # which takes a while to import

        return read_with_pydicom(stream), source


def _read(source: Source) -> tuple[PixelHeader, Source]:
    start, syntax, coding = _meta(source)
    if syntax == DEFLATED:
        while not source.is_complete:
            source.grow()
        source, start = InflatedSource(source.data[start:]), 0
    while True:
        try:
            return _parse(source, start, syntax, coding), source
        except NeedMore:
            if source.is_complete or len(source.data) > LARGEST_HEADER:
                raise Unusual from None
            source.grow()


def _meta(source: Source) -> tuple[int, str, Coding]:
    """Where the data set begins, its transfer syntax, and its coding. Old files have no preamble,
    or no meta information."""
    data = source.data
    start = 132 if data[128:132] == b"DICM" else 0
    syntax, end = "", len(data)
    try:
        while start < end and data[start : start + 2] == b"\x02\x00":
            tag, vr, value, length = head(data, start, EXPLICIT)
            start = value + length
            if tag == META_LENGTH and length == 4:
                end = start + int.from_bytes(data[value:start], "little")
            if tag == TRANSFER_SYNTAX:
                syntax = _text(data, Element(vr, value, length))
    except NeedMore:
        raise Unusual from None
    if not syntax:
        has_vr = data[start + 4 : start + 6] in SHORT_VRS | LONG_VRS
        syntax = EXPLICIT_LITTLE if has_vr else IMPLICIT_LITTLE
    return start, syntax, coding_of(syntax)


def _parse(source: Source, start: int, syntax: str, coding: Coding) -> PixelHeader:
    data = source.data
    found, position = find(data, start, source.size, coding, WANTED, min(PIXELS))
    tag, vr, at, length = head(data, position, coding)
    if tag not in PIXELS:
        raise Unusual
    numbers = {
        keyword: _number(data, found[tag], coding, keyword)
        for tag, keyword in NUMBERS.items()
        if tag in found and found[tag].length > 0
    }
    offsets: tuple[int, ...] = ()
    if OFFSETS in found:
        element = found[OFFSETS]
        raw = data[element.start : element.start + element.length // 8 * 8]
        offsets = tuple(int(n) for n in np.frombuffer(raw, "<u8"))
    photometric = _text(data, found[PHOTOMETRIC]) if PHOTOMETRIC in found else ""
    where = at, -1 if length == UNDEFINED else length, vr
    return header_of(
        numbers,
        syntax,
        coding.order,
        PIXELS[tag],
        photometric,
        where,
        offsets,
        rescale_of(data, found, coding),
    )


def header_of(
    numbers: Mapping[str, int],
    syntax: str,
    byte_order: str,
    kind: str,
    photometric: str,
    where: tuple[int, int, bytes],
    offsets: tuple[int, ...],
    rescale: Rescale,
) -> PixelHeader:
    """A header from its numbers, with what the standard says where one is missing."""
    allocated = numbers.get("BitsAllocated") or 16
    stored = numbers.get("BitsStored") or allocated
    is_signed = numbers.get("PixelRepresentation") == 1
    if not 0 < stored <= allocated:
        raise damaged(f"{stored} bits stored of {allocated}")
    high = numbers.get("HighBit", stored - 1)
    return PixelHeader(
        syntax=syntax,
        byte_order=byte_order,
        kind=kind,
        rows=numbers.get("Rows") or 0,
        columns=numbers.get("Columns") or 0,
        samples_per_pixel=numbers.get("SamplesPerPixel") or 1,
        num_frames=numbers.get("NumberOfFrames") or 1,
        bits_allocated=allocated,
        bits_stored=stored,
        high_bit=high if stored - 1 <= high < allocated else stored - 1,
        is_signed=is_signed,
        photometric=photometric,
        padding=_padding(numbers, allocated, is_signed),
        pixels_at=where[0],
        pixels_length=where[1],
        pixels_vr=where[2],
        offsets=offsets,
        rescale=rescale,
    )


def _padding(numbers: Mapping[str, int], allocated: int, is_signed: bool) -> tuple[int, int] | None:
    """The padding values with the sign that pixels have: 63536 in a signed image means -2000."""
    value = numbers.get("PixelPaddingValue")
    if value is None:
        return None
    ends = [value, numbers.get("PixelPaddingRangeLimit", value)]
    ends = [end % (1 << allocated) for end in ends]
    if is_signed:
        ends = [end - (1 << allocated) if end >> (allocated - 1) else end for end in ends]
    return min(ends), max(ends)


# -------------------------------------------------------------------------------- values


def _text(data: bytes, element: Element) -> str:
    value = data[element.start : element.start + element.length]
    return value.decode("latin-1").split("\\")[0].strip(" \0")


def _number(data: bytes, element: Element, coding: Coding, keyword: str) -> int:
    """A whole number: NumberOfFrames is text, everything else two bytes. The sign does not matter
    yet."""
    if keyword == "NumberOfFrames":
        return int(_text(data, element) or 1)
    if element.length != 2:
        raise Unusual
    return int(struct.unpack_from(coding.order + "H", data, element.start)[0])
