"""Values that settings are made of: fractions, counts, lengths, ages, days, sizes in bytes.

In: what YAML or the command line hands over. Out: checked values, as pydantic's annotated types.
"""

from __future__ import annotations

import re
from contextlib import suppress
from datetime import date, datetime
from typing import Annotated

from pydantic import BeforeValidator, Field

Fraction = Annotated[float, Field(ge=0.0, le=1.0)]
Positive = Annotated[int, Field(gt=0)]
Length = Annotated[float, Field(gt=0, lt=1e4)]
"""Millimetres, below ten metres: what the allow-list of a dataset takes."""
Age = Annotated[int, Field(ge=0, le=150)]
"""Completed years."""


def _read_day(value: object) -> object:
    """YYYY-MM-DD or YYYYMMDD, which YAML hands over as a date, a text or a number."""
    if isinstance(value, date) and not isinstance(value, datetime):
        return value
    text = str(value).strip()
    if re.fullmatch(r"\d{8}|\d{4}-\d{2}-\d{2}", text):
        with suppress(ValueError):
            return date.fromisoformat(text)
    raise ValueError("not a date; write YYYY-MM-DD")


Day = Annotated[date, BeforeValidator(_read_day)]
"""A day, as YYYY-MM-DD or YYYYMMDD."""

Size = Annotated[str, Field(pattern=r"^\d+(\.\d+)? ?[kMGT]i?B$")]
"""A number of bytes, as in 200GB or 1.5 GiB."""


def size_bytes(text: str) -> int:
    """Bytes of a `Size`.

    >>> size_bytes("1.5 GB"), size_bytes("2GiB")
    (1500000000, 2147483648)
    """
    unit = text.strip().lstrip("0123456789. ")
    power = "kMGT".index(unit[0]) + 1
    base = 1024 if unit[1] == "i" else 1000
    return int(float(text.strip().removesuffix(unit)) * base**power)
