"""People in a report, by what stands beside their names: a title, a degree, "signed by", "told to".

In: folded text. Out: spans of kind NAME. A name alone in prose is not found here; those of the
study's own header are (`seeds`).
"""

from __future__ import annotations

import re
from collections.abc import Iterator

from ingest.common_words import COMMON, PARTICLES, TITLES, words
from ingest.spans import Span

_PARTICLE = "(?:" + "|".join(sorted(PARTICLES - {"a", "e", "i", "y", "do"})) + ")"
WORD = r"[A-Z](?:[\w']|-(?=\w)){0,40}"
"""A capitalised word of a name, with its hyphens and apostrophes."""
INITIAL = r"[A-Z]\.(?![a-z])"
_LATER = rf"(?:[ ]+(?:{INITIAL}|{WORD}|{_PARTICLE}[ ]+{WORD}))"
NAME = rf"(?:(?:[A-Z]\.[ ]?){{0,3}}(?:{_PARTICLE}[ ]+){{0,3}}{WORD}{_LATER}{{0,3}})"

TITLED = re.compile(
    r"\b(?:Dr|Drs|Prof|Mr|Mrs|Ms|Miss|Mme|Frau|Herrn?|Dra|Sra|DRS?|MRS|PROF)\b\.?"
    rf"(?:[ ]*\b(?:Dr|Prof|med|rer|nat|h|c)\b\.?)*[ ]+({NAME})"
    r"|\b(?:dr|mrs|ms|mr|prof)\.[ ]+([a-z]{2,})\b"
)
DEGREE = re.compile(
    rf"{NAME}(?:,?[ ]+(?:M\.D\.|MD|D\.O\.|Ph\.?D\.?|MBBS|FRCR|FACR)"
    r"|,[ ]+(?:DO|RN|NP|PA-C|PA|RT))(?![\w'])"
)
_DONE = (
    "signed|dictated|transcribed|approved|verified|authenticated|interpreted|reviewed|reported|"
    "read|performed|prepared|signed[ ]off"
)
_DOCTOR = "physician|radiologist|doctor|provider|clinician"
_ROLE = (
    rf"patient(?:'?s)?[ ]name|patient|name|referring(?:[ ](?:{_DOCTOR}|md))?|"
    rf"(?:(?:ordering|attending|requesting|reading|primary)[ ])?(?:{_DOCTOR})|"
    "attending|resident|fellow|technologist|referrer|operator|radiographer|cc"
)
LABELLED = re.compile(
    rf"\b(?i:(?:electronically[ ]|e-)?(?:{_DONE})(?:[ ]electronically)?(?:[ ]by[ ]?:?|:)"
    rf"|(?:{_ROLE})[ ]?:)[ \t]*({NAME}(?:,[ ]*{NAME})?)"
)
_TELL = (
    "discussed|communicated|conveyed|reported|called|relayed|given|spoke|reviewed|notified|"
    "informed|contacted|paged|telephoned"
)
TOLD = re.compile(
    rf"\b(?i:{_TELL})\b[^.\n]{{0,60}}?\b(?:with|to|by)[ ]+"
    rf"((?:[A-Z]\.[ ]?)*{WORD}[ ]+(?:[A-Z]\.[ ]?)?{WORD})"
    rf"|\b(?:[Nn]otified|[Ii]nformed|[Cc]ontacted|[Pp]aged|[Cc]alled)[ ]+({WORD}[ ]+{WORD})"
)
SENTENCE = words(
    "the there no not at on was is has had and in for with this a an i if he she who findings "
    "impression comparison technique clinical history recommended recommend ct mri mr"
)
"""Words that end a titled name, capital or not: the next sentence has begun."""
NOBODY = words("none unknown not na male female the see stable no a an")
"""What stands after "Patient:" and is no name."""


def people(text: str) -> Iterator[Span]:
    """Spans of named people, which may overlap."""
    for match in TITLED.finditer(text):
        yield Span(match.start(), _end_of_name(text, *match.span(match.lastindex or 0)), "NAME")
    for match in DEGREE.finditer(text):
        yield Span(*match.span(), "NAME")
    for match in LABELLED.finditer(text):
        if match[1].split()[0].lower() not in NOBODY:
            yield Span(*match.span(1), "NAME")
    for match in TOLD.finditer(text):
        start, end = match.span(match.lastindex or 0)
        if not _is_plain(text[start:end]):
            yield Span(start, end, "NAME")


def _end_of_name(text: str, start: int, end: int) -> int:
    last = start
    for number, word in enumerate(re.finditer(r"\S+", text[start:end])):
        if number and word[0].lower() in SENTENCE:
            return last
        last = start + word.end()
    return end


def _is_plain(name: str) -> bool:
    """Whether all words are common ones: "General Surgery" is nobody."""
    found = [w.lower() for w in re.findall(r"[^\W\d_]+", name)]
    return all(w in COMMON or w in TITLES or len(w) == 1 for w in found)
