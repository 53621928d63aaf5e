"""The JSON Schema of `KEY.json`, for readers who have no dicom2clip.

In: the models of `layout` and the rules of `allowed`. Out: one schema (draft 2020-12) that says all
that either of them does of a single value, with meaning and unit of every field. It is kept beside
this file as `study.schema.json`, which every dataset gets a copy of: what a dataset holds does not
depend on the pydantic at hand. To write it anew: `python -m shards.schema`.
"""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

from shards import allowed
from shards.allowed import Pattern, Range, Rule, Words
from shards.layout import SCHEMA_VERSION, StudyMeta

SCHEMA_FILE = "study.schema.json"
TRACKED = Path(__file__).with_name(SCHEMA_FILE)

_AT_THE_END = r"(?![\s\S])"
"""What `$` means in JSON Schema's regular expressions (ECMA-262): Python's also matches before a
last newline."""
_PORTABLE = {
    allowed.LABEL.pattern: "(?!.*[0-9]{5})[A-Za-z\u00aa-\U0010ffff]"
    "[A-Za-z0-9_ ()/.,+&:*%'\u00aa-\U0010ffff-]{0,79}"
}
"""Rules that mean letters of any alphabet: ECMA-262 has no class for them that Python shares, so
that the schema asks for a little less than the writers do."""


def text() -> bytes:
    """The file that every dataset carries."""
    return TRACKED.read_bytes()


def study_schema() -> dict[str, Any]:
    """The schema, made anew."""
    plain = StudyMeta.model_json_schema(mode="serialization")
    body = _narrowed(plain, "", plain["$defs"])
    body["properties"]["schema_version"]["const"] = SCHEMA_VERSION
    return {
        "$schema": "https://json-schema.org/draft/2020-12/schema",
        "$id": f"urn:dicom2clip:study:{SCHEMA_VERSION}",
        "title": f"KEY.json of a dicom2clip dataset, schema version {SCHEMA_VERSION}",
        **body,
    }


def _narrowed(node: dict[str, Any], path: str, models: dict[str, Any]) -> dict[str, Any]:
    """What pydantic says of the value at `path` (as `allowed.STUDY` names it), with the rules that
    the allow-list has for it, without references."""
    if "$ref" in node:
        model = models[node["$ref"].rsplit("/", 1)[1]]
        about = {key: value for key, value in node.items() if key != "$ref"}
        return _narrowed({**model, **about}, path, models)
    said: dict[str, Any] = {
        key: " ".join(node[key].split()) for key in ("description", "type") if key in node
    }
    if "anyOf" in node:
        options = [_narrowed(option, path, models) for option in node["anyOf"]]
        return {**said, "anyOf": options}
    if node["type"] == "object":
        return {**said, **_object(node, path, models)}
    if node["type"] == "array":
        return {**said, **_array(node, f"{path}[]", models)}
    if node["type"] == "null":
        return said
    return {**said, **_limits(allowed.STUDY[path])}


def _object(node: dict[str, Any], path: str, models: dict[str, Any]) -> dict[str, Any]:
    below = f"{path}.".lstrip(".")
    if names := allowed.STUDY.get(f"{below}{{}}"):
        return {
            "propertyNames": _limits(names),
            "additionalProperties": _narrowed(node["additionalProperties"], f"{below}*", models),
        }
    if "properties" not in node:  # a mapping whose names are on the list
        rules = {
            name.removeprefix(below): rule
            for name, rule in allowed.STUDY.items()
            if name.startswith(below)
        }
        facts = {name: {"type": _type(rule), **_limits(rule)} for name, rule in rules.items()}
        return {"properties": facts, "additionalProperties": False}
    fields = node["properties"]
    return {
        "properties": {n: _narrowed(field, below + n, models) for n, field in fields.items()},
        "required": sorted(fields),
        "additionalProperties": False,
    }


def _array(node: dict[str, Any], path: str, models: dict[str, Any]) -> dict[str, Any]:
    sizes: dict[str, Any] = {key: node[key] for key in ("minItems", "maxItems") if key in node}
    if items := node.get("prefixItems"):
        return {"prefixItems": [_narrowed(item, path, models) for item in items], **sizes}
    return {"items": _narrowed(node["items"], path, models), **sizes}


def _type(rule: Rule) -> str:
    return "number" if isinstance(rule, Range) else "string"


def _limits(rule: Rule) -> dict[str, Any]:
    if isinstance(rule, Words):
        return {"enum": sorted(rule.words)}
    if isinstance(rule, Range):
        return {"minimum": rule.low, "maximum": rule.high}
    if isinstance(rule, Pattern):
        pattern = _PORTABLE.get(rule.pattern, rule.pattern)
        return {"pattern": f"^(?:{pattern}){_AT_THE_END}"}
    return {}


if __name__ == "__main__":
    TRACKED.write_text(json.dumps(study_schema(), indent=1) + "\n", encoding="ascii")
