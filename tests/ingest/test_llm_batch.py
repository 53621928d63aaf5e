from __future__ import annotations

import json
import os
import signal
import stat
import threading
import time
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
from llm_server import LlmServer, serving

from ingest import llm_batch, llm_prompt, llm_run
from ingest.llm_cache import Cache
from ingest.llm_spent import Spent, Stop
from study.errors import UserError
from study.llm_sections import Llm, LlmSpeed

PROMPT = llm_prompt.load("findings")
TEXTS = [f"Finding number {n}. No bleed." for n in range(21)]
PRICES = {"price_in": 1000.0, "price_out": 2000.0}


@pytest.fixture
def server(monkeypatch: pytest.MonkeyPatch) -> Iterator[LlmServer]:
    monkeypatch.setattr(llm_batch, "LOOK_S", 0.05)
    with serving() as running:
        yield running


def ask(server: LlmServer, folder: Path, texts: Any = TEXTS, **more: Any) -> Spent:
    speed = {"batch": True, "batch_requests": 5, "batch_poll_s": 0.02, **more.pop("speed", {})}
    llm = Llm(model="m", base_url=f"{server.url}/v1", speed=LlmSpeed(**speed))
    return llm_run.ask(texts, PROMPT, llm, folder, scrubbed=False, **more)


def nothing_is_left(server: LlmServer, folder: Path) -> bool:
    """No file at the endpoint, none here but the answers."""
    here = [file.name for file in folder.rglob("*") if file.is_file()]
    return not server.files and here == ["answers.sqlite"]


def test_batches_of_a_size_at_half_the_price(server: LlmServer, tmp_path: Path) -> None:
    spent = ask(server, tmp_path, [*TEXTS, TEXTS[0], ""], speed=PRICES)
    assert (spent.answered, spent.repeated, spent.empty) == (21, 1, 1)
    assert spent.cost == pytest.approx((server.tokens_in * 1000 + server.tokens_out * 2000) / 2e6)
    assert len(server.batches) == 4  # the first text is asked at once
    assert server.statuses.total() == 1
    assert nothing_is_left(server, tmp_path)
    assert server.written == dict.fromkeys(TEXTS, 1)


def test_both_routes_share_the_answers(server: LlmServer, tmp_path: Path) -> None:
    ask(server, tmp_path, TEXTS[:11])
    assert ask(server, tmp_path, speed={"batch": False}).answered == 10
    assert ask(server, tmp_path).cached == 21
    assert server.written == dict.fromkeys(TEXTS, 1)


