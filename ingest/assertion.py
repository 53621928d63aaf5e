"""A sentence -> word by word whether it is stated, denied, doubted, or not about this study now.

In: one sentence. Out: its `words` and the `Answer` that holds at each of them. The idea is that of
NegEx and ConText (Chapman et al. 2001, Harkema et al. 2009): a cue ("no evidence of", "may
represent", "history of", "is not seen") acts on the words to its right or left, as far as the
clause goes. What is doubted by words such as "likely" or "consistent with" counts as stated;
"possible", "may", "suggestive of", "unlikely" and question marks are doubt. What belongs to the
past, to relatives, or to the question of the clinician is `ABSENT`: nothing is said of it.
"""

from __future__ import annotations

import re
from bisect import bisect_right
from dataclasses import dataclass
from itertools import accumulate
from typing import NamedTuple

from ingest.claims import folded
from ingest.label_set import Answer
from ingest.negation import COPULA, DENYING, SEEN
from ingest.vocabulary import words

WORD = re.compile(r"[^\W\d_]+(?:'[a-z]+)?|\d+(?:\.\d+)?|[.;:,()?]")
SPELLING = (("aem", "em"), ("oedem", "edem"), ("oesoph", "esoph"), ("tumour", "tumor"))
"""British to American, in any part of a word."""
BREAKS = words(". ;")
"""Between two statements."""
TURNS = words("but however although though except apart aside while whereas despite")
"""Words at which no cue goes on."""
VERBS = COPULA | SEEN | words("there shows show demonstrates demonstrate has have had")
AFTER_COMMA = words(
    """
    the a an there this these mild moderate severe small large minimal trace slight new stable
    unchanged with but and multiple several few bilateral possible possibly likely left right
    """
)
"""Words with which another finding begins after a comma, so that a denial ends there."""
AFTER_AND = words("the a an there mild moderate severe small large minimal trace new")
BOTH_WAYS = words("versus vs")
"""Words that act on what is before and after them."""
LIKENED = words("compatible consistent keeping line associated")
"""Words after which "with" goes on with what is doubted."""
STRENGTH = {Answer.YES: 0, Answer.UNCERTAIN: 1, Answer.NO: 2, Answer.ABSENT: 3}
"""Which of two cues decides about a word that both reach."""


class Cue(NamedTuple):
    """Words that act on others: on those after it, or before it."""

    pattern: re.Pattern[str]
    effect: Answer | None
    """None: nothing, though words within look like a cue."""
    forward: bool = True


def _cue(pattern: str, effect: Answer | None, forward: bool = True) -> Cue:
    return Cue(re.compile(rf"(?<!\S)(?:{pattern})(?!\S)"), effect, forward)


_LY = r"(?:(?:\w+ly|well|yet|be|been|any ?more) )*"
_SEEN = rf"(?:{'|'.join(sorted(SEEN))})"
_PLAIN = DENYING - words("absence absent lack free negative not neither nor resolved resolution")
CUES = (
    # Words that look like a denial and are none.
    _cue(r"(?:no|without|not) (?:\w+ly )?(?:(?:significant|appreciable|definite|interval|other) )*"
         r"(?:chang\w+|differ\w+)", None),
    _cue(r"(?:no|without) (?:(?:significant|definite|further) )*(?:interval )?(?:increase|decrease"
         r"|enlargement|growth|progression|worsening|improvement)(?: in(?: (?:the )?size)?| of)?",
         None),
    _cue(r"not (?:only|just|necessarily)", None),
    _cue(r"non", None),
    # Doubt.
    _cue(rf"(?:can|could|may)(?: ?not| never) {_LY}(?:exclude|rule out)"
         r"|cannot (?:\w+ly )?(?:exclude|rule out)|difficult to (?:exclude|rule out)",
         Answer.UNCERTAIN),
    _cue(rf"(?:(?:can ?not|could not|is not|are not|not) {_LY})(?:excluded|ruled out)",
         Answer.UNCERTAIN, forward=False),
    _cue(r"(?:is|are|was|were) (?:\w+ly )?(?:possible|suspected|questioned|questionable|equivocal"
         r"|doubtful|unlikely|considered)|less likely|unlikely|versus|vs",
         Answer.UNCERTAIN, forward=False),
    _cue(r"possible|possibly|questionable|question of|equivocal|indeterminate for|perhaps|potential"
         r"|potentially|suspicio(?:n|us) (?:of|for)|suspect|suspected|concern(?:ing)? for"
         r"|worrisome for|may|might|could|suggestive of|suggests?|suggesting|in terms of"
         r"|differential(?: diagnosis)?(?: includes?)?|considerations?(?: is| are| includes?)?"
         r"|raises? (?:the )?(?:question|possibility)(?: of)?|versus|vs", Answer.UNCERTAIN),
    _cue(r"\?", Answer.UNCERTAIN, forward=False),
    # Denial.
    _cue(r"no (?:new|other|further|additional|more)", Answer.ABSENT),
    _cue(rf"not {_LY}{_SEEN}|(?:is|are|was|were|be) {_LY}(?:absent|excluded|negative)|absent|none"
         r"|nil|resolved|(?:is|are|was|were|been) (?:\w+ly )?(?:ruled out|resected|removed"
         rf"|evacuated|drained)|no longer (?:\w+ly )?{_SEEN}|disappeared|not (?:\w+ )?there",
         Answer.NO, forward=False),
    _cue(r"free of|clear of|absence of|lack of|negative for|resolution of|resolved|neither|nor"
         rf"|rather than|instead of|not(?! {_LY}{_SEEN})(?! {_LY}(?:excluded|ruled))"
         rf"|{'|'.join(sorted(_PLAIN))}|fail(?:s|ed)? to (?:show|reveal|demonstrate)",
         Answer.NO),
    # Not this study, not now, not this patient, not said.
    _cue(r"(?:family |known |prior |previous |past |remote )?(?:history|h o|hx|fh|pmh)(?: is)?"
         r"(?: significant| notable| positive| remarkable)?(?: of| for)?|status post|s p|post op"
         r"|rule out|r o|(?:to )?(?:exclude|excluding)|(?:for |to )?evaluat(?:e|ion) (?:for|of)"
         r"|assess(?:ment)? (?:for|of)|if(?: there)?(?: is| are)?|risk (?:factors? )?(?:of|for)"
         r"|screening for|surveillance (?:of|for)|follow up (?:of|for)|treat(?:ed|ment) (?:of|for)"
         r"|therapy for|resection of|evacuation of|removal of"
         r"|(?:father|mother|brother|sister|sibling|parent|uncle|aunt)s?(?: who)?"
         r" (?:had|has|with|died of)|indications?(?= :)|reason(?: for \w+)?(?= :)",
         Answer.ABSENT),
    _cue(r"(?:\d+ )?(?:years?|months?|weeks?) ago|in (?:the )?(?:past|childhood)", Answer.ABSENT,
         forward=False),
)  # fmt: skip
"""In the order in which they are looked for; where two overlap the first one counts."""


