"""Rule-based sentences of the tricky reports, against every expectation that comes with them."""

from __future__ import annotations

import base64
import json
import re
import time
import unicodedata
from pathlib import Path
from typing import Any

import pytest

from ingest.offline import summarize
from ingest.report_text import decode
from ingest.scrub import scrub

NAMES = [
    "v01-no-headers",
    "v02-upper-headers",
    "v03-inline-headers",
    "v04-nested-impression",
    "v05-bullets",
    "v06-decimals",
    "v07-abbreviations",
    "v08-negation",
    "v09-laterality",
    "v10-addendum",
    "v11-two-reports",
    "v12-german",
    "v13-empty",
    "v14-boilerplate-only",
    "v15-twenty-pages",
    "v16-cp1252",
    "v17-html",
    "v18-injection",
    "v19-phi-formats-a",
    "v20-crlf-tabs",
]
FOLDED_AWAY = re.compile("[\u200b-\u200f\u2060\ufeff\u00ad\0*]")


def folded(text: str, row: dict[str, Any]) -> str:
    """As the expectations are to be compared."""
    text = " ".join(FOLDED_AWAY.sub("", unicodedata.normalize("NFKC", text)).split())
    return text.lower() if row["expect"].get("case_insensitive") else text


def rows(real_data: Path) -> dict[str, dict[str, Any]]:
    with (real_data / "reports" / "tricky.jsonl").open() as lines:
        return {row["id"]: row for row in map(json.loads, lines)}


@pytest.mark.parametrize("name", NAMES)
def test_expectations(name: str, real_data: Path) -> None:
    row = rows(real_data)[name]
    expect = row["expect"]
    text = decode(base64.b64decode(row["raw_b64"])) if "raw_b64" in row else row["text"]
    began = time.process_time()
    summarize(text)
    assert time.process_time() - began < expect.get("max_seconds_offline", 5)

    scrubbed = scrub(text, [])
    raw = summarize(scrubbed)
    found = [folded(sentence, row) for sentence in raw]
    whole = "\n".join(found)
    assert expect["sentences_min"] <= len(found) <= expect["sentences_max"]
    for wanted in expect.get("must_contain", []) + expect.get("should_contain", []):
        assert any(folded(wanted, row) in sentence for sentence in found), wanted
    for unwanted in expect.get("must_not_contain", []) + expect.get("should_not_contain", []):
        if unwanted.strip():
            assert folded(unwanted, row) not in whole
        else:
            assert unwanted == " " or unwanted not in "".join(raw)
    for fragment in expect.get("must_not_equal", []):
        assert folded(fragment, row) not in found
        assert folded(fragment, row) not in [sentence.rstrip(".") for sentence in found]
    for mark in expect.get("must_not_start_with", []):
        assert not any(sentence.startswith(mark) for sentence in found)
    for one, other in expect.get("must_be_separate", []):
        assert not any(one in sentence and other in sentence for sentence in found)
    for planted in expect.get("phi", []):
        assert planted not in scrubbed
        assert planted not in whole
    for kept in expect.get("phi_keep", []):
        assert kept in scrubbed
    if "must_flag" in expect:  # "empty", "no findings": what a missing report is told by
        assert found == []


def test_every_tricky_report_is_tried(real_data: Path) -> None:
    assert sorted(rows(real_data)) == sorted(NAMES)
