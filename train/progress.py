"""What a person sees of a run: a live line in a terminal, plain lines elsewhere. And the wish to
stop it.

In: metrics, signals. Out: text on a rich console; a flag.
"""

from __future__ import annotations

import signal
import threading
import time
from types import FrameType, TracebackType
from typing import Any

from rich.console import Console
from rich.progress import BarColumn, MofNCompleteColumn, Progress, TextColumn, TimeRemainingColumn

from train.meter import Metrics

PLAIN_LINE_EVERY_S = 10.0
"""Where the output is no terminal, lines come at least so far apart (the last one always comes)."""


class ProgressLine:
    """Use as a context manager around the steps."""

    def __init__(self, console: Console, step: int, steps: int) -> None:
        self._console, self._step, self._steps = console, step, steps
        self._began = self._last_plain = time.monotonic()
        self._first = step
        self._live: Progress | None = None
        if console.is_terminal:
            columns = (
                TextColumn("train"),
                BarColumn(),
                MofNCompleteColumn(),
                TextColumn("steps  {task.fields[facts]}"),
            )
            self._live = Progress(*columns, TimeRemainingColumn(), console=console, transient=True)
            self._task = self._live.add_task("train", total=steps, completed=step, facts="")

    def advance(self, step: int) -> None:
        """Step `step` is done."""
        self._step = step
        if self._live is not None:
            self._live.update(self._task, completed=step)

    def show(self, metrics: Metrics) -> None:
        """Show the figures of a metrics line."""
        waiting = f"waiting {metrics.waiting_percent:.0f} %"
        facts = f"loss {metrics.loss:.3f}  {metrics.studies_per_s:.1f} studies/s  {waiting}"
        now = time.monotonic()
        if self._live is not None:
            self._live.update(self._task, facts=facts)
        elif now - self._last_plain >= PLAIN_LINE_EVERY_S or metrics.step == self._steps:
            left_s = (
                (now - self._began) / max(1, self._step - self._first) * (self._steps - self._step)
            )
            text = f"train: step {metrics.step}/{self._steps}  {facts}  {left_s:.0f} s left"
            self._console.print(text, highlight=False, soft_wrap=True)
            self._last_plain = now

    def __enter__(self) -> ProgressLine:
        if self._live is not None:
            self._live.start()
        return self

    def __exit__(
        self,
        kind: type[BaseException] | None,
        value: BaseException | None,
        trace: TracebackType | None,
    ) -> None:
        if self._live is not None:
            self._live.stop()


class StopSignal:
    """Notes SIGTERM and Ctrl-C so that the step at hand can end; a second Ctrl-C interrupts at
    once.

    Use as a context manager. Outside the main thread, where Python takes no signals, it notes none.
    """

    SIGNALS = (signal.SIGTERM, signal.SIGINT)

    def __init__(self) -> None:
        self.name = ""
        """Of the signal that came, empty until then."""
        self._before: dict[signal.Signals, Any] = {}

    def _note(self, number: int, frame: FrameType | None) -> None:
        if self.name and number == signal.SIGINT:
            raise KeyboardInterrupt
        self.name = signal.Signals(number).name

    def __enter__(self) -> StopSignal:
        if threading.current_thread() is threading.main_thread():
            self._before = {number: signal.signal(number, self._note) for number in self.SIGNALS}
        return self

    def __exit__(
        self,
        kind: type[BaseException] | None,
        value: BaseException | None,
        trace: TracebackType | None,
    ) -> None:
        for number, handler in self._before.items():
            signal.signal(number, handler)
