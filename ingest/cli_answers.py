"""`dicom2clip ingest summarize|label`: reports to sentences and labels, before anything else.

In: a pipeline with summarizers or labelers. Out: paid answers in the run folder, sentences and
labels beside the reports, and what it came to: lines for people, or JSON.
"""

from __future__ import annotations

import json
from collections.abc import Callable, Iterator, Mapping
from pathlib import Path
from typing import Annotated, Any

import typer
from rich.console import Console
from rich.table import Table

from ingest import answers, live, versions
from ingest.answers import Asking
from ingest.cli_options import AsJson, ConfigFile, Name, Overrides
from ingest.label_set import Answer
from ingest.llm_cost import money
from ingest.llm_spent import Spent
from ingest.ready import answered, asked, grouped_in
from study.config import Pipeline, default_file, load_pipeline
from study.errors import EXIT_DONE, EXIT_REJECTED, UserError
from study.progress import Bars

DryRun = Annotated[bool, typer.Option("--dry-run", help="Say what it would cost, and ask nothing.")]
Limit = Annotated[
    int | None, typer.Option("--limit", min=1, help="Ask about so many reports at most.")
]
MaxCost = Annotated[
    float | None,
    typer.Option(
        "--max-cost",
        min=0,
        help="Of this run, for each model, in the currency of the prices: refused before the first "
        "request where the estimate is over it, ended where the bill reaches it.",
    ),
]
RetryFailed = Annotated[
    bool, typer.Option("--retry-failed", help="Ask again what was refused or malformed before.")
]
NewVersion = Annotated[
    bool,
    typer.Option("--new-version", help="As of `run`: for the dataset that these settings ask for."),
]


def summarize(
    name: Name,
    variant: Annotated[
        list[str], typer.Option("--variant", help="Only this one. May be repeated.")
    ] = [],
    dry_run: DryRun = False,
    limit: Limit = None,
    max_cost: MaxCost = None,
    retry_failed: RetryFailed = False,
    new_version: NewVersion = False,
    config: ConfigFile = None,
    overrides: Overrides = [],
    as_json: AsJson = False,
) -> None:
    """Have language models turn the scrubbed reports into sentences, and check these against them.

    What is answered is paid once and kept; `run` takes it from there. Exit code 3: some reports
    have no answer."""
    pipeline = _pipeline(load_pipeline(config or default_file(), name, overrides), new_version)
    if not pipeline.ingest.summarizers:
        raise UserError(
            f"pipeline {name} has no ingest.summarizers; the rule-based summariser needs no run of "
            "its own"
        )
    known = [summarizer.variant for summarizer in pipeline.ingest.summarizers]
    wanted = _among(known, variant, "--variant")
    chosen = [asking for asking in answers.askings(pipeline.ingest) if asking.name in wanted]
    how = _how(dry_run, limit, max_cost, retry_failed)
    spent, counts = _ask(pipeline, chosen, how, as_json)
    found = {n: c for n, c in counts.get("summaries", {}).items() if n in wanted}
    _tell(spent, found, how, as_json, _sentences_said)


def label(
    name: Name,
    label_set: Annotated[
        list[str], typer.Option("--label-set", help="Only this one. May be repeated.")
    ] = [],
    dry_run: DryRun = False,
    limit: Limit = None,
    max_cost: MaxCost = None,
    retry_failed: RetryFailed = False,
    new_version: NewVersion = False,
    config: ConfigFile = None,
    overrides: Overrides = [],
    as_json: AsJson = False,
) -> None:
    """Answer the questions of label sets from the scrubbed reports, by language models or by rule.

    What is answered is paid once and kept; `run` takes it from there. Exit code 3: some reports
    have no answer."""
    pipeline = _pipeline(load_pipeline(config or default_file(), name, overrides), new_version)
    if not pipeline.ingest.labelers:
        raise UserError(f"pipeline {name} has no ingest.labelers")
    known = [labeler.label_set for labeler in pipeline.ingest.labelers]
    own = {name: str(Path(name).resolve()) for name in label_set}  # a file of one's own
    chosen = [path if path in known else name for name, path in own.items()]
    wanted = _among(known, chosen, "--label-set")
    only = [labeler for labeler in pipeline.ingest.labelers if labeler.label_set in wanted]
    alone = pipeline.ingest.model_copy(update={"summarizers": (), "labelers": tuple(only)})
    how = _how(dry_run, limit, max_cost, retry_failed)
    spent, counts = _ask(pipeline, answers.askings(alone), how, as_json)
    found = {n: c for n, c in counts.get("labels", {}).items() if n in wanted}
    _tell(spent, found, how, as_json, _labels_said)


