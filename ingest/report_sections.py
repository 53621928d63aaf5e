"""The lines of a report -> its sections, and which of them hold findings.

In: plain lines. Out: sections in the report's order, each with its lines. A text may hold several
reports, one after the other (blocks); where one of them has no section of findings, they stand
after other titles (TECHNIQUE, CT ABDOMEN, or none), and what is there must be looked through.
"""

from __future__ import annotations

import re
from collections.abc import Iterator
from dataclasses import dataclass, field, replace

from ingest.report_titles import (
    DECORATION,
    LABELS,
    MAX_TITLE,
    SECTIONS,
    Kind,
    is_exam,
    kind_of,
    kind_of_line,
)

MARK = re.compile(r"[ \t]*(?:(?:\(?\d{1,2}[.)]|[-*+\u2013\u2014>])[ \t]+)?")
"""A list mark that may stand before a title."""
COLON = re.compile(r"(?<![:\uff1a])[:\uff1a]")
DASHED = re.compile(
    r"[ \t*#]*([^\W\d_][^\W\d_/& ]{0,12}(?: [^\W\d_&]{1,12}){0,3})[ \t]+[-\u2013\u2014][ \t]+"
)
SENTENCE_END = re.compile(r"[.;!?)\]\"\u3002][ \t]*(?=\S)")
UPPER_RUN = re.compile(r"(?:[A-Z][A-Z/&()-]*[ \t]+){0,4}[A-Z][A-Z/&()-]+$")
WORD_START = re.compile(r"(?<=\s)[A-Z]")
MAX_EXAM = 160
"""Characters of the name of an examination and the title after it, on one line."""
MAX_BARE = 60
MIN_LINE_TITLE = 4
"""Letters of an administrative title within a line: "DD:" is a differential diagnosis there."""
RESULT_DIAGNOSIS = re.compile(r"(?:final |radiological |radiologic |imaging )?diagnos[ie]s", re.I)


@dataclass(frozen=True)
class Section:
    """Lines under a title."""

    kind: Kind | None
    """None before the first title."""
    title: str = ""
    lines: tuple[str, ...] = ()
    within: bool = False
    """Its title stands in the middle of a section of findings: only a sentence may be its own."""
    block: int = 0
    has_findings: bool = False
    """Its block has a section of findings."""


@dataclass
class _Open:
    kind: Kind | None
    title: str = ""
    within: bool = False
    lines: list[str] = field(default_factory=list)


def sections(text: str) -> list[Section]:
    """Sections of a report's plain lines."""
    found = [_Open(None)]
    resumed: Kind | None = None
    for line in text.split("\n"):
        for number, (title, kind, rest) in enumerate(_parts(line)):
            current = found[-1]
            if kind is Kind.HISTORY and RESULT_DIAGNOSIS.fullmatch(title) and _has_result(found):
                kind = Kind.IMPRESSION
            if current.kind is Kind.LINE and number == 0 and line.strip():
                current = _Open(resumed, within=False)
                found.append(current)
            if kind in SECTIONS or kind is Kind.LINE or _begins_findings(kind, current, rest):
                resumed = current.kind if current.kind is not Kind.LINE else resumed
                within = number > 0 and current.kind in {Kind.FINDINGS, Kind.IMPRESSION, None}
                found.append(_Open(kind, title, within, [rest]))
            else:
                current.lines.append(rest if title == "" else f"{title}: {rest}")
    return _blocks(found)


def _begins_findings(kind: Kind | None, current: _Open, rest: str) -> bool:
    """Whether the name of an organ or of an examination ends a section that is left out."""
    return kind in LABELS and bool(rest) and current.kind in {Kind.TECHNIQUE, Kind.HISTORY}


def _has_result(found: list[_Open]) -> bool:
    return any(section.kind in {Kind.FINDINGS, Kind.IMPRESSION} for section in found)


def _parts(line: str) -> Iterator[tuple[str, Kind | None, str]]:
    """A line as (title, its kind, what follows it), cut where a section's title stands within."""
    starts = list(_titles(line))
    begin = starts[0][0] if starts else len(line)
    if begin or not starts:
        yield "", None, line[:begin]
    ends = [start for start, *_ in starts[1:]] + [len(line)]
    for (_, begin, title, kind), end in zip(starts, ends, strict=False):
        yield title, kind, line[begin:end].strip(" \t")


def _titles(line: str) -> Iterator[tuple[int, int, str, Kind]]:
    """Titles in a line, as (start, end, title, kind)."""
    bare = line.strip(DECORATION)
    if not bare:
        return
    has_colon = bool(COLON.search(line))
    if len(bare) <= MAX_BARE and (bare[0].isupper() or not bare.isascii()):
        title = MARK.sub("", bare, count=1)
        kind = kind_of(title) if has_colon else kind_of_line(title)
        if kind in SECTIONS or (kind is Kind.LINE and not has_colon):
            yield 0, len(line), bare, kind
            return
    done = 0
    if dashed := DASHED.match(line):
        kind = kind_of(dashed[1])
        if kind in SECTIONS and dashed[1][0].isupper():
            yield 0, dashed.end(), dashed[1], kind
            done = dashed.end()
    for colon in COLON.finditer(line):
        if colon.start() < done:
            continue
        start = _title_start(line, done, colon.start())
        if start is None:
            continue
        title = line[start : colon.start()]
        if start == 0:
            title = MARK.sub("", title, count=1)
        kind = kind_of(title)
        at_start = not line[:start].strip()
        is_line = kind is Kind.LINE and (at_start or len(title.strip()) >= MIN_LINE_TITLE)
        if kind in SECTIONS or is_line or (at_start and kind in LABELS):
            yield (0 if at_start else start), colon.end(), title.strip(DECORATION), kind
            done = colon.end()


def _title_start(line: str, done: int, colon: int) -> int | None:
    """Where the title before a colon begins: at the line's start or after another title, after a
    sentence, or where capitals begin."""
    low = max(done, colon - MAX_TITLE)
    before = line[low:colon]
    starts = [low] if low == done else []
    ends = [end.end() for end in SENTENCE_END.finditer(before)]
    if ends and (before[ends[-1]].isupper() or not before[ends[-1]].isascii()):
        starts.append(low + ends[-1])
    if upper := UPPER_RUN.search(before.rstrip()):
        starts.append(low + upper.start())
    if done == 0 and colon <= MAX_EXAM:
        starts += [
            w.start() for w in WORD_START.finditer(line, 1, colon) if is_exam(line[: w.start()])
        ]
    for start in starts:
        title = line[start:colon]
        if kind_of(MARK.sub("", title, count=1) if start == 0 else title) is not Kind.OTHER:
            return start
    return None


def _blocks(found: list[_Open]) -> list[Section]:
    """Sections numbered by report: one that begins after an impression, with anything else, is the
    next report's."""
    numbered: list[Section] = []
    block, seen = 0, set[Kind]()
    for section in found:
        begins = section.kind in {Kind.TECHNIQUE, Kind.HISTORY} or (
            section.kind is Kind.FINDINGS and Kind.FINDINGS in seen
        )
        if begins and Kind.IMPRESSION in seen and not section.within:
            block, seen = block + 1, set()
        if section.kind is not None:
            seen.add(section.kind)
        numbered.append(
            Section(section.kind, section.title, tuple(section.lines), section.within, block)
        )
    with_findings = {s.block for s in numbered if s.kind is Kind.FINDINGS}
    return [replace(s, has_findings=s.block in with_findings) for s in numbered]
