"""`dicom2clip shards stats`: what a dataset is made of.

In: the folder or URL of a dataset. Out: a table, JSON, or a sheet of charts. Exit code 3 where
members could not be read.
"""

from __future__ import annotations

import json
from collections.abc import Iterator
from pathlib import Path
from typing import Annotated

import typer
from PIL import Image
from rich.console import Console

from shards import charts, stats
from shards.cli_options import AsJson, DatasetPath, Split, print_table
from shards.reader import Dataset
from shards.stats import Stats
from shards.tally import Tally
from study.errors import EXIT_REJECTED, UserError
from study.progress import Bars

TITLES = {"tables": "reading tables", "sentences": "reading sentences"}
SPREADS = {
    "scans_a_study": ("scans a study", ""),
    "source_spacing_mm_D": ("source spacing between slices", " mm"),
    "source_spacing_mm_H": ("source spacing along rows of the stored grid", " mm"),
    "stored_spacing_mm_D": ("stored spacing along D", " mm"),
    "stored_spacing_mm_H": ("stored spacing along H", " mm"),
    "source_slices": ("source slices a scan", ""),
    "age_years": ("age, years", ""),
    "report_chars": ("characters a report", ""),
}
"""What is charted of the tallies: title and unit."""
MOST_LISTED = 20
"""Groups of duplicates and unreadable members in the table; --json has all."""


def show_stats(
    dataset: DatasetPath,
    split: Split = None,
    tables_only: Annotated[
        bool,
        typer.Option(
            "--tables-only",
            help="Read no member: no lengths of sentences, no search for duplicates.",
        ),
    ] = False,
    plot: Annotated[
        Path | None, typer.Option(help="Also write a sheet of charts, a .png file.")
    ] = None,
    as_json: AsJson = False,
) -> None:
    """Scans a study, spacings, planes, windows, sentences, labels, duplicates, intensities."""
    if plot is not None and plot.suffix != ".png":
        raise UserError(f"--plot {plot}: the ending must be .png")
    if plot is not None and not plot.absolute().parent.is_dir():
        raise UserError(f"--plot {plot}: there is no folder {plot.parent}")
    opened = Dataset.open(dataset)
    with Bars(Console(stderr=True), TITLES) as bars:
        found = stats.gather(opened, split, tables_only=tables_only, on_progress=bars)
    if plot is not None:
        draw(found).save(plot)
    if as_json:
        typer.echo(json.dumps(found.facts(), sort_keys=True))
    else:
        print_table(("of", "what", "how many"), _lines(found))
        print_table(("of", "count", "mean", "min", "5 %", "median", "95 %", "max"), _spreads(found))
        _print_duplicates(found)
        for problem in found.unreadable[:MOST_LISTED]:
            typer.echo(f"unreadable: {problem}")
        if plot is not None:
            typer.echo(f"{plot}: charts")
    if found.unreadable:
        typer.echo(f"{len(found.unreadable)} members could not be read", err=True)
        raise typer.Exit(EXIT_REJECTED)


def draw(found: Stats) -> Image.Image:
    """The sheet of charts."""
    panels: list[charts.Panel] = [
        charts.Bars("studies by split", found.studies),
        charts.Bars("scans by modality and window", found.windows),
        charts.Bars("scans by plane", found.planes),
    ]
    for name, (title, unit) in SPREADS.items():
        if len(found.tallies.get(name, ())):
            panels.append(_spread(title, found.tallies[name], unit, name))
    for variant, counts in sorted(found.text.items()):
        for what, tally in (
            ("sentences a study", counts.sentences_a_study),
            ("words a sentence", counts.words_a_sentence),
        ):
            if len(tally):
                panels.append(_spread(f"{what}, {variant}", tally, "", what))
    known = {n: c.prevalence for n, c in found.labels.items() if c.prevalence is not None}
    if known:
        panels.append(charts.Bars("labels: share of positive studies", known, form=".3f"))
    if found.rejected:
        panels.append(charts.Bars("rejected studies by reason", found.rejected))
    if found.histograms:
        shares = {name: h / h.sum() for name, h in sorted(found.histograms.items())}
        panels.append(charts.Curves("share of voxels by stored value, all splits", shares))
    what = f", split {found.split}" if found.split else ""
    size = f"{found.studies.total():,} studies, {found.scans.total():,} scans"
    return charts.sheet(f"{found.name}{what}: {size}", panels)


def _spread(title: str, tally: Tally, unit: str, name: str) -> charts.Spread:
    values, counts = tally.values()
    return charts.Spread(title, values, counts, unit, stats.STEP_MM * 10 if "_mm_" in name else 1.0)


def _lines(found: Stats) -> Iterator[tuple[object, ...]]:
    for split, count in found.studies.items():
        yield "studies", split, f"{count:,}"
        yield "patients", split, f"{found.patients[split]:,}"
        yield "scans", split, f"{found.scans[split]:,}"
    yield "shards", "", f"{found.num_shards:,}"
    yield "MB", "stored", f"{found.bytes_stored / 1e6:,.1f}"
    yield "MB", "of arrays", f"{found.bytes_arrays / 1e6:,.1f}"
    yield "compression ratio", "", found.compression_ratio or "-"
    counted = {
        "scans of modality": found.modalities,
        "scans of plane": found.planes,
        "scans of window": found.windows,
        "scans with flag": found.flags,
        "rejected studies": found.rejected,
    }
    for what, counts in counted.items():
        for name, count in sorted(counts.items(), key=lambda item: (-item[1], item[0])):
            yield what, name, f"{count:,}"
    for label, known in sorted(found.labels.items()):
        share = "-" if known.prevalence is None else f"{known.prevalence:.3f}"
        positive = f"{known.positive:,} of {known.positive + known.negative:,}"
        unsure = f", {known.uncertain:,} uncertain" if known.uncertain else ""
        yield "label", label, f"{share} positive: {positive}{unsure}"


def _spreads(found: Stats) -> Iterator[tuple[object, ...]]:
    named = dict(found.tallies)
    for variant, counts in sorted(found.text.items()):
        named[f"sentences a study, {variant}"] = counts.sentences_a_study
        named[f"words a sentence, {variant}"] = counts.words_a_sentence
    for name, tally in named.items():
        summary = tally.summary()
        title = name.replace("_mm_", ", mm, ").replace("_", " ")
        yield (
            title,
            *(f"{value:,.4g}" if n else f"{value:,}" for n, value in enumerate(summary.values())),
        )


def _print_duplicates(found: Stats) -> None:
    if found.duplicates is None:
        typer.echo("duplicates: not looked for (--tables-only)")
        return
    across = sum(len(shared.splits) > 1 for shared in found.duplicates)
    leak = f", {across} of them across splits" if across else ""
    typer.echo(f"{len(found.duplicates)} groups of studies share scans{leak}")
    if found.duplicates:
        print_table(
            ("keys", "splits", "patients", "same source", "same pixels"),
            (
                (" ".join(s.keys), " ".join(s.splits), s.num_patients, s.same_source, s.same_pixels)
                for s in found.duplicates[:MOST_LISTED]
            ),
        )
        typer.echo(
            "same source: scans of the same source images, by their keyed digest; same pixels: "
            "scans of equal checksum and length whose voxels were then compared"
        )
    if len(found.duplicates) > MOST_LISTED:
        typer.echo(f"{MOST_LISTED} of {len(found.duplicates)} groups; --json lists all")
