"""JSON files that prove their own bytes.

In: plain JSON values. Out: the same with `sha256`, a checksum over all the rest, in one canonical
text; whether a file is such a text, byte for byte. The commit records and dataset.json are sealed:
they hold the checksums of all other files, so nothing is left that could vouch for them.
"""

from __future__ import annotations

import hashlib
import json
from collections.abc import Mapping
from typing import Any

from shards.layout import to_bytes

FIELD = "sha256"


def sealed(facts: Mapping[str, Any]) -> dict[str, Any]:
    """The facts with their checksum; one that is there already is replaced."""
    rest = {name: value for name, value in facts.items() if name != FIELD}
    return {**rest, FIELD: hashlib.sha256(to_bytes(rest)).hexdigest()}


def text(facts: Mapping[str, Any], indent: int | None = None) -> bytes:
    """The file of some facts: keys sorted, ASCII, a newline at the end; `indent` is for people."""
    if indent is None:
        return to_bytes(facts) + b"\n"
    return (json.dumps(facts, indent=indent, sort_keys=True, allow_nan=False) + "\n").encode()


def damage(data: bytes, indent: int | None = None) -> str:
    """What is wrong with a sealed file; empty where no byte of it has changed."""
    try:
        facts = json.loads(data)
    except ValueError as error:
        return f"not JSON: {error}"
    if not isinstance(facts, dict):
        return "not a JSON object"
    if FIELD not in facts:
        return "it has no checksum of itself: an older version wrote it"
    if facts != sealed(facts):
        return "its checksum is not that of its contents"
    try:
        return "" if data == text(facts, indent) else "it was laid out anew after it was written"
    except ValueError as error:
        return f"not plain JSON: {error}"
