"""Reports and labels -> rows, one at a time: whose they are, where they stand, what they say.

In: the files and folders named in the configuration. Out: `Row`s in a fixed order. What is wrong
with a row is said in it, and it is listed with all others (see `report_join`); a file that is no
table, or whose columns are not known, is a UserError. `decode` reads the bytes of a report.
"""

from __future__ import annotations

import json
import re
from collections.abc import Callable, Iterator, Sequence
from functools import partial
from pathlib import Path
from typing import NamedTuple

from ingest import report_columns, report_files, report_sr, report_tables
from ingest.allowlist import is_label_name
from ingest.place import Place
from ingest.report_columns import Taken
from ingest.report_files import Key, Source
from ingest.report_text import decode as decode
from ingest.supervise import USUAL_LIMITS, Limits
from study.errors import UserError
from study.ingest_sections import Columns

REPORTS_KEY, LABELS_KEY = "ingest.reports", "ingest.labels"
"""Settings, as errors name them."""
NOTHING = frozenset({"null", "nan", "none", "n/a", "na", "nil", "\\n"})
"""Whole cells by which databases and pandas say that there is nothing."""
ROUNDED = re.compile(r"\d[.,]\d+E\+\d+")
"""What spreadsheets make of long numbers."""
LARGEST_TEXT = 1 << 24
"""Bytes of a text file that is one report."""


class Row(NamedTuple):
    """One report, or the labels of one study, as a table has it."""

    file: str
    line: int
    """From 1; 0: the file is one report."""
    key: Key
    value: str = ""
    """Of reports: the text; of labels: JSON. Empty: nothing is said."""
    fault: str = ""
    """Why the row cannot be used."""


def reports_in(
    paths: Sequence[str],
    columns: Columns,
    limits: Limits = USUAL_LIMITS,
    *,
    only_tables: bool = False,
) -> Iterator[Row]:
    """A row for every report. Raises UserError: a file is missing, is no table, or has no row that
    can be used; columns are not known or could be several. `only_tables` leaves out files that are
    one report each: what is wrong with one of them never ends a run."""
    for source in report_files.sources(REPORTS_KEY, paths):
        if source.kind == report_files.TABLE:
            yield from _table_rows(REPORTS_KEY, source.file, columns, _report_columns, _report)
        elif only_tables:
            continue
        elif source.kind == report_files.TEXT:
            with report_tables.faults_named(REPORTS_KEY, source.file):
                row = _text_row(source, columns)
            yield row
        elif source.kind == report_files.SR:
            with report_tables.faults_named(REPORTS_KEY, source.file):
                row = _sr_row(source, limits)
            yield row
        else:
            yield Row(source.file, 0, Key(), fault="no table, text file or DICOM SR document")


def labels_in(paths: Sequence[str], columns: Columns) -> Iterator[Row]:
    """A row for every row of the tables of labels; empty cells are unknown and left out. Raises
    UserError as `reports_in`, and for a column whose name could not stand in a dataset."""
    for source in report_files.sources(LABELS_KEY, paths):
        if source.kind == report_files.TABLE:
            yield from _table_rows(LABELS_KEY, source.file, columns, _label_columns, _labels)
        else:
            yield Row(source.file, 0, Key(), fault="no table")


def columns_taken(reports: Sequence[str], labels: Sequence[str], columns: Columns) -> list[str]:
    """For people: which columns of each table were taken for what, where that was guessed. Raises
    UserError as the rows do."""
    found: dict[str, list[str]] = {}
    for key, paths, choose, what in (
        (REPORTS_KEY, reports, _report_columns, "text is"),
        (LABELS_KEY, labels, _label_columns, "labels are"),
    ):
        for source in report_files.sources(key, paths):
            if source.kind == report_files.TABLE:
                taken = choose(key, source.file, _open(key, source.file, columns).names, columns)
                if taken.guessed:
                    found.setdefault(f"{key}: {taken.words(what)}", []).append(source.file)
    return [f"{words} (guessed, in {_files(files)})" for words, files in found.items()]


def _files(files: Sequence[str]) -> str:
    return files[0] if len(files) == 1 else f"{files[0]} and {len(files) - 1} more"


# ------------------------------------------------------------------------------- tables

Choose = Callable[[str, str, Sequence[str], Columns], Taken]
Meaning = Callable[[Taken, Sequence[str]], str]
"""What the cells of the values say, as the value of a row; ValueError: why they cannot be used."""


def _open(key: str, file: str, columns: Columns) -> report_tables.Table:
    return report_tables.open_table(key, file, partial(report_columns.known_names, columns=columns))


