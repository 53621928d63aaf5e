"""The result files of a batch, line by line.

In: an output or error file of the Batch API. Out: `Result`s. A line that is cut short or strange
gives none: its request is still open, and asked again.
"""

from __future__ import annotations

import json
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from ingest.llm_ask import TOLD
from ingest.llm_cache import Settled
from ingest.llm_prompt import Prompt
from ingest.llm_request import failure_of, is_completion, settle


@dataclass(frozen=True)
class Result:
    """What one request of a batch came to."""

    key: bytes
    settled: Settled | None
    """None: the endpoint failed, not the text."""
    told: str = ""
    """What the endpoint said then."""


def results(file: Path, prompt: Prompt) -> Iterator[Result]:
    """Of all lines that hold one."""
    with file.open("rb") as lines:
        for line in lines:
            try:
                row: Any = json.loads(line)
                key = bytes.fromhex(row["custom_id"])
                reply = (row.get("response") or {}).get("body")
            except (ValueError, TypeError, KeyError, AttributeError, RecursionError):
                continue
            if is_completion(reply):
                yield Result(key, settle(reply, prompt))
                continue
            told = json.dumps(row.get("error") or reply)
            failure = failure_of(told)
            yield Result(key, Settled(None, failure) if failure else None, told[:TOLD])
