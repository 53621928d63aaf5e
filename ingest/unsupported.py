"""Why a sentence is dropped that its report does not support.

In: nothing. Out: the reasons, and a problem: a reason and the words that it is about.
"""

from __future__ import annotations

from enum import StrEnum


class Unsupported(StrEnum):
    """Why a sentence was dropped."""

    EMPTY = "empty"
    REPEATED = "repeated"
    NUMBER = "number"
    SIDE = "side"
    NEGATION = "negation"
    BODY_PART = "body part"
    DEGREE = "degree"
    WORDS = "words"


Problem = tuple[Unsupported, str]
