"""Spans of reports that identify whatever the header says: dates, numbers, places, contacts.

In: folded text (see `folded`). Out: spans with their kind. Sizes, levels, grades, series and image
numbers must not look like any of it: every pattern says what it must not be followed or preceded
by. People are in `named_people`. Source: the identifiers of 45 CFR 164.514(b)(2)(i).
"""

from __future__ import annotations

import re
from collections.abc import Iterator

from ingest.common_words import GENERIC_PLACES, month_names
from ingest.named_people import people
from ingest.spans import Span

KINDS = ("DATE", "TIME", "AGE", "PHONE", "EMAIL", "URL", "UID", "ID", "NUMBER", "PLACE", "NAME")


def _any(*patterns: str, ignore_case: bool = True) -> re.Pattern[str]:
    return re.compile("|".join(patterns), re.I if ignore_case else re.NOFLAG)


# -------------------------------------------------------------------------------- dates and times

_NAMES = sorted({name for m in range(1, 13) for name in month_names(m)}, key=lambda n: (-len(n), n))
MONTH = rf"(?:(?:{'|'.join(_NAMES)})\b\.?)"
_CLEAR = [name.capitalize() for name in _NAMES if name not in ("mar", "mars", "mai", "may")]
CAPITAL_MONTH = rf"(?:(?:{'|'.join([*_CLEAR, *(name.upper() for name in _CLEAR)])})\b\.?)"
"""Without a year only a capital tells a month from a word."""
DAY = r"(?:0?[1-9]|[12]\d|3[01])(?:st|nd|rd|th|\.)?"
DAY_OR_MONTH = r"(?:0?[1-9]|[12]\d|3[01])"
YEAR = r"(?:(?:18|19|20)\d\d)"
NOT_WITHIN = r"(?<![\w.,/-])"
NO_SIZE = r"(?![\w/]|[.,]\d|-\d|\s*(?:mm|cm|ms|ml|hu|x)\b)"
"""Not the beginning of a number, a fraction or a size."""
_OF_A_STUDY = r"(?:study|exam(?:ination)?|ct|mri?|scan|film|image)s?\s+(?:of|from|on)"
_COUNTED = r"\s*(?:mm|cm|of|views?|images?|slices?|sequences?|levels?|strength)\b"

DATES = _any(
    rf"{NOT_WITHIN}\d{{1,2}}([/.-])\d{{1,2}}\1\d{{4}}{NO_SIZE}",
    rf"{NOT_WITHIN}\d{{1,2}}/\d{{1,2}}/\d{{2}}{NO_SIZE}",
    rf"{NOT_WITHIN}\d{{2}}([.-])\d{{2}}\2\d{{2}}{NO_SIZE}",
    rf"{NOT_WITHIN}{YEAR}([/.-])\d{{1,2}}\3\d{{1,2}}(?:T[\d:.]+Z?)?(?![\w/])",
    rf"{NOT_WITHIN}(?:0?[1-9]|1[0-2])[/-]{YEAR}{NO_SIZE}",
    rf"\b{DAY}(?:\s+of)?[\s./-]*{MONTH},?[\s./-]*(?:{YEAR}|'?\d\d){NO_SIZE}",
    rf"\b{YEAR}[\s/-]{MONTH}(?:[\s/-]\d{{1,2}})?(?!\w)",
)
MONTHS = _any(
    rf"\b{MONTH}\s*{DAY}\s*,?\s+(?:{YEAR}|'\d\d){NO_SIZE}",
    rf"\b{MONTH},?[\s/-]+(?:of\s+)?(?:{YEAR}|'\d\d)\b",
)
"""Dates that begin with the month. Slow to look for: only where there is a year at all."""
HAS_YEAR = re.compile(rf"\b{YEAR}\b|'\d\d\b")
SHORT_DATES = _any(
    rf"\b{CAPITAL_MONTH}\s+{DAY}{NO_SIZE}",
    rf"\b{DAY}(?:\s+of)?\s+{CAPITAL_MONTH}(?!\w)",
    r"(?<=\b[oO]n )(?:May|Mar)\.?\s+\d{1,2}(?:st|nd|rd|th)?\b",
    r"\b\d{1,2}(?:st|nd|rd|th) of (?:May|Mar)\b",
    ignore_case=False,
)
"""Days of a month without a year."""
DATED = _any(
    r"\b(?:on|dated|date|since|dob|born|until|seen|exam|study|ct|mri?|prior|of|from)\s*:?\s*"
    r"(\d{1,2}-\d{1,2}-\d\d)(?![\w/-])",
    rf"\b(?:on|dated|since|{_OF_A_STUDY})\s+({DAY_OR_MONTH}/{DAY_OR_MONTH})"
    rf"(?![\w/]|-\d|[.,]\d|{_COUNTED})",
)
"""What only the word before it tells from a fraction or a range."""

