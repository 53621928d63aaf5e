"""Where ingestion runs: dask workers, started only when there is something to do.

In: the speed settings. Out: `Workers`, which maps functions over items with a bounded number in
flight. One process a worker and one thread a process: decoders hold the interpreter's lock, and a
crash costs one task. Workers are on this machine (`cluster_local`), jobs of a batch system
(`cluster_jobqueue`), or those of a scheduler that runs already (`cluster_joined`).
"""

from __future__ import annotations

import asyncio
import contextlib
import logging
import sys
from collections.abc import Callable, Iterable, Iterator
from concurrent.futures import CancelledError
from dataclasses import dataclass
from functools import partial
from pathlib import Path
from types import TracebackType
from typing import TYPE_CHECKING, Any, Generic, TypeVar

from ingest.cluster_jobqueue import Queue
from ingest.cluster_joined import join, wait_for_workers
from ingest.cluster_local import local_cluster, replace_lost, room
from ingest.cluster_security import warning_of
from ingest.performance import Report, has_bokeh
from ingest.watch import Watch
from study.errors import UserError
from study.ingest_sections import IngestSpeed

if TYPE_CHECKING:  # dask takes half a second to import: only who starts workers pays
    from distributed import Client, Future

Item = TypeVar("Item")
Result = TypeVar("Result")

TASKS_PER_WORKER = 3
"""In flight: enough that no worker waits, few enough that the scheduler stays small
(distributed#2181)."""
MOST_DEATHS = 5
"""Workers that may die of one item before it is given up, the third and later ones with nothing
else in flight: a worker takes all its tasks with it, and only one of them may be to blame.
Somebody's kill -9 may have ended some."""
CLOSE_S = 10
QUIET = ("distributed", *(f"distributed.{part}" for part in ("nanny", "worker", "scheduler")))
QUIETER = ("distributed.client", "distributed.utils", "tornado.application")
"""They print tracebacks of what is said here in words."""


def on_stderr(text: str) -> None:
    """Warnings, and what the job waits for, always; other facts where someone looks."""
    if sys.stderr.isatty() or text.startswith(("WARNING", "waiting", "no worker is left")):
        print(text, file=sys.stderr)


@dataclass
class _Flight(Generic[Item]):
    """An item on its way, and how many workers have died of it."""

    item: Item
    deaths: int = 0


