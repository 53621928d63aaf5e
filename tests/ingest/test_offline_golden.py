"""Reports whose sentences were read and accepted one by one; see `offline_golden`."""

from __future__ import annotations

import json
import re
import textwrap
from collections.abc import Callable
from html import escape
from pathlib import Path

import pytest
from offline_golden import BOUND, FREE, fact, golden_real, invented, real_rows

from ingest.offline import summarize

TITLE = re.compile(r"^([A-Z][A-Z &/]+):[ ]*", re.M)
INVENTED = invented()


@pytest.mark.parametrize("name", INVENTED)
def test_invented_reports(name: str) -> None:
    text, accepted = INVENTED[name]
    assert summarize(text) == accepted


def test_real_reports(real_data: Path) -> None:
    accepted = golden_real()[FREE]
    found = {row["id"]: summarize(row["text"]) for row in real_rows(real_data, FREE)}
    assert found == accepted


def test_real_reports_that_may_not_be_passed_on(real_data: Path) -> None:
    accepted = golden_real()[BOUND]
    found = {row["id"]: fact(summarize(row["text"])) for row in real_rows(real_data, BOUND)}
    assert found == accepted


def wrapped(text: str) -> str:
    return "\n".join("\n".join(textwrap.wrap(line, 72)) for line in text.split("\n"))


def joined_by_commas(text: str) -> str:
    """As data sets are that have commas where line breaks were."""
    return re.sub(r"[ ]*\n\s*", ",", TITLE.sub(r"\1: , ", text).strip())


def as_html(text: str) -> str:
    return f"<p>{escape(text)}</p>".replace("\n\n", "</p><p>").replace("\n", "<br/>")


LAYOUTS: dict[str, Callable[[str], str]] = {
    "wrapped": wrapped,
    "indented": lambda text: textwrap.indent(wrapped(text), "    "),
    "html": as_html,
    "crlf": lambda text: text.replace("\n", "\r\n"),
    "markdown": lambda text: TITLE.sub(r"**\1:** ", text),
    "mixed case titles": lambda text: TITLE.sub(lambda m: f"{m[1].capitalize()}: ", text),
    "capitals": str.upper,
    "joined by commas": joined_by_commas,
}


@pytest.mark.parametrize("layout", LAYOUTS)
def test_the_layout_changes_no_sentence(layout: str, real_data: Path) -> None:
    for row in real_rows(real_data, FREE):
        if layout == "joined by commas" and row["layout"] != "newlines-restored":
            continue
        plain, laid_out = summarize(row["text"]), summarize(LAYOUTS[layout](row["text"]))
        assert [s.lower() for s in laid_out] == [s.lower() for s in plain], row["id"]


def test_no_golden_sentence_is_a_title_or_a_bare_label() -> None:
    for sentences in golden_real()[FREE].values():
        assert not [s for s in sentences if s.endswith(":") or s.isupper()]
        assert len({json.dumps(s.lower()) for s in sentences}) == len(sentences)