def test_batches_also_keep_below_the_bytes(
    server: LlmServer, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("ingest.llm_batch_state.MAX_BYTES", 9000)
    sizes: list[int] = []
    server.on_step = lambda step: sizes.extend(f["bytes"] for f in server.files.values())
    assert ask(server, tmp_path, speed={"batch_requests": 1000}).answered == 21
    assert max(sizes) <= 9000
    assert len(server.batches) > 1


@pytest.mark.parametrize("fate", ["expired", "empty"])
def test_what_came_back_without_a_result_is_sent_again(
    server: LlmServer, tmp_path: Path, fate: str
) -> None:
    server.batch_fates.append(fate)
    spent = ask(server, tmp_path, speed={"batch_requests": 50})
    assert (spent.answered, spent.unanswered) == (21, 0)
    assert len(server.batches) == 2
    assert nothing_is_left(server, tmp_path)
    if fate == "expired":
        assert server.written == dict.fromkeys(TEXTS, 1)


def test_lines_that_fail(server: LlmServer, tmp_path: Path) -> None:
    server.faults[TEXTS[1]].append("500")
    server.faults[TEXTS[2]].append("refusal")
    server.faults[TEXTS[3]].append("long")
    server.faults[TEXTS[4]].append("malformed")
    server.faults[TEXTS[5]].extend(["malformed"] * 2)
    server.faults[TEXTS[6]].append("length")
    server.faults[TEXTS[7]].extend(["500"] * 9)
    spent = ask(server, tmp_path)
    assert spent.failed == {"MALFORMED": 1, "REFUSED": 1, "TOO_LONG": 1, "TRUNCATED": 1}
    assert (spent.answered, spent.unanswered) == (16, 1)
    assert (spent.tokens_in, spent.tokens_out) == (server.tokens_in, server.tokens_out)
    assert nothing_is_left(server, tmp_path)
    server.faults.clear()
    again = ask(server, tmp_path)
    assert (again.cached, again.answered) == (20, 1)
    on_demand = ask(server, tmp_path, retry_failed=True)
    assert on_demand.answered == 4
    assert ask(server, tmp_path).cached == 21


def test_a_failed_batch_says_what_the_endpoint_says_and_is_not_paid(
    server: LlmServer, tmp_path: Path
) -> None:
    server.batch_fates.extend(["failed"] * 5)
    with pytest.raises(UserError, match="invalid_request: no"):
        ask(server, tmp_path)
    server.batch_fates.clear()
    assert ask(server, tmp_path).cached >= 1
    assert server.written == dict.fromkeys(TEXTS, 1)
    assert nothing_is_left(server, tmp_path)


def test_too_many_tokens_at_the_endpoint_wait(server: LlmServer, tmp_path: Path) -> None:
    server.batch_fates.extend(["", "tokens", ""])
    assert ask(server, tmp_path).answered == 21
    assert server.written == dict.fromkeys(TEXTS, 1)


def test_requests_all_of_which_are_refused(server: LlmServer, tmp_path: Path) -> None:
    probe = server.completion

    def picky(body: dict[str, Any], fault: str = "") -> tuple[int, dict[str, Any]]:
        if len(server.files):  # those asked at once are taken
            return 400, {"error": {"message": "no such parameter"}}
        return probe(body, fault)

    server.completion = picky  # type: ignore[method-assign]
    few = ask(server, tmp_path)
    assert (few.answered, few.unanswered) == (1, 20)
    assert "no such parameter" in few.told
    with pytest.raises(UserError, match="no such parameter"):
        ask(server, tmp_path, speed={"batch_requests": 50})
    assert nothing_is_left(server, tmp_path)


def test_the_first_question_teaches_the_dialect(server: LlmServer, tmp_path: Path) -> None:
    server.limit_field, server.knows_schema = "max_completion_tokens", False
    assert ask(server, tmp_path).answered == 21
    assert len(server.batches) == 4


def test_an_endpoint_without_batches(server: LlmServer, tmp_path: Path) -> None:
    async def missing(request: Any) -> Any:
        from aiohttp import web

        raise web.HTTPNotFound

    server.upload = missing  # type: ignore[method-assign]
    with serving(server), pytest.raises(UserError, match="no Batch API"):
        ask(server, tmp_path)


def test_files_are_private_while_a_batch_is_out(server: LlmServer, tmp_path: Path) -> None:
    modes: set[int] = set()

    def look(step: str) -> None:
        modes.update(stat.S_IMODE(f.stat().st_mode) for f in tmp_path.rglob("*") if f.is_file())
        modes.update(stat.S_IMODE(f.stat().st_mode) for f in tmp_path.rglob("*") if f.is_dir())

    server.on_step = look
    ask(server, tmp_path / "llm")
    assert modes == {0o600, 0o700}


@pytest.mark.parametrize("what", ["upload", "batch"])
def test_an_answer_that_is_lost_on_the_way_makes_nothing_twice(
    server: LlmServer, tmp_path: Path, what: str
) -> None:
    (server.upload_fates if what == "upload" else server.batch_fates).append("drop")
    assert ask(server, tmp_path).answered == 21
    assert len(server.batches) == 4
    assert server.written == dict.fromkeys(TEXTS, 1)
    assert nothing_is_left(server, tmp_path)


def test_a_signal_leaves_batches_to_the_next_run(server: LlmServer, tmp_path: Path) -> None:
    server.batch_polls = 10**6
    handled: list[int] = []
    before = signal.signal(signal.SIGTERM, lambda number, frame: handled.append(number))
    timer = threading.Timer(1.5, os.kill, (os.getpid(), signal.SIGTERM))
    timer.start()
    try:
        spent = ask(server, tmp_path)
    finally:
        signal.signal(signal.SIGTERM, before)
    assert (spent.stopped, handled) == (Stop.SIGNAL, [signal.SIGTERM])
    assert len(server.batches) == 4
    with pytest.raises(UserError, match="4 batches of m are still at"):
        ask(server, tmp_path, speed={"batch": False})
    server.batch_polls = 0
    again = ask(server, tmp_path)
    assert (again.answered, again.cached) == (20, 1)
    assert len(server.batches) == 4
    assert nothing_is_left(server, tmp_path)


@pytest.mark.parametrize("fate", ["", "expired"])
def test_given_up_in_any_step_a_batch_goes_on_from_there(
    server: LlmServer, tmp_path: Path, fate: str
) -> None:
    """Two signals at once give up all requests on the way; done here at every step there is."""
    before = signal.signal(signal.SIGTERM, lambda number, frame: None)
    left = 0

    def count(step: str) -> None:
        nonlocal left
        left -= 1
        if left == 0:
            os.kill(os.getpid(), signal.SIGTERM)
            time.sleep(0.01)
            os.kill(os.getpid(), signal.SIGTERM)
            time.sleep(0.05)

    server.on_step = count
    try:
        for number in range(1, 100):
            texts = [f"Round {number}, finding {n}." for n in range(6)]
            folder = tmp_path / str(number)
            server.batch_fates.clear()
            server.batch_fates.append(fate)
            left = number
            first = ask(server, folder, texts)
            left = 0
            second = ask(server, folder, texts)
            assert (second.stopped, second.answered + second.cached) == (None, 6)
            assert {server.written[text] for text in texts} == {1}, f"step {number}"
            assert nothing_is_left(server, folder), f"step {number}"
            if first.stopped is None:
                break
    finally:
        signal.signal(signal.SIGTERM, before)
    assert number > 8


def test_results_that_are_gone_are_asked_for_again(server: LlmServer, tmp_path: Path) -> None:
    work = server._work

    def losing(batch: dict[str, Any]) -> None:
        work(batch)
        if len(server.batches) == 1:
            del server.files[batch["output_file_id"]]

    server._work = losing  # type: ignore[method-assign]
    assert ask(server, tmp_path).answered == 21
    assert nothing_is_left(server, tmp_path)


def test_batches_at_another_address_are_not_forgotten(server: LlmServer, tmp_path: Path) -> None:
    with serving() as other:
        other.batch_fates.append("failed")
        with pytest.raises(UserError):
            ask(other, tmp_path)
    with pytest.raises(UserError, match="finish them there first"):
        ask(server, tmp_path)


def test_cost_is_kept_batch_by_batch(server: LlmServer, tmp_path: Path) -> None:
    estimate = ask(server, tmp_path, speed=PRICES, dry_run=True).estimate
    assert estimate.cost == pytest.approx(
        ask(server, tmp_path, speed={**PRICES, "batch": False}, dry_run=True).estimate.cost / 2
    )
    with pytest.raises(UserError, match="more than max_cost"):
        ask(server, tmp_path, speed=PRICES, max_cost=estimate.cost / 2)
    assert not server.asked


def test_a_damaged_state_is_named(server: LlmServer, tmp_path: Path) -> None:
    server.batch_fates.append("failed")
    with pytest.raises(UserError):
        ask(server, tmp_path)
    state = next(iter(tmp_path.rglob("*.json")))
    state.write_text(json.dumps({"name": "x"}))
    with pytest.raises(UserError, match="is damaged"):
        ask(server, tmp_path)


def test_a_result_file_cut_short_or_strange_settles_what_it_can(
    server: LlmServer, tmp_path: Path
) -> None:
    work = server._work

    def cut(batch: dict[str, Any]) -> None:
        work(batch)
        if len(server.batches) == 1:
            file = server.files[batch["output_file_id"]]
            lines = file["content"].split(b"\n")
            strange = [b"[]", b"{}", b'{"custom_id": "xyz"}', b'"\xff"', b"null"]
            file["content"] = b"\n".join([*strange, *lines[:2], lines[2][:40]])

    server._work = cut  # type: ignore[method-assign]
    assert ask(server, tmp_path).answered == 21
    with Cache(tmp_path) as cache:
        assert len(cache) == 21
