"""Sentences -> labels by words: no model, no network.

In: the sentences of a report, a label set. Out: for every label yes, no, uncertain or absent. A
phrase of the set is found where all its words stand near each other in one statement; its last
word, the finding, tells by `assertion` whether it is stated, denied or doubted. Over the sentences
of a report yes counts more than uncertain, and that more than no. Each phrase is a word a reader
could object to, which is what rules are good for; what they reach is measured in
tests/ingest/test_label_words.py, and a language model reads better.
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from functools import lru_cache

from ingest import normal as normal_study
from ingest.assertion import BREAKS, Asserted, asserted, words_of
from ingest.label_set import Answer, Label, LabelSet

REACH = 7
"""Words between a word of a phrase and the next one, at most."""
OVER = {Answer.ABSENT: 0, Answer.NO: 1, Answer.UNCERTAIN: 2, Answer.YES: 3}
"""Which of two sentences decides."""
TURNED = {Answer.YES: Answer.NO, Answer.NO: Answer.YES}

Phrase = tuple[tuple[str, ...], ...]
"""For every word its alternatives."""


def offline_labels(sentences: Sequence[str], label_set: LabelSet) -> dict[str, Answer]:
    """What the sentences of a report say of every label; nothing at all without sentences.

    >>> from ingest.label_set import find_label_set
    >>> chest = find_label_set("ct-rate")
    >>> found = offline_labels(["No pleural effusion.", "Possible emphysema."], chest)
    >>> found["Pleural effusion"], found["Emphysema"], found["Cardiomegaly"]
    (<Answer.NO: 'no'>, <Answer.UNCERTAIN: 'uncertain'>, <Answer.ABSENT: 'absent'>)
    """
    if not sentences:
        return {}
    read = [asserted(sentence) for sentence in sentences]
    answers = {
        label.name: _normal(sentences) if label.normal else _answer(label, read)
        for label in label_set.labels
    }
    return label_set.with_included(answers)


def _normal(sentences: Sequence[str]) -> Answer:
    return Answer.NO if normal_study.why_not("\n".join(sentences)) else Answer.YES


def _answer(label: Label, read: Sequence[Asserted]) -> Answer:
    best = Answer.ABSENT
    for sentence in read:
        other = set(_found(sentence.words, label.other))
        said = [
            sentence.answers[at] for at in _found(sentence.words, label.words) if at not in other
        ]
        said += [
            TURNED.get(sentence.answers[at], sentence.answers[at])
            for at in _found(sentence.words, label.opposite)
        ]
        best = max([best, *said], key=OVER.__getitem__)
    return best


def _found(words: tuple[str, ...], phrases: tuple[str, ...]) -> Iterator[int]:
    """Places of the last words of phrases, where all of a phrase is near."""
    for phrase in phrases:
        *others, last = _phrase(phrase)
        heads = [at for at, word in enumerate(words) if _is(word, last)]
        for head in heads:
            if all(_stands_by(words, head, heads, other) for other in others):
                yield head


def _stands_by(words: tuple[str, ...], head: int, heads: list[int], other: tuple[str, ...]) -> bool:
    """Whether one of the words is within reach of a place, in its statement, and no other place is
    closer: in "thyroid nodule and lung nodule" each nodule has an organ of its own."""
    for step in (-1, 1):
        for distance in range(1, REACH + 2):
            at = head + step * distance
            if not 0 <= at < len(words) or words[at] in BREAKS:
                break
            closest = min(abs(at - h) for h in heads)
            if _is(words[at], other) and closest == distance:
                return True
    return False


def _is(word: str, alternatives: tuple[str, ...]) -> bool:
    return any(
        word.startswith(a[:-1]) if a.endswith("*") else word in (a, f"{a}s", f"{a}es")
        for a in alternatives
    )


@lru_cache(maxsize=4096)
def _phrase(phrase: str) -> Phrase:
    """A phrase by word and alternative, spelt as `words_of` spells."""
    return tuple(
        tuple("".join(words_of(a.rstrip("*"))) + "*" * a.endswith("*") for a in word.split("|"))
        for word in phrase.replace("-", " ").split()
    )