def _table_rows(
    key: str, file: str, columns: Columns, choose: Choose, meaning: Meaning
) -> Iterator[Row]:
    table = _open(key, file, columns)
    taken = choose(key, file, table.names, columns)
    names, is_any_good, first = taken.names, False, ""
    places = [names.index(name) for name in taken.values]
    for record in table.records(names):
        if record.fault:
            row = Row(file, record.line, Key(), fault=record.fault)
        else:
            cells = dict(zip(names, record.cells, strict=True))
            of_study, fault = _key(taken, cells, columns.pattern)
            value = ""
            if not fault:
                try:
                    value = meaning(taken, [record.cells[place] for place in places])
                except ValueError as error:
                    fault = str(error)
            row = Row(file, record.line, of_study, value, fault)
        is_any_good = is_any_good or not row.fault
        first = first or (f"line {row.line}: {row.fault}" if row.fault else "")
        yield row
    if first and not is_any_good:
        raise UserError(f"{key}: {file} has no row that can be used; {first}")


def _key(taken: Taken, cells: dict[str, str], pattern: str) -> tuple[Key, str]:
    """What a row says of its study, and what is wrong with that."""
    said = {
        role: _cell(cells.get(getattr(taken, role), ""))
        for role in ("accession", "patient", "issuer")
    }
    study = _cell(cells.get(taken.study_uid, ""))
    spoiled = next((cell for cell in (study, *said.values()) if ROUNDED.fullmatch(cell)), "")
    if spoiled:
        return Key(), f"{spoiled!r} is a rounded number: a spreadsheet has spoiled it"
    if study and pattern:
        found = report_files.key_in_pattern(study, pattern)
        return found, "" if any(found) else f"{study!r} does not match ingest.columns.pattern"
    if study:
        return Key(study_uid=study), ""
    if said["accession"] and said["patient"]:
        return Key(**said), ""
    empty = [getattr(taken, r) for r in ("study_uid", "accession", "patient") if getattr(taken, r)]
    return Key(**said), f"{' or '.join(empty)} is empty"


def _cell(text: str) -> str:
    text = text.strip()
    return "" if text.casefold() in NOTHING else text


def _report_columns(key: str, file: str, found: Sequence[str], columns: Columns) -> Taken:
    return report_columns.text_columns(key, file, found, columns)


def _report(taken: Taken, cells: Sequence[str]) -> str:
    """The texts of a row as one, each under its heading where there are several columns."""
    texts = [_cell(cell) for cell in cells]
    if len(taken.values) == 1:
        return texts[0]
    named = zip(map(report_columns.heading, taken.values), texts, strict=True)
    return "\n\n".join(f"{name}:\n{text}" for name, text in named if text)


def _label_columns(key: str, file: str, found: Sequence[str], columns: Columns) -> Taken:
    taken = report_columns.label_columns(key, file, found, columns)
    for name in taken.values:
        if not is_label_name(name):
            raise UserError(
                f"{key}: {file}: column {name!r} cannot be the name of a label: a letter "
                "first, then letters, digits, spaces and ()/.,+&:*%'-, no five digits in a row"
            )
    return taken


def _labels(taken: Taken, cells: Sequence[str]) -> str:
    labels = {}
    for name, cell in zip(taken.values, map(_cell, cells), strict=True):
        if not cell:
            continue
        try:
            value = float(cell)
        except ValueError:
            value = -1.0
        if not 0.0 <= value <= 1.0:
            raise ValueError(f"{name}={cell[:40]!r} is not from 0 to 1")
        labels[name] = value
    return json.dumps(labels) if labels else ""


# ------------------------------------------------------------------------------- files


def _text_row(source: Source, columns: Columns) -> Row:
    of_study = report_files.key_in_name(source.name, columns.pattern)
    if not any(of_study):
        fault = f"{source.name!r} does not match ingest.columns.pattern"
        return Row(source.file, 0, of_study, fault=fault)
    try:
        if Path(source.file).stat().st_size > LARGEST_TEXT:
            return Row(source.file, 0, of_study, fault=f"more than {LARGEST_TEXT} bytes")
        text = decode(Path(source.file).read_bytes())
    except report_sr.NO_FILE as error:
        return Row(source.file, 0, of_study, fault=error.strerror or type(error).__name__)
    return Row(source.file, 0, of_study, text.strip())


def _sr_row(source: Source, limits: Limits) -> Row:
    found = report_sr.read_documents([Place(source.file)], limits)[0]
    fault = found.fault or ("" if found.study_uid else "it has no StudyInstanceUID")
    return Row(source.file, 0, Key(found.study_uid), found.text, fault)
