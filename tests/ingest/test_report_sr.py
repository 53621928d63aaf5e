"""DICOM SR documents as reports: their text, which of them count, and what they may not cost."""

from __future__ import annotations

from pathlib import Path

import pydicom
import pytest
from dicom_files import save
from sr_files import code, document, item, replacing

from ingest import part_texts, report_sr
from ingest.header import read_header
from ingest.place import Place
from ingest.report_sr import read_document, read_documents
from ingest.reports import reports_in
from ingest.supervise import USUAL_LIMITS
from study.ingest_sections import Columns

CONTENT = [
    item("Person Observer Name", "Dr. A", relationship="HAS OBS CONTEXT"),
    item(
        "Findings",
        [
            item("Finding", "No bleed.\r\nNo shift."),
            item("Diameter", "12", "mm"),
            item("Impression", "A cyst in the Größe of a pea."),
        ],
    ),
    item("Empty", []),
    item("Conclusions", [item("Conclusion", "Benign.")]),
]
TEXT = (
    "FINDINGS:\nNo bleed.\nNo shift.\nDiameter: 12 mm\nImpression: A cyst in the Größe of a pea."
    "\n\nCONCLUSIONS:\nBenign."
)


def read(tmp_path: Path, dataset: pydicom.Dataset) -> report_sr.Document:
    return read_document(Place(str(save([dataset], tmp_path)[0])))


def test_text_as_a_reader_would_see_it(tmp_path: Path) -> None:
    found = read(tmp_path, document(CONTENT))
    assert found.text == TEXT
    assert (found.study_uid, found.when, found.fault) == ("1.2.3.4", "20200101120000", "")


def test_prose_is_one_line(tmp_path: Path) -> None:
    prose = item(
        "Findings", [item("Text", "A mass of"), item("Size", "3", "cm"), item("Text", "x.")]
    )
    prose.ContinuityOfContent = "CONTINUOUS"
    assert read(tmp_path, document([prose])).text == "FINDINGS:\nA mass of 3 cm x."


@pytest.mark.parametrize(
    ("dataset", "fault"),
    [
        (document(CONTENT, code("Dose", "113701", "DCM")), "an X-ray radiation dose report"),
        (document(CONTENT, SOPClassUID="1.2.840.10008.5.1.4.1.1.88.67"), "no DICOM SR document"),
    ],
)
def test_what_is_no_report(tmp_path: Path, dataset: pydicom.Dataset, fault: str) -> None:
    found = read(tmp_path, dataset)
    assert fault in found.fault
    assert not found.text


def test_items_within_items_without_end(tmp_path: Path) -> None:
    inner = item("Finding", "deep")
    for _ in range(100):
        inner = item("Part", [inner])
    assert "deep" not in read(tmp_path, document([inner, item("Finding", "flat")])).text


def test_broken_files_cost_themselves(tmp_path: Path) -> None:
    good, cut, junk = save([document(CONTENT)] * 3, tmp_path)
    cut.write_bytes(cut.read_bytes()[:-40])
    junk.write_bytes(b"x" * 1000)
    places = [Place(str(p)) for p in (good, cut, junk, tmp_path / "none")]
    found = read_documents(places, USUAL_LIMITS)
    assert found[0].text == TEXT
    assert all(document.text != TEXT for document in found[1:])
    assert all(document.fault for document in found[2:])


def test_a_disk_that_fails_costs_no_report(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    file = save([document(CONTENT)], tmp_path)[0]

    def broken(_: Place) -> None:
        raise OSError(5, "Input/output error")

    monkeypatch.setattr(Place, "open", broken)
    with pytest.raises(OSError, match="Input/output"):
        read_document(Place(str(file)))


def test_documents_of_a_study_as_rows(tmp_path: Path) -> None:
    first = document([item("Findings", "Old.")], ContentDate="20190101")
    second = document(CONTENT, PredecessorDocumentsSequence=replacing([first]))
    dose = document(CONTENT, code("Dose", "113701", "DCM"), ContentDate="20210101")
    files = save([second, dose, first], tmp_path)
    instances = [row for file in files for row in read_header(str(file))]
    rows = part_texts.documents(instances, USUAL_LIMITS)
    assert [(Path(r.file).name, r.value, r.status) for r in rows] == [
        ("0002.dcm", "Findings: Old.", "superseded"),
        ("0000.dcm", TEXT, ""),
        ("0001.dcm", "", "broken"),
    ]


def test_a_folder_of_documents(tmp_path: Path) -> None:
    save([document(CONTENT), document(CONTENT, StudyInstanceUID="1.2.9")], tmp_path, "{}")
    found = list(reports_in([str(tmp_path)], Columns()))
    assert [(r.key.study_uid, r.line, r.value == TEXT) for r in found] == [
        ("1.2.3.4", 0, True),
        ("1.2.9", 0, True),
    ]


def test_real_documents(real_data: Path) -> None:
    """A list of measurements is no report; an image is none either."""
    folder = real_data / "dicom" / "nonimage_highdicom" / "data" / "data" / "test_files"
    found = {f.stem: read_document(Place(str(f))).fault for f in sorted(folder.glob("*.dcm"))}
    assert found.pop("sr_document") == "a measurement report"
    assert found
    assert all("no DICOM SR document" in fault for fault in found.values())


def test_pydicoms_own_document() -> None:
    from pydicom.data import get_testdata_file

    found = read_document(Place(str(get_testdata_file("test-SR.dcm"))))
    assert found.text.splitlines()[:4] == [
        "A mass of 3 cm was detected.",  # a container of running text, then one of items
        "Text Code: A mass of",
        "Diameter: 3 cm",
        "Text Code: was detected.",
    ]