_HOUR, _MINUTE = r"(?:[01]?\d|2[0-3])", r"[0-5]\d"
TIMES = _any(
    rf"\b{_HOUR}:{_MINUTE}(?::{_MINUTE}(?:\.\d+)?)?\s*(?:[ap]\.?\s?m\b|h(?:ou)?rs?\b|uhr\b)",
    rf"\b{_HOUR}:{_MINUTE}:{_MINUTE}\b",
    rf"(?<![\d/:])(?:[01]\d|2[0-3]):{_MINUTE}(?![\d:]|\s*(?:position|o'?clock))",
    rf"(?<=\bat )\d:{_MINUTE}\b",
    rf"(?<=\bat )(?:[01]\d|2[0-3]){_MINUTE}\s*h(?:ou)?rs?\b",
    r"\b(?:1[0-2]|0?[1-9])\s?[ap]\.?m\b",
)
_OLD = r"(?:9\d|1[0-2]\d)"
AGES = _any(
    rf"{NOT_WITHIN}{_OLD}(?=(?:\s|-)*(?:years?|yrs?|y\.?/?o\b|y\b|jahre|jahrige))",
    rf"(?<=\bage )(?:of )?{_OLD}\b(?!\s*(?:mm|cm|%))",
    rf"(?<=\bage: ){_OLD}\b",
    rf"(?<=\baged ){_OLD}\b",
    rf"{NOT_WITHIN}{_OLD}(?=(?-i:[MF])\b)",
    r"\bninety(?:[- ](?:one|two|three|four|five|six|seven|eight|nine))?(?=[- ]years?)",
    r"\bnineties\b",
)
"""Ages over 89."""

# -------------------------------------------------------------------------------- numbers, contacts

PHONES = _any(
    r"(?<![\w.])(?:\+?\d{1,3}[ .-]?)?(?:\(\d{3}\)[ .-]?|\d{3}[ .-])\d{3}[ .-]\d{4}(?!\w)",
    r"(?<![\w.])\+\d{1,3}(?:[ .()/-]{0,2}\d){7,12}(?!\w)",
    r"\b(?:tele(?:phone|fon)|tel|phone|ph|pager|beeper|fax|mobile|cell|ext|extension)\b\.?\s*"
    r"(?:no\.?|number)?\s*[:#]?\s*(\+?[\d(][\d ().-]{1,16}\d)(?!\w)",
)
EMAILS = _any(r"\b[\w.+-]{1,64}@[\w-]{1,64}(?:\.[\w-]{1,64}){1,9}\b")
URLS = _any(
    r"\b(?:https?|ftp|file)://\S*[\w/]",
    r"\bwww\.\S*[\w/]",
    r"\b[a-z][\w-]{1,64}\.(?:org|com|net|edu|gov)\b(?:/\S*\w)?",
    r"(?<!\w)[a-z]:\\\S*\w",
    r"(?<!\S)\\\\\S*\w",
    r"(?<![\w/])/(?:[\w.-]{1,99}/){1,30}[\w.-]{0,99}\w",
)
"""Addresses of the web, and paths of files."""
UIDS = _any(r"\b[012](?:\.\d+){4,}\b")
_CODE = r"([a-z]*[-./]?\d[a-z0-9]*(?:[-./][a-z0-9]+)*)"
_LONG_CODE = r"([a-z]*[-./]?\d{3}[a-z0-9]*(?:[-./][a-z0-9]+)*)"
IDS = _any(
    r"\b(?:mrn|medical\s+record|ssn|social\s+security|accession|nhs|npi|csn|acc\b\.?#?|"
    r"pat(?:ient)?\.?\s+id|pid)(?:\s+(?:no\b\.?|number))?\s*(?:is\s+)?[:#]*\s*" + _CODE,
    r"\b(?:id|record|account|acct|order|visit|encounter|case|study|exam|requisition|serial|policy|"
    r"room|bed|license|member|fall|request)\s*(?:(?:no|nr)\b\.?\s*[:#]?|number|#|:|id\b\s*:?)"
    r"\s*[:#]?\s*" + _LONG_CODE,
    r"(?<![\w-])(\d{3}-\d{2}-\d{4})(?![\w-])",
)
CODES = _any(
    r"(?<![\w-])[A-Za-z]{1,4}-?\d{5,}\w*",
    r"(?<![\w-])(?=[\w/-]{0,40}[A-Z])(?=(?:[\w/-]{0,40}?\d){5})(?=[\w/-]{0,40}\d{4})"
    r"[A-Z0-9]{1,40}(?:[-_/][A-Z0-9]{1,40}){1,9}(?![\w-])",
    r"(?<![\w.])(?:\d{1,3}\.){3}\d{2,3}(?![\w.])",
    ignore_case=False,
)
"""Letters and many digits in one word; addresses of machines."""
NUMBERS = _any(r"(?<![\w.])\d{6,}(?!\w)", r"(?<![\w.])\d{3} \d{3} \d{3,4}(?!\w)")

