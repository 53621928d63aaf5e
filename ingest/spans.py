"""Spans of text: found here and there, cut once.

In: spans that may overlap. Out: spans in order that do not.
"""

from __future__ import annotations

import re
from collections.abc import Callable, Iterable, Iterator
from typing import NamedTuple


class Span(NamedTuple):
    """Characters `start` to `end` (excluded) are of `kind`: NAME, DATE, ..."""

    start: int
    end: int
    kind: str


Find = Callable[[str], Iterator[Span]]
"""Spans of a text, which may overlap."""


def nothing(_text: str) -> Iterator[Span]:
    """A `Find` that finds none."""
    return iter(())


BETWEEN_NAMES = re.compile(r"[ \t,.'-]{0,3}")
"""What may stand between two parts of one name."""


def joined(spans: Iterable[Span], text: str) -> list[Span]:
    """Spans in order, overlapping ones united under the kind of the longest; parts of one name that
    follow each other are one."""
    result: list[Span] = []
    longest = 0
    for span in sorted(spans, key=lambda s: (s.start, -s.end, s.kind)):
        if result and span.start < result[-1].end:
            last = result[-1]
            kind = span.kind if span.end - span.start > longest else last.kind
            longest = max(longest, span.end - span.start)
            result[-1] = Span(last.start, max(last.end, span.end), kind)
        elif result and _one_name(result[-1], span, text):
            longest = max(longest, span.end - span.start)
            result[-1] = Span(result[-1].start, span.end, "NAME")
        else:
            longest = span.end - span.start
            result.append(span)
    return result


def _one_name(left: Span, right: Span, text: str) -> bool:
    between = text[left.end : right.start]
    return left.kind == right.kind == "NAME" and BETWEEN_NAMES.fullmatch(between) is not None
