"""A study's own header values -> where they stand in its report, however they are written.

In: folded text and identifying values (see `identity`), marked NAME=, BIRTH=, DATE=, ID=, PLACE=,
or bare. Out: spans. The idea: text and values are compared as runs of letters and digits put
together, in small letters: "O'Brien", "OBRIEN" and "O Brien" are one, so are "AB-00123" and
"ab 123". Names count whole and in parts, in any order. Dates are in `seed_dates`.
"""

from __future__ import annotations

import re
from collections.abc import Iterator, Sequence
from dataclasses import dataclass, field

from ingest.common_words import (
    COMMON,
    EPONYM_THINGS,
    EPONYMS,
    GENERIC_PLACES,
    PARTICLES,
    TITLES,
)
from ingest.folded import plain
from ingest.seed_dates import date_of, date_spans
from ingest.spans import Span

MARKS = ("NAME", "BIRTH", "DATE", "ID", "PLACE")
TOKEN = re.compile(r"[^\W_]+")
LETTERS = re.compile(r"[^\W\d_]+(?:'[^\W\d_]+)*")
LEADING_ZEROS = 4
"""Of an identifier in the text that the header lacks."""
SHORTEST_ID = 4
SHORTEST_NAME = 3
SHORTEST_PLACE = 5
"""Letters of a value that counts alone and whatever its case."""
INITIALS_BEFORE = re.compile(r"(?:(?<![\w.])[A-Z]\.[ ]?){1,3}\Z")
INITIAL_AFTER = re.compile(r",?[ ](?:[A-Z]\.|(?![AI]\b)[A-Z](?=[\s,;:)]|\Z))")
EPONYM_FOLLOWS = re.compile(rf"{EPONYM_THINGS}\b", re.I)


@dataclass
class Seeds:
    """What to look for: values put together in small letters, by kind."""

    names: set[str] = field(default_factory=set)
    common_names: set[str] = field(default_factory=set)
    """Parts of names that are words of a report as well."""
    ideographs: set[str] = field(default_factory=set)
    ids: set[str] = field(default_factory=set)
    places: set[str] = field(default_factory=set)
    days: set[tuple[int, int]] = field(default_factory=set)
    """(month, day)"""
    birth_years: set[int] = field(default_factory=set)


def seed_spans(text: str, identifying: Sequence[str]) -> Iterator[Span]:
    """Spans of the values in the text; they may overlap."""
    seeds = seeds_of(identifying)
    certain: list[Span] = []
    doubtful: list[Span] = []
    longest = max(map(len, seeds.names | seeds.common_names | seeds.ids | seeds.places), default=0)
    for start, end, put_together, count in _runs(text, longest + LEADING_ZEROS):
        if put_together in seeds.names and not _is_eponym(text, start, end):
            certain.append(_with_initials(text, Span(start, end, "NAME")))
        elif count == 1 and put_together in seeds.common_names:
            doubtful.append(Span(start, end, "NAME"))
        if put_together.lstrip("0") in seeds.ids and not re.match(r"\.\d", text[end : end + 2]):
            yield Span(start, end, "ID")
        if put_together in seeds.places and (
            count > 1 or text[start].isupper() or any(c.isdigit() for c in put_together)
        ):
            yield Span(start, end, "PLACE")
    yield from certain
    yield from _in_company(text, certain, doubtful)
    for name in seeds.ideographs:
        yield from (Span(*m.span(), "NAME") for m in re.finditer(re.escape(name), text))
    yield from date_spans(text, seeds.days, seeds.birth_years)


def seeds_of(identifying: Sequence[str]) -> Seeds:
    """What the values of a study's headers look like in a text."""
    seeds = Seeds()
    for value in sorted({v for v in identifying if v.strip()}):
        mark, _, rest = value.partition("=")
        kind = mark if mark in MARKS else kind_of(value)
        content = plain(rest if mark in MARKS else value).strip()
        found = date_of(content) if kind in ("BIRTH", "DATE") else None
        if kind == "NAME":
            _add_name(seeds, content)
        elif found:
            seeds.days.add(found[1:])
            seeds.birth_years |= {found[0]} if kind == "BIRTH" else set()
        elif kind == "ID":
            _add_id(seeds, content)
        else:
            _add_place(seeds, content)
    return seeds


def kind_of(value: str) -> str:
    """What a bare value is, by its looks.

    >>> kind_of("Doe^Jane"), kind_of("19610315"), kind_of("AB-12"), kind_of("City Hospital")
    ('NAME', 'DATE', 'ID', 'PLACE')
    """
    if "^" in value:
        return "NAME"
    if len(value) == 8 and value.isdigit() and date_of(value):
        return "DATE"
    return "ID" if any(c.isdigit() for c in value) else "PLACE"


# -------------------------------------------------------------------------------- what to look for


def _put_together(text: str) -> str:
    return "".join(TOKEN.findall(text)).lower()