def _pipeline(pipeline: Pipeline, new_version: bool) -> Pipeline:
    if not new_version:
        return pipeline
    version = versions.fitting(pipeline)
    versions.begin(pipeline, version)
    return version


def _among(known: list[str], asked_for: list[str], option: str) -> list[str]:
    unknown = [name for name in asked_for if name not in known]
    if unknown:
        raise UserError(f"{option} {unknown[0]}: there are {', '.join(known)}")
    return asked_for or known


def _how(
    dry_run: bool, limit: int | None, max_cost: float | None, retry_failed: bool
) -> dict[str, Any]:
    return {
        "dry_run": dry_run,
        "limit": limit,
        "max_cost": max_cost,
        "retry_failed": retry_failed,
    }


def _ask(
    pipeline: Pipeline, chosen: list[Asking], how: Mapping[str, Any], as_json: bool
) -> tuple[dict[str, Spent], dict[str, Any]]:
    """What every question came to, and what there is of sentences and labels now."""
    with (
        Bars(Console(stderr=True, quiet=as_json), live.BARS) as bars,
        grouped_in(pipeline, bars, bars.show) as begun,
    ):
        spent = {asking.name: asked(begun, asking, **how) for asking in chosen}
        counts = {} if how["dry_run"] else answered(begun).as_json()
    return spent, counts


def _tell(
    spent: Mapping[str, Spent],
    found: Mapping[str, Any],
    how: Mapping[str, Any],
    as_json: bool,
    said: Callable[[str, Mapping[str, Any]], None],
) -> None:
    if as_json:
        asked_facts = {name: answers.facts_of(one) for name, one in spent.items()}
        typer.echo(json.dumps({"asked": asked_facts, "found": dict(found)}))
    else:
        for name, one in spent.items():
            for line in _estimate_said(name, one) if how["dry_run"] else _spent_said(name, one):
                typer.echo(line)
        for name, counts in found.items():
            said(name, counts)
    is_short = any(one.unanswered or one.failed or one.stopped for one in spent.values())
    raise typer.Exit(EXIT_REJECTED if is_short else EXIT_DONE)


def _estimate_said(name: str, spent: Spent) -> Iterator[str]:
    of = spent.estimate
    tokens = f"about {of.tokens_in:,} tokens in and {of.tokens_out:,} out"
    yield f"{name}: {of.texts:,} reports, {of.settled:,} need no request"
    yield f"  {of.requests:,} requests, {tokens}, cost about {money(of.cost)}"


def _spent_said(name: str, spent: Spent) -> Iterator[str]:
    counts = f"{spent.answered:,} answered, {spent.cached:,} known, {spent.repeated:,} repeated"
    tokens = f"{spent.tokens_in:,} tokens in and {spent.tokens_out:,} out"
    yield f"{name}: {counts}; {tokens}, cost {money(spent.cost)}"
    if spent.unanswered:
        yield f"  {spent.unanswered:,} left by the endpoint ({spent.told}); run again"
    if spent.stopped:
        yield f"  stopped: {spent.stopped}; the same command goes on from there"


def _sentences_said(variant: str, counts: Mapping[str, Any]) -> None:
    dropped = counts["dropped"]
    why = ", ".join(f"{count:,} {reason}" for reason, count in dropped.items())
    total = f"{sum(dropped.values()):,}" + (f" ({why})" if why else "")
    typer.echo(
        f"{variant}: {counts['sentences']:,} sentences of {counts['reports']:,} reports; "
        f"dropped: {total}"
    )
    _looks_said(counts)


def _labels_said(name: str, counts: Mapping[str, Any]) -> None:
    grid = Table(title=f"{name}: {counts['reports']:,} reports", title_justify="left")
    grid.add_column("label")
    for answer in Answer:
        grid.add_column(str(answer), justify="right")
    for one, found in counts["answers"].items():
        grid.add_row(one, *(f"{found.get(str(answer), 0):,}" for answer in Answer))
    Console().print(grid)
    _looks_said(counts)


def _looks_said(counts: Mapping[str, Any]) -> None:
    if counts["failed"]:
        why = ", ".join(f"{count:,} {reason}" for reason, count in counts["failed"].items())
        typer.echo(f"  no answer: {why} (--retry-failed asks again)")
    if counts["flagged"]:
        typer.echo(f"  {counts['flagged']:,} reports are flagged: see `ingest reports`")
    if counts["unanswered"]:
        typer.echo(f"  {counts['unanswered']:,} reports are not asked yet")
