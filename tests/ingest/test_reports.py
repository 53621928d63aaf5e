"""Files and folders of reports and labels, read row by row."""

from __future__ import annotations

import gzip
import json
from pathlib import Path

import pyarrow as pa
import pyarrow.parquet as pq
import pytest

from ingest.report_files import Key
from ingest.reports import Row, columns_taken, decode, labels_in, reports_in
from study.errors import UserError
from study.ingest_sections import Columns

COLUMNS = Columns()


def rows(*paths: Path, **columns: object) -> list[Row]:
    return list(reports_in([str(p) for p in paths], Columns(**columns)))  # type: ignore[arg-type]


def texts(*paths: Path, **columns: object) -> dict[str, str]:
    found = rows(*paths, **columns)
    assert not [row.fault for row in found if row.fault]
    return {row.key.words(): row.value for row in found}


def test_reports_and_where_they_stand(tmp_path: Path) -> None:
    file = tmp_path / "reports.csv"
    file.write_text('StudyInstanceUID,x,report\n1.2,a,"FINDINGS:\nNo bleed, none."\n1.3,b,\n')
    assert rows(file) == [
        Row(str(file), 2, Key("1.2"), "FINDINGS:\nNo bleed, none."),
        Row(str(file), 4, Key("1.3"), ""),
    ]


def test_one_table_in_every_form_says_the_same(tmp_path: Path) -> None:
    wanted = {"1.2": "Läsion, 5 µm; a|b", "1.3": "Two\nlines", "1.4": ""}
    lines = ["StudyUID", "report"], *([uid, text] for uid, text in wanted.items())
    for suffix, separator in (("csv", ","), ("b.csv", ";"), ("tsv", "\t"), ("psv", "|")):
        body = "\n".join(separator.join(f'"{cell}"' for cell in line) for line in lines)
        (tmp_path / f"a.{suffix}").write_text(body + "\n")
    named = [{"StudyUID": uid, "report": text, "n": 1.0} for uid, text in wanted.items()]
    (tmp_path / "a.jsonl").write_text("".join(json.dumps(row) + "\n\n" for row in named))
    pq.write_table(pa.Table.from_pylist(named), tmp_path / "a.parquet")
    (tmp_path / "excel.csv").write_text(
        "sep=!\nStudyUID!report\n" + "".join(f'"{uid}"!"{text}"\n' for uid, text in wanted.items())
    )
    for file in tmp_path.iterdir():
        assert texts(file) == wanted, file
    (tmp_path / "again.csv.gz").write_bytes(gzip.compress((tmp_path / "a.csv").read_bytes()))
    assert texts(tmp_path / "again.csv.gz") == wanted
    assert len(rows(tmp_path)) == 3 * len(list(tmp_path.iterdir()))


@pytest.mark.parametrize("encoding", ["utf-8", "utf-8-sig", "utf-16", "utf-16-le", "cp1252"])
def test_encodings_of_tables(tmp_path: Path, encoding: str) -> None:
    text = "Läsion der Größe 5 µm, keine Blutung und kein Infarkt links"
    (tmp_path / "a.csv").write_bytes(f'uid,report\n1.2,"{text}"\n'.encode(encoding))
    (tmp_path / "a.jsonl").write_bytes(
        (json.dumps({"uid": "1.2", "report": text}, ensure_ascii=False) + "\n").encode(encoding)
    )
    for file in tmp_path.iterdir():
        assert texts(file, study_uid="uid") == {"1.2": text}


def test_systems_that_write_into_one_table_in_their_own_encodings(tmp_path: Path) -> None:
    file = tmp_path / "reports.csv"
    lines = ["StudyInstanceUID,report", "1.2,Läsion", "1.3,Größe", "1.4,façade", "1.5,norm\0al"]
    encodings = ["ascii", "utf-8", "cp1252", "utf-8", "ascii"]
    file.write_bytes(b"\n".join(t.encode(e) for t, e in zip(lines, encodings, strict=True)))
    assert list(texts(file).values()) == ["Läsion", "Größe", "façade", "normal"]


