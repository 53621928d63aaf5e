"""Files that identify patients: readable by their owner alone, from the first byte on.

In: a path. Out: a folder of mode 0700, a stream of mode 0600. A file is written beside its name and
renamed, so that there is never half of one, and never a moment in which others could open it.
"""

from __future__ import annotations

import os
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import BinaryIO

from study.errors import UserError, naming

FOLDER_MODE = 0o700
FILE_MODE = 0o600


def private_folder(folder: Path) -> None:
    """Make a folder (and those around it) that only its owner can enter; one that is there already
    is closed to others where it is ours."""
    try:
        folder.mkdir(parents=True, exist_ok=True, mode=FOLDER_MODE)
    except FileNotFoundError as error:  # as where a server of folders is away
        raise UserError(f"{folder} cannot be made: {error}") from None
    if folder.stat().st_mode & 0o077 and folder.stat().st_uid == os.getuid():
        folder.chmod(FOLDER_MODE)


@contextmanager
def replacing(file: Path) -> Iterator[BinaryIO]:
    """A stream whose bytes become `file` when the block ends well; an exception leaves the old
    file. What the disk refuses is said with the file's name."""
    partial = file.with_name(file.name + ".partial")
    partial.unlink(missing_ok=True)
    descriptor = os.open(partial, os.O_WRONLY | os.O_CREAT | os.O_EXCL, FILE_MODE)
    try:
        with naming(file), os.fdopen(descriptor, "wb") as stream:
            yield stream
        partial.replace(file)
    except BaseException:
        partial.unlink(missing_ok=True)
        raise


def write_text(file: Path, text: str) -> None:
    """Write a private file of UTF-8 text, whole or not at all."""
    with replacing(file) as stream:
        stream.write(text.encode())
