"""Bytes of reports in the encodings that hospitals write."""

from __future__ import annotations

import time

import pytest
from hypothesis import given
from hypothesis import strategies as st

from ingest.report_text import decode

GERMAN = "Befund: Größe 3 cm, kein Nachweis einer Blutung."
REPORTS = [
    ("cp1252", GERMAN),
    ("cp1252", "Épanchement pleural à gauche. Pas d’embolie."),
    ("cp1252", "Pequeño nódulo en el lóbulo inferior."),
    ("cp1252", "The patient’s nodule measures 12 mm ± 1 mm – 8 HU"),
    ("cp1252", "Größe"),
    ("cp1254", "Her iki akciğerde buzlu cam dansiteleri izlendi. Sağ üst lobda nodül yoktur."),
    ("cp1254", "Trakea ve her iki ana bronş açıktır."),
    ("cp1250", "Płuca bez zmian ogniskowych. Nie stwierdza się płynu w jamach opłucnowych."),
    ("cp1250", "Plíce bez ložiskových změn. Srdce není zvětšené."),
    ("cp932", "所見：右肺上葉に結節影を認めます。胸水は認めません。"),
    ("cp932", "頭部CT: 明らかな出血は認めない。"),
    ("euc_jp", "所見：右肺上葉に結節影を認めます。胸水は認めません。"),
    ("iso2022_jp", "所見：右肺上葉に結節影を認めます。"),
    ("gb18030", "双肺纹理清晰，未见明显异常密度影。心影大小正常。"),
    ("gb18030", "右肺上叶见结节影，大小约8mm。肝脏未见异常。"),
    ("cp949", "양측 폐에 활동성 병변은 없음. 심장 크기 정상."),
    ("cp1251", "Очаговых изменений в лёгких не выявлено."),
]
UNICODE = ["utf-8", "utf-8-sig", "utf-16", "utf-16-le", "utf-16-be", "utf-32", "utf-32-le"]


@pytest.mark.parametrize(("encoding", "text"), REPORTS)
def test_legacy_encodings_are_told_by_their_text(encoding: str, text: str) -> None:
    assert decode(text.encode(encoding)) == text


@pytest.mark.parametrize("encoding", UNICODE)
@pytest.mark.parametrize("text", [text for _, text in REPORTS] + ["No bleed.", ""])
def test_unicode_with_and_without_a_mark(encoding: str, text: str) -> None:
    assert decode(text.encode(encoding)) == text


def test_nuls_go_and_line_ends_are_one() -> None:
    assert decode(b"No bleed.\0\r\nNo mass.\rNo shift.\0\0\n") == "No bleed.\nNo mass.\nNo shift.\n"
    assert decode(f"{GERMAN}\0".encode("cp1252")) == GERMAN


def test_a_stray_byte_within_utf8_spoils_nothing_else() -> None:
    assert decode("Größe, Blöße, Höhe: ".encode() + b"\xb1 3 cm") == "Größe, Blöße, Höhe: ± 3 cm"


def test_an_utf8_text_that_was_cut_is_still_utf8() -> None:
    assert decode("Größe und Höhe".encode()[:-4]).startswith("Größe und H")


def test_an_encoding_is_told_by_what_comes_after_a_long_plain_beginning() -> None:
    assert decode(b"no bleed " * 20_000 + GERMAN.encode("cp1252")).endswith(GERMAN)


@given(st.binary(max_size=200))
def test_no_bytes_raise(data: bytes) -> None:
    assert "\0" not in decode(data)
    assert "\r" not in decode(data)


@given(st.text(st.characters(exclude_characters="\r\0", exclude_categories=["Cs"])))
def test_utf8_with_a_mark_is_read_as_it_is(text: str) -> None:
    assert decode(text.encode("utf-8-sig")) == text


@pytest.mark.parametrize("unit", [b"\xff", b"\x1b$B", b"\x00\xd8", b"\xc3\xa9\xff", b"\x80\n"])
def test_any_bytes_are_read_in_linear_time(unit: bytes) -> None:
    began = time.process_time()
    decode(unit * (5_000_000 // len(unit)))
    assert time.process_time() - began < 5
