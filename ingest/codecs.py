"""One compressed frame -> its values: which decoder for which transfer syntax, and why.

In: the bytes of a frame and a `PixelHeader`. Out: (rows, columns) of whole numbers and how many
bits each of them has. The codestream is believed about its own precision and size, never the
header: size is compared before anything is decoded. Decoders are deterministic and say so when a
stream is cut. None is under the GPL. Sources: DICOM PS3.5 8.2, A.4; ITU T.81 B.2 (JPEG), T.87 C.2
(JPEG-LS), T.800 A.5 (JPEG 2000).
"""

from __future__ import annotations

import io
import struct
import zlib
from collections.abc import Callable
from typing import NamedTuple

import numpy as np

from ingest.elements import DEFLATED, EXPLICIT_BIG, EXPLICIT_LITTLE, IMPLICIT_LITTLE
from ingest.pixel_header import PixelHeader
from ingest.undecodable import UndecodableError, damaged
from study.records import Reason

Decoded = tuple[np.ndarray, int]
"""(rows, columns) of unsigned or signed whole numbers, and their precision in bits."""

UNCOMPRESSED = frozenset((IMPLICIT_LITTLE, EXPLICIT_LITTLE, EXPLICIT_BIG, DEFLATED))
END_OF_CODESTREAM = b"\xff\xd9"
LOSSLESS_PROCESS = (0xC3,)
BASELINE, EXTENDED, PROGRESSIVE, JPEG_LS = 0xC0, 0xC1, 0xC2, 0xF7
START_OF_SCAN = 0xDA


def decode_frame(data: bytes, header: PixelHeader) -> Decoded:
    """Values of one compressed frame.

    Raises UndecodableError: UNDECODABLE_TRANSFER_SYNTAX where nothing here reads this syntax,
    UNDECODABLE_PIXELS where the frame is broken.
    """
    decoder = DECODERS.get(header.syntax)
    if decoder is None:
        raise UndecodableError(Reason.UNDECODABLE_TRANSFER_SYNTAX, header.syntax)
    try:
        values, precision = decoder(data, header)
    except (MemoryError, UndecodableError):
        raise
    except Exception as error:  # decoders raise what broken input makes them raise
        if "bad_alloc" in str(error):
            raise MemoryError(str(error)) from error
        raise damaged(f"{header.syntax}: {type(error).__name__}: {error}") from error
    if values.shape != (header.rows, header.columns):
        raise damaged(f"{values.shape} decoded, not {(header.rows, header.columns)}")
    return values, precision


class JpegFrame(NamedTuple):
    """What the frame header of a JPEG or JPEG-LS codestream says."""

    process: int
    """The marker: 0xC0 is baseline, 0xC3 lossless, 0xF7 JPEG-LS."""
    precision: int
    rows: int
    columns: int
    components: int


def jpeg_frame(data: bytes) -> JpegFrame:
    """The frame header of a codestream. Raises UndecodableError where there is none."""
    position = 2
    while data[:2] == b"\xff\xd8" and position + 4 <= len(data) and data[position] == 0xFF:
        marker = data[position + 1]
        if marker == 0xFF:
            position += 1  # filling
            continue
        is_frame = 0xC0 <= marker <= 0xCF and marker not in (0xC4, 0xC8, 0xCC)
        if (is_frame or marker == JPEG_LS) and position + 10 <= len(data):
            return JpegFrame(marker, *struct.unpack_from(">BHHB", data, position + 4))
        if marker == START_OF_SCAN:
            break
        position += 2 + struct.unpack_from(">H", data, position + 2)[0]
    raise damaged("a JPEG stream without a frame header")


def _checked(frame: JpegFrame, header: PixelHeader) -> JpegFrame:
    if (frame.rows, frame.columns, frame.components) != (header.rows, header.columns, 1):
        raise damaged(f"a codestream of {frame}, not {header.rows} x {header.columns} grey pixels")
    return frame


