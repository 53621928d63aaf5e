"""Folders -> one row per image, headers only. Nothing that is read can stop the crawl.

In: source folders and the table of the last crawl. Out: rows of `instances.parquet`: every file
below the folders has a row (every frame, for multi-frame files; every member, for archives), with a
reason where it cannot be used. What did not change since the last crawl is not read again. Files
are read first, then the archives among them are unpacked, then their members are read, each step in
parallel. A DICOM file that is compressed by itself is unpacked and read in one step.
"""

from __future__ import annotations

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
from ingest.source_files import LINK, all_files, with_names
from ingest.spool import CannotUnpackError
from ingest.supervise import USUAL_LIMITS, Limits, child_of_thread
from ingest.unchanged import CrawlSettings, still_valid
from ingest.volume_files import read_volume_header
from shards.files import is_temporary
from study.errors import UserError
from study.ingest_sections import VolumeFiles
from study.records import Instance, Reason, Rejection

FILES_PER_TASK = 256
MAX_UNPACKED = 200 * 10**9
"""Bytes that one archive may unpack to, where no setting says otherwise."""

Mapper = Callable[[Callable[[Any], Any], list[Any]], Iterable[Any]]
"""Runs a function over items and yields the results in the order of the items (see
`ingest.cluster`)."""


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
    """Rows of all files below `folders`, sorted by path and frame, with the digests of what may be
    copies.

    `previous` is the table of the last crawl (it need not exist); `on_progress(done, all)` counts
    files and members of archives. `unpacked` is the folder for what archives unpack to, by default
    beside `previous`; it is made, with mode 0700, when it is needed. Raises UserError for a folder
    that is missing, not a folder, or without a single file, and where `unpacked` has no room.
    """
    settings = settings_of(folders, previous, unpacked, volume_files, max_unpacked, limits)
    count = Counter[str]()
    found = read_some(
        sorted(all_files(folders)),
        lambda places: table.read_current(previous),
        run,
        settings,
        count,
        on_progress,
    )
    discard_unused(settings.unpacked, found.archives, found.in_use)
    rows = with_digests(found.rows, run, limits)
    return sorted(rows, key=lambda row: (row.path, row.frame))


class Read(NamedTuple):
    """What was read of some files."""

    rows: list[Instance]
    archives: list[str]
    """Files whose index in the unpack folder is in use."""
    in_use: list[str]
    """Files that hold bytes of the rows."""


def settings_of(
    folders: Sequence[str],
    previous: Path,
    unpacked: Path | None,
    volume_files: VolumeFiles,
    max_unpacked: int,
    limits: Limits,
) -> CrawlSettings:
    folder = os.path.abspath(unpacked or previous.parent / "unpacked")
    return CrawlSettings(tuple(map(escaped, folders)), folder, max_unpacked, volume_files, limits)


def read_some(
    paths: Sequence[str],
    earlier: Callable[[Sequence[Place]], Iterable[Instance]],
    run: Mapper,
    settings: CrawlSettings,
    count: Counter[str],
    on_progress: Callable[[int, int], None],
) -> Read:
    """Rows of some files, in any order; `earlier` gives rows of an earlier crawl. `count` goes
    on from the files before these."""
    run = _with_room(run, settings.unpacked)
    places = with_names(paths, settings.unpacked)
    files = {place.path: place.file for place in places}
    known = still_valid(earlier(places), files, settings)
    rows = [row for found in known.values() for row in found]
    fresh = [place for place in places if place.path not in known]
    count.update(done=len(known), all=len(files))
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
    return Read(rows, [*old, *(place.file for place, _ in archives)], used)


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


def discard_unused(folder: str, archives: Iterable[str], used: Iterable[str]) -> None:
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