@dataclass(frozen=True)
class Asserted:
    """A sentence word by word."""

    words: tuple[str, ...]
    """Lower case, American; punctuation counts as a word."""
    answers: tuple[Answer, ...]
    """What is said of each."""


def words_of(text: str) -> list[str]:
    """Words as they are compared.

    >>> words_of("Haemorrhage, 3.5 cm (extra-axial)?")
    ['hemorrhage', ',', '3.5', 'cm', '(', 'extra', 'axial', ')', '?']
    """
    plain = folded(text).replace("n't", " not").replace("w/o", "without")
    for old, new in SPELLING:
        plain = plain.replace(old, new)
    return WORD.findall(plain)


def asserted(sentence: str) -> Asserted:
    """What a sentence says of each of its words.

    >>> found = asserted("No evidence of bleed; the infarct may be old.")
    >>> [(w, str(a)) for w, a in zip(found.words, found.answers) if w in {"bleed", "old"}]
    [('bleed', 'no'), ('old', 'uncertain')]
    """
    return of_words(words_of(sentence))


def of_words(said: list[str]) -> Asserted:
    """The same of a sentence in words."""
    answers = [Answer.YES] * len(said)
    ends = list(accumulate(len(word) + 1 for word in said))  # of each word and the blank after it
    text = " ".join(said)
    taken = [False] * len(said)
    for cue in CUES:
        for found in cue.pattern.finditer(text):
            first, last = (bisect_right(ends, at) for at in (found.start(), found.end() - 1))
            if any(taken[first : last + 1]) and said[first] not in BOTH_WAYS:
                continue
            taken[first : last + 1] = [True] * (last + 1 - first)
            if cue.effect is None:
                continue
            for place in _scope(said, first, last, cue):
                if STRENGTH[cue.effect] > STRENGTH[answers[place]]:
                    answers[place] = cue.effect
    return Asserted(tuple(said), tuple(answers))


def _scope(said: list[str], first: int, last: int, cue: Cue) -> range:
    """Places of the words on which a cue from `first` to `last` acts."""
    if not cue.forward:
        return range(_begin(said, first, cue), first)
    return range(last + 1, _end(said, first, last, cue))


def _end(said: list[str], first: int, last: int, cue: Cue) -> int:
    """The place before which a cue ends that acts on what follows."""
    inside = 0
    for at in range(last + 1, len(said)):
        word, following = said[at], said[at + 1] if at + 1 < len(said) else "."
        inside += (word == "(") - (word == ")")
        if word in BREAKS or word in TURNS or inside < 0 or word == "?" or word == "there":
            return at
        if word == ":" and not said[first].startswith(("indication", "reason", "history")):
            return at
        if word == "and" and following in AFTER_AND:
            return at
        if cue.effect is Answer.NO:
            if word in COPULA and at > last + 1 and said[last] != "not":
                return at
            if word == "," and (following in AFTER_COMMA or following[:1].isdigit()):
                return at
        elif cue.effect is Answer.UNCERTAIN:
            if word == "," and not {"or", "versus", "vs"} & set(_clause(said, at)):
                return at
            if word in ("without", "no") or (word == "with" and said[at - 1] not in LIKENED):
                return at
        elif (word == "," and VERBS & set(_clause(said, at))) or word in (
            "with",
            "now",
            "presents",
        ):
            return at
    return len(said)


def _begin(said: list[str], first: int, cue: Cue) -> int:
    """The place with which a cue begins that acts on what came before."""
    at = first
    while at and said[at - 1] in COPULA:
        at -= 1
    for begin in range(at, 0, -1):
        word = said[begin - 1]
        if word in BREAKS or word in TURNS or word == "?":
            return begin
        if cue.effect is Answer.UNCERTAIN and word in ("(", ",", ":"):
            return begin
        if word in (",", "and") and VERBS & set(_clause_before(said, begin - 1)):
            return begin
    return 0


def _clause(said: list[str], at: int) -> list[str]:
    """Words from a place to the end of its statement."""
    end = next((n for n in range(at, len(said)) if said[n] in BREAKS | TURNS), len(said))
    return said[at:end]


def _clause_before(said: list[str], at: int) -> list[str]:
    """Words of the statement before a place."""
    begin = next((n + 1 for n in range(at - 1, -1, -1) if said[n] in BREAKS | TURNS), 0)
    return said[begin:at]
