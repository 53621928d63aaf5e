"""Tables of reports and of labels -> texts and labels by StudyInstanceUID, row by row.

In: CSV files named in the configuration. Out: rows as they are read (a million reports are
gigabytes), and counts of what did not join: nothing is dropped in silence. Rows join on
StudyInstanceUID alone: accession numbers collide between patients in public data.
"""

from __future__ import annotations

import codecs
import csv
from collections.abc import Iterable, Iterator, Mapping
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any

from ingest.allowlist import is_label_name
from ingest.report_text import decode as decode
from study.errors import UserError
from study.ingest_sections import Columns

csv.field_size_limit(1 << 26)
CHUNK = 1 << 20
"""Bytes read at a time to find out an encoding."""


@dataclass(frozen=True)
class JoinCounts:
    """How a table and the studies met."""

    rows: int
    joined: int
    """Studies with scans that have a row."""
    surplus: int
    """Rows of studies that were not found."""
    missing: int
    """Studies with scans that have no row (or an empty text)."""

    def __add__(self, other: JoinCounts) -> JoinCounts:
        """Of two parts of a table and of the studies."""
        return JoinCounts(
            self.rows + other.rows,
            self.joined + other.joined,
            self.surplus + other.surplus,
            self.missing + other.missing,
        )

    def as_json(self) -> dict[str, Any]:
        return asdict(self)


def reports_in(file: str, columns: Columns) -> Iterator[tuple[str, str]]:
    """StudyInstanceUID and report text of every row. Raises UserError: missing file or column, bad
    encoding, two rows for a study."""
    for uid, row in _by_study("ingest.reports", file, columns, (columns.study_uid, columns.text)):
        yield uid, row[columns.text] or ""


def labels_in(file: str, columns: Columns) -> Iterator[tuple[str, dict[str, float]]]:
    """StudyInstanceUID, and label -> value in 0..1, of every row; empty cells are unknown and left
    out. Raises UserError, also for a column whose name could not stand in a dataset."""
    names: Iterable[str] = ()
    for uid, row in _by_study("ingest.labels", file, columns, (columns.study_uid,)):
        if not names:
            names = _label_names(file, row, columns)
        labels = {}
        for name in names:
            text = (row[name] or "").strip()
            if not text:
                continue
            try:
                value = float(text)
            except ValueError:
                value = -1.0
            if not 0.0 <= value <= 1.0:
                raise UserError(
                    f"ingest.labels: {file}: {name}={row[name]!r} of study {uid} is not from 0 to 1"
                )
            labels[name] = value
        yield uid, labels


def _label_names(file: str, row: Mapping[str, str], columns: Columns) -> list[str]:
    names = [name for name in row if name != columns.study_uid]
    for name in names:
        if not is_label_name(name):
            raise UserError(
                f"ingest.labels: {file}: column {name!r} cannot be the name of a label: a letter "
                "first, then letters, digits, spaces and ()/.,+&:*%'-, no five digits in a row"
            )
    return names


def join_counts(
    table: Mapping[str, Any], studies: Iterable[str], with_scans: Iterable[str]
) -> JoinCounts:
    """Count how a table (study UID -> text or labels) met the studies, and those of them that have
    scans."""
    known, wanted = set(studies), set(with_scans)
    joined = {uid for uid, value in table.items() if value}
    return JoinCounts(
        len(table), len(joined & wanted), len(table.keys() - known), len(wanted - joined)
    )


def encoding_of(file: str) -> str:
    """Encoding of a text file, which is read to its end: UTF-8 (with or without a mark), UTF-16
    with a mark, else Windows-1252.

    Raises ValueError for bytes that are no text (NULs, undefined characters).
    """
    with Path(file).open("rb") as stream:
        has_mark = stream.read(2) in (b"\xff\xfe", b"\xfe\xff")
        for encoding in ("utf-16",) if has_mark else ("utf-8-sig", "cp1252"):
            stream.seek(0)
            decoder = codecs.getincrementaldecoder(encoding)()
            try:
                while chunk := stream.read(CHUNK):
                    if "\0" in decoder.decode(chunk):
                        raise ValueError("holds NUL bytes")
                decoder.decode(b"", final=True)
                return encoding
            except UnicodeDecodeError:
                if encoding != "utf-8-sig":
                    raise
    raise AssertionError("unreachable")


def _rows(key: str, file: str, required: tuple[str, ...]) -> Iterator[tuple[int, dict[str, str]]]:
    """(line number, row) of a CSV file."""
    try:
        encoding = encoding_of(file)
    except FileNotFoundError:
        raise UserError(f"{key}: {file} does not exist") from None
    except OSError as error:
        raise UserError(f"{key}: cannot read {file}: {error.strerror}") from None
    except ValueError as error:
        raise UserError(
            f"{key}: {file} is not text in UTF-8, UTF-16 or Windows-1252: {error}"
        ) from None
    with Path(file).open(encoding=encoding, newline="") as stream:
        reader = csv.DictReader(stream, strict=True)
        try:
            found = list(reader.fieldnames or [])
        except csv.Error as error:
            raise UserError(f"{key}: {file}, line 1: {error}") from None
        _check_columns(key, file, found, required)
        try:
            for row in reader:
                if None in row or None in row.values():
                    raise UserError(
                        f"{key}: {file}, line {reader.line_num}: not {len(found)} cells as in the "
                        "header; put texts with commas into double quotes"
                    )
                yield reader.line_num, row
        except csv.Error as error:
            raise UserError(f"{key}: {file}, line {reader.line_num}: {error}") from None


def _check_columns(key: str, file: str, found: list[str], required: tuple[str, ...]) -> None:
    twice = next((name for name in found if found.count(name) > 1), None)
    if twice is not None:
        raise UserError(f"{key}: {file} has two columns {twice!r}")
    missing = [name for name in required if name not in found]
    if missing:
        hint = "set ingest.columns to the names in the file"
        raise UserError(
            f"{key}: {file} has no column {missing[0]!r}; "
            f"it has {', '.join(found) or 'none'}; {hint}"
        )


def _by_study(
    key: str, file: str, columns: Columns, required: tuple[str, ...]
) -> Iterator[tuple[str, dict[str, str]]]:
    first_line: dict[str, int] = {}
    for line, row in _rows(key, file, required):
        uid = (row[columns.study_uid] or "").strip()
        if not uid:
            raise UserError(f"{key}: {file}, line {line}: {columns.study_uid} is empty")
        if uid in first_line:
            raise UserError(
                f"{key}: {file}, line {line}: study {uid} was on line {first_line[uid]} already"
            )
        first_line[uid] = line
        yield uid, row
