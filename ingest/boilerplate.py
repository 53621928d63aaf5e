"""Sentences of a report that are not about what the images show.

In: a sentence. Out: whether it is technique, comparison, history, communication, signature or
disclaimer and nothing else. Each pattern asks for the whole turn of phrase, not for a word: "larger
than on the prior exam" is a finding, "comparison is made with the prior exam" is not.
"""

from __future__ import annotations

import re
from functools import lru_cache

from ingest.anatomy import names_anatomy
from ingest.boilerplate_patterns import (
    AGENT,
    COMMUNICATION,
    COMPARISON,
    DOCTOR,
    HISTORY,
    IMAGES,
    INDICATION,
    INSTRUCTION,
    LIMITATION,
    TECHNIQUE,
)
from ingest.report_titles import is_exam

LOOKED_AT = 600
"""Characters of a sentence that are looked at: no boilerplate is longer."""

_MADE_OF = [re.compile(pattern) for group in (TECHNIQUE, COMPARISON) for pattern in group]
_OTHER = [
    re.compile(pattern)
    for group in (LIMITATION, HISTORY, COMMUNICATION, INSTRUCTION)
    for pattern in group
]
CHANGE = re.compile(
    r"\b(?:unchanged|stable|larger|smaller|grown|(?:in|de)creased|enlarged|resolved"
    r"|progress(?:ed|ion)"
    r"|no (?:significant|interval|definite|new|evidence|acute)|has changed|new)\b"
)
"""What a comparison found: how it was made may stand in the same sentence."""
_INDICATION = re.compile("|".join(INDICATION))
VERBLESS = re.compile(
    rf"^(?:the )?(?:\w+[ -]){{0,6}}{IMAGES}\b(?: \S+){{0,25}} (?:with|without|using|after"
    rf"|following)"
    rf" (?:\S+ ){{0,6}}{AGENT}\b.{{0,60}}$",
    re.I,
)
"""What was done, in a sentence without a verb."""
TRAILING = re.compile(
    r"[,;(]? ?(?:which (?:was|were) |and )?(?:(?:this |these |findings? |results? )+(?:was |were "
    r"))?"
    r"(?:discussed|communicated|reported|conveyed|relayed|telephoned|called|phoned) (?:with|to|by)"
    rf"\b[^.]{{0,20}}{DOCTOR}.{{0,120}}$",
    re.I,
)
"""Communication at the end of a sentence that says more."""
STATEMENT = re.compile(
    r"\b(?:is|are|was|were|has|have|had|shows?|showed|demonstrates?|demonstrated|reveals?|appears?|"
    r"measures?|measuring|seen|noted|identified|contains?|extends?|suggests?|represents?|remains?"
    r"|lies|cannot|may|enhances?|visuali[sz]ed|disclose[sd]?|involves?|causes?|maintained|evident"
    r"|present|terminates?|exhibits?)\b",
    re.I,
)
"""A verb: the sentence stands by itself."""
STATE = re.compile(r"\b(?:no|not|normal|unremarkable|negative|stable|unchanged|evidence)\b", re.I)
OF_ORGAN = re.compile(
    r"\b(?:is|are|was|were|appears?|remains?) (?:\w+ ){0,3}(?:normal|maintained|intact|clear|patent"
    r"|unremarkable|preserved|within|seen|noted|identified|present|enlarged|dilated|stable"
    r"|unchanged"
    r"|degenerat\w*|mildly|moderately|severely|atrophic|prominent|visuali[sz]ed|open|aligned"
    r"|evident)\b",
    re.I,
)
NEGATION_OR_STATE = re.compile(
    r"^(?:no\b|there (?:is|are|was|were|has|have)\b|normal\b|unremarkable|stable\b|unchanged|mild"
    r"|moderate|severe|small|large|multiple|few|several|scattered|diffuse|bilateral|left|right"
    r"|new\b"
    r"|interval|the\b|visuali[sz]ed|within\b|status post|an? \d|an?\b|kein|keine)",
    re.I,
)


@lru_cache(maxsize=1 << 14)
def is_boilerplate(sentence: str, is_titled: bool = True) -> bool:
    """Whether a sentence says nothing of what the images show. `is_titled`: it stands under a title
    of findings."""
    if len(sentence) > LOOKED_AT:
        return False
    text = sentence.strip().rstrip(".!").lower()
    return (
        any(pattern.search(text) for pattern in _OTHER)
        or (any(pattern.search(text) for pattern in _MADE_OF) and not CHANGE.search(text))
        or is_exam(text)
        or (is_verbless(text) and not STATE.search(text) and bool(VERBLESS.search(text)))
        or (not is_titled and bool(_INDICATION.search(text)))
    )


@lru_cache(maxsize=1 << 14)
def without_communication(sentence: str) -> str:
    """A sentence without whom its finding was told at its end."""
    if len(sentence) > LOOKED_AT:
        return sentence
    cut = TRAILING.search(sentence)
    if cut is None or cut.start() == 0 or not names_anatomy(sentence[: cut.start()]):
        return sentence
    return f"{sentence[: cut.start()].rstrip(' ,;(')}."


def is_verbless(sentence: str) -> bool:
    """Whether a sentence is a fragment: "Normal." """
    return not STATEMENT.search(sentence[:LOOKED_AT])


def is_statement(sentence: str) -> bool:
    """Whether words that stand where no finding is expected are one: they say of anatomy that it is
    or has something."""
    if not names_anatomy(sentence):
        return False
    if OF_ORGAN.search(sentence[:LOOKED_AT]):
        return True
    begins = bool(NEGATION_OR_STATE.match(sentence))
    return begins and (not is_verbless(sentence) or sentence[:3].lower() == "no ")
