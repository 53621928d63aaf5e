"""`dicom2clip shards preview`: pictures of a dataset.

In: a dataset, and which studies of it. Out: a contact sheet (PNG), or a page with filters (HTML).
"""

from __future__ import annotations

import os
import sys
from collections.abc import Iterable, Iterator
from pathlib import Path
from typing import Annotated

import typer
from rich.console import Console

from shards import page, preview
from shards.ahead import ahead
from shards.cli_options import DatasetPath, Split
from shards.index import SampleRef
from shards.reader import Dataset
from study.errors import UserError, naming
from study.progress import Bars


def make_preview(
    dataset: DatasetPath,
    keys: Annotated[
        list[str] | None,
        typer.Argument(help="Keys of studies, or their beginnings; - reads keys from a pipe."),
    ] = None,
    output: Annotated[
        Path, typer.Option("--output", "-o", help="File to write: .png or .html.")
    ] = Path("preview.png"),
    split: Split = None,
    limit: Annotated[int, typer.Option(min=1, help="Studies to show when no keys are given.")] = 8,
    slices: Annotated[
        int, typer.Option(min=1, max=9, help="Slices of every scan.")
    ] = preview.SLICES,
    tile: Annotated[
        int | None,
        typer.Option(
            min=32,
            max=1024,
            help=f"Pixels a slice; {preview.TILE} in a sheet, {page.TILE} in a page.",
            show_default=False,
        ),
    ] = None,
) -> None:
    """Show pictures of every scan, with the sentences: a contact sheet or a page.

    Middle slices in radiological convention: a contact sheet, or a page that filters by words,
    modality, plane, window and split."""
    opened = Dataset.open(dataset)
    if output.suffix not in (".png", ".html"):
        raise UserError(f"--output {output}: the ending must be .png or .html")
    if not output.parent.is_dir():
        raise UserError(f"--output {output}: there is no folder {output.parent}")
    if keys == ["-"]:
        keys = sys.stdin.read().split()
        if not keys:
            raise UserError("-: no keys came from the pipe")
    refs = _named(opened, keys) if keys else list(opened.samples(split)[:limit])
    with Bars(Console(stderr=True), {"preview": "studies"}) as bars:
        counted = _counted(refs, bars)
        if output.suffix == ".png":
            studies = (opened.read_study(ref) for ref in counted)
            sheet = preview.contact_sheet(studies, tile=tile or preview.TILE, slices=slices)
            with naming(output):
                sheet.save(output)
        else:
            title = f"{opened.info.name}: {len(refs)} of {len(opened)} studies"
            sections = _sections(opened, counted, tile or page.TILE, slices)
            with naming(output):
                _write(output, page.html_page(sections, title=title, slices=slices))
    typer.echo(f"{output}: {len(refs)} studies, patient's right on the viewer's left")


def _named(opened: Dataset, keys: Iterable[str]) -> list[SampleRef]:
    whole = {ref.key: ref for ref in opened.samples()}
    return [whole.get(key) or opened.find(key) for key in dict.fromkeys(keys)]


def _counted(refs: list[SampleRef], bars: Bars) -> Iterator[SampleRef]:
    for number, ref in enumerate(refs):
        bars("preview", number, len(refs))
        yield ref
    bars("preview", len(refs), len(refs))


def _sections(opened: Dataset, refs: Iterable[SampleRef], tile: int, slices: int) -> Iterator[str]:
    """A study a thread: reading, resizing and JPEG all let go of Python's lock."""
    threads = os.cpu_count() or 1

    def section(ref: SampleRef) -> str:
        return page.study_section(opened.read_study(ref), tile=tile, slices=slices)

    return ahead(section, refs, threads=threads, window=2 * threads)


def _write(output: Path, parts: Iterable[str]) -> None:
    """The whole page or nothing: it is written beside its place and then put there."""
    unfinished = output.with_name(f".{output.name}.{os.getpid()}.tmp")
    try:
        with unfinished.open("w", encoding="utf-8") as stream:
            stream.writelines(parts)
        unfinished.replace(output)
    finally:
        unfinished.unlink(missing_ok=True)
