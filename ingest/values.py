"""Values of DICOM elements, as whatever reader gives them -> text, numbers, vectors; never an
exception.

In: a value (text, number, a list of them, None). Out: the type that is wanted, or None or empty for
what is missing or malformed. Source: DICOM PS3.5 6.2 (value representations).
"""

from __future__ import annotations

import math
import re
from typing import Any, Protocol

from pydicom.multival import MultiValue


class Source(Protocol):
    """Whatever answers with the value of a keyword, or (pydicom) the element of a private tag."""

    def get(self, name: Any) -> Any: ...


def texts(value: Any) -> list[str]:
    if value is None:
        return []
    many = value if is_multi(value) else [value]
    return [text(v) for v in many]


MULTI_TYPES = frozenset((list, tuple, MultiValue))


def is_multi(value: Any) -> bool:
    return type(value) in MULTI_TYPES


def text(value: Any) -> str:
    if value is None:
        return ""
    if is_multi(value):
        return "\\".join(text(v) for v in value)
    return str(value).replace("\0", "").strip()


def number(value: Any) -> float | None:
    try:
        number = float(value[0] if is_multi(value) and value else value)
    except (TypeError, ValueError, OverflowError):  # the last: an IS of hundreds of digits
        return None
    return number if math.isfinite(number) else None


def integer(value: Any) -> int | None:
    """A whole number; None for what is none, or does not fit DICOM's 32 bits."""
    found = number(value)
    return None if found is None or abs(found) >= 1 << 32 else int(found)


def numbers(value: Any, count: int) -> Any:
    if not is_multi(value) or len(value) != count:
        return None
    numbers = tuple(n for n in (number(v) for v in value) if n is not None)
    return numbers if len(numbers) == count else None


YEARS = {"D": 1 / 365.25, "W": 7 / 365.25, "M": 1 / 12, "Y": 1.0}
"""Units of an age in years."""


def completed_years(age: str) -> int | None:
    """An age (VR AS: 034Y, 018M, 006W, 003D) in completed years.

    >>> completed_years("045Y"), completed_years("018M"), completed_years("old")
    (45, 1, None)
    """
    match = re.fullmatch(r"(\d{3})([DWMY])", age.strip())
    return int(int(match[1]) * YEARS[match[2]]) if match else None


def spacing(value: Any) -> tuple[float, float] | None:
    found = numbers(value, 2)
    return found if found and min(found) > 0 else None


def frame(orientation: tuple[float, ...] | None) -> tuple[float, ...] | None:
    """ImageOrientationPatient as two exact unit vectors; None unless they nearly are, at a right
    angle. Scanners round the cosines to a few digits."""
    if orientation is None:
        return None
    row, column = orientation[:3], orientation[3:]
    long_row, long_column = math.hypot(*row), math.hypot(*column)
    if abs(long_row - 1) > 0.01 or abs(long_column - 1) > 0.01:
        return None
    if abs(sum(a * b for a, b in zip(row, column, strict=True))) > 0.01:
        return None
    return (*(v / long_row for v in row), *(v / long_column for v in column))
