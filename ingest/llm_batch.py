"""Questions by the Batch API: half the price, within a day, and whatever happens none paid twice.

In: questions one by one, a client, a cache. Out: answers and failures in the cache. The idea: a
batch goes through steps (requests written; file uploaded; batch made; results stored; files
deleted), and the state on disk says which are done (`llm_batch_state`). The step that costs is
never repeated on a guess: a batch that may have been made is first looked for at the endpoint, by
the name that its metadata carry. What comes back without a result (expired, cancelled, 5xx, an
answer without the schema) is sent again as a smaller batch. Source: OpenAI's Batch API reference.
"""

from __future__ import annotations

import asyncio
import uuid
from contextlib import suppress
from dataclasses import replace
from functools import partial
from pathlib import Path

import openai
from openai.types import Batch

from ingest import llm_batch_state as states
from ingest.llm_ask import ATTEMPTS, FAULTS, Asker, Todo, told
from ingest.llm_batch_results import Result, results
from ingest.llm_batch_state import State
from ingest.llm_cache import Cache, Failure, Marks, Settled
from ingest.llm_prompt import Prompt
from ingest.llm_request import Dialect
from ingest.llm_spent import Stop, Tally
from study.errors import UserError
from study.llm_sections import Llm
from study.private import replacing

OVER = {"completed", "failed", "expired", "cancelled"}
TRIES = 3
"""At a batch: what has no result after so many is left to the next run."""
LOOKS = 4
"""At an endpoint that did not say whether it took a file or a batch."""
LOOK_S = 2.0
"""Seconds before the first of them; doubled after each."""
AT_ONCE = 4
"""Batches at the endpoint at a time."""
KEPT_S = 7 * 24 * 3600
"""Seconds after which the endpoint may delete files by itself, should nobody come back."""
ROWS = 500
"""Results in one commit."""
MARK = "dicom2clip"
"""Name of the metadata by which a batch is found again."""


