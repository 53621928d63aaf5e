"""A table of any kind -> its records, in order, whatever is wrong with some of them.

In: a file of comma-, semicolon-, tab- or bar-separated values, of Parquet, or of JSON lines (texts
also gzipped). Out: names of its columns, and `Record`s as they are read: a million reports are
gigabytes. What is wrong with one record is said in it; what is wrong with the file is a UserError.
Cells that are no UTF-8 are decoded by themselves, since exports of several systems get joined.
"""

from __future__ import annotations

import csv
import gzip
import io
import json
import re
import zlib
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager, suppress
from functools import partial
from pathlib import Path
from typing import IO, Any, NamedTuple, cast

import pyarrow as pa
import pyarrow.parquet as pq

from ingest.report_text import decode, detect
from study.errors import UserError

csv.field_size_limit(1 << 26)
"""Characters of a cell: what is longer follows a quote that nobody closed."""
SEPARATORS = (",", ";", "\t", "|")
HEAD_BYTES = 1 << 20
"""Looked at to find out the encoding and the separator."""
BATCH_ROWS = 4096
"""Of a Parquet file at a time."""
NAMES_FROM = 1000
"""Lines of a JSON file in which the names of its columns are looked for."""
FRAMES = {
    b"PK\x03\x04": "an archive or a workbook",
    b"%PDF": "a PDF",
    b"\xd0\xcf\x11\xe0": "Excel's",
}
SURROGATE = re.compile("[\udc80-\udcff]")
"""A byte that was no UTF-8, as `surrogateescape` reads it."""
JSON_ARRAY = re.compile(r"[\ufeff\s]*\[\s*\{")
EXCEL_HINT = re.compile(r"sep=(.)\r?\n?")
"""First line by which Excel is told the separator."""


class Record(NamedTuple):
    """One row of a table."""

    line: int
    """Where it begins, from 1; of Parquet: its number."""
    cells: tuple[str, ...] = ()
    """Of the columns that were asked for, in their order."""
    fault: str = ""
    """Why it cannot be used; it then has no cells."""


class Table(NamedTuple):
    """Names of the columns, and a function from some of them to the records."""

    names: tuple[str, ...]
    records: Callable[[Sequence[str]], Iterator[Record]]


def open_table(key: str, file: str, known: Callable[[Sequence[str]], int]) -> Table:
    """The table in a file. `known` counts the names that mean something, which tells separators
    apart. Raises UserError, also while records are read, for a file that is none."""
    with faults_named(key, file):
        with Path(file).open("rb") as stream:
            start = stream.read(4)
        if start == b"PAR1":
            return _parquet(key, file)
        if start in FRAMES:
            raise UserError(f"{key}: {file} is {FRAMES[start]}, no table; save it as CSV (UTF-8)")
        text = _Text.of(file)
        if JSON_ARRAY.match(text.head):
            raise UserError(f"{key}: {file} is one JSON array; write one object a line")
        if text.head.lstrip("\ufeff \t\r\n").startswith("{"):
            return _json_lines(key, file, text)
        return _separated(key, file, text, known)


@contextmanager
def faults_named(key: str, file: str) -> Iterator[None]:
    """Say which setting's file it is that cannot be read."""
    try:
        yield
    except FileNotFoundError:
        raise UserError(f"{key}: {file} does not exist") from None
    except (UnicodeError, EOFError, zlib.error, gzip.BadGzipFile, pa.ArrowException) as error:
        raise UserError(f"{key}: {file} is damaged: {error}") from None
    except OSError as error:
        raise UserError(f"{key}: cannot read {file}: {error.strerror or error}") from None


# ------------------------------------------------------------------------------- text


class _Text(NamedTuple):
    """A text file and how it is read."""

    file: str
    encoding: str
    legacy: str
    """How cells that are no UTF-8 are read; empty: each is looked at by itself."""
    head: str

    @staticmethod
    def of(file: str) -> _Text:
        with _binary(file) as stream:
            head = stream.read(HEAD_BYTES)
        found = detect(head)
        is_own = found.startswith(("utf-16", "utf-32", "iso2022"))
        encoding, legacy = (found, "") if is_own else ("utf-8-sig", found)
        text = head.decode(encoding, "ignore" if is_own else "surrogateescape")
        return _Text(file, encoding, "" if legacy.startswith("utf-8") else legacy, text)

    def open(self) -> IO[str]:
        errors = "surrogateescape" if self.encoding == "utf-8-sig" else "strict"
        return io.TextIOWrapper(
            _binary(self.file), encoding=self.encoding, errors=errors, newline=""
        )

    def cell(self, value: str) -> str:
        """A cell as text: no surrogates, no NULs, plain line ends."""
        if not SURROGATE.search(value):
            return value.replace("\0", "").replace("\r\n", "\n").replace("\r", "\n").strip()
        data = value.encode("utf-8", "surrogateescape")
        if self.legacy:
            with suppress(UnicodeDecodeError):  # of another system than most
                data = data.decode(self.legacy).encode()
        return decode(data).strip()


def _binary(file: str) -> IO[bytes]:
    return cast(IO[bytes], gzip.open(file)) if file.endswith(".gz") else open(file, "rb")


