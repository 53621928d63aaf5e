"""A report -> its findings as sentences, by rule; no network, no model.

In: report text. Out: sentences, each one finding, in the report's order, FINDINGS before
IMPRESSION. Sections are recognised by their headers, lists by their marks; technique, history,
signatures and other boilerplate are left out, negations stay. An empty or boilerplate-only report
gives no sentences: it is missing, not normal.
"""

from __future__ import annotations

import re
from collections.abc import Iterator

VARIANT = "offline"

KEPT_SECTIONS = re.compile(
    r"^(?:findings?|impressions?|conclusions?|summary|interpretation|results?|report|opinion)\b",
    re.I,
)
TITLES = (
    "Findings?|Impressions?|Technique|Comparison|Indication|History|Conclusions?|Summary|Procedure|"
    "Clinical (?:history|information|indication)|Exam(?:ination)?|Recommendations?|Signed|Contrast|"
    "Reason for exam"
)
"""Section titles as they are written in mixed case."""
BARE_TITLES = "FINDINGS?|IMPRESSIONS?|TECHNIQUE|COMPARISON|INDICATION|HISTORY|CONCLUSIONS?"
"""Titles that may stand alone on a line, or within one, without doubt."""
HEADER = re.compile(
    rf"(?:^|(?<=\n))[ \t*#]*((?:[A-Z][A-Z /&()-]{{2,40}}|(?:{TITLES})))[ \t]*:[ \t]*"
    rf"|(?:^|(?<=\n))[ \t*#]*({BARE_TITLES})[ \t]*(?=\n)"
    rf"|(?<=[.;] )({BARE_TITLES})[ \t]*:[ \t]*"
)
ITEM = re.compile(
    r"(?:^|\n)[ \t]*(?:\(?\d{1,2}[.)](?=[ \t]*[^\W\d])|[-*\u2022\u2013](?=[ \t]))[ \t]*(?=\S)"
)
BOILERPLATE = re.compile(
    r"\b(?:dictated|transcribed|electronically|signed|approved by|verified by|communicated|"
    r"discussed with|notified|were reported|was reported to|thank you|please do not hesitate|"
    r"attending|resident|report(?:ed)? by|images? (?:were|was) (?:reviewed|obtained|acquired)|"
    r"(?:were|was) (?:obtained|acquired|performed)|imaging was|protocol|sequences|multiplanar|"
    r"comparison|compared (?:to|with) prior|no prior|i have (?:personally )?reviewed|"
    r"voice recognition|transcription)\b",
    re.I,
)
ABBREVIATION = re.compile(
    r"(?:\b(?:Dr|Mr|Mrs|Ms|Prof|vs|approx|fig|no|e\.g|i\.e|cf|St|al|a\.m|p\.m)|\b[A-Z])\.$", re.I
)
SENTENCE_END = re.compile(r"[.!?](?=\s+[\"'(\[]?[A-Z0-9]|\s*$)")
MIN_LETTERS = 4


def summarize(text: str) -> list[str]:
    """Sentences of a report, each once.

    >>> summarize("TECHNIQUE: MRI.\\nFINDINGS: 1. A 3.5 x 2.1 cm. mass. No bleed.\\nIMPRESSION:
    Mass.\\nSigned by Dr. X") ['A 3.5 x 2.1 cm. mass.', 'No bleed.', 'Mass.']
    """
    seen: dict[str, str] = {}
    for sentence in _statements(text):
        seen.setdefault(sentence.lower(), sentence)
    return list(seen.values())


def _statements(text: str) -> Iterator[str]:
    for section in _sections(text.replace("\r\n", "\n").replace("\r", "\n")):
        for item in _items(section):
            for sentence in _sentences(item):
                if sum(c.isalpha() for c in sentence) >= MIN_LETTERS and not BOILERPLATE.search(
                    sentence
                ):
                    yield sentence


def _sections(text: str) -> list[str]:
    """Bodies of the sections that hold findings; the whole text when it has no headers at all."""
    headers = list(HEADER.finditer(text))
    if not headers:
        return [text]
    kept: list[str] = []
    others: list[str] = []
    for number, header in enumerate(headers):
        end = headers[number + 1].start() if number + 1 < len(headers) else len(text)
        title = next(g for g in header.groups() if g)
        (kept if KEPT_SECTIONS.match(title.strip()) else others).append(text[header.end() : end])
    return kept if kept or not text[: headers[0].start()].strip() else [text[: headers[0].start()]]


def _items(section: str) -> list[str]:
    """List items and paragraphs; single line breaks within them are only wrapping."""
    parts = ITEM.split(section)
    return [" ".join(p.split()) for part in parts for p in re.split(r"\n\s*\n", part) if p.strip()]


def _sentences(paragraph: str) -> list[str]:
    found, start = [], 0
    for end in SENTENCE_END.finditer(paragraph):
        piece = paragraph[start : end.end()]
        if ABBREVIATION.search(piece) and end.end() < len(paragraph):
            continue
        found.append(piece.strip())
        start = end.end()
    rest = paragraph[start:].strip()
    if rest:
        found.append(rest if rest[-1] in ".!?" else f"{rest}.")
    return found
