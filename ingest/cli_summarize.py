"""`dicom2clip ingest summarize`: reports to sentences by language models, before anything else.

In: a pipeline with summarizers. Out: paid answers in the run folder, sentences beside the reports,
and what it came to: a table for people, or JSON.
"""

from __future__ import annotations

import json
from typing import Annotated, Any

import typer
from rich.console import Console

from ingest import live, summaries, versions
from ingest.cli_options import AsJson, ConfigFile, Name, Overrides
from ingest.llm_spent import Spent
from ingest.ready import asked, grouped_in, summarised
from study.config import Pipeline, default_file, load_pipeline
from study.errors import EXIT_DONE, EXIT_REJECTED, UserError
from study.llm_sections import Summarizer
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


def summarize(
    name: Name,
    variant: Annotated[
        list[str], typer.Option("--variant", help="Only this one. May be repeated.")
    ] = [],
    dry_run: DryRun = False,
    limit: Limit = None,
    max_cost: MaxCost = None,
    retry_failed: RetryFailed = False,
    new_version: Annotated[
        bool,
        typer.Option(
            "--new-version", help="As of `run`: for the dataset that these settings ask for."
        ),
    ] = False,
    config: ConfigFile = None,
    overrides: Overrides = [],
    as_json: AsJson = False,
) -> None:
    """Have language models turn the scrubbed reports into sentences, and check these against them.
    What is answered is paid once and kept; `run` takes it from there. Exit code 3: some reports
    have no answer."""
    pipeline = load_pipeline(config or default_file(), name, overrides)
    if new_version:
        first, pipeline = pipeline, versions.fitting(pipeline)
        versions.begin(first, pipeline)
    chosen = _chosen(pipeline, variant)
    how = {
        "dry_run": dry_run,
        "limit": limit,
        "max_cost": max_cost,
        "retry_failed": retry_failed,
    }
    titles = {stage: f"ingest: {title}" for stage, title in live.STAGES.items()}
    with (
        Bars(Console(stderr=True, quiet=as_json), titles) as bars,
        grouped_in(pipeline, bars, bars.show) as begun,
    ):
        spent = {s.variant: asked(begun, s, **how) for s in chosen}
        counts = {} if dry_run else summarised(begun).as_json()
    facts = {
        variant: {**summaries.facts_of(found), "summaries": counts.get(variant)}
        for variant, found in spent.items()
    }
    if as_json:
        typer.echo(json.dumps(facts))
    else:
        for variant_name, found in spent.items():
            for line in said(variant_name, found, counts.get(variant_name), dry_run=dry_run):
                typer.echo(line)
    is_short = any(found.unanswered or found.failed or found.stopped for found in spent.values())
    raise typer.Exit(EXIT_REJECTED if is_short else EXIT_DONE)


def _chosen(pipeline: Pipeline, variants: list[str]) -> list[Summarizer]:
    known = {s.variant: s for s in pipeline.ingest.summarizers}
    if not known:
        raise UserError(
            f"pipeline {pipeline.name} has no ingest.summarizers; the rule-based summariser needs "
            "no run of its own"
        )
    unknown = [name for name in variants if name not in known]
    if unknown:
        raise UserError(f"--variant {unknown[0]}: there are {', '.join(known)}")
    return [s for name, s in known.items() if not variants or name in variants]


def said(variant: str, spent: Spent, counts: dict[str, Any] | None, *, dry_run: bool) -> list[str]:
    """What a run of one model came to, for people."""
    estimate = spent.estimate
    if dry_run:
        tokens = f"about {estimate.tokens_in:,} tokens in and {estimate.tokens_out:,} out"
        return [
            f"{variant}: {estimate.texts:,} reports, {estimate.settled:,} need no request",
            f"  {estimate.requests:,} requests, {tokens}, cost about {estimate.cost:,.2f}",
        ]
    asked = f"{spent.answered:,} answered, {spent.cached:,} known, {spent.repeated:,} repeated"
    paid = f"{spent.tokens_in:,} tokens in and {spent.tokens_out:,} out, cost {spent.cost:,.2f}"
    lines = [f"{variant}: {asked}; {paid}"]
    if spent.failed:
        why = ", ".join(f"{count:,} {reason}" for reason, count in spent.failed.items())
        lines.append(f"  without an answer: {why} (--retry-failed asks again)")
    if spent.unanswered:
        lines.append(f"  {spent.unanswered:,} left by the endpoint ({spent.told}); run again")
    if spent.stopped:
        lines.append(f"  stopped: {spent.stopped}; the same command goes on from there")
    if counts:
        dropped = counts["dropped"]
        why = ", ".join(f"{count:,} {reason}" for reason, count in dropped.items())
        lines.append(
            f"  {counts['sentences']:,} sentences of {counts['reports']:,} reports; dropped: "
            f"{sum(dropped.values()):,}" + (f" ({why})" if why else "")
        )
        if counts["flagged"]:
            lines.append(f"  {counts['flagged']:,} reports are flagged: see `ingest reports`")
        if counts["unanswered"]:
            lines.append(f"  {counts['unanswered']:,} reports are not asked yet")
    return lines
