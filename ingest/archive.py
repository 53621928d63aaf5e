"""Archives -> members as byte ranges; what is compressed is unpacked once, into one spool file.

In: a .zip or .tar, plain or compressed as a whole, whatever its name. Out: `Contents`: where every
member's bytes are. Stored members are read where they lie. Compressed ones are unpacked
into FOLDER/KEY.spool, one after the other, so that no member's name becomes a path and thousands of
members cost one file; FOLDER/KEY.json lists them. KEY comes of path, size and time of the archive:
a changed archive is another one. Both are there whole or not at all; a rerun uses them again.
"""

from __future__ import annotations

import hashlib
import json
import os
import re
from dataclasses import dataclass
from pathlib import Path
from typing import Any, BinaryIO

from ingest import tar_members, zip_members
from ingest.compressed import (
    Compression,
    DamagedStreamError,
    compression_of,
    decompressed,
    first_bytes,
)
from ingest.members import Listing, Member, TooLargeError
from ingest.spool import CannotUnpackError, Spool, cannot, make_folder
from shards.files import publish, sync, temporary_name
from study.records import Reason, Rejection

TAR, ZIP = "tar", "zip"
TAR_NAMES = (
    *(".tar", ".tar.gz", ".tar.bz2", ".tar.xz", ".tar.zst"),
    *(".tgz", ".tbz2", ".txz", ".tzst"),
)
"""Endings of names that are believed only where the content says nothing: an empty tar is zeros."""


@dataclass(frozen=True)
class Contents:
    """What an archive holds."""

    members: tuple[Member, ...]
    broken: Rejection | None
    """What is wrong with the archive as a whole; what came before a break is among the members."""
    spool: str
    mtime_ns: int
    """Of the archive."""


PART_NAME = re.compile(r"\.(z\d\d|zip\.\d{3})$", re.IGNORECASE)
"""Endings of parts of a split zip; those in the middle begin and end anyhow."""
MIDDLE_PART = Rejection(Reason.UNREADABLE, "a part of a split zip, by its name")
UNREAD = {
    b"7z\xbc\xaf\x27\x1c": "a 7z archive",
    b"Rar!\x1a\x07": "a rar archive",
    b"\x04\x22\x4d\x18": "compressed by lz4",
}
"""First bytes of what may hold scans that are not found: better said than taken for no DICOM."""


def archive_kind(stream: BinaryIO, name: str) -> str | Rejection | None:
    """zip, tar, or how a tar is compressed. None: no archive; a Rejection: a compressed file that
    is broken at its start, or holds no tar.

    Raises OSError where the stream cannot be read.
    """
    stream.seek(0)
    head = stream.read(tar_members.BLOCK)
    if head.startswith((zip_members.LOCAL, zip_members.END)) or _is_part(stream, head, name):
        return ZIP
    for start, what in UNREAD.items():
        if head.startswith(start):
            return Rejection(Reason.UNREADABLE, f"{what}, which is not read")
    kind = compression_of(head)
    if kind is None:
        if _begins_tar(head, name):
            return TAR
        return MIDDLE_PART if PART_NAME.search(name) else None
    stream.seek(0)
    try:
        first = first_bytes(stream, kind, tar_members.BLOCK)
    except DamagedStreamError as error:
        return error.rejection
    if _begins_tar(first, name):
        return str(kind)
    is_nested = compression_of(first) or first.startswith((zip_members.LOCAL, zip_members.END))
    what = "an archive or compressed file" if is_nested else "what is neither DICOM nor a tar"
    return Rejection(Reason.NOT_DICOM, f"{kind} of {what}")


def _is_part(stream: BinaryIO, head: bytes, name: str) -> bool:
    """Whether this is the first or the last part of a split zip; the last begins anyhow."""
    if head[:4] in zip_members.SPLIT and head[4:].startswith(zip_members.LOCAL):
        return True
    if not name.lower().endswith(".zip"):
        return False
    return zip_members.find_directory(stream, stream.seek(0, os.SEEK_END)) is not None


def _begins_tar(block: bytes, name: str) -> bool:
    if tar_members.is_header(block):
        return True
    return bool(block) and not block.strip(b"\0") and name.lower().endswith(TAR_NAMES)


# -------------------------------------------------------------------------------- unpacking


