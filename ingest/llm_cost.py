"""Tokens and money, before they are spent and while they are.

In: questions; usage that endpoints report. Out: `Estimate`, `Purse`. Tokens are estimated from
UTF-8 bytes, without any model's tokenizer: 3.5 bytes a token of English prose is on the careful
side (tokenizers of current models take 4 to 5; CJK text about 3), and every request pays some
tokens for its frame. Answers are estimated at the length of their text, capped by
max_output_tokens: sentences repeat the report. Once answers have come, their own mean is used.
"""

from __future__ import annotations

import json
import math
from dataclasses import dataclass

from ingest.llm_prompt import Prompt
from study.errors import UserError
from study.llm_sections import Llm

BYTES_PER_TOKEN = 3.5
FRAME_TOKENS = 32
"""Of a request: roles, marks, names of fields."""
LEAST_ANSWER_TOKENS = 64
MILLION = 1e6


def tokens_of(text: str) -> int:
    """Estimated tokens of a text.

    >>> tokens_of("No acute intracranial haemorrhage.")
    10
    """
    return math.ceil(len(text.encode("utf-8", "replace")) / BYTES_PER_TOKEN)


def money(amount: float) -> str:
    """An amount for people: two decimals, and more where it is so small that they would hide it.

    >>> money(1234.5), money(0.00284), money(0)
    ('1,234.50', '0.0028', '0.00')
    """
    decimals = 2 if not 0 < amount < 0.1 else 1 - math.floor(math.log10(amount))
    return f"{amount:,.{decimals}f}"


@dataclass(frozen=True)
class Estimate:
    """What a run is going to take."""

    texts: int = 0
    """All of them."""
    settled: int = 0
    """Those that are answered (or failed) from before, repeat others, or are empty."""
    requests: int = 0
    tokens_in: int = 0
    tokens_out: int = 0
    cost: float = 0.0
    """In the currency of the prices; 0 without prices."""


@dataclass(frozen=True)
class Rate:
    """What tokens cost by the route taken, and what a prompt adds to each text."""

    price_in: float
    price_out: float
    prompt_tokens: int
    max_output_tokens: int

    @classmethod
    def of(cls, llm: Llm, prompt: Prompt) -> Rate:
        share = llm.speed.batch_price if llm.speed.batch else 1.0
        frame = tokens_of(prompt.instructions) + tokens_of(json.dumps(prompt.schema)) + FRAME_TOKENS
        return cls(
            llm.speed.price_in * share,
            llm.speed.price_out * share,
            frame,
            llm.max_output_tokens,
        )

    def tokens(self, text: str) -> tuple[int, int]:
        """Estimated tokens in and out of a request about a text."""
        own = tokens_of(text)
        return self.prompt_tokens + own, min(max(own, LEAST_ANSWER_TOKENS), self.max_output_tokens)

    def cost(self, tokens_in: float, tokens_out: float) -> float:
        return (tokens_in * self.price_in + tokens_out * self.price_out) / MILLION


class Purse:
    """What a run has spent and what its requests in flight may still take, held against a limit."""

    def __init__(self, rate: Rate, max_cost: float | None) -> None:
        self.rate, self.max_cost = rate, max_cost
        self.tokens_in = self.tokens_out = 0
        self._reserved = 0.0

    @property
    def spent(self) -> float:
        return self.rate.cost(self.tokens_in, self.tokens_out)

    def reserve(self, cost: float) -> bool:
        """Whether a request of this estimated cost may start."""
        if self.max_cost is not None and self.spent + self._reserved + cost > self.max_cost:
            return False
        self._reserved += cost
        return True

    def commit(self, cost: float) -> None:
        """Requests of this estimated cost are under way from before."""
        self._reserved += cost

    def release(self, cost: float) -> None:
        """The request is over."""
        self._reserved -= cost

    def pay(self, tokens_in: int, tokens_out: int) -> None:
        """What an endpoint says that it took."""
        self.tokens_in += tokens_in
        self.tokens_out += tokens_out


def refuse_cost(estimate: Estimate, llm: Llm, max_cost: float | None) -> None:
    """Raise UserError where a run would cost more than it may."""
    if max_cost is None:
        return
    if not (llm.speed.price_in or llm.speed.price_out):
        raise UserError(
            f"max_cost {max_cost:g} cannot be kept without prices: set speed.price_in and "
            f"speed.price_out of {llm.model} (per million tokens)"
        )
    if estimate.cost > max_cost:
        raise UserError(
            f"{estimate.requests:,} requests to {llm.model} would cost about "
            f"{money(estimate.cost)}, more than max_cost {max_cost:g}: raise it, or limit the "
            "number of reports"
        )
