"""Days of a study's headers in its report, where no year tells a date from a fraction or a range.

In: folded text, days and years of birth. Out: spans of kind DATE. "3/15" and "15 March" are dates
when the header has that day; the year alone when it is that of birth. Dates with a year are found
without a header (`identifying_patterns`).
"""

from __future__ import annotations

import re
from collections.abc import Iterator, Set

from ingest.common_words import month_names
from ingest.identifying_patterns import MONTH, NO_SIZE, NOT_WITHIN
from ingest.spans import Span

_MONTH_OF = {name: month for month in range(12, 0, -1) for name in month_names(month)}
_ORDINAL = r"(\d{1,2})(?:st|nd|rd|th|\.)?"
MONTH_DAY = re.compile(rf"\b({MONTH})\s+{_ORDINAL}{NO_SIZE}", re.I)
DAY_MONTH = re.compile(rf"\b{_ORDINAL}(?:\s+of)?[\s-]+({MONTH})", re.I)
SHORT = re.compile(rf"{NOT_WITHIN}(\d{{1,2}})[/.-](\d{{1,2}})\.?{NO_SIZE}(?!\s*of\b)")
DATE_BEFORE = re.compile(
    r"\b(?:on|dated|since|from|of|study|exam|examination|ct|mri?|prior|until|before|after)\s+\Z",
    re.I,
)
YEARS = re.compile(rf"{NOT_WITHIN}((?:18|19|20)\d\d){NO_SIZE}")


def date_of(value: str) -> tuple[int, int, int] | None:
    """(year, month, day) of a DA or DT value, also with separators; None for anything else.

    >>> date_of("19610315"), date_of("1961.03.15"), date_of("196103")
    ((1961, 3, 15), (1961, 3, 15), None)
    """
    match = re.match(r"((?:18|19|20)\d\d)[-./]?(\d\d)[-./]?(\d\d)", value)
    if match is None or not 1 <= int(match[2]) <= 12 or not 1 <= int(match[3]) <= 31:
        return None
    return int(match[1]), int(match[2]), int(match[3])


def date_spans(text: str, days: Set[tuple[int, int]], birth_years: Set[int]) -> Iterator[Span]:
    """Spans of the days, (month, day), in every usual spelling, and of the years."""
    for pattern, month_group in ((MONTH_DAY, 1), (DAY_MONTH, 2)):
        for match in pattern.finditer(text) if days else ():
            month = _MONTH_OF[match[month_group].lower().strip(".")]
            if (month, int(match[3 - month_group])) in days:
                yield Span(*match.span(), "DATE")
    for match in SHORT.finditer(text) if days else ():
        one, two = int(match[1]), int(match[2])
        if {(one, two), (two, one)} & days:
            is_clear = max(one, two) > 12
            if is_clear or DATE_BEFORE.search(text, max(0, match.start() - 20), match.start()):
                yield Span(*match.span(), "DATE")
    for match in YEARS.finditer(text) if birth_years else ():
        if int(match[1]) in birth_years:
            yield Span(*match.span(1), "DATE")