def unpack(archive: tuple[str, str], folder: str, max_unpacked: int) -> Rejection | None:
    """List an archive (its file, its kind) and unpack it, unless that was done; `contents` then has
    what came of it. A Rejection: the file could not be read, which another time it may.

    Raises CannotUnpackError; nothing half done is left in `folder` then.
    """
    file, kind = archive
    try:
        facts = os.stat(file)
        place = _places(file, facts, folder)
        if _load(place, max_unpacked) is not None:
            return None
        make_folder(folder)
        with open(file, "rb") as stream, Spool(place.spool, max_unpacked) as spool:
            try:
                listing = _list(stream, facts.st_size, kind, spool)
            except TooLargeError as error:
                listing = Listing((), Rejection(Reason.TOO_LARGE, str(error)))
            if any(member.in_spool for member in listing.members):
                spool.publish()
            num_bytes = spool.tell() if spool.is_published else 0
    except CannotUnpackError:
        raise
    except OSError as error:
        return Rejection(Reason.UNREADABLE, type(error).__name__)
    _save(place.index, listing, facts, num_bytes, max_unpacked)
    return None


def contents(file: str, folder: str, max_unpacked: int) -> Contents | None:
    """What an archive holds, where `unpack` has listed it as it is now and the spool is there."""
    try:
        facts = os.stat(file)
    except OSError:
        return None
    place = _places(file, facts, folder)
    found = _load(place, max_unpacked)
    if found is None:
        return None
    return Contents(found.members, found.broken, str(place.spool), facts.st_mtime_ns)


def names_of(file: str, folder: str) -> tuple[str, ...]:
    """Names in `folder` that belong to the archive as it is now."""
    try:
        place = _places(file, os.stat(file), folder)
    except OSError:
        return ()
    return place.index.name, place.spool.name


def _list(stream: BinaryIO, size: int, kind: str, spool: Spool) -> Listing:
    if kind == ZIP:
        return zip_members.list_zip(stream, size, spool)
    if kind == TAR:
        return tar_members.list_tar(stream, size)
    broken = None
    try:
        for chunk in decompressed(stream, Compression(kind)):
            spool.write(chunk)
    except DamagedStreamError as error:
        broken = error.rejection
    listing = tar_members.list_tar(spool.reader(), spool.tell(), in_spool=True)
    return Listing(listing.members, broken or listing.broken)


# -------------------------------------------------------------------------------- the index


@dataclass(frozen=True)
class _Places:
    index: Path
    spool: Path


def _places(file: str, facts: os.stat_result, folder: str) -> _Places:
    text = f"{facts.st_size}\0{facts.st_mtime_ns}\0".encode() + os.fsencode(os.path.abspath(file))
    key = hashlib.sha256(text).hexdigest()[:32]
    return _Places(Path(folder) / f"{key}.json", Path(folder) / f"{key}.spool")


def _save(
    index: Path, listing: Listing, facts: os.stat_result, spool_bytes: int, max_unpacked: int
) -> None:
    record = {
        "spool_bytes": spool_bytes,
        "max_unpacked": max_unpacked,
        "broken": listing.broken,
        "members": listing.members,
    }
    temporary = temporary_name(index)
    try:
        with open(os.open(temporary, os.O_WRONLY | os.O_CREAT | os.O_EXCL, 0o600), "wb") as stream:
            stream.write(json.dumps(record).encode())
            sync(stream)
        publish(temporary, index)
    except OSError as error:
        temporary.unlink(missing_ok=True)
        raise cannot(error, index) from None


def _load(place: _Places, max_unpacked: int) -> Listing | None:
    """The listing of an earlier run. None: there is none, its spool is gone, or a higher limit may
    change it."""
    try:
        record: dict[str, Any] = json.loads(place.index.read_bytes())
        spool_bytes = place.spool.stat().st_size if record["spool_bytes"] else 0
    except (OSError, ValueError):
        return None
    broken = _rejection(record["broken"])
    was_too_large = broken is not None and broken.reason is Reason.TOO_LARGE
    if spool_bytes != record["spool_bytes"]:
        return None
    if record["max_unpacked"] < max_unpacked if was_too_large else spool_bytes > max_unpacked:
        return None
    members = (
        Member(name, at, length, in_spool, _rejection(verdict))
        for name, at, length, in_spool, verdict in record["members"]
    )
    return Listing(tuple(members), broken)


def _rejection(value: list[str] | None) -> Rejection | None:
    return Rejection(Reason(value[0]), value[1]) if value else None
