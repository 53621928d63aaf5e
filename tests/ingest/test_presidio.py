"""Names in prose: what presidio adds to the scrubbing, and what of it is refused.

The first half runs with a stand-in of presidio's interface. The second half needs the extra
`presidio` and an English spaCy pipeline with names: en_core_web_md, or DICOM2CLIP_SPACY_MODEL.
"""

from __future__ import annotations

import json
import os
import sys
from collections.abc import Iterator
from importlib.util import find_spec
from pathlib import Path

import pyarrow.parquet as pq
import pytest
from hypothesis import given
from hypothesis import strategies as st
from job_runs import pipeline, run, write_study
from presidio_stand_in import write_model, write_package

from ingest import presidio_spans
from ingest.english import is_english
from ingest.person_names import names_in
from ingest.scrub import Scrubbed, scrub, scrubbed
from study.errors import UserError
from study.ingest_sections import Ingest

MODULES = ("spacy", "presidio_analyzer")
TEXT = "Read by Karen Okafor (020 7946 0958): no bleed, 3.5 x 2.1 cm mass. Drawn by Foley catheter."
CLEAN = "Read by [NAME] [PHONE]: no bleed, 3.5 x 2.1 cm mass. Drawn by Foley catheter."


@pytest.fixture
def presidio(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[Path]:
    """A folder of a pipeline, beside a stand-in of the packages."""
    write_package(tmp_path / "packages")
    monkeypatch.syspath_prepend(tmp_path / "packages")
    for name in [name for name in sys.modules if name.split(".")[0] in MODULES]:
        monkeypatch.delitem(sys.modules, name)
    presidio_spans._analyzer.cache_clear()
    yield write_model(tmp_path / "model")
    presidio_spans._analyzer.cache_clear()
    for name in [name for name in sys.modules if name.split(".")[0] in MODULES]:
        del sys.modules[name]


def of(model: Path | str) -> Ingest:
    return Ingest(presidio=True, presidio_model=str(model))


def test_what_is_found_is_cut_with_our_own_spans(presidio: Path) -> None:
    find = presidio_spans.finder(of(presidio))
    assert scrubbed(TEXT, [], find) == Scrubbed(CLEAN, {"NAME": 1, "PHONE": 1})
    ours = "Ms. Roe, seen by Karen O\u0301kafor 03/14/2021. No bleed."
    assert scrub(ours, [], find) == "[NAME], seen by [NAME] [DATE]. No bleed."
    assert scrub(ours, ["Doe^Karen"], find) == "[NAME], seen by [NAME] [DATE]. No bleed."
    german = "Untersucht von und signed by Karen Okafor. Kein Nachweis einer Blutung in der Mitte."
    assert "Okafor" in scrub(german.replace("signed by", "gesehen by"), [], find)
    assert presidio_spans.finder(Ingest())(TEXT) is not None
    assert list(presidio_spans.finder(Ingest())(TEXT)) == []


@given(st.text("ab \n", max_size=60), st.integers(2, 9))
def test_long_texts_are_analysed_in_pieces(text: str, longest: int) -> None:
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(presidio_spans, "PIECE", longest)
        found = list(presidio_spans.pieces(text))
    assert "".join(piece for _, piece in found) == text
    assert all(text[start:].startswith(piece) for start, piece in found)
    assert all(0 < len(piece) <= longest for _, piece in found)


def test_names_are_found_wherever_a_long_text_is_cut(presidio: Path) -> None:
    line = "There is no bleed, as read by Karen Okafor.\n"
    text = line * (3 * presidio_spans.PIECE // len(line))
    found = scrubbed(text, [], presidio_spans.finder(of(presidio)))
    assert found.counts == {"NAME": text.count("Okafor")}


def test_what_is_not_installed_is_the_users_error(
    presidio: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    assert presidio_spans.in_use(Ingest(presidio_model="none")) == ""
    assert "presidio-analyzer 0.0.1" in presidio_spans.in_use(of(presidio))
    for model in ("no_such_pipeline", str(tmp_path), "../model", "json"):
        with pytest.raises(UserError, match=r"presidio_model.*spacy download"):
            presidio_spans.in_use(of(model))
    with pytest.raises(UserError, match="pipeline for 'de'"):
        presidio_spans.in_use(of(write_model(tmp_path / "de", "de")))
    with pytest.raises(UserError, match="with parser; one for 'en' with ner"):
        presidio_spans.in_use(of(write_model(tmp_path / "parser", "en", ("parser",))))

    def absent(name: str) -> str:
        raise presidio_spans.metadata.PackageNotFoundError(name)

    monkeypatch.setattr(presidio_spans.metadata, "version", absent)
    with pytest.raises(UserError, match=r'pip install "dicom2clip\[presidio\]"'):
        presidio_spans.in_use(of(presidio))


def test_a_job_scrubs_with_it_and_says_so(presidio: Path, tmp_path: Path, scheduler: str) -> None:
    write_study(tmp_path / "scans", 1, num_series=1)
    (tmp_path / "reports.csv").write_text(f'StudyInstanceUID,report\n1.2.1,"{TEXT}"\n')
    with pytest.raises(UserError, match="presidio_model"):
        run(pipeline(tmp_path, scheduler, presidio=True, presidio_model="none"))
    assert not (tmp_path / "run").exists()
    result = run(pipeline(tmp_path, scheduler, presidio=True, presidio_model=str(presidio)))
    assert result.scrubbed == {"NAME": 1, "PHONE": 1}
    rows = pq.read_table(tmp_path / "run" / "studies.parquet").to_pylist()
    assert [row["report"] for row in rows] == [CLEAN]
    settings = json.loads((tmp_path / "dataset" / "dataset.json").read_text())["settings"]
    assert settings["ingest"]["presidio"] is True
    assert str(tmp_path) not in json.dumps(settings)
    with pytest.raises(UserError, match="made with other settings"):
        run(pipeline(tmp_path, scheduler))


# -------------------------------------------------------------------------------- what is a name

TAKEN = {
    "Jane Roe fell.": "Jane Roe",
    "seen by Harrington today": "Harrington",
    "nurse Emily Novak RN called": "Emily Novak RN",
    "with J. McKay-Li there": "J. McKay-Li",
    "Walter Hughes\nCT HEAD": "Walter Hughes",
    "told Grace Adeyemi of it": "Grace Adeyemi",
    "Dr. van der Berg": "Dr. van der Berg",
}
REFUSED = (
    "The appendix is normal.",
    "2.  Cholelithiasis.",
    "Ventricles: normal size.",
    "EXAM: Noncontrast CT",
    "at L5-S1: canal",
    "left kidney (Bosniak II)",
    "currently on Coumadin.",
    "presence of a Foley catheter",
    "fossa of Rosenmuller",
    "and the foramen of Okafor",
    "with an Okafor lesion",
    "Probable Crohn's, as before",
    "a Hill-Sachs lesion",
    "the Siemens Somatom",
    "Severe Spondylosis",
    "as the lobulated mass: Lobulated",
    "Right Upper Abdomen",
)


@pytest.mark.parametrize(("text", "name"), TAKEN.items())
def test_names_are_taken(text: str, name: str) -> None:
    assert name in [text[s.start : s.end] for s in names_in(text, [(0, len(text))])]


@pytest.mark.parametrize("text", REFUSED)
def test_other_capitals_are_not(text: str) -> None:
    for start in (0, *(place + 1 for place, sign in enumerate(text) if sign == " ")):
        assert list(names_in(text, [(start, len(text))])) == []


@given(st.text("Aab. \nL5'-", max_size=30), st.integers(0, 30), st.integers(0, 30))
def test_names_lie_in_order_within_the_span(text: str, one: int, other: int) -> None:
    start, end = sorted((min(one, len(text)), min(other, len(text))))
    found = list(names_in(text, [(start, end)]))
    places = [start, *(place for span in found for place in (span.start, span.end)), end]
    assert places == sorted(places)


@pytest.mark.parametrize(
    ("text", "wanted"),
    [
        ("CT head. Normal.", True),
        ("Findings: 12 mm mass.", True),
        ("12 mm", True),
        ("Kein Nachweis einer Blutung. No bleed.", False),
        ("Pas de saignement dans la fosse posterieure.", False),
        ("No hay sangrado en los ventriculos.", False),
        ("Kanama izlenmedi ve orta hat olagandir.", False),
        ("\u8133\u51fa\u8840\u306a\u3057", False),
    ],
)
def test_english_is_told_from_other_languages(text: str, wanted: bool) -> None:
    assert is_english(text) is wanted


# -------------------------------------------------------------------------------- the real one


@pytest.fixture(scope="module")
def real() -> presidio_spans.Find:
    model = os.environ.get("DICOM2CLIP_SPACY_MODEL", "en_core_web_md")
    if find_spec("presidio_analyzer") is None:
        pytest.skip("presidio-analyzer is not installed (pip install dicom2clip[presidio])")
    try:
        presidio_spans.versions(model)
    except UserError as error:
        pytest.skip(str(error))
    presidio_spans._analyzer.cache_clear()
    return presidio_spans.finder(of(model))


PROSE = {
    "Jane Roe presented with headache.": "Roe",
    "The patient, Ravi Menon, has a history of stroke.": "Menon",
    "I spoke with Lindqvist about the fracture.": "Lindqvist",
    "The patient's husband Tom Whitfield drove her home.": "Whitfield",
    "Follow up with Harrington in six months.": "Harrington",
    "The scan was requested by Priya Raman for seizures.": "Raman",
    "Daughter Grace Adeyemi gave the history.": "Adeyemi",
    "Seen together with Yamamoto.": "Yamamoto",
}


@pytest.mark.parametrize(("text", "name"), PROSE.items())
def test_names_in_prose_are_found(real: presidio_spans.Find, text: str, name: str) -> None:
    assert name in scrub(text, [])
    assert name not in scrub(text, [], real)


def _rows(real_data: Path, *names: str) -> Iterator[dict[str, object]]:
    for name in names:
        with (real_data / "reports" / f"{name}.jsonl").open(encoding="utf-8") as lines:
            yield from map(json.loads, lines)


def test_no_word_of_real_reports_is_lost(real: presidio_spans.Find, real_data: Path) -> None:
    for row in _rows(real_data, "real_reports", "real_reports_by_nc_sa"):
        text = str(row["text"])
        assert scrub(text, [], real) == scrub(text, []), row["id"]


def test_eponyms_and_sizes_of_tricky_reports_stay(
    real: presidio_spans.Find, real_data: Path
) -> None:
    kept = 0
    for row in _rows(real_data, "tricky"):
        expect = row["expect"]
        assert isinstance(expect, dict)
        text = scrub(str(row.get("text", "")), [], real)
        assert not [phrase for phrase in expect.get("phi", ()) if phrase in text]
        assert not [phrase for phrase in expect.get("phi_keep", ()) if phrase not in text]
        kept += len(expect.get("phi_keep", ()))
    assert kept >= 5
