"""What a run of questions came to.

In: one question after the other as it is settled. Out: `Spent`; calls of the progress. The idea:
every text that goes in is counted once, whatever became of it.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from enum import StrEnum

from ingest.llm_cache import Settled
from ingest.llm_cost import Estimate, Purse

Progress = Callable[[int, int, float], None]
"""Called as progress(done, total, cost)."""


class Stop(StrEnum):
    """Why a run ended before the texts did."""

    COST = "COST"
    """The next request could have passed max_cost."""
    SIGNAL = "SIGNAL"
    """SIGINT or SIGTERM."""


@dataclass(frozen=True)
class Spent:
    """What a run came to. All texts = cached + repeated + empty + answered + failed + unanswered,
    unless it was stopped or limited."""

    estimate: Estimate
    cached: int = 0
    """Settled by earlier runs (failures too)."""
    repeated: int = 0
    """Equal to another text of this run."""
    empty: int = 0
    """Without a letter or digit; never asked."""
    answered: int = 0
    failed: Mapping[str, int] = field(default_factory=dict)
    """By reason; they are not asked again unless a run is told to."""
    unanswered: int = 0
    """Not settled because of the endpoint; the next run asks again."""
    told: str = ""
    """What the endpoint said last of those."""
    tokens_in: int = 0
    tokens_out: int = 0
    cost: float = 0.0
    stopped: Stop | None = None


class Tally:
    """Counts of a run, and its progress."""

    def __init__(self, estimate: Estimate, purse: Purse, progress: Progress | None) -> None:
        self.estimate, self.purse = estimate, purse
        self._progress = progress
        self._counts: Counter[str] = Counter()
        self._failed: Counter[str] = Counter()
        self.stopped: Stop | None = None
        self.told = ""

    def skip(self, what: str) -> None:
        """A text that is not asked: cached, repeated or empty."""
        self._count(what)

    def settle(self, settled: Settled) -> None:
        """A question whose answer or failure is in the cache."""
        self.purse.pay(settled.tokens_in, settled.tokens_out)
        if settled.failure:
            self._failed[settled.failure.value] += 1
        self._count("failed" if settled.failure else "answered")

    def leave(self) -> None:
        """A question that the endpoint did not settle."""
        self._count("unanswered")

    def _count(self, what: str) -> None:
        self._counts[what] += 1
        if self._progress:
            done = self._counts.total()
            self._progress(done, max(done, self.estimate.texts), self.purse.spent)

    def spent(self) -> Spent:
        counts = self._counts
        return Spent(
            estimate=self.estimate,
            cached=counts["cached"],
            repeated=counts["repeated"],
            empty=counts["empty"],
            answered=counts["answered"],
            failed=dict(sorted(self._failed.items())),
            unanswered=counts["unanswered"],
            told=self.told if counts["unanswered"] else "",
            tokens_in=self.purse.tokens_in,
            tokens_out=self.purse.tokens_out,
            cost=self.purse.spent,
            stopped=self.stopped,
        )
