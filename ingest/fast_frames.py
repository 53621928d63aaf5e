"""Functional groups of enhanced multi-frame objects, read without a general parser.

In: bytes that hold a sequence, in little endian. Out: for every item, the wanted raw elements of
the functional groups in it. The idea: walk the structure strictly, keep only what is wanted, and
give up (`Unusual`) wherever pydicom's reading could differ. Sources: DICOM PS3.5 7.5 (nesting of
data sets), PS3.3 C.7.6.16 (multi-frame functional groups).
"""

from __future__ import annotations

from typing import NamedTuple

from ingest import limits
from ingest.elements import (
    EXPLICIT_HEADS,
    IMPLICIT_HEADS,
    ITEM,
    ITEM_END,
    LENGTHS,
    LONG_VRS,
    SEQUENCE_END,
    SHORT_VRS,
    UNDEFINED,
    NeedMore,
    Unusual,
)
from ingest.fast_values import (
    CHARACTER_SET,
    SEQUENCES,
    TEXT_VRS,
    WANTED,
    Raw,
    private_vr,
    settle,
)

DELIMITERS = 0xFFFE0000
"""Tags from here on are items and delimiters."""
MAX_DEPTH = 16

read_explicit = EXPLICIT_HEADS["<"]
read_implicit = IMPLICIT_HEADS["<"]
read_length = LENGTHS["<"]


class Item(NamedTuple):
    """Wanted elements of an item, and of the first items of the sequences in it, in their order."""

    own: dict[int, Raw]
    nested: list[dict[int, Raw]]

    def over(self, below: dict[int, Raw]) -> dict[int, Raw]:
        """All elements of the nested groups, the first of equals, over those of `below`."""
        merged = below.copy()
        for group in reversed(self.nested):
            merged.update(group)
        return merged


class Nested:
    """Sequences in `data`."""

    def __init__(self, data: bytes, *, explicit: bool) -> None:
        self._data, self._explicit = data, explicit
        self._last: dict[int, tuple[int, bytes, dict[int, Raw]]] = {}
        """Tag of a group -> its length as given, its bytes, and what is wanted of them, where it
        was last met: most groups of a frame are those of the frame before, and equal bytes end
        alike."""

    def sequence(
        self, position: int, length: int, keep: int, depth: int = 0
    ) -> tuple[list[Item], int]:
        """The first `keep` items of the sequence whose value is at `position`, and where what
        follows begins. Raises Unusual, TooLarge, and NeedMore where the data ends before the
        sequence."""
        data = self._data
        items: list[Item] = []
        end = -1 if length == UNDEFINED else position + length
        if depth > MAX_DEPTH:
            raise Unusual
        if end > len(data):
            raise NeedMore
        while position != end:
            if position + 8 > len(data):
                raise NeedMore
            group, element, length = read_implicit(data, position)
            tag, position = group << 16 | element, position + 8
            if tag == SEQUENCE_END and end < 0:
                break
            if tag != ITEM or 0 <= end < position:
                raise Unusual
            item_end = -1 if length == UNDEFINED else position + length
            if 0 <= end < item_end:
                raise Unusual
            item, position = self._item(position, item_end, len(items) < keep, depth)
            if len(items) < keep:
                items.append(item)
                if len(items) > limits.MAX_FRAMES:
                    raise limits.TooLarge(f"more than {limits.MAX_FRAMES} frames")
            if 0 <= end < position:
                raise Unusual
        return items, position

    def _item(self, position: int, end: int, keep: bool, depth: int) -> tuple[Item, int]:
        """The item whose data set is at `position`, up to `end` (-1: its delimiter), and where what
        follows begins."""
        data, explicit, limit = self._data, self._explicit, len(self._data)
        own: dict[int, Raw] = {}
        creators: dict[int, Raw] = {}
        nested: list[dict[int, Raw]] = []
        last, vr = -1, b""
        while position != end:
            if position + 8 > limit:
                raise NeedMore
            if explicit:
                group, element, vr, length = read_explicit(data, position)
            else:
                group, element, length = read_implicit(data, position)
            tag = group << 16 | element
            position += 8
            if tag >= DELIMITERS:
                if tag != ITEM_END or end >= 0:
                    raise Unusual
                break
            if tag <= last:
                raise Unusual
            last = tag
            if vr in LONG_VRS:
                if position + 4 > limit:
                    raise NeedMore
                length = read_length(data, position)[0]
                position += 4
            elif explicit and vr not in SHORT_VRS:
                raise Unusual
            if length == UNDEFINED:
                is_sequence = undefined_is_sequence(tag, vr, data, position)
            else:
                if 0 <= end < position + length:
                    raise Unusual
                if position + length > limit:
                    raise NeedMore
                if not keep:
                    position += length
                    continue
                if group & 1 and 0x10 <= element < 0x100:
                    creators[tag] = (vr, data[position : position + length])
                is_sequence = _is_sequence(tag, vr, length, creators)
            if is_sequence:
                elements, position = self._group(tag, position, length, keep, depth + 1)
                if elements:
                    nested.append(elements)
                if 0 <= end < position:
                    raise Unusual
                continue
            if tag in WANTED:
                own[tag] = (vr, data[position : position + length])
            position += length
        if own:
            own = _filled(own)
        return Item(own, nested), position

    def _group(
        self, tag: int, position: int, length: int, keep: bool, depth: int
    ) -> tuple[dict[int, Raw], int]:
        """What is wanted of a sequence within an item, and where what follows begins."""
        if (seen := self._last.get(tag)) is not None:
            same_length, content, elements = seen
            if length == same_length and self._data.startswith(content, position):
                return elements, position + len(content)
        items, after = self.sequence(position, length, int(keep), depth)
        if not items:
            return {}, after
        elements = items[0].over({}) | items[0].own
        self._last[tag] = length, self._data[position:after], elements
        return elements, after


def undefined_is_sequence(tag: int, vr: bytes, data: bytes, position: int) -> bool:
    """Always True, of an element of undefined length; Unusual where it is no plain sequence."""
    if vr == b"SQ" or (vr == b"" and tag in SEQUENCES):
        return True
    if vr != b"" or not tag >> 16 & 1:
        raise Unusual
    if position + 4 > len(data):
        raise NeedMore
    if data[position : position + 4] != b"\xfe\xff\x00\xe0":
        raise Unusual
    return True  # a private element in implicit VR that begins with an item


def _is_sequence(tag: int, vr: bytes, length: int, creators: dict[int, Raw]) -> bool:
    """Whether pydicom makes a sequence of an element of defined length."""
    if vr == b"SQ":
        return True
    if vr == b"" or vr == b"UN":
        if not tag >> 16 & 1:
            is_sequence = tag in SEQUENCES
        else:
            is_sequence = private_vr(tag, creators) == b"SQ"
        if is_sequence and vr == b"UN":
            raise Unusual
        return is_sequence
    return False


def _filled(own: dict[int, Raw]) -> dict[int, Raw]:
    """Elements with their VRs, without those that are blank: they do not hide values elsewhere."""
    if CHARACTER_SET in own:
        raise Unusual
    settle(own)
    return {
        tag: (vr, payload)
        for tag, (vr, payload) in own.items()
        if payload.strip(b"\0 ") or (payload and vr not in TEXT_VRS)
    }
