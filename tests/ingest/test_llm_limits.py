"""How fast, how many at a time, and for how much a language model is asked."""

from __future__ import annotations

import time
from pathlib import Path

import pytest
from llm_asking import TEXTS, ask
from llm_server import LlmServer, sentences_of

from ingest.llm_spent import Stop
from study.errors import UserError


def test_concurrency_is_bounded_and_used(server: LlmServer, tmp_path: Path) -> None:
    server.latency_s = 0.05
    ask(server, tmp_path, [f"Text {n}." for n in range(30)], speed={"concurrency": 5})
    assert server.most_in_flight == 5


def test_requests_keep_the_rate(server: LlmServer, tmp_path: Path) -> None:
    ask(server, tmp_path, speed={"requests_per_min": 1200})
    spread = server.starts[-1] - server.starts[0]
    assert spread >= 0.95 * (len(TEXTS) - 1) * 60 / 1200


def test_a_server_that_limits_the_rate_is_obeyed(server: LlmServer, tmp_path: Path) -> None:
    server.per_s = 20
    texts = [f"Text {n}." for n in range(40)]
    spent = ask(server, tmp_path, texts, speed={"concurrency": 8})
    assert spent.answered == 40
    assert server.statuses[429] > 0
    assert server.asked == dict.fromkeys(texts, 1)


def test_a_429_outlasting_the_clients_retries_stops_all_for_a_while(
    server: LlmServer, tmp_path: Path
) -> None:
    server.faults[TEXTS[0]].extend(["429"] * 2)
    start = time.monotonic()
    assert ask(server, tmp_path, TEXTS[:1], speed={"max_retries": 0}).answered == 1
    assert time.monotonic() - start >= 2  # twice a Retry-After of one second


PRICES = {"price_in": 1000.0, "price_out": 2000.0}


def test_an_estimate_over_the_limit_is_refused_before_the_first_request(
    server: LlmServer, tmp_path: Path
) -> None:
    dry = ask(server, tmp_path, speed=PRICES, dry_run=True)
    assert dry.estimate.requests == len(TEXTS)
    assert dry.estimate.cost > 0
    with pytest.raises(UserError, match="more than max_cost"):
        ask(server, tmp_path, speed=PRICES, max_cost=dry.estimate.cost * 0.99)
    with pytest.raises(UserError, match="without prices"):
        ask(server, tmp_path, max_cost=1.0)
    assert not server.asked
    assert ask(server, tmp_path, speed=PRICES, max_cost=dry.estimate.cost * 1.01).answered


def test_the_estimate_is_on_the_careful_side_and_of_the_right_size(
    server: LlmServer, tmp_path: Path
) -> None:
    texts = [f"The {n} mm nodule in the right upper lobe is unchanged. " * 20 for n in range(5)]
    server.answer = lambda text: {"sentences": sentences_of(text)}
    spent = ask(server, tmp_path, texts, speed=PRICES)
    assert spent.cost <= spent.estimate.cost <= 2 * spent.cost


def test_a_run_that_costs_more_than_estimated_ends_at_the_limit(
    server: LlmServer, tmp_path: Path
) -> None:
    texts = [f"Text {n}." for n in range(40)]
    server.answer = lambda text: {"sentences": ["word " * 400]}  # 500 tokens for 64 estimated
    estimate = ask(server, tmp_path, texts, speed=PRICES, dry_run=True).estimate
    spent = ask(server, tmp_path, texts, speed=PRICES, max_cost=estimate.cost)
    assert spent.stopped == Stop.COST
    assert 0 < spent.answered < 40
    one = spent.cost / spent.answered
    assert spent.cost <= estimate.cost + 4 * one  # those in flight
    rest = ask(server, tmp_path, texts, speed=PRICES)
    assert (rest.stopped, rest.cached + rest.answered) == (None, 40)
    assert server.written == dict.fromkeys(texts, 1)


def test_a_silent_server_is_paid_by_estimate(server: LlmServer, tmp_path: Path) -> None:
    server.says_usage = False
    spent = ask(server, tmp_path, speed=PRICES)
    assert spent.cost == pytest.approx(spent.estimate.cost)


def test_a_limit_is_one_of_texts_asked(server: LlmServer, tmp_path: Path) -> None:
    assert ask(server, tmp_path, limit=5).answered == 5
    second = ask(server, tmp_path, limit=5)
    assert (second.cached, second.answered) == (5, 5)
