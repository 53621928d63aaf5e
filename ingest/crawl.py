"""Folders -> one row per image, headers only. Nothing that is read can stop the crawl.

In: source folders and the table of the last crawl. Out: rows of `instances.parquet`: every file
below the folders has a row (every frame, for multi-frame files; every member, for archives), with a
reason where it cannot be used. What did not change since the last crawl is not read again. Files
are read first, then the archives among them are unpacked, then their members are read, each step in
parallel. A DICOM file that is compressed by itself is unpacked and read in one step.
"""

from __future__ import annotations

import hashlib
import os
from collections import Counter
from collections.abc import Callable, Iterable, Iterator, Sequence
from dataclasses import replace
from functools import partial
from pathlib import Path
from typing import Any, NamedTuple

from ingest import archive, guarded, single, table
from ingest.digest_pass import with_digests
from ingest.header import broken_header, read_header, read_ordinary
from ingest.identity import deepen, values_of
from ingest.members import Names, escaped
from ingest.place import MEMBER, Place
from ingest.spool import CannotUnpackError, make_folder
from ingest.supervise import USUAL_LIMITS, Limits, child_of_thread
from ingest.unchanged import CrawlSettings, still_valid
from ingest.volume_files import read_volume_header
from shards.files import is_temporary
from study.errors import UserError
from study.records import Instance, Reason, Rejection
from study.sections import VolumeFiles

FILES_PER_TASK = 256
MAX_UNPACKED = 200 * 10**9
"""Bytes that one archive may unpack to, where no setting says otherwise."""

Mapper = Callable[[Callable[[Any], Any], list[Any]], Iterable[Any]]
"""Runs a function over items and yields the results in the order of the items (see
`ingest.cluster`)."""


LINK = ".link"
"""Ending of links to files whose names are not UTF-8."""


class Found(NamedTuple):
    """What a task read: rows, and the archives among the files with their kinds."""

    rows: list[Instance]
    archives: list[tuple[Place, str]]


def crawl(
    folders: Sequence[str],
    previous: Path,
    run: Mapper,
    on_progress: Callable[[int, int], None],
    *,
    unpacked: Path | None = None,
    volume_files: VolumeFiles = VolumeFiles(),
    max_unpacked: int = MAX_UNPACKED,
    limits: Limits = USUAL_LIMITS,
) -> list[Instance]:
    """Rows of all files below `folders`, sorted by path and frame.

    `previous` is the table of the last crawl (it need not exist); `on_progress(done, all)` counts
    files and members of archives. `unpacked` is the folder for what archives unpack to, by default
    beside `previous`; it is made, with mode 0700, when it is needed. Raises UserError for a folder
    that is missing, not a folder, or without a single file, and where `unpacked` has no room.
    """
    folder = os.path.abspath(unpacked or previous.parent / "unpacked")
    settings = CrawlSettings(
        tuple(map(escaped, folders)), folder, max_unpacked, volume_files, limits
    )
    run = _with_room(run, folder)
    places = _with_names(_all_files(folders), folder)
    files = {place.path: place.file for place in places}
    known = still_valid(table.read_current(previous), files, settings)
    rows = [row for found in known.values() for row in found]
    fresh = [place for place in places if place.path not in known]
    count = Counter(done=len(known), all=len(files))
    on_progress(count["done"], count["all"])

    archives: list[tuple[Place, str]] = []
    for found in run(partial(read_files, settings=settings), _chunks(fresh)):
        rows += found.rows
        archives += found.archives
        count["done"] += len({row.path for row in found.rows})
        on_progress(count["done"], count["all"])
    names = Names([*files, *(row.path for row in rows)] if archives else ())
    members: list[Place] = []
    for place, verdict in _unpack_all(archives, run, settings):
        settled, readable = _members(place, verdict, settings, names)
        rows += settled
        members += readable
        count["done"] += 1 + sum(row.path != place.path for row in settled)
        count["all"] += len(readable) + sum(row.path != place.path for row in settled)
        on_progress(count["done"], count["all"])
    for found in run(partial(read_members, settings=settings), _chunks(members)):
        rows += found
        count["done"] += len({row.path for row in found})
        on_progress(count["done"], count["all"])
    old = [files[p] for p, found in known.items() if any(row.path != p for row in found)]
    used = [*files.values(), *(row.stored_in for row in rows if row.stored_in)]
    _discard_unused(folder, [*old, *(place.file for place, _ in archives)], used)
    return sorted(with_digests(rows, run, limits), key=lambda row: (row.path, row.frame))


