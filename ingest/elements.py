"""Raw data elements in a buffer: where they are, without what they mean.

In: bytes, and the coding they are in. Out: positions of the wanted elements. The idea: pixels need
a dozen elements of the several hundred in a header, so nothing else is parsed, only stepped over; a
structure that is not plainly DICOM raises `Unusual`, and a general parser has its turn. The walk
here takes any order of tags and either byte order; that of `fast_header` and `fast_frames`, which
must give what pydicom gives, is stricter and shares the words only. Source: DICOM PS3.5 chapter 7
(encoding; 7.5 nesting), 6.2.2 (UN of undefined length is implicit), annex A (transfer syntaxes).
"""

from __future__ import annotations

import struct
from collections.abc import Callable, Iterator
from typing import Any, NamedTuple

UNDEFINED = 0xFFFFFFFF
ITEM, ITEM_END, SEQUENCE_END = 0xFFFEE000, 0xFFFEE00D, 0xFFFEE0DD
SHORT_VRS = frozenset(b"AE AS AT CS DA DS DT FL FD IS LO LT PN SH SL SS ST TM UI UL US".split())
LONG_VRS = frozenset(b"OB OD OF OL OV OW SQ SV UC UN UR UT UV".split())
TRANSFER_SYNTAX = 0x00020010
SHARED_GROUPS, PER_FRAME_GROUPS = 0x52009229, 0x52009230
"""The sequences of functional groups (PS3.3 C.7.6.16)."""
IMPLICIT_LITTLE, EXPLICIT_LITTLE = "1.2.840.10008.1.2", "1.2.840.10008.1.2.1"
EXPLICIT_BIG, DEFLATED = "1.2.840.10008.1.2.2", "1.2.840.10008.1.2.1.99"
LARGEST_NESTING = 64
"""Sequences within each other; real files have fewer than ten."""


class Unusual(Exception):
    """The structure is not one that is read here."""


class NeedMore(Exception):
    """The buffer ends within what has to be seen."""


class Element(NamedTuple):
    """Where the value of an element is: `length` is -1 when it is undefined."""

    vr: bytes
    start: int
    length: int


class Coding(NamedTuple):
    """How elements are written: struct's byte order (< or >), and whether the VR is there."""

    order: str
    is_explicit: bool


EXPLICIT = Coding("<", True)
IMPLICIT = Coding("<", False)


def coding_of(syntax: str) -> Coding:
    """How the data set is written in a transfer syntax."""
    return Coding(">" if syntax == EXPLICIT_BIG else "<", syntax != IMPLICIT_LITTLE)


def find(
    data: bytes, start: int, end: int, coding: Coding, wanted: frozenset[int], stop: int
) -> tuple[dict[int, Element], int]:
    """Wanted elements of a data set from `start` to `end`, or up to the first whose tag is `stop`
    or higher; and the position after the last element seen.

    Raises NeedMore when `data` ends before that, Unusual when this is no data set.
    """
    found: dict[int, Element] = {}
    position, lowest = start, min(wanted) >> 16
    unpack = EXPLICIT_HEADS[coding.order]
    try:
        while position < end:
            if coding.is_explicit:
                group, _, vr, length = unpack(data, position)
                if vr in SHORT_VRS and group < lowest:
                    position += 8 + length  # nearly all: the others take the long way
                    continue
            tag, vr, value, length = head(data, position, coding)
            if tag >= stop:
                return found, position
            if length == UNDEFINED:
                if tag in wanted:
                    found[tag] = Element(vr, value, -1)
                position = after_undefined(data, value, inner(coding, vr))
                continue
            if tag in wanted:
                if value + length > len(data):
                    raise NeedMore
                found[tag] = Element(vr, value, length)
            position = value + length
    except struct.error:
        raise NeedMore from None
    if position > end:
        raise Unusual  # the last element reaches into what follows
    return found, position


EXPLICIT_HEADS = {order: struct.Struct(order + "HH2sH").unpack_from for order in "<>"}
IMPLICIT_HEADS = {order: struct.Struct(order + "HHI").unpack_from for order in "<>"}
LENGTHS = {order: struct.Struct(order + "I").unpack_from for order in "<>"}
"""Readers of (group, element, VR, short length), of (group, element, length), and of a long length,
by byte order."""


def head(data: bytes, position: int, coding: Coding) -> tuple[int, bytes, int, int]:
    """(tag, VR, position of the value, length) of the element at `position`. Raises NeedMore,
    Unusual."""
    order, is_explicit = coding
    try:
        if not is_explicit:
            group, element, length = IMPLICIT_HEADS[order](data, position)
            return group << 16 | element, b"", position + 8, length
        group, element, vr, length = EXPLICIT_HEADS[order](data, position)
        if vr in SHORT_VRS:
            return group << 16 | element, vr, position + 8, length
        if vr in LONG_VRS:
            return group << 16 | element, vr, position + 12, LENGTHS[order](data, position + 8)[0]
    except struct.error:
        raise NeedMore from None
    raise Unusual


def inner(coding: Coding, vr: bytes) -> Coding:
    """Coding of what is within a sequence."""
    return IMPLICIT if vr == b"UN" else coding


def after_undefined(data: bytes, position: int, coding: Coding, closing: int = SEQUENCE_END) -> int:
    """Position after a sequence (or item) of undefined length whose content begins at `position`.

    Raises NeedMore, Unusual.
    """
    open_ones = [(closing, coding)]
    try:
        while open_ones:
            closing, coding = open_ones[-1]
            if closing == ITEM_END and coding.is_explicit:
                position = _after_short(data, position, EXPLICIT_HEADS[coding.order])
            group, element, length = IMPLICIT_HEADS[coding.order](data, position)
            tag = group << 16 | element
            if tag == closing:
                open_ones.pop()
                position += 8
                continue
            if closing == SEQUENCE_END:
                if tag != ITEM:
                    raise Unusual
                position, opened = position + 8, (ITEM_END, coding)
            else:
                _, vr, position, length = head(data, position, coding)
                opened = SEQUENCE_END, inner(coding, vr)
            if length != UNDEFINED:
                position += length
            elif len(open_ones) == LARGEST_NESTING:
                raise Unusual
            else:
                open_ones.append(opened)
    except struct.error:
        raise NeedMore from None
    return position


def _after_short(data: bytes, position: int, unpack: Callable[..., tuple[Any, ...]]) -> int:
    """Step over elements with a short length: most of what is in an item."""
    while True:
        group, _, vr, length = unpack(data, position)
        if group == 0xFFFE or vr not in SHORT_VRS:
            return position
        position += 8 + int(length)


def items(data: bytes, sequence: Element, coding: Coding) -> Iterator[tuple[int, int]]:
    """(start, end) of the content of every item of a sequence. Raises as `find` does."""
    coding = inner(coding, sequence.vr)
    position = sequence.start
    end = position + sequence.length if sequence.length >= 0 else None
    while end is None or position < end:
        if position + 8 > len(data):
            raise NeedMore
        group, element, length = IMPLICIT_HEADS[coding.order](data, position)
        tag = group << 16 | element
        if tag == SEQUENCE_END and end is None:
            return
        if tag != ITEM:
            raise Unusual
        start = position + 8
        if length == UNDEFINED:
            position = after_undefined(data, start, coding, ITEM_END)
            yield start, position - 8
        else:
            position = start + length
            if position > len(data):
                raise NeedMore
            yield start, position
