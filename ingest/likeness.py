"""How much two statements are about the same thing, word by word.

In: statements from `claims`. Out: numbers. What stands close to a word in one statement and close
to its like in the other speaks for the two being one; a measure speaks louder than a word, a
wider or narrower term more softly than the same one.
"""

from __future__ import annotations

from collections.abc import Sequence
from functools import cache

from ingest.claims import Statement, Token
from ingest.vocabulary import CONTAINERS, KINDS, LIKE, Kind, is_a

CLAIMS = (Kind.FINDING, Kind.NORMAL)
WEIGHT = {
    Kind.FINDING: 2.0, Kind.PART: 2.0, Kind.MEASURE: 3.0, Kind.LEVEL: 3.0, Kind.NORMAL: 2.0,
    Kind.OPPOSITE: 1.0, Kind.WORD: 1.0,
}  # fmt: skip
"""What a shared concept says about two statements being about one thing."""
NEAR = 3.0
"""Distance in words at which a concept counts half."""
FAR = 0.15
"""What a concept of the context counts."""
ASIDE = 0.6
"""What a word of another clause counts."""
OPPOSED = 0.3
"""What a finding counts that one statement denies and the other does not."""
NORMAL_DENIES = 0.7
"""What a normal body part says of a finding denied there, and the denial of it being normal."""
TAKEN_FOR = 0.5
"""What a finding says of another that a paraphrase may take for it."""
UNTAKEN = -0.3
"""The same where only one of the two is denied."""
RELATED = 0.4
"""What a wider or narrower term counts."""


def _reversed(relation: dict[str, frozenset[str]]) -> dict[str, frozenset[str]]:
    found: dict[str, set[str]] = {}
    for low, highs in relation.items():
        for high in highs:
            found.setdefault(high, set()).add(low)
    return {high: frozenset(lows) for high, lows in found.items()}


KINDS_BELOW = _reversed(KINDS)
CONTENTS = _reversed(CONTAINERS)
NOTHING: frozenset[str] = frozenset()
GREEK_ROOTS = {
    "hemorrhage": ("hemo", "hemat", "hemar", "lipohem"),
    "air": ("pneumoc", "pneumom", "pneumop", "pneumot", "pneumat"),
}
"""A finding and what Greek names of its kinds begin with."""


@cache
def related(concept: str) -> frozenset[str]:
    """All that may be named instead of a concept, itself not among them."""
    inflamed = frozenset({"inflammation"}) if concept.endswith("itis") else NOTHING
    return (
        inflamed | KINDS.get(concept, NOTHING) | KINDS_BELOW.get(concept, NOTHING)
        | CONTAINERS.get(concept, NOTHING) | CONTENTS.get(concept, NOTHING)
        | LIKE.get(concept, NOTHING)
    )  # fmt: skip


def shared(sentence: Statement, statement: Statement, without: str = "") -> float:
    """Weight of what two statements share, wherever it stands."""
    total = 0.0
    for token in sentence.tokens:
        if token.concept == without:
            continue
        if token.concept in statement.places:
            total += WEIGHT[token.kind]
        elif not related(token.concept).isdisjoint(statement.places):
            total += RELATED * WEIGHT[token.kind]
    return total


def around(
    sentence: Statement, token: Token, statement: Statement, at: Sequence[int], axis: str = ""
) -> float:
    """Weight of what stands around the token and also around one of the places `at`.

    With `axis`, values on it are left out: they are what is being asked about.
    """
    total = 0.0
    if not at:
        return 0.0
    for feature in sentence.tokens:
        concept = feature.concept
        if concept == token.concept or (axis and concept.startswith(axis)):
            continue
        nearest = closeness(feature, concept, statement, at)
        if nearest == 0.0:
            near = related(concept)
            if not near.isdisjoint(statement.places):
                for other in statement.places:
                    if other in near:
                        nearest = max(nearest, RELATED * closeness(feature, other, statement, at))
            if nearest == 0.0 and feature.kind in CLAIMS:
                nearest = RELATED * _as_normal(feature, statement, at)
            if nearest == 0.0 and concept in statement.context:
                nearest = FAR
        if nearest:
            distance = abs(feature.place - token.place)
            weight = WEIGHT[feature.kind] * NEAR / (NEAR + distance)
            total += nearest * (weight if feature.clause == token.clause else ASIDE * weight)
    return total


