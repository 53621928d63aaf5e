"""What of the last crawl still holds, so that it is not read again.

In: the rows of the last crawl and the files that are there now. Out: the rows of files that did not
change. The idea: a file is judged as a whole, an archive with all its members: same size, same
time, and where its bytes are unpacked, these still being there.
"""

from __future__ import annotations

import os
import re
from collections import defaultdict
from collections.abc import Iterable, Mapping
from dataclasses import dataclass

from ingest import archive, single
from ingest.place import MEMBER, Place, place_of
from ingest.spool import limit_in
from ingest.supervise import Limits
from ingest.volume_files import is_current
from study.ingest_sections import VolumeFiles
from study.records import Instance, Reason


@dataclass(frozen=True)
class CrawlSettings:
    """Where a crawl looks, and how it reads what is no DICOM."""

    folders: tuple[str, ...]
    unpacked: str
    """Folder for what is unpacked of archives."""
    max_unpacked: int
    """Bytes that one archive, or one compressed file, may unpack to."""
    volume_files: VolumeFiles
    limits: Limits
    """Of the process that reads unusual headers."""

    def root_of(self, path: str) -> str:
        """The innermost source folder that a path is in."""
        inside = [f for f in self.folders if path.startswith(os.path.join(f, ""))]
        return max(inside, key=len)


def still_valid(
    rows: Iterable[Instance], files: Mapping[str, str], settings: CrawlSettings
) -> dict[str, list[Instance]]:
    """Rows of earlier, by the path of their file, where that file is as it was.

    `files` has the path of every file as tables show it, and where its bytes are.
    """
    by_file: dict[str, list[Instance]] = defaultdict(list)
    for row in rows:
        owner = _owner(row.path, files)
        if owner is not None:
            by_file[owner].append(row)
    return {
        path: found
        for path, found in by_file.items()
        if _is_as_it_was(path, files[path], found, settings)
    }


def _owner(path: str, files: Mapping[str, str]) -> str | None:
    """The file that a row is of: its path, or the archive that its path begins with."""
    if path in files:
        return path
    place = path.find(MEMBER)
    while place >= 0:
        if path[:place] in files:
            return path[:place]
        place = path.find(MEMBER, place + 1)
    return None


def _is_as_it_was(path: str, file: str, rows: list[Instance], settings: CrawlSettings) -> bool:
    root = settings.root_of(path)
    if any(
        _may_go_away(r, settings) or not is_current(r, root, settings.volume_files) for r in rows
    ):
        return False
    members = [row for row in rows if row.path != path]
    if members:
        return _has_members(path, file, members, settings)
    place = Place(path, "" if file == path else file)
    return all(_is_of(place, row, settings) for row in rows)


def _has_members(path: str, file: str, rows: list[Instance], settings: CrawlSettings) -> bool:
    contents = archive.contents(file, settings.unpacked, settings.max_unpacked)
    if contents is None:
        return False
    places = {
        path + MEMBER + m.name: Place(
            path + MEMBER + m.name,
            contents.spool if m.in_spool else file,
            m.at,
            m.length,
            contents.mtime_ns,
        )
        for m in contents.members
    }
    return {row.path for row in rows} == places.keys() and all(
        _is_of(places[row.path], row, settings) for row in rows
    )


def _is_of(place: Place, row: Instance, settings: CrawlSettings) -> bool:
    """Whether the row is of the bytes at a place, or of what is unpacked of them."""
    try:
        place = place.measured()
    except OSError:
        return False
    return place_of(row) == place or single.is_unpacked(
        place, row, settings.unpacked, settings.max_unpacked
    )


def _may_go_away(row: Instance, settings: CrawlSettings) -> bool:
    """Verdicts that another try or another setting may change: an input/output error, which is
    given by its type alone, and a limit."""
    if row.reason is Reason.UNREADABLE:
        return re.fullmatch(r"\w+Error", row.detail) is not None
    if row.reason is Reason.TOO_LARGE and (limit := limit_in(row.detail)) is not None:
        return limit < settings.max_unpacked
    return row.reason in (Reason.TOO_LARGE, Reason.DECODE_TIMEOUT, Reason.DECODE_MEMORY)
