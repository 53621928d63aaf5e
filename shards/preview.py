"""Contact sheets: what a radiologist would look at to trust a dataset.

In: studies. Out: one picture. Of every scan some slices around the middle, turned by `view` into
radiological convention with the sides marked, at the right aspect; beside them plane, window and
the sentences. `page` makes an HTML page of the same slices.
"""

from __future__ import annotations

from collections.abc import Iterable, Sequence

import numpy as np
from PIL import Image, ImageDraw

from shards.lettering import PAPER, Ink, drawable, font, panel, wrapped
from shards.view import View, view_of
from study.errors import UserError
from study.records import Scan, Study

TILE = 150
"""Height and width in pixels that a slice is fitted into."""
SLICES = 3
"""Slices shown of a scan."""
STRIPS_A_ROW = 2
LETTER = 13 / 150
"""Height of the letters at the edges of a slice, as part of the slice's."""
MIN_LETTER = 10
MAX_HEIGHT = 65_500
"""Of a sheet in pixels: browsers and many viewers show none that is higher."""
MAX_PIXELS = 89_478_485
"""Of a sheet: above that Pillow itself calls a picture a decompression bomb."""
_GAP = 8
_BETWEEN = 2
_INK: Ink = (230, 230, 230)
_DIM: Ink = (150, 150, 150)
_MARK: Ink = (255, 210, 60)


def middle_slices(depth: int, count: int) -> list[int]:
    """Indices of `count` slices that cut the depth into equal parts: 1/4, 1/2, 3/4 for three. Never
    empty."""
    places = [round(depth * (n + 1) / (count + 1) - 0.5) for n in range(count)]
    return sorted({min(max(place, 0), depth - 1) for place in places})


def scan_picture(scan: Scan, *, tile: int = TILE, slices: int = SLICES) -> Image.Image:
    """Slices of a scan side by side, with letters at the edges: foot to head, front to back, right
    to left."""
    view = view_of(scan.affine)
    chosen = middle_slices(scan.array.shape[0], slices)
    if view.reverse_slices:
        chosen.reverse()
    picture = Image.new("RGB", (strip_width(slices, tile), tile), PAPER)
    for place, depth in enumerate(chosen):
        picture.paste(_tile(scan.array[depth], view, tile), (place * (tile + _BETWEEN), 0))
    return picture


def scan_strip(scan: Scan, *, tile: int = TILE, slices: int = SLICES) -> Image.Image:
    """The picture of a scan over a line that says what it is."""
    picture = scan_picture(scan, tile=tile, slices=slices)
    title = panel(wrapped(scan_title(scan), picture.width), picture.width, _INK)
    strip = Image.new("RGB", (picture.width, tile + title.height), PAPER)
    strip.paste(picture, (0, 0))
    strip.paste(title, (0, tile))
    return strip


def scan_title(scan: Scan) -> str:
    """Modality, plane, window and source of a scan, in one line."""
    low, high = scan.window_limits
    spacing = "x".join(f"{value:.3g}" for value in scan.source_spacing_mm)
    flags = f" {' '.join(scan.flags)}" if scan.flags else ""
    limits = f"[{low:.4g}, {high:.4g}]"
    return f"{scan.modality} {scan.plane} {scan.window} {limits}, source {spacing} mm{flags}"


def study_title(study: Study) -> str:
    """Key, split and the little that is known of the patient."""
    age = "" if study.age_years is None else f", {study.age_years} years"
    sex = f", {study.sex}" if study.sex else ""
    return f"{study.key}  {study.split}{age}{sex}, {len(study.scans)} scans"


def contact_sheet(
    studies: Iterable[Study], *, tile: int = TILE, slices: int = SLICES
) -> Image.Image:
    """Studies below each other: title, sentences, then the strips of its scans. UserError where
    they make a picture that viewers refuse."""
    panels, height, spelled = [], 0, False
    for study in studies:
        panels.append(_study_panel(study, tile, slices))
        height += panels[-1].height
        spelled = spelled or any(drawable(said) != said for _, said in sentences_of(study))
        if height > MAX_HEIGHT or height * panels[-1].width > MAX_PIXELS:
            raise UserError(
                f"{len(panels)} studies make a picture of {panels[-1].width} x {height} pixels or "
                "more, which viewers refuse: show fewer (--limit), smaller (--tile), or write .html"
            )
    if not panels:
        return panel(["no studies"], strip_width(slices, tile), _DIM)
    if spelled:
        width = panels[0].width
        panels.append(panel(wrapped(_SPELLED, width), width, _DIM))
    return _stacked(panels)


