"""Real files, broken in every way that a disk, a network, a bad exporter or an enemy breaks them.

In: bytes of a DICOM file and a seeded generator. Out: other bytes, and the name of what was done.
"""

from __future__ import annotations

import random
import re
import struct
import zlib
from collections.abc import Callable
from functools import lru_cache

VRS = b"AE AS AT CS DA DS DT FL FD IS LO LT OB OF OW PN SH SL SQ SS ST TM UI UL UN US UT ??".split()
ELEMENT = re.compile(rb"[\x00-\xff]{4}(?:" + b"|".join(VRS[:-1]) + rb")[\x00-\xff]{2}", re.DOTALL)
LENGTHS = (0, 1, 2, 0x7FFF, 0xFFFF, 0x10000, 0x7FFFFFFF, 0x80000000, 0xFFFFFFFE, 0xFFFFFFFF)
ITEM = b"\xfe\xff\x00\xe0"
SEQUENCE = b"\x08\x00\x40\x11SQ\x00\x00\xff\xff\xff\xff" + ITEM + b"\xff\xff\xff\xff"
CLOSED = b"\xfe\xff\x0d\xe0\x00\x00\x00\x00\xfe\xff\xdd\xe0\x00\x00\x00\x00"
META = b"\x02\x00\x10\x00UI"
DEFLATED = b"1.2.840.10008.1.2.1.99"


def mutate(data: bytes, rng: random.Random) -> tuple[str, bytes]:
    """One to three mutations."""
    names = []
    for _ in range(rng.choice((1, 1, 1, 2, 3))):
        change = rng.choice(CHANGES)
        names.append(change.__name__)
        data = change(data, rng)
    return "+".join(names), data


def _elements(data: bytes) -> list[int]:
    """Positions of what looks like the beginning of an element."""
    return [match.start() for match in ELEMENT.finditer(data, 132, 1 << 15)] or [0]


def _at(data: bytes, rng: random.Random) -> int:
    """A position, more often in the header."""
    return rng.randrange(max(1, min(len(data), rng.choice((400, 4000, 1 << 30)))))


def _put(data: bytes, position: int, new: bytes) -> bytes:
    return data[:position] + new + data[position + len(new) :]


def flip_bytes(data: bytes, rng: random.Random) -> bytes:
    changed = bytearray(data)
    for _ in range(rng.choice((1, 5, 50)) if data else 0):
        changed[_at(data, rng)] ^= 1 << rng.randrange(8)
    return bytes(changed)


def cut(data: bytes, rng: random.Random) -> bytes:
    return data[: _at(data, rng)]


def insert(data: bytes, rng: random.Random) -> bytes:
    at = _at(data, rng)
    return data[:at] + rng.randbytes(rng.choice((1, 2, 8, 5000))) + data[at:]


def remove(data: bytes, rng: random.Random) -> bytes:
    at = _at(data, rng)
    return data[:at] + data[at + rng.choice((1, 2, 8, 5000)) :]


def repeat(data: bytes, rng: random.Random) -> bytes:
    at = rng.choice(_elements(data))
    return data[:at] + data[at : at + rng.choice((8, 100, 10_000))] * 2 + data[at:]


def other_vr(data: bytes, rng: random.Random) -> bytes:
    return _put(data, rng.choice(_elements(data)) + 4, rng.choice(VRS))


def other_length(data: bytes, rng: random.Random) -> bytes:
    """Lengths that are huge, that reach to the end of the file, or back to themselves."""
    at = rng.choice(_elements(data))
    length = rng.choice((*LENGTHS, len(data), len(data) - at, at))
    if data[at + 4 : at + 6] in (b"OB", b"OF", b"OW", b"SQ", b"UN", b"UT"):
        return _put(data, at + 8, struct.pack("<I", length & 0xFFFFFFFF))
    return _put(data, at + 6, struct.pack("<H", length & 0xFFFF))


