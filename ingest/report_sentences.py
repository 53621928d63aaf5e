"""A paragraph of a report -> its sentences.

In: text without line breaks. Out: sentences, whole. A full stop ends one only where none of these
goes on: a number ("3.5 x 2.1 cm. mass"), an abbreviation ("Dr.", "e.g.", "V. a."), an initial
("L. lower lobe"), an open parenthesis. Sentences of Chinese and Japanese end at their own stop.
"""

from __future__ import annotations

import re
from collections.abc import Iterator

from ingest.common_words import words as word_set

NEVER_END = word_set(
    "dr drs mr mrs ms prof pt vs e.g eg i.e ie cf ca approx fig figs nr vol incl excl esp resp "
    "dept st jr sr viz aka ser ing hon sp spp z.b d.h u.a v.a z.n z.t s.o s.u o.g o.b u.u bzw ggf "
    "evtl insb inkl zzgl max min med dipl p.ex ej sra sr dra örn vb"
)
"""Abbreviations that something always follows."""
HONORIFICS = word_set("dr drs mr mrs prof st")
"""The same in capitals; other capitals are an acronym that may end a sentence: MS."""
SELDOM_END = word_set(
    "no nos cm mm ml cc kg mg im img se li re bds ant post sup inf lat med asc desc seg segs art "
    "vv aa rt lt bilat obl trans sag cor ax abd temp etc al inc ltd diam thk min hr hrs sec dist "
    "prox int ext rad mod neg pos susp poss prob unremark gg abb"
)
"""Words and units that end a sentence when the next begins with a capital letter, and not
otherwise; no digit need follow."""
LABELLED = word_set(
    "level levels grade type stage class bosniak segment segments zone group category fisher "
    "phase chiari vitamin hepatitis le fort stanford debakey part view lobe figure schatzker "
    "salter harris pirads rads"
)
"""Before a single letter that is a name and not an initial: "Level I. The ..."."""
STARTERS = word_set(
    "the there no not normal it its this these those a an in on at mild moderate severe small "
    "large stable unchanged findings bilateral multiple left right status post please other "
    "otherwise also however additionally again impression kein keine keinen die der das es ein "
    "eine im am weiterhin unauffällig sonst kleine le la les il pas aucun une un el los las sin "
    "se"
)
"""Words that begin a sentence, and seldom come with a capital letter within one."""
END = re.compile(
    r"[.!?]+[)\]\"'\u201d\u2019\u00bb]{0,3}[.!?]*(?=\s|$)"
    r"|(?<=[^\W\d_]{3})[.!?](?=[A-Z][a-z])"
    r"|(?<=[cm]m)[.](?=[A-Z][a-z])"
    r"|[\u3002\uff01\uff1f\uff0e]+[\u300d\uff09\u300f]*"
)
LAST_WORD = re.compile(r"([^\s()\[\]\"]{1,24})$")
LETTERS = re.compile(r"[^\W\d_]+")
FIRST_LETTERS = re.compile(r"[^\w]*([^\W_]+)")
MAX_PARENTHESIS = 200
"""Characters within which a parenthesis is expected to close."""
CJK = re.compile(r"[\u3040-\u30ff\u3400-\u9fff\uac00-\ud7af]")
MIN_LETTERS = 4
MIN_CJK = 2


def sentences(paragraph: str) -> list[str]:
    """Sentences of a paragraph, each ended by a stop.

    >>> sentences("A 3.5 x 2.1 cm. mass, e.g. a cyst. No effusion")
    ['A 3.5 x 2.1 cm. mass, e.g. a cyst.', 'No effusion.']
    """
    found = []
    for piece in _pieces(paragraph):
        piece = piece.strip().lstrip(",;:").strip()
        if holds_words(piece):
            found.append(piece if _is_ended(piece) else f"{piece.rstrip(',;: ')}.")
    return found


def holds_words(text: str) -> bool:
    """Whether there is enough to be a statement at all."""
    return (
        sum(len(word) for word in LETTERS.findall(text[:400])) >= MIN_LETTERS
        or len(CJK.findall(text[:400])) >= MIN_CJK
    )


def _pieces(paragraph: str) -> Iterator[str]:
    start = opened = closed = seen = 0
    for end in END.finditer(paragraph):
        opened += paragraph.count("(", seen, end.end())
        closed += paragraph.count(")", seen, end.end())
        seen = end.end()
        if end.end() >= len(paragraph):
            break
        if end[0][0] in ".!?" and (
            (opened > closed and ")" in paragraph[seen : seen + MAX_PARENTHESIS])
            or _goes_on(paragraph, start, end)
        ):
            continue
        yield paragraph[start : end.end()]
        start, opened, closed = end.end(), 0, 0
        seen = start
    yield paragraph[start:]


def _goes_on(paragraph: str, start: int, end: re.Match[str]) -> bool:
    """Whether the sentence is not at its end."""
    before = paragraph[max(start, end.start() - 60) : end.start()]
    after = paragraph[end.end() : end.end() + 40].lstrip()
    last = LAST_WORD.search(before)
    word = last[1].strip("(\"'").lower() if last else ""
    next_word = FIRST_LETTERS.match(after)
    first = next_word[1] if next_word else ""
    if end[0].startswith("..") or not first:
        return not first[:1].isupper()
    is_acronym = last and last[1].isupper() and len(word) > 1 and word not in HONORIFICS
    if is_acronym and first[0].isupper() and not after.isupper():
        return False  # MS is a disease where Ms. is a title
    if word in NEVER_END or word.rpartition("/")[2] in NEVER_END:
        return True
    if first[0].isdigit():
        return word in {"no", "nos", "im", "img", "se", "seg", "art"} or _is_initial(word, before)
    if first[0].islower():
        return end[0][0] != "." or word in SELDOM_END or not _is_plain(word)
    if first.lower() in STARTERS:
        return False if len(word) > 1 else _is_initial(word, before) and first.lower() in {"a", "i"}
    if _is_initial(word, before):
        return True
    return word in {"no", "li", "re", "bds", "lt", "rt", "abb"} and len(first) > 1


def _is_initial(word: str, before: str) -> bool:
    """A single letter that is no grade or level: "L." of "L. lower lobe"."""
    if len(word) != 1 or not word.isalpha():
        return False
    earlier = before.lower().split()[:-1]
    return not earlier or earlier[-1] not in LABELLED


def _is_plain(word: str) -> bool:
    """A word that is no abbreviation: letters with a vowel among them, or closing parentheses."""
    core = word.rstrip(")]")
    letters = core.rpartition("-")[2].rpartition("/")[2]
    return (
        len(letters) >= 4 and letters.isalpha() and any(c in "aeiouyäöüéèàáíóúı" for c in letters)
    )


def _is_ended(piece: str) -> bool:
    return piece.rstrip(")]\"'\u201d\u2019\u00bb\u300d\uff09")[-1:] in tuple(
        ".!?\u3002\uff01\uff1f\uff0e"
    )
