"""What commands on a pipeline share: the pipeline by its name, and how to print.

In: arguments. Out: their types, and lines that stay lines.
"""

from __future__ import annotations

from pathlib import Path
from typing import Annotated

import typer

Name = Annotated[
    str, typer.Argument(metavar="PIPELINE", help="Name of a pipeline in the configuration file.")
]
ConfigFile = Annotated[
    Path | None,
    typer.Option(
        "--config", "-c", help="File of pipelines; else pipelines.yaml here, or the program's own."
    ),
]
Overrides = Annotated[
    list[str],
    typer.Option(
        "--set", help="key=value, e.g. run=FOLDER or train.batch_size=32. May be repeated."
    ),
]
AsJson = Annotated[bool, typer.Option("--json", help="Print JSON.")]


def printable(line: str) -> str:
    """A line that stays one: file names, headers and reports may hold line breaks, or what a
    terminal takes for commands."""
    return "".join(c if c.isprintable() else c.encode("unicode_escape").decode() for c in line)