# -------------------------------------------------------------------------------- places

_STREET = (
    "Street|St|Avenue|Ave|Road|Rd|Boulevard|Blvd|Lane|Ln|Drive|Court|Way|Square|Sq|Parkway|Pkwy|"
    "Highway|Hwy|Terrace|STREET|AVENUE|ROAD|BOULEVARD|DRIVE|LANE"
)
ADDRESSES = _any(
    rf"\b\d{{1,5}}[a-z]?\s+(?:[A-Z][\w'.-]{{0,30}}\s+){{1,4}}(?:{_STREET})\b\.?",
    r"\b[A-Z]\w+(?:str\.|strasse|weg|platz|allee|gasse)\s+\d{1,4}[a-z]?\b",
    r"\b(?:P\.?\s?O\.?\s+Box)\s+\d+",
    r"\b(?:ZIP|Zip|zip|PLZ|[Pp]ostcode)(?: [Cc]ode)?:?\s*\d{5}(?:-\d{4})?\b",
    r"(?:\b[A-Z][\w'.-]{1,30}(?:[ ][A-Z][\w'.-]{1,30}){0,2},?[ ]+)?"
    r"\b[A-Z]{2}[ ]+\d{5}(?:-\d{4})?(?![\w,/-]{0,30}\d)",
    r"\bD-\d{5}(?:[ ][A-Z]\w+)?",
    ignore_case=False,
)
_HOSPITAL = (
    "Hospital|Medical[ ]Cent(?:er|re)|Infirmary|Health[ ]System|HOSPITAL|MEDICAL[ ]CENT(?:ER|RE)|"
    "Klinikum|Krankenhaus"
)
HOSPITALS = _any(
    rf"\b(?:(?:[A-Z][\w'&.-]{{0,30}}|of|the)[ ]+){{1,5}}(?:{_HOSPITAL})\b"
    r"(?:[ ]of(?:[ ][A-Z][\w'-]+){1,3})?",
    r"\b(?:Mayo|Cleveland)[ ]Clinic\b",
    ignore_case=False,
)

WHOLE = (
    ("DATE", DATES),
    ("DATE", SHORT_DATES),
    ("TIME", TIMES),
    ("AGE", AGES),
    ("EMAIL", EMAILS),
    ("URL", URLS),
    ("UID", UIDS),
    ("ID", CODES),
    ("NUMBER", NUMBERS),
    ("PLACE", ADDRESSES),
)
"""Patterns whose match is the span."""
IN_PART = (("DATE", DATED), ("PHONE", PHONES), ("ID", IDS))
"""Patterns of which the one group that took part is the span, where there is one."""


def pattern_spans(text: str) -> Iterator[Span]:
    """Spans of folded text, which may overlap."""
    for kind, pattern in WHOLE:
        for match in pattern.finditer(text):
            yield Span(*match.span(), kind)
    if HAS_YEAR.search(text):
        yield from (Span(*match.span(), "DATE") for match in MONTHS.finditer(text))
    for kind, pattern in IN_PART:
        for match in pattern.finditer(text):
            yield Span(*match.span(match.lastindex or 0), kind)
    for match in HOSPITALS.finditer(text):
        words = re.finditer(r"\S+", match[0])
        first = next((w for w in words if w[0].lower().strip(".") not in GENERIC_PLACES), None)
        if first is not None:
            yield Span(match.start() + first.start(), match.end(), "PLACE")
    yield from people(text)
