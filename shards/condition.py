"""One condition on a fact of a study or of a scan: `echo_time_ms<30`.

In: what the user typed. Out: a `Condition`, which tells of a whole column at once where it holds:
tables have millions of scans. A fact that is missing fulfils no condition, not even `!=`.
"""

from __future__ import annotations

import math
import re
from collections.abc import Callable, Mapping
from dataclasses import dataclass

import numpy as np
import pyarrow as pa
import pyarrow.compute as pc

from shards import allowed
from shards.view import PLANES
from study.errors import UserError


def _column(name: str) -> Callable[[pa.Table], pa.Array]:
    return lambda table: table[name]


def _num_sentences(table: pa.Table) -> pa.Array:
    """Of all variants together."""
    maps = table["num_sentences"].combine_chunks()
    starts = maps.offsets.to_numpy()
    sums = np.concatenate([[0], np.cumsum(maps.items.to_numpy())])
    return pa.array(sums[starts[1:]] - sums[starts[:-1]])


def _part(*names: str) -> Callable[[pa.Array], pa.Array]:
    return lambda scans: pc.struct_field(scans, list(names))


def _item(name: str, place: int) -> Callable[[pa.Array], pa.Array]:
    return lambda scans: pc.list_element(pc.struct_field(scans, name), place)


STUDY_FIELDS: Mapping[str, Callable[[pa.Table], pa.Array]] = {
    "num_scans": _column("num_scans"),
    "num_series": _column("num_series"),
    "num_sentences": _num_sentences,
    "report_chars": _column("report_chars"),
    "age_years": _column("age_years"),
    "sex": lambda table: pc.if_else(
        pc.equal(table["sex"], ""), pa.scalar(None, pa.string()), table["sex"]
    ),
    "bytes": _column("bytes"),
}
"""Of a study, from the table of `Dataset.table`."""

_AXES = {"depth": 0, "height": 1, "width": 2}
SCAN_FIELDS: Mapping[str, Callable[[pa.Array], pa.Array]] = {
    **{name: _part(name) for name in ("modality", "plane", "source_plane", "window")},
    "series_index": _part("series_index"),
    **{axis: _item("shape", n) for axis, n in _AXES.items()},
    **{f"{axis}_spacing_mm": _item("spacing_mm", n) for axis, n in _AXES.items()},
    **{f"source_{axis}": _item("source_shape", n) for axis, n in _AXES.items()},
    **{f"source_{axis}_spacing_mm": _item("source_spacing_mm", n) for axis, n in _AXES.items()},
    **{name: _part("acquisition", name) for name in allowed.ACQUISITION},
}
"""Of scans, from the table's `scans` put one after the other. Depth, height and width are the axes
of the array, `source_` those of the native grid."""

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

_COMPARE: Mapping[str, Callable[[pa.Array, float | str], pa.Array]] = {
    "<=": pc.less_equal,
    ">=": pc.greater_equal,
    "!=": pc.not_equal,
    "==": pc.equal,
    "=": pc.equal,
    "<": pc.less,
    ">": pc.greater,
}
_FORM = re.compile(rf"\s*(\w+)\s*({'|'.join(_COMPARE)})\s*(.*?)\s*")


@dataclass(frozen=True)
class Condition:
    """A field, how it compares, and with what: a number, or text in capitals."""

    name: str
    comparison: str
    value: float | str

    def holds(self, facts: pa.Array) -> np.ndarray:
        """Where it is true, as bool (N,)."""
        known = pc.utf8_upper(facts) if isinstance(self.value, str) else facts
        return where(_COMPARE[self.comparison](known, self.value))


def where(true: pa.Array) -> np.ndarray:
    """Where a column of truths is true, and neither false nor missing."""
    filled: np.ndarray = pc.fill_null(true, False).to_numpy(zero_copy_only=False)
    return filled


def _number(text: str) -> float | None:
    try:
        number = float(text)
    except ValueError:
        return None
    return number if math.isfinite(number) else None


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
        number = _number(value)
        if number is None:
            raise UserError(f"--where {text!r}: {name} is a number, {value!r} is none")
        return Condition(name, comparison, number)
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
