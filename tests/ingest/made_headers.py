"""Random DICOM files for property tests, encoded by hand: whatever an encoder may or may not do.

In: a seed. Out: bytes of a file, with pixel data of a few bytes. Values are legal or not, sequences
nest, lengths are defined or not, private blocks have known creators or none. A seed, and not
hypothesis itself, draws what is in a file: drawing a thousand small things takes it a second.
"""

from __future__ import annotations

import random
import struct
from dataclasses import dataclass

from pydicom.datadict import dictionary_VR, tag_for_keyword

from ingest.elements import LONG_VRS, UNDEFINED
from ingest.fast_header import PER_FRAME_GROUPS, SHARED_GROUPS
from ingest.fast_values import CHARACTER_SET, CHARSET_VRS
from ingest.tags import KEYWORDS, PRIVATE_TAGS

LITTLE, IMPLICIT = "1.2.840.10008.1.2.1", "1.2.840.10008.1.2"
ENHANCED_MR, MR = "1.2.840.10008.5.1.4.1.1.4.1", "1.2.840.10008.5.1.4.1.1.4"
CREATORS = (b"SIEMENS MR HEADER", b"GEMS_ACQU_01", b"Philips Imaging DD 001", b"UIH")
ODD_CREATORS = (b"", b"A\\B", b"  UIH ", b"\xe9")
SOME_SEQUENCES = (0x00081140, 0x00089124, 0x00189114, 0x00189226, 0x00209111, 0x00209113)
PRIVATE_SEQUENCES = (0x00211001, 0x2005140F)
ODD_SEQUENCES = (0x00651051, 0x00080016)
NUMBERS = ("1", " 2.5", "-3e2", "", " ", "0", "1e999")
ODD_NUMBERS = ("abc", "nan", "inf", "1_0", "1,5", "7" * 400)
TEXTS = ("x", " padded ", "", "M\u00fcller", "01", "MOSAIC", "y" * 200)
ODD_TEXTS = ("a=b=", "=", "tab\there", "\x1b$Bz", "nul\0in", "\0", "\ud800")
BINARY = {b"US": "H", b"SS": "h", b"UL": "I", b"SL": "i", b"FL": "f", b"FD": "d", b"AT": "I"}
Elements = dict[int, tuple[bytes, "bytes | list[Elements]"]]
"""Tag -> (VR, value): bytes, or the items of a sequence."""


@dataclass(frozen=True)
class Style:
    """How a data set is encoded."""

    explicit: bool
    undefined: frozenset[int] = frozenset()
    """Depths at which sequences and items have undefined lengths."""
    group_lengths: bool = False
    reverse: bool = False
    """Tags in descending order, which is wrong."""


def joined(parts: list[str], codec: str) -> bytes:
    value = "\\".join(parts).encode(codec, "replace")
    return value + b" " * (len(value) % 2)


