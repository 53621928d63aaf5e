"""What a sentence says that its report does not: one function a kind of claim.

In: a sentence and the statements of its report that are most like it, best first, both from
`claims`. Out: the first claim without support, as a reason and the words, or None. Every rule
compares: the statement that is most like the sentence, around the word in question, must say the
same.
"""

from __future__ import annotations

from collections.abc import Iterator

from ingest.claims import Statement, Token
from ingest.likeness import (
    CLAIMS,
    NORMAL_DENIES,
    NOTHING,
    WEIGHT,
    agreement,
    around,
    has,
    has_level,
    related,
    shared,
)  # fmt: skip
from ingest.unsupported import Problem, Unsupported
from ingest.vocabulary import ABNORMAL, CONTAINERS, Kind, words
from ingest.whereabouts import (
    GENERIC,
    REGIONS,
    SLACK,
    SOFT,
    has_part,
    misplaced,
    opposed,
    overstated,
)

MIN_COVERED = 0.4
"""Weight of the content of a sentence that the report must have."""
MARGIN = 0.8
"""How much less like the sentence its own value may be than the best other value."""
MEASURE_SLACK = 1.0
"""How much more like the sentence another measure may be: few stand in a report twice."""
QUALIFIED = 0.5
"""What a denial of a finding with a qualifier ("no displaced fracture") says of it without one."""
FEW = words("n:2 n:3")
"""Counts that a paraphrase may make where the report counts nothing: "the two limbs"."""
UNKNOWN = 0.4
"""What a word counts that is no finding and that the report lacks: a verb, an adjective."""
ELSEWHERE = 0.3
"""What a denial counts that is about other body parts than the sentence."""
WELL_COVERED = 0.5
"""Share of a sentence that the report must have where it lacks a finding of the soft ones."""


def problem(sentence: Statement, near: list[Statement], known: set[str]) -> Problem | None:
    """The first thing that the report does not support; `known`: all body parts that it names."""
    if not sentence.tokens:
        return Unsupported.WORDS, "nothing that a report could support"
    return (
        _measures(sentence, near)
        or _levels(sentence, near)
        or _words(sentence, near)
        or _findings(sentence, near)
        or _denials(sentence, near)
        or misplaced(sentence, near, known)
        or opposed(sentence, near)
        or overstated(sentence, near)
    )


def _covered(sentence: Statement, near: list[Statement]) -> tuple[float, list[str]]:
    """Share of what the sentence says that is in the statements most like it, and what is not."""
    total = covered = 0.0
    missing = []
    for token in sentence.tokens:
        if token.kind in (Kind.OPPOSITE, Kind.NORMAL):
            continue
        weight = WEIGHT[token.kind]
        if any(has(token.concept, s) for s in near[:4]):
            covered += weight
        else:
            weight *= UNKNOWN if token.kind is Kind.WORD else 1.0
            missing.append(token.written)
        total += weight
    return (covered / total if total else 1.0), missing


def _words(sentence: Statement, near: list[Statement]) -> Problem | None:
    """Enough of what the sentence says is in the statements that are like it."""
    covered, missing = _covered(sentence, near)
    if covered < MIN_COVERED:
        return Unsupported.WORDS, f"not in the report: {' '.join(missing)}"
    return None


def _measures(sentence: Statement, near: list[Statement]) -> Problem | None:
    """Every measurement stands, in any unit, in the statement that is most like the sentence."""
    others = [t for t in sentence.tokens if t.kind not in (Kind.MEASURE, Kind.OPPOSITE)]
    said = {t.concept for t in sentence.tokens}
    for group in _groups(sentence):
        concepts = {t.concept for t in group}
        unit = group[0].concept.partition(":")[0] + ":"
        same = opposite = 0.0
        found = False
        for statement in near:
            places = [p for c in concepts for p in statement.places.get(c, ())]
            bare = {c.replace("ord:o", "n:") for c in concepts}
            if (concepts <= statement.places.keys() or bare <= statement.places.keys()) and (
                not others or any(has(t.concept, statement) for t in others)
            ):
                found = True
                same = max(same, around(sentence, group[0], statement, places, unit))
            else:
                places = [
                    p
                    for c, ps in statement.places.items()
                    if c.startswith(unit) and c not in said
                    for p in ps
                ]
                if places:
                    opposite = max(opposite, around(sentence, group[0], statement, places, unit))
        if not found and opposite == 0.0 and concepts <= FEW:
            continue
        if not found or same + MEASURE_SLACK < opposite:
            return Unsupported.NUMBER, " x ".join(t.concept.partition(":")[2] for t in group)
    return None


def _levels(sentence: Statement, near: list[Statement]) -> Problem | None:
    """Every spinal level is that of the statement that is most like the sentence."""
    said = {t.concept for t in sentence.tokens}
    for token in sentence.tokens:
        if token.kind is not Kind.LEVEL:
            continue
        same = opposite = 0.0
        for statement in near:
            if has_level(token.concept, statement):
                same = max(same, shared(sentence, statement, token.concept))
            elif any(c.startswith("level:") and c not in said for c in statement.places):
                opposite = max(opposite, shared(sentence, statement, token.concept))
        if same == 0.0 or same < MARGIN * opposite:
            return Unsupported.NUMBER, token.concept.removeprefix("level:")
    return None


