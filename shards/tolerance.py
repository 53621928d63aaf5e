"""Samples whose bytes are wrong, noted, and left out up to a limit.

In: the `CorruptSample`s that a reader met. Out: every sample once, to whoever listens; a
`UserError` when there are more than the user allows. Nothing is left out in silence.
"""

from __future__ import annotations

from collections.abc import Callable

from shards.reader import CorruptSample
from study.errors import UserError

Listener = Callable[[CorruptSample], None]


class Tolerance:
    """Counts the corrupt samples of the dataset `place`, of which `limit` may be left out;
    `setting` is the limit's name."""

    def __init__(self, limit: int, setting: str, place: str) -> None:
        self.found: dict[tuple[str, str], CorruptSample] = {}
        """(shard, key) -> the first problem of that sample, in the order in which they came."""
        self._limit, self._setting, self._place = limit, setting, place
        self._listeners: list[Listener] = []

    def listen(self, listener: Listener) -> None:
        """Tell `listener` of every corrupt sample once, those found before included."""
        for error in self.found.values():
            listener(error)
        self._listeners.append(listener)

    def admit(self, error: CorruptSample) -> None:
        """Note a sample that will be left out. UserError where it is one too many."""
        if (error.shard, error.key) in self.found:
            return
        self.found[error.shard, error.key] = error
        for listener in self._listeners:
            listener(error)
        if len(self.found) > self._limit:
            count = f"{len(self.found)} samples" if self._limit else "a sample"
            raise UserError(
                f"{self._place} is damaged: {error}. That is {count}, {self._setting} allows "
                f"{self._limit}: see `dicom2clip shards verify`, or set it higher to go on without"
            )
