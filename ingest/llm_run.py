"""A run of one prompt over many texts: estimated, refused or paid, and never paid twice.

In: texts (a million need no more memory than one), a prompt, a model, a folder. Out: answers and
failures in the folder's cache; `Spent`. The texts are gone through twice: once for the estimate,
which comes before the first request, and once to ask.
"""

from __future__ import annotations

import asyncio
import signal
import threading
import uuid
from collections.abc import Callable, Iterable, Iterator
from contextlib import closing, contextmanager
from pathlib import Path

from ingest.llm_ask import Asker, Todo
from ingest.llm_batch import Batches
from ingest.llm_batch_state import refuse_waiting
from ingest.llm_cache import Cache, key_of
from ingest.llm_cost import Estimate, Purse, Rate, refuse_cost
from ingest.llm_endpoint import api_key, client, refuse_unsafe
from ingest.llm_prompt import Prompt, Question
from ingest.llm_spent import Progress, Spent, Tally
from study.alone import alone_in
from study.llm_sections import Llm
from study.private import private_folder

BREATH = 200
"""Texts that need no request between moments in which answers in flight are looked after."""


def ask(
    texts: Iterable[str],
    prompt: Prompt,
    llm: Llm,
    folder: Path,
    *,
    scrubbed: bool,
    progress: Progress | None = None,
    max_cost: float | None = None,
    limit: int | None = None,
    dry_run: bool = False,
    retry_failed: bool = False,
) -> Spent:
    """Have every text answered that is not yet, in the cache of `folder`.

    `texts` is iterated twice: a list, or an object that reads anew each time. `scrubbed`: whether
    they were, without which none leaves the private network. At most `limit` texts are asked about.
    A `dry_run` only estimates. Failures of earlier runs are asked again with `retry_failed` alone.
    SIGINT and SIGTERM end it in order and are then raised again. Raises UserError where the
    settings, the cost or the endpoint forbid it.
    """
    if iter(texts) is texts:
        raise TypeError("texts are iterated twice: give a list, or what can be iterated anew")
    private_folder(folder)
    max_cost = llm.speed.max_cost if max_cost is None else max_cost
    rate = Rate.of(llm, prompt)
    with alone_in(folder), Cache(folder) as cache:

        def todo(skip: Callable[[str], None]) -> Todo:
            return _todo(texts, prompt, llm, cache, skip, limit, retry_failed)

        estimate = _estimate(todo, rate)
        if dry_run:
            return Spent(estimate)
        refuse_unsafe(llm, scrubbed=scrubbed)
        api_key(llm)
        refuse_cost(estimate, llm, max_cost)
        if not llm.speed.batch:
            refuse_waiting(folder, prompt, llm)
        tally = Tally(estimate, Purse(rate, max_cost), progress)
        with closing(todo(tally.skip)) as questions:
            number = asyncio.run(_route(questions, prompt, llm, cache, tally, folder, scrubbed))
    if number:
        signal.raise_signal(number)
    return tally.spent()


async def _route(
    todo: Todo, prompt: Prompt, llm: Llm, cache: Cache, tally: Tally, folder: Path, scrubbed: bool
) -> int:
    """Ask one by one, or in batches. The signal that ended it, or 0."""
    async with client(llm, scrubbed=scrubbed) as connected:
        asker: Asker | Batches
        if llm.speed.batch:
            asker = Batches(llm, prompt, connected, cache, tally, folder)
        else:
            asker = Asker(llm, connected, cache, tally, uuid.uuid4().hex)
        with _signals(asker.stop) as seen:
            await asker.ask(todo)
    return seen[0] if seen else 0


@contextmanager
def _signals(stop: Callable[[], None]) -> Iterator[list[int]]:
    """Have signals call `stop` while in the block; those that came."""
    seen: list[int] = []
    if threading.current_thread() is not threading.main_thread():
        yield seen
        return
    loop = asyncio.get_running_loop()
    before = {number: signal.getsignal(number) for number in (signal.SIGINT, signal.SIGTERM)}

    def stopping(number: int) -> None:
        seen.append(number)
        stop()

    for number in before:
        loop.add_signal_handler(number, stopping, number)
    try:
        yield seen
    finally:
        for number, handler in before.items():
            loop.remove_signal_handler(number)
            signal.signal(number, handler)


def _todo(
    texts: Iterable[str],
    prompt: Prompt,
    llm: Llm,
    cache: Cache,
    skip: Callable[[str], None],
    limit: int | None,
    retry_failed: bool,
) -> Todo:
    """What is to be asked, each once; for all else `skip` hears why not."""
    asked = skipped = 0
    with cache.marks() as seen:
        for text in texts:
            if limit is not None and asked >= limit:
                return
            question = Question(prompt, text)
            what = ""
            if question.is_empty:
                what = "empty"
            elif not seen.add(key := key_of(question, llm)):
                what = "repeated"
            elif (there := cache.get(key)) and not (retry_failed and there.failure):
                what = "cached"
            if not what:
                asked += 1
                yield key, question
                continue
            skip(what)
            skipped += 1
            if skipped % BREATH == 0:
                yield None


def _estimate(todo: Callable[[Callable[[str], None]], Todo], rate: Rate) -> Estimate:
    requests = settled = tokens_in = tokens_out = 0

    def skip(what: str) -> None:
        nonlocal settled
        settled += 1

    with closing(todo(skip)) as questions:
        for item in questions:
            if item is not None:
                more_in, more_out = rate.tokens(item[1].text)
                requests += 1
                tokens_in += more_in
                tokens_out += more_out
    cost = rate.cost(tokens_in, tokens_out)
    return Estimate(requests + settled, settled, requests, tokens_in, tokens_out, cost)
