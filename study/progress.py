"""Progress bars with rate and time left; silent where the output is not a terminal.

In: calls `progress(stage, done, all)`, and what is to stand below. Out: one bar a stage on the
console, and that.
"""

from __future__ import annotations

from collections.abc import Callable
from types import TracebackType

from rich.console import Console, Group, RenderableType
from rich.live import Live
from rich.progress import (
    BarColumn,
    MofNCompleteColumn,
    Progress,
    ProgressColumn,
    Task,
    TaskID,
    TextColumn,
    TimeElapsedColumn,
    TimeRemainingColumn,
)
from rich.text import Text

LEAST_S = 0.5
"""Seconds, before which a rate says nothing."""


class RateColumn(ProgressColumn):
    """Things a second since the stage was first heard of: where a hundred thousand are told of at
    once, the pace of the last moments is nonsense, and what was done before is no pace at all."""

    def render(self, task: Task) -> Text:
        passed = (task.finished_time if task.finished else task.elapsed) or 0.0
        made = task.completed - task.fields["before"]
        if not made or passed < LEAST_S:
            return Text("")
        rate = made / passed
        return Text(f"{rate:,.0f}/s" if rate >= 10 else f"{rate:.2g}/s")


class Bars:
    """A bar for each stage, made when the stage is first heard of. Call it with (stage, done,
    all)."""

    def __init__(self, console: Console, titles: dict[str, str]) -> None:
        self._titles = titles
        self._tasks: dict[str, TaskID] = {}
        self._progress = Progress(
            TextColumn("{task.description:24}"),
            BarColumn(),
            MofNCompleteColumn(),
            RateColumn(),
            TimeElapsedColumn(),
            TimeRemainingColumn(),
            console=console,
            disable=not console.is_terminal,
        )
        self._below: Callable[[], RenderableType | None] = lambda: None
        self._live = Live(console=console, get_renderable=self._all, refresh_per_second=4)
        self._is_shown = console.is_terminal

    def show(self, below: Callable[[], RenderableType | None]) -> None:
        """Show, from now on, what `below` gives, asked some times a second."""
        self._below = below

    def _all(self) -> RenderableType:
        below = self._below()
        return self._progress if below is None else Group(self._progress, below)

    def __enter__(self) -> Bars:
        if self._is_shown:
            self._live.start()
        return self

    def __exit__(
        self,
        kind: type[BaseException] | None,
        value: BaseException | None,
        trace: TracebackType | None,
    ) -> None:
        self._below = lambda: None
        if self._is_shown:
            self._live.stop()

    def __call__(self, stage: str, done: int, total: int) -> None:
        if stage not in self._tasks:
            title = self._titles.get(stage, stage)
            self._tasks[stage] = self._progress.add_task(title, total=total, before=done)
        self._progress.update(self._tasks[stage], completed=done, total=total)
