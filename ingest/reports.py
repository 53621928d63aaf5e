"""Tables of reports and of labels -> texts and labels by StudyInstanceUID.

In: CSV files named in the configuration. Out: mappings, and counts of what did not join: nothing is
dropped in silence. Rows join on StudyInstanceUID alone: accession numbers collide between patients
in public data.
"""

from __future__ import annotations

import csv
import io
from collections.abc import Iterable, Mapping
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any

from ingest.allowlist import is_label_name
from study.errors import UserError
from study.sections import Columns

csv.field_size_limit(1 << 26)


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

    def as_json(self) -> dict[str, Any]:
        return asdict(self)


def decode(data: bytes) -> str:
    """Text of a file: UTF-8 (with or without a mark), UTF-16 with a mark, else Windows-1252.

    Raises ValueError for bytes that are no text (NULs, undefined characters).
    """
    if data.startswith((b"\xff\xfe", b"\xfe\xff")):
        return data.decode("utf-16")
    try:
        text = data.decode("utf-8-sig")
    except UnicodeDecodeError:
        text = data.decode("cp1252")
    if "\0" in text:
        raise ValueError("holds NUL bytes")
    return text


def load_reports(file: str, columns: Columns) -> dict[str, str]:
    """StudyInstanceUID -> report text. Raises UserError: missing file or column, bad encoding, two
    rows for a study."""
    rows = _rows("ingest.reports", file, (columns.study_uid, columns.text))
    return {
        uid: row[columns.text] or ""
        for uid, row in _by_study("ingest.reports", file, rows, columns).items()
    }


def load_labels(file: str, columns: Columns) -> dict[str, dict[str, float]]:
    """StudyInstanceUID -> label -> value in 0..1; empty cells are unknown and left out. Raises
    UserError, also for a column whose name could not stand in a dataset."""
    rows = _rows("ingest.labels", file, (columns.study_uid,))
    for name in rows[0][1] if rows else ():
        if name != columns.study_uid and not is_label_name(name):
            raise UserError(
                f"ingest.labels: {file}: column {name!r} cannot be the name of a label: a letter "
                "first, then letters, digits, spaces and ()/.,+&:*%'-, no five digits in a row"
            )
    labels: dict[str, dict[str, float]] = {}
    for uid, row in _by_study("ingest.labels", file, rows, columns).items():
        labels[uid] = {}
        for name, text in row.items():
            if name == columns.study_uid or not (text or "").strip():
                continue
            try:
                value = float(text)
            except ValueError:
                value = -1.0
            if not 0.0 <= value <= 1.0:
                raise UserError(
                    f"ingest.labels: {file}: {name}={text!r} of study {uid} is not from 0 to 1"
                )
            labels[uid][name] = value
    return labels


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


def _rows(key: str, file: str, required: tuple[str, ...]) -> list[tuple[int, dict[str, str]]]:
    """(line number, row) of a CSV file."""
    try:
        text = decode(Path(file).read_bytes())
    except FileNotFoundError:
        raise UserError(f"{key}: {file} does not exist") from None
    except OSError as error:
        raise UserError(f"{key}: cannot read {file}: {error.strerror}") from None
    except ValueError as error:
        raise UserError(
            f"{key}: {file} is not text in UTF-8, UTF-16 or Windows-1252: {error}"
        ) from None
    reader = csv.DictReader(io.StringIO(text, newline=""), strict=True)
    try:
        found = list(reader.fieldnames or [])
    except csv.Error as error:
        raise UserError(f"{key}: {file}, line 1: {error}") from None
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
    rows = []
    try:
        for row in reader:
            if None in row or None in row.values():
                raise UserError(
                    f"{key}: {file}, line {reader.line_num}: not {len(found)} cells as in the "
                    "header; put texts with commas into double quotes"
                )
            rows.append((reader.line_num, row))
        return rows
    except csv.Error as error:
        raise UserError(f"{key}: {file}, line {reader.line_num}: {error}") from None


def _by_study(
    key: str, file: str, rows: list[tuple[int, dict[str, str]]], columns: Columns
) -> dict[str, dict[str, str]]:
    by_study: dict[str, dict[str, str]] = {}
    first_line: dict[str, int] = {}
    for line, row in rows:
        uid = (row[columns.study_uid] or "").strip()
        if not uid:
            raise UserError(f"{key}: {file}, line {line}: {columns.study_uid} is empty")
        if uid in by_study:
            raise UserError(
                f"{key}: {file}, line {line}: study {uid} was on line {first_line[uid]} already"
            )
        by_study[uid], first_line[uid] = row, line
    return by_study
