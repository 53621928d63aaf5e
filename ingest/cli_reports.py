"""`dicom2clip ingest reports`: how reports and studies met, or one report beside its sentences.

In: a pipeline's name, and perhaps a study. Out: tables for people, or JSON.
"""

from __future__ import annotations

import json
from collections.abc import Mapping
from itertools import islice
from pathlib import Path
from typing import Annotated

import typer
from rich.console import Console
from rich.table import Table
from rich.text import Text

from ingest import part_texts, report_view, scrub
from ingest.cli_options import AsJson, ConfigFile, Name, Overrides, printable
from ingest.report_join import JoinCounts, Outcome, RowStatus
from ingest.report_view import StudyReport, Variant
from study.config import default_file, load_pipeline

MEANINGS = {
    "rows": "rows",
    "joined": "studies that have one",
    "missing": "studies with scans that have none",
    "surplus": "rows whose study is not among the images",
    "duplicate": "rows that say what another of their study says",
    "superseded": "rows in whose place another of their study counts",
    "ambiguous": "rows of several studies, or that contradict others of theirs",
    "empty": "rows that say nothing",
    "broken": "rows that cannot be read, or do not say whose they are",
}


def reports(
    name: Name,
    study: Annotated[
        str, typer.Argument(metavar="STUDY_UID|KEY", help="A study; else all of them, counted.")
    ] = "",
    status: Annotated[
        list[RowStatus],
        typer.Option("--status", help="List the rows that became this. May be repeated."),
    ] = [],
    limit: Annotated[int, typer.Option(min=1, help="Rows listed of each table.")] = 100,
    config: ConfigFile = None,
    overrides: Overrides = [],
    as_json: AsJson = False,
) -> None:
    """How reports and labels met the studies; or one report beside its sentences.

    With what was left out of it, and why."""
    run = Path(load_pipeline(config or default_file(), name, overrides).run)
    if study:
        shown = report_view.report_of(run, study)
        if as_json:
            typer.echo(json.dumps(shown.as_json()))
        else:
            _print_study(shown)
        return
    counts, cut = report_view.counts_in(run), report_view.scrubbed_in(run)
    rows = {
        table: list(islice(report_view.rows_in(run, table, status), limit) if status else ())
        for table in counts
    }
    if as_json:
        facts = {
            table: {**found.as_json(), "listed": [row._asdict() for row in rows[table]]}
            for table, found in counts.items()
        }
        if part_texts.REPORTS in facts:
            facts[part_texts.REPORTS]["scrubbed"] = cut
        typer.echo(json.dumps(facts))
        return
    for table, found in counts.items():
        _print_counts(table, found)
        if table == part_texts.REPORTS and cut:
            typer.echo(scrub.in_words(cut))
        for row in rows[table]:
            typer.echo(printable(_line(row)))
    if not counts:
        typer.echo(f"pipeline {name} has neither reports nor labels")


def _print_counts(table: str, counts: JoinCounts) -> None:
    grid = Table(title=table, title_justify="left")
    grid.add_column("")
    grid.add_column("count", justify="right")
    for fact, meaning in MEANINGS.items():
        count = getattr(counts, fact)
        if count or fact in ("rows", "joined", "missing"):
            grid.add_row(meaning, f"{count:,}")
    Console().print(grid)


def _line(row: Outcome) -> str:
    place = f"{row.file}, line {row.line}" if row.line else row.file
    whose = row.key if row.key == row.study_uid else f"{row.key} {row.study_uid}".strip()
    parts = [str(row.status), place, whose, row.reason]
    return "  ".join(part for part in parts if part)


def _print_study(found: StudyReport) -> None:
    typer.echo(printable(f"study {found.key} ({found.study_uid}), {found.split}"))
    if found.reason:
        typer.echo(f"rejected: {found.reason}")
    for row in found.rows:
        typer.echo(printable(_line(_without_key(row))))
    grid = Table(show_lines=True)
    grid.add_column("report (scrubbed)", ratio=1, overflow="fold")
    for variant in found.variants:
        grid.add_column(_heading(variant), ratio=1, overflow="fold")
    cells = [_text(found.report.splitlines())]
    for variant in found.variants:
        numbered = [f"{n}. {sentence}" for n, sentence in enumerate(variant.sentences, start=1)]
        cells.append(_text(numbered))
    grid.add_row(*cells)
    if any(variant.left_out for variant in found.variants):
        dropped = [
            _text([f"- {piece.text} ({piece.reason})" for piece in variant.left_out])
            for variant in found.variants
        ]
        grid.add_row(Text("left out:"), *dropped)
    Console().print(grid)
    if found.scrubbed:
        typer.echo(scrub.in_words(found.scrubbed))
    if found.labels:
        said = ", ".join(f"{name} {value:g}" for name, value in sorted(found.labels.items()))
        typer.echo(printable(f"labels: {said}"))
    for label_set, votes in found.votes.items():
        told = ", ".join(f"{label} {_vote(vote)}" for label, vote in votes.items())
        typer.echo(printable(f"  {label_set}: {told}"))


def _vote(vote: str | Mapping[str, str]) -> str:
    """What the rules said of a label, or every model."""
    if isinstance(vote, str):
        return vote
    return "(" + ", ".join(f"{model}: {answer}" for model, answer in vote.items()) + ")"


def _heading(variant: Variant) -> str:
    if variant.failure:
        return f"{variant.name}: no answer ({variant.failure})"
    flag = ", flagged" if variant.flagged else ""
    return f"{variant.name}: {len(variant.sentences)} sentences{flag}"


def _without_key(row: Outcome) -> Outcome:
    """A row whose study is told above."""
    return row._replace(study_uid="", key="" if row.key == row.study_uid else row.key)


def _text(lines: list[str]) -> Text:
    """Lines as they are, without rich's markup."""
    return Text("\n".join(map(printable, lines)))
