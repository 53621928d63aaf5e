"""The members of a zip: stored ones as byte ranges in it, compressed ones unpacked into a spool.

In: a seekable stream over a zip. Out: a `Listing`. The idea: the central directory says what is
there; where it was cut off, the local headers are walked from the front, so that what came before
the break is not lost. Sizes in headers are not believed: what is unpacked is counted as it comes.
`zipfile` cannot be used: one name that is not UTF-8, or a missing end, fails the whole archive.
Source: PKWARE APPNOTE.TXT 6.3.10, sections 4.3 to 4.5, 8.5 (split archives).
"""

from __future__ import annotations

import stat
import struct
import zlib
from collections.abc import Iterator
from typing import BinaryIO, NamedTuple, Protocol

from ingest.compressed import BROKEN, Compression, decoder_of
from ingest.members import Collector, Listing, Member
from study.records import Reason, Rejection

LOCAL, CENTRAL, END, END64, LOCATOR64 = (
    b"PK\x03\x04",
    b"PK\x01\x02",
    b"PK\x05\x06",
    b"PK\x06\x06",
    b"PK\x06\x07",
)
"""Signatures (4.3.7, 4.3.12, 4.3.16, 4.3.14, 4.3.15)."""
SPLIT = (b"PK\x07\x08", b"PK00")
"""What a split archive begins with (8.5.3, 8.5.4), before its first local header."""
STORED = 0
PACKED = {
    8: Compression.DEFLATE,
    12: Compression.BZIP2,
    93: Compression.ZSTD,
    95: Compression.XZ,
}
"""Compression methods (4.4.5) that are read, ..."""
UNREAD = {1: "shrunk", 6: "imploded", 9: "deflate64", 14: "lzma", 98: "ppmd"}
"""... and names of some that are not."""
ENCRYPTED, IN_DESCRIPTOR, UTF8 = 0x1, 0x8, 0x800
"""General purpose bits (4.4.4): encrypted, sizes come after the data, the name is UTF-8."""
UNKNOWN = 0xFFFFFFFF
"""A 32-bit size or offset that stands for one in the zip64 field (4.5.3)."""
UNKNOWN_PART = 0xFFFF
"""The 16-bit number of a part that the zip64 locator has (4.3.15)."""
LAST_PART = Rejection(Reason.UNREADABLE, "the last part of a split zip")
OTHER_PART = Rejection(Reason.UNREADABLE, "in another part of a split zip")
UNIX = 3
"""Upper byte of "version made by" (4.4.2): external attributes hold a Unix mode."""
CHUNK = 1 << 20


class Sink(Protocol):
    """Where unpacked bytes go: the spool of `ingest.archive`."""

    def write(self, data: bytes) -> None: ...
    def tell(self) -> int: ...
    def back_to(self, position: int) -> None: ...


class _Entry(NamedTuple):
    name: str
    flags: int
    method: int
    packed: int
    """Bytes in the archive; -1: not known before they are unpacked."""
    data: int
    """Offset of the packed bytes."""
    mode: int = 0
    """Unix mode, 0 where the maker was not on Unix."""
    part: int = 0
    """Of a split archive, where the data begin."""
    crc: int | None = None
    """CRC-32 of the unpacked bytes, where it is known beforehand."""


class _Directory(NamedTuple):
    at: int
    end: int
    shift: int
    """Bytes before the archive in its file: offsets in the directory do not count them."""
    part: int
    """Which part of a split archive this is; 0 where it is whole."""


def list_zip(stream: BinaryIO, size: int, spool: Sink) -> Listing:
    """All members of a zip of `size` bytes; compressed ones are appended to `spool`.

    Raises TooLargeError, OSError where the stream cannot be read, and what `spool.write` raises.
    """
    found = Collector()
    directory = find_directory(stream, size)
    if directory is None:
        for member in _walk(stream, size, spool):
            found.add(member)
        detail = "the first part of a split zip" if _begin(stream) else "no central directory"
        return found.listing(Rejection(Reason.TRUNCATED, detail))
    broken = LAST_PART if directory.part else None
    for item in _central(stream, size, directory):
        if isinstance(item, Rejection):
            broken = item
        elif item.name.endswith("/"):
            continue
        elif directory.part and item.part != directory.part:
            found.add(Member(item.name, verdict=OTHER_PART))
        else:
            found.add(_member(stream, size, item, spool)[0])
            if item.flags & ENCRYPTED:
                broken = Rejection(Reason.UNREADABLE, "encrypted members")
    return found.listing(broken)


