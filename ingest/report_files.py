"""Where reports are: files, and folders of files -> sources to be read, in a fixed order.

In: the paths of `ingest.reports` or `ingest.labels`. Out: `Source`s: a table, a text file that is
one report, or a DICOM SR document; and what stands for the study in a text file's name. A file of a
folder that is none of these is a source with a fault: nothing is left out in silence, but what
begins with a dot or an underscore (marks of other programs).
"""

from __future__ import annotations

import os
import re
from collections.abc import Iterator, Sequence
from pathlib import Path
from typing import NamedTuple

from study.errors import UserError

TABLE, TEXT, SR, OTHER = "table", "text", "sr", "other"
TABLE_SUFFIXES = (".csv", ".tsv", ".tab", ".psv", ".parquet", ".pq", ".jsonl", ".ndjson", ".json")
TEXT_SUFFIX = ".txt"
UID = re.compile(r"[0-9]+(\.[0-9]+){3,}")
"""A StudyInstanceUID among other names: digits and points, of some length (PS3.5 9.1)."""


class Source(NamedTuple):
    """A file to be read."""

    kind: str
    file: str
    name: str
    """Its path below the folder that was given; its own name where it was given itself."""


class Key(NamedTuple):
    """What a row says of its study."""

    study_uid: str = ""
    accession: str = ""
    patient: str = ""
    issuer: str = ""

    def words(self) -> str:
        """For people."""
        if self.study_uid or not (self.accession or self.patient):
            return self.study_uid
        return f"accession {self.accession or '?'} of patient {self.patient or '?'}"


def sources(key: str, paths: Sequence[str]) -> Iterator[Source]:
    """The files that some paths stand for. Raises UserError: a path is missing, a folder empty."""
    for path in paths:
        if "://" in path:
            raise UserError(f"{key}: {path} is a URL; copy the file to a disk that is read here")
        if not Path(path).is_dir():
            kind = SR if Path(path).is_file() and _is_dicom(path) else TABLE
            yield Source(kind, path, os.path.basename(path))
            continue
        is_empty = True
        for source in _in_folder(key, path):
            is_empty = False
            yield source
        if is_empty:
            raise UserError(f"{key}: the folder {path} holds no files")


def _in_folder(key: str, folder: str) -> Iterator[Source]:
    def failed(error: OSError) -> None:
        raise UserError(f"{key}: cannot read {error.filename}: {error.strerror}")

    for parent, folders, files in os.walk(folder, onerror=failed):
        folders[:] = sorted(name for name in folders if not name.startswith((".", "_")))
        for name in sorted(files):
            if not name.startswith((".", "_")):
                path = os.path.join(parent, name)
                yield Source(_kind(path), path, os.path.relpath(path, folder))


def _kind(path: str) -> str:
    name = path.lower().removesuffix(".gz")
    if path.lower().endswith(TEXT_SUFFIX):
        return TEXT
    if name.endswith(TABLE_SUFFIXES):
        return TABLE
    return SR if _is_dicom(path) else OTHER


def _is_dicom(path: str) -> bool:
    """Whether a file begins as DICOM PS3.10 7.1 says."""
    try:
        with open(path, "rb") as stream:
            return stream.read(132)[128:] == b"DICM"
    except OSError:
        return False


def key_in_name(name: str, pattern: str) -> Key:
    """The study that a text file is of, from its path below its folder. Without a pattern: its name
    without the suffix, or the nearest folder around it that is called as a UID is.

    >>> key_in_name("a/1.2.840.5.txt", "").study_uid, key_in_name("1.2.840.5/a.txt", "").study_uid
    ('1.2.840.5', '1.2.840.5')
    >>> key_in_name("P7/A12.txt", "(?P<patient>[^/]+)/(?P<accession>[^/]+)[.]txt").words()
    'accession A12 of patient P7'
    """
    if pattern:
        return key_in_pattern(name, pattern)
    path = Path(name)
    stem = path.name[: -len(TEXT_SUFFIX)]
    around = [parent.name for parent in path.parents]
    return Key(next((part for part in (stem, *around) if UID.fullmatch(part)), stem))


def key_in_pattern(value: str, pattern: str) -> Key:
    """What the groups of a pattern say; an empty key where it is not found."""
    found = re.search(pattern, value)
    groups = found.groupdict(default="") if found else {}
    names = {"study_uid": "study", "accession": "accession", "patient": "patient"}
    return Key(**{field: groups.get(group, "").strip() for field, group in names.items()})
