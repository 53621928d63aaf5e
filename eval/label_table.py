"""A CSV or Parquet file with a row a study -> its labels by study.

In: a file, and which columns are what where that is not plain. Out: `LabelTable`. Columns of labels
hold numbers from 0 to 1, or nothing where a label is unknown; what else a table has (paths, ages,
splits) is left out and named.
"""

from __future__ import annotations

import difflib
import math
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path

import pyarrow as pa
import pyarrow.csv as pa_csv
import pyarrow.parquet as pq

from study.errors import UserError

ENDINGS = (".csv", ".parquet")


@dataclass(frozen=True)
class LabelTable:
    """Labels of studies."""

    file: Path
    key: str
    """The column that names the study."""
    rows: Mapping[str, Mapping[str, float]]
    """Study -> label -> value; what is unknown is left out."""
    patients: Mapping[str, str]
    """Study -> whose it is; empty where no column was named."""
    left_out: tuple[str, ...]
    """Columns that hold something else."""


def read_label_tables(
    table: Path,
    reference: Path,
    *,
    key: str = "",
    patient: str = "",
    labels: Sequence[str] = (),
) -> tuple[LabelTable, LabelTable]:
    """The two tables of an agreement. Without `key` it is the first column of the reference that
    both have; `patient` is a column of either; without `labels` all columns that both have and that
    hold labels. Raises UserError: no such file or column, a study twice, a value that is none."""
    files = [(file, _read(file)) for file in (table, reference)]
    ours, theirs = (found.column_names for _, found in files)
    if not key:
        key = next((name for name in theirs if name in ours), "")
        if not key:
            raise UserError(
                f"{table} and {reference} have no column in common, so that no study of one can be "
                f"found in the other: one has {_few(ours)}; the other {_few(theirs)}"
            )
    wanted = tuple(labels)
    for file, found in files:
        for name in (key, *wanted):
            if name not in found.column_names:
                raise UserError(_no_column(file, name, found.column_names))
    if patient and patient not in {*ours, *theirs}:
        raise UserError(_no_column(reference, patient, theirs))
    first, second = (_labels(file, found, key, patient, wanted) for file, found in files)
    return first, second


def _read(file: Path) -> pa.Table:
    if file.suffix not in ENDINGS:
        raise UserError(f"{file}: the ending must be {' or '.join(ENDINGS)}")
    try:
        if file.suffix == ".parquet":
            return pq.read_table(file)
        with pa_csv.open_csv(file) as head:
            names = head.schema.names
        as_text = pa_csv.ConvertOptions(
            column_types=dict.fromkeys(names, pa.string()), strings_can_be_null=True
        )
        return pa_csv.read_csv(file, convert_options=as_text)
    except (OSError, pa.ArrowException) as error:
        raise UserError(f"{file} cannot be read: {error}") from None


def _labels(
    file: Path, table: pa.Table, key: str, patient: str, wanted: tuple[str, ...]
) -> LabelTable:
    repeated = next((n for n in table.column_names if table.column_names.count(n) > 1), None)
    if repeated is not None:
        raise UserError(f"{file}: two columns have the name {repeated!r}")
    keys = _texts(table, key)
    seen: set[str] = set()
    for number, name in enumerate(keys, start=1):
        if not name:
            raise UserError(f"{file}: {key} of row {number} is empty")
        if name in seen:
            raise UserError(f"{file}: {key} {name} comes more than once")
        seen.add(name)
    patients = {}
    if patient in table.column_names:
        patients = dict(zip(keys, _texts(table, patient), strict=True))
    rows: dict[str, dict[str, float]] = {name: {} for name in keys}
    left_out = []
    for column in wanted or [n for n in table.column_names if n not in (key, patient)]:
        try:
            values = [_value(cell) for cell in table[column].to_pylist()]
        except ValueError as error:
            if wanted:
                raise UserError(f"{file}: column {column!r}: {error}") from None
            left_out.append(column)
            continue
        for name, value in zip(keys, values, strict=True):
            if value is not None:
                rows[name][column] = value
    return LabelTable(file, key, rows, patients, tuple(left_out))


def _texts(table: pa.Table, column: str) -> list[str]:
    return ["" if cell is None else str(cell).strip() for cell in table[column].to_pylist()]


def _value(cell: object) -> float | None:
    """The value of a label; ValueError for what is none."""
    if cell is None or (isinstance(cell, str) and not cell.strip()):
        return None
    try:
        value = float(cell)  # type: ignore[arg-type]  # a TypeError is answered
    except (TypeError, ValueError):
        raise ValueError(f"{str(cell)[:40]!r} is not a number from 0 to 1") from None
    if math.isnan(value):
        return None
    if not 0.0 <= value <= 1.0:
        raise ValueError(f"{cell} is not a number from 0 to 1")
    return value


def _no_column(file: Path, name: str, names: Sequence[str]) -> str:
    close = difflib.get_close_matches(name, names, n=1, cutoff=0.5)
    hint = f"; did you mean {close[0]!r}?" if close else ""
    return f"{file}: there is no column {name!r}{hint} (it has {_few(names)})"


def _few(names: Sequence[str]) -> str:
    return ", ".join(names[:8]) + (", ..." if len(names) > 8 else "")
