"""Questions to the language model on loopback, for tests of asking."""

from __future__ import annotations

from pathlib import Path
from typing import Any

from llm_server import LlmServer

from ingest import llm_prompt, llm_run
from ingest.llm_cache import Cache, Settled, key_of
from ingest.llm_prompt import Question
from ingest.llm_spent import Spent
from study.llm_sections import Llm, LlmSpeed

PROMPT = llm_prompt.load("findings")
TEXTS = [f"Finding number {n}. No bleed." for n in range(12)]


def model(server: LlmServer, **speed: Any) -> Llm:
    return Llm(
        model="m", base_url=f"{server.url}/v1", speed=LlmSpeed(**{"concurrency": 4, **speed})
    )


def ask(server: LlmServer, folder: Path, texts: Any = TEXTS, **more: Any) -> Spent:
    speed = more.pop("speed", {})
    return llm_run.ask(texts, PROMPT, model(server, **speed), folder, scrubbed=False, **more)


def settled(server: LlmServer, folder: Path, text: str) -> Settled | None:
    with Cache(folder) as cache:
        return cache.get(key_of(Question(PROMPT, text), model(server)))