# -------------------------------------------------------------------------------- headers


def find_directory(stream: BinaryIO, size: int) -> _Directory | None:
    """Where the central directory is. None: it is not there, the archive was cut off."""
    length = min(size, 22 + 0xFFFF)
    stream.seek(size - length)
    tail = stream.read(length)
    place = tail.rfind(END)
    while place >= 0 and len(tail) - place < 22:
        place = tail.rfind(END, 0, place)
    if place < 0:
        return None
    end = size - length + place
    part = struct.unpack_from("<H", tail, place + 4)[0]
    num_bytes, offset = struct.unpack_from("<II", tail, place + 12)
    locator = tail[max(0, place - 20) : place]
    if part == UNKNOWN_PART and locator.startswith(LOCATOR64):
        part = struct.unpack_from("<I", locator, 4)[0]
    if UNKNOWN in (num_bytes, offset) and locator.startswith(LOCATOR64):
        stream.seek(min(size, struct.unpack_from("<Q", locator, 8)[0]))
        record = stream.read(56)
        if len(record) < 56 or not record.startswith(END64):
            return None
        num_bytes, offset = struct.unpack_from("<QQ", record, 40)
        end = stream.tell() - 56
    shift = end - num_bytes - offset
    if shift < 0:  # it begins in another part, or was cut off
        return _Directory(end, end, 0, part) if part else None
    return _Directory(end - num_bytes, end, shift, part)


def _begin(stream: BinaryIO) -> int:
    """Where the first local header of an archive without a directory is."""
    stream.seek(0)
    return 4 if stream.read(4) in SPLIT else 0


def _central(stream: BinaryIO, size: int, directory: _Directory) -> Iterator[_Entry | Rejection]:
    """Entries of the central directory; a Rejection, and the end, where it is damaged."""
    at = directory.at
    while at < directory.end:
        stream.seek(at)
        head = stream.read(46)
        if len(head) < 46 or not head.startswith(CENTRAL):
            yield Rejection(Reason.UNREADABLE, "a damaged central directory")
            return
        made_by, _, flags, method, _, _, crc, packed, unpacked, *lengths = struct.unpack_from(
            "<6H3I3H", head, 4
        )
        part, _, attributes, offset = struct.unpack_from("<HHII", head, 34)
        name, extra = stream.read(lengths[0]), stream.read(lengths[1])
        at += 46 + sum(lengths)
        _, packed, offset = _zip64(extra, unpacked, packed, offset)
        if directory.part and part != directory.part:
            yield _Entry(_text(name, flags), flags, method, packed, 0, part=part)
            continue
        stream.seek(min(size, directory.shift + offset))
        local = stream.read(30)
        if len(local) < 30 or not local.startswith(LOCAL):
            yield Rejection(Reason.UNREADABLE, "an entry without its local header")
            return
        data = directory.shift + offset + 30 + sum(struct.unpack_from("<HH", local, 26))
        mode = attributes >> 16 if made_by >> 8 == UNIX else 0
        text = _text(name, flags) + ("/" if stat.S_ISDIR(mode) else "")
        yield _Entry(text, flags, method, packed, data, mode, part, crc)


def _walk(stream: BinaryIO, size: int, spool: Sink) -> Iterator[Member]:
    """Members from the front, by their local headers, until one is not whole."""
    at = _begin(stream)
    while True:
        stream.seek(at)
        head = stream.read(30)
        if len(head) < 30 or not head.startswith(LOCAL):
            return
        flags, method, _, _, crc, packed, unpacked, *lengths = struct.unpack_from(
            "<4H3I2H", head, 6
        )
        name, extra = stream.read(lengths[0]), stream.read(lengths[1])
        if len(name) + len(extra) < sum(lengths):
            return
        _, packed, _ = _zip64(extra, unpacked, packed, 0)
        is_open = bool(flags & IN_DESCRIPTOR)
        entry = _Entry(
            _text(name, flags),
            flags,
            method,
            -1 if is_open else packed,
            at + 30 + sum(lengths),
            crc=None if is_open else crc,
        )
        if entry.name.endswith("/") and not packed:
            at = entry.data
            continue
        member, at = _member(stream, size, entry, spool)
        yield member
        if at < 0:
            return
        at += _descriptor_bytes(stream, at) if is_open else 0


