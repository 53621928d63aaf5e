"""Tables of any kind hold what was written into them, and no bytes raise anything but UserError."""

from __future__ import annotations

import csv
import json
from collections.abc import Sequence
from contextlib import suppress
from functools import partial
from pathlib import Path

import pyarrow as pa
import pyarrow.parquet as pq
import pytest
from hypothesis import given
from hypothesis import strategies as st

from ingest import report_columns
from ingest.report_tables import SEPARATORS, Record, open_table
from ingest.reports import labels_in, reports_in
from study.errors import UserError
from study.ingest_sections import Columns

NAMES = ("StudyInstanceUID", "report")
KNOWN = partial(report_columns.known_names, columns=Columns())
cells = st.text(st.characters(codec="utf-8", exclude_characters="\0"), max_size=12)
tables = st.lists(st.tuples(cells, cells), min_size=1, max_size=5)


def plain(row: Sequence[str]) -> tuple[str, ...]:
    return tuple(c.replace("\r\n", "\n").replace("\r", "\n").strip() for c in row)


def read(file: Path) -> list[Record]:
    table = open_table("ingest.reports", str(file), KNOWN)
    assert set(NAMES) <= set(table.names)
    return list(table.records(NAMES))


@given(tables, st.sampled_from(SEPARATORS), st.sampled_from(["utf-8", "utf-8-sig", "utf-16"]))
def test_separated_values_come_back(
    tmp_path_factory: pytest.TempPathFactory,
    rows: list[tuple[str, str]],
    separator: str,
    encoding: str,
) -> None:
    file = tmp_path_factory.mktemp("x") / "a.csv"
    with file.open("w", encoding=encoding, newline="") as stream:
        csv.writer(stream, delimiter=separator, quoting=csv.QUOTE_ALL).writerows([NAMES, *rows])
    found = read(file)
    assert [record.cells for record in found] == [plain(row) for row in rows]
    assert not [record for record in found if record.fault]
    lines = [record.line for record in found]
    assert lines == sorted(set(lines))


@given(tables)
def test_json_lines_and_parquet_come_back(
    tmp_path_factory: pytest.TempPathFactory, rows: list[tuple[str, str]]
) -> None:
    folder = tmp_path_factory.mktemp("x")
    named = [dict(zip(NAMES, row, strict=True)) for row in rows]
    for ascii_only in (True, False):
        lines = [json.dumps(row, ensure_ascii=ascii_only) for row in named]
        (folder / "a.jsonl").write_text("\n".join(lines) + "\n", encoding="utf-8", newline="")
        found = read(folder / "a.jsonl")
        assert [record.cells for record in found] == [plain(row) for row in rows]
        assert [record.line for record in found] == list(range(1, len(rows) + 1))
    pq.write_table(pa.Table.from_pylist(named), folder / "a.parquet")
    assert [record.cells for record in read(folder / "a.parquet")] == [plain(row) for row in rows]


HEADS = (
    b"",
    b"StudyInstanceUID,report\n1.2,ok\n",
    b'{"study_uid": "1"}\n',
    b'{"study_uid": "1", "report": "\\udc80"}\n',
    b"PAR1",
    b"\xff\xfe",
)
NOISE = (b",", b'"', b"\n", b"\r", b"\0", b"\xff", b"a", b"{", b"}", b":", b"\\ud800", "é".encode())


@given(
    st.sampled_from(HEADS),
    st.lists(st.sampled_from(NOISE), max_size=60).map(b"".join) | st.binary(max_size=80),
    st.sampled_from(["a.csv", "a.jsonl", "a.csv.gz", "a"]),
)
def test_any_bytes_are_rows_or_the_users_error(
    tmp_path_factory: pytest.TempPathFactory, head: bytes, rest: bytes, name: str
) -> None:
    file = tmp_path_factory.mktemp("x") / name
    file.write_bytes(head + rest)
    for rows in (reports_in, labels_in):
        with suppress(UserError):
            for row in rows([str(file)], Columns()):
                assert row.line > 0
                assert row.fault or any(row.key)
                row.value.encode()  # no surrogates are left
                assert "\0" not in row.value


@pytest.mark.parametrize("rows", [1, 3, 5000])
def test_parquet_rows_are_numbered_across_batches(tmp_path: Path, rows: int) -> None:
    table = {"study_uid": range(rows), "text": [None] * rows, "odd": [b"x"] * rows}
    pq.write_table(pa.table({k: list(v) for k, v in table.items()}), tmp_path / "a.parquet")
    found = list(reports_in([str(tmp_path / "a.parquet")], Columns()))
    assert [(row.line, row.key.study_uid) for row in found] == [
        (n + 1, str(n)) for n in range(rows)
    ]


def test_a_quote_that_is_not_closed_is_not_read_for_ever(tmp_path: Path) -> None:
    limit = csv.field_size_limit(1000)
    try:
        file = tmp_path / "a.csv"
        file.write_text('study_uid,report\n1.1,a\n1.2,"b\n' + "1.3,c\n" * 1000)
        with pytest.raises(UserError, match="row that begins on line 3 is not closed"):
            list(reports_in([str(file)], Columns()))
    finally:
        csv.field_size_limit(limit)