class Batches:
    """All batches of a prompt and a model."""

    def __init__(
        self,
        llm: Llm,
        prompt: Prompt,
        client: openai.AsyncOpenAI,
        cache: Cache,
        tally: Tally,
        folder: Path,
    ) -> None:
        self._llm, self._prompt, self._client = llm, prompt, client
        self._cache, self._tally = cache, tally
        self._place = states.scope(folder, prompt, llm)
        self._stop = asyncio.Event()
        self._tasks: list[asyncio.Task[None]] = []
        self._room = asyncio.Semaphore(AT_ONCE)

    def stop(self) -> None:
        """Take no further step. Batches go on at the endpoint, and the next run takes them up."""
        if self._stop.is_set():
            for task in self._tasks:
                task.cancel()
        self._stop.set()

    async def ask(self, todo: Todo) -> None:
        """Settle all that can be settled. Raises UserError where the endpoint refuses."""
        earlier = states.load_all(self._place)
        for state in earlier:
            if state.base_url != self._llm.base_url and state.is_out:
                raise UserError(
                    f"base_url: batches of an earlier run are at {state.base_url}: "
                    "finish them there first"
                )
        requests = states.Requests(self._place, self._llm)
        try:
            with self._cache.marks() as waiting:
                for state in earlier:
                    await self._take_up(state, waiting)
                await self._gather(todo, requests, waiting)
            last = requests.close()
            if last and not self._stop.is_set():
                self._send_off(last)
            await self._all_done()
        except openai.APIError as error:
            raise UserError(
                f"{self._llm.base_url} ({self._llm.model}): {told(error)}. The batches are kept; "
                "the same command goes on from there."
            ) from None
        finally:
            if self._stop.is_set():
                self._tally.stopped = Stop.SIGNAL
            self._stop.set()
            requests.close()
            await asyncio.gather(*self._tasks, return_exceptions=True)

    async def _take_up(self, state: State, waiting: Marks) -> None:
        """Go on with a batch of an earlier run. What was not sent is gathered anew: it is free."""
        if state.step == "written":
            for file in [f async for f in self._client.files.list(purpose="batch")]:
                if file.filename == f"{state.title}.jsonl":
                    await self._delete(file.id)
        if not state.is_out:
            await self._clear(state)
            return
        for key, _ in states.lines_of(states.requests_file(self._place, state)):
            waiting.add(key)
        self._tally.purse.commit(state.cost)
        self._send_off(state)

    async def _gather(self, todo: Todo, requests: states.Requests, waiting: Marks) -> None:
        """Requests to files. The very first is asked at once: it tells whether the endpoint takes
        such requests, and in which dialect, before thousands of them are sent."""
        purse = self._tally.purse
        dialect: Dialect | None = None
        for number, item in enumerate(todo):
            if number % ROWS == 0:
                await asyncio.sleep(0)
                self._raise_first()
            if self._stop.is_set():
                return
            if item is None or item[0] in waiting:
                continue
            if dialect is None:
                first = Asker(self._llm, self._client, self._cache, self._tally, uuid.uuid4().hex)
                await first.ask(iter([item]))
                dialect = first.dialect
                continue
            cost = purse.rate.cost(*purse.rate.tokens(item[1].text))
            if not purse.reserve(cost):
                self._tally.stopped = Stop.COST
                return
            full = requests.add(*item, dialect, cost)
            if full:
                self._send_off(full)

    def _send_off(self, state: State) -> None:
        self._tasks.append(asyncio.create_task(self._carry(state)))

    async def _all_done(self) -> None:
        if self._tasks:
            await asyncio.wait(self._tasks, return_when=asyncio.FIRST_EXCEPTION)
            self._raise_first()

    def _raise_first(self) -> None:
        for task in self._tasks:
            if task.done() and not task.cancelled():
                task.result()

    # ------------------------------------------------------------------ one batch

    async def _carry(self, state: State) -> None:
        """Take a batch through its steps, as often as something of it is left."""
        resumed = state.step != "written"
        while not self._stop.is_set():
            async with self._room:
                state = await self._to_the_end(state, resumed)
                if self._stop.is_set():
                    return
                batch = await self._client.batches.retrieve(state.batch_id)
            if batch.status == "failed":
                state = await self._failed(state, batch, resumed)
                resumed = False
                continue
            resumed = False
            files = tuple(f for f in (batch.output_file_id, batch.error_file_id) if f)
            await self._store(state, files)
            rest = self._rest(state, (state.input_file_id, *files))
            if rest.requests == 0 or rest.attempt > TRIES:
                await self._finish(state, rest)
                if rest.requests == state.requests >= FAULTS:
                    raise UserError(
                        f"{self._llm.base_url} ({self._llm.model}): batches of {rest.requests:,} "
                        f"requests came to nothing, the last: {self._tally.told or 'no results'}"
                    )
                return
            states.write_rest(self._place, state, rest, partial(self._is_open, state))
            states.save(self._place, rest)
            states.requests_file(self._place, state).unlink()
            for file_id in rest.leftovers:
                await self._delete(file_id)
            state = states.save(self._place, replace(rest, leftovers=()))

    async def _to_the_end(self, state: State, resumed: bool) -> State:
        """Upload, make, and wait until a batch is over or the run is stopped."""
        if state.step == "written":
            file_id = await self._upload(state)
            state = states.save(self._place, replace(state, step="uploaded", input_file_id=file_id))
        if state.step == "uploaded":
            batch_id = await self._make(state, resumed)
            state = states.save(self._place, replace(state, step="sent", batch_id=batch_id))
        while not self._stop.is_set():
            batch = await self._client.batches.retrieve(state.batch_id)
            if batch.status in OVER:
                break
            await self._sleep(self._llm.speed.batch_poll_s)
        return state

    async def _upload(self, state: State) -> str:
        """Upload the requests once; the file's id."""
        once = self._client.with_options(max_retries=0)
        for look in range(LOOKS):
            try:
                with states.requests_file(self._place, state).open("rb") as content:
                    file = await once.files.create(
                        file=(f"{state.title}.jsonl", content),
                        purpose="batch",
                        expires_after={"anchor": "created_at", "seconds": KEPT_S},
                    )
                return file.id
            except openai.NotFoundError:
                raise UserError(
                    f"{self._llm.base_url} has no Batch API: set speed.batch: false"
                ) from None
            except (openai.APIConnectionError, openai.InternalServerError, openai.RateLimitError):
                if look + 1 == LOOKS:
                    raise
                await self._sleep(LOOK_S * 2**look)
            async for there in self._client.files.list(purpose="batch"):
                if there.filename == f"{state.title}.jsonl":
                    return there.id
        raise AssertionError("unreachable")

    async def _make(self, state: State, resumed: bool) -> str:
        """Make the batch once; its id. Where it is not known whether it was made, look first."""
        once = self._client.with_options(max_retries=0)
        for look in range(LOOKS):
            if resumed or look:
                async for there in self._client.batches.list(limit=100):
                    ours = there.metadata and there.metadata.get(MARK) == state.title
                    if ours and there.status != "failed":
                        return there.id
            try:
                batch = await once.batches.create(
                    completion_window="24h",
                    endpoint=states.ENDPOINT,
                    input_file_id=state.input_file_id,
                    metadata={MARK: state.title},
                    output_expires_after={"anchor": "created_at", "seconds": KEPT_S},
                )
                return batch.id
            except (openai.APIConnectionError, openai.InternalServerError, openai.RateLimitError):
                if look + 1 == LOOKS:
                    raise
                await self._sleep(LOOK_S * 2**look)
        raise AssertionError("unreachable")

    async def _failed(self, state: State, batch: Batch, resumed: bool) -> State:
        """A batch that was not begun costs nothing: make it anew if it is of an earlier run, wait
        where the endpoint has too much of ours already, else say what it says."""
        errors = (batch.errors.data if batch.errors else None) or []
        state = states.save(self._place, replace(state, step="uploaded", batch_id=""))
        if resumed:
            return state
        others = sum(not task.done() for task in self._tasks) > 1
        if others and any(error.code == "token_limit_exceeded" for error in errors):
            await self._sleep(self._llm.speed.batch_poll_s)
            return state
        said = "; ".join(f"{error.code}: {error.message}" for error in errors[:3])[:300]
        raise UserError(
            f"{self._llm.base_url} refuses a batch of {state.requests:,} requests ({said}); where "
            "it is too large, lower speed.batch_requests"
        )

    # ------------------------------------------------------------------ results

    async def _store(self, state: State, files: tuple[str, ...]) -> None:
        """Bring what a batch came to into the cache."""
        rows: list[tuple[bytes, Settled]] = []
        for file_id in files:
            local = self._place / f"{state.name}.{state.attempt}.results"
            response = self._client.files.with_streaming_response.content(file_id)
            try:
                async with response as stream:
                    with replacing(local) as copy:
                        async for piece in stream.iter_bytes():
                            copy.write(piece)
            except openai.NotFoundError:  # deleted by its own date: all of it is asked again
                continue
            for result in results(local, self._prompt):
                self._take(result, state, rows)
                if len(rows) >= ROWS:
                    self._commit(rows)
                    await asyncio.sleep(0)
            local.unlink()
        self._commit(rows)

    def _take(self, result: Result, state: State, rows: list[tuple[bytes, Settled]]) -> None:
        """Add a result to the rows for the cache, unless it is to be asked again."""
        settled = result.settled
        if settled is None:
            self._tally.told = result.told
        elif settled.failure == Failure.MALFORMED and state.attempt < ATTEMPTS:
            self._tally.purse.pay(settled.tokens_in, settled.tokens_out)
        elif self._is_open(state, result.key):
            rows.append((result.key, replace(settled, run=state.name)))

    def _is_open(self, state: State, key: bytes) -> bool:
        """Whether a key still needs an answer. A failure of an earlier run does."""
        there = self._cache.get(key)
        return there is None or (there.failure is not None and there.run != state.name)

    def _commit(self, rows: list[tuple[bytes, Settled]]) -> None:
        self._cache.put_all(rows, self._llm.model, self._prompt.title)
        for _, settled in rows:
            self._tally.settle(settled)
        rows.clear()

    def _rest(self, state: State, leftovers: tuple[str, ...]) -> State:
        """The next attempt: for what is still open."""
        file = states.requests_file(self._place, state)
        num_open = sum(self._is_open(state, key) for key, _ in states.lines_of(file))
        return state.next_attempt(num_open, leftovers)

    async def _finish(self, state: State, rest: State) -> None:
        """Everything of a batch is stored: its files go, there and here."""
        await self._clear(
            states.save(self._place, replace(state, step="stored", leftovers=rest.leftovers))
        )
        self._tally.purse.release(state.cost)
        for _ in range(rest.requests):
            self._tally.leave()

    async def _clear(self, state: State) -> None:
        for file_id in state.leftovers:
            await self._delete(file_id)
        states.forget(self._place, state)

    async def _delete(self, file_id: str) -> None:
        with suppress(openai.NotFoundError):  # deleted before, or by its own date
            await self._client.files.delete(file_id)

    async def _sleep(self, seconds: float) -> None:
        """Until then, or until the run is stopped."""
        try:
            await asyncio.wait_for(self._stop.wait(), seconds)
        except TimeoutError:
            return
