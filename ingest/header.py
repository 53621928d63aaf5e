"""One file -> the header facts of its images; never an exception.

In: a path, or a `Place`. Out: one `Instance` for every image in the file (a frame each for enhanced
multi-frame objects), or a single Instance whose `reason` says why the file cannot be used. Pixels
are not read, only whether all their bytes are there. Ordinary files are read by `fast_header`, all
others by pydicom (`slow_header`): the rows are the same. Source: DICOM PS3.3 C.7.6.16 (functional
groups).
"""

from __future__ import annotations

import os
import stat
import warnings
from collections.abc import Callable
from contextlib import suppress
from typing import Any, BinaryIO

from pydicom.uid import UID

from ingest import fast_header, slow_header
from ingest.elements import Unusual
from ingest.limits import TooLarge
from ingest.place import Place
from ingest.tags import IMAGE_CLASSES, image_facts, study_facts
from ingest.truncation import check_meta, check_whole
from ingest.values import integer
from ingest.vendors import mosaic_facts
from study.records import Instance, Reason, Rejection

SPECIAL_FILES = {
    stat.S_IFIFO: "a fifo",
    stat.S_IFSOCK: "a socket",
    stat.S_IFCHR: "a character device",
    stat.S_IFBLK: "a block device",
}
"""What a folder may hold that is no file; it is never opened."""
_FAST = True
"""Tests turn it off to hold both ways of reading against each other."""


def read_header(place: Place | str) -> list[Instance]:
    """Facts of every image in a file (a path, where it lies on its own), in frame order. At least
    one Instance comes back. A caller that knows size and time saves asking for them again."""
    found = _opened(_read, place)
    assert found is not None
    return found


def read_ordinary(place: Place | str) -> list[Instance] | None:
    """The same, or None where a general parser must look at the file: it may need for ever."""
    return _opened(_read_ordinary, place)


def broken_header(place: Place, rejection: Rejection) -> list[Instance]:
    """The row of a file whose header cannot be read, for a reason that the caller found."""
    with suppress(OSError):
        place = place.measured()
    return _failed(place, *rejection)


def _opened(
    read: Callable[[BinaryIO, Place], list[Instance] | None], place: Place | str
) -> list[Instance] | None:
    """What `read` makes of the file's bytes, or the row that says why it could not."""
    place = Place(place) if isinstance(place, str) else place
    try:
        place = place.measured()
        if place.size() <= 0:
            return _empty(place)
        with place.open() as stream:
            return read(stream, place)
    except IsADirectoryError:
        return _failed(place, Reason.NOT_DICOM, "a link to a folder; links are not followed")
    except OSError as error:
        of_pydicom = f": {error}"[:180] if error.errno is None else ""  # not the system's
        return _failed(place, Reason.UNREADABLE, type(error).__name__ + of_pydicom)
    except EOFError as error:
        return _failed(place, Reason.TRUNCATED, str(error))
    except TooLarge as error:
        return _failed(place, Reason.TOO_LARGE, str(error))
    except MemoryError:
        return _failed(place, Reason.DECODE_MEMORY, "for its header")
    except Exception as error:  # pydicom raises what its input makes it raise
        return _failed(place, Reason.UNREADABLE, f"{type(error).__name__}: {error}"[:200])


def _empty(place: Place) -> list[Instance]:
    """The row of a file without bytes. What may block who opens it has none, by its size."""
    kind = stat.S_IFMT(os.stat(place.file).st_mode)
    if kind in SPECIAL_FILES:
        return _failed(place, Reason.NOT_DICOM, SPECIAL_FILES[kind])
    return _failed(place, Reason.TRUNCATED, "the file is empty")


def _failed(place: Place, reason: Reason, detail: str = "") -> list[Instance]:
    return [Instance(**place.as_facts(), reason=reason, detail=detail)]


def _read(stream: BinaryIO, place: Place) -> list[Instance]:
    """Rows of an open file: the fast way where it is an ordinary one."""
    rows = _read_ordinary(stream, place)
    if rows is not None:
        return rows
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        header = slow_header.read(stream, place.size())
        if header is None:
            return _failed(place, Reason.NOT_DICOM)
        if header.pixels is not None:
            check_whole(header.stream, *header.pixels, header.stream_bytes)
        return _rows(place, header)


def _read_ordinary(stream: BinaryIO, place: Place) -> list[Instance] | None:
    size = place.size()
    check_meta(stream, size)
    if _FAST and (ordinary := fast_header.read(stream, size)) is not None:
        with suppress(Unusual):
            rows = _rows(place, ordinary)
            if ordinary.pixels is not None:
                check_whole(stream, *ordinary.pixels, size)
            return rows
    return _failed(place, Reason.NOT_DICOM) if slow_header.start_of(stream) is None else None


def _rows(place: Place, header: fast_header.Header | slow_header.SlowHeader) -> list[Instance]:
    common: dict[str, Any] = {
        **place.as_facts(),
        **study_facts(header),
        "transfer_syntax_uid": header.transfer_syntax_uid,
        "has_pixels": header.pixels is not None,
    }
    if not common["sop_class_uid"]:
        return _failed(place, Reason.NOT_DICOM, "no SOPClassUID")
    if common["sop_class_uid"] not in IMAGE_CLASSES:
        common.update(reason=Reason.UNSUPPORTED_SOP_CLASS, detail=UID(common["sop_class_uid"]).name)
    elif not (common["study_uid"] and common["series_uid"] and common["sop_uid"]):
        common.update(reason=Reason.MISSING_UID)
    announced = integer(header.get("NumberOfFrames")) or 1
    if header.num_groups and header.pixels is not None:
        return _frames(common, header, announced)
    if announced > 1 and not header.num_groups and common.get("reason") is None:
        common.update(
            reason=Reason.UNSUPPORTED_SOP_CLASS, detail="frames without functional groups"
        )
    common |= image_facts([header]) | mosaic_facts(header)
    return [Instance(**common, num_frames=announced)]


def _frames(
    common: dict[str, Any],
    header: fast_header.Header | slow_header.SlowHeader,
    announced: int,
) -> list[Instance]:
    """A row for every frame that is announced and has functional groups."""
    num_frames = min(announced, header.num_groups)
    if announced != header.num_groups:
        detail = f"{announced} frames, functional groups of {header.num_groups}"
        common.setdefault("detail", detail)
    return [
        Instance(**common | image_facts(sources), frame=index, num_frames=num_frames)
        for index, sources in zip(range(num_frames), header.frames(), strict=False)
    ]
