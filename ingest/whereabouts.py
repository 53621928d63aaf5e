"""Body parts, sides, degrees and doubts of a sentence: as its report has them.

In: a sentence and the statements of its report that are most like it, from `claims`. Out: the
first of them that the report has otherwise, or None. A part must stand with what is said of it; a
side or a degree must be that of the statement that is most like the sentence around it.
"""

from __future__ import annotations

from ingest.claims import Statement, Token
from ingest.likeness import (
    CLAIMS,
    CONTENTS,
    NOTHING,
    agreement,
    around,
    has,
    related,
    shared,
    values,
)
from ingest.unsupported import Problem, Unsupported
from ingest.vocabulary import CONTAINERS, Kind, words

SLACK = 0.2
"""How much more like the sentence another value may be than its own."""
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
ALIKE = 0.7
"""How much of what the best statement shares another must share to speak against a degree."""
SURE = 0.7
"""Likeness at which a statement is the right one although it names no finding of the sentence."""
WHOLE = 0.6
"""Share by which a side or degree counts less in a statement that shares less of the sentence."""
UNSAID = 0.6
"""As `SLACK`, where the report says nothing on the axis near what is like the sentence."""
REACH = 6
"""Words within which a body part and a finding of a sentence belong together."""
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


def misplaced(sentence: Statement, near: list[Statement], known: set[str]) -> Problem | None:
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
        holders = [s for s in near if has_part(token.concept, s, own)]
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
            (s in holders and has_part(t.concept, s, own)) or _sure(sentence, t, s)
            for t in beside
            for s in near
        ):
            return Unsupported.BODY_PART, f"{token.written}: {beside[0].written}"
    return None


def opposed(sentence: Statement, near: list[Statement]) -> Problem | None:
    """Left, upper, mild, chronic: as in the statements that are most like the sentence."""
    said = {t.concept for t in sentence.tokens if t.kind is Kind.OPPOSITE}
    if not said:
        return None
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


def overstated(sentence: Statement, near: list[Statement]) -> Problem | None:
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


def has_part(part: str, statement: Statement, own: set[str]) -> bool:
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