def _separated(key: str, file: str, text: _Text, known: Callable[[Sequence[str]], int]) -> Table:
    hint = EXCEL_HINT.match(text.head)
    start = text.head[hint.end() :] if hint else text.head
    if hint:
        separator = hint[1]
        found = _header(start, separator)
    else:
        headers = {separator: _header(start, separator) for separator in SEPARATORS}
        separator = max(SEPARATORS, key=lambda s: (known(headers[s]), len(headers[s])))
        found = headers[separator]
    if "\0" in "".join(found):
        raise UserError(f"{key}: {file} is not text: its first line holds NUL bytes")
    names = tuple(text.cell(name) for name in found)
    return Table(names, partial(_separated_records, key, text, separator, bool(hint), names))


def _header(start: str, separator: str) -> list[str]:
    """Cells of the first row that has any, as far as it can be read."""
    reader = csv.reader(io.StringIO(start, newline=""), delimiter=separator)
    try:
        return next((cells for cells in reader if cells), [])
    except csv.Error:
        return []


def _separated_records(
    key: str,
    text: _Text,
    separator: str,
    has_hint: bool,
    names: tuple[str, ...],
    wanted: Sequence[str],
) -> Iterator[Record]:
    places = [names.index(name) for name in wanted]
    with faults_named(key, text.file), text.open() as stream:
        if has_hint:
            stream.readline()
        reader = csv.reader(stream, delimiter=separator, strict=True)
        is_header = True
        while True:
            line = reader.line_num + 1 + has_hint
            try:
                cells = next(reader)
            except StopIteration:
                return
            except csv.Error as error:
                if "unexpected end" in str(error) or "field limit" in str(error):
                    raise UserError(
                        f"{key}: {text.file}: the quote of the row that begins on line {line} is "
                        "not closed"
                    ) from None
                yield Record(line, fault=f"the quotes are wrong: {error}")
                continue
            if not cells:
                continue
            if is_header:
                is_header = False
            elif len(cells) != len(names):
                yield Record(
                    line,
                    fault=f"not {len(names)} cells as in the header, but {len(cells)}; texts with "
                    f"{separator!r} need double quotes",
                )
            else:
                yield Record(line, tuple(text.cell(cells[place]) for place in places))


def _json_lines(key: str, file: str, text: _Text) -> Table:
    names: dict[str, None] = {}
    with faults_named(key, file), text.open() as stream:
        for number, line in enumerate(stream):
            if number >= NAMES_FROM:
                break
            found = _object(text.cell(line))
            names.update(dict.fromkeys(found if isinstance(found, dict) else ()))
    if not names:
        raise UserError(f"{key}: {file} has no JSON object in its first {NAMES_FROM} lines")
    return Table(tuple(names), partial(_json_records, key, text))


def _json_records(key: str, text: _Text, wanted: Sequence[str]) -> Iterator[Record]:
    with faults_named(key, text.file), text.open() as stream:
        for number, line in enumerate(stream, start=1):
            if not line.strip():
                continue
            found = _object(text.cell(line))
            if isinstance(found, dict):
                yield Record(number, tuple(cell_text(found.get(name)) for name in wanted))
            else:
                yield Record(number, fault=found)


def _object(line: str) -> dict[str, Any] | str:
    """A line of JSON; what is wrong with it, where something is."""
    try:
        found = json.loads(line)
    except (ValueError, RecursionError) as error:
        return f"not JSON: {error}"
    return found if isinstance(found, dict) else "not a JSON object"


# ------------------------------------------------------------------------------- Parquet


def _parquet(key: str, file: str) -> Table:
    with pq.ParquetFile(file) as table:
        names = tuple(table.schema_arrow.names)
    return Table(names, partial(_parquet_records, key, file))


def _parquet_records(key: str, file: str, wanted: Sequence[str]) -> Iterator[Record]:
    number = 0
    with faults_named(key, file), pq.ParquetFile(file) as table:
        for batch in table.iter_batches(BATCH_ROWS, columns=list(wanted), use_threads=False):
            columns = [batch.column(name).to_pylist() for name in wanted]
            for cells in zip(*columns, strict=True):
                number += 1
                yield Record(number, tuple(map(cell_text, cells)))


def cell_text(value: Any) -> str:
    """A value of JSON or Parquet as text; lists (of sentences) line by line.

    >>> cell_text(7.0), cell_text(None), cell_text(["No bleed.", "A mass."])
    ('7', '', 'No bleed.\\nA mass.')
    """
    if value is None or value != value:
        return ""  # the second: NaN, pandas' word for nothing
    if isinstance(value, bytes):
        return decode(value).strip()
    if isinstance(value, float) and value.is_integer():
        return str(int(value))  # a column of numbers with holes in it
    if isinstance(value, bool):
        return str(int(value))
    if isinstance(value, list):
        return "\n".join(map(cell_text, value))
    text = (value if isinstance(value, str) else str(value)).encode("utf-8", "replace").decode()
    return text.replace("\0", "").replace("\r\n", "\n").replace("\r", "\n").strip()
