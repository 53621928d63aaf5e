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

from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass
from enum import StrEnum

from ingest.claims import CONTAINERS, KINDS, Kind, Statement, Token, folded, parsed, statements


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


WEIGHT = {
    Kind.FINDING: 2.0, Kind.PART: 2.0, Kind.MEASURE: 3.0, Kind.LEVEL: 3.0, Kind.NORMAL: 1.0,
    Kind.OPPOSITE: 1.0, Kind.WORD: 1.0,
}  # fmt: skip
"""What a shared concept says about two statements being about one thing."""
NEAR = 5.0
"""Distance in words at which a concept counts half."""
FAR = 0.25
"""What a concept of the context counts."""
CANDIDATES = 12
"""Statements of the report that are compared word by word with one sentence."""
MIN_COVERED = 0.5
"""Weight of the content of a sentence that the report must have."""
GENERIC = frozenset("lesion enlarged mass".split())
"""Findings so general that a paraphrase may name any other so."""
REGIONS = frozenset("head brain spine neck chest abdomen pelvis bone lung bowel skull".split())
AXIS_REASON = {
    "side": Unsupported.SIDE, "height": Unsupported.BODY_PART, "depth": Unsupported.BODY_PART,
    "width": Unsupported.BODY_PART, "reach": Unsupported.BODY_PART, "degree": Unsupported.DEGREE,
    "age": Unsupported.DEGREE, "change": Unsupported.DEGREE,
}  # fmt: skip


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
        elif source.has_verbatim(key) or (problem := source.problem(parsed(sentence))) is None:
            kept.append(sentence)
        else:
            dropped.append(Dropped(sentence, *problem))
        seen.add(key)
    return Checked(tuple(kept), tuple(dropped))


Problem = tuple[Unsupported, str]


def _letters(text: str) -> str:
    """Letters and digits only, in words: what two copies of one sentence share."""
    return " ".join("".join(c if c.isalnum() else " " for c in folded(text)).split())


