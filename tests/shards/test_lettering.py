import hypothesis.strategies as st
import pytest
from hypothesis import given

from shards import lettering


def test_the_font_has_what_it_is_said_to_have() -> None:
    missing = bytes(lettering.font().getmask("\U000f0000"))
    assert missing
    for character in lettering.IN_FONT - {" "}:
        assert bytes(lettering.font().getmask(character)) != missing, character


@pytest.mark.parametrize(
    ("text", "seen"),
    [
        ("plain (text) 5 mm", "plain (text) 5 mm"),
        ("Gr\u00f6\u00dfe, na\u00efve, o\u0308", "Grosse, naive, o"),
        ("\u2265 3 \u00b5m \u2013 4", ">= 3 um - 4"),
        ("10\u00b3, 5\u00bd, 10\u2074", "10^3, 5 1/2, 10?"),
        ("\ufb01nding \uff15", "finding ?"),
        ("\u65e5\u672c", "??"),
        ("a\tb\u200dc\x1b", "a bc "),
    ],
)
def test_what_the_font_lacks_is_spelled(text: str, seen: str) -> None:
    assert lettering.drawable(text) == seen


@given(st.text(max_size=200), st.integers(40, 600))
def test_lines_fit_and_nothing_is_lost(text: str, width: int) -> None:
    lines = lettering.wrapped(text, width)
    assert "".join(lines).replace(" ", "") == lettering.drawable(text).replace(" ", "")
    for line in lines:
        assert len(line) <= 1 or lettering.font().getlength(line) <= width - lettering.MARGIN


def test_words_stay_whole_where_they_fit() -> None:
    lines = lettering.wrapped("There is no acute infarct or haemorrhage. " * 5, 200)
    assert " ".join(lines) == ("There is no acute infarct or haemorrhage. " * 5).strip()
    assert len(lines) > 5
    assert lettering.wrapped("", 200) == [""]
