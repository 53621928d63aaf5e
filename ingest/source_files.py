"""The files below the source folders, in the order of their paths, and names that fit a table.

In: folders. Out: paths, as they are found, so that 10^8 of them are never in memory; and `Place`s.
"""

from __future__ import annotations

import hashlib
import os
from collections.abc import Iterator, Sequence

from ingest.members import Names, escaped
from ingest.place import Place
from ingest.spool import make_folder
from study.errors import UserError

LINK = ".link"
"""Ending of links to files whose names are not UTF-8."""


def all_files(folders: Sequence[str]) -> Iterator[str]:
    """Paths of all files below the folders, each once, folder by folder in the order of paths.

    Raises UserError for a folder that is missing, not a folder, or without a single file.
    """
    for folder in folders:
        if not os.path.isdir(folder):
            what = "is not a folder" if os.path.exists(folder) else "does not exist"
            raise UserError(f"ingest.source: {folder} {what}")
        if next(walk(folder), None) is None:
            raise UserError(f"ingest.source: {folder} holds no files")
    distinct = sorted(set(folders))
    for folder in distinct:
        around = [f for f in distinct if f != folder and folder.startswith(os.path.join(f, ""))]
        if not around:
            yield from walk(folder)


def walk(folder: str) -> Iterator[str]:
    """Paths of all files below a folder, and of links to folders, which are not followed; in the
    order of paths.

    Raises UserError for a folder that cannot be read: what is in it would be missing in silence.
    """
    waiting = [iter([folder])]
    while waiting:
        name = next(waiting[-1], None)
        if name is None:
            waiting.pop()
        elif len(waiting) > 1 and not name.endswith(os.sep):
            yield name
        else:
            try:
                with os.scandir(name) as entries:
                    found = [
                        e.path + (os.sep if e.is_dir(follow_symlinks=False) else "")
                        for e in entries
                    ]
            except OSError as error:
                raise UserError(
                    f"ingest.source: cannot read {error.filename}: {error.strerror}"
                ) from None
            waiting.append(iter(sorted(found)))


def with_names(paths: Sequence[str], folder: str) -> list[Place]:
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
