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
from collections.abc import Sequence
from dataclasses import dataclass
from itertools import pairwise

from ingest.claims import Statement, folded, parsed
from ingest.likeness import NOTHING, RELATED, WEIGHT, related
from ingest.statements import statements
from ingest.support import problem
from ingest.unsupported import Problem
from ingest.unsupported import Unsupported as Unsupported
from ingest.vocabulary import CONTAINERS, Kind


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
KNOWN_BEFORE = re.compile(
    r"\b(?:known|history|prior|previous(?:ly)?|status post|setting of|after|following)\b", re.I
)
"""What a sentence says that may tell what the clinician told."""
NO_LETTERS = re.compile(r"[\W_]+")


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
        self.told = [s for s in everything if not s.asserted and asserted]
        """What the clinician told or asked."""
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
        near = self._alike(sentence)
        if KNOWN_BEFORE.search(sentence.text):
            near += self.told
        return problem(sentence, near, self.parts)

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


def _verbatim(everything: list[Statement], report: str) -> set[str]:
    """Statements as they are, and neighbours put together."""
    single = [_letters(s.text) for s in everything]
    found = {*single, *(_letters(line) for line in report.split("\n"))}
    found |= {_letters(s.text.partition(":")[2]) for s in everything if ":" in s.text}
    found |= {_letters(f"{s.label} {s.text}") for s in everything if s.label}
    return (found | {f"{a} {b}" for a, b in pairwise(single)}) - {""}
