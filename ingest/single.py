"""One DICOM file that is compressed as a whole (x.dcm.gz) -> its bytes, unpacked once.

In: the place of a file, on its own or within an archive. Out: the place of the DICOM file in it:
FOLDER/KEY.spool, there whole or not at all, while its path in tables stays that of the compressed
file. What is in a file is told by its first bytes, never by its name. KEY comes of where the
compressed bytes are, how many, and their time: a changed file is another one. There is no index as
archives have it: the file's row says how long the spool is, and where that is so nothing is done
again. Public sets come so: dcm_qa_canon_61, dcm_qa_philips_enh.
"""

from __future__ import annotations

import hashlib
import io
import os
from pathlib import Path
from typing import BinaryIO

from ingest import slow_header, tar_members
from ingest.compressed import (
    Compression,
    DamagedStreamError,
    compression_of,
    decompressed,
    first_bytes,
)
from ingest.members import TooLargeError
from ingest.place import Place
from ingest.spool import Spool, make_folder
from study.records import Instance, Reason, Rejection


def packing_of(stream: BinaryIO) -> Compression | None:
    """How the DICOM file in a stream is compressed. None: it is not compressed, no DICOM, or broken
    at its start.

    Raises OSError where the stream cannot be read.
    """
    stream.seek(0)
    kind = compression_of(stream.read(tar_members.BLOCK))
    if kind is None:
        return None
    stream.seek(0)
    try:
        head = first_bytes(stream, kind, tar_members.BLOCK)
    except DamagedStreamError:
        return None
    is_dicom = slow_header.start_of(io.BytesIO(head)) is not None
    return kind if is_dicom and not tar_members.is_header(head) else None


def unpack(place: Place, kind: Compression, folder: str, max_unpacked: int) -> Place | Rejection:
    """Where the DICOM file is once it is unpacked into `folder`, or why it is not.

    Raises CannotUnpackError, after which nothing half done is left, and OSError where the file
    cannot be read.
    """
    place = place.measured()
    spool = spool_of(place, folder)
    make_folder(folder)
    try:
        with place.open() as stream, Spool(spool, max_unpacked) as out:
            for chunk in decompressed(stream, kind):
                out.write(chunk)
            out.publish()
            num_bytes = out.tell()
    except DamagedStreamError as error:
        return error.rejection
    except TooLargeError as error:
        return Rejection(Reason.TOO_LARGE, str(error))
    return place._replace(stored_in=str(spool), stored_at=0, num_bytes=num_bytes)


def is_unpacked(place: Place, row: Instance, folder: str, max_unpacked: int) -> bool:
    """Whether a row of an earlier crawl is of what was unpacked of `place`, whose size and time are
    those of now, and the spool is there."""
    spool = spool_of(place, folder)
    if (row.stored_in, row.stored_at, row.file_mtime_ns) != (str(spool), 0, place.mtime_ns):
        return False
    try:
        return spool.stat().st_size == row.file_bytes <= max_unpacked
    except OSError:
        return False


def spool_of(place: Place, folder: str) -> Path:
    """The file in `folder` for what is unpacked of a place with known size and time."""
    facts = f"one\0{place.stored_at}\0{place.num_bytes}\0{place.mtime_ns}\0"
    text = facts.encode() + os.fsencode(os.path.abspath(place.file))
    return Path(folder) / f"{hashlib.sha256(text).hexdigest()[:32]}.spool"
