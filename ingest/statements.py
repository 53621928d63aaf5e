"""A report -> its statements: sections, items, sentences, with what they are about.

In: report text. Out: a `Statement` for every sentence, in order. The context of each is the label
of its paragraph ("L4-5:", "Liver:") and the sentence before it. What the clinician asked or told
(history, indication) is marked as not asserted: it is no finding.
"""

from __future__ import annotations

import re
from collections.abc import Iterator

from ingest.claims import Statement, parsed
from ingest.vocabulary import Kind

SECTION = re.compile(
    r"(?:^|(?<=[.,;\n])|(?<=[.,;] ))[ \t,]*([A-Za-z][A-Za-z0-9 /&(),-]{1,70}?)[ \t]*:"
    r"(?=[\s,]|[A-Z])"
)
ASKED = re.compile(
    r"^(?:clinical|history|indications?|reason|hx|symptoms|question|exam(?:ination)? reason)", re.I
)
TITLE = re.compile(
    r"^(?:findings?|impressions?|conclusions?|discussion|interpretation|techniques?|comparisons?|"
    r"exam(?:ination)?|procedure|report|opinion|summary|results?|technique and findings|comment|"
    r"recommendations?|addendum|findings and impression|protocol)\b", re.I
)  # fmt: skip
ITEM = re.compile(
    r"^[ \t]*(?:\(?\d{1,2}[.)](?!\d)|[a-z][.)]|[-*\u2022\u2013\u2023\u00b7])[ \t]*(?=\S)"
)
END = re.compile(r"[.!?;\u3002\uff01\uff1f]+(?=[\s,)\"']|$)|(?<=[.!?;]),(?=\S)|[\u3002\uff01]")
LETTER = re.compile(r"[^\W\d_]")
ABBREVIATED = re.compile(
    r"(?:\b(?:dr|mr|mrs|ms|prof|vs|approx|e\.g|i\.e|cf|fig|st|incl|vol|pt|al)|\b[a-z])$", re.I
)


def statements(text: str) -> list[Statement]:
    """The statements of a report, in order; those that only ask are marked as not asserted."""
    found: list[Statement] = []
    heading = frozenset[str]()
    for paragraph, asked in _paragraphs(text):
        if ":" in paragraph:
            heading = frozenset[str]()
        label, before, name = heading, frozenset[str](), ""
        for number, piece in enumerate(_pieces(paragraph)):
            if not LETTER.search(piece):
                continue
            about = label
            if number == 0 and ":" in piece:
                about = frozenset(t.concept for t in parsed(piece.split(":")[0]).tokens)
            statement = parsed(piece, label | before, not asked, name, about)
            found.append(statement)
            if number == 0 and ":" in piece:
                name, label = piece.split(":")[0], about
            if paragraph.rstrip().endswith(":"):
                heading = frozenset(t.concept for t in statement.tokens)
            levels = {t.concept for t in statement.tokens if t.kind is Kind.LEVEL}
            before = frozenset(
                {t.concept for t in statement.tokens if t.kind is not Kind.OPPOSITE}
                | (levels or {c for c in before if c.startswith("level:")})
            )
    return found


def _paragraphs(text: str) -> Iterator[tuple[str, bool]]:
    """Paragraphs, list items and sections with whether they are the clinician's question."""
    asked = False
    text = text.replace("\r\n", "\n").replace("\r", "\n")
    for block in _joined(text):
        start = 0
        cuts = [m for m in SECTION.finditer(block) if TITLE.match(m[1]) or ASKED.match(m[1])]
        for header in cuts:
            if block[start : header.start()].strip(" ,\n"):
                yield block[start : header.start()], asked
            asked = bool(ASKED.match(header[1]))
            start = header.end()
        if block[start:].strip(" ,\n"):
            yield block[start:], asked
            asked = False


def _joined(text: str) -> Iterator[str]:
    """Lines, with those that only wrap put together."""
    held = ""
    for line in text.translate({ord("*"): " ", ord("#"): " "}).split("\n"):
        mark = ITEM.match(line)
        body = line[mark.end() :].strip() if mark else line.strip()
        wraps = held and body and not mark and (
            body[0].islower() or (len(held) > 60 and held[-1] not in ".:;!?" and ":" not in body)
        )  # fmt: skip
        if wraps:
            held = f"{held} {body}"
            continue
        if held:
            yield held
        held = body
    if held:
        yield held


def _pieces(paragraph: str) -> Iterator[str]:
    """Sentences of a paragraph."""
    start = 0
    for end in END.finditer(paragraph):
        if end.start() < start:
            continue
        rest = paragraph[end.end() :].lstrip(" ,\n)\"'")
        if end[0] == "." and rest and (
            rest[0].islower() or ABBREVIATED.search(paragraph[start : end.start()])
        ):  # fmt: skip
            continue
        yield paragraph[start : end.end()].strip(" ,")
        start = end.end()
    if paragraph[start:].strip(" ,."):
        yield paragraph[start:].strip(" ,")
