"""Where the phrases of a label set stand in a sentence.

In: the words of a sentence, phrases such as `pleura* effusion`. Out: `Match`es. The last word of a
phrase is its head, the finding; the others stand before or after it, in any order, within reach.
The idea is to be as exact as a list of words allows without a grammar: a word belongs to the
nearest head ("thyroid nodule and lung nodule"), may share it with another ("pleural and pericardial
effusion"), and does not reach across what begins another thing ("effusion with pleural plaques").
"""

from __future__ import annotations

import re
from collections.abc import Sequence
from dataclasses import dataclass
from functools import lru_cache
from itertools import product

from ingest.assertion import BREAKS, LIKENED, words_of
from ingest.vocabulary import words as word_set

REACH = 11
"""Words from a head to another word of its phrase, at most."""
PREPOSITIONS = word_set("of in at along on within to from for involving")
JOINING = word_set(", and or nor : versus vs")
"""Words that a list is made of."""
APART = word_set("with without but while although")
"""Words that begin another thing."""

Alternatives = re.Pattern[str]
"""A word, as one of those that it may be."""


@dataclass(frozen=True)
class Match:
    """Where a phrase stands."""

    head: int
    """Place of its last word."""
    others: tuple[int, ...] = ()
    """Places of its other words."""

    def claims(self, match: Match, words: Sequence[str]) -> bool:
        """Whether this phrase, which means something else, is what a match is: both have one head,
        which this shares with no list, and the match has no word of its own in a list with those of
        this. "Coronary artery calcification" is no "artery calcification", but "aortic and coronary
        calcification" is an "aortic calcification"."""
        if self.head != match.head:
            return False
        if any(_is_list(words, other, self.head) for other in self.others):
            return False
        return not any(
            all(_is_list(words, one, other) for other in self.others) for one in match.others
        )


def _is_list(words: Sequence[str], one: int, other: int) -> bool:
    return any(word in JOINING for word in words[min(one, other) : max(one, other)])


def matches(words: Sequence[str], phrases: Sequence[str]) -> list[Match]:
    """Where phrases stand among the words of a sentence.

    >>> matches(["pleural", "and", "pericardial", "effusion"], ["pleura* effusion"])
    [Match(head=3, others=(0,))]
    """
    found = []
    text = " ".join(words)
    for phrase in phrases:
        *others, last = _phrase(phrase)
        if not last.search(text):
            continue  # as most are not there at all
        heads = [at for at, word in enumerate(words) if last.fullmatch(word)]
        for head in heads:
            near = [_beside(words, head, heads, other) for other in others]
            found += [Match(head, places) for places in product(*near)]
    return found


def _beside(words: Sequence[str], head: int, heads: list[int], other: Alternatives) -> list[int]:
    """Places of the words that belong to a head and no other."""
    near = [at for at in _within_reach(words, head) if other.fullmatch(words[at])]
    return [
        at
        for at in near
        if all(_distance(words, head, at) <= _distance(words, h, at) for h in heads)
    ]


def _distance(words: Sequence[str], head: int, at: int) -> float:
    """How far a word is from a head; "plaque of the descending aorta" is nearer than it is long."""
    of_it = at > head and words[head + 1] in PREPOSITIONS
    return abs(at - head) / (2 if of_it else 1)


def _within_reach(words: Sequence[str], head: int) -> list[int]:
    """Places of words that may belong to a head."""
    found = []
    for at in range(head + 1, min(head + 1 + REACH, len(words))):
        following = words[at + 1] if at + 1 < len(words) else "."
        goes_on = following in PREPOSITIONS or (words[at], following) == ("or", "the")
        if _ends(words, at) or (words[at] in JOINING and not goes_on):
            break
        found.append(at)
    is_listed = True
    for at in range(head - 1, max(head - 1 - REACH, -1), -1):
        if _ends(words, at):
            break
        if words[at] in JOINING:
            is_listed = False  # what is before shares the head only if a list goes on after it
            continue
        if is_listed or words[at + 1] in JOINING:
            found.append(at)
    return found


def _ends(words: Sequence[str], at: int) -> bool:
    """Whether another thing begins with a word."""
    likened = words[at] == "with" and at > 0 and words[at - 1] in LIKENED
    return words[at] in BREAKS or (words[at] in APART and not likened)


@lru_cache(maxsize=4096)
def _phrase(phrase: str) -> tuple[Alternatives, ...]:
    """A phrase word by word, spelt as `words_of` spells; a word stands for its plural too."""
    return tuple(
        re.compile(rf"(?<!\S)(?:{'|'.join(map(_spelt, word.split('|')))})(?!\S)")
        for word in phrase.replace("-", " ").split()
    )


def _spelt(word: str) -> str:
    plain = re.escape("".join(words_of(word.rstrip("*"))))
    return rf"{plain}\S*" if word.endswith("*") else f"{plain}(?:e?s)?"