def sentences_of(study: Study) -> list[tuple[str, str]]:
    """(variant, sentence) of all summariser variants."""
    return [
        (variant, sentence)
        for variant, found in study.report.sentences.items()
        for sentence in found
    ]


def strip_width(slices: int, tile: int = TILE) -> int:
    """Of the picture of a scan, in pixels."""
    return slices * (tile + _BETWEEN) - _BETWEEN


def _tile(slice_HW: np.ndarray, view: View, tile: int) -> Image.Image:
    picture = view.apply(slice_HW)
    height_mm = picture.shape[0] * view.pixel_mm[0]
    width_mm = picture.shape[1] * view.pixel_mm[1]
    scale = tile / max(height_mm, width_mm)
    size = (max(1, round(width_mm * scale)), max(1, round(height_mm * scale)))
    shown = Image.fromarray(np.ascontiguousarray(_bytes(picture))).resize(
        size, Image.Resampling.BILINEAR
    )
    square = Image.new("RGB", (tile, tile), (0, 0, 0))
    square.paste(shown.convert("RGB"), ((tile - size[0]) // 2, (tile - size[1]) // 2))
    draw, middle = ImageDraw.Draw(square), tile // 2
    letters = font(max(MIN_LETTER, round(tile * LETTER)))
    edges = [
        ((2, middle), view.left, "lm"),
        ((tile - 2, middle), view.right, "rm"),
        ((middle, 1), view.top, "mt"),
        ((middle, tile - 2), view.bottom, "mb"),
    ]
    for place, letter, anchor in edges:
        draw.text(place, letter, _MARK, letters, anchor, stroke_width=1, stroke_fill=(0, 0, 0))
    return square


def _bytes(picture: np.ndarray) -> np.ndarray:
    """Grey values from 0 to 255, of whatever dtype a scan is stored in."""
    if picture.dtype.kind == "f":  # 0 to 1
        return np.rint(np.clip(picture.astype(np.float32), 0, 1) * 255).astype(np.uint8)
    return (picture >> 8 * (picture.dtype.itemsize - 1)).astype(np.uint8)


def _study_panel(study: Study, tile: int, slices: int) -> Image.Image:
    strips = [scan_strip(scan, tile=tile, slices=slices) for scan in study.scans]
    rows = [strips[n : n + STRIPS_A_ROW] for n in range(0, len(strips), STRIPS_A_ROW)]
    width = STRIPS_A_ROW * (strip_width(slices, tile) + _GAP) + _GAP
    said = [f"- {sentence} ({variant})" for variant, sentence in sentences_of(study)]
    lines = [line for sentence in said or ["(no sentences)"] for line in wrapped(sentence, width)]
    blocks = [panel(wrapped(study_title(study), width), width, _MARK), panel(lines, width, _INK)]
    blocks += [_side_by_side(row, width) for row in rows]
    return _stacked([*blocks, Image.new("RGB", (width, _GAP), PAPER)])


def _side_by_side(strips: Sequence[Image.Image], width: int) -> Image.Image:
    row = Image.new("RGB", (width, max(strip.height for strip in strips)), PAPER)
    left = _GAP
    for strip in strips:
        row.paste(strip, (left, 0))
        left += strip.width + _GAP
    return row


def _stacked(blocks: Sequence[Image.Image]) -> Image.Image:
    width, height = max(block.width for block in blocks), sum(block.height for block in blocks)
    whole = Image.new("RGB", (width, height), PAPER)
    top = 0
    for block in blocks:
        whole.paste(block, (0, top))
        top += block.height
    return whole


_SPELLED = (
    "Letters that the font of this picture lacks are spelled otherwise or shown as a question mark;"
    " an HTML page (-o NAME.html) shows them as they are."
)
