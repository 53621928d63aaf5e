"""No more requests and tokens a minute than an endpoint takes.

In: what a request will need, by estimate. Out: the moment at which it may start. The idea: every
request books its share of time (requests / requests a minute, tokens / tokens a minute) and starts
when its turn comes, so that requests are spread evenly; what an answer really took is booked when
it is known. An endpoint that says 429 once too often stops the line for all.
"""

from __future__ import annotations

import asyncio
import time
from collections.abc import Callable
from contextlib import suppress


class Limits:
    """One line for all requests to an endpoint. `clock` in seconds."""

    def __init__(
        self,
        requests_per_min: float | None,
        tokens_per_min: float | None,
        clock: Callable[[], float] = time.monotonic,
    ) -> None:
        self._request_s = 60 / requests_per_min if requests_per_min else 0.0
        self._token_s = 60 / tokens_per_min if tokens_per_min else 0.0
        self._clock = clock
        self._next_request = self._next_token = self._paused_until = clock()

    def book(self, tokens: float) -> float:
        """The moment at which a request of so many tokens may start."""
        now = self._clock()
        start = max(now, self._next_request, self._next_token, self._paused_until)
        self._next_request = start + self._request_s
        self._next_token = start + tokens * self._token_s
        return start

    def correct(self, more_tokens: float) -> None:
        """An answer took more (or, if negative, fewer) tokens than were booked."""
        self._next_token += more_tokens * self._token_s

    def pause(self, seconds: float) -> None:
        """Nothing starts for so long."""
        self._paused_until = max(self._paused_until, self._clock() + seconds)

    async def turn(self, tokens: float, stop: asyncio.Event) -> bool:
        """Wait for the turn of a request of so many tokens. False: it was stopped before."""
        start = self.book(tokens)
        while (left := max(start, self._paused_until) - self._clock()) > 0:
            with suppress(TimeoutError):
                await asyncio.wait_for(stop.wait(), left)
                break
        return not stop.is_set()
