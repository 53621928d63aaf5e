"""Contact sheets: what a radiologist would look at to trust a dataset.

In: studies. Out: one picture, or one HTML page that needs nothing else. Of every scan some slices
around the middle, turned by `view` into radiological convention with the sides marked, at the right
aspect; beside them plane, window and the sentences.
"""

from __future__ import annotations

import base64
import html
import io
import textwrap
from collections.abc import Iterable, Sequence

import numpy as np
from PIL import Image, ImageDraw, ImageFont

from shards.view import View, view_of
from study.records import Scan, Study

TILE = 150
"""Height and width in pixels that a slice is fitted into."""
SLICES = 3
"""Slices shown of a scan."""
STRIPS_A_ROW = 2
_TEXT = 13
_LINE = 17
_CHARACTER = 7
"""Pixels that a character of the built-in font takes on average at that size, rounded up."""
_GAP = 8
_INK, _DIM, _PAPER, _MARK = (230, 230, 230), (150, 150, 150), (16, 16, 16), (255, 210, 60)


def middle_slices(depth: int, count: int) -> list[int]:
    """Indices of `count` slices that cut the depth into equal parts: 1/4, 1/2, 3/4 for three. Never
    empty."""
    places = [round(depth * (n + 1) / (count + 1) - 0.5) for n in range(count)]
    return sorted({min(max(place, 0), depth - 1) for place in places})


def scan_strip(scan: Scan, *, tile: int = TILE, slices: int = SLICES) -> Image.Image:
    """Slices of a scan side by side, with letters at the edges and a line that says what it is."""
    view = view_of(scan.affine)
    chosen = middle_slices(scan.array.shape[0], slices)
    if view.reverse_slices:
        chosen.reverse()
    width = slices * (tile + 2) - 2
    title = _text_panel(_wrapped(scan_title(scan), width), width, _INK)
    strip = Image.new("RGB", (width, tile + title.height), _PAPER)
    strip.paste(title, (0, tile))
    for place, depth in enumerate(chosen):
        strip.paste(_tile(scan.array[depth], view, tile), (place * (tile + 2), 0))
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
    """Studies below each other: title, sentences, then the strips of its scans."""
    panels = [_study_panel(study, tile, slices) for study in studies]
    return _stacked(panels or [_text_panel(["no studies"], slices * (tile + 2), _DIM)])


def html_page(
    studies: Iterable[Study], *, title: str, tile: int = TILE, slices: int = SLICES
) -> str:
    """The same as one page; pictures are inside, no network, no script."""
    return _PAGE.format(
        title=html.escape(title),
        studies="\n".join(_study_html(study, tile, slices) for study in studies)
        or "<p>no studies</p>",
    )


def sentences_of(study: Study) -> list[tuple[str, str]]:
    """(variant, sentence) of all summariser variants."""
    return [
        (variant, sentence)
        for variant, found in study.report.sentences.items()
        for sentence in found
    ]


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
    draw, font, middle = ImageDraw.Draw(square), ImageFont.load_default(_TEXT), tile // 2
    edges = [
        ((2, middle), view.left, "lm"),
        ((tile - 2, middle), view.right, "rm"),
        ((middle, 1), view.top, "mt"),
        ((middle, tile - 2), view.bottom, "mb"),
    ]
    for place, letter, anchor in edges:
        draw.text(place, letter, _MARK, font, anchor, stroke_width=1, stroke_fill=(0, 0, 0))
    return square


def _bytes(picture: np.ndarray) -> np.ndarray:
    """Grey values from 0 to 255, of whatever dtype a scan is stored in."""
    if picture.dtype.kind == "f":  # 0 to 1
        return np.rint(np.clip(picture.astype(np.float32), 0, 1) * 255).astype(np.uint8)
    return (picture >> 8 * (picture.dtype.itemsize - 1)).astype(np.uint8)


