"""A file -> the stored values of its frames: whole numbers with the sign that the header says.

In: a `Place`. Out: an `Image` that reads any of its
frames. Bits above BitsStored (overlays of old scanners) are masked, values in high bits are shifted
down, and signed values of few bits get their sign back; a codestream's own precision counts where
it is lower. Source: DICOM PS3.5 8.1.1 (pixel cells), PS3.3 C.7.6.3.
"""

from __future__ import annotations

import sys
from collections.abc import Iterator
from contextlib import contextmanager
from typing import NamedTuple

import numpy as np

from ingest.codecs import UNCOMPRESSED, decode_frame
from ingest.frames import Frames
from ingest.limits import MAX_FRAME_PIXELS
from ingest.pixel_header import PixelHeader, read_pixel_header
from ingest.place import Place
from ingest.source import Source
from ingest.undecodable import UndecodableError, damaged
from study.records import Reason

IS_LITTLE = sys.byteorder == "little"


class Stored(NamedTuple):
    """One frame, (rows, columns)."""

    values: np.ndarray
    """Whole numbers (or floating point, where the file holds such)."""
    cells: np.ndarray | None
    """The same with the bits above BitsStored, where a file has them: padding may be written
    there."""


class Image:
    """The frames of an open file. Raises UndecodableError."""

    def __init__(self, header: PixelHeader, source: Source) -> None:
        self.header = header
        self._frames = Frames(header, source)
        if header.samples_per_pixel != 1:
            raise damaged(f"{header.samples_per_pixel} samples a pixel")
        if not (header.rows and header.columns):
            raise damaged(f"{header.rows} rows, {header.columns} columns")
        if header.rows * header.columns > MAX_FRAME_PIXELS:
            raise UndecodableError(Reason.TOO_LARGE, f"{header.rows} x {header.columns} pixels")

    @property
    def num_frames(self) -> int:
        """Frames for which there are bytes."""
        return self._frames.count

    def stored(self, index: int) -> Stored:
        """Values of the frame `index`, from 0."""
        header = self.header
        if header.pixels_length < 0:
            if header.syntax in UNCOMPRESSED:
                raise damaged(f"encapsulated pixels in the uncompressed syntax {header.syntax}")
            values, precision = decode_frame(self._frames.read(index), header)
        else:
            if header.syntax not in UNCOMPRESSED:
                raise UndecodableError(
                    Reason.UNDECODABLE_TRANSFER_SYNTAX, f"{header.syntax}, not encapsulated"
                )
            values, precision = self._plain(index), header.bits_allocated
        if header.kind != "integer":
            return Stored(values, None)
        return _normalised(values, precision, header)

    def _plain(self, index: int) -> np.ndarray:
        header = self.header
        if header.kind == "integer":
            if header.bits_allocated not in (8, 16, 32):
                raise damaged(f"{header.bits_allocated} bits allocated")
            letter = "u"
        else:
            if header.bits_allocated != int(header.kind.removeprefix("float")):
                raise damaged(f"{header.kind} of {header.bits_allocated} bits")
            letter = "f"
        kind = f"{header.byte_order}{letter}{header.bits_allocated // 8}"
        values = np.frombuffer(self._frames.read(index), kind)
        if (header.byte_order == "<") is not IS_LITTLE:
            values = values.astype(values.dtype.newbyteorder("="))
        return values.reshape(header.rows, header.columns)


def _normalised(values: np.ndarray, precision: int, header: PixelHeader) -> Stored:
    """Values of `precision` bits as the whole numbers that they stand for."""
    bits, shift = header.bits_stored, header.high_bit + 1 - header.bits_stored
    if header.pixels_length < 0:
        bits, shift = min(bits, precision), shift if precision == header.bits_allocated else 0
    width = 8 * values.dtype.itemsize
    unsigned, signed = np.dtype(f"u{width // 8}"), np.dtype(f"i{width // 8}")
    cells = values.view(signed if header.is_signed else unsigned)
    if bits >= width:
        return Stored(cells, None)
    words = values.view(unsigned)
    if shift:
        words = words >> unsigned.type(shift)
    if header.is_signed:
        up = signed.type(width - bits)
        return Stored((words.view(signed) << up) >> up, cells)
    return Stored(words & unsigned.type((1 << bits) - 1), cells)


@contextmanager
def open_image(place: Place) -> Iterator[Image]:
    """The image in a file, open until the end of the block.

    Raises UndecodableError; OSError where the disk fails.
    """
    with place.open() as stream:
        yield Image(*read_pixel_header(stream, place.size()))
