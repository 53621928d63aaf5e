"""One condition on a fact of a study or of a scan: `echo_time_ms<30`.

In: what the user typed. Out: a `Condition`. The facts are those of a shard's table. A fact that is
missing fulfils no condition, not even `!=`.
"""

from __future__ import annotations

import operator
import re
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from typing import Any

from shards import allowed
from shards.view import PLANES
from study.errors import UserError

Fact = float | str | None

STUDY_FIELDS: Mapping[str, Callable[[dict[str, Any]], Fact]] = {
    "num_scans": lambda row: row["num_scans"],
    "num_series": lambda row: row["num_series"],
    "num_sentences": lambda row: sum(row["num_sentences"].values()),
    "report_chars": lambda row: row["report_chars"],
    "age_years": lambda row: row["age_years"],
    "sex": lambda row: row["sex"] or None,
    "bytes": lambda row: row["bytes"],
}
"""Of a row of the table. `num_sentences` are those of all variants together."""

_AXES = {"depth": 0, "height": 1, "width": 2}


def _item(name: str, place: int) -> Callable[[dict[str, Any]], Fact]:
    return lambda scan: scan[name][place]


def _acquired(name: str) -> Callable[[dict[str, Any]], Fact]:
    return lambda scan: scan["acquisition"][name]


SCAN_FIELDS: Mapping[str, Callable[[dict[str, Any]], Fact]] = {
    "modality": lambda scan: scan["modality"],
    "plane": lambda scan: scan["plane"],
    "source_plane": lambda scan: scan["source_plane"],
    "window": lambda scan: scan["window"],
    "series_index": lambda scan: scan["series_index"],
    **{axis: _item("shape", n) for axis, n in _AXES.items()},
    **{f"{axis}_spacing_mm": _item("spacing_mm", n) for axis, n in _AXES.items()},
    **{f"source_{axis}": _item("source_shape", n) for axis, n in _AXES.items()},
    **{f"source_{axis}_spacing_mm": _item("source_spacing_mm", n) for axis, n in _AXES.items()},
    **{name: _acquired(name) for name in allowed.ACQUISITION},
}
"""Of one scan. Depth, height and width are the axes of the array, `source_` those of the native
grid."""

_WORDS = {
    "modality": allowed.MODALITY.words,
    "plane": frozenset(PLANES),
    "source_plane": frozenset(PLANES),
    "sex": frozenset("FMO"),
    **{n: rule.words for n, rule in allowed.ACQUISITION.items() if isinstance(rule, allowed.Words)},
}
"""Fields that have one of some words."""
_TEXT = {"window", *(n for n, r in allowed.ACQUISITION.items() if isinstance(r, allowed.Pattern))}
"""Fields that have other text."""

_COMPARE: Mapping[str, Callable[[Any, Any], bool]] = {
    "<=": operator.le,
    ">=": operator.ge,
    "!=": operator.ne,
    "==": operator.eq,
    "=": operator.eq,
    "<": operator.lt,
    ">": operator.gt,
}
_FORM = re.compile(rf"\s*(\w+)\s*({'|'.join(_COMPARE)})\s*(.*?)\s*")


@dataclass(frozen=True)
class Condition:
    """A field, how it compares, and with what: a number, or text in capitals."""

    name: str
    comparison: str
    value: float | str

    def holds(self, fact: Fact) -> bool:
        """Whether it is true of a fact."""
        if fact is None:
            return False
        known = fact.upper() if isinstance(fact, str) else fact
        return _COMPARE[self.comparison](known, self.value)


def parse(text: str) -> Condition:
    """A condition as the user writes it. UserError for an unknown field or a value that the field
    never has."""
    match = _FORM.fullmatch(text)
    if match is None or not match[3]:
        raise UserError(
            f"--where {text!r}: not FIELD, one of {' '.join(_COMPARE)}, and a value, as in "
            "'echo_time_ms<30'"
        )
    name, comparison, value = match.groups()
    if name not in fields():
        raise UserError(f"--where {text!r}: no field {name!r}; there are: {', '.join(fields())}")
    if name not in _WORDS and name not in _TEXT:
        try:
            return Condition(name, comparison, float(value))
        except ValueError:
            raise UserError(f"--where {text!r}: {name} is a number, {value!r} is none") from None
    if comparison not in ("=", "==", "!="):
        raise UserError(f"--where {text!r}: {name} is a word; use = or !=")
    known = {word.upper() for word in _WORDS.get(name, ())}
    if known and value.upper() not in known:
        there = ", ".join(sorted(_WORDS[name]))
        raise UserError(f"--where {text!r}: {name} is never {value!r}; it is one of: {there}")
    return Condition(name, comparison, value.upper())


def fields() -> tuple[str, ...]:
    """Names of all fields."""
    return (*STUDY_FIELDS, *SCAN_FIELDS)
