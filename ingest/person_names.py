"""What of a supposed person's name can be one, in a report: anatomy, eponyms, levels cannot.

In: folded text, spans that a recogniser of names (trained on news) took for people. Out: the parts
of them that stay. The idea: a report writes names with a capital and small letters; a capital
at the beginning of a sentence says nothing; and what is called after somebody is nobody.
"""

from __future__ import annotations

import re
from collections.abc import Iterable, Iterator

from ingest.common_words import COMMON, EPONYM_THINGS, EPONYMS, PARTICLES, TITLES, words
from ingest.spans import BETWEEN_NAMES, Span

TOKEN = re.compile(r"[^\W_]+(?:['-][^\W_]+)*")
PART = re.compile(r"[^\W\d_]+")
SMALL = re.compile(r"\b[a-z][a-z'-]*\b")
SENTENCE_BEGINS = re.compile(r"(?:\A|[.!?:;\n])[\s,*>\"'\d)-]*\Z")
"""Before a word whose capital says nothing."""
BEFORE = 8
"""Characters that are looked at."""
THING_FOLLOWS = re.compile(
    rf"(?:{EPONYM_THINGS}|(?:'s|s')?[ -](?:angle|body|criteria|drain|guidelines|hernia|interval|"
    r"lesions?|needle|procedure|ring|scale|sinus(?:es)?|society|spaces?|station|tear|technique|tube|"
    r"wire))\b",
    re.I,
)
THING_BEFORE = re.compile(
    r"\b(?:ampulla|angle|area|canal|circle|duct|fissure|foramen|fossa|islands?|islets?|ligament|"
    r"line|loop|node|notch|plane|point|pouch|recess|ring|sign|sphincter|sulcus|triad|triangle|"
    r"tubercle|valve|vein|zone) of (?:the )?\Z",
    re.I,
)
LONGEST_THING = 20
PRODUCTS = words(
    """
    ativan bracco coumadin decadron dilantin dotarem eliquis eovist feraheme gadavist gastrografin
    guerbet heparin hitachi ingenia iodixanol iohexol iopamidol isovue keppra lasix lovenox
    magnevist medrad medtronic multihance omnipaque optiray oxilan philips plavix primovist prohance
    reglan siemens solumedrol somatom technetium toshiba tylenol ultravist valium versed vicodin
    visipaque volumen xarelto
    """
)
"""Contrast media, drugs, scanners and their makers, written like names."""
OPENING = words("diffuse known likely mild moderate possible probable prior severe suspected")
"""What a sentence may begin with, before a name that is none."""
CLINICAL = re.compile(
    r"\w+(?:megaly|osis|itis|iasis|pathy|ectomy|otomy|plasty|graphy|scopy|emia|ectasis|olysis)",
    re.I,
)


def names_in(text: str, people: Iterable[tuple[int, int]]) -> Iterator[Span]:
    """The parts of supposed names, each from a start to an end, that can be names of people."""
    small = frozenset(SMALL.findall(text))
    for start, end in people:
        for run in _runs(text, start, end):
            if _is_name(text, run, small):
                yield Span(run[0].start(), run[-1].end(), "NAME")


def _runs(text: str, start: int, end: int) -> Iterator[list[re.Match[str]]]:
    """Words that follow each other and are written as names are."""
    run: list[re.Match[str]] = []
    for token in TOKEN.finditer(text, start, end):
        is_one = _is_written_as_name(token[0])
        if run and is_one and BETWEEN_NAMES.fullmatch(text[run[-1].end() : token.start()]):
            run.append(token)
            continue
        if run:
            yield run
        run = [token] if is_one else []
    if run:
        yield run


def _is_written_as_name(word: str) -> bool:
    """Roe, O'Brien, McKay-Li, J, van, MD; not CT, L5 or liver."""
    if word.lower() in TITLES or word in PARTICLES:
        return True
    shouts = any(len(part) > 1 and part.isupper() for part in PART.findall(word))
    return word[0].isupper() and not shouts and not any(char.isdigit() for char in word)


def _is_name(text: str, run: list[re.Match[str]], small: frozenset[str]) -> bool:
    words = [token[0] for token in run]
    if not any(_counts(word) and not _is_known(word, small) for word in words):
        return False
    return len(run) > 1 or not _is_no_name_alone(text, run[0])


def _counts(word: str) -> bool:
    """Whether a word tells a name: a title, an initial and a particle alone do not."""
    return len(word) > 1 and word.lower() not in TITLES and word not in PARTICLES


def _is_known(word: str, small: frozenset[str]) -> bool:
    """Whether a word is one of reports, or of this one, where it stands in small letters too."""
    parts = [part.lower() for part in PART.findall(word.removesuffix("'s"))]
    return (
        all(part in COMMON | EPONYMS | PRODUCTS | OPENING for part in parts)
        or CLINICAL.fullmatch(word) is not None
        or word.lower() in small
    )


def _is_no_name_alone(text: str, token: re.Match[str]) -> bool:
    start, end = token.span()
    return (
        SENTENCE_BEGINS.search(text, max(0, start - BEFORE), start) is not None
        or THING_FOLLOWS.match(text, end) is not None
        or THING_BEFORE.search(text, max(0, start - LONGEST_THING), start) is not None
    )
