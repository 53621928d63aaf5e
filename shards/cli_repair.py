"""`dicom2clip shards repair`: make a damaged dataset whole again.

In: the folder or URL of a dataset. Out: what was found, done and lost; exit code 3 where something
is lost.
"""

from __future__ import annotations

import json
import os
from dataclasses import asdict
from typing import Annotated

import typer

from shards import repair
from shards.cli_options import AsJson, DatasetPath
from shards.cli_verify import Jobs, byte_bar
from study.errors import EXIT_REJECTED

DryRun = Annotated[bool, typer.Option("--dry-run", help="Only say what would be done.")]
Aside = Annotated[
    str | None,
    typer.Option(
        "--quarantine", help="Folder or URL for damaged samples; DATASET/quarantine if not given."
    ),
]


def repair_dataset(
    dataset: DatasetPath,
    dry_run: DryRun = False,
    aside: Aside = None,
    jobs: Jobs = os.cpu_count() or 1,
    as_json: AsJson = False,
) -> None:
    """Mend a damaged dataset: write its books anew, and take damaged samples out.

    Tables, commit records, index and the other books are written anew where they do not agree with
    the tars. An intact dataset keeps every byte. Nobody may write into it meanwhile. Exit code 3
    where something is lost."""
    with byte_bar("looking for damage") as progress:
        made = repair.repair(dataset, aside=aside, dry_run=dry_run, jobs=jobs, progress=progress)
    if as_json:
        typer.echo(json.dumps({**asdict(made), "dry_run": dry_run}))
    else:
        for problem in made.problems:
            typer.echo(f"found: {problem}")
        for line in made.done:
            typer.echo(f"{'would do' if dry_run else 'done'}: {line}")
        for line in made.lost:
            typer.echo(f"lost: {line}")
        if made.quarantine and not dry_run:
            typer.echo(f"damaged bytes lie in {made.quarantine}")
        if not made.done:
            typer.echo("nothing to do: the dataset is intact")
    if made.lost:
        raise typer.Exit(EXIT_REJECTED)