def _chunks(items: list[Place]) -> list[list[Place]]:
    return [items[i : i + FILES_PER_TASK] for i in range(0, len(items), FILES_PER_TASK)]


# -------------------------------------------------------------------------------- tasks


def read_files(places: list[Place], settings: CrawlSettings) -> Found:
    """Rows of some files; the task that a worker runs. An archive has no row yet."""
    found = Found([], [])
    for place, (rows, kind) in zip(places, _read_all(places, settings), strict=True):
        if kind is None:
            found.rows.extend(rows)
        else:
            found.archives.append((place, kind))
    return found._replace(rows=_deepened(found.rows, settings))


def read_members(places: list[Place], settings: CrawlSettings) -> list[Instance]:
    """Rows of some members of archives; the task that a worker runs."""
    found = []
    for rows, kind in _read_all(places, settings):
        nested = [replace(row, detail="an archive within an archive") for row in rows]
        found += rows if kind is None else nested
    return _deepened(found, settings)


def _read_all(
    places: list[Place], settings: CrawlSettings
) -> Iterator[tuple[list[Instance], str | None]]:
    """Rows of every file, and what archive it is. What a general parser must read is read in a
    child process: it can take minutes, or all memory, over a hostile file."""
    ordinary = [_read_ordinary(place, settings) for place in places]
    left = [place for place, rows in ordinary if rows is None]
    unusual = iter(
        guarded.each(child_of_thread(settings.limits), read_header, left, broken_header)
        if left
        else ()
    )
    for place, rows in ordinary:
        yield _as_volume_or_archive(place, next(unusual) if rows is None else rows, settings)


def _read_ordinary(place: Place, settings: CrawlSettings) -> tuple[Place, list[Instance] | None]:
    """Where the file's bytes are, unpacked if it is a compressed DICOM file, and its rows, None
    where a general parser must read them."""
    rows = read_ordinary(place)
    if rows is None or not _may_be_packed(rows[0]):
        return place, rows
    try:
        with place.open() as stream:
            packing = single.packing_of(stream)
        if packing is None:
            return place, rows
        found = single.unpack(place, packing, settings.unpacked, settings.max_unpacked)
    except CannotUnpackError:
        raise
    except OSError as error:
        found = Rejection(Reason.UNREADABLE, type(error).__name__)
    if isinstance(found, Rejection):
        return place, broken_header(place, found)
    return found, read_ordinary(found)


def _may_be_packed(row: Instance) -> bool:
    """Not where it is known what the file is: a fifo must not even be opened."""
    return row.reason is Reason.NOT_DICOM and not row.detail


def _deepened(rows: list[Instance], settings: CrawlSettings) -> list[Instance]:
    def unusual(row: Instance) -> set[str]:
        child = child_of_thread(settings.limits)
        return guarded.each(child, values_of, [row], lambda *_: set())[0]

    return deepen(rows, unusual)


def _as_volume_or_archive(
    place: Place, rows: list[Instance], settings: CrawlSettings
) -> tuple[list[Instance], str | None]:
    """Rows of a file as DICOM, or as a volume; and, where it is neither, what archive it is."""
    if not _may_be_packed(rows[0]):
        return rows, None
    root = settings.root_of(place.path)
    volumes = read_volume_header(place, root, settings.volume_files)
    if volumes:
        return volumes, None
    try:
        with place.open() as stream:
            kind = archive.archive_kind(stream, place.path)
    except OSError as error:
        kind = Rejection(Reason.UNREADABLE, type(error).__name__)
    if isinstance(kind, Rejection):
        return [replace(rows[0], reason=kind.reason, detail=kind.detail)], None
    return rows, kind


# -------------------------------------------------------------------------------- archives


