"""`dicom2clip ingest`: what became of the files of a pipeline, and the plain converter.

In: a pipeline's name, or folders. Out: tables for people, or JSON.
"""

from __future__ import annotations

import json
from collections.abc import Iterator
from datetime import timedelta
from pathlib import Path
from typing import Annotated, Any

import typer
from rich.console import Console
from rich.table import Table

from ingest import explain as explanation
from ingest import ledger, ledger_search, live, native_job, table
from ingest.cli_answers import label, summarize
from ingest.cli_options import AsJson, ConfigFile, Name, Overrides, printable
from ingest.cli_reports import reports
from ingest.standing import Standing, standing
from study.config import Pipeline, default_file, ingest_settings, load_pipeline, pipeline_names
from study.errors import EXIT_DONE, EXIT_REJECTED, UserError
from study.progress import Bars

EVERY_VOLUME = 1_000_000_000

app = typer.Typer(
    no_args_is_help=True,
    help="Ingestion: how far it is, what became of every file, sentences and labels of reports.",
)
app.command()(reports)
app.command()(summarize)
app.command()(label)


def _ledger_file(pipeline: Pipeline) -> Path:
    file = Path(pipeline.run) / "ledger.parquet"
    if not file.exists():
        raise UserError(
            f"there is no {file}: pipeline {pipeline.name} has not been ingested yet; "
            f"run `dicom2clip run {pipeline.name} --stage ingest`"
        )
    return file


@app.command()
def status(
    name: Name,
    config: ConfigFile = None,
    overrides: Overrides = [],
    as_json: AsJson = False,
) -> None:
    """How far it is, while it runs and after: images by status and by reason, shards written."""
    pipeline = load_pipeline(config or default_file(), name, overrides)
    run = Path(pipeline.run)
    now = live.last_seen(run)
    sums = None if now and not (run / "ledger.parquet").exists() else _sums(pipeline)
    far = standing(pipeline)
    if as_json:
        facts = {**(sums.as_json() if sums else {}), "job": now, "dataset": far.as_json()}
        typer.echo(json.dumps(facts))
        return
    if now:
        _print_job(name, now)
    if sums:
        _print_sums(sums)
    _print_standing(name, far, is_running=bool(now and now["is_running"]))


def _print_standing(name: str, far: Standing, *, is_running: bool) -> None:
    if not far.shards_planned:
        typer.echo("shards: not planned yet")
        return
    shards = f"shards: {far.shards_written:,} of {far.shards_planned:,}"
    if far.is_finished:
        typer.echo(f"{shards}; {far.dataset} is finished")
    elif is_running:
        typer.echo(shards)
    else:
        typer.echo(
            f"{shards}; {far.dataset} is not finished: `dicom2clip run {name} --stage ingest` goes "
            "on, and what is counted as used may still fail"
        )


def _sums(pipeline: Pipeline) -> ledger.LedgerSums:
    return ledger.sums_in(_ledger_file(pipeline))


def _print_job(name: str, facts: dict[str, Any]) -> None:
    """What a job is at, or where it was killed."""
    stage = live.STAGES.get(facts["stage"], facts["stage"])
    done = f"{stage}: {facts['done']:,} of {facts['total']:,}"
    if facts["rate_per_s"]:
        left = timedelta(seconds=facts["seconds_left"])
        done += f", {facts['rate_per_s']:,.3g}/s, {left} left"
    if facts["is_running"]:
        typer.echo(f"{name} is running. {done}")
    else:
        ago = timedelta(seconds=facts["seen_s_ago"])
        typer.echo(f"{name} was killed {ago} ago; the same command goes on. It was at {done}")
    gone = {} if facts["is_running"] else {"workers": 0, "dashboard": ""}
    if below := live.table_of({**facts, **gone}):
        Console().print(below)


@app.command("retry")
def retry_command(
    name: Name,
    config: ConfigFile = None,
    overrides: Overrides = [],
    as_json: AsJson = False,
) -> None:
    """Try again what failed, perhaps with larger limits or mended files.

    As in --set ingest.speed.decode_memory=12GB. What can be read now goes into new shards; the
    others stay as they are. Exit code 3: some still
    fail."""
    from ingest.retry import retry

    pipeline = load_pipeline(config or default_file(), name, overrides)
    with Bars(Console(stderr=True, quiet=as_json), live.BARS) as bars:
        tried = retry(pipeline, bars, bars.show)
    facts = tried.as_json()
    if as_json:
        typer.echo(json.dumps(facts))
    else:
        for line in _said(facts):
            typer.echo(line)
    raise typer.Exit(EXIT_REJECTED if tried.is_failing else EXIT_DONE)


def _said(facts: dict[str, Any]) -> Iterator[str]:
    before, now = facts["failed_files_before"], facts["failed_files_now"]
    yield f"files with failures: {before:,} before, {now:,} now" + (
        "; `dicom2clip ingest failed` lists them" if now else ""
    )
    if facts["tried"]:
        stayed = ", ".join(f"{count:,} {reason}" for reason, count in facts["as_before"].items())
        yield (
            f"studies whose conversion had failed: {facts['tried']:,} tried, {facts['better']:,} "
            f"give something else now" + (f"; as before: {stayed}" if stayed else "")
        )
    if facts["found"]:
        yield f"new studies, of files that could not be read before: {facts['found']:,}"
    if facts["shards_written"]:
        written, studies = facts["shards_written"], facts["studies"]
        yield f"shards written: {written:,}; the dataset has {studies:,} studies"
    else:
        yield "no shard had to be written"


