"""Many numbers -> how often each occurs: exact quantiles in memory that does not grow with them.

In: arrays of numbers. Out: counts by value, and a summary. Values are rounded to `step` first, so
that what is kept grows with the number of different values (spacings, lengths, counts of things),
never with the number of scans.
"""

from __future__ import annotations

from collections import Counter
from typing import Any

import numpy as np

QUANTILES = {"p5": 0.05, "median": 0.5, "p95": 0.95}


class Tally:
    """Counts of values rounded to multiples of `step`."""

    def __init__(self, step: float = 1.0) -> None:
        self._step = step
        self._counts: Counter[int] = Counter()

    def add(self, values: np.ndarray | list[float] | list[int]) -> None:
        """Count values, of any shape; what is no number is left out."""
        numbers = np.asarray(values, dtype=np.float64).ravel()
        steps = np.rint(numbers[np.isfinite(numbers)] / self._step).astype(np.int64)
        for value, count in zip(*np.unique(steps, return_counts=True), strict=True):
            self._counts[int(value)] += int(count)

    def __len__(self) -> int:
        return sum(self._counts.values())

    def values(self) -> tuple[np.ndarray, np.ndarray]:
        """(values in ascending order, how often each)."""
        steps = sorted(self._counts)
        return np.array(steps) * self._step, np.array([self._counts[step] for step in steps])

    def summary(self) -> dict[str, Any]:
        """count, mean, min, p5, median, p95, max. A quantile is the smallest value that at least
        that share of all do not exceed. {"count": 0} where there are none."""
        values, counts = self.values()
        if not len(values):
            return {"count": 0}
        total = int(counts.sum())
        reached = np.cumsum(counts)
        found = {
            name: float(values[np.searchsorted(reached, share * total)])
            for name, share in QUANTILES.items()
        }
        ends = {"min": float(values[0]), **found, "max": float(values[-1])}
        mean = float((values * counts).sum() / total)
        tidy = {name: round(value, 6) for name, value in {"mean": mean, **ends}.items()}
        return {"count": total, **tidy}