class Workers:
    """A dask client that is made on first use and closed at the end, with the workers that it
    started. `run`: the run folder, for reports and the output of jobs; `say`: takes words."""

    def __init__(
        self, speed: IngestSpeed, run: Path | None = None, say: Callable[[str], None] = on_stderr
    ) -> None:
        self.notes: list[str] = []
        """All that was said, for the run's log."""
        self.dashboard = ""
        """Address of dask's dashboard, once there is one."""
        self._speed, self._run, self._tell = speed, run, say
        self._client: Client | None = None
        self._watch: Watch | None = None
        self._report: Report | None = None
        self._most_workers = 0
        self._mend: Callable[[], None] = lambda: None
        self._closing = contextlib.ExitStack()

    def __enter__(self) -> Workers:
        return self

    def __exit__(
        self,
        kind: type[BaseException] | None,
        value: BaseException | None,
        trace: TracebackType | None,
    ) -> None:
        if self._report is not None and kind is None:
            self._report.write()
        self._closing.close()

    def memory(self) -> dict[str, int]:
        """Bytes that each worker takes, by its address; as of some seconds ago."""
        return dict(self._watch.memory) if self._watch else {}

    def count(self) -> int:
        """Workers that there are, or that could be; a scheduler that runs already is joined."""
        speed = self._speed
        if speed.scheduler:
            self._connect()
        there = len(self._watch.memory) if self._watch else 0
        asked = speed.cluster.jobs * speed.cluster.workers_per_job if speed.cluster.system else 0
        return max(there, asked) or room(speed).workers

    @property
    def memory_limit(self) -> str:
        """Of one worker, as configured."""
        return self._speed.memory_limit

    @property
    def peak_bytes(self) -> int:
        """Most that one worker was seen to take so far."""
        return self._watch.peak_bytes if self._watch else 0

    def ordered(self, function: Callable[[Item], Result], items: list[Item]) -> Iterator[Result]:
        """Results in the order of the items. An exception of a task is raised here."""
        if not items:
            return
        waiting: dict[int, Result] = {}
        following = 0
        for index, result in self.unordered(_Indexed(function), list(enumerate(items))):
            waiting[index] = result
            while following in waiting:
                yield waiting.pop(following)
                following += 1

    def unordered(
        self,
        function: Callable[[Item], Result],
        items: Iterable[Item],
        after_death: Callable[[Item], Result] | None = None,
    ) -> Iterator[Result]:
        """Results as they come; a bounded number of tasks in flight. An exception of a task is
        raised here. An item whose worker died is tried again, with `after_death` where that is
        given.

        Raises UserError, after all other items are done, where workers die again and again; at
        once where the scheduler is lost.
        """
        queue = iter(items)
        first = next(queue, None)
        if first is None:
            return
        client = self._connect()
        try:
            yield from self._results(client, function, queue, first, after_death or function)
        except _LostError as error:
            raise UserError(
                f"the connection to the scheduler is lost ({error}); what is done is kept: run the "
                "same command again when it is back"
            ) from None

    def _results(
        self,
        client: Client,
        function: Callable[[Item], Result],
        queue: Iterator[Item],
        first: Item,
        after_death: Callable[[Item], Result],
    ) -> Iterator[Result]:
        from distributed import KilledWorker, as_completed

        flights: dict[str, _Flight[Item]] = {}
        suspects: list[_Flight[Item]] = []
        given_up: list[str] = []

        def submit(flight: _Flight[Item]) -> Future:
            made = function if flight.deaths == 0 else after_death
            try:
                future = client.submit(made, flight.item, pure=False)
            except _lost_kinds() as error:
                raise _LostError(f"{type(error).__name__}: {error}") from None
            flights[future.key] = flight
            return future

        def send_off() -> None:
            """Up to the window; suspects one by one, when all before them are back."""
            while not suspects and len(flights) < self._window():
                if (item := next(queue, None)) is None:
                    break
                flying.add(submit(_Flight(item)))
            if suspects and not flights:
                flying.add(submit(suspects.pop(0)))

        flying = as_completed([submit(_Flight(first))], raise_errors=False)
        send_off()
        for future in flying:
            flight = flights.pop(future.key)
            try:
                result = _result(future)
            except KilledWorker as error:
                flight.deaths += 1
                if flight.deaths == 1:
                    flying.add(submit(flight))
                elif flight.deaths < MOST_DEATHS:
                    suspects.append(flight)
                else:
                    given_up.append(str(error))
                send_off()
            else:
                future.release()
                send_off()
                yield result
        if given_up:
            raise UserError(
                f"{len(given_up)} tasks ended their workers again and again, most likely for want "
                f"of memory; raise ingest.speed.memory_limit ({self._speed.memory_limit}). All "
                f"others are done. The first: {given_up[0]}"
            )

    def _window(self) -> int:
        """Tasks in flight at most; it grows with the workers."""
        known = len(self._watch.memory) if self._watch else 0
        return TASKS_PER_WORKER * max(1, known, self._most_workers)

    def _say(self, text: str) -> None:
        self.notes.append(text)
        self._tell(text)

    def _connect(self) -> Client:
        if self._client is not None:
            return self._client
        quiet()
        if self._speed.scheduler:
            client = join(self._speed, self._say)
            self._closing.callback(client.close, timeout=CLOSE_S)
        else:
            client = self._start()
        self._set_up(client)
        self._watch = Watch(client, self._say, self._mend)
        self._closing.callback(self._watch.stop)
        if has_bokeh() and client.dashboard_link:
            self.dashboard = client.dashboard_link
            self._say(f"dashboard: {self.dashboard}")
        if self._run is not None and self._speed.performance_report:
            self._report = Report(client, self._run, self._say)
        self._client = client
        return client

    def _start(self) -> Client:
        """A client of workers that are ours, and end with it."""
        from distributed import Client

        if not self._speed.cluster.system:
            cluster = local_cluster(self._speed, self._say)
            self._mend = partial(replace_lost, cluster)
            self._closing.callback(cluster.close)
            client = Client(cluster)
            self._closing.callback(client.close, timeout=CLOSE_S)
            return client
        queue = Queue(self._speed, self._run, self._say)
        self._closing.callback(queue.close)
        self._most_workers = queue.most_workers
        if warning := warning_of(queue.cluster.scheduler_address):
            self._say(warning)
        client = Client(queue.cluster)
        self._closing.callback(client.close, timeout=CLOSE_S)
        queue.submit()
        waiting = "waiting for the first job to start"
        wait_for_workers(client, self._say, waiting, queue.look)
        return client

    def _set_up(self, client: Client) -> None:
        """Make every worker, also those that join later, what it has to be."""
        from ingest.worker_setup import PLUGIN, WorkerSetup, versions

        is_own = not self._speed.scheduler
        client.register_plugin(WorkerSetup(versions(), is_own), name=PLUGIN)
        if not is_own:
            self._closing.callback(_forget_plugin, client, PLUGIN)


def quiet() -> None:
    """Have dask say only what is not said here in words."""
    import distributed  # noqa: F401  # it sets the levels of its loggers when it is imported

    for names, level in ((QUIET, logging.ERROR), (QUIETER, logging.CRITICAL)):
        for name in names:
            logging.getLogger(name).setLevel(level)


class _Indexed:
    """Carries an item's index through a task; a class because lambdas do not pickle by
    reference."""

    def __init__(self, function: Callable[[Any], Any]) -> None:
        self.function = function

    def __call__(self, pair: tuple[int, Any]) -> tuple[int, Any]:
        return pair[0], self.function(pair[1])


class _LostError(Exception):
    """The scheduler is gone. A task's own error of the same kind is not meant."""


def _lost_kinds() -> tuple[type[BaseException], ...]:
    """What dask raises where the scheduler is gone."""
    from distributed.client import ClosedClientError
    from distributed.comm import CommClosedError

    return CommClosedError, ClosedClientError, CancelledError, asyncio.CancelledError


def _result(future: Future) -> Any:
    """The result of a task, or its exception; _LostError where neither can be had."""
    try:
        return future.result()
    except _lost_kinds() as error:
        if future.status == "error":
            raise
        raise _LostError(f"{type(error).__name__}: {error}") from None


def _forget_plugin(client: Client, name: str) -> None:
    """Leave a cluster as it was; where it is gone, nothing has to be left."""
    with contextlib.suppress(Exception):
        client.unregister_worker_plugin(name)
