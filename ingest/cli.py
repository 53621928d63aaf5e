"""`dicom2clip ingest`: what became of the files of a pipeline.

In: a pipeline's name. Out: tables for people, or JSON.
"""

from __future__ import annotations

import json
from pathlib import Path
from typing import Annotated

import typer
from rich.console import Console
from rich.table import Table

from ingest import ledger
from study.config import Pipeline, default_file, load_pipeline
from study.errors import UserError
from study.records import FAILURE_REASONS

app = typer.Typer(no_args_is_help=True, help="Look into an ingestion: what became of every file.")

Name = Annotated[
    str, typer.Argument(metavar="PIPELINE", help="Name of a pipeline in the configuration file.")
]
ConfigFile = Annotated[Path, typer.Option("--config", "-c", help="File of pipelines.")]
Overrides = Annotated[
    list[str], typer.Option("--set", help="key=value, e.g. run=FOLDER. May be repeated.")
]
AsJson = Annotated[bool, typer.Option("--json", help="Print JSON.")]


def _ledger(pipeline: Pipeline) -> list[ledger.LedgerRow]:
    file = Path(pipeline.run) / "ledger.parquet"
    if not file.exists():
        raise UserError(
            f"there is no {file}: pipeline {pipeline.name} has not been ingested yet; "
            f"run `dicom2clip run {pipeline.name} --stage ingest`"
        )
    return ledger.read(file)


@app.command()
def status(
    name: Name,
    config: ConfigFile | None = None,
    overrides: Overrides = [],
    as_json: AsJson = False,
) -> None:
    """Sums of the ledger: images by status and by reason."""
    rows = _ledger(load_pipeline(config or default_file(), name, overrides))
    sums = ledger.sums(rows)
    if as_json:
        typer.echo(json.dumps(sums.as_json()))
        return
    table = Table(title=f"{sums.files} files, {sums.images} images", title_justify="left")
    table.add_column("status or reason")
    table.add_column("images", justify="right")
    for state, count in sums.by_status.items():
        table.add_row(state, f"{count:,}", style="bold")
    for reason, count in sums.by_reason.items():
        table.add_row(f"  {reason}", f"{count:,}")
    Console().print(table)


@app.command()
def failed(
    name: Name,
    config: ConfigFile | None = None,
    overrides: Overrides = [],
    as_json: AsJson = False,
) -> None:
    """Files that were rejected because something is damaged or cannot be read, with the reason."""
    rows = _ledger(load_pipeline(config or default_file(), name, overrides))
    bad = [row for row in rows if row.reason in FAILURE_REASONS]
    if as_json:
        facts = [
            {"path": r.path, "frame": r.frame, "reason": r.reason, "detail": r.detail} for r in bad
        ]
        typer.echo(json.dumps(facts))
        return
    for row in bad:
        typer.echo(f"{row.reason}  {row.path}  {row.detail}")
    typer.echo(f"{len(bad)} of {len(rows)} images failed")
