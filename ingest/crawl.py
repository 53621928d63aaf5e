"""Folders -> one row per image, headers only. Nothing that is read can stop the crawl.

In: source folders and the table of the last crawl. Out: `instances.parquet`: every file below the
folders has a row (every frame, for multi-frame files), with a reason where it cannot be used. A
file whose path, size and modification time were seen before is not read again.
"""

from __future__ import annotations

import os
from collections import defaultdict
from collections.abc import Callable, Iterable, Iterator, Sequence
from dataclasses import replace
from pathlib import Path

from ingest import table
from ingest.duplicates import to_compare
from ingest.header import read_header
from ingest.pixels import digests
from study.errors import UserError
from study.records import Instance, Reason

FILES_PER_TASK = 256

Mapper = Callable[
    [Callable[[list[str]], list[Instance]], list[list[str]]], Iterable[list[Instance]]
]
"""Runs a function over chunks of paths and yields the results in the order of the chunks (see
`ingest.cluster`)."""


def crawl(
    folders: Sequence[str], previous: Path, run: Mapper, on_progress: Callable[[int, int], None]
) -> list[Instance]:
    """Rows of all files below `folders`, sorted by path and frame.

    `previous` is the table of the last crawl (it need not exist); `on_progress(done, all)` counts
    files. Raises UserError for a folder that is missing, not a folder, or without a single file.
    """
    paths = _all_files(folders)
    nameless = [path for path in paths if _escaped(path) != path]
    paths = [path for path in paths if _escaped(path) == path]
    known = _known(previous, paths)
    fresh = [path for path in paths if path not in known]
    chunks = [fresh[i : i + FILES_PER_TASK] for i in range(0, len(fresh), FILES_PER_TASK)]
    rows = [row for path in paths if path in known for row in known[path]]
    rows += [Instance(_escaped(p), reason=Reason.UNREADABLE, detail="name") for p in nameless]
    done = len(paths) - len(fresh)
    on_progress(done, len(paths))
    for chunk, found in zip(chunks, run(read_headers, chunks), strict=True):
        rows.extend(found)
        done += len(chunk)
        on_progress(done, len(paths))
    return sorted(_with_digests(rows, run), key=lambda row: (row.path, row.frame))


def read_headers(paths: list[str]) -> list[Instance]:
    """Rows of some files; the task that a worker runs."""
    return [row for path in paths for row in read_header(path)]


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
    """Paths of all files below a folder; links to folders are not followed.

    Raises UserError for a folder that cannot be read: what is in it would be missing in silence.
    """

    def refuse(error: OSError) -> None:
        raise UserError(f"ingest.source: cannot read {error.filename}: {error.strerror}")

    for root, names, files in os.walk(folder, onerror=refuse):
        names.sort()
        for name in sorted(files):
            yield os.path.join(root, name)


def _escaped(path: str) -> str:
    """The path itself, or, where it is not UTF-8 and fits no table, its bytes spelled out."""
    return path.encode("utf-8", "backslashreplace").decode()


def _known(previous: Path, paths: Sequence[str]) -> dict[str, list[Instance]]:
    """Rows of the last crawl whose file has not changed since."""
    if not previous.exists():
        return {}
    wanted, by_path = set(paths), defaultdict(list)
    for row in table.read(previous):
        if row.path in wanted:
            by_path[row.path].append(row)
    return {path: rows for path, rows in by_path.items() if _unchanged(rows[0])}


def _unchanged(row: Instance) -> bool:
    try:
        stat = os.stat(row.path)
    except OSError:
        return False
    return (stat.st_size, stat.st_mtime_ns) == (row.file_bytes, row.file_mtime_ns)


def _with_digests(rows: list[Instance], run: Mapper) -> list[Instance]:
    """Where SOPInstanceUIDs repeat, add what tells copies from collisions: a digest of the decoded
    pixels."""
    lacking = {row.path for row in rows if not row.pixel_digest}
    paths = sorted(to_compare(rows) & lacking)
    if not paths:
        return rows
    chunks = [paths[i : i + FILES_PER_TASK] for i in range(0, len(paths), FILES_PER_TASK)]
    found = {(r.path, r.frame): r.pixel_digest for part in run(read_digests, chunks) for r in part}
    return [
        replace(r, pixel_digest=found[(r.path, r.frame)]) if (r.path, r.frame) in found else r
        for r in rows
    ]


def read_digests(paths: list[str]) -> list[Instance]:
    """Instances that carry only path, frame and pixel digest, for every frame of some files."""
    return [
        Instance(path, frame=frame, pixel_digest=digest)
        for path in paths
        for frame, digest in enumerate(digests(path))
    ]
