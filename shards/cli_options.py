"""Arguments that several `shards` commands share, and how they print tables.

In: nothing, or rows. Out: typer annotations; a table as wide as the terminal, or 200 columns in a
pipe.
"""

from __future__ import annotations

from collections.abc import Iterable
from typing import Annotated

import typer
from rich.console import Console
from rich.table import Table

DatasetPath = Annotated[
    str, typer.Argument(metavar="DATASET", help="Folder or URL of a dataset.", show_default=False)
]
AsJson = Annotated[bool, typer.Option("--json", help="Print JSON instead of a table.")]
Split = Annotated[str | None, typer.Option(help="Only this split: train, valid or test.")]


def print_table(columns: Iterable[str], rows: Iterable[Iterable[object]]) -> None:
    """Print rows under their headings."""
    table = Table(box=None, header_style="bold")
    for column in columns:
        table.add_column(column, overflow="fold")
    for row in rows:
        table.add_row(*(str(value) for value in row))
    console = Console()
    if not console.is_terminal:
        console = Console(width=200)  # in a pipe nobody wants lines folded at 80 columns
    console.print(table, markup=False)
