"""Raw elements -> the values that pydicom would give, or `Unusual` where that is not certain.

In: VR and bytes of elements in little endian. Out: a `Values` that answers `get(keyword)`, as a
data set does. The idea: headers of a series repeat themselves, so what short bytes mean is
remembered. Source: DICOM PS3.5 6.2 (value representations), 6.1.2 (character sets).
"""

from __future__ import annotations

import struct
import warnings
from collections.abc import Iterable, Mapping
from functools import lru_cache
from typing import Any

from pydicom.charset import convert_encodings
from pydicom.datadict import DicomDictionary, dictionary_VR, private_dictionary_VR, tag_for_keyword

from ingest.elements import Unusual
from ingest.tags import KEYWORDS, PRIVATE_TAGS

Raw = tuple[bytes, bytes]
"""(VR, value) of an element. In implicit VR, VR is empty until `settle` has filled it in."""

CHARSET_VRS = frozenset((b"LO", b"LT", b"PN", b"SH", b"ST", b"UC", b"UT"))
"""Text in the character set of the data set; other text is ASCII."""
ONE_VALUE_VRS = frozenset((b"LT", b"ST", b"UR", b"UT"))
TEXT_VRS = CHARSET_VRS | {b"AE", b"AS", b"CS", b"DA", b"DS", b"DT", b"IS", b"TM", b"UI", b"UR"}
BYTES_VRS = frozenset((b"OB", b"OD", b"OF", b"OL", b"OV", b"OW", b"UN"))
NUMBER_FORMATS = {
    b"US": "H",
    b"SS": "h",
    b"UL": "I",
    b"SL": "i",
    b"UV": "Q",
    b"SV": "q",
    b"FL": "f",
    b"FD": "d",
}
LONGEST_REMEMBERED = 128
"""Bytes of a value up to which its meaning is remembered."""
NUM_REMEMBERED = 1 << 14
CHARACTER_SET = 0x00080005
LONG_UN = 0xFFFF
"""An UN element of so many bytes is not looked up in the dictionary (PS3.5 6.2.2)."""


def _named(keywords: Iterable[str]) -> dict[str, int]:
    tags = {keyword: tag_for_keyword(keyword) for keyword in keywords}
    assert None not in tags.values(), tags
    return {keyword: tag for keyword, tag in tags.items() if tag is not None}


TAGS = _named(KEYWORDS)
"""Keyword -> tag, of what is wanted."""
_VRS = {tag: dictionary_VR(tag).encode() for tag in TAGS.values()}
_CREATORS = {tag >> 16 << 16 | (tag & 0xFFFF) >> 8 for tag in PRIVATE_TAGS}
WANTED = frozenset((*TAGS.values(), *PRIVATE_TAGS, *_CREATORS))
"""Tags of what is kept: the keywords', private elements, and the creators of their blocks."""
SEQUENCES = frozenset(tag for tag, entry in DicomDictionary.items() if entry[0] == "SQ")


class Values:
    """Values by keyword (private elements: by tag) as text, numbers, tuples of them, or bytes.

    `get` raises Unusual for what pydicom has to look at.
    """

    __slots__ = ("_encoding", "_raw")

    def __init__(self, raw: Mapping[int, Raw], encoding: str) -> None:
        self._raw, self._encoding = raw, encoding

    def get(self, name: str | int) -> Any:
        element = self._raw.get(TAGS[name] if isinstance(name, str) else name)
        if element is None:
            return None
        vr, payload = element
        if len(payload) <= LONGEST_REMEMBERED:
            value = _remembered(vr, payload, self._encoding)
        else:
            value = _value(vr, payload, self._encoding)
        if isinstance(value, bytes) and isinstance(name, str):
            raise Unusual
        return value


def _value(vr: bytes, payload: bytes, encoding: str) -> Any:
    if not payload:
        return None
    if vr in TEXT_VRS:
        return _text(vr, payload, encoding)
    if (kind := NUMBER_FORMATS.get(vr)) is not None:
        size = struct.calcsize(f"<{kind}")
        if len(payload) % size:
            raise Unusual
        many = struct.unpack(f"<{len(payload) // size}{kind}", payload)
        return many[0] if len(many) == 1 else many
    if vr in BYTES_VRS:
        return payload
    raise Unusual  # a sequence, or an ambiguous VR


_remembered = lru_cache(NUM_REMEMBERED)(_value)


def _text(vr: bytes, payload: bytes, encoding: str) -> str | tuple[str, ...]:
    try:
        text = payload.decode(encoding if vr in CHARSET_VRS else "ascii").rstrip("\0 ")
        if not text.isprintable() and any(c < " " for c in text):
            raise Unusual  # escapes of character sets, and whatever should not be there
        if vr == b"PN" and "=" in text:
            raise Unusual  # groups of a name: pydicom leaves empty ones out
        parts = (text,) if vr in ONE_VALUE_VRS else tuple(text.split("\\"))
        if vr == b"DS" or vr == b"IS":
            parse = float if vr == b"DS" else int
            for part in parts:
                if part.strip():
                    parse(part)
    except (ValueError, LookupError) as error:  # UnicodeDecodeError is a ValueError
        raise Unusual from error
    stripped = tuple(part.strip(" \0") for part in parts)
    return stripped if len(stripped) > 1 else stripped[0]


def encoding_of(raw: Mapping[int, Raw]) -> str:
    """Python's name of the character set of a data set's text that has no escapes."""
    element = raw.get(CHARACTER_SET)
    return _encoding(element[1] if element else b"")


@lru_cache(256)
def _encoding(payload: bytes) -> str:
    names = payload.decode("latin-1").rstrip(" \0").split("\\")
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        return convert_encodings(names if len(names) > 1 else names[0])[0]


def settle(found: dict[int, Raw]) -> None:
    """Give elements without a VR, or with UN, the one that pydicom's dictionaries know."""
    for tag, (vr, payload) in found.items():
        if vr == b"" or vr == b"UN":
            found[tag] = (_known_vr(tag, vr, len(payload), found), payload)


def _known_vr(tag: int, vr: bytes, length: int, found: Mapping[int, Raw]) -> bytes:
    if tag >> 16 & 1:
        return private_vr(tag, found)
    if vr == b"UN" and length >= LONG_UN:
        return vr
    return _VRS[tag]


def private_vr(tag: int, found: Mapping[int, Raw]) -> bytes:
    """VR of a private element whose creator is among `found`; UN where nobody knows."""
    element = tag & 0xFFFF
    if 0x10 <= element < 0x100:
        return b"LO"
    creator = found.get(tag >> 16 << 16 | element >> 8)
    if creator is None or element < 0x1000:
        return b"UN"
    if creator[0] not in (b"LO", b"", b"UN"):
        raise Unusual
    return _private_vr(tag, creator[1])


@lru_cache(4096)
def _private_vr(tag: int, creator: bytes) -> bytes:
    name = _text(b"LO", creator, "ascii")
    if not isinstance(name, str) or name != creator.decode("ascii").rstrip("\0 "):
        raise Unusual
    try:
        return private_dictionary_VR(tag, name).encode()
    except KeyError:
        return b"UN"
