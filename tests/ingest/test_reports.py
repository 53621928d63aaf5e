from __future__ import annotations

from pathlib import Path

import pytest

from ingest import reports
from ingest.reports import encoding_of, join_counts, labels_in, reports_in
from study.errors import UserError
from study.ingest_sections import Columns

COLUMNS = Columns()


def test_reports_join_on_the_study_uid(tmp_path: Path) -> None:
    file = tmp_path / "reports.csv"
    file.write_text('StudyInstanceUID,x,report\n1.2,a,"FINDINGS:\nNo bleed, none."\n1.3,b,\n')
    found = dict(reports_in(str(file), COLUMNS))
    assert found == {"1.2": "FINDINGS:\nNo bleed, none.", "1.3": ""}
    counts = join_counts(found, ["1.2", "1.3", "1.4"], ["1.2", "1.3"])
    assert (counts.rows, counts.joined, counts.surplus, counts.missing) == (2, 1, 0, 1)


@pytest.mark.parametrize(
    ("content", "message"),
    [
        (b"StudyInstanceUID,text\n1,x\n", r"no column 'report'; it has StudyInstanceUID, text"),
        (b"uid,report\n1,x\n", r"no column 'StudyInstanceUID'"),
        (b"", r"no column .*it has none"),
        (b"StudyInstanceUID,report\n1.2,x\n1.2,y\n", r"line 3: study 1.2 was on line 2 already"),
        (b"StudyInstanceUID,report\n,x\n", r"line 2: StudyInstanceUID is empty"),
        (b"StudyInstanceUID,report\n1.2,\x81\x00\xff\n", r"not text in UTF-8"),
        (b"StudyInstanceUID,report\n1.2,No bleed, but a mass.\n", r"line 2: not 2 cells"),
        (b'StudyInstanceUID,report\n1.2,"No bleed.\n1.3,Mass.\n', r"unexpected end of data"),
        (b"StudyInstanceUID,report,report\n1.2,a,b\n", r"two columns 'report'"),
    ],
)
def test_broken_tables_name_file_and_line(tmp_path: Path, content: bytes, message: str) -> None:
    file = tmp_path / "reports.csv"
    file.write_bytes(content)
    with pytest.raises(UserError, match=message) as error:
        dict(reports_in(str(file), COLUMNS))
    assert str(file) in str(error.value)


def test_a_missing_table(tmp_path: Path) -> None:
    with pytest.raises(UserError, match="does not exist"):
        dict(reports_in(str(tmp_path / "none.csv"), COLUMNS))


@pytest.mark.parametrize("chunk", [1, 3, 1 << 20])
@pytest.mark.parametrize("encoding", ["utf-8", "utf-8-sig", "utf-16", "cp1252"])
def test_encodings(
    tmp_path: Path, encoding: str, chunk: int, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(reports, "CHUNK", chunk)
    file = tmp_path / "reports.csv"
    file.write_bytes("StudyInstanceUID,report\n1.2,L\u00e4sion 5 \u00b5m\n".encode(encoding))
    assert encoding_of(str(file)).removesuffix("-sig") == encoding.removesuffix("-sig")
    assert dict(reports_in(str(file), COLUMNS)) == {"1.2": "L\u00e4sion 5 \u00b5m"}


def test_labels_are_numbers_and_empty_cells_unknown(tmp_path: Path) -> None:
    file = tmp_path / "labels.csv"
    file.write_text("StudyInstanceUID,mass,bleed\n1.2,1,\n1.3,0,0.5\n")
    assert dict(labels_in(str(file), COLUMNS)) == {
        "1.2": {"mass": 1.0},
        "1.3": {"mass": 0.0, "bleed": 0.5},
    }
    file.write_text("StudyInstanceUID,mass\n1.2,yes\n")
    with pytest.raises(UserError, match=r"mass='yes' of study 1.2"):
        dict(labels_in(str(file), COLUMNS))
