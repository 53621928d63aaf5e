"""`dicom2clip shards verify`: is a dataset intact.

In: the folder of a dataset. Out: problems; exit code 3 where there are any.
"""

from __future__ import annotations

import json
from dataclasses import asdict

import typer
from rich.console import Console
from rich.progress import track

from shards import verify
from shards.cli_options import AsJson, DatasetPath
from shards.reader import Dataset
from study.errors import EXIT_REJECTED


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
