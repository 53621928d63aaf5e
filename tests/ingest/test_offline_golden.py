"""Reports whose sentences were read and accepted one by one; see `offline_golden`."""

from __future__ import annotations

import json
import re
import textwrap
from collections.abc import Callable
from html import escape
from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st
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


POOL = sorted(
    {
        s
        for sentences in golden_real()[FREE].values()
        for s in sentences
        if ":" not in s and "?" not in s
    }
)
MIXES: dict[str, Callable[[list[str]], str]] = {
    "a paragraph": lambda chosen: f"FINDINGS: {' '.join(chosen)}",
    "a list": lambda chosen: "\n".join(["Findings", *(f"- {s.rstrip('.')}" for s in chosen)]),
    "numbers in a line": lambda chosen: (
        f"IMPRESSION: {' '.join(f'{n}. {s}' for n, s in enumerate(chosen, 1))}"
    ),
    "numbers on lines": lambda chosen: "\n".join(
        ["HISTORY: Pain.", "IMPRESSION:", *(f"{n}) {s}" for n, s in enumerate(chosen, 1))]
    ),
    "commas": lambda chosen: f"EXAM: , CT.,FINDINGS: , {','.join(chosen)}",
    "no title": lambda chosen: "  ".join(chosen),
}


@pytest.mark.parametrize("mix", MIXES)
@given(chosen=st.lists(st.sampled_from(POOL), min_size=1, max_size=8, unique_by=str.lower))
def test_accepted_sentences_are_found_again_in_any_company(mix: str, chosen: list[str]) -> None:
    assert summarize(MIXES[mix](chosen)) == chosen


def test_no_golden_sentence_is_a_title_or_a_bare_label() -> None:
    for sentences in golden_real()[FREE].values():
        assert not [s for s in sentences if s.endswith(":") or s.isupper()]
        assert len({json.dumps(s.lower()) for s in sentences}) == len(sentences)
