"""The members of a tar, as byte ranges.

In: a seekable stream over an uncompressed tar. Out: a `Listing`. Headers are walked here and not by
`tarfile.open`, which takes a damaged header for the end of the archive, in silence, and reads a
name of any announced length into memory. `tarfile.TarInfo.frombuf` reads a header. Sources: POSIX
pax (IEEE 1003.1), the GNU tar manual, "Basic Tar Format".
"""

from __future__ import annotations

import re
import tarfile
from typing import BinaryIO, NamedTuple

from ingest.members import Collector, Listing, Member
from study.records import Reason, Rejection

BLOCK = 512
"""Bytes: headers are so long, and data is padded to a multiple."""
MAX_EXTENSION = 1 << 16
"""Bytes of a long name or a pax header; real ones have some hundred."""
MAX_PADDING = 1 << 20
"""Bytes of zeros after the end mark that are looked through for a tar appended to this one."""

NO_FILES = {
    tarfile.LNKTYPE: "a hard link",
    tarfile.SYMTYPE: "a symbolic link",
    tarfile.CHRTYPE: "a character device",
    tarfile.BLKTYPE: "a block device",
    tarfile.FIFOTYPE: "a fifo",
}
"""Entries that have no data, whatever size their header says."""
PAX_EXTENSIONS = (tarfile.XHDTYPE, tarfile.SOLARIS_XHDTYPE)
EXTENSIONS = (
    *PAX_EXTENSIONS,
    tarfile.XGLTYPE,
    tarfile.GNUTYPE_LONGNAME,
    tarfile.GNUTYPE_LONGLINK,
)
"""Headers whose data is about the entry that follows."""
PAX_SIZE = re.compile(r"[0-9]{1,18}")
PAX_LENGTH = re.compile(rb"([0-9]{1,5}) ")


def is_header(block: bytes) -> bool:
    """Whether these 512 bytes begin a tar: a header whose checksum is right."""
    try:
        return tarfile.TarInfo.frombuf(block[:BLOCK], "utf-8", "surrogateescape").size >= 0
    except (tarfile.HeaderError, ValueError):
        return False


def list_tar(stream: BinaryIO, size: int, in_spool: bool = False) -> Listing:
    """All members of a tar of `size` bytes. What comes before a break is listed, the break named.

    Raises TooLargeError for too many members, OSError where the stream cannot be read.
    """
    found = Collector()
    at = 0
    while True:
        entry = _entry(stream, at)
        if entry is None:
            following = _next_tar(stream, size)
            if following is None:
                return found.listing()
            at = following
            continue
        if isinstance(entry, Rejection):
            return found.listing(entry)
        at = entry.data + _padded(entry.length)
        if entry.kind == tarfile.DIRTYPE:
            continue
        lacking = entry.data + entry.length - size
        if lacking > 0:
            cut = Rejection(Reason.TRUNCATED, f"{lacking} bytes are missing")
            found.add(Member(entry.name, entry.data, entry.length - lacking, in_spool, cut))
            return found.listing(Rejection(Reason.TRUNCATED, "cut within a member"))
        found.add(Member(entry.name, entry.data, entry.length, in_spool, _verdict(entry)))


class _Entry(NamedTuple):
    """What a header and the extensions before it say."""

    name: str
    kind: bytes
    data: int
    """Offset of its data, which are `length` bytes."""
    length: int
    is_sparse: bool


def _entry(stream: BinaryIO, at: int) -> _Entry | Rejection | None:
    """The entry whose headers begin at `at`. None: the end mark is there; else what is wrong."""
    pax: dict[str, str] = {}
    long_name: str | None = None
    while True:
        stream.seek(at)
        block = stream.read(BLOCK)
        if len(block) < BLOCK:
            return Rejection(Reason.TRUNCATED, "cut within a header" if block else "no end mark")
        if not block.strip(b"\0"):
            return None
        try:
            header = tarfile.TarInfo.frombuf(block, "utf-8", "surrogateescape")
        except (tarfile.HeaderError, ValueError):
            return Rejection(Reason.UNREADABLE, f"a damaged header at byte {at}")
        length = header.size
        if header.type not in EXTENSIONS and PAX_SIZE.fullmatch(pax.get("size", "")):
            length = int(pax["size"])
        if length < 0 or (header.type in EXTENSIONS and length > MAX_EXTENSION):
            return Rejection(Reason.UNREADABLE, f"a damaged header at byte {at}")
        if header.type not in EXTENSIONS:
            break
        extension = stream.read(length)
        if len(extension) < length:
            return Rejection(Reason.TRUNCATED, "cut within a header")
        if header.type == tarfile.GNUTYPE_LONGNAME:
            long_name = extension.rstrip(b"\0").decode("utf-8", "surrogateescape")
        elif header.type in PAX_EXTENSIONS:
            pax = _pax_records(extension)
        at += BLOCK + _padded(length)
    data = at + BLOCK
    is_sparse = header.type == tarfile.GNUTYPE_SPARSE or any(k.startswith("GNU.sp") for k in pax)
    if header.type == tarfile.GNUTYPE_SPARSE:
        data = _after_sparse_map(stream, block, data)
    if header.type == tarfile.DIRTYPE or header.type in NO_FILES:
        length = 0
    name = pax.get("path") or long_name or header.name
    return _Entry(name, header.type, data, length, is_sparse)


def _verdict(entry: _Entry) -> Rejection | None:
    """Why an entry is no file, or cannot be read as one range of bytes."""
    if entry.kind in NO_FILES:
        return Rejection(Reason.NOT_DICOM, NO_FILES[entry.kind])
    if entry.is_sparse:
        return Rejection(Reason.UNREADABLE, "a sparse member")
    if entry.kind not in tarfile.REGULAR_TYPES:
        return Rejection(Reason.NOT_DICOM, f"a tar entry of type {entry.kind.decode('latin-1')!r}")
    return None


def _padded(length: int) -> int:
    return -(-length // BLOCK) * BLOCK


def _next_tar(stream: BinaryIO, size: int) -> int | None:
    """Where another tar begins behind the end mark that was just read, if one does."""
    start = stream.tell()
    while (at := stream.tell()) < min(size, start + MAX_PADDING):
        block = stream.read(BLOCK)
        if block.strip(b"\0"):
            return at if is_header(block) else None
    return None


def _pax_records(data: bytes) -> dict[str, str]:
    """Records "LENGTH KEYWORD=VALUE\\n" of a pax header; what is malformed ends them."""
    records: dict[str, str] = {}
    at = 0
    while match := PAX_LENGTH.match(data, at):
        end = at + int(match[1])
        if not match.end() < end <= len(data):
            break
        keyword, _, value = data[match.end() : end].removesuffix(b"\n").partition(b"=")
        records[keyword.decode("utf-8", "replace")] = value.decode("utf-8", "surrogateescape")
        at = end
    return records


def _after_sparse_map(stream: BinaryIO, header: bytes, data: int) -> int:
    """Where the data of an old GNU sparse member begins: after the blocks that continue its map."""
    more = header[482]
    while more:
        stream.seek(data)
        block = stream.read(BLOCK)
        more = block[504] if len(block) == BLOCK else 0
        data += BLOCK
    return data
