"""Sentences -> labels by words: no model, no network.

In: the sentences of a report, a label set. Out: for every label yes, no, uncertain or absent. A
phrase of the set is found where all its words stand together in one statement (`label_phrases`);
its last word, the finding, tells by `assertion` whether it is stated, denied or doubted. Over the
sentences of a report yes counts more than uncertain, and that more than no. What the rules reach is
measured in tests/ingest/test_label_words.py; a language model reads better.
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence

from ingest import normal as normal_study
from ingest.assertion import Asserted, asserted, of_words, words_of
from ingest.label_phrases import Match, matches
from ingest.label_set import Answer, Label, LabelSet

OVER = {Answer.ABSENT: 0, Answer.NO: 1, Answer.UNCERTAIN: 2, Answer.YES: 3}
"""Which of two sentences decides."""
MAX_WORDS = 120
"""Of a sentence that is read as one."""
TURNED = {Answer.YES: Answer.NO, Answer.NO: Answer.YES}


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
    read = [of_words(piece) for sentence in sentences for piece in _pieces(words_of(sentence))]
    answers = {
        label.name: _normal(sentences) if label.normal else _answer(label, label_set, read)
        for label in label_set.labels
    }
    return label_set.with_included(answers)


def _pieces(words: list[str]) -> Iterator[list[str]]:
    """A sentence in words, or what should be one, in parts of which none takes long."""
    for start in range(0, len(words), MAX_WORDS):
        yield words[start : start + MAX_WORDS]


def _normal(sentences: Sequence[str]) -> Answer:
    """Whether the report is one of a normal study, by what is said of this study alone."""
    said = [_of_this_study(sentence) for sentence in sentences]
    return Answer.NO if normal_study.why_not("\n".join(said)) else Answer.YES


def _of_this_study(sentence: str) -> str:
    read = asserted(sentence)
    if Answer.ABSENT not in read.answers:
        return sentence
    both = zip(read.words, read.answers, strict=True)
    return " ".join(word for word, answer in both if answer is not Answer.ABSENT)


def _answer(label: Label, label_set: LabelSet, read: Sequence[Asserted]) -> Answer:
    kinds = [other for other in label_set.labels if other.name in label.includes]
    best = Answer.ABSENT
    for sentence in read:
        of_kinds = {m.head for kind in kinds for m in _found(sentence.words, kind)}
        for match in _found(sentence.words, label):
            answer = sentence.answers[match.head]
            if answer is Answer.NO and match.head in of_kinds:
                continue  # one kind is denied, not all
            best = max(best, answer, key=OVER.__getitem__)
        for match in matches(sentence.words, label.opposite):
            answer = sentence.answers[match.head]
            best = max(best, TURNED.get(answer, answer), key=OVER.__getitem__)
    return best


def _found(words: tuple[str, ...], label: Label) -> list[Match]:
    """Where a sentence names the finding of a label, and nothing else by its words. The head of one
    phrase that helps another is decided by that: "nodes" of "the nodes are not enlarged"."""
    found = matches(words, label.words)
    helping = {at for match in found for at in match.others}
    other = matches(words, label.other)
    return [
        m for m in found if m.head not in helping and not any(o.claims(m, words) for o in other)
    ]