def _findings(sentence: Statement, near: list[Statement]) -> Problem | None:
    """Every finding is in the report, and denied where the sentence denies it."""
    parts = {t.concept for t in sentence.tokens if t.kind is Kind.PART}
    narrow = parts - REGIONS
    for token in sentence.tokens:
        if token.kind not in CLAIMS or _qualifies(token, sentence):
            continue
        same = opposite = 0.0
        for statement in near:
            if token.concept == "enlarged" and not token.denied:
                grown = statement.places.get("change:more", ())
                same = max(same, 0.5 + around(sentence, token, statement, grown) if grown else 0.0)
            for other in statement.tokens:
                if other.kind not in CLAIMS:
                    continue
                agrees = agreement(token, other)
                if agrees == 0.0 or (
                    abs(agrees) == NORMAL_DENIES
                    and not any(_normal_of(p, statement, parts, agrees) for p in parts)
                ):
                    continue
                like = abs(agrees) * (0.5 + around(sentence, token, statement, (other.place,)))
                if agrees > 0:
                    same = max(same, like)
                else:
                    like *= _qualified(token, sentence, other, statement)
                    if _elsewhere(statement, narrow):
                        like *= ELSEWHERE
                    opposite = max(opposite, like)
        if same + SLACK < opposite:
            said = "denied" if token.denied else "stated"
            return Unsupported.NEGATION, f"{token.written}: {said} by the sentence alone"
        if same == 0.0 and token.concept not in GENERIC:
            covered = _covered(sentence, near)[0] >= WELL_COVERED
            if token.concept in SOFT and covered and not (token.denied and _stated(token, near)):
                continue
            return Unsupported.WORDS, f"not in the report: {token.written}"
    return None


def _stated(token: Token, near: list[Statement]) -> bool:
    """Whether the report states what the sentence denies, in other words."""
    return any(
        not other.denied and other.concept in related(token.concept)
        for statement in near[:4]
        for other in statement.tokens
    )


def _qualifies(token: Token, sentence: Statement) -> bool:
    """Whether a finding only qualifies its neighbour, or the reverse: "no aneurysm rupture"."""
    for other in sentence.tokens:
        if other.kind is Kind.FINDING and other.denied == token.denied:
            if token.denied and other.place == token.place + 1:
                return True
            if token.concept in GENERIC and other.place == token.place - 1:
                return other.concept not in GENERIC
    return False


def _elsewhere(statement: Statement, parts: set[str]) -> bool:
    """Whether a statement is about other body parts altogether."""
    named = {t.concept for t in statement.tokens if t.kind is Kind.PART} - REGIONS
    return bool(parts and named) and not any(has_part(p, statement, parts) for p in parts)


def _qualified(said: Token, sentence: Statement, other: Token, statement: Statement) -> float:
    """Less than 1 where the one that denies denies only what the other does not speak of."""
    denies, where, against = (
        (said, sentence, statement) if said.denied else (other, statement, sentence)
    )
    before = [
        t for t in where.tokens
        if t.denied and 0 < denies.place - t.place <= 2 and t.kind in (Kind.WORD, Kind.OPPOSITE)
        and not t.concept.startswith("side:")
    ]  # fmt: skip
    if before and not any(t.concept in against.places for t in before):
        return QUALIFIED
    return 1.0


def _normal_of(part: str, statement: Statement, own: set[str], agrees: float) -> bool:
    """Whether what the statement calls normal is the part; normal bronchi are no normal lung."""
    if agrees > 0:
        return has_part(part, statement, own)
    wider = {part} | (CONTAINERS.get(part, NOTHING) - REGIONS)
    return not wider.isdisjoint(statement.places)


def _denials(sentence: Statement, near: list[Statement]) -> Problem | None:
    """What has no name as a finding is denied as the report denies it, for the most part."""
    measured = [t for t in sentence.tokens if t.denied and t.concept.startswith("mm:")]
    for token in measured:
        holders = [s for s in near if token.concept in s.places]
        if holders and not any(set(s.places[token.concept]) & s.denied for s in holders):
            return Unsupported.NEGATION, f"{token.written}: denied by the sentence alone"
    balance = 0.0
    claims = [t for t in sentence.tokens if t.kind in CLAIMS]
    if any(t.denied or t.written in ABNORMAL for t in claims):
        return None
    silent: tuple[Kind, ...] = (Kind.WORD, Kind.MEASURE)
    if not claims:
        silent = (Kind.WORD, Kind.MEASURE, Kind.PART, Kind.LEVEL)
    denies = any(t.denied for t in sentence.tokens if t.kind in silent)
    for token in sentence.tokens:
        if token.kind not in silent and not token.concept.startswith(("age:", "change:")):
            continue
        same = opposite = 0.0
        for statement in near:
            for other in statement.tokens:
                if other.concept == token.concept:
                    like = 0.5 + around(sentence, token, statement, (other.place,))
                    if other.denied == token.denied:
                        same = max(same, like)
                    else:
                        opposite = max(opposite, like)
        if opposite > same:
            balance -= WEIGHT[token.kind]
        elif same and token.denied == denies:
            balance += WEIGHT[token.kind]
    if balance < 0.0:
        return Unsupported.NEGATION, "the report says the opposite"
    return None


def _groups(sentence: Statement) -> Iterator[list[Token]]:
    """Measurements of several numbers, as one."""
    group: list[Token] = []
    for token in sentence.tokens:
        if token.kind is not Kind.MEASURE:
            continue
        if group and token.place != group[-1].place + 1:
            yield group
            group = []
        group.append(token)
    if group:
        yield group