def nest(data: bytes, rng: random.Random) -> bytes:
    """Sequences within sequences, all of undefined length, closed or not."""
    depth = rng.choice((1, 3, 70, 2000, 50_000))
    at = rng.choice(_elements(data))
    return data[:at] + SEQUENCE * depth + CLOSED * rng.choice((0, depth // 2, depth)) + data[at:]


def huge_image(data: bytes, rng: random.Random) -> bytes:
    """Rows, columns, bits and samples that no file has."""
    for element in (b"\x10\x00", b"\x11\x00", b"\x00\x01", b"\x01\x01", b"\x02\x00"):
        at = data.find(b"\x28\x00" + element + b"US\x02\x00")
        if at >= 0 and rng.random() < 0.5:
            value = rng.choice((0, 1, 3, 64, 255, 0x7FFF, 0xFFFF))
            data = _put(data, at + 8, struct.pack("<H", value))
    return data


def many_frames(data: bytes, rng: random.Random) -> bytes:
    at = data.find(b"\x28\x00\x10\x00US\x02\x00")
    number = rng.choice((b"0 ", b"2 ", b"-1", b"99999 ", b"2000000000", b"x ", b"1e3 "))
    return data[:at] + b"\x28\x00\x08\x00IS" + struct.pack("<H", len(number)) + number + data[at:]


def bad_offsets(data: bytes, rng: random.Random) -> bytes:
    """Lengths of items, and what is in the offset table."""
    items = [match.start() for match in re.finditer(re.escape(ITEM), data)]
    if not items:
        return other_length(data, rng)
    at = rng.choice(items[-8:] + items[:2])
    return _put(data, at + rng.choice((4, 8)), struct.pack("<I", rng.choice((*LENGTHS, at))))


def other_syntax(data: bytes, rng: random.Random) -> bytes:
    """The data set under the name of another transfer syntax, known or not."""
    at = data.find(META)
    if at < 0:
        return data
    length = struct.unpack_from("<H", data, at + 6)[0]
    names = ("", ".1", ".2", ".1.99", ".5", ".4.50", ".4.70", ".4.80", ".4.90", ".4.201", ".9")
    name = b"1.2.840.10008.1.2" + rng.choice(names).encode()
    name = name + b"\0" * (len(name) % 2)
    return data[: at + 6] + struct.pack("<H", len(name)) + name + data[at + 8 + length :]


def bomb(data: bytes, rng: random.Random) -> bytes:
    """A data set that inflates to a thousand times its size."""
    at = data.find(b"\x08\x00\x05\x00", 132, 600)
    at = at if at >= 0 else data.find(b"\x08\x00\x08\x00", 132, 600)
    meta = other_syntax(data[: max(at, 132)], random.Random(3))
    body = data[max(at, 132) :][: rng.choice((0, 300, 3000, 1 << 20))]
    deflater = zlib.compressobj(9, wbits=-15)
    start = deflater.compress(body) + deflater.flush(zlib.Z_FULL_FLUSH)
    return meta.replace(b"1.2.840.10008.1.2\0", DEFLATED) + start + _zeros()


@lru_cache(1)
def _zeros() -> bytes:
    """30 MB of nothing, deflated."""
    deflater = zlib.compressobj(9, wbits=-15)
    pieces = [deflater.compress(bytes(1 << 20)) for _ in range(30)]
    return b"".join([*pieces, deflater.flush()])


def nothing(data: bytes, rng: random.Random) -> bytes:
    return data[: rng.choice((0, 1, 128, 131, 132, 144))]


def noise(data: bytes, rng: random.Random) -> bytes:
    return bytes(128) + b"DICM" + data[132:200] + rng.randbytes(rng.randrange(20_000))


CHANGES: tuple[Callable[[bytes, random.Random], bytes], ...] = (
    flip_bytes,
    flip_bytes,
    cut,
    insert,
    remove,
    repeat,
    other_vr,
    other_length,
    other_length,
    nest,
    huge_image,
    huge_image,
    many_frames,
    bad_offsets,
    bad_offsets,
    other_syntax,
    bomb,
    nothing,
    noise,
)