class Maker:
    """Draws what is in a file. `odd` says whether values may be illegal."""

    def __init__(self, seed: int) -> None:
        self.random = random.Random(seed)
        self.odd = self.random.random() < 0.4

    def some(self, choices: tuple[str, ...] | tuple[int, ...], most: int) -> list[str | int]:
        return [self.random.choice(choices) for _ in range(self.random.randint(0, most))]

    def payload(self, vr: bytes) -> bytes:
        odd, choice = self.odd, self.random.choice
        if vr in (b"DS", b"IS"):
            legal = NUMBERS if vr == b"DS" else ("1", "-2", " 3", "", "+4")
            many = self.some(legal + ODD_NUMBERS * odd, choice((1, 1, 2, 3, 6)))
            return joined(many, "ascii")
        if vr in BINARY:
            size = 1 if odd else struct.calcsize(BINARY[vr])
            return self.random.randbytes(size * self.random.randint(0, 4))
        if vr in (b"OB", b"OW", b"UN"):
            return self.random.randbytes(self.random.randint(0, 12))
        texts = TEXTS + ODD_TEXTS * odd
        if vr not in CHARSET_VRS and not odd:
            texts = tuple(text for text in texts if text.isascii())
        return joined(self.some(texts, choice((1, 1, 3))), choice(("latin-1", "utf-8")))

    def elements(self, depth: int = 0, most: int = 25) -> Elements:
        """Some of the wanted elements, private ones, and sequences of the like."""
        found: Elements = {}
        chance = self.random.random
        for keyword in self.some(KEYWORDS, most):
            tag = tag_for_keyword(str(keyword))
            assert tag is not None
            vr = dictionary_VR(tag).split(" ")[0].encode()
            if self.odd and chance() < 0.05:
                vr = self.random.choice((b"LO", b"UN", b"DS", b"FD", b"OB", b"PN", b"UT", b"ZZ"))
            found[tag] = (vr, self.payload(vr))
        if not self.odd:
            found.pop(CHARACTER_SET, None)
            if depth == 0 and chance() < 0.5:
                names = (b"ISO_IR 100", b"ISO_IR 144", b"\\ISO 2022 IR 87")
                found[CHARACTER_SET] = (b"CS", self.random.choice(names))
        for tag in self.some(PRIVATE_TAGS, 3):
            vr = self.random.choice((b"DS", b"IS", b"FD", b"US", b"UN", b"OB", b"CS", b"LO"))
            found[int(tag)] = (vr, self.payload(vr))
            if chance() < 0.5:
                creators = CREATORS + ODD_CREATORS * self.odd
                block = int(tag) >> 16 << 16 | (int(tag) & 0xFFFF) >> 8
                found[block] = (b"LO", self.random.choice(creators))
        if depth < 3:
            sequences = SOME_SEQUENCES + PRIVATE_SEQUENCES + ODD_SEQUENCES * self.odd
            for tag in self.some(sequences, 2):
                found[int(tag)] = (b"SQ", self.items(depth + 1))
        return found

    def items(self, depth: int) -> list[Elements]:
        return [self.elements(depth, 4) for _ in range(self.random.choice((0, 1, 1, 1, 2)))]

    def groups(self) -> Elements:
        """An item of a sequence of functional groups."""
        return {int(tag): (b"SQ", self.items(2)) for tag in self.some(SOME_SEQUENCES, 5)}

    def file(self) -> bytes:
        """A file with one image, or with frames."""
        chance = self.random.random
        style = Style(
            chance() < 0.5,
            frozenset(depth for depth in range(5) if chance() < 0.5),
            chance() < 0.2,
            chance() < 0.05,
        )
        content = self.elements()
        if chance() < 0.5:
            content |= identified(ENHANCED_MR)
            num_frames = self.random.randint(0, 6)
            kinds = [self.groups() for _ in range(3)]
            frames = [self.random.choice(kinds) for _ in range(num_frames)]
            content[PER_FRAME_GROUPS] = (b"SQ", frames)
            content[SHARED_GROUPS] = (b"SQ", [self.groups() for _ in range(chance() < 0.8)])
            announced = self.random.choice((b"%d " % num_frames, b"2 ", b"9 "))
            content[0x00280008] = (b"IS", announced)
        elif not self.odd or chance() < 0.8:
            content |= identified(MR)
        return part10(content, style) + self.random.choice((b"", bytes(64)))

    def damaged(self, content: bytes) -> bytes:
        """Cut, or with some bytes replaced; half the time as it is."""
        kind = self.random.choice(("none", "none", "cut", "bytes"))
        if kind == "cut":
            return content[: self.random.randint(0, len(content))]
        out = bytearray(content)
        for _ in range(self.random.randint(1, 3) * (kind == "bytes")):
            out[self.random.randrange(132, len(out))] = self.random.randrange(256)
        return bytes(out)


def encoded(content: Elements, style: Style, depth: int = 0) -> bytes:
    """Bytes of a data set."""
    out = []
    for tag in sorted(content, reverse=style.reverse):
        vr, value = content[tag]
        length = None
        if not isinstance(value, bytes):
            open_ended = depth in style.undefined
            value = b"".join(_item(item, style, depth) for item in value)
            if open_ended:
                length, value = UNDEFINED, value + struct.pack("<HHI", 0xFFFE, 0xE0DD, 0)
        out.append(_head(tag, vr, len(value) if length is None else length, style) + value)
    return b"".join(out)


def _item(item: Elements, style: Style, depth: int) -> bytes:
    content = encoded(item, style, depth + 1)
    if depth + 1 in style.undefined:
        end = struct.pack("<HHI", 0xFFFE, 0xE00D, 0)
        return struct.pack("<HHI", 0xFFFE, 0xE000, UNDEFINED) + content + end
    return struct.pack("<HHI", 0xFFFE, 0xE000, len(content)) + content


def _head(tag: int, vr: bytes, length: int, style: Style) -> bytes:
    head = struct.pack("<HH", tag >> 16, tag & 0xFFFF)
    if not style.explicit:
        return head + struct.pack("<I", length)
    if vr in LONG_VRS:
        return head + vr + struct.pack("<HI", 0, length)
    return head + vr + struct.pack("<H", length)


def part10(content: Elements, style: Style) -> bytes:
    """A file with the data set and its pixels."""
    syntax = (LITTLE if style.explicit else IMPLICIT).encode()
    meta = encoded(
        {
            0x00020002: (b"UI", MR.encode()),
            0x00020010: (b"UI", syntax + b"\0" * (len(syntax) % 2)),
        },
        Style(explicit=True),
    )
    length = encoded({0x00020000: (b"UL", struct.pack("<I", len(meta)))}, Style(explicit=True))
    if style.group_lengths:
        for group in {tag >> 16 for tag in content}:
            content = {**content, group << 16: (b"UL", struct.pack("<I", 0))}
    content = {**content, 0x7FE00010: (b"OW", bytes(range(64)))}
    return bytes(128) + b"DICM" + length + meta + encoded(content, style)


def identified(sop_class: str) -> Elements:
    uids = {0x00080016: sop_class, 0x00080018: "1.2.3", 0x0020000D: "1.2", 0x0020000E: "1.3"}
    return {tag: (b"UI", joined([uid], "ascii")) for tag, uid in uids.items()}