def _add_name(seeds: Seeds, name: str) -> None:
    """A PN value: alphabetic, ideographic and phonetic groups of family^given^middle^prefix^suffix
    (PS3.5 6.2.1)."""
    for group in name.split("="):
        components = [c.strip() for c in group.split("^")]
        if any(ord(c) > 0x2E7F for c in group):
            family, given = (*components, "", "")[:2]
            both = (family + given, f"{family} {given}") if family and given else ()
            seeds.ideographs.update(both, (c for c in components if len(c) >= 2))
            continue
        found = [w for component in components for w in LETTERS.findall(component)]
        found = [w for w in found if w.lower() not in TITLES | PARTICLES]
        wholes = [components[0], *(w for w in found[:2])]
        parts = [_put_together(w) for w in (*wholes, *found) if w]
        family, given = (*(_put_together(c) for c in components[:2]), "", "")[:2]
        if not given and len(found) == 2:
            family, given = (_put_together(w) for w in found)
        is_prose = {family, given} <= COMMON
        if len(family) >= 2 and len(given) >= 2 and len(family + given) >= 5 and not is_prose:
            seeds.names.update((family + given, given + family))
        for part in parts:
            common = len(part) < SHORTEST_NAME or part in COMMON
            if part not in TITLES | PARTICLES and len(part) > 1:
                (seeds.common_names if common else seeds.names).update(_spellings(part))


def _spellings(part: str) -> set[str]:
    """Ways to write a word that had an umlaut or a ring, or lost it: mueller, muller."""
    found = {part}
    for long, short in (("ae", "a"), ("oe", "o"), ("ue", "u"), ("aa", "a")):
        found |= {w.replace(long, short) for w in found}
        found |= {re.sub(rf"{short}(?![aeiou])", long, part)}
    return {w for w in found if w == part or len(w) > SHORTEST_NAME}


def _add_id(seeds: Seeds, value: str) -> None:
    put_together = _put_together(value)
    is_year = re.fullmatch(r"(?:19|20)\d\d", put_together) is not None
    if len(put_together) >= SHORTEST_ID and not is_year and put_together not in COMMON:
        stripped = put_together.lstrip("0")
        seeds.ids.add(stripped if len(stripped) >= SHORTEST_ID else put_together)


def _add_place(seeds: Seeds, value: str) -> None:
    """An institution, a department, a station, a person without a caret: whole, and without the
    words that many places have."""
    words = TOKEN.findall(value)
    core = [w for w in words if w.lower() not in GENERIC_PLACES]
    if not core or (all(w.lower() in COMMON for w in core) and len(words) < 3):
        return
    start, end = words.index(core[0]), len(words) - words[::-1].index(core[-1])
    for found in ("".join(words), "".join(words[start:end])):
        if len(found) >= SHORTEST_PLACE or any(c.isdigit() for c in found):
            seeds.places.add(found.lower())


# -------------------------------------------------------------------------------- where it stands


def _runs(text: str, longest: int) -> Iterator[tuple[int, int, str, int]]:
    """(start, end, put together, tokens) of every run of tokens with little between them, up to
    `longest` letters and digits."""
    tokens = [(m.start(), m.end(), m[0].lower()) for m in TOKEN.finditer(text)]
    for first, (start, end, put_together) in enumerate(tokens):
        yield start, end, put_together, 1
        last = end
        for count, (begin, stop, more) in enumerate(tokens[first + 1 : first + longest], 2):
            gap = text[last:begin]
            is_decimal = gap in (".", ",") and put_together[-1].isdigit() and more[0].isdigit()
            if len(gap) > 3 or is_decimal or len(put_together) + len(more) > longest:
                break
            put_together += more
            last = stop
            yield start, stop, put_together, count


def _is_eponym(text: str, start: int, end: int) -> bool:
    """Whether the thing that is called after somebody of that name follows."""
    is_one = text[start:end].lower() in EPONYMS
    return is_one and EPONYM_FOLLOWS.match(text, end) is not None


def _with_initials(text: str, span: Span) -> Span:
    before = INITIALS_BEFORE.search(text, max(0, span.start - 12), span.start)
    after = INITIAL_AFTER.match(text, span.end)
    start, end = before.start() if before else span.start, after.end() if after else span.end
    return Span(start, end, "NAME")


def _in_company(text: str, certain: Sequence[Span], doubtful: Sequence[Span]) -> Iterator[Span]:
    """Common and two-letter words that are parts of the name: beside another part, or with a
    capital where prose writes only names so."""
    for span in doubtful:
        word = text[span.start : span.end]
        others = [o for o in doubtful if text[o.start : o.end].lower() != word.lower()]
        capitals = word[0].isupper() and [o for o in others if text[o.start].isupper()]
        if (
            any(_beside(text, span, other) for other in certain)
            or any(_beside(text, span, other) for other in capitals or ())
            or _is_name_by_case(text, span)
        ):
            yield span


def _beside(text: str, one: Span, other: Span) -> bool:
    first, second = sorted((one, other))
    between = text[first.end : second.start]
    is_gap = re.fullmatch(r"[ ,.'_-]{0,3}(?:[A-Z]\.?[ ])?", between) is not None
    return second.start >= first.end and is_gap


def _is_name_by_case(text: str, span: Span) -> bool:
    word = text[span.start : span.end]
    if not (word[0].isupper() and word[1:].islower()):
        return False
    before = text[max(0, span.start - 4) : span.start]
    return word.lower() not in COMMON or re.search(r"[a-z],? \Z", before) is not None
