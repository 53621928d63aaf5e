"""What a sentence says that its report does not: one function a kind of claim.

In: a sentence and the statements of its report that are most like it, best first, both from
`claims`. Out: the first claim without support, as a reason and the words, or None. Every rule
compares: the statement that is most like the sentence, around the word in question, must say the
same.
"""

from __future__ import annotations

from collections.abc import Iterator
from enum import StrEnum

from ingest.claims import Statement, Token
from ingest.likeness import (
    CLAIMS,
    CONTENTS,
    NORMAL_DENIES,
    NOTHING,
    WEIGHT,
    agreement,
    around,
    has,
    has_level,
    related,
    shared,
    values,
)  # fmt: skip
from ingest.vocabulary import ABNORMAL, CONTAINERS, Kind, words


class Unsupported(StrEnum):
    """Why a sentence was dropped."""

    EMPTY = "empty"
    REPEATED = "repeated"
    NUMBER = "number"
    SIDE = "side"
    NEGATION = "negation"
    BODY_PART = "body part"
    DEGREE = "degree"
    WORDS = "words"


MIN_COVERED = 0.4
"""Weight of the content of a sentence that the report must have."""
MARGIN = 0.8
"""How much less like the sentence its own value may be than the best other value."""
SLACK = 0.2
"""How much more like the sentence another value may be than its own."""
MEASURE_SLACK = 1.0
"""The same for measures, which seldom stand in a report for two things."""
ALIKE = 0.7
"""How much of what the best statement shares another must share to speak against a degree."""
QUALIFIED = 0.5
"""What a denial of a finding with a qualifier ("no displaced fracture") says of it without one."""
SURE = 0.7
"""Likeness at which a statement is the right one although it names no finding of the sentence."""
WHOLE = 0.6
"""Share by which a side or degree counts less in a statement that shares less of the sentence."""
UNSAID = 0.6
"""The same where the report says nothing on the axis near what is like the sentence."""
REACH = 6
"""Words within which a body part and a finding of a sentence belong together."""
FEW = words("n:2 n:3")
"""Counts that a paraphrase may make where the report counts nothing: "the two limbs"."""
UNKNOWN = 0.4
"""What a word counts that is no finding and that the report lacks: a verb, an adjective."""
ELSEWHERE = 0.3
"""What a denial counts that is about other body parts than the sentence."""
GENERIC = words("lesion enlarged mass process injury")
"""Findings so general that a paraphrase may name any other so."""
SOFT = words(
    """
    compression obstruction defect osteophyte degeneration narrowing shift infiltration
    inflammation swelling deformity scar thickening hypertrophy resection avulsion flattening
    indentation adhesion straightening obliteration bowing tortuosity crowding injury stranding
    invasion microvascular consolidation opacity strain edema bulge protrusion disruption impaction
    effacement groundglass fibrosis atrophy hypodense hyperdense hyperintense hypointense
    restricted enhancement calcification atherosclerosis spondylosis sclerosis malalignment
    lordosis leak demyelination erosion
    """
)
"""Findings that describe more than they diagnose: a paraphrase may choose its own."""
WELL_COVERED = 0.5
"""Share of a sentence that the report must have where it does not have such a finding."""
REGIONS = words(
    """
    head brain hemisphere spine neck chest abdomen pelvis bone lung bowel skull cervical
    thoracic lumbar artery vein node softtissue muscle vessel
    """
)
"""Body parts so wide that a report is about them as a whole."""
EXCLUSIVE = ("side:", "height:", "depth:", "width:", "reach:")
"""Axes on which any statement may contradict; on others only those most like the sentence do."""
TISSUES = words("softtissue muscle vessel artery vein bone joint duct tendon ligament cartilage")
"""What lies in many body parts: beside one of them a paraphrase may name it."""
AXIS_REASON = {
    "side:": Unsupported.SIDE, "height:": Unsupported.BODY_PART, "depth:": Unsupported.BODY_PART,
    "width:": Unsupported.BODY_PART, "reach:": Unsupported.BODY_PART, "degree:": Unsupported.DEGREE,
    "age:": Unsupported.DEGREE, "change:": Unsupported.DEGREE,
}  # fmt: skip
Problem = tuple[Unsupported, str]


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
        or _parts(sentence, near, known)
        or _opposites(sentence, near)
        or _certain(sentence, near)
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
    return bool(parts and named) and not any(_has_part(p, statement, parts) for p in parts)


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
        return _has_part(part, statement, own)
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


