"""Sentences -> those that their report supports, and why each other one was dropped.

In: sentences that a model wrote, and the report that they were written from. Out: `Checked`: the
kept ones in order, the dropped ones with a reason. A sentence that stands in the report is
supported, in any language. For others the idea is contrast: wherever a sentence says one of several
values that exclude each other (denied or not, left or right, upper or lower, L4-L5 or L3-L4), the
statement of the report that is most like it must say the same; what it measures, and every finding
and body part that it names, must be there too. Pure, linear in the report, no model, no network.
It is a filter for training text: what it keeps is likely true to the report, not proven to be.
"""

from __future__ import annotations

import re
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from enum import StrEnum

from ingest.claims import CONTAINERS, Kind, Statement, Token, folded, parsed, statements
from ingest.likeness import (
    CLAIMS, CONTENTS, NORMAL_DENIES, NOTHING, RELATED, WEIGHT, agreement, around, has, has_level, related, shared, values,
)  # fmt: skip


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


@dataclass(frozen=True)
class Dropped:
    sentence: str
    reason: Unsupported
    detail: str
    """What was not found in the report; it may quote the sentence."""


@dataclass(frozen=True)
class Checked:
    kept: tuple[str, ...]
    dropped: tuple[Dropped, ...]

    @property
    def lost_share(self) -> float:
        """Share of the sentences that the report does not support; repetitions do not count."""
        lost = sum(d.reason is not Unsupported.REPEATED for d in self.dropped)
        return lost / (lost + len(self.kept)) if lost else 0.0


CANDIDATES = 12
"""Statements of the report that are compared word by word with one sentence."""
MIN_COVERED = 0.5
"""Weight of the content of a sentence that the report must have."""
MARGIN = 0.8
"""How much less like the sentence its own value may be than the best other value."""
SLACK = 0.2
"""How much more like the sentence another value may be than its own."""
SURE = 1.0
"""Likeness at which a statement is the right one although it names no finding of the sentence."""
REACH = 6
"""Words within which a body part and a finding of a sentence belong together."""
GENERIC = frozenset("lesion enlarged mass process injury".split())
"""Findings so general that a paraphrase may name any other so."""
REGIONS = frozenset(
    "head brain hemisphere spine neck chest abdomen pelvis bone lung bowel skull cervical thoracic lumbar "
    "artery vein node softtissue muscle".split()
)
"""Body parts so wide that a report is about them as a whole."""
AXIS_REASON = {
    "side:": Unsupported.SIDE, "height:": Unsupported.BODY_PART, "depth:": Unsupported.BODY_PART,
    "width:": Unsupported.BODY_PART, "reach:": Unsupported.BODY_PART, "degree:": Unsupported.DEGREE,
    "age:": Unsupported.DEGREE, "change:": Unsupported.DEGREE,
}  # fmt: skip
NO_LETTERS = re.compile(r"[\W_]+")
Problem = tuple[Unsupported, str]


def check(sentences: Sequence[str], report: str) -> Checked:
    """Which sentences the report supports.

    >>> check(["A 21 mm cyst in the right kidney.", "Left renal cyst."],
    ...       "FINDINGS: 2.1 cm right renal cyst. The left kidney is normal.").kept
    ('A 21 mm cyst in the right kidney.',)
    """
    source = Source(report)
    kept: list[str] = []
    dropped: list[Dropped] = []
    seen: set[str] = set()
    for sentence in sentences:
        key = _letters(sentence)
        if not key:
            dropped.append(Dropped(sentence, Unsupported.EMPTY, "no words"))
        elif key in seen:
            dropped.append(Dropped(sentence, Unsupported.REPEATED, "an earlier sentence says it"))
        elif key in source.verbatim or (problem := source.problem(parsed(sentence))) is None:
            kept.append(sentence)
        else:
            dropped.append(Dropped(sentence, *problem))
        seen.add(key)
    return Checked(tuple(kept), tuple(dropped))


def _letters(text: str) -> str:
    """Letters and digits only, in words: what two copies of one sentence share."""
    return NO_LETTERS.sub(" ", folded(text)).strip()