def _jpeg(data: bytes, header: PixelHeader) -> Decoded:
    """Any JPEG: what it is says the codestream, since exports mislabel them (lossless under the UID
    of baseline)."""
    frame = _checked(jpeg_frame(data), header)
    if frame.process == JPEG_LS:
        return _jpeg_ls(data, header)
    if frame.process in LOSSLESS_PROCESS:
        return _gdcm(data, header, JPEG_LOSSLESS, frame.precision), frame.precision
    if frame.process not in (BASELINE, EXTENDED, PROGRESSIVE):
        raise UndecodableError(
            Reason.UNDECODABLE_TRANSFER_SYNTAX,
            f"{header.syntax}: JPEG process {frame.process:#x}",
        )
    if frame.precision == 8:
        from PIL import Image

        with Image.open(io.BytesIO(data), formats=("JPEG",)) as image:
            return np.asarray(image), 8
    return _gdcm(data, header, JPEG_EXTENDED, frame.precision), frame.precision


def _gdcm(data: bytes, header: PixelHeader, syntax: str, precision: int) -> np.ndarray:
    """A JPEG codestream of up to 16 bits, unsigned as it is."""
    import gdcm  # type: ignore[import-untyped]

    fragment = gdcm.Fragment()
    fragment.SetByteStringValue(data)
    fragments = gdcm.SequenceOfFragments.New()
    fragments.AddFragment(fragment)
    element = gdcm.DataElement(gdcm.Tag(0x7FE0, 0x0010))
    element.SetValue(fragments.__ref__())
    image = gdcm.Image()
    image.SetNumberOfDimensions(2)
    image.SetDimensions((header.columns, header.rows, 1))
    image.SetDataElement(element)
    grey = gdcm.PhotometricInterpretation(gdcm.PhotometricInterpretation.MONOCHROME2)
    image.SetPhotometricInterpretation(grey)
    image.SetTransferSyntax(gdcm.TransferSyntax(gdcm.TransferSyntax.GetTSType(syntax)))
    allocated = 8 if precision <= 8 else 16
    image.SetPixelFormat(gdcm.PixelFormat(1, allocated, precision, precision - 1, 0))
    text = image.GetBuffer()
    if text is None:
        raise damaged("GDCM cannot decode the frame")
    values = np.frombuffer(text.encode("utf-8", "surrogateescape"), f"<u{allocated // 8}")
    if values.size != header.rows * header.columns:
        raise damaged(f"GDCM decoded {values.size} pixels")
    return values.reshape(header.rows, header.columns)


def _jpeg_ls(data: bytes, header: PixelHeader) -> Decoded:
    import jpeg_ls  # type: ignore[import-untyped]

    frame = _checked(jpeg_frame(data), header)
    if frame.process != JPEG_LS:
        return _jpeg(data, header)
    if END_OF_CODESTREAM not in data[-16:]:
        raise damaged("a JPEG-LS stream that is cut")  # which CharLS may take 20 s to notice
    return np.asarray(jpeg_ls.decode(np.frombuffer(data, np.uint8))), frame.precision


def _jpeg_2000(data: bytes, header: PixelHeader) -> Decoded:
    """JPEG 2000 and HTJ2K, also within a JP2 file. The end mark may be missing, pixels may
    not."""
    from openjpeg.utils import decode

    start = data.find(b"\xff\x4f\xff\x51", 0, 4096)
    if start < 0 or len(data) < start + 42:
        raise damaged("no JPEG 2000 codestream")
    right, bottom, left, top = struct.unpack_from(">4I", data, start + 8)
    (components,) = struct.unpack_from(">H", data, start + 40)
    if (bottom - top, right - left, components) != (header.rows, header.columns, 1):
        raise damaged(
            f"a codestream of {bottom - top} x {right - left} x {components}, not "
            f"{header.rows} x {header.columns} grey pixels"
        )
    if END_OF_CODESTREAM not in data[-16:]:
        data += END_OF_CODESTREAM
    values = decode(data[start:], j2k_format=0)
    return np.asarray(values), (data[start + 42] & 0x7F) + 1