def _as_normal(feature: Token, statement: Statement, at: Sequence[int]) -> float:
    """How near what is normal stands to what is denied: "not enlarged", "of normal size"."""
    if feature.denied:
        normal = statement.places.get("normal", ())
        places = [p for p in normal if p not in statement.denied]
    elif feature.kind is Kind.NORMAL:
        places = [t.place for t in statement.tokens if t.denied and t.kind is Kind.FINDING]
    else:
        places = []
    return max((NEAR / (NEAR + abs(p - other)) for p in places for other in at), default=0.0)


def closeness(feature: Token, concept: str, statement: Statement, at: Sequence[int]) -> float:
    """1 for a concept that stands at one of the places, less the farther it is, 0 where absent."""
    places = statement.places.get(concept)
    if not places:
        return 0.0
    best = far = 1_000_000
    for place in places:
        for other in at:
            distance = place - other if place > other else other - place
            if distance < far:
                far, best = distance, place
    near = NEAR / (NEAR + far)
    if feature.kind in CLAIMS and (best in statement.denied) != feature.denied:
        return OPPOSED * near
    return near


def agreement(said: Token, other: Token) -> float:
    """1 where `other` supports what is said, -1 where it contradicts it, less where it only may.

    "No mass" denies every kind of mass; a cyst is a lesion, but a lesion need not be a cyst.
    """
    if said.kind is Kind.NORMAL or other.kind is Kind.NORMAL:
        if said.kind is other.kind:
            return 1.0 if said.denied == other.denied else -1.0
        normal, finding = (said, other) if said.kind is Kind.NORMAL else (other, said)
        if said.denied and said.kind is Kind.NORMAL and not finding.denied:
            return NORMAL_DENIES
        if normal.denied:
            return 0.0
        if finding.denied:
            return NORMAL_DENIES
        return -NORMAL_DENIES if finding is said else 0.0
    if said.concept == other.concept:
        return 1.0 if said.denied == other.denied else -1.0
    if is_a(other.concept, said.concept):
        if said.denied:
            return 0.6 if other.denied else -0.9
        return 0.0 if other.denied else 0.9
    if is_a(said.concept, other.concept):
        if said.denied:
            return 0.9 if other.denied else 0.0
        return -0.9 if other.denied else 0.0
    if other.concept in LIKE.get(said.concept, NOTHING) or _of_one_root(said, other):
        return TAKEN_FOR if said.denied == other.denied else UNTAKEN
    return 0.0


def _of_one_root(said: Token, other: Token) -> bool:
    """Whether one is blood or air and the other a Greek name that begins with it."""
    for word, roots in GREEK_ROOTS.items():
        if word == said.concept:
            return other.concept.startswith(roots)
        if word == other.concept:
            return said.concept.startswith(roots)
    return False


def has(concept: str, statement: Statement) -> bool:
    """Whether a statement or its context has a concept or one related to it."""
    near = related(concept)
    return (
        concept in statement.places
        or concept in statement.context
        or not near.isdisjoint(statement.places)
        or not near.isdisjoint(statement.context)
    )


def has_level(level: str, statement: Statement) -> bool:
    """Whether the statement is about a spinal level; L5 is a part of L4-L5."""
    own = [c for c in (*statement.places, *statement.context) if c.startswith("level:")]
    if level in own:
        return True
    first, _, second = level.removeprefix("level:").partition("-")
    if not second:
        return any(first in c.removeprefix("level:").split("-") for c in own)
    return f"level:{first}" in own and f"level:{second}" in own


def values(axis: str, statement: Statement) -> list[tuple[str, tuple[int, ...]]]:
    """What a statement says on one axis, and where."""
    return [(c, p) for c, p in statement.places.items() if c.startswith(axis)]
