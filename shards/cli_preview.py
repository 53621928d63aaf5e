"""`dicom2clip shards preview`: pictures of a dataset.

In: the folder of a dataset. Out: a contact sheet, PNG or HTML.
"""

from __future__ import annotations

from pathlib import Path
from typing import Annotated

import typer

from shards import preview
from shards.cli_options import DatasetPath, Split
from shards.reader import Dataset
from study.errors import UserError


def make_preview(
    dataset: DatasetPath,
    keys: Annotated[
        list[str] | None, typer.Argument(help="Keys of studies, or their beginnings.")
    ] = None,
    output: Annotated[
        Path, typer.Option("--output", "-o", help="File to write: .png or .html.")
    ] = Path("preview.png"),
    split: Split = None,
    limit: Annotated[int, typer.Option(min=1, help="Studies to show when no keys are given.")] = 8,
    slices: Annotated[
        int, typer.Option(min=1, max=9, help="Slices of every scan.")
    ] = preview.SLICES,
    tile: Annotated[int, typer.Option(min=32, max=1024, help="Pixels a slice.")] = preview.TILE,
) -> None:
    """Make a contact sheet: middle slices of every scan in radiological convention, with the
    sentences."""
    opened = Dataset.open(dataset)
    if output.suffix not in (".png", ".html"):
        raise UserError(f"--output {output}: the ending must be .png or .html")
    if not output.parent.is_dir():
        raise UserError(f"--output {output}: there is no folder {output.parent}")
    refs = [opened.find(key) for key in keys] if keys else opened.samples(split)[:limit]
    studies = (opened.read_study(ref) for ref in refs)
    if output.suffix == ".png":
        preview.contact_sheet(studies, tile=tile, slices=slices).save(output)
    else:
        page = preview.html_page(
            studies, title=f"{opened.info.name}: {len(refs)} studies", tile=tile, slices=slices
        )
        output.write_text(page, encoding="utf-8")
    typer.echo(f"{output}: {len(refs)} studies, patient's right on the viewer's left")
