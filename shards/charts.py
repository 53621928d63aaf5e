"""Small charts on one sheet, drawn with Pillow: bars by name, counts by value, curves.

In: `Panel`s. Out: a picture. The idea: what a person wants to see of a dataset is a dozen small
charts side by side, each with its title, its ends and its largest count written out, and nothing
else; no plotting package is needed for that.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Protocol

import numpy as np
from PIL import Image, ImageDraw, ImageFont

WIDTH, HEIGHT = 420, 230
"""Of a panel, in pixels."""
ACROSS = 3
MOST_BARS = 8
"""Names shown in a panel; the rest are told as one."""
BINS = 40
_MARGIN, _LINE, _TEXT = 14, 18, 13
_PAPER, _INK, _DIM, _GRID = (255, 255, 255), (30, 30, 30), (110, 110, 110), (225, 225, 225)
_BARS = (49, 104, 142)
_CURVES = ((49, 104, 142), (200, 80, 40), (60, 150, 80), (140, 90, 170), (170, 140, 30))
_NAME_PIXELS = 150


class Panel(Protocol):
    """A chart that draws itself below its title."""

    title: str

    def draw(self, draw: ImageDraw.ImageDraw, left: int, top: int, right: int, bottom: int) -> None:
        """Fill the rectangle."""


@dataclass
class Bars:
    """A bar for each name, the longest first unless `ordered` keeps the given order."""

    title: str
    counts: Mapping[str, float]
    ordered: bool = False
    form: str = ",.0f"
    """How a value is written."""

    def draw(self, draw: ImageDraw.ImageDraw, left: int, top: int, right: int, bottom: int) -> None:
        items = list(self.counts.items())
        if not self.ordered:
            items.sort(key=lambda item: (-item[1], item[0]))
        shown, rest = items[:MOST_BARS], items[MOST_BARS:]
        largest = max((value for _, value in items), default=0) or 1
        space = right - left - _NAME_PIXELS - 60
        for row, (name, value) in enumerate(shown):
            y = top + row * _LINE
            _write(draw, left + _NAME_PIXELS - 6, y, _cut(name, 22), _INK, "ra")
            length = max(1, round(space * value / largest))
            draw.rectangle(
                (left + _NAME_PIXELS, y + 2, left + _NAME_PIXELS + length, y + 13), _BARS
            )
            _write(draw, left + _NAME_PIXELS + length + 6, y, format(value, self.form), _DIM)
        if rest:
            y = top + MOST_BARS * _LINE
            _write(draw, left + _NAME_PIXELS - 6, y, f"and {len(rest)} more", _DIM, "ra")


@dataclass
class Spread:
    """How often values occur, in bins of one width; the last bin takes what lies beyond the 99th
    percentile, and says so."""

    title: str
    values: np.ndarray
    counts: np.ndarray
    unit: str = ""
    step: float = 1.0
    """Between values that differ: no bin is narrower."""

    def draw(self, draw: ImageDraw.ImageDraw, left: int, top: int, right: int, bottom: int) -> None:
        low = float(self.values[0])
        reached = np.cumsum(self.counts)
        high = float(self.values[np.searchsorted(reached, 0.99 * reached[-1])])
        steps = max(1, round((high - low) / self.step) + 1)
        steps_a_bin = -(-steps // BINS)
        width, bins = steps_a_bin * self.step, -(-steps // steps_a_bin)
        place = np.minimum(((self.values - low) / width + 1e-6).astype(int), bins - 1)
        heights = np.bincount(place, self.counts, bins)
        base, roof = bottom - _LINE, top + _LINE
        bar = max(2.0, min(28.0, (right - left) / bins))
        for number, height in enumerate(heights):
            x = left + number * bar
            y = base - (base - roof) * height / heights.max()
            if height:
                draw.rectangle((x, min(y, base - 1), x + bar - 2, base), _BARS)
        draw.line((left, base + 1, right, base + 1), _GRID)
        end = left + bins * bar
        more = " and more" if float(self.values[-1]) > high else ""
        _write(draw, left, base + 3, f"{low:g}{self.unit}", _DIM)
        if bins > 1:
            is_wide = end - left > 130
            _write(
                draw,
                end if is_wide else end + 8,
                base + 3,
                f"{high:g}{self.unit}{more}",
                _DIM,
                "ra" if is_wide else "la",
            )
        peak = f"most: {heights.max():,.0f} at {low + width * int(heights.argmax()):g}{self.unit}"
        _write(draw, right, top, peak, _DIM, "ra")


@dataclass
class Curves:
    """Shares of the values 0, 1, ... by name, on a logarithmic scale of ten to the power of
    -`decades` to 1."""

    title: str
    shares: Mapping[str, np.ndarray]
    decades: int = 5

    def draw(self, draw: ImageDraw.ImageDraw, left: int, top: int, right: int, bottom: int) -> None:
        base, roof = bottom - _LINE, top + 4
        for decade in range(self.decades + 1):
            y = roof + (base - roof) * decade / self.decades
            draw.line((left + 36, y, right, y), _GRID)
            _write(draw, left + 32, y - 8, f"{10.0**-decade:g}"[:6], _DIM, "ra")
        for number, (name, share) in enumerate(self.shares.items()):
            colour = _CURVES[number % len(_CURVES)]
            x = np.linspace(left + 36, right, len(share))
            height = 1 + np.log10(np.maximum(share, 10.0**-self.decades)) / self.decades
            y = base - (base - roof) * height
            draw.line(list(zip(x.tolist(), y.tolist(), strict=True)), colour, 2)
            _write(draw, right - 4, roof + 2 + number * _LINE, name, colour, "ra")
        _write(draw, left + 36, base + 3, "0", _DIM)
        last = max((len(share) for share in self.shares.values()), default=1) - 1
        _write(draw, right, base + 3, str(last), _DIM, "ra")


def sheet(title: str, panels: Sequence[Panel]) -> Image.Image:
    """Panels in rows of three below a title."""
    rows = -(-len(panels) // ACROSS)
    head = 2 * _MARGIN + 22
    picture = Image.new("RGB", (ACROSS * WIDTH, head + rows * HEIGHT), _PAPER)
    draw = ImageDraw.Draw(picture)
    draw.text((_MARGIN, _MARGIN), title, _INK, ImageFont.load_default(19))
    for number, panel in enumerate(panels):
        left = number % ACROSS * WIDTH + _MARGIN
        top = head + number // ACROSS * HEIGHT
        draw.text((left, top), panel.title, _INK, ImageFont.load_default(15))
        inner = (left, top + 26, left + WIDTH - 2 * _MARGIN, top + HEIGHT - _MARGIN)
        panel.draw(draw, *inner)
    return picture


def _write(
    draw: ImageDraw.ImageDraw,
    x: float,
    y: float,
    text: str,
    ink: tuple[int, int, int],
    anchor: str = "la",
) -> None:
    draw.text((x, y), text, ink, ImageFont.load_default(_TEXT), anchor)


def _cut(text: str, length: int) -> str:
    return text if len(text) <= length else text[: length - 2] + ".."