def _print_sums(sums: ledger.LedgerSums) -> None:
    grid = Table(title=f"{sums.files} files, {sums.images} images", title_justify="left")
    grid.add_column("status or reason")
    grid.add_column("images", justify="right")
    for state, count in sums.by_status.items():
        grid.add_row(state, f"{count:,}", style="bold")
    for reason, count in sums.by_reason.items():
        grid.add_row(f"  {reason}", f"{count:,}")
    Console().print(grid)


@app.command()
def failed(
    name: Name,
    config: ConfigFile = None,
    overrides: Overrides = [],
    as_json: AsJson = False,
) -> None:
    """Files that were rejected because something is damaged or cannot be read, with the reason."""
    file = _ledger_file(load_pipeline(config or default_file(), name, overrides))
    bad = ledger.failures_in(file)
    if as_json:
        facts = [
            {"path": r.path, "frame": r.frame, "reason": r.reason, "detail": r.detail} for r in bad
        ]
        typer.echo(json.dumps(facts))
        return
    count = 0
    for row in bad:
        _say(f"{row.reason}  {row.path}  {row.detail}")
        count += 1
    typer.echo(f"{count:,} of {ledger.images_in(file):,} images failed")


@app.command()
def explain(
    target: Annotated[
        str,
        typer.Argument(
            metavar="PATH|SERIES_UID",
            help="A file, a folder, an archive, or the UID of a series or a study.",
        ),
    ],
    name: Annotated[
        str,
        typer.Option("--pipeline", "-p", help="Look in this pipeline's run; else in all of them."),
    ] = "",
    folder: Annotated[
        Path | None,
        typer.Option("--run", help="Look in this run folder, or OUT of `ingest nifti`."),
    ] = None,
    config: ConfigFile = None,
    overrides: Overrides = [],
    as_json: AsJson = False,
) -> None:
    """What became of a file or a series, and why, in words."""
    config = config or default_file()
    names = [name] if name else list(pipeline_names(config))
    runs = [folder] if folder else [Path(load_pipeline(config, n, overrides).run) for n in names]
    ledgers = [run for run in dict.fromkeys(runs) if (run / "ledger.parquet").exists()]
    if not ledgers:
        raise UserError(
            f"no ledger in {', '.join(str(r) for r in runs)}: nothing has been ingested there yet"
        )
    for run in ledgers:
        found = ledger_search.find(run, target)
        if found.rows:
            break
    else:
        raise UserError(
            f"{target} is no file, folder, series or study in the ledgers of "
            f"{', '.join(str(run) for run in ledgers)}"
        )
    shown = found.rows[: explanation.IMAGES_SHOWN] if found.what == "file" else []
    instances = table.read_paths(run / "instances.parquet", {row.path for row in shown})
    told = explanation.explain(
        target,
        found.what,
        found.rows,
        ledger_search.plans_of(run, explanation.scans_shown(found.rows), found.part_of),
        {(i.path, i.frame): i for i in instances},
    )
    if as_json:
        typer.echo(json.dumps(told.as_json()))
        return
    for line in told.sentences:
        _say(line)


def _say(line: str) -> None:
    typer.echo(printable(line))


@app.command()
def nifti(
    source: Annotated[Path, typer.Argument(metavar="SRC", help="Folder, read to any depth.")],
    out: Annotated[Path, typer.Argument(metavar="OUT", help="New or empty folder to write into.")],
    min_slices: Annotated[int, typer.Option(min=1, help="Fewer make no volume.")] = 4,
    max_volumes: Annotated[
        int, typer.Option(min=0, help="Of a 4D series, evenly chosen; 0 writes all.")
    ] = 0,
    max_missing_slices: Annotated[
        int, typer.Option(min=0, help="Holes that a volume may have.")
    ] = 0,
    gzip: Annotated[bool, typer.Option("--gz", help="Write .nii.gz.")] = False,
    workers: Annotated[int, typer.Option(min=0, help="Processes; 0: one per CPU.")] = 0,
    overrides: Annotated[
        list[str],
        typer.Option(
            "--set", help="key=value of a pipeline's ingest section, e.g. rules.max_voxels=1e8."
        ),
    ] = [],
    as_json: AsJson = False,
) -> None:
    """One NIfTI file a scan on its native grid, with volumes.parquet and ledger.parquet."""
    settings = ingest_settings(
        [
            f"rules.min_slices={min_slices}",
            f"rules.max_volumes_per_series={max_volumes or EVERY_VOLUME}",
            f"rules.max_missing_slices={max_missing_slices}",
            f"speed.workers={workers}",
            *overrides,
        ]
    )
    titles = {"crawl": "reading headers", "volumes": "writing volumes"}
    with Bars(Console(stderr=True, quiet=as_json), titles) as bars:
        done = native_job.convert(source, out, settings, gzip, bars)
    facts = {
        "out": str(out),
        "volumes": done.volumes,
        "studies": done.studies,
        "ledger": done.sums.as_json(),
    }
    if as_json:
        typer.echo(json.dumps(facts))
    else:
        _print_sums(done.sums)
        typer.echo(f"{done.volumes} volumes of {done.studies} studies in {out}")
    raise typer.Exit(EXIT_REJECTED if done.sums.failures else EXIT_DONE)