class Source:
    """A report, parsed once, asked about sentence after sentence."""

    def __init__(self, report: str) -> None:
        everything = statements(report)
        self.verbatim = _verbatim(everything, report)
        asserted = [s for s in everything if s.asserted]
        self.statements = asserted or everything
        self.where: dict[str, set[int]] = {}
        for number, statement in enumerate(self.statements):
            for concept in statement.places:
                self.where.setdefault(concept, set()).add(number)
            for concept in statement.context:
                self.where.setdefault(concept, set()).add(number)
        self.parts = {
            outer
            for s in everything
            for t in s.tokens
            if t.kind is Kind.PART
            for outer in (t.concept, *CONTAINERS.get(t.concept, ()))
        }
        """All parts that the report names, and all that they lie in."""

    def has_verbatim(self, key: str) -> bool:
        return key in self.verbatim

    def problem(self, sentence: Statement) -> Problem | None:
        """The first thing that the report does not support."""
        if not sentence.tokens:
            return Unsupported.WORDS, "nothing that a report could support"
        near = self._alike(sentence)
        for rule in (self._words, self._measures, self._levels, self._findings, self._parts,
                     self._opposites):  # fmt: skip
            problem = rule(sentence, near)
            if problem:
                return problem
        return None

    def _alike(self, sentence: Statement) -> list[Statement]:
        """The statements that share most with the sentence, best first."""
        weights: dict[int, float] = {}
        counted: set[str] = set()
        for token in sentence.tokens:
            if token.concept in counted:
                continue
            counted.add(token.concept)
            for concept in _same(token.concept):
                for number in self.where.get(concept, ()):
                    weights[number] = weights.get(number, 0.0) + WEIGHT[token.kind]
        best = sorted(weights, key=lambda n: (-weights[n], n))[:CANDIDATES]
        return [self.statements[n] for n in best]

    def _words(self, sentence: Statement, near: list[Statement]) -> Problem | None:
        """Enough of what the sentence says is in the statements that are like it."""
        total = covered = 0.0
        missing = []
        have = {c for s in near[:4] for c in (*s.places, *s.context)}
        for token in sentence.tokens:
            if token.kind in (Kind.OPPOSITE, Kind.NORMAL):
                continue
            weight = WEIGHT[token.kind]
            total += weight
            if any(c in have for c in _same(token.concept)):
                covered += weight
            else:
                missing.append(token.written)
        if total and covered < MIN_COVERED * total:
            return Unsupported.WORDS, f"not in the report: {' '.join(missing)}"
        return None

    def _measures(self, sentence: Statement, near: list[Statement]) -> Problem | None:
        """Every measurement stands, in any unit, in a statement about the same thing."""
        for group in _groups(sentence):
            concepts = {t.concept for t in group}
            holders = [s for s in near if all(c in s.places for c in concepts)]
            others = [t for t in sentence.tokens if t.kind not in (Kind.MEASURE, Kind.OPPOSITE)]
            if others and holders:
                holders = [s for s in holders if any(_in(t.concept, s) for t in others)]
            if not holders:
                return Unsupported.NUMBER, " x ".join(t.written.lstrip("#") for t in group)
        return None

    def _levels(self, sentence: Statement, near: list[Statement]) -> Problem | None:
        """Every spinal level is that of the statement that is most like the sentence."""
        for token in sentence.tokens:
            if token.kind is not Kind.LEVEL:
                continue
            scores = [(_score(sentence, s, {token.concept}), s) for s in near]
            at_level = max((x for x, s in scores if _has_level(token.concept, s)), default=0.0)
            elsewhere = max(
                (x for x, s in scores
                 if not _has_level(token.concept, s)
                 and any(c.startswith("level:") for c in (*s.places, *s.context))),
                default=0.0,
            )  # fmt: skip
            if at_level == 0.0 or at_level < 0.8 * elsewhere:
                return Unsupported.NUMBER, token.written.removeprefix("#level:")
        return None

    def _findings(self, sentence: Statement, near: list[Statement]) -> Problem | None:
        """Every finding is in the report, and denied where the sentence denies it."""
        for token in sentence.tokens:
            if token.kind not in (Kind.FINDING, Kind.NORMAL):
                continue
            same = opposite = 0.0
            for statement in near:
                for other in statement.tokens:
                    if other.kind not in (Kind.FINDING, Kind.NORMAL):
                        continue
                    agreement = _agreement(token, other)
                    if agreement == 0.0:
                        continue
                    likeness = abs(agreement) * (0.5 + _likeness(sentence, token, statement, other))
                    if agreement > 0:
                        same = max(same, likeness)
                    else:
                        opposite = max(opposite, likeness)
            if same < opposite:
                said = "denied" if token.denied else "stated"
                return Unsupported.NEGATION, f"{token.written}: {said} by the sentence alone"
            if same == 0.0 and token.concept not in GENERIC:
                return Unsupported.WORDS, f"not in the report: {token.written}"
        return None

    def _parts(self, sentence: Statement, near: list[Statement]) -> Problem | None:
        """Every body part stands with what is said of it."""
        claims = [t for t in sentence.tokens if t.kind not in (Kind.PART, Kind.OPPOSITE)]
        for token in sentence.tokens:
            if token.kind is not Kind.PART:
                continue
            if token.concept in REGIONS and token.concept in self.parts:
                continue
            closest = sorted(claims, key=lambda t: abs(t.place - token.place))[:3]
            holders = [s for s in near if _has_part(token.concept, s)]
            if not holders or (closest and not any(_claims(t, s) for t in closest for s in holders)):
                return Unsupported.BODY_PART, token.written
        return None

    def _opposites(self, sentence: Statement, near: list[Statement]) -> Problem | None:
        """Left, upper, mild, chronic: as in the statements that are most like the sentence."""
        for token in sentence.tokens:
            if token.kind is not Kind.OPPOSITE:
                continue
            axis = token.concept.partition(":")[0]
            same = opposite = 0.0
            for statement in near:
                for value, places in _values(axis, statement):
                    likeness = max(
                        _likeness(sentence, token, statement, None, place, axis)
                        for place in places
                    )
                    if value == token.concept:
                        same = max(same, likeness)
                    else:
                        opposite = max(opposite, likeness)
            if axis == "side" and token.concept == "side:both" and same < opposite:
                same = max(same, self._unsided(sentence, near))
            if same < opposite or (axis == "side" and same == 0.0):
                return AXIS_REASON[axis], token.written
        return None

    def _unsided(self, sentence: Statement, near: list[Statement]) -> float:
        """How like the sentence a statement is that names no side, and so means both."""
        return max(
            (_score(sentence, s, frozenset()) / 4 for s in near
             if not any(c.startswith("side:") for c in s.places)),
            default=0.0,
        )  # fmt: skip


def _verbatim(everything: list[Statement], report: str) -> set[str]:
    """Statements as they are, and neighbours put together."""
    single = [_letters(s.text) for s in everything]
    found = {key for key in single if key}
    found |= {_letters(line) for line in report.split("\n")}
    found |= {_letters(s.text.partition(":")[2]) for s in everything if ":" in s.text}
    return (found | {f"{a} {b}" for a, b in zip(single, single[1:], strict=False)}) - {""}


def _same(concept: str) -> tuple[str, ...]:
    """A concept and all that may be named instead of it."""
    return (concept, *KINDS.get(concept, ()), *KINDS_BELOW.get(concept, ()),
            *CONTAINERS.get(concept, ()), *CONTENTS.get(concept, ()))  # fmt: skip


