"""How often something happens, in the words of pipelines.yaml: "500 steps", "30 min", "1 epoch".

In: such a text, and the progress of the run. Out: whether it is due.
"""

from __future__ import annotations

import math
from dataclasses import dataclass

from study.errors import UserError

UNITS = {
    "step": "steps",
    "epoch": "epochs",
    "s": "seconds",
    "sec": "seconds",
    "min": "seconds",
    "h": "seconds",
}
"""Word (without a plural s) -> what is counted."""
SECONDS = {"s": 1.0, "sec": 1.0, "min": 60.0, "h": 3600.0}
ROUNDING = 1e-9
"""Share of a multiple by which a sum of fractions of epochs may fall short."""


@dataclass(frozen=True)
class Progress:
    """How far a run is, in what cadences count."""

    steps: float = 0
    epochs: float = 0
    seconds: float = 0


class Cadence:
    """Says yes once each time a multiple of it is passed, wherever a session begins."""

    def __init__(self, text: str, key: str, start: Progress) -> None:
        """`key` is the setting's name, for the UserError."""
        number, _, word = text.strip().partition(" ")
        unit = word.strip().lower()
        unit = unit if unit in UNITS else unit.removesuffix("s")
        try:
            count = float(number)
        except ValueError:
            count = 0
        if not 0 < count < math.inf or unit not in UNITS:
            raise UserError(
                f"{key}: {text!r} is not a cadence; write one as '500 steps', '30 min' or '1 epoch'"
            )
        self._what = UNITS[unit]
        self._every = count * SECONDS.get(unit, 1.0)
        self._passed = self._multiples(start)

    def due(self, now: Progress) -> bool:
        """Whether a multiple was passed since the last time this was asked."""
        before, self._passed = self._passed, self._multiples(now)
        return self._passed > before

    def _multiples(self, progress: Progress) -> int:
        value: float = getattr(progress, self._what)
        return int(value / self._every + ROUNDING)
