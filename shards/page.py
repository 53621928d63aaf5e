"""One HTML page of studies: pictures, sentences, filters. It needs nothing else, and asks nobody.

In: studies. Out: a page in parts, a section a study, so that hundreds are written as they are read.
Pictures are those of `preview`, as JPEG of quality 90: on MR and CT of real scanners a strip takes
23 kB where PNG takes 58, and a twentieth of the time; the PNG sheet is for exact pixels. Whatever
comes from data is escaped, and should that ever fail, the page's Content-Security-Policy lets run
and load nothing but its own script and style, known by their hashes. Source: W3C CSP Level 3;
WHATWG HTML.
"""

from __future__ import annotations

import base64
import hashlib
import html
import io
from collections.abc import Iterable, Iterator

from shards import preview
from shards.page_parts import SCRIPT, STYLE
from shards.words import composed, pieces
from study.records import Scan, Study

TILE = 224
"""Height and width in pixels of a slice: what the default grid stores."""
JPEG_QUALITY = 90


def html_page(
    sections: Iterable[str], *, title: str, slices: int = preview.SLICES
) -> Iterator[str]:
    """Parts of a page around the sections that `study_section` made; joined, or written one after
    the other, they are the page."""
    strip = preview.strip_width(slices)
    style = f"{STYLE}:root {{ --strip: {strip}px; }}\n"  # at first as large as in a sheet
    yield _HEAD.format(policy=_policy(style), style=style, title=_text(title), controls=_CONTROLS)
    yield from sections
    yield f"</main>\n<script>{SCRIPT}</script>\n</body></html>\n"


def study_section(study: Study, *, tile: int = TILE, slices: int = preview.SLICES) -> str:
    """One study: its scans, and its sentences, labels and report beside them."""
    figures = "\n".join(_figure(scan, tile, slices) for scan in study.scans)
    return (
        f'<section id="{_text(study.key)}" data-split="{_text(study.split)}">\n'
        f'<h2 tabindex="-1">{_text(preview.study_title(study))}</h2>\n'
        f'<div class="scans">{figures or "<p>no scans</p>"}</div>\n'
        f'<div class="said">{_said(study)}</div>\n</section>\n'
    )


def _figure(scan: Scan, tile: int, slices: int) -> str:
    picture = preview.scan_picture(scan, tile=tile, slices=slices)
    stream = io.BytesIO()
    picture.save(stream, "jpeg", quality=JPEG_QUALITY, optimize=True)
    data = base64.b64encode(stream.getvalue()).decode("ascii")
    kind = f"{scan.modality} {scan.plane} {scan.window}"
    return (
        f'<figure data-modality="{_text(scan.modality)}" data-plane="{_text(scan.plane)}" '
        f'data-window="{_text(scan.window)}">'
        f'<img alt="{_text(kind)}" width="{picture.width}" height="{picture.height}" '
        f'loading="lazy" decoding="async" src="data:image/jpeg;base64,{data}">'
        f"<figcaption>{_text(kind)} <small>{_text(_facts(scan))}</small></figcaption></figure>"
    )


def _facts(scan: Scan) -> str:
    low, high = scan.window_limits
    shape = "x".join(map(str, scan.source_shape))
    spacing = "x".join(f"{value:.3g}" for value in scan.source_spacing_mm)
    flags = f", {' '.join(scan.flags)}" if scan.flags else ""
    return f"{low:.4g} to {high:.4g}, source {shape} of {spacing} mm{flags}"


def _said(study: Study) -> str:
    parts = []
    for variant, sentences in study.report.sentences.items():
        items = "".join(f'<li dir="auto">{_text(sentence)}</li>' for sentence in sentences)
        parts.append(f"<h3>{_text(variant)}</h3><ul>{items}</ul>")
    if not any(study.report.sentences.values()):
        parts.append("<p>no sentences</p>")
    if study.labels:
        known = ", ".join(f"{name} {value:g}" for name, value in sorted(study.labels.items()))
        parts.append(f"<p><small>labels: {_text(known)}</small></p>")
    if study.report.text:
        cut = "".join(f"<span>{_text(piece)}</span>" for piece in pieces(study.report.text))
        parts.append(f'<details><summary>report</summary><div dir="auto">{cut}</div></details>')
    return "\n".join(parts)


def _text(value: str) -> str:
    """For the content of an element, or of an attribute in double quotes. HTML would drop NULs."""
    return html.escape(composed(value).replace("\0", "\ufffd"), quote=True)


def _policy(style: str) -> str:
    """Of the page: pictures from inside it, this script, this style, nothing else."""
    script_hash, style_hash = (
        base64.b64encode(hashlib.sha256(part.encode("utf-8")).digest()).decode("ascii")
        for part in (SCRIPT, style)
    )
    return (
        f"default-src 'none'; img-src data:; script-src 'sha256-{script_hash}'; "
        f"style-src 'sha256-{style_hash}'; base-uri 'none'; form-action 'none'"
    )


_HEAD = """<!doctype html>
<html lang="en"><head><meta charset="utf-8">
<meta http-equiv="Content-Security-Policy" content="{policy}">
<meta name="viewport" content="width=device-width, initial-scale=1">
<meta name="referrer" content="no-referrer">
<link rel="icon" href="data:,">
<title>{title}</title>
<style>{style}</style>
</head><body>
<header><h1>{title}</h1>
<p>Radiological convention: the patient's right is on your left. Protected data: do not pass this
page on.</p>
</header>
{controls}
<main>
"""

_CONTROLS = """<form hidden>
<input type="search" name="text" autocomplete="off" spellcheck="false" aria-label="words"
 placeholder='words or a "phrase"' title="All in one sentence of a study, or of its report. Key: /">
<select name="modality" aria-label="modality"><option value="">any modality</option></select>
<select name="plane" aria-label="plane"><option value="">any plane</option></select>
<select name="window" aria-label="window"><option value="">any window</option></select>
<select name="split" aria-label="split"><option value="">any split</option></select>
<label><input type="checkbox" name="large"> large</label>
<button type="button" title="Key: Esc">clear</button>
<output aria-live="polite"></output>
<small>keys: / words, j k next and previous study, Esc clear</small>
</form>"""
