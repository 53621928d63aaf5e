"""Where ingestion runs: dask workers, started only when there is something to do.

In: the speed settings. Out: `Workers`, which maps functions over items with a bounded number in
flight. One process a worker and one thread a process: decoders hold the interpreter's lock, and a
crash costs one task.
"""

from __future__ import annotations

import logging
import os
import signal
import threading
from collections.abc import Callable, Iterable, Iterator
from types import TracebackType
from typing import TYPE_CHECKING, Any, TypeVar

from study.errors import UserError
from study.sections import IngestSpeed

if TYPE_CHECKING:  # dask takes half a second to import: only who starts workers pays
    from distributed import Client, LocalCluster

Item = TypeVar("Item")
Result = TypeVar("Result")

TASKS_PER_WORKER = 3
"""In flight: enough that no worker waits, few enough that the scheduler stays small
(distributed#2181)."""

NEVER_PAUSE = {f"distributed.worker.memory.{what}": False for what in ("target", "spill", "pause")}
"""A worker has one task at a time and keeps no results: one that pauses for want of memory gets
none back, and the job would wait for ever. Beyond the limit it is ended, its task tried again."""


class Workers:
    """A dask client that is made on first use and closed at the end."""

    def __init__(self, speed: IngestSpeed) -> None:
        self._speed = speed
        self._cluster: LocalCluster | None = None
        self._client: Client | None = None

    def __enter__(self) -> Workers:
        return self

    def __exit__(
        self,
        kind: type[BaseException] | None,
        value: BaseException | None,
        trace: TracebackType | None,
    ) -> None:
        if self._client is not None:
            self._client.close()
        if self._cluster is not None:
            self._cluster.close()

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
        self, function: Callable[[Item], Result], items: Iterable[Item]
    ) -> Iterator[Result]:
        """Results as they come; a bounded number of tasks in flight. An exception of a task is
        raised here."""
        queue = iter(items)
        first = next(queue, None)
        if first is None:
            return
        from distributed import KilledWorker, as_completed

        client = self._connect()
        window = TASKS_PER_WORKER * max(1, len(client.scheduler_info(n_workers=-1)["workers"]))
        flying = as_completed([client.submit(function, first, pure=False)], raise_errors=False)
        while flying.count() < window and (item := next(queue, None)) is not None:
            flying.add(client.submit(function, item, pure=False))
        for future in flying:
            try:
                result = future.result()
            except KilledWorker as error:
                raise UserError(
                    f"a task ended its worker again and again, most likely for want of memory; "
                    f"raise ingest.speed.memory_limit ({self._speed.memory_limit}): {error}"
                ) from None
            future.release()
            if (item := next(queue, None)) is not None:
                flying.add(client.submit(function, item, pure=False))
            yield result

    def _connect(self) -> Client:
        import dask
        from distributed import Client, LocalCluster

        if self._client is None:
            for name in (
                "distributed",
                "distributed.nanny",
                "distributed.worker",
                "distributed.scheduler",
            ):
                logging.getLogger(name).setLevel(logging.ERROR)
            if self._speed.scheduler:
                try:
                    self._client = Client(self._speed.scheduler, timeout="5s")
                except (OSError, TimeoutError, ValueError) as error:
                    raise UserError(
                        f"ingest.speed.scheduler: {self._speed.scheduler} does not answer: {error}"
                    ) from None
                return self._client
            dask.config.set(
                {
                    "distributed.worker.daemon": False,
                    "distributed.comm.timeouts.connect": "60s",
                    **NEVER_PAUSE,
                }
            )
            try:
                self._cluster = LocalCluster(
                    n_workers=self._speed.workers or len(os.sched_getaffinity(0)),
                    threads_per_worker=1,
                    memory_limit=self._speed.memory_limit,
                    dashboard_address="127.0.0.1:0",
                    silence_logs=logging.CRITICAL,
                    host="127.0.0.1",
                )
                self._client = Client(self._cluster)
                self._client.register_worker_callbacks(_leave_ctrl_c)
            except (RuntimeError, TimeoutError) as error:
                raise UserError(
                    f"the workers do not start ({error}); they were ended from outside, or the "
                    "machine is out of memory: run the same command again, perhaps with fewer "
                    "ingest.speed.workers"
                ) from None
        return self._client


class _Indexed:
    """Carries an item's index through a task; a class because lambdas do not pickle by
    reference."""

    def __init__(self, function: Callable[[Any], Any]) -> None:
        self.function = function

    def __call__(self, pair: tuple[int, Any]) -> tuple[int, Any]:
        return pair[0], self.function(pair[1])


def _leave_ctrl_c() -> None:
    """Have a worker leave Ctrl-C, which a terminal sends to all, to the client, which ends it: the
    workers' tracebacks would hide what the client says."""
    if threading.current_thread() is threading.main_thread():
        signal.signal(signal.SIGINT, signal.SIG_IGN)