class Source:
    """A report, parsed once, asked about sentence after sentence."""

    def __init__(self, report: str) -> None:
        everything = statements(report)
        self.verbatim = _verbatim(everything, report)
        asserted = [s for s in everything if s.asserted]
        self.statements = asserted or everything
        self.where: dict[str, set[int]] = {}
        for number, statement in enumerate(self.statements):
            for concept in (*statement.places, *statement.context):
                self.where.setdefault(concept, set()).add(number)
        tokens = [t for s in everything for t in s.tokens]
        self.parts = {
            outer
            for t in tokens
            if t.kind is Kind.PART
            for outer in (t.concept, *CONTAINERS.get(t.concept, NOTHING))
        }
        """All parts that the report names, and all that they lie in."""
        if any(t.kind is Kind.LEVEL for t in tokens):
            self.parts |= {"spine", "bone"}
        if any(t.concept in ("fracture", "osteopenia", "osteoporosis") for t in tokens):
            self.parts.add("bone")

    def problem(self, sentence: Statement) -> Problem | None:
        """The first thing that the report does not support."""
        if not sentence.tokens:
            return Unsupported.WORDS, "nothing that a report could support"
        near = self._alike(sentence)
        for rule in (_words, _measures, _levels, _findings, _denials, self._parts, _opposites):
            problem = rule(sentence, near)
            if problem:
                return problem
        return None

    def _alike(self, sentence: Statement) -> list[Statement]:
        """The statements that share most with the sentence, best first."""
        weights: dict[int, float] = {}
        for concept, kind in {t.concept: t.kind for t in sentence.tokens}.items():
            for number in self.where.get(concept, ()):
                weights[number] = weights.get(number, 0.0) + WEIGHT[kind]
            for other in related(concept):
                for number in self.where.get(other, ()):
                    weights[number] = weights.get(number, 0.0) + RELATED * WEIGHT[kind]
        best = sorted(weights, key=lambda n: (-weights[n], n))[:CANDIDATES]
        return [self.statements[n] for n in best]

    def _parts(self, sentence: Statement, near: list[Statement]) -> Problem | None:
        """Every body part stands with what is said of it, and every finding with its part."""
        claims = [t for t in sentence.tokens if t.kind in CLAIMS]
        others = [t for t in sentence.tokens if t.kind in (Kind.MEASURE, Kind.LEVEL, Kind.WORD)]
        parts = [t for t in sentence.tokens if t.kind is Kind.PART]
        own = {t.concept for t in parts}
        for token in parts:
            if token.concept in REGIONS and token.concept in self.parts:
                continue
            here = [t for t in claims if t.clause == token.clause]
            closest = _beside(token, here) or _beside(token, claims) or others
            if not here:
                closest += [t for t in others if t.clause == token.clause]
            holders = [s for s in near if _has_part(token.concept, s, own)]
            if not any(
                not closest
                or any(_says(t, s) for t in closest)
                or _sure(sentence, token, s)
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


def _words(sentence: Statement, near: list[Statement]) -> Problem | None:
    """Enough of what the sentence says is in the statements that are like it."""
    total = covered = 0.0
    missing = []
    for token in sentence.tokens:
        if token.kind in (Kind.OPPOSITE, Kind.NORMAL):
            continue
        total += WEIGHT[token.kind]
        if any(has(token.concept, s) for s in near[:4]):
            covered += WEIGHT[token.kind]
        else:
            missing.append(token.written)
    if covered < MIN_COVERED * total:
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
            if concepts <= statement.places.keys() and (
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
        if not found or same + SLACK < opposite:
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
    for token in sentence.tokens:
        if token.kind not in CLAIMS:
            continue
        same = opposite = 0.0
        for statement in near:
            for other in statement.tokens:
                if other.kind not in CLAIMS:
                    continue
                agrees = agreement(token, other)
                if agrees == 0.0 or (
                    abs(agrees) == NORMAL_DENIES and not any(_has_part(p, statement, parts) for p in parts)
                ):
                    continue
                like = abs(agrees) * (0.5 + around(sentence, token, statement, (other.place,)))
                if agrees > 0:
                    same = max(same, like)
                else:
                    opposite = max(opposite, like)
        if same + SLACK < opposite:
            said = "denied" if token.denied else "stated"
            return Unsupported.NEGATION, f"{token.written}: {said} by the sentence alone"
        if same == 0.0 and token.concept not in GENERIC:
            return Unsupported.WORDS, f"not in the report: {token.written}"
    return None


def _denials(sentence: Statement, near: list[Statement]) -> Problem | None:
    """What has no name as a finding is denied as the report denies it, for the most part."""
    balance = 0.0
    if any(t.kind in CLAIMS for t in sentence.tokens):
        return None
    for token in sentence.tokens:
        if token.concept.startswith(("side:", "degree:")):
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
        if same or opposite:
            balance += WEIGHT[token.kind] if same >= opposite else -WEIGHT[token.kind]
    if balance < 0.0:
        return Unsupported.NEGATION, "the report says the opposite"
    return None


def _opposites(sentence: Statement, near: list[Statement]) -> Problem | None:
    """Left, upper, mild, chronic: as in the statements that are most like the sentence."""
    said = {t.concept for t in sentence.tokens if t.kind is Kind.OPPOSITE}
    for token in sentence.tokens:
        if token.kind is not Kind.OPPOSITE:
            continue
        axis = token.concept.partition(":")[0] + ":"
        same = opposite = 0.0
        for statement in near:
            found = values(axis, statement)
            if token.concept == "side:both" and len(found) > 1:
                found = [("side:both", tuple(p for _, places in found for p in places))]
            for value, places in found:
                like = max(around(sentence, token, statement, (p,), axis) for p in places)
                if value == token.concept:
                    same = max(same, like)
                elif value not in said or value in ("side:left", "side:right"):
                    opposite = max(opposite, like)
        if token.concept == "side:both":
            same = max(same, _unsided(sentence, token, near))
        slack = 0.0 if axis == "side:" else SLACK
        if same + slack < opposite or (axis == "side:" and same == 0.0):
            return AXIS_REASON[axis], token.written
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


def _verbatim(everything: list[Statement], report: str) -> set[str]:
    """Statements as they are, and neighbours put together."""
    single = [_letters(s.text) for s in everything]
    found = {*single, *(_letters(line) for line in report.split("\n"))}
    found |= {_letters(s.text.partition(":")[2]) for s in everything if ":" in s.text}
    found |= {_letters(f"{s.label} {s.text}") for s in everything if s.label}
    return (found | {f"{a} {b}" for a, b in zip(single, single[1:], strict=False)}) - {""}


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
    return named <= own


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
