"""What is looked for in sentences: words, "phrases", or a regular expression.

In: what the user typed, and texts. Out: where it is found. All words must be in one sentence, in
any order and in either case. A word is found at the beginning of words: `infarct` finds infarcts
and infarction, `rib` does not find describe. The page of `shards.page` looks for them in the same
way; `pieces` cuts a report into sentences for both.
"""

from __future__ import annotations

import itertools
import re
import unicodedata
from dataclasses import dataclass

from study.errors import UserError

Span = tuple[int, int]
"""First character, and one past the last."""

_TERM = re.compile(r'"([^"]*)"?|([^\s"]+)')
_END = re.compile(r"(?<=[.!?;])\s+|\n\s*")


@dataclass(frozen=True)
class Words:
    """Patterns that must all be found in one sentence. Make one with `words` or `expression`."""

    patterns: tuple[re.Pattern[str], ...]

    def spans(self, sentence: str) -> list[Span] | None:
        """Where they are in a sentence (as `composed` makes it), merged and in order. None when one
        is missing."""
        found: list[Span] = []
        for pattern in self.patterns:
            here = [match.span() for match in pattern.finditer(sentence)]
            if not here:
                return None
            found += here
        merged: list[Span] = []
        for start, end in sorted(found):
            if merged and start <= merged[-1][1]:
                merged[-1] = (merged[-1][0], max(end, merged[-1][1]))
            else:
                merged.append((start, end))
        return [span for span in merged if span[0] < span[1]]


def words(text: str) -> Words:
    """Words and "phrases" of a text. UserError where there are none."""
    terms = [(match[1] or match[2] or "").strip() for match in _TERM.finditer(composed(text))]
    patterns = tuple(_pattern(term) for term in terms if term)
    if not patterns:
        raise UserError(f'--text {text!r}: no words; give words, or a "phrase in double quotes"')
    return Words(patterns)


def expression(text: str) -> Words:
    """One regular expression, in either case. UserError where it is none."""
    try:
        return Words((re.compile(composed(text), re.IGNORECASE),))
    except re.error as error:
        raise UserError(f"--text {text!r} with --regex: {error}") from None


def composed(text: str) -> str:
    """The text with letters and their accents as one character: two ways to write one word."""
    return unicodedata.normalize("NFC", text)


def pieces(report: str) -> list[str]:
    """A report cut after its sentences and lines; joined they are the report."""
    cuts = [0, *(match.end() for match in _END.finditer(report)), len(report)]
    return [report[a:b] for a, b in itertools.pairwise(cuts) if a < b]


def _pattern(term: str) -> re.Pattern[str]:
    """Letters that have a case, and digits, must begin a word; other scripts have no gaps between
    words."""
    begins = r"(?<!\w)" if term[0].isdigit() or term[0].lower() != term[0].upper() else ""
    return re.compile(begins + r"\s+".join(map(re.escape, term.split())), re.IGNORECASE)
