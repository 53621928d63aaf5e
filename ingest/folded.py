"""Text as it is compared: without diacritics, invisible characters and typographic variants.

In: a text. Out: the text in plain letters, with the place in the original of every character, so
that what is found in the one can be cut out of the other. Source: Unicode UAX 15 (NFKD).
"""

from __future__ import annotations

import unicodedata
from dataclasses import dataclass

SPELLED = {
    "\u00df": "ss",
    "\u1e9e": "SS",
    "\u00e6": "ae",
    "\u00c6": "AE",
    "\u0153": "oe",
    "\u0152": "OE",
    "\u00f8": "o",
    "\u00d8": "O",
    "\u0142": "l",
    "\u0141": "L",
    "\u0111": "d",
    "\u0110": "D",
    "\u00f0": "d",
    "\u00de": "Th",
    "\u00fe": "th",
    "\u0131": "i",
    **dict.fromkeys("\u2018\u2019\u02bc\u0060\u00b4\u2032", "'"),
    **dict.fromkeys("\u2010\u2011\u2012\u2013\u2014\u2212", "-"),
}
"""Letters and signs that NFKD leaves alone."""


@dataclass(frozen=True)
class Folded:
    """`text` in plain letters; `at[i]` is the index in the original of its character i, and
    `at[-1]` the original's length."""

    text: str
    at: tuple[int, ...]

    def original(self, start: int, end: int) -> tuple[int, int]:
        """The span of the original that `text[start:end]` stands for, with marks that follow."""
        last = self.at[end - 1]
        places = map(self.at.__getitem__, range(end, len(self.at)))
        following = next((place for place in places if place > last), self.at[-1])
        return self.at[start], following


def fold(text: str) -> Folded:
    """Fold a text; case stays.

    >>> fold("M\u00fcller\u2019s").text
    "Muller's"
    """
    if text.isascii() and "\0" not in text:
        return Folded(text, tuple(range(len(text) + 1)))
    letters: list[str] = []
    places: list[int] = []
    for place, character in enumerate(text):
        if character.isascii():
            plain = "" if character == "\0" else character
        else:
            plain = "".join(
                SPELLED.get(c, c)
                for c in unicodedata.normalize("NFKD", SPELLED.get(character, character))
                if unicodedata.category(c) not in ("Mn", "Cf")
            )
        letters.append(plain)
        places.extend([place] * len(plain))
    return Folded("".join(letters), (*places, len(text)))


def plain(text: str) -> str:
    """Only the folded text."""
    return fold(text).text
