"""The ordinary header, read an order of magnitude faster than by a general parser.

In: an open file. Out: a `Header` that answers `get(keyword)` for the few tags that ingestion wants,
and gives the functional groups of every frame; or None when anything about the file is unusual:
then the caller lets pydicom read it. Ordinary is: a Part 10 file in little endian, not deflated,
tags in ascending order, text without escapes of character sets. Big elements that nobody wants are
stepped over without being read. Source: DICOM PS3.5 chapter 7 (encoding), PS3.10 chapter 7 (file
meta information).
"""

from __future__ import annotations

from collections.abc import Iterator
from typing import BinaryIO

from ingest.elements import (
    DEFLATED,
    EXPLICIT_BIG,
    IMPLICIT_LITTLE,
    LONG_VRS,
    PER_FRAME_GROUPS,
    SHARED_GROUPS,
    SHORT_VRS,
    TRANSFER_SYNTAX,
    UNDEFINED,
    NeedMore,
    Unusual,
)
from ingest.fast_frames import (
    Item,
    Nested,
    read_explicit,
    read_implicit,
    read_length,
    undefined_is_sequence,
)
from ingest.fast_values import WANTED, Raw, Values, encoding_of, settle
from ingest.values import Source

FIRST_READ = 1 << 14
"""Bytes read at a time: enough for most headers."""
LARGEST_READ = 1 << 28
"""Bytes of one sequence that are held in memory; a larger one is left to pydicom."""
PREFIX = b"DICM\x02\x00\x00\x00UL\x04\x00"
"""What follows the preamble: the magic word, and the element that says how long group 0002 is."""
META_START = 144
META_WANTED = frozenset((TRANSFER_SYNTAX,))
FIRST_GROUP = 0x0008
"""Lower groups (commands, directories) are left to pydicom."""
PIXEL_DATA = 0x7FE00010
UNUSUAL_SYNTAXES = (EXPLICIT_BIG, DEFLATED, "")
GROUPS = {SHARED_GROUPS: 1, PER_FRAME_GROUPS: 1 << 31}
"""The sequences of functional groups, and how many items of each are kept at most."""


class Header(Values):
    """Values at the top of a data set, and those of its frames."""

    __slots__ = ("_frames", "num_groups", "pixels", "transfer_syntax_uid")

    def __init__(self, found: _Found, syntax: str, pixels: tuple[int, int] | None) -> None:
        super().__init__(found.raw, encoding_of(found.raw))
        self._frames = found.items
        self.transfer_syntax_uid = syntax
        self.pixels = pixels
        """Where the value of PixelData begins in the file, and its length (-1: encapsulated); None
        without pixels."""
        self.num_groups = len(found.items.get(PER_FRAME_GROUPS, ()))
        """Frames that have functional groups."""

    @property
    def file_meta(self) -> Source:
        """Asked for only where the data set does not say what it is."""
        raise Unusual

    def frames(self) -> Iterator[list[Source]]:
        """Of every frame: its own groups' values over the shared ones over those at the top."""
        below = dict(self._raw)
        for item in self._frames.get(SHARED_GROUPS, ())[:1]:
            below = item.over(below)
        for item in self._frames.get(PER_FRAME_GROUPS, ()):
            yield [Values(item.over(below), self._encoding)]


class _Found:
    """What the walk through a data set has found so far."""

    def __init__(self, last_tag: int) -> None:
        self.last_tag = last_tag
        self.raw: dict[int, Raw] = {}
        self.items: dict[int, list[Item]] = {}
        """Of the two sequences of functional groups."""


class _Window:
    """A part of a file in memory: `data` begins at byte `base`."""

    def __init__(self, stream: BinaryIO, size: int) -> None:
        self._stream, self.size, self.base = stream, size, 0
        stream.seek(0)
        self.data = stream.read(FIRST_READ)

    def move(self, position: int, num_bytes: int) -> bytes:
        """Let the window begin at `position` and hold `num_bytes` (Unusual where there are
        fewer)."""
        if position + num_bytes > self.size or num_bytes > LARGEST_READ:
            raise Unusual
        self._stream.seek(position)
        self.base, self.data = position, self._stream.read(max(num_bytes, FIRST_READ))
        if len(self.data) < num_bytes:
            raise Unusual
        return self.data