def test_a_row_that_cannot_be_read_is_said_and_the_others_are_read(tmp_path: Path) -> None:
    file = tmp_path / "reports.csv"
    file.write_text(
        "StudyInstanceUID,report\n1.1,fine\n1.2,No bleed, but a mass.\n"
        '1.3,"A "mass" there."\n,whose?\n\n1.5,fine too\nNULL,x\n1.2E+12,x\n'
    )
    found = rows(file)
    assert [(row.line, bool(row.fault)) for row in found] == [
        (2, False),
        (3, True),
        (4, True),
        (5, True),
        (7, False),
        (8, True),
        (9, True),
    ]
    assert "spreadsheet" in found[6].fault
    assert "not 2 cells" in found[1].fault
    assert "quotes" in found[2].fault
    assert "StudyInstanceUID is empty" in found[3].fault
    lines = tmp_path / "reports.jsonl"
    lines.write_text('{"StudyInstanceUID": "1.1", "report": "fine"}\n[1]\n{"report": \n')
    assert [row.fault[:8] for row in rows(lines)] == ["", "not a JS", "not JSON"]


@pytest.mark.parametrize(
    ("name", "content", "message"),
    [
        (
            "a.csv",
            b"StudyInstanceUID,words\n1,x\n",
            r"no column that is known to hold reports.*it h",
        ),
        ("a.csv", b"uid,report\n1,x\n", r"no column with the StudyInstanceUID"),
        ("a.csv", b"", r"it has none"),
        ("a.csv", b"StudyInstanceUID,report\n1.2,a,b\n", r"no row that can be used; line 2: not 2"),
        (
            "a.csv",
            b'StudyInstanceUID,report\n1.1,a\n1.2,"No\n1.3,b\n',
            r"row that begins on line 3",
        ),
        ("a.csv", b"StudyInstanceUID,report,report\n1.2,a,b\n", r"two columns 'report'"),
        (
            "a.csv",
            b"study_uid,StudyUID,report\n1,1,x\n",
            r"several.*: study_uid, StudyUID; say whi",
        ),
        (
            "a.csv",
            b"StudyUID,report,findings\n1,x,y\n",
            r"several.*: report, findings; say which in",
        ),
        ("a.csv", b"AccessionNumber,report\n1,x\n", r"without the patients' IDs"),
        ("a.csv", b"\x01\0\xff\0\0\xfe,report\n", r"not text: its first line|known to hold|it has"),
        ("a.xlsx", b"PK\x03\x04etc", r"a workbook, no table; save it as CSV"),
        ("a.json", b'[\n {"StudyUID": "1"}]', r"one JSON array; write one object a line"),
        ("a.parquet", b"PAR1broken", r"is damaged"),
        ("a.csv.gz", b"\x1f\x8bbroken", r"is damaged|cannot read"),
    ],
)
def test_what_is_no_table_is_refused(
    tmp_path: Path, name: str, content: bytes, message: str
) -> None:
    file = tmp_path / name
    file.write_bytes(content)
    with pytest.raises(UserError, match=message) as error:
        rows(file)
    assert str(error.value).startswith(f"ingest.reports: {file}")


def test_a_file_without_a_header_is_not_printed(tmp_path: Path) -> None:
    file = tmp_path / "a.csv"
    file.write_text(f"1.2.3,{'A secret. ' * 50}\n" * 3)
    with pytest.raises(UserError, match="known to hold reports") as error:
        rows(file)
    assert len(str(error.value)) < 400


def test_missing_files_and_empty_folders(tmp_path: Path) -> None:
    with pytest.raises(UserError, match="does not exist"):
        rows(tmp_path / "none.csv")
    with pytest.raises(UserError, match="holds no files"):
        rows(tmp_path)
    with pytest.raises(UserError, match="is a URL"):
        list(reports_in(["s3://bucket/reports.csv"], COLUMNS))


