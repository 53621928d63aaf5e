"""What a job is at, while it is at it: for the table below the bars, and for `ingest status`.

In: the job's progress, what shards report, the workers' memory. Out: `Live.facts`, a few plain
values; the same in RUN/live.json every two seconds, by a thread of its own, and once a minute in
the run's log. The file goes when the job ends; one that stays, and is old, tells of a job that was
killed.
"""

from __future__ import annotations

import json
import threading
import time
from collections import Counter
from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager
from pathlib import Path
from types import TracebackType
from typing import Any

from rich.table import Table

from ingest.cluster import Workers
from ingest.convert import ShardOutcome
from ingest.llm_cost import money
from study import private
from study.runlog import RunLog

FILE = "live.json"
STAGES = {
    "crawl": "headers",
    "deal": "dealing out",
    "plan": "grouping",
    "ask": "reports to language models",
    "check": "sentences and labels",
    "retry": "trying failures",
    "shards": "studies",
}
"""Of a job, in the order of their coming, and what they count."""
BARS = {stage: f"ingest: {title}" for stage, title in STAGES.items()}
"""Their titles on the screen."""
BEAT_S = 2.0
LOG_S = 60.0
FIRST_S = 10.0
"""A job that ends sooner leaves no trace of itself, not even a folder."""
SILENT_S = 30.0
"""A file that was not written for so long is of a job that does not run any more."""
LOGGED = ("workers", "memory_bytes", "peak_memory_bytes", "stage", "done", "total")
MOST_REASONS = 8
"""On the screen; the file has all."""


class Live:
    """Call it with (stage, done, all), as a `Progress`: it hands that on to `progress`."""

    def __init__(self, run: Path, workers: Workers, progress: Callable[[str, int, int], None]):
        self._log: RunLog | None = None
        self._log_lock = threading.Lock()
        self._run, self._workers, self._progress = run, workers, progress
        self._stage, self._done, self._total = "", 0, 0
        self._base, self._since = 0, time.monotonic()
        self._images: Mapping[str, int] = {}
        self._failed: Counter[str] = Counter()
        self._cost: dict[str, float] = {}
        self._ended = threading.Event()
        self._thread = threading.Thread(target=self._beat, name="live", daemon=True)

    def __enter__(self) -> Live:
        self._thread.start()
        return self

    def __exit__(
        self,
        kind: type[BaseException] | None,
        value: BaseException | None,
        trace: TracebackType | None,
    ) -> None:
        self._ended.set()
        self._thread.join()
        (self._run / FILE).unlink(missing_ok=True)

    def __call__(self, stage: str, done: int, total: int) -> None:
        if stage != self._stage:
            self._stage, self._base, self._since = stage, done, time.monotonic()
        self._done, self._total = done, total
        self._progress(stage, done, total)

    @contextmanager
    def noting(self, log: RunLog) -> Iterator[None]:
        """Note the workers in a log as long as the block lasts."""
        with self._log_lock:
            self._log = log
        try:
            yield
        finally:
            with self._log_lock:
                self._log = None

    def rejected(self, images: Mapping[str, int]) -> None:
        """Take the images that were rejected before conversion, by reason."""
        self._images = dict(images)

    def shard(self, outcome: ShardOutcome) -> None:
        """Take what conversion of a shard found."""
        self._failed.update(str(failure.reason) for failure in outcome.scans)

    def spent(self, what: str, cost: float) -> None:
        """Take what was paid for something in this run, so far."""
        self._cost[what] = cost

    def facts(self) -> dict[str, Any]:
        """Plain values: `rate_per_s` is that of this stage in this run; `seconds_left` are None as
        long as nothing is done; `rejected_images` before conversion and `failed_volumes` in it, by
        reason; `cost` of language models in this run, in the currency of the prices; bytes of
        memory are those of one worker."""
        passed, made = time.monotonic() - self._since, self._done - self._base
        rate = made / passed if made > 0 and passed > 0 else None
        memory = self._workers.memory()
        return {
            "stage": self._stage,
            "done": self._done,
            "total": self._total,
            "rate_per_s": round(rate, 3) if rate else None,
            "seconds_left": round((self._total - self._done) / rate) if rate else None,
            "rejected_images": dict(self._images),
            "failed_volumes": dict(self._failed.most_common()),
            "cost": {what: round(cost, 4) for what, cost in dict(self._cost).items()},
            "workers": len(memory),
            "memory_bytes": max(memory.values(), default=0),
            "peak_memory_bytes": self._workers.peak_bytes,
            "memory_limit": self._workers.memory_limit,
            "dashboard": self._workers.dashboard,
        }

    def table(self) -> Table | None:
        """What the bars do not show."""
        return table_of(self.facts())

    def _beat(self) -> None:
        started = logged = time.monotonic()
        while not self._ended.wait(BEAT_S):
            now = time.monotonic()
            if now - started < FIRST_S:
                continue
            facts = self.facts()
            try:
                private.private_folder(self._run)
                private.write_text(self._run / FILE, json.dumps({**facts, "time": time.time()}))
            except OSError:  # a full disk stops the job where it matters, not here
                continue
            with self._log_lock:
                if self._log is not None and facts["workers"] and now - logged >= LOG_S:
                    self._log.event("workers", **{name: facts[name] for name in LOGGED})
                    logged = now


def last_seen(run: Path) -> dict[str, Any] | None:
    """What a job in a run folder is at, or was when it was killed (`is_running` tells); None where
    the last one ended."""
    try:
        facts: dict[str, Any] = json.loads((run / FILE).read_text())
    except (OSError, ValueError):
        return None
    silent_s = max(0.0, time.time() - facts.pop("time"))
    return {**facts, "is_running": silent_s < SILENT_S, "seen_s_ago": round(silent_s)}


def table_of(facts: Mapping[str, Any]) -> Table | None:
    """Facts in lines: what was left out, memory, dashboard; None where there is nothing to say."""
    grid = Table.grid(padding=(0, 2))
    grid.add_column(style="dim")
    grid.add_column()
    for name, title in (("rejected_images", "rejected images"), ("failed_volumes", "failed")):
        if facts[name]:
            grid.add_row(title, _reasons(facts[name]))
    if any(facts["cost"].values()):
        costs = (f"{money(cost)} {what}" for what, cost in facts["cost"].items())
        grid.add_row("spent", ", ".join(costs))
    if facts["workers"]:
        memory, peak = facts["memory_bytes"] / 1e6, facts["peak_memory_bytes"] / 1e6
        now = f"{memory:,.0f} MB in the largest, {peak:,.0f} MB at most so far"
        grid.add_row("workers", f"{facts['workers']}; {now}, limit {facts['memory_limit']}")
    if facts["dashboard"]:
        grid.add_row("dashboard", facts["dashboard"])
    return grid if grid.row_count else None


def _reasons(counts: Mapping[str, int]) -> str:
    shown = sorted(counts.items(), key=lambda pair: -pair[1])
    more = len(shown) - MOST_REASONS
    words = [f"{count:,} {reason}" for reason, count in shown[:MOST_REASONS]]
    return ", ".join([*words, f"{more} more reasons"] if more > 0 else words)
