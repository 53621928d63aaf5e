"""`dicom2clip shards verify`: is a dataset intact.

In: the folder or URL of a dataset, damaged or not. Out: problems; exit code 3 where there are any.
"""

from __future__ import annotations

import json
import os
import time
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import asdict
from typing import Annotated

import typer
from rich.console import Console
from rich.progress import (
    BarColumn,
    DownloadColumn,
    Progress,
    TextColumn,
    TimeRemainingColumn,
    TransferSpeedColumn,
)

from shards import verify
from shards.cli_options import AsJson, DatasetPath
from study.errors import EXIT_REJECTED

Jobs = Annotated[int, typer.Option("--jobs", "-j", min=1, help="Shards read at a time.")]


def verify_dataset(
    dataset: DatasetPath, jobs: Jobs = os.cpu_count() or 1, as_json: AsJson = False
) -> None:
    """Check every byte: checksums, schema, decoding, and that tars, tables, index and counts agree.

    Exit code 3 on problems."""
    started = time.monotonic()
    with byte_bar("verifying") as progress:
        report = verify.verify(dataset, jobs, progress)
    seconds = time.monotonic() - started
    if as_json:
        typer.echo(json.dumps({**asdict(report), "seconds": round(seconds, 3)}))
    else:
        for note in report.notes:
            typer.echo(f"{note}: left alone")
        for problem in report.problems:
            typer.echo(str(problem))
        rate = report.bytes / 1e6 / max(seconds, 1e-9)
        typer.echo(
            f"{report.shards} shards, {report.samples} samples, {report.bytes / 1e6:,.0f} MB "
            f"({rate:,.0f} MB/s): {len(report.problems) or 'no'} problems"
        )
        if report.problems:
            typer.echo(f"`dicom2clip shards repair {dataset}` mends what can be mended")
    if report.problems:
        raise typer.Exit(EXIT_REJECTED)


@contextmanager
def byte_bar(title: str) -> Iterator[verify.Progress]:
    """A bar of bytes with rate and time left; silent where the output is not a terminal."""
    console = Console(stderr=True)
    bar = Progress(
        TextColumn("{task.description}"),
        BarColumn(),
        DownloadColumn(),
        TransferSpeedColumn(),
        TimeRemainingColumn(),
        console=console,
        transient=True,
        disable=not console.is_terminal,
    )
    with bar:
        task = bar.add_task(title)

        def advance(done: int, total: int) -> None:
            bar.update(task, completed=done, total=total)

        yield advance
