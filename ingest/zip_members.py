"""The members of a zip: stored ones as byte ranges in it, compressed ones unpacked into a spool.

In: a seekable stream over a zip. Out: a `Listing`. The idea: the central directory says what is
there; where it was cut off, the local headers are walked from the front, so that what came before
the break is not lost. Sizes in headers are not believed: what is unpacked is counted as it comes.
`zipfile` cannot be used: one name that is not UTF-8, or a missing end, fails the whole archive.
Source: PKWARE APPNOTE.TXT 6.3.10, sections 4.3 to 4.5.
"""

from __future__ import annotations

import stat
import struct
import zlib
from collections.abc import Iterator
from typing import BinaryIO, NamedTuple, Protocol

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
STORED, DEFLATED = 0, 8
"""Compression methods (4.4.5)."""
ENCRYPTED, IN_DESCRIPTOR, UTF8 = 0x1, 0x8, 0x800
"""General purpose bits (4.4.4): encrypted, sizes come after the data, the name is UTF-8."""
UNKNOWN = 0xFFFFFFFF
"""A 32-bit size or offset that stands for one in the zip64 field (4.5.3)."""
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
    crc: int | None = None
    """CRC-32 of the unpacked bytes, where it is known beforehand."""


class _Directory(NamedTuple):
    at: int
    end: int
    shift: int
    """Bytes before the archive in its file: offsets in the directory do not count them."""


def list_zip(stream: BinaryIO, size: int, spool: Sink) -> Listing:
    """All members of a zip of `size` bytes; compressed ones are appended to `spool`.

    Raises TooLargeError, OSError where the stream cannot be read, and what `spool.write` raises.
    """
    found = Collector()
    directory = find_directory(stream, size)
    if directory is None:
        for member in _walk(stream, size, spool):
            found.add(member)
        return found.listing(Rejection(Reason.TRUNCATED, "no central directory"))
    broken = None
    for item in _central(stream, size, directory):
        if isinstance(item, Rejection):
            broken = item
        elif not item.name.endswith("/"):
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
    num_bytes, offset = struct.unpack_from("<II", tail, place + 12)
    if UNKNOWN in (num_bytes, offset) and tail[max(0, place - 20) : place].startswith(LOCATOR64):
        stream.seek(min(size, struct.unpack_from("<Q", tail, place - 12)[0]))
        record = stream.read(56)
        if len(record) < 56 or not record.startswith(END64):
            return None
        num_bytes, offset = struct.unpack_from("<QQ", record, 40)
        end = stream.tell() - 56
    shift = end - num_bytes - offset
    return _Directory(end - num_bytes, end, shift) if shift >= 0 else None


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
        attributes, offset = struct.unpack_from("<II", head, 38)
        name, extra = stream.read(lengths[0]), stream.read(lengths[1])
        at += 46 + sum(lengths)
        _, packed, offset = _zip64(extra, unpacked, packed, offset)
        stream.seek(min(size, directory.shift + offset))
        local = stream.read(30)
        if len(local) < 30 or not local.startswith(LOCAL):
            yield Rejection(Reason.UNREADABLE, "an entry without its local header")
            return
        data = directory.shift + offset + 30 + sum(struct.unpack_from("<HH", local, 26))
        mode = attributes >> 16 if made_by >> 8 == UNIX else 0
        text = _text(name, flags) + ("/" if stat.S_ISDIR(mode) else "")
        yield _Entry(text, flags, method, packed, data, mode, crc)


def _walk(stream: BinaryIO, size: int, spool: Sink) -> Iterator[Member]:
    """Members from the front, by their local headers, until one is not whole."""
    at = 0
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
    elif entry.method not in (STORED, DEFLATED):
        verdict = Rejection(Reason.UNREADABLE, f"compression method {entry.method}")
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
    inflated = _inflate(stream, entry, size if end < 0 else end, spool)
    if isinstance(inflated, Rejection):
        spool.back_to(start)
        return Member(entry.name, entry.data, 0, verdict=inflated), end
    return Member(entry.name, start, spool.tell() - start, in_spool=True), inflated


def _inflate(stream: BinaryIO, entry: _Entry, limit: int, spool: Sink) -> int | Rejection:
    """Unpack what lies between entry.data and `limit`; returns where it ended."""
    inflater = zlib.decompressobj(-zlib.MAX_WBITS)
    at, crc = entry.data, 0
    stream.seek(at)
    while not inflater.eof:
        packed = inflater.unconsumed_tail
        if not packed:
            packed = stream.read(max(0, min(CHUNK, limit - at)))
            at += len(packed)
        try:
            data = inflater.decompress(packed, CHUNK)
        except zlib.error as error:
            return Rejection(Reason.UNREADABLE, str(error))
        if not packed and not data and not inflater.eof:
            return Rejection(Reason.TRUNCATED, "cut within a member")
        crc = zlib.crc32(data, crc)
        spool.write(data)
    if entry.crc is not None and crc != entry.crc:
        return Rejection(Reason.UNREADABLE, "the checksum is wrong")
    return at - len(inflater.unused_data)