def _unpack_all(
    archives: list[tuple[Place, str]], run: Mapper, settings: CrawlSettings
) -> Iterator[tuple[Place, Rejection | None]]:
    """Unpack archives, and say of each whether it could be read."""
    if not archives:
        return
    unpack = partial(archive.unpack, folder=settings.unpacked, max_unpacked=settings.max_unpacked)
    verdicts = run(unpack, [(place.file, kind) for place, kind in archives])
    for (place, _), verdict in zip(archives, verdicts, strict=True):
        yield place, verdict


def _with_room(run: Mapper, folder: str) -> Mapper:
    """The mapper; where `folder` takes no more, that is the user's to solve."""

    def running(function: Callable[[Any], Any], items: list[Any]) -> Iterator[Any]:
        try:
            yield from run(function, items)
        except CannotUnpackError as error:
            raise UserError(
                f"cannot unpack archives of ingest.source into {folder}: {error.strerror}; "
                "make room there, or write elsewhere, then run the same command again"
            ) from None

    return running


def _members(
    place: Place, verdict: Rejection | None, settings: CrawlSettings, names: Names
) -> tuple[list[Instance], list[Place]]:
    """Rows of an archive that need no reading, and the members that do."""
    contents = archive.contents(place.file, settings.unpacked, settings.max_unpacked)
    if contents is None:
        verdict = verdict or Rejection(Reason.UNREADABLE, "it changed while it was read")
        return broken_header(place, verdict), []
    rows = broken_header(place, contents.broken) if contents.broken else []
    readable = []
    for member in contents.members:
        path = names.distinct(f"{place.path}{MEMBER}{member.name}")
        stored_in = contents.spool if member.in_spool else place.file
        where = Place(path, stored_in, member.at, member.length, contents.mtime_ns)
        if member.verdict is None:
            readable.append(where)
        else:
            rows += broken_header(where, member.verdict)
    return rows, readable


def _discard_unused(folder: str, archives: Iterable[str], used: Iterable[str]) -> None:
    """Remove from the unpack folder what belongs to files that changed or are gone, and what a
    crash left half written."""
    if not os.path.isdir(folder):
        return
    keep = {os.path.basename(file) for file in used if os.path.dirname(file) == folder}
    for file in archives:
        keep.update(archive.names_of(file, folder))
    for path in Path(folder).iterdir():
        is_ours = path.suffix in (".json", ".spool", LINK) or is_temporary(path)
        if is_ours and path.name not in keep:
            path.unlink(missing_ok=True)


# -------------------------------------------------------------------------------- files


def _all_files(folders: Sequence[str]) -> list[str]:
    found: set[str] = set()
    for folder in folders:
        if not os.path.isdir(folder):
            what = "is not a folder" if os.path.exists(folder) else "does not exist"
            raise UserError(f"ingest.source: {folder} {what}")
        files = list(walk(folder))
        if not files:
            raise UserError(f"ingest.source: {folder} holds no files")
        found.update(files)
    return sorted(found)


def walk(folder: str) -> Iterator[str]:
    """Paths of all files below a folder, and of links to folders, which are not followed.

    Raises UserError for a folder that cannot be read: what is in it would be missing in silence.
    """

    def refuse(error: OSError) -> None:
        raise UserError(f"ingest.source: cannot read {error.filename}: {error.strerror}")

    for root, names, files in os.walk(folder, onerror=refuse):
        names.sort()
        links = [name for name in names if os.path.islink(os.path.join(root, name))]
        for name in sorted([*files, *links]):
            yield os.path.join(root, name)


def _with_names(paths: Sequence[str], folder: str) -> list[Place]:
    """Every file with a path that fits a table: its own, or, where that is not UTF-8, its bytes
    spelled out, and a link in the unpack folder by which the file can still be opened."""
    names = Names()
    return [
        Place(names.distinct(escaped(path)), "" if escaped(path) == path else _link(path, folder))
        for path in sorted(paths, key=lambda path: (escaped(path) != path, path))
    ]


def _link(path: str, folder: str) -> str:
    target = os.fsencode(os.path.abspath(path))
    link = os.path.join(folder, hashlib.sha256(target).hexdigest()[:32] + LINK)
    try:
        make_folder(folder)
        if not os.path.islink(link):
            os.symlink(target, os.fsencode(link))
    except OSError as error:
        raise UserError(f"cannot write into {folder}: {error.strerror}") from None
    return link
