"""Text in pictures: wrapped by the width of its letters, in the one font that is always there.

In: lines of text. Out: panels to paste. Pillow's built-in font (Aileron) has ASCII and a few signs
more: accents are left off and signs spelled out, what remains is a question mark, and the caller
can tell (`drawable(text) != text`), so that the picture says so. An HTML page has no such limit.
"""

from __future__ import annotations

import unicodedata
from collections.abc import Sequence
from functools import cache

from PIL import Image, ImageDraw, ImageFont

TEXT = 13
"""Size of the letters in pixels."""
LINE = 17
"""From one line to the next in pixels."""
MARGIN = 8

Ink = tuple[int, int, int]
PAPER: Ink = (16, 16, 16)

IN_FONT = frozenset(
    map(chr, [*range(32, 127), 0xA9, 0xAB, 0xB0, 0xB1, 0xB4, 0xB7, 0xBB])
) | frozenset(map(chr, [0x2018, 0x2019, 0x201C, 0x201D, 0x2026, 0x2039, 0x203A, 0x2122]))
"""What the built-in font of Pillow 10.1 and later has a glyph for."""
_SPELLED = {
    "\N{MICRO SIGN}": "u",
    "\N{GREEK SMALL LETTER MU}": "u",
    "\N{MULTIPLICATION SIGN}": "x",
    "\N{LESS-THAN OR EQUAL TO}": "<=",
    "\N{GREATER-THAN OR EQUAL TO}": ">=",
    "\N{ALMOST EQUAL TO}": "~",
    "\N{RIGHTWARDS ARROW}": "->",
    "\N{EN DASH}": "-",
    "\N{EM DASH}": "-",
    "\N{MINUS SIGN}": "-",
    "\N{HYPHEN}": "-",
    "\N{NON-BREAKING HYPHEN}": "-",
    "\N{BULLET}": "-",
    "\N{SUPERSCRIPT TWO}": "^2",
    "\N{SUPERSCRIPT THREE}": "^3",
    "\N{VULGAR FRACTION ONE HALF}": " 1/2",
    "\N{VULGAR FRACTION ONE QUARTER}": " 1/4",
    "\N{VULGAR FRACTION THREE QUARTERS}": " 3/4",
    "\N{LATIN SMALL LETTER SHARP S}": "ss",
    "\N{LATIN SMALL LETTER AE}": "ae",
    "\N{LATIN CAPITAL LETTER AE}": "Ae",
    "\N{LATIN SMALL LIGATURE OE}": "oe",
    "\N{LATIN CAPITAL LIGATURE OE}": "Oe",
    "\N{LATIN SMALL LETTER O WITH STROKE}": "o",
    "\N{LATIN CAPITAL LETTER O WITH STROKE}": "O",
    "\N{LATIN SMALL LETTER L WITH STROKE}": "l",
    "\N{LATIN CAPITAL LETTER L WITH STROKE}": "L",
    "\N{LATIN SMALL LETTER D WITH STROKE}": "d",
    "\N{LATIN CAPITAL LETTER D WITH STROKE}": "D",
}


def drawable(text: str) -> str:
    """The text with what the font lacks spelled otherwise, or as question marks."""
    return "".join(map(_drawable, unicodedata.normalize("NFC", text)))


def wrapped(text: str, width: int) -> list[str]:
    """Lines of at most `width` pixels, margins included; words longer than a line are cut. At least
    one line."""
    room = width - 2 * MARGIN
    lines, line, left = [], "", float(room)
    for word in drawable(text).split():
        needed = sum(map(_advance, word))
        if line and needed + _advance(" ") > left:
            lines.append(line)
            line, left = "", room
        if line:
            line, left = f"{line} ", left - _advance(" ")
        for character in word:
            if line and _advance(character) > left:
                lines.append(line)
                line, left = "", room
            line, left = line + character, left - _advance(character)
    return [*lines, line] if line or not lines else lines


def panel(lines: Sequence[str], width: int, ink: Ink) -> Image.Image:
    """Lines below each other on paper of a width in pixels."""
    paper = Image.new("RGB", (width, LINE * len(lines) + 4), PAPER)
    draw = ImageDraw.Draw(paper)
    for number, line in enumerate(lines):
        draw.text((MARGIN, 2 + number * LINE), drawable(line), ink, font())
    return paper


@cache
def font(pixels: int = TEXT) -> ImageFont.FreeTypeFont | ImageFont.ImageFont:
    """The built-in font."""
    return ImageFont.load_default(pixels)


@cache
def _advance(character: str) -> float:
    """Width in pixels. Kerning is left out: it moves letters closer, if at all."""
    return font().getlength(character)


@cache
def _drawable(character: str) -> str:
    if character in IN_FONT:
        return character
    if character in _SPELLED:
        return _SPELLED[character]
    category = unicodedata.category(character)
    if character.isspace() or category == "Cc":
        return " "
    if category in ("Cf", "Mn"):  # joiners and marks, which are not seen by themselves
        return ""
    letters = "".join(c for c in unicodedata.normalize("NFKD", character) if c in IN_FONT)
    # letters without their accents, ligatures taken apart; never digits: 10 to the 3rd is not 103
    return letters if letters.isalpha() else "?"
