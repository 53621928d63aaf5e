from __future__ import annotations

import asyncio
import socket
import stat
from pathlib import Path
from typing import Any

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from pydantic import ValidationError

from ingest import llm_endpoint, llm_prompt
from ingest.llm_cache import Cache, Failure, Settled, key_of
from ingest.llm_cost import Purse, Rate, tokens_of
from ingest.llm_endpoint import is_local, refuse_unsafe
from ingest.llm_limits import Limits
from ingest.llm_prompt import Prompt, Question
from ingest.llm_request import Dialect, after_refusal, body, parsed
from study.errors import UserError
from study.ingest_sections import Ingest
from study.llm_sections import Llm, LlmSpeed, Summarizer

PROMPT = llm_prompt.load("findings")
LLM = Llm(model="m")

# -------------------------------------------------------------------------------- endpoint


@pytest.mark.parametrize(
    ("host", "local"),
    [
        ("127.0.0.1", True),
        ("localhost", True),
        ("[::1]", True),
        ("10.1.2.3", True),
        ("172.16.0.1", True),
        ("172.32.0.1", False),
        ("192.168.255.1", True),
        ("192.169.0.1", False),
        ("[fd12::1]", True),
        ("[fe80::1]", True),
        ("[2001:db8::1]", False),
        ("[::ffff:8.8.8.8]", False),
        ("[::ffff:10.0.0.1]", True),
        ("8.8.8.8", False),
        ("100.64.0.1", False),
        ("169.254.169.254", False),
        ("0.0.0.0", False),
    ],
)
def test_what_is_local(host: str, local: bool) -> None:
    assert is_local(f"http://{host}:8000/v1") == local


@pytest.mark.parametrize(
    ("addresses", "local"),
    [(["10.0.0.7"], True), (["10.0.0.7", "fd00::1"], True), (["10.0.0.7", "8.8.8.8"], False)],
)
def test_a_name_is_what_all_its_addresses_are(
    monkeypatch: pytest.MonkeyPatch, addresses: list[str], local: bool
) -> None:
    found = [(0, 0, 0, "", (address, 0)) for address in addresses]
    monkeypatch.setattr(socket, "getaddrinfo", lambda *args, **more: found)
    assert is_local("http://llm.hospital.example/v1") == local


def test_an_unknown_name_is_an_error() -> None:
    with pytest.raises(UserError, match="not known here"):
        is_local("http://no-such-host.invalid/v1")


def test_texts_leave_only_scrubbed_allowed_and_by_https() -> None:
    there = Llm(model="m", base_url="https://8.8.8.8/v1")
    allowed = there.model_copy(update={"allow_remote": True})
    with pytest.raises(UserError, match="allow_remote"):
        refuse_unsafe(there, scrubbed=True)
    with pytest.raises(UserError, match="not scrubbed"):
        refuse_unsafe(allowed, scrubbed=False)
    with pytest.raises(UserError, match="https"):
        refuse_unsafe(allowed.model_copy(update={"base_url": "http://8.8.8.8/v1"}), scrubbed=True)
    assert refuse_unsafe(allowed, scrubbed=True) is False
    assert refuse_unsafe(Llm(model="m", base_url="http://10.0.0.1/v1"), scrubbed=False) is True


