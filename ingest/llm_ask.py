"""Questions to an endpoint, some at a time, as long as there are any.

In: questions one by one, a client, a cache. Out: answers and failures in the cache. The idea: as
many requests in flight as are allowed and not one more question in memory; an answer is committed
in the step in which it arrives. The client repeats what failed on the way (429 with Retry-After,
5xx, broken connections). What is left after that is no property of the text: it stays unsettled for
the next run, and when nothing comes through any more the run ends and says so.
"""

from __future__ import annotations

import asyncio
import json
import math
from collections.abc import Generator, Iterable
from typing import Any

import openai

from ingest.llm_cache import Cache, Failure, Settled
from ingest.llm_limits import Limits
from ingest.llm_prompt import Question
from ingest.llm_request import Dialect, after_refusal, body, failure_of, is_completion, settle
from ingest.llm_spent import Stop, Tally
from study.errors import UserError
from study.llm_sections import Llm

Todo = Generator[tuple[bytes, Question] | None, None, None]
"""Keys and questions; None now and then where nothing is to be asked for a while."""
ATTEMPTS = 2
"""At an answer that has the schema."""
ROUNDS = 6
"""Of the client's retries, while the endpoint says 429."""
PAUSE_S = 5.0
"""After the first round; doubled after each. An endpoint's own Retry-After counts before it."""
LONGEST_PAUSE_S = 600.0
"""A longer Retry-After is a quota that is used up."""
FAULTS = 10
"""Requests in a row that come to nothing (or twice those in flight, if more) end the run."""
GRACE_S = 30.0
"""For which a run that is stopped waits for the answers that it pays for."""
TOLD = 300
"""Characters of an endpoint's message that are shown."""


