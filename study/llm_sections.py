"""What `pipelines.yaml` may say of a language model: which, where, how fast, for how much.

In: values of a section. Out: typed, checked settings. `Llm` is any model that is asked about
reports; `Summarizer` one that turns them into sentences. What only changes speed or money is in
`speed`; where the model is reached shapes nothing, and neither has a place in a dataset.
"""

from __future__ import annotations

import re
from typing import Annotated
from urllib.parse import urlsplit

from pydantic import Field, field_validator, model_validator

from study.quantities import Fraction, Positive
from study.section import Section

VARIANT = r"(?!.*\d{9})[A-Za-z][A-Za-z0-9._:/+-]{0,79}"
"""Names of variants; those that `shards.allowed` takes."""
OFFLINE = "offline"
"""The variant of the rule-based summariser."""
Price = Annotated[float, Field(ge=0)]


class LlmSpeed(Section):
    """What changes only how fast, for how much, and by which route a model is asked."""

    concurrency: Positive = 8
    """Requests in flight at a time."""
    requests_per_min: Annotated[float, Field(gt=0)] | None = None
    """Requests started in a minute, at most; null: as the endpoint allows (its 429 is obeyed)."""
    tokens_per_min: Annotated[float, Field(gt=0)] | None = None
    """Tokens, in and out, used in a minute, at most; by estimate until an answer tells."""
    timeout_s: Annotated[float, Field(gt=0)] = 120.0
    """Seconds that one request may take."""
    max_retries: Annotated[int, Field(ge=0)] = 5
    """Times the client repeats a request after 429, 5xx or a broken connection."""
    batch: bool = False
    """Ask by the Batch API: half the price, within a day, resumable."""
    batch_requests: Annotated[int, Field(gt=0, le=50_000)] = 50_000
    """Requests in one batch; fewer where the endpoint limits the tokens that wait."""
    batch_poll_s: Annotated[float, Field(gt=0)] = 60.0
    """Seconds between looks at a batch."""
    batch_price: Fraction = 0.5
    """Price by the Batch API as a share of the price otherwise."""
    price_in: Price = 0.0
    """Per million tokens sent, in any currency."""
    price_out: Price = 0.0
    """Per million tokens received, in the same."""
    max_cost: Price | None = None
    """A run that would cost more is refused before the first request, and one that does ends
    there. Needs the prices."""

    @model_validator(mode="after")
    def _priced(self) -> LlmSpeed:
        if self.max_cost is not None and not (self.price_in or self.price_out):
            raise ValueError("max_cost needs price_in and price_out")
        return self


class Llm(Section):
    """A language model behind an OpenAI-compatible endpoint."""

    model: Annotated[str, Field(min_length=1)]
    """Name of the model, as the endpoint knows it."""
    base_url: str = "https://api.openai.com/v1"
    """Address of the endpoint, to which /chat/completions is added."""
    api_key_env: str = ""
    """Name of the environment variable that holds the key; empty: the endpoint needs none. The key
    itself is never written down."""
    temperature: Annotated[float, Field(ge=0, le=2)] | None = 0.0
    """Of sampling; null leaves it to the endpoint (models that reason take no other)."""
    max_output_tokens: Positive = 4000
    """Tokens of an answer; a longer one is cut, and then a failure."""
    allow_remote: bool = False
    """Allow an endpoint outside this machine and its private network. Text goes there only
    scrubbed."""
    speed: LlmSpeed = LlmSpeed()

    @field_validator("base_url")
    @classmethod
    def _address(cls, url: str) -> str:
        parts = urlsplit(url)
        if parts.scheme not in ("http", "https") or not parts.hostname:
            raise ValueError(f"{url!r} is no address; write https://HOST/v1")
        if parts.username or parts.password or parts.query or parts.fragment:
            raise ValueError("an address without user, key or query: a key has api_key_env")
        return url.rstrip("/")

    @field_validator("api_key_env")
    @classmethod
    def _a_name(cls, name: str) -> str:
        if name and not re.fullmatch(r"[A-Z_][A-Z0-9_]*", name):  # the value is not repeated
            raise ValueError("the name of an environment variable in capitals, not a key")
        return name


class Summarizer(Llm):
    """A model and a prompt that turn a report into sentences, side by side with others."""

    variant: str
    """Name under which the sentences are stored, as findings-gpt."""
    prompt: str = "findings"
    """A bundled prompt (findings, summary, impression), or the path of a file like those."""
    max_lost_share: Fraction = 0.5
    """A report of whose sentences a larger share is not supported by it is flagged."""

    @field_validator("variant")
    @classmethod
    def _fits(cls, variant: str) -> str:
        if not re.fullmatch(VARIANT, variant):
            raise ValueError(
                f"{variant!r}: a letter, then up to 79 letters, digits and ._:/+-, no nine digits "
                "in a row; it stands in the dataset"
            )
        if variant == OFFLINE:
            raise ValueError(f"{OFFLINE} is the variant of the rule-based summariser")
        return variant


class Labeler(Section):
    """A set of labels, answered from the reports by language models, or by words where there are
    none."""

    label_set: Annotated[str, Field(min_length=1)]
    """A bundled set (ct-rate, rad-chestct, cq500, rsna-ich, pub-brain-5), or the path of a file
    like those."""
    models: tuple[Llm, ...] = ()
    """Models that are all asked; the majority decides, a tie is uncertain, and a failed one has no
    vote. Empty: labels come from the rule-based sentences by the words of the set, without a
    model."""
    prompt: Annotated[str, Field(min_length=1)] = "labels"
    """The bundled prompt, or the path of a file like it."""

    @field_validator("models")
    @classmethod
    def _differ(cls, models: tuple[Llm, ...]) -> tuple[Llm, ...]:
        names = [model.model for model in models]
        if len(names) > len(set(names)):
            raise ValueError(f"two models of one name: {', '.join(sorted(names))}")
        return models