def _run_length(data: bytes, header: PixelHeader) -> Decoded:
    """RLE: one segment for every byte of a pixel, the highest first. Source: PS3.5 annex G."""
    num_bytes, num_pixels = header.bits_allocated // 8, header.rows * header.columns
    if len(data) < 64 or num_bytes not in (1, 2, 4):
        raise damaged("no RLE header")
    count, *offsets = struct.unpack_from("<16I", data)
    if count != num_bytes:
        raise damaged(f"{count} RLE segments for {num_bytes} bytes a pixel")
    ends = [*offsets[1:count], len(data)]
    planes = np.empty((num_pixels, num_bytes), np.uint8)
    for number, (start, end) in enumerate(zip(offsets[:count], ends, strict=True)):
        planes[:, num_bytes - 1 - number] = _unpack(data[start:end], num_pixels)
    values = planes.view(f"<u{num_bytes}").reshape(header.rows, header.columns)
    return values, header.bits_allocated


def _unpack(data: bytes, wanted: int) -> np.ndarray:
    """A segment of `wanted` bytes: runs and literals (PackBits)."""
    pieces, have, position, size = [], 0, 0, len(data)
    while have < wanted and position < size:
        length = data[position] + 1
        if length <= 128:
            piece = data[position + 1 : position + 1 + length]
            position += 1 + length
        else:
            length = 258 - length  # 129 is 128 itself, which is one byte that says nothing
            piece = data[position + 1 : position + 2] * length if length < 129 else b""
            position += 2 if length < 129 else 1
        pieces.append(piece)
        have += len(piece)
    if have < wanted:
        raise damaged(f"an RLE segment of {have} bytes, not {wanted}")
    return np.frombuffer(b"".join(pieces), np.uint8)[:wanted]


def _deflated_frame(data: bytes, header: PixelHeader) -> Decoded:
    size = header.frame_bytes
    words = zlib.decompressobj(wbits=-zlib.MAX_WBITS).decompress(data, size)
    if len(words) < size or header.bits_allocated not in (8, 16, 32):
        raise damaged(f"{len(words)} bytes inflated, not {size}")
    values = np.frombuffer(words, f"<u{header.bits_allocated // 8}")
    return values.reshape(header.rows, header.columns), header.bits_allocated


JPEG_EXTENDED, JPEG_LOSSLESS = "1.2.840.10008.1.2.4.51", "1.2.840.10008.1.2.4.57"

DECODERS: dict[str, Callable[[bytes, PixelHeader], Decoded]] = {
    # Ours: pydicom's is as fast; GDCM takes twice as long.
    "1.2.840.10008.1.2.5": _run_length,
    "1.2.840.10008.1.2.8.1": _deflated_frame,
    # 8 bits: Pillow (libjpeg-turbo), the same integer transform as GDCM's and faster. 12 bits and
    # lossless: GDCM; libjpeg-turbo as Pillow has it reads neither, and pylibjpeg-libjpeg is GPL.
    "1.2.840.10008.1.2.4.50": _jpeg,
    "1.2.840.10008.1.2.4.51": _jpeg,
    "1.2.840.10008.1.2.4.57": _jpeg,
    "1.2.840.10008.1.2.4.70": _jpeg,
    # CharLS itself: GDCM's copy fails on 6 and 7 bits and loses the sign of lossy ones.
    "1.2.840.10008.1.2.4.80": _jpeg_ls,
    "1.2.840.10008.1.2.4.81": _jpeg_ls,
    # OpenJPEG itself: GDCM reads no HTJ2K, and guesses where header and codestream disagree.
    "1.2.840.10008.1.2.4.90": _jpeg_2000,
    "1.2.840.10008.1.2.4.91": _jpeg_2000,
    "1.2.840.10008.1.2.4.201": _jpeg_2000,
    "1.2.840.10008.1.2.4.202": _jpeg_2000,
    "1.2.840.10008.1.2.4.203": _jpeg_2000,
}
"""Transfer syntax -> decoder."""