def _reversed(relation: dict[str, frozenset[str]]) -> dict[str, frozenset[str]]:
    found: dict[str, set[str]] = {}
    for low, highs in relation.items():
        for high in highs:
            found.setdefault(high, set()).add(low)
    return {high: frozenset(lows) for high, lows in found.items()}


KINDS_BELOW = _reversed(KINDS)
CONTENTS = _reversed(CONTAINERS)


def _agreement(said: Token, other: Token) -> float:
    """1 where `other` supports what is said, -1 where it contradicts it, less where it only may."""
    if said.kind is Kind.NORMAL or other.kind is Kind.NORMAL:
        if said.kind is other.kind:
            return 1.0 if said.denied == other.denied else -1.0
        if said.kind is Kind.NORMAL:
            return 0.5 if other.denied != said.denied else 0.0
        return 0.5 if said.denied != other.denied else 0.0
    if said.concept == other.concept:
        return 1.0 if said.denied == other.denied else -1.0
    narrower = other.concept in KINDS_BELOW.get(said.concept, ())
    wider = other.concept in KINDS.get(said.concept, ())
    if not (narrower or wider):
        return 0.0
    if said.denied:
        return 0.0 if not other.denied else (0.9 if wider else 0.6)
    if other.denied:
        return -0.9 if wider else 0.0
    return 0.9 if narrower else 0.6


def _likeness(
    sentence: Statement,
    token: Token,
    statement: Statement,
    other: Token | None,
    place: int = 0,
    axis: str = "",
) -> float:
    """How much of what stands around the token also stands around its like in the report."""
    at = other.place if other else place
    total = 0.0
    for feature in sentence.tokens:
        if feature.place == token.place or feature.concept == token.concept:
            continue
        if axis and feature.concept.startswith(f"{axis}:"):
            continue
        best = 0.0
        for concept in _same(feature.concept):
            places = statement.places.get(concept)
            if places:
                distance = min(abs(p - at) for p in places)
                best = max(best, 1.0 / (1.0 + distance / NEAR))
            elif concept in statement.context:
                best = max(best, FAR)
        if best:
            total += WEIGHT[feature.kind] * best / (1.0 + abs(feature.place - token.place) / NEAR)
    return total


def _score(sentence: Statement, statement: Statement, without: set[str] | frozenset[str]) -> float:
    """Weight of what two statements share, wherever it stands."""
    return sum(
        WEIGHT[t.kind]
        for t in sentence.tokens
        if t.concept not in without and any(c in statement.places for c in _same(t.concept))
    )


def _in(concept: str, statement: Statement) -> bool:
    return any(c in statement.places or c in statement.context for c in _same(concept))


def _has_part(part: str, statement: Statement) -> bool:
    """Whether the statement names the part or one within it."""
    concepts = (part, *CONTENTS.get(part, ()))
    return any(c in statement.places or c in statement.context for c in concepts)


def _claims(token: Token, statement: Statement) -> bool:
    """Whether the statement says of something what the token says."""
    if token.kind in (Kind.FINDING, Kind.NORMAL):
        return any(
            _agreement(token, other) > 0
            for other in statement.tokens
            if other.kind in (Kind.FINDING, Kind.NORMAL)
        )
    return token.concept in statement.places


def _groups(sentence: Statement) -> Iterator[list[Token]]:
    """Measurements of several numbers, as one."""
    group: list[Token] = []
    for token in sentence.tokens:
        if token.kind is Kind.MEASURE and group and token.place == group[-1].place + 1:
            group.append(token)
        elif token.kind is Kind.MEASURE:
            if group:
                yield group
            group = [token]
    if group:
        yield group


def _has_level(level: str, statement: Statement) -> bool:
    """Whether the statement is about a spinal level; L5 is a part of L4-L5."""
    own = [c for c in (*statement.places, *statement.context) if c.startswith("level:")]
    if level in own:
        return True
    first, _, second = level.removeprefix("level:").partition("-")
    if not second:
        return any(first in c.removeprefix("level:").split("-") for c in own)
    return f"level:{first}" in own and f"level:{second}" in own


def _values(axis: str, statement: Statement) -> list[tuple[str, tuple[int, ...]]]:
    """What a statement says on one axis, and where; left and right together are both sides."""
    found = [(c, p) for c, p in statement.places.items() if c.startswith(f"{axis}:")]
    if axis == "side" and {c for c, _ in found} >= {"side:left", "side:right"}:
        found.append(("side:both", tuple(p for _, places in found for p in places)))
    return found


Rule = Callable[[Statement, list[Statement]], Problem | None]
