"""How good the check of sentences is: honest paraphrases lost, corruptions caught.

In: `paraphrases.jsonl`, written by hand (a row a report: its id, its text where it was invented for
this, its sentences), and the texts of real reports by id. Out: counts by kind. Of the first rows
every third report, by the digest of its id, is held out; a later row names its batch: each batch
was written, and measured once, before the rules were changed for it.
"""

from __future__ import annotations

import hashlib
import json
import random
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path

import corruptions

from ingest.faithful import check
from ingest.statements import statements

PARAPHRASES = Path(__file__).parent / "paraphrases.jsonl"


@dataclass(frozen=True)
class Case:
    report: str
    text: str
    paraphrases: tuple[str, ...]
    batch: str = ""

    @property
    def held_out(self) -> bool:
        digest = hashlib.sha256(self.report.encode()).hexdigest()
        return not self.batch and int(digest, 16) % 3 == 0

    @property
    def share(self) -> str:
        """The share of the reports that it is counted with."""
        return self.batch or ("held out" if self.held_out else "fitted on")

    @property
    def verbatim(self) -> tuple[str, ...]:
        """Statements of the report as they stand there, each once."""
        found = [s.text for s in statements(self.text) if s.asserted and s.tokens]
        return tuple(dict.fromkeys(found))


@dataclass
class Count:
    dropped: int = 0
    of: int = 0

    @property
    def share(self) -> float:
        return self.dropped / self.of if self.of else 0.0


def cases(real: dict[str, str]) -> Iterator[Case]:
    """Reports with their paraphrases; those of real reports only where their texts are given."""
    with PARAPHRASES.open(encoding="utf-8") as lines:
        for line in lines:
            row = json.loads(line)
            text = row.get("text") or real.get(row["report"])
            if text:
                yield Case(row["report"], text, tuple(row["sentences"]), row.get("batch", ""))


def real_texts(folder: Path) -> dict[str, str]:
    """Texts by id of the real reports that may be shared."""
    with (folder / "reports" / "real_reports.jsonl").open(encoding="utf-8") as lines:
        return {row["id"]: row["text"] for row in map(json.loads, lines)}


def lost(found: list[Case]) -> Count:
    """Honest paraphrases that the check drops."""
    checked = [(check(c.paraphrases, c.text), len(c.paraphrases)) for c in found]
    return Count(sum(len(c.dropped) for c, _ in checked), sum(n for _, n in checked))


def caught(found: list[Case], seed: int = 0) -> dict[tuple[str, str], Count]:
    """Corrupted sentences that the check drops, by (paraphrase or verbatim, kind)."""
    counts: dict[tuple[str, str], Count] = {}
    for case in found:
        for source, sentences in (("paraphrase", case.paraphrases), ("verbatim", case.verbatim)):
            for kind, corrupt in corruptions.KINDS.items():
                false = []
                for sentence in sentences:
                    rng = random.Random(f"{seed} {case.report} {kind} {sentence}")
                    changed = corrupt(sentence, case.text, rng)
                    if changed is not None and changed != sentence:
                        false.append(changed)
                count = counts.setdefault((source, kind), Count())
                count.of += len(set(false))
                count.dropped += len(check(list(dict.fromkeys(false)), case.text).dropped)
    return counts


def asked_for(counts: dict[tuple[str, str], Count]) -> Count:
    """All corruptions of the kinds that the target is about."""
    chosen = [c for (_, kind), c in counts.items() if kind in corruptions.ASKED_FOR]
    return Count(sum(c.dropped for c in chosen), sum(c.of for c in chosen))
