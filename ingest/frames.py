"""Where the bytes of one frame are, so that only the wanted frames are read.

In: a `PixelHeader` and its source. Out: the bytes of a frame, as they are stored. Uncompressed
frames lie one after the other. A compressed frame is one or several fragments; which ones says the
extended offset table, the basic offset table, their number, or the mark that every codestream
begins with, in this order, and a table that does not fit the fragments is not believed. Source:
DICOM PS3.5 A.4 (encapsulation), 8.1.1 (byte order of 8-bit pixels).
"""

from __future__ import annotations

import struct
from bisect import bisect_left

import numpy as np

from ingest.pixel_header import PixelHeader
from ingest.source import Source
from ingest.undecodable import damaged

ITEM = b"\xfe\xff\x00\xe0"
BEGINNINGS = (b"\xff\xd8\xff", b"\xff\x4f\xff\x51", b"\x00\x00\x00\x0cjP  ")
"""Of a JPEG or JPEG-LS codestream, a JPEG 2000 codestream, and one in a JP2 file."""
LARGEST_FRAGMENTS = 1 << 22
"""Of one file: more are not an image."""


class Frames:
    """Bytes of the frames of a file, by index from 0. Raises UndecodableError."""

    def __init__(self, header: PixelHeader, source: Source) -> None:
        self._header, self._source = header, source
        self._fragments: list[list[tuple[int, int]]] | None = None

    @property
    def count(self) -> int:
        """Frames for which there are bytes: a header may announce any number."""
        if self._header.pixels_length >= 0:
            there = self._header.pixels_length // max(1, self._header.frame_bytes)
            return min(self._header.num_frames, there)
        return len(self._groups())

    def _groups(self) -> list[list[tuple[int, int]]]:
        if self._fragments is None:
            self._fragments = _group(self._header, self._source)
        return self._fragments

    def read(self, index: int) -> bytes:
        """One frame as it is stored: words of pixels, or a codestream."""
        if not 0 <= index < self._header.num_frames:
            raise damaged(f"frame {index} of {self._header.num_frames}")
        if self._header.pixels_length >= 0:
            return self._read_plain(index)
        return b"".join(self._source.read(*place) for place in self._groups()[index])

    def _read_plain(self, index: int) -> bytes:
        size = self._header.frame_bytes
        if (index + 1) * size > self._header.pixels_length:
            raise damaged(
                f"{self._header.pixels_length} bytes of pixels end within frame {index} of {size}"
            )
        data = self._source.read(self._header.pixels_at + index * size, size)
        if len(data) < size:
            raise damaged(f"the file ends within frame {index}")
        is_in_words = self._header.pixels_vr == b"OW" and self._header.bits_allocated == 8
        if self._header.byte_order == ">" and is_in_words and size % 2 == 0:
            return np.frombuffer(data, "<u2").byteswap().tobytes()
        return data


def _group(header: PixelHeader, source: Source) -> list[list[tuple[int, int]]]:
    """(position, length) of the fragments of every frame."""
    fragments = list(_fragments(header.pixels_at, source))
    if not fragments:
        raise damaged("encapsulated pixel data without an item")
    table, pieces = fragments[0], fragments[1:]
    if header.num_frames == 1:
        if not pieces:
            raise damaged("no fragment")
        return [pieces]
    if len(pieces) < header.num_frames:
        raise damaged(f"{len(pieces)} fragments for {header.num_frames} frames")
    raw = source.read(*table)
    basic = struct.unpack(f"<{len(raw) // 4}I", raw[: len(raw) // 4 * 4])
    for offsets in (header.offsets, basic):
        starts = _starts(offsets, pieces, header.num_frames)
        if starts:
            return _cut(pieces, starts)
    if len(pieces) == header.num_frames:
        return [[piece] for piece in pieces]
    starts = [n for n, (at, _) in enumerate(pieces) if source.read(at, 8).startswith(BEGINNINGS)]
    if len(starts) != header.num_frames or starts[0] != 0:
        raise damaged(f"{len(pieces)} fragments, {header.num_frames} frames, and no offset table")
    return _cut(pieces, starts)


def _fragments(position: int, source: Source) -> list[tuple[int, int]]:
    """(position, length) of all items: the basic offset table, then the fragments."""
    found: list[tuple[int, int]] = []
    while len(found) < LARGEST_FRAGMENTS:
        start = source.read(position, 8)
        if len(start) < 8 or start[:4] != ITEM:
            break  # the delimiter, or the end of the file
        (length,) = struct.unpack("<I", start[4:])
        found.append((position + 8, length))
        position += 8 + length
    return found


def _starts(
    offsets: tuple[int, ...], pieces: list[tuple[int, int]], num_frames: int
) -> list[int] | None:
    """Number of the first fragment of every frame; None where the table does not fit the
    fragments."""
    if len(offsets) != num_frames or offsets[0] != 0 or list(offsets) != sorted(set(offsets)):
        return None
    places = [at - pieces[0][0] for at, _ in pieces]
    found = [bisect_left(places, offset) for offset in offsets]
    fit = all(n < len(places) and places[n] == o for n, o in zip(found, offsets, strict=True))
    return found if fit else None


def _cut(pieces: list[tuple[int, int]], starts: list[int]) -> list[list[tuple[int, int]]]:
    ends = [*starts[1:], len(pieces)]
    return [pieces[start:end] for start, end in zip(starts, ends, strict=True)]