def read(stream: BinaryIO, size: int) -> Header | None:
    """The header of an ordinary file of `size` bytes; None for every other file. The stream is left
    anywhere. Values are decoded when asked for: `Header.get` may yet raise Unusual. Raises TooLarge
    where there are too many frames."""
    try:
        return _read(_Window(stream, size))
    except (Unusual, NeedMore):
        return None


def _read(window: _Window) -> Header:
    data = window.data
    if data[128:140] != PREFIX or len(data) < META_START:
        raise Unusual
    start = META_START + read_length(data, 140)[0]
    meta = _Found(last_tag=0x00020000)
    _walk(window, META_START, start, META_WANTED, meta, explicit=True)
    vr, payload = meta.raw.get(TRANSFER_SYNTAX, (b"", b""))
    syntax = payload.decode("latin-1").rstrip("\0 ")
    if not syntax.isascii() or "\\" in syntax:
        raise Unusual
    if meta.last_tag >> 16 != 2 or vr != b"UI" or syntax in UNUSUAL_SYNTAXES:
        raise Unusual
    found = _Found(last_tag=(FIRST_GROUP << 16) - 1)
    pixels = _walk(window, start, window.size, WANTED, found, explicit=syntax != IMPLICIT_LITTLE)
    settle(found.raw)
    return Header(found, syntax, pixels)


def _walk(
    window: _Window, start: int, end: int, wanted: frozenset[int], found: _Found, *, explicit: bool
) -> tuple[int, int] | None:
    """Find wanted elements from `start` to `end`; answer where the pixel data is (None: not
    met)."""
    raw, last, vr = found.raw, found.last_tag, b""
    data, base = window.data, window.base
    position = start - base  # in the window
    last_start = min(len(data) - 12, end - base - 1)
    while True:
        if position > last_start:
            position += base
            if position == end:
                found.last_tag = last
                return None
            if position > end:
                raise Unusual  # the last element reaches into what follows
            data, base, position = window.move(position, 12), position, 0
            last_start = min(len(data) - 12, end - base - 1)
        if explicit:
            group, element, vr, length = read_explicit(data, position)
            if vr in SHORT_VRS:
                position += 8
            elif vr in LONG_VRS:
                length = read_length(data, position + 8)[0]
                position += 12
            else:
                raise Unusual
        else:
            group, element, length = read_implicit(data, position)
            position += 8
        tag = group << 16 | element
        if tag <= last:
            raise Unusual
        last = tag
        if tag >= PIXEL_DATA:
            if tag != PIXEL_DATA or vr not in (b"OW", b"OB", b""):
                raise Unusual
            return base + position, -1 if length == UNDEFINED else length
        if length == UNDEFINED or tag in GROUPS:
            position = _sequence(window, base + position, length, tag, vr, found)
            data, base = window.data, window.base
            position -= base
            last_start = min(len(data) - 12, end - base - 1)
            continue
        if tag in wanted:
            if position + length > len(data):
                base += position
                data, position = window.move(base, length), 0
                last_start = min(len(data) - 12, end - base - 1)
            raw[tag] = (vr, data[position : position + length])
        position += length


def _sequence(
    window: _Window, position: int, length: int, tag: int, vr: bytes, found: _Found
) -> int:
    """Keep the functional groups at `position` in the file, or step over another sequence of
    undefined length. Answers where what follows begins."""
    keep = GROUPS.get(tag, 0)
    if vr not in (b"SQ", b"") or (tag in WANTED and not keep):
        raise Unusual
    need = 12 if length == UNDEFINED else length
    while True:
        if position + need - window.base > len(window.data):
            window.move(position, need)
        data, offset = window.data, position - window.base
        if length != UNDEFINED:
            data, offset = data[offset : offset + length], 0
        elif not undefined_is_sequence(tag, vr, data, offset):
            raise Unusual
        try:
            items, after = Nested(data, explicit=vr != b"").sequence(offset, length, keep)
        except NeedMore:
            if length != UNDEFINED or position + need >= window.size:
                raise Unusual from None
            need = min(window.size - position, 4 * max(need, len(data) - offset))
            continue
        if keep:
            found.items[tag] = items
        return after - offset + position
