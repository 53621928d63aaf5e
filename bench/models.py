"""The table of docs/models.md: what every named model costs, by its sizes alone.

In: nothing. Out: the table, printed, or put into the page with --write.

    python bench/models.py [--write]
"""

from __future__ import annotations

import argparse
import sys
from pathlib import Path

sys.path.insert(0, str(Path(__file__).resolve().parents[1]))

import torch

from train.clip import MODELS, build, recipe_named
from train.cost import STATE_BYTES, encoder_parameters, study_cost
from train.presets import CHEST_GRID
from train.variant import EncoderConfig

PAGE = Path(__file__).resolve().parents[1] / "docs" / "models.md"
BEGIN, END = "<!-- table: bench/models.py --write -->\n", "<!-- end of table -->\n"
SCANS, DROPPED = 8, 0.5
"""Of a study of a head, and what a training step leaves out of it: HLIP's recipe. A study of a
chest is one scan."""
HEAD = (
    "| model | blocks attend within | patch | tokens a scan | image, text parameters (M) "
    "| GFLOP a study: all, half | training state (GB) | activations a study (GB): all, half |\n"
    "|---|---|---|---|---|---|---|---|\n"
)


def table() -> str:
    """Rows in order of name: ours, then HLIP's."""
    ours = [name for name in MODELS if name.startswith(("dicom2clip", "hlip"))]
    return HEAD + "".join(_row(name) for name in ours + [m for m in MODELS if m not in ours])


def _row(name: str) -> str:
    recipe = recipe_named(name)
    encoder = recipe.encoder
    with torch.device("meta"):
        clip = build(recipe, device="meta")
    text = sum(p.numel() for p in clip.text.parameters())
    learned = sum(p.numel() for p in clip.parameters() if p.requires_grad)
    scans = 1 if encoder.img_size == CHEST_GRID else SCANS
    every, half = study_cost(encoder, scans), study_cost(encoder, scans, DROPPED)
    patch = " x ".join(map(str, encoder.patch_size))
    return (
        f"| `{name}` | {_levels(encoder)} | {patch} | {encoder.tokens_per_scan:,} "
        f"| {encoder_parameters(encoder) / 1e6:.1f}, {text / 1e6:.1f} "
        f"| {_short(every.forward_flop / 1e9)}, {_short(half.forward_flop / 1e9)} "
        f"| {learned * STATE_BYTES / 1e9:.1f} "
        f"| {_short(every.saved_bytes / 1e9)}, {_short(half.saved_bytes / 1e9)} |\n"
    )


def _short(value: float) -> str:
    """Three digits of a small number, all of a large one."""
    return f"{value:,.0f}" if value >= 100 else f"{value:.3g}"


def _levels(encoder: EncoderConfig) -> str:
    order = ("slice", "scan", "study")
    return ", ".join(level for level in order if level in encoder.levels)


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--write", action="store_true", help="put the table into docs/models.md")
    if not parser.parse_args().write:
        print(table(), end="")
        return
    page = PAGE.read_text(encoding="utf-8")
    before, rest = page.split(BEGIN)
    PAGE.write_text(before + BEGIN + table() + END + rest.split(END)[1], encoding="utf-8")


if __name__ == "__main__":
    main()
