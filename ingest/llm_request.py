"""A question as a request to an endpoint, and its reply as an answer: the same for every route.

In: `Question`, `Llm`; a chat completion, or an error. Out: the body of the request; `Settled`, or
that it is to be asked again. The idea: nothing that an endpoint says is believed before it is one
JSON object of the schema. Endpoints differ in what they understand (`Dialect`): the first refusal
of a field tells, and the next request goes without it.
"""

from __future__ import annotations

import json
from dataclasses import dataclass, replace
from typing import Any, TypeGuard

from ingest.llm_cache import Failure, Settled
from ingest.llm_prompt import Prompt, Question
from study.llm_sections import Llm

SCHEMA_NAME = "answer"


@dataclass(frozen=True)
class Dialect:
    """What an endpoint understands."""

    json_schema: bool = True
    """`response_format` of type json_schema; else json_object, and the schema in the prompt."""
    json_object: bool = True
    """`response_format` at all."""
    limit: str = "max_tokens"
    """The field that limits an answer: max_tokens, or max_completion_tokens of newer models."""


def body(question: Question, llm: Llm, dialect: Dialect) -> dict[str, Any]:
    """Of a request for a chat completion."""
    fields: dict[str, Any] = {
        "model": llm.model,
        "messages": question.messages(schema_in_words=not dialect.json_schema),
        dialect.limit: llm.max_output_tokens,
    }
    if llm.temperature is not None:
        fields["temperature"] = llm.temperature
    if dialect.json_schema:
        schema = {"name": SCHEMA_NAME, "strict": True, "schema": question.prompt.schema}
        fields["response_format"] = {"type": "json_schema", "json_schema": schema}
    elif dialect.json_object:
        fields["response_format"] = {"type": "json_object"}
    return fields


def after_refusal(dialect: Dialect, told: str) -> Dialect | None:
    """The dialect to try next when an endpoint refuses a request with this message; None: the
    message is about something else."""
    if any(word in told for word in ("response_format", "json_schema", "json_object")):
        if dialect.json_schema:
            return replace(dialect, json_schema=False)
        if dialect.json_object:
            return replace(dialect, json_object=False)
    if dialect.limit == "max_tokens" and "max_tokens" in told and "max_completion_tokens" in told:
        return replace(dialect, limit="max_completion_tokens")
    return None


def failure_of(told: str) -> Failure | None:
    """Which failure of this one text a refused request is; None: of no text in particular."""
    if any(word in told for word in ("context_length", "context length", "maximum context")):
        return Failure.TOO_LONG
    if any(word in told for word in ("content_filter", "content management policy")):
        return Failure.REFUSED
    return None


def is_completion(reply: object) -> TypeGuard[dict[str, Any]]:
    """Whether a reply is a chat completion at all; some endpoints say 200 and an error."""
    choices = reply.get("choices") if isinstance(reply, dict) else None
    return isinstance(choices, list) and bool(choices) and isinstance(choices[0], dict)


def settle(completion: dict[str, Any], prompt: Prompt) -> Settled:
    """What a chat completion (as JSON) says; `MALFORMED` may be asked once more."""
    usage = completion.get("usage")
    usage = usage if isinstance(usage, dict) else {}
    tokens_in, tokens_out = (
        count if isinstance(count := usage.get(name), int) and count > 0 else 0
        for name in ("prompt_tokens", "completion_tokens")
    )
    answer, failure = _read(completion, prompt)
    return Settled(answer, failure, tokens_in, tokens_out)


def _read(
    completion: dict[str, Any], prompt: Prompt
) -> tuple[dict[str, Any] | None, Failure | None]:
    choice = completion["choices"][0]
    message = choice.get("message")
    message = message if isinstance(message, dict) else {}
    if message.get("refusal") or choice.get("finish_reason") == "content_filter":
        return None, Failure.REFUSED
    if choice.get("finish_reason") == "length":
        return None, Failure.TRUNCATED
    answer = parsed(message.get("content"), prompt)
    return answer, None if answer is not None else Failure.MALFORMED


def parsed(content: object, prompt: Prompt) -> dict[str, Any] | None:
    """The JSON object of a message, if it has the schema: all of it, or, as models without schema
    write, within a fence or after their thoughts.

    >>> p = Prompt("p", 1, "", {"type": "object", "required": ["a"]})
    >>> parsed('```json\\n{"a": 1}\\n```', p), parsed('{"b": 1}', p)
    ({'a': 1}, None)
    """
    if not isinstance(content, str):
        return None
    text = content.rpartition("</think>")[2]
    for piece in (text, text[text.find("{") : text.rfind("}") + 1]):
        try:
            answer = json.loads(piece, parse_constant=_refuse)
            json.dumps(answer).encode()
        except (ValueError, RecursionError):
            continue
        if isinstance(answer, dict) and prompt.validator.is_valid(answer):
            return answer
    return None


def _refuse(constant: str) -> None:
    raise ValueError(f"{constant} is not JSON")