def _zip64(extra: bytes, unpacked: int, packed: int, offset: int) -> tuple[int, int, int]:
    """The three numbers, those that do not fit 32 bits from the zip64 field (4.5.3)."""
    numbers = [unpacked, packed, offset]
    at = 0
    while at + 4 <= len(extra):
        kind, length = struct.unpack_from("<HH", extra, at)
        if kind == 1:
            field = extra[at + 4 : at + 4 + length]
            wanted = [n for n, number in enumerate(numbers) if number == UNKNOWN]
            for place, n in enumerate(wanted):
                if 8 * place + 8 <= len(field):
                    numbers[n] = struct.unpack_from("<Q", field, 8 * place)[0]
        at += 4 + length
    return numbers[0], numbers[1], numbers[2]


def _descriptor_bytes(stream: BinaryIO, at: int) -> int:
    """Length of the data descriptor at `at` (4.3.9): with or without signature, 32 or 64 bits."""
    stream.seek(at)
    data = stream.read(28)
    for length in (16, 24, 12, 20):
        if data[length : length + 4] in (LOCAL, CENTRAL):
            return length
    return 16


def _text(name: bytes, flags: int) -> str:
    """A name: UTF-8 where it says so or looks so, else code page 437 (appendix D)."""
    if flags & UTF8:
        return name.decode("utf-8", "surrogateescape")
    try:
        return name.decode("utf-8")
    except UnicodeDecodeError:
        return name.decode("cp437")


# -------------------------------------------------------------------------------- data


def _member(stream: BinaryIO, size: int, entry: _Entry, spool: Sink) -> tuple[Member, int]:
    """The member, and where its packed bytes end (-1: nobody knows)."""
    end = entry.data + entry.packed if entry.packed >= 0 else -1
    kind = stat.S_IFMT(entry.mode)
    verdict = None
    if kind not in (0, stat.S_IFREG):
        what = "a symbolic link" if kind == stat.S_IFLNK else "a device"
        verdict = Rejection(Reason.NOT_DICOM, what)
    elif entry.flags & ENCRYPTED:
        verdict = Rejection(Reason.UNREADABLE, "encrypted")
    elif entry.method != STORED and entry.method not in PACKED:
        name = UNREAD.get(entry.method, "unknown")
        verdict = Rejection(Reason.UNREADABLE, f"compression method {entry.method} ({name})")
    elif entry.method == STORED and end < 0:
        verdict = Rejection(Reason.UNREADABLE, "stored without its length")
    elif end > size:
        verdict = Rejection(Reason.TRUNCATED, f"{end - size} bytes are missing")
        end = -1
    if verdict is not None:
        return Member(entry.name, entry.data, 0, verdict=verdict), end
    if entry.method == STORED:
        return Member(entry.name, entry.data, entry.packed), end
    start = spool.tell()
    end_of_data = _unpack(stream, entry, size if end < 0 else end, spool)
    if isinstance(end_of_data, Rejection):
        spool.back_to(start)
        return Member(entry.name, entry.data, 0, verdict=end_of_data), end
    return Member(entry.name, start, spool.tell() - start, in_spool=True), end_of_data


def _unpack(stream: BinaryIO, entry: _Entry, limit: int, spool: Sink) -> int | Rejection:
    """Unpack what lies between entry.data and `limit`; returns where it ended."""
    decoder = decoder_of(PACKED[entry.method])
    at, crc = entry.data, 0
    stream.seek(at)
    while not decoder.eof:
        packed = stream.read(max(0, min(CHUNK, limit - at))) if decoder.needs_input else b""
        at += len(packed)
        try:
            data = decoder.decompress(packed, CHUNK)
        except BROKEN as error:
            return Rejection(Reason.UNREADABLE, str(error))
        if decoder.needs_input and not packed and not data and not decoder.eof:
            return Rejection(Reason.TRUNCATED, "cut within a member")
        crc = zlib.crc32(data, crc)
        spool.write(data)
    if entry.crc is not None and crc != entry.crc:
        return Rejection(Reason.UNREADABLE, "the checksum is wrong")
    return at - len(decoder.unused_data)
