"""Report text without what identifies.

In: a report, the identifying header values of its study. Out: the text with every identifying span
replaced by [KIND], and how many there were of each kind. Two sources of spans: patterns (dates,
telephone numbers, titles with names, ...; `identifying_patterns`) and the header's own values
however they are written (`seeds`). Spans are found in the untouched text and cut at once, so that
no replacement hides another. Source: the identifiers of 45 CFR 164.514(b)(2)(i).
"""

from __future__ import annotations

import re
from collections import Counter
from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass, field

from ingest.folded import fold
from ingest.identifying_patterns import KINDS, pattern_spans
from ingest.seeds import seed_spans
from ingest.spans import Find, Span, joined, nothing

MARK = re.compile(rf"\[(?:{'|'.join(KINDS)})\]")
"""What a scrubbed span was replaced by."""


@dataclass(frozen=True)
class Scrubbed:
    """A text without identifying spans."""

    text: str
    counts: Mapping[str, int] = field(default_factory=dict)
    """Kind -> how many spans were cut; never what they were."""


def scrub(text: str, identifying: Sequence[str], find: Find = nothing) -> str:
    """Report text with identifying spans replaced by [KIND]; `identifying` are header values of the
    study (see `identity`)."""
    return scrubbed(text, identifying, find).text


def scrubbed(text: str, identifying: Sequence[str], find: Find = nothing) -> Scrubbed:
    """The same, with counts, and with what `find` finds in folded text besides. Without it,
    scrubbing again changes nothing.

    >>> scrubbed("Ms. Doe, seen 3/15/61: 12 mm mass.", ["Doe^Jane"])
    Scrubbed(text='[NAME], seen [DATE]: 12 mm mass.', counts={'DATE': 1, 'NAME': 1})
    """
    folded = fold(text)
    marks = [match.span() for match in MARK.finditer(folded.text)]
    seeded = seed_spans(folded.text, identifying)
    found = [*pattern_spans(folded.text), *seeded, *find(folded.text)]
    spans = joined([span for span in found if not _within(span, marks)], folded.text)
    pieces, done = [], 0
    for span in spans:
        start, end = folded.original(span.start, span.end)
        pieces += [text[done:start], f"[{span.kind}]"]
        done = end
    counts = Counter(span.kind for span in spans)
    return Scrubbed("".join([*pieces, text[done:]]), dict(sorted(counts.items())))


def _within(span: Span, marks: Sequence[tuple[int, int]]) -> bool:
    return any(span.start < end and start < span.end for start, end in marks)


def total(counts: Iterable[Mapping[str, int]]) -> dict[str, int]:
    """Spans of many texts by kind.

    >>> total([{"DATE": 1, "NAME": 2}, {}, {"DATE": 1}])
    {'DATE': 2, 'NAME': 2}
    """
    found = Counter[str]()
    for of_one in counts:
        found.update(of_one)
    return dict(sorted(found.items()))


def in_words(counts: Mapping[str, int]) -> str:
    """For people; empty where nothing was cut.

    >>> in_words({"DATE": 12, "NAME": 3})
    '15 spans scrubbed: 12 DATE, 3 NAME'
    """
    if not counts:
        return ""
    by_kind = ", ".join(f"{count:,} {kind}" for kind, count in counts.items())
    return f"{sum(counts.values()):,} spans scrubbed: {by_kind}"


def changed_words(before: str, after: str) -> Iterator[str]:
    """Words of a text that are not in its scrubbed form any more: to measure what was cut."""
    left = Counter(MARK.sub(" ", after).split())
    for word in before.split():
        if left[word]:
            left[word] -= 1
        else:
            yield word