def test_columns_are_guessed_and_said(tmp_path: Path) -> None:
    file = tmp_path / "ctrate.csv"
    file.write_text(
        "VolumeName,Technique_EN,Findings_EN,Impressions_EN\n"
        "train_1_a_1.nii.gz,Thin slices,Lungs are clear.,Normal.\n"
        "train_1_a_2.nii.gz,Thin slices,Lungs are clear.,Normal.\n"
        "valid_7_b_1.nii.gz,Thin slices,,Nodule.\n"
        "odd,Thin slices,,Nodule.\n"
    )
    named = Columns(study_uid="VolumeName", pattern=r"(?P<study>[a-z]+_\d+_[a-z])_")
    found = list(reports_in([str(file)], named))
    assert [row.key.study_uid for row in found] == ["train_1_a", "train_1_a", "valid_7_b", ""]
    assert found[0].value == "FINDINGS:\nLungs are clear.\n\nIMPRESSION:\nNormal."
    assert found[2].value == "IMPRESSION:\nNodule."
    assert "does not match ingest.columns.pattern" in found[3].fault
    texts = "'Findings_EN' and 'Impressions_EN'"
    assert columns_taken([str(file)], [], named) == [
        f"ingest.reports: study_uid is 'VolumeName', text is {texts} (guessed, in {file})"
    ]
    all_said = named.model_copy(update={"text": ("Findings_EN",)})
    assert columns_taken([str(file)], [], all_said) == []
    assert next(iter(reports_in([str(file)], all_said))).value == "Lungs are clear."
    with pytest.raises(UserError, match=r"no column 'x' \(ingest.columns.text\); it has VolumeNa"):
        rows(file, study_uid="VolumeName", text="x")


def test_accession_numbers_join_with_their_patients(tmp_path: Path) -> None:
    file = tmp_path / "ris.tsv"
    file.write_text(
        "Accession Number\tMRN\tissuer\tStudy Instance UID\tReport Text\n"
        "A1\tP1\tH\t\tx\nA1\tP2\tnull\t\ty\nA1\t\t\t\tz\nA1\tP1\t\t1.2\tw\n"
    )
    found = rows(file)
    assert [row.key for row in found] == [
        Key("", "A1", "P1", "H"),
        Key("", "A1", "P2", ""),
        Key("", "A1", "", ""),
        Key("1.2"),
    ]
    assert found[2].fault == "Study Instance UID or Accession Number or MRN is empty"


def test_a_folder_of_texts(tmp_path: Path) -> None:
    folder = tmp_path / "texts"
    (folder / "1.2.840.7" / "x").mkdir(parents=True)
    (folder / "1.2.840.5.txt").write_bytes("Größe\r\n5 cm".encode("cp1252"))
    (folder / "1.2.840.7" / "x" / "report.txt").write_text("by its folder")
    (folder / "study9.TXT").write_text("")
    (folder / "_SUCCESS").write_text("")
    (folder / "picture.png").write_bytes(b"\x89PNG")
    found = {row.key.study_uid: row for row in rows(folder)}
    assert set(found) == {"1.2.840.5", "1.2.840.7", "study9", ""}
    assert found["1.2.840.5"].value == "Größe\n5 cm"
    assert found["1.2.840.5"].line == 0
    assert found["1.2.840.7"].value == "by its folder"
    assert found["study9"].value == ""
    assert found[""].file.endswith("picture.png")
    assert "no table" in found[""].fault

    ours = rows(folder, pattern=r"(?P<patient>[\d.]+)/(?P<accession>\w+)/")
    assert [row.key for row in ours if row.value and not row.fault] == [Key("", "x", "1.2.840.7")]
    assert sum("does not match" in row.fault for row in ours) == 2


def test_labels_are_numbers_and_empty_cells_unknown(tmp_path: Path) -> None:
    file = tmp_path / "labels.csv"
    file.write_text(
        "StudyInstanceUID,PatientID,mass,bleed\n1.2,P,1,\n1.3,P,0,0.5\n1.4,P,,\n1.5,P,yes,1\n"
    )
    found = list(labels_in([str(file)], COLUMNS))
    assert [row.value and json.loads(row.value) for row in found] == [
        {"mass": 1.0},
        {"mass": 0.0, "bleed": 0.5},
        "",
        "",
    ]
    assert found[3].fault == "mass='yes' is not from 0 to 1"
    only = list(labels_in([str(file)], Columns(labels="bleed")))
    assert [row.value for row in only] == ["", '{"bleed": 0.5}', "", '{"bleed": 1.0}']
    assert "labels are 'mass' and 'bleed'" in columns_taken([], [str(file)], COLUMNS)[0]
    file.write_text("StudyInstanceUID,PatientID\n1.2,P\n")
    with pytest.raises(UserError, match="no column of labels"):
        list(labels_in([str(file)], COLUMNS))


def test_decode_is_to_be_had_here() -> None:
    assert decode("Größe".encode("utf-16")) == "Größe"