def _parts(sentence: Statement, near: list[Statement], known: set[str]) -> Problem | None:
    """Every body part stands with what is said of it, and every finding with its part."""
    claims = [t for t in sentence.tokens if t.kind in CLAIMS and any(_says(t, s) for s in near)]
    claims = [t for t in claims if t.concept not in GENERIC] or claims
    others = [t for t in sentence.tokens if t.kind in (Kind.MEASURE, Kind.LEVEL, Kind.WORD)]
    parts = [t for t in sentence.tokens if t.kind is Kind.PART]
    own = {t.concept for t in parts}
    if own - TISSUES:
        parts = [t for t in parts if t.concept not in TISSUES]
    others = [t for t in others if any(_says(t, s) for s in near)]
    for token in parts:
        if token.concept in REGIONS and token.concept in known:
            continue
        here = [t for t in claims if t.clause == token.clause]
        closest = _beside(token, here) or _beside(token, claims) or others
        if not here:
            closest += [t for t in others if t.clause == token.clause]
        holders = [s for s in near if _has_part(token.concept, s, own)]
        if not any(
            not closest or any(_says(t, s) for t in closest) or _sure(sentence, token, s)
            for s in holders
        ):
            return Unsupported.BODY_PART, token.written
    for token in claims:
        beside = [
            t for t in _beside(token, parts)
            if t.clause == token.clause and abs(t.place - token.place) <= REACH
            and min(claims, key=lambda c: abs(c.place - t.place)) is token
        ]  # fmt: skip
        if token.concept in GENERIC or not beside or any(t.concept in REGIONS for t in beside):
            continue
        holders = [s for s in near if _says(token, s)]
        if holders and not any(
            (s in holders and _has_part(t.concept, s, own)) or _sure(sentence, t, s)
            for t in beside
            for s in near
        ):
            return Unsupported.BODY_PART, f"{token.written}: {beside[0].written}"
    return None


def _opposites(sentence: Statement, near: list[Statement]) -> Problem | None:
    """Left, upper, mild, chronic: as in the statements that are most like the sentence."""
    said = {t.concept for t in sentence.tokens if t.kind is Kind.OPPOSITE}
    likenesses = [shared(sentence, s) for s in near]
    most = max(likenesses, default=0.0) or 1.0
    alike = [s for s, like in zip(near, likenesses, strict=True) if like >= ALIKE * most]
    for token in sentence.tokens:
        if token.kind is not Kind.OPPOSITE:
            continue
        axis = token.concept.partition(":")[0] + ":"
        if axis == "change:" and token.denied:
            continue
        against = near if axis in EXCLUSIVE else alike
        same = opposite = 0.0
        for statement, likeness in zip(near, likenesses, strict=True):
            alikeness = 1.0 - WHOLE + WHOLE * likeness / most
            found = values(axis, statement)
            if axis == "side:":
                everywhere = tuple(t.place for t in statement.tokens)
                found += [(c, everywhere) for c in statement.about if c.startswith(axis)]
            if token.concept == "side:both" and len(found) > 1:
                found = [("side:both", tuple(p for _, places in found for p in places))]
            for value, places in found:
                like = alikeness * max(
                    (around(sentence, token, statement, (p,), axis) for p in places), default=0.0
                )
                if value == token.concept:
                    same = max(same, like)
                elif statement in against and (
                    value not in said or value in ("side:left", "side:right")
                ):
                    opposite = max(opposite, like)
        if token.concept == "side:both":
            same = max(same, _unsided(sentence, token, near))
        slack = SLACK if same else UNSAID
        if axis == "side:" and not {"side:left", "side:right"} <= said:
            slack = 0.0
        if same + slack < opposite or (axis == "side:" and same == 0.0):
            return AXIS_REASON[axis], token.written
    return None


def _certain(sentence: Statement, near: list[Statement]) -> Problem | None:
    """What the report only thinks possible is no more in a sentence without a word of doubt."""
    if sentence.hedged:
        return None
    for token in sentence.tokens:
        if token.kind is not Kind.FINDING or token.denied or token.concept in GENERIC | SOFT:
            continue
        told = [
            other.place in statement.doubted
            for statement in near
            for other in statement.tokens
            if other.concept == token.concept and not other.denied
        ]
        if told and all(told):
            return Unsupported.DEGREE, f"{token.written}: only possible in the report"
    return None


def _unsided(sentence: Statement, both: Token, near: list[Statement]) -> float:
    """How like the sentence a statement is that names a part without a side, and so means both."""
    best = 0.0
    for part in sentence.tokens:
        if part.kind is not Kind.PART or abs(part.place - both.place) > REACH:
            continue
        for statement in near:
            places = statement.places.get(part.concept)
            if places and not any(c.startswith("side:") for c in statement.places):
                best = max(best, 1.0 + around(sentence, both, statement, places))
    return best


def _beside(token: Token, others: list[Token]) -> list[Token]:
    """The nearest of the others before the token and the nearest after it."""
    before = [t for t in others if t.place < token.place]
    after = [t for t in others if t.place > token.place]
    return before[-1:] + after[:1]


def _has_part(part: str, statement: Statement, own: set[str]) -> bool:
    """Whether the statement is about the part, or one within it, or one that it lies in.

    A part of the context counts only where the statement names no other that the sentence lacks.
    """
    concepts = {part} | CONTENTS.get(part, NOTHING)
    concepts |= CONTAINERS.get(part, NOTHING) - REGIONS
    if not concepts.isdisjoint(statement.places):
        return True
    if concepts.isdisjoint(statement.context):
        return False
    named = {t.concept for t in statement.tokens if t.kind is Kind.PART} - REGIONS
    return all(n in own or not related(n).isdisjoint(own) for n in named)


def _sure(sentence: Statement, part: Token, statement: Statement) -> bool:
    """Whether so much around a body part is the same that the statement is the right one."""
    return around(sentence, part, statement, statement.places.get(part.concept, ())) >= SURE


def _says(token: Token, statement: Statement) -> bool:
    """Whether the statement says of something what the token says."""
    if token.kind in CLAIMS:
        return any(agreement(token, t) > 0 for t in statement.tokens if t.kind in CLAIMS)
    return has(token.concept, statement)


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
