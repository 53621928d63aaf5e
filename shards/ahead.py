"""Work done ahead by threads, handed out in order, never more than a window of it at a time.

In: a function and its arguments. Out: its results in the order of the arguments. Unlike
`Executor.map` (before Python 3.14) it does not take all arguments at once: a reader that stops
early stops the work, and results that wait do not pile up.
"""

from __future__ import annotations

from collections import deque
from collections.abc import Callable, Iterable, Iterator
from concurrent.futures import Future, ThreadPoolExecutor
from typing import TypeVar

Given = TypeVar("Given")
Made = TypeVar("Made")


def ahead(
    work: Callable[[Given], Made], items: Iterable[Given], *, threads: int, window: int
) -> Iterator[Made]:
    """`work(item)` of every item, in their order; at most `window` are in flight or wait. An error
    of `work` comes out in its place, and nothing further is begun."""
    waiting: deque[Future[Made]] = deque()
    with ThreadPoolExecutor(threads) as pool:
        try:
            for item in items:
                waiting.append(pool.submit(work, item))
                if len(waiting) >= window:
                    yield waiting.popleft().result()
            while waiting:
                yield waiting.popleft().result()
        finally:
            for future in waiting:
                future.cancel()
