"""`dicom2clip agreement`: how far two tables of labels agree, for the terminal and as JSON."""

from __future__ import annotations

import json
import math
from pathlib import Path
from typing import Annotated

import typer
from rich import box
from rich.console import Console
from rich.markup import escape
from rich.table import Table

from eval.agreement import METRICS, THRESHOLD, Agreement, agreement
from eval.label_table import LabelTable, read_label_tables
from eval.scores import Score
from study.errors import UserError

TITLES = {"auc": "AUC", "kappa": "kappa", "sensitivity": "sens.", "specificity": "spec."}
SUMMARY = ("auc", "kappa")


def agreement_command(
    table: Annotated[
        Path,
        typer.Argument(metavar="TABLE", help="Labels to judge: CSV or Parquet, a row a study."),
    ],
    reference: Annotated[
        Path, typer.Argument(metavar="REFERENCE", help="Labels that are taken as true, likewise.")
    ],
    key: Annotated[
        str, typer.Option(help="Column that names the study in both; else the first they share.")
    ] = "",
    patient: Annotated[
        str, typer.Option(help="Column that names the patient, by whom intervals are drawn.")
    ] = "",
    label: Annotated[
        list[str], typer.Option(help="Compare only this label. May be repeated.")
    ] = [],
    threshold: Annotated[
        float,
        typer.Option(
            min=0.0, max=1.0, help="Above it a value of TABLE is a yes; 0.5 is uncertain."
        ),
    ] = THRESHOLD,
    bootstrap: Annotated[
        int, typer.Option(min=0, help="Resamples for the 95 % intervals; 0 gives none.")
    ] = 1000,
    seed: Annotated[int, typer.Option(help="Of the resamples.")] = 0,
    as_json: Annotated[bool, typer.Option("--json", help="Print one JSON object.")] = False,
) -> None:
    """Compare labels with a reference: AUC, kappa, sensitivity and specificity by label."""
    ours, theirs = read_label_tables(table, reference, key=key, patient=patient, labels=label)
    found = agreement(
        ours.rows,
        theirs.rows,
        threshold=threshold,
        patients={**ours.patients, **theirs.patients},
        resamples=bootstrap,
        seed=seed,
    )
    if not found.studies:
        raise UserError(
            f"{table} and {reference} have no {ours.key} in common; for example "
            f"{next(iter(ours.rows), 'none')!r} and {next(iter(theirs.rows), 'none')!r}"
        )
    if not found.labels:
        raise UserError(f"{table} and {reference} have no column of labels in common")
    if as_json:
        left_out = {"table": ours.left_out, "reference": theirs.left_out}
        facts = {"key": ours.key, **found.as_json(), "columns_left_out": left_out}
        typer.echo(json.dumps(facts, allow_nan=False))
        return
    _print(found, ours, theirs)


def _print(found: Agreement, ours: LabelTable, theirs: LabelTable) -> None:
    console = Console(highlight=False, soft_wrap=True)
    title = escape(f"{ours.file.name} against {theirs.file.name}")
    shown = Table(title=title, box=box.SIMPLE, padding=0)
    shown.add_column("label", min_width=16)
    for name in ("studies", "ref. yes", "yes", "unsure", *(TITLES[name] for name in METRICS)):
        shown.add_column(name, justify="right")
    for row in found.labels:
        counts = (row.compared, row.positive, row.called, row.uncertain)
        cells = [_words(name, row.scores[name]) for name in METRICS]
        shown.add_row(escape(row.label), *(f"{count:,}" for count in counts), *cells)
    shown.add_section()
    shown.add_row("mean", "", "", "", "", *(_words(n, found.intervals[n]) for n in METRICS))
    console.print(shown)
    console.print(
        f"{found.studies:,} studies in both; {found.only_predicted:,} only in {ours.file.name}, "
        f"{found.only_reference:,} only in {theirs.file.name}; yes is above {found.threshold:g}"
    )
    for what, names in (
        (f"labels only in {ours.file.name}", found.labels_only_predicted),
        (f"labels only in {theirs.file.name}", found.labels_only_reference),
        (f"no labels in {ours.file.name}", ours.left_out),
        (f"no labels in {theirs.file.name}", theirs.left_out),
    ):
        if names:
            console.print(f"{what}: {escape(', '.join(names))}")
    for name in METRICS:
        if found.macro[name].left_out:
            rest = ", ".join(found.macro[name].left_out)
            console.print(f"mean {TITLES[name]} is without {escape(rest)}, where it is not defined")
    for row in found.labels:
        if row.open or row.unknown:
            console.print(
                f"{escape(row.label)}: {row.open:,} left open by the reference, "
                f"{row.unknown:,} unknown to one"
            )


def _words(metric: str, score: Score) -> str:
    """A score, with its interval for those that sum a label up; all intervals are in the JSON."""
    if math.isnan(score.value):
        return "-"
    if math.isnan(score.low) or metric not in SUMMARY:
        return f"{score.value:.3f}"
    return f"{score.value:.3f}\n{score.low:.2f}-{score.high:.2f}"