class Asker:
    """Asks one model one question after the other."""

    def __init__(
        self, llm: Llm, client: openai.AsyncOpenAI, cache: Cache, tally: Tally, run: str
    ) -> None:
        self._llm, self._client, self._cache, self._tally = llm, client, cache, tally
        self._run = run
        self._limits = Limits(llm.speed.requests_per_min, llm.speed.tokens_per_min)
        self.dialect = Dialect()
        self._faults = 0
        self._stop = asyncio.Event()
        self._flying: set[asyncio.Task[None]] = set()

    def stop(self) -> None:
        """Start nothing more; what is in flight has GRACE_S to come back, or until the next
        call."""
        if self._stop.is_set():
            self._give_up()
        self._stop.set()
        asyncio.get_running_loop().call_later(GRACE_S, self._give_up)

    async def ask(self, todo: Iterable[tuple[bytes, Question] | None]) -> None:
        """Settle all that can be settled. Raises UserError where the endpoint wants something
        else, after what was in flight came back."""
        try:
            for item in todo:
                if item is None:
                    await asyncio.sleep(0)
                elif not await self._start(*item):
                    return
            while self._flying:
                await self._landed()
        finally:
            if self._stop.is_set():
                self._tally.stopped = Stop.SIGNAL
            else:
                self.stop()
            await asyncio.gather(*self._flying, return_exceptions=True)

    async def _start(self, key: bytes, question: Question) -> bool:
        """Send a question off when there is room and money; False: no more of them."""
        purse = self._tally.purse
        cost = purse.rate.cost(*purse.rate.tokens(question.text))
        while not purse.reserve(cost):
            if not self._flying:
                self._tally.stopped = Stop.COST
                return False
            await self._landed()
        self._flying.add(asyncio.create_task(self._settle(key, question, cost)))
        while len(self._flying) >= self._llm.speed.concurrency:
            await self._landed()
        return not self._stop.is_set()

    async def _landed(self) -> None:
        """Wait until one is back. Raises what it raised."""
        back, self._flying = await asyncio.wait(self._flying, return_when=asyncio.FIRST_COMPLETED)
        errors = [task.exception() for task in back if not task.cancelled()]
        for error in filter(None, errors):
            raise error

    def _give_up(self) -> None:
        for task in self._flying:
            task.cancel()

    async def _settle(self, key: bytes, question: Question, reserved: float) -> None:
        try:
            settled = await self._answer(question)
            if settled is None:
                self._tally.leave()
                return
            prompt = question.prompt.title
            self._cache.put(key, settled, self._llm.model, prompt)
            self._tally.settle(settled)
        finally:
            self._tally.purse.release(reserved)

    async def _answer(self, question: Question) -> Settled | None:
        """An answer or failure, with the tokens of all attempts; None: unsettled."""
        tokens_in = tokens_out = 0
        settled: Settled | None = None
        for _ in range(ATTEMPTS):
            settled = await self._attempt(question)
            if settled is None:
                break
            tokens_in += settled.tokens_in
            tokens_out += settled.tokens_out
            if settled.failure != Failure.MALFORMED:
                break
        if settled is None:
            self._tally.purse.pay(tokens_in, tokens_out)
            return None
        return Settled(settled.answer, settled.failure, tokens_in, tokens_out, self._run)

    async def _attempt(self, question: Question) -> Settled | None:
        expected = sum(self._tally.purse.rate.tokens(question.text))
        pause = PAUSE_S
        for number in range(ROUNDS):
            if not await self._limits.turn(expected, self._stop):
                return None
            try:
                reply = await self._request(question)
            except openai.RateLimitError as error:
                self._limits.pause(_pause(error, pause))
                pause *= 2
                continue
            except (openai.APIConnectionError, openai.InternalServerError) as error:
                self._fault(told(error))
                return None
            except openai.APIStatusError as error:
                return self._refused(error)
            if reply is None:
                self._fault("200, but no chat completion")
                if number + 1 < ATTEMPTS:
                    continue
                return None
            self._faults = 0
            taken = reply.tokens_in + reply.tokens_out
            self._limits.correct(taken - expected if taken else 0)
            if taken == 0 and reply.failure is None:  # an endpoint that does not say what it took
                tokens = self._tally.purse.rate.tokens(question.text)
                return Settled(reply.answer, reply.failure, *tokens)
            return reply
        return None

    async def _request(self, question: Question) -> Settled | None:
        """A request and its reply, in the endpoint's dialect; None: it is no chat completion."""
        while True:
            dialect = self.dialect
            create: Any = self._client.chat.completions.with_raw_response.create
            try:
                raw = await create(**body(question, self._llm, dialect))
            except (openai.BadRequestError, openai.UnprocessableEntityError) as error:
                other = after_refusal(dialect, told(error))
                if other is None:
                    raise
                if self.dialect == dialect:
                    self.dialect = other
                continue
            try:
                reply = json.loads(raw.http_response.content)
            except (ValueError, RecursionError):
                return None
            return settle(reply, question.prompt) if is_completion(reply) else None

    def _refused(self, error: openai.APIStatusError) -> Settled | None:
        """What a 3xx or 4xx means."""
        failure = failure_of(told(error))
        if failure is None and error.status_code == 413:
            failure = Failure.TOO_LONG
        if failure is not None:
            return Settled(None, failure)
        if error.status_code in (400, 408, 409, 422):
            self._fault(told(error))
            return None
        raise UserError(f"{self._where} refuses: {told(error)}") from None

    def _fault(self, what: str) -> None:
        """Count a request that came to nothing. Raises UserError after too many in a row."""
        self._faults += 1
        self._tally.told = what
        if self._faults >= max(FAULTS, 2 * self._llm.speed.concurrency):
            raise UserError(
                f"{self._where}: {self._faults} requests in a row came to nothing, the last: "
                f"{what}. What was answered is kept; the same command goes on from there."
            ) from None

    @property
    def _where(self) -> str:
        return f"{self._llm.base_url} ({self._llm.model})"


def told(error: openai.APIError) -> str:
    """What an endpoint says is wrong, in short."""
    status = f"{error.status_code} " if isinstance(error, openai.APIStatusError) else ""
    cause = f" ({error.__cause__})" if str(error.__cause__ or "") and not status else ""
    message = error.message.removeprefix(f"Error code: {status.strip()}").removeprefix(" - ")
    return f"{status}{message}{cause}".strip()[:TOLD]


def _pause(error: openai.RateLimitError, otherwise: float) -> float:
    """Seconds for which all wait after a 429. Raises UserError where waiting is no use."""
    asked = error.response.headers.get("retry-after", "")
    try:
        seconds = float(asked)
    except ValueError:
        seconds = otherwise
    if error.code == "insufficient_quota" or not seconds <= LONGEST_PAUSE_S:
        when = f" (Retry-After: {asked} s)" if math.isfinite(seconds) and asked else ""
        raise UserError(
            f"the endpoint's quota is used up{when}: {told(error)}. What was answered is kept; the "
            "same command goes on from there."
        ) from None
    return max(seconds, 0.0)