def test_keys_come_from_the_environment_alone(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("OPENAI_API_KEY", "sk-not-for-this-one")
    local = Llm(model="m", base_url="http://127.0.0.1/v1")
    assert llm_endpoint.client(local, scrubbed=False).api_key == llm_endpoint.NO_KEY
    named = local.model_copy(update={"api_key_env": "HOSPITAL_KEY"})
    monkeypatch.delenv("HOSPITAL_KEY", raising=False)
    with pytest.raises(UserError, match="HOSPITAL_KEY"):
        llm_endpoint.client(named, scrubbed=False)
    monkeypatch.setenv("HOSPITAL_KEY", " k ")
    assert llm_endpoint.client(named, scrubbed=False).api_key == "k"


@pytest.mark.parametrize(
    "fields",
    [
        {"base_url": "https://user:secret@host/v1"},
        {"base_url": "https://host/v1?key=secret"},
        {"base_url": "host/v1"},
        {"api_key_env": "sk-secret"},
        {"temperature": 3},
        {"speed": {"max_cost": 5}},
        {"speed": {"batch_requests": 50_001}},
        {"key": "sk-secret"},
    ],
)
def test_settings_that_are_refused(fields: dict[str, Any]) -> None:
    with pytest.raises(ValidationError):
        Llm(model="m", **fields)


def test_variants_differ() -> None:
    one = Summarizer(model="m", variant="a")
    with pytest.raises(ValidationError, match="two summarizers of one variant"):
        Ingest(summarizers=(one, one))


# -------------------------------------------------------------------------------- limits


@given(
    st.lists(st.integers(0, 5000), min_size=1, max_size=50),
    st.floats(1, 1e4),
    st.floats(100, 1e7),
)
def test_no_minute_has_more_than_it_may(
    tokens: list[int], requests_per_min: float, tokens_per_min: float
) -> None:
    """Between any two starts lie the time of the requests and of the tokens before the second."""
    limits = Limits(requests_per_min, tokens_per_min, clock=lambda: 0.0)
    starts = [limits.book(count) for count in tokens]
    for first in range(len(starts)):
        for last in range(first, len(starts)):
            passed = starts[last] - starts[first] + 1e-6
            assert (last - first) * 60 / requests_per_min <= passed
            assert sum(tokens[first:last]) * 60 / tokens_per_min <= passed


def test_an_idle_line_gives_no_credit() -> None:
    now = [0.0]
    limits = Limits(60, None, clock=lambda: now[0])
    now[0] = 1000.0
    assert [limits.book(0) for _ in range(3)] == [1000.0, 1001.0, 1002.0]


def test_what_an_answer_took_is_booked() -> None:
    limits = Limits(None, 60, clock=lambda: 0.0)
    assert limits.book(10) == 0.0
    limits.correct(-5)
    assert limits.book(0) == 5.0


def test_a_pause_holds_for_those_who_wait_already() -> None:
    async def first_two() -> list[float]:
        loop = asyncio.get_running_loop()
        limits, stop = Limits(None, None), asyncio.Event()
        begin = loop.time()
        limits.pause(0.05)
        waiting = asyncio.create_task(limits.turn(0, stop))
        await asyncio.sleep(0.01)
        limits.pause(0.15)
        assert await waiting
        first = loop.time() - begin
        limits.pause(60)
        loop.call_later(0.02, stop.set)
        assert not await limits.turn(0, stop)
        return [first, loop.time() - begin]

    first, stopped = asyncio.run(first_two())
    assert first >= 0.15
    assert stopped < 10


# -------------------------------------------------------------------------------- cost


def test_batches_cost_a_share() -> None:
    speed = {"price_in": 2.0, "price_out": 8.0, "batch_price": 0.25}
    live = Rate.of(Llm(model="m", speed=LlmSpeed(**speed)), PROMPT)
    batch = Rate.of(Llm(model="m", speed=LlmSpeed(**speed, batch=True)), PROMPT)
    assert live.cost(1e6, 1e6) == 10.0
    assert batch.cost(1e6, 1e6) == 2.5


@given(st.lists(st.tuples(st.integers(0, 10**6), st.integers(0, 10**6)), max_size=30))
def test_a_purse_whose_estimates_hold_is_never_overdrawn(costs: list[tuple[int, int]]) -> None:
    purse = Purse(Rate(1.0, 1.0, 0, 10**9), max_cost=3.0)
    for tokens_in, tokens_out in costs:
        cost = purse.rate.cost(tokens_in, tokens_out)
        if purse.reserve(cost):
            purse.release(cost)
            purse.pay(tokens_in, tokens_out)
    assert purse.spent <= 3.0 + 1e-9


@given(st.text(max_size=300))
def test_tokens_are_estimated_for_any_text(text: str) -> None:
    assert len(text) / 3.5 <= tokens_of(text) <= 2 * len(text) + 1


# -------------------------------------------------------------------------------- prompts


@given(st.text(st.characters(), max_size=200))
def test_a_text_stands_between_marks_that_it_cannot_hold(text: str) -> None:
    system, user = Question(PROMPT, text).messages()
    first, *middle, last = user["content"].split("\n")
    assert "\n".join(middle) == text.encode("utf-8", "replace").decode()
    assert first.split()[-1] == last.split()[-1]
    assert user["content"].count(first.split()[-1]) == 2
    assert text not in system["content"] or len(text) < 60
    user["content"].encode()


@pytest.mark.parametrize(
    ("written", "told"),
    [
        ("- a", "no keys"),
        ("name: a\nversion: 1", "it needs"),
        ("name: a\nversion: x\nsystem: s\nschema: {type: object}", "version must be a number"),
        ("name: a\nversion: 1\nsystem: ''\nschema: {type: object}", "system must be text"),
        ("name: a\nversion: 1\nsystem: s\nschema: {type: list}", "schema"),
        ("name: a\nversion: 1\nsystem: s\nschema: {type: array}", "type object"),
        ("name: a\nversion: 1\nsystem: s\nschema: {type: object}\nmore: 1", "it needs"),
        ("name: [", "cannot be read"),
    ],
)
def test_prompt_files_that_are_refused(tmp_path: Path, written: str, told: str) -> None:
    (tmp_path / "p.yaml").write_text(written)
    with pytest.raises(UserError, match=told):
        llm_prompt.load(str(tmp_path / "p.yaml"))


def test_an_unknown_prompt_names_those_there_are() -> None:
    with pytest.raises(UserError, match="findings, impression, summary"):
        llm_prompt.load("finding")


def test_a_key_depends_on_all_that_shapes_an_answer() -> None:
    question = Question(PROMPT, "Text.")
    others = [
        (Question(PROMPT, "Text. "), LLM),
        (Question(llm_prompt.load("summary"), "Text."), LLM),
        (Question(Prompt("findings", 1, PROMPT.system, {"type": "object"}), "Text."), LLM),
        *(
            (question, LLM.model_copy(update=change))
            for change in ({"model": "n"}, {"temperature": None}, {"max_output_tokens": 5})
        ),
    ]
    keys = {key_of(question, LLM), *(key_of(*other) for other in others)}
    assert len(keys) == len(others) + 1
    same = LLM.model_copy(update={"base_url": "https://x/v1", "speed": LlmSpeed(concurrency=1)})
    assert key_of(question, same) == key_of(question, LLM)


# -------------------------------------------------------------------------------- requests


def test_dialects_end() -> None:
    dialect, told = Dialect(), "response_format: json_schema, json_object; max_tokens is not "
    told += "supported, use max_completion_tokens"
    for _ in range(3):
        after = after_refusal(dialect, told)
        assert after is not None
        dialect = after
    assert after_refusal(dialect, told) is None
    assert after_refusal(Dialect(), "no such model") is None
    sent = body(Question(PROMPT, "T."), LLM.model_copy(update={"temperature": None}), dialect)
    assert {"response_format", "max_tokens", "temperature"}.isdisjoint(sent)


@given(st.text('[]{}:,"\\u1a-\n', max_size=40) | st.none() | st.binary() | st.lists(st.text()))
def test_no_content_is_too_strange(content: object) -> None:
    answer = parsed(content, PROMPT)
    assert answer is None or PROMPT.validator.is_valid(answer)


# -------------------------------------------------------------------------------- cache


def test_an_answer_stays_and_a_failure_gives_way(tmp_path: Path) -> None:
    failed = Settled(None, Failure.REFUSED, 3, 1, "run1")
    answered = Settled({"a": "ü\ud800"}, None, 5, 2, "run2")
    with Cache(tmp_path / "c") as cache:
        cache.put(b"k", failed, "m", "p")
        cache.put(b"k", failed, "m", "p")  # by the same run: counted once
        assert cache.get(b"k") == failed
        cache.put(b"k", answered, "m", "p")
        cache.put(b"k", Settled(None, Failure.REFUSED, 9, 9, "run3"), "m", "p")
        assert cache.get(b"k") == Settled(answered.answer, None, 8, 3, "run2")
    assert stat.S_IMODE((tmp_path / "c").stat().st_mode) == 0o700
    with Cache(tmp_path / "c", read_only=True) as cache:
        assert list(cache.keys()) == [b"k"]
        assert cache.get(b"x") is None


def test_a_reader_sees_what_is_written_meanwhile(tmp_path: Path) -> None:
    with Cache(tmp_path) as writer, Cache(tmp_path) as reader:
        writer.put(b"k", Settled({}, None, 1, 1, "r"), "m", "p")
        assert reader.get(b"k") == Settled({}, None, 1, 1, "r")


def test_no_cache_to_read_is_an_error_with_its_name(tmp_path: Path) -> None:
    with pytest.raises(UserError, match=r"answers\.sqlite"):
        Cache(tmp_path, read_only=True)


@settings(max_examples=10)
@given(st.lists(st.binary(min_size=1, max_size=2)))
def test_marks_are_a_set(tmp_path_factory: pytest.TempPathFactory, keys: list[bytes]) -> None:
    with Cache(tmp_path_factory.mktemp("c")) as cache, cache.marks() as marks:
        seen: set[bytes] = set()
        for key in keys:
            assert (key in marks) == (key in seen)
            assert marks.add(key) == (key not in seen)
            seen.add(key)
