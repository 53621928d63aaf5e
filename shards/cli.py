"""`dicom2clip shards`: looking into a dataset from the terminal.

In: the folder of a dataset. Out: tables for people, `--json` for programs, pictures.
"""

from __future__ import annotations

import json
from collections.abc import Iterable
from dataclasses import asdict
from pathlib import Path
from typing import Annotated, Any

import typer
from rich.console import Console
from rich.progress import track
from rich.table import Table

from shards import layout, preview, verify
from shards.reader import Dataset
from study.errors import EXIT_REJECTED, UserError

app = typer.Typer(
    help="Look into a dataset: what is in it, does it look right, is it intact.",
    no_args_is_help=True,
)

DatasetPath = Annotated[
    Path, typer.Argument(metavar="DATASET", help="Folder of a dataset.", show_default=False)
]
AsJson = Annotated[bool, typer.Option("--json", help="Print JSON instead of a table.")]
Split = Annotated[str | None, typer.Option(help="Only this split: train, valid or test.")]


@app.command("ls")
def list_studies(
    dataset: DatasetPath,
    split: Split = None,
    rejected: Annotated[
        bool, typer.Option("--rejected", help="Rejected studies, with their reasons.")
    ] = False,
    limit: Annotated[int, typer.Option(min=0, help="At most so many studies; 0 lists all.")] = 0,
    as_json: AsJson = False,
) -> None:
    """List studies, one a line."""
    opened = Dataset.open(dataset)
    current = {(ref.key, ref.shard) for ref in opened.samples(split)}
    rows = [
        row
        for row in opened.table().to_pylist(maps_as_pydicts="strict")
        if (
            row["status"] == "rejected" and split in (None, row["split"])
            if rejected
            else (row["key"], row["shard"]) in current
        )
    ]
    shown = rows[:limit] if limit else rows
    if as_json:
        for row in shown:
            typer.echo(json.dumps(row, sort_keys=True))
        return
    if rejected:
        _print_table(
            ("key", "split", "shard", "reason"),
            ((r["key"], r["split"], r["shard"], r["reason"]) for r in shown),
        )
    else:
        columns = (
            "key",
            "split",
            "shard",
            "scans",
            "modality",
            "planes",
            "windows",
            "sentences",
            "MB",
        )
        _print_table(columns, (_line(row) for row in shown))
    if len(shown) < len(rows):
        typer.echo(f"{len(shown)} of {len(rows)} studies")


@app.command()
def info(dataset: DatasetPath, as_json: AsJson = False) -> None:
    """Counts, settings and provenance of a dataset."""
    opened = Dataset.open(dataset)
    facts = opened.info.model_dump(mode="json")
    if as_json:
        typer.echo(json.dumps(facts, sort_keys=True))
        return
    lines: list[tuple[str, str]] = [("path", str(dataset))]
    for name, value in facts.items():
        if name in ("settings", "histograms"):
            continue
        if isinstance(value, dict):
            lines += [(f"{name}: {part}", _short(inner)) for part, inner in value.items()]
        else:
            lines.append((name, _short(value)))
    _print_table(("fact", "value"), lines)


@app.command()
def show(
    dataset: DatasetPath,
    key: Annotated[str, typer.Argument(help="Key of a study, or its beginning.")],
    as_json: AsJson = False,
) -> None:
    """Print one study: its scans, sentences and labels."""
    opened = Dataset.open(dataset)
    ref = opened.find(key)
    meta = opened.metadata(ref)
    if as_json:
        typer.echo(json.dumps({**meta, "shard": ref.shard}, sort_keys=True))
        return
    place = f"patient {meta['patient']}, shard {layout.shard_stem(ref.shard)}"
    facts = f"{meta['key']}  {meta['split']}, {place}"
    known = [f"{meta['age_years']} years" if meta["age_years"] is not None else "", meta["sex"]]
    typer.echo(", ".join([facts, *(fact for fact in known if fact)]))
    _print_table(
        (
            "scan",
            "modality",
            "plane",
            "window",
            "limits",
            "shape",
            "spacing mm",
            "source",
            "source mm",
            "flags",
        ),
        (_scan_line(scan) for scan in meta["scans"]),
    )
    for variant, sentences in meta["report"]["sentences"].items():
        typer.echo(f"sentences, {variant}:")
        for sentence in sentences:
            typer.echo(f"  - {sentence}")
    for label, value in sorted(meta["labels"].items()):
        typer.echo(f"label {label}: {value:g}")


@app.command("preview")
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


@app.command("verify")
def verify_dataset(dataset: DatasetPath, as_json: AsJson = False) -> None:
    """Check every byte: checksums, schema, decoding, and that index and shards agree. Exit code 3
    on problems."""
    opened = Dataset.open(dataset)
    console = Console(stderr=True)
    total = len(verify.shard_numbers(opened))
    steps = track(
        verify.verify_shards(opened),
        "verifying",
        total=total,
        console=console,
        transient=True,
        disable=not console.is_terminal,
    )
    problems = [problem for _, found in steps for problem in found]
    if as_json:
        facts = {"shards": total, "studies": len(opened)}
        typer.echo(json.dumps({**facts, "problems": [asdict(problem) for problem in problems]}))
    else:
        for problem in problems:
            typer.echo(f"{problem.where}: {problem.what}")
        typer.echo(f"{total} shards, {len(opened)} studies: {len(problems) or 'no'} problems")
    if problems:
        raise typer.Exit(EXIT_REJECTED)


def _line(row: dict[str, Any]) -> tuple[object, ...]:
    said = ", ".join(f"{count} {variant}" for variant, count in row["num_sentences"].items())
    kinds = (" ".join(row[name]) for name in ("modalities", "planes", "windows"))
    megabytes = f"{row['bytes'] / 1e6:.1f}"
    return (row["key"][:12], row["split"], row["shard"], row["num_scans"], *kinds, said, megabytes)


def _scan_line(scan: dict[str, Any]) -> tuple[object, ...]:
    return (
        scan["member"],
        scan["modality"],
        scan["plane"],
        scan["window"],
        " to ".join(f"{value:.5g}" for value in scan["window_limits"]),
        "x".join(str(size) for size in scan["shape"]),
        "x".join(f"{value:.3g}" for value in scan["spacing_mm"]),
        "x".join(str(size) for size in scan["source_shape"]),
        "x".join(f"{value:.3g}" for value in scan["source_spacing_mm"]),
        " ".join(scan["flags"]),
    )


def _short(value: Any) -> str:
    if isinstance(value, dict):
        return ", ".join(f"{name} {inner}" for name, inner in value.items())
    return "x".join(str(part) for part in value) if isinstance(value, list) else str(value)


def _print_table(columns: Iterable[str], rows: Iterable[Iterable[object]]) -> None:
    table = Table(box=None, header_style="bold")
    for column in columns:
        table.add_column(column, overflow="fold")
    for row in rows:
        table.add_row(*(str(value) for value in row))
    console = Console()
    if not console.is_terminal:
        console = Console(width=200)  # in a pipe nobody wants lines folded at 80 columns
    console.print(table, markup=False)