def _study_panel(study: Study, tile: int, slices: int) -> Image.Image:
    strips = [scan_strip(scan, tile=tile, slices=slices) for scan in study.scans]
    rows = [strips[n : n + STRIPS_A_ROW] for n in range(0, len(strips), STRIPS_A_ROW)]
    width = STRIPS_A_ROW * (slices * (tile + 2) - 2 + _GAP) + _GAP
    said = [f"- {sentence} ({variant})" for variant, sentence in sentences_of(study)]
    lines = [line for sentence in said or ["(no sentences)"] for line in _wrapped(sentence, width)]
    blocks = [_text_panel([study_title(study)], width, _MARK), _text_panel(lines, width, _INK)]
    blocks += [_side_by_side(row, width) for row in rows]
    return _stacked([*blocks, Image.new("RGB", (width, _GAP), _PAPER)])


def _side_by_side(strips: Sequence[Image.Image], width: int) -> Image.Image:
    row = Image.new("RGB", (width, max(strip.height for strip in strips)), _PAPER)
    left = _GAP
    for strip in strips:
        row.paste(strip, (left, 0))
        left += strip.width + _GAP
    return row


def _stacked(blocks: Sequence[Image.Image]) -> Image.Image:
    width, height = max(block.width for block in blocks), sum(block.height for block in blocks)
    whole = Image.new("RGB", (width, height), _PAPER)
    top = 0
    for block in blocks:
        whole.paste(block, (0, top))
        top += block.height
    return whole


def _wrapped(text: str, width: int) -> list[str]:
    return textwrap.wrap(text, max(8, width // _CHARACTER)) or [""]


def _text_panel(lines: Sequence[str], width: int, ink: tuple[int, int, int]) -> Image.Image:
    panel = Image.new("RGB", (width, _LINE * len(lines) + 4), _PAPER)
    draw, font = ImageDraw.Draw(panel), ImageFont.load_default(_TEXT)
    for number, line in enumerate(lines):
        draw.text((_GAP, 2 + number * _LINE), line, ink, font)
    return panel


def _study_html(study: Study, tile: int, slices: int) -> str:
    pictures = "\n".join(
        f'<img alt="{html.escape(scan_title(scan), quote=True)}" '
        f'src="data:image/png;base64,{_png_base64(scan_strip(scan, tile=tile, slices=slices))}">'
        for scan in study.scans
    )
    said = "\n".join(
        f"<li>{html.escape(s)} <small>{html.escape(v)}</small></li>" for v, s in sentences_of(study)
    )
    modalities = " ".join(sorted({scan.modality for scan in study.scans}))
    return (
        f'<section id="{html.escape(study.key)}" data-modality="{html.escape(modalities)}">\n'
        f"<h2>{html.escape(study_title(study))}</h2>\n"
        f'<div class="scans">{pictures}</div>\n'
        f"<ul>{said or '<li>(no sentences)</li>'}</ul>\n</section>"
    )


def _png_base64(picture: Image.Image) -> str:
    stream = io.BytesIO()
    picture.save(stream, "png")
    return base64.b64encode(stream.getvalue()).decode("ascii")


_PAGE = """<!doctype html>
<html lang="en"><head><meta charset="utf-8"><title>{title}</title>
<style>
body {{ background: #101010; color: #e6e6e6; font: 14px sans-serif; margin: 1em; }}
h2 {{ font-size: 14px; color: #ffd23c; grid-column: 1 / 3; margin: 0 0 .4em; }}
section {{ display: grid; grid-template-columns: 3fr 1fr; gap: .3em 1em; }}
section {{ border-top: 1px solid #444; padding: .8em 0; }}
.scans img {{ margin: 0 6px 6px 0; }}
small {{ color: #969696; }}
</style></head><body>
<h1>{title}</h1>
<p>Radiological convention: the patient's right is on your left.
Protected data: do not pass this page on.</p>
{studies}
</body></html>
"""
