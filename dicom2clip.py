"""The command: reads pipelines.yaml, runs stages, mounts the stages' sub-commands.

In: a pipeline's name and overrides. Out: whatever its stages write. Exit codes: 0 all done; 1 a
bug; 2 the user's input is wrong; 3 done, but some items were rejected by a failure; 75 stopped by a
signal, the same command goes on.
"""

from __future__ import annotations

import errno
import json
import os
import shutil
import signal
import sys
import time
from dataclasses import asdict
from functools import partial
from pathlib import Path
from typing import Annotated, Any

import typer
import typer.exceptions
from rich.console import Console

import eval.cli_agreement
import ingest.cli
import shards.cli
import train.cli_export
from ingest.cli_options import ConfigFile, Name, Overrides
from ingest.live import BARS
from study.config import Pipeline, default_file, load_pipeline, pipeline_names
from study.errors import EXIT_DONE, EXIT_REJECTED, EXIT_RESUMABLE, EXIT_USER, UserError
from study.progress import Bars

STAGES = ("ingest", "train", "eval")
USER_ERRNOS = {
    getattr(errno, name)
    for name in (
        *("ENOSPC", "EDQUOT", "EFBIG", "EACCES", "EPERM", "EROFS", "EEXIST", "ENOTDIR", "EISDIR"),
        *("EIO", "ESTALE", "ETIMEDOUT", "ECHILD", "ENOMEM"),
    )
}
"""Errors of the system that the user must see to: no room, no right, another thing there; a disk
that fails, processes that cannot start."""

app = typer.Typer(
    no_args_is_help=True,
    pretty_exceptions_enable=False,
    add_completion=False,
    help="From a folder of uncurated DICOM studies and reports to a trained study-level CLIP.",
)
app.add_typer(ingest.cli.app, name="ingest")
app.add_typer(shards.cli.app, name="shards")
app.command("agreement")(eval.cli_agreement.agreement_command)
app.command("export")(train.cli_export.export_command)

AsJson = Annotated[
    bool, typer.Option("--json", help="Print one JSON object at the end, and nothing else.")
]


@app.command()
def run(
    name: Annotated[str, typer.Argument(metavar="[PIPELINE]", help="Name of a pipeline.")] = "",
    stage: Annotated[
        list[str], typer.Option(help="Only this stage: ingest, train or eval. May be repeated.")
    ] = [],
    config: ConfigFile = None,
    overrides: Overrides = [],
    as_json: AsJson = False,
    show_list: Annotated[bool, typer.Option("--list", help="List the pipelines and stop.")] = False,
    new_version: Annotated[
        bool,
        typer.Option(
            "--new-version",
            help="Where the dataset was made with other settings: write DATASET-v2 beside it.",
        ),
    ] = False,
) -> None:
    """Run all stages of a pipeline, or some. What is done already is not done again."""
    config = config or default_file()
    if show_list or not name:
        for known, description in pipeline_names(config).items():
            typer.echo(f"{known:20} {description}")
        return
    unknown = [s for s in stage if s not in STAGES]
    if unknown:
        raise UserError(f"--stage {unknown[0]}: there are {', '.join(STAGES)}")
    pipeline = load_pipeline(config, name, overrides)
    console = _console(as_json)
    if new_version:
        pipeline = _new_version(pipeline, console)
    stages = tuple(stage) or STAGES
    if not stage and not pipeline.eval.benchmarks:
        console.print(f"[bold]eval[/]: left out, pipeline {name} names no benchmarks")
        stages = STAGES[:-1]
    facts = run_stages(pipeline, stages, console)
    if as_json:
        typer.echo(json.dumps(facts))
    raise typer.Exit(facts["exit_code"])


@app.command("plan")
def plan_command(
    name: Name, config: ConfigFile = None, overrides: Overrides = [], as_json: AsJson = False
) -> None:
    """Say what an ingestion would do: counts, bytes, tasks, time, cost.

    Images are crawled and planned in the run folder, where a run finds them; some studies are
    converted to time it. The dataset is not touched."""
    from ingest.estimate import estimate

    pipeline, console = load_pipeline(config or default_file(), name, overrides), _console(as_json)
    with Bars(console, {**BARS, "sample": "plan: timing"}) as bars:
        found = estimate(pipeline, bars)
    if as_json:
        typer.echo(json.dumps(found.as_json()))
        return
    for line in found.lines():
        typer.echo(line)


@app.command("train")
def train_command(
    name: Name, config: ConfigFile = None, overrides: Overrides = [], as_json: AsJson = False
) -> None:
    """Train a pipeline's model on its dataset; goes on from the newest checkpoint."""
    run(name, ["train"], config, overrides, as_json)


@app.command("eval")
def eval_command(
    name: Name, config: ConfigFile = None, overrides: Overrides = [], as_json: AsJson = False
) -> None:
    """Score a pipeline's newest checkpoint on its benchmarks."""
    run(name, ["eval"], config, overrides, as_json)


@app.command()
def demo(
    folder: Annotated[Path, typer.Option(help="Everything is written below it.")] = Path("demo"),
    size: Annotated[
        str, typer.Option(help="small: some minutes on two CPU cores; large: three times that.")
    ] = "small",
    control: Annotated[
        bool,
        typer.Option(
            "--control", help="Shuffle the reports between studies first: nothing can be learned."
        ),
    ] = False,
    config: ConfigFile = None,
    overrides: Overrides = [],
    as_json: AsJson = False,
) -> None:
    """Synthetic cohort -> DICOM -> shards -> training -> zero-shot table, on a laptop's CPU."""
    names = {"small": "demo", "large": "demo-large"}
    if size not in names:
        raise UserError(f"--size {size}: there are small and large")
    home = folder / (size + ("-control" if control else ""))
    places = [
        f"dataset={home / 'dataset'}",
        f"run={home / 'run'}",
        f"ingest.source={home / 'cohort' / 'dicom'}",
        f"ingest.reports={home / 'cohort' / 'reports.csv'}",
        f"ingest.labels={home / 'cohort' / 'labels.csv'}",
    ]
    pipeline = load_pipeline(config or default_file(), names[size], [*places, *overrides])
    console = _console(as_json)
    start = time.monotonic()
    num_studies = {"small": 640, "large": 1280}[size]
    cohort = _demo_cohort(home, num_studies, control, console)
    facts = run_stages(pipeline, STAGES, console)
    facts = {"cohort": cohort, **facts, "seconds": round(time.monotonic() - start, 1)}
    damaged = facts["ingest"]["ledger"]["by_reason"].get("TRUNCATED", 0)
    if damaged == cohort["num_truncated"] + cohort["num_empty"]:
        facts["exit_code"] = EXIT_DONE  # the cohort's own damaged files, found to the last one
    if as_json:
        typer.echo(json.dumps(facts))
    else:
        console.print(
            f"All stages took {facts['seconds']:.0f} s. Everything is in {home}.", highlight=False
        )
        console.print(
            f"Look at it: dicom2clip shards preview {home / 'dataset'}",
            highlight=False,
            soft_wrap=True,
        )
    raise typer.Exit(facts["exit_code"])


def run_stages(pipeline: Pipeline, stages: tuple[str, ...], console: Console) -> dict[str, Any]:
    """Run stages in order and say what each did. The facts are what `--json` prints."""
    facts: dict[str, Any] = {"pipeline": pipeline.name, "exit_code": EXIT_DONE}
    for stage in STAGES:
        if stage not in stages:
            continue
        start = time.monotonic()
        facts[stage] = {"ingest": _ingest, "train": _train, "eval": _eval}[stage](pipeline, console)
        facts[stage]["seconds"] = round(time.monotonic() - start, 1)
        if facts[stage].pop("rejected_by_failure", 0):
            facts["exit_code"] = EXIT_REJECTED
    return facts


def _ingest(pipeline: Pipeline, console: Console) -> dict[str, Any]:
    from ingest import scrub
    from ingest.job import ingest
    from ingest.reports import columns_taken

    settings = pipeline.ingest
    if settings.source:  # else the job says that it is not set
        for line in columns_taken(settings.reports, settings.labels, settings.columns):
            console.print(line, highlight=False, soft_wrap=True)
    with Bars(console, BARS) as bars:
        result = ingest(pipeline, bars, bars.show)
    sums, info = result.sums, result.info
    if result.nothing_to_do:
        console.print(
            f"[bold]ingest[/]: nothing to do, {info.num_studies} studies are in {pipeline.dataset}"
        )
    else:
        splits = ", ".join(f"{count} {split}" for split, count in info.by_split.items())
        console.print(
            f"[bold]ingest[/]: {info.num_studies} studies ({splits}), {info.num_scans} scans, "
            f"shards: {info.num_shards}, in {pipeline.dataset}"
        )
    states = ", ".join(f"{count:,} {status}" for status, count in sums.by_status.items())
    console.print(f"  {sums.files:,} files, {sums.images:,} images: {states}")
    if sums.by_reason:
        console.print(
            "  " + ", ".join(f"{count:,} {reason}" for reason, count in sums.by_reason.items())
        )
    for variant, found in result.answers.get("summaries", {}).items():
        dropped, failed = sum(found["dropped"].values()), sum(found["failed"].values())
        console.print(
            f"  {variant}: {found['sentences']:,} sentences of {found['reports']:,} reports, "
            f"{dropped:,} dropped, {found['flagged']:,} reports flagged, {failed:,} without answer"
        )
    for name, found in result.answers.get("labels", {}).items():
        yes = sum(counts.get("yes", 0) for counts in found["answers"].values())
        failed = sum(found["failed"].values())
        console.print(
            f"  labels {name}: {yes:,} times yes in {found['reports']:,} reports"
            + (f", {failed:,} answers failed" if failed else "")
        )
    for what, counts in (("reports", result.reports), ("labels", result.labels)):
        if counts and counts.words():
            see = f"`dicom2clip ingest reports {pipeline.name}`"
            console.print(f"  {what}: {counts.words()}; see {see}")
    if result.scrubbed:
        console.print(f"  reports: {scrub.in_words(result.scrubbed)}")
    return {
        "dataset": pipeline.dataset,
        "nothing_to_do": result.nothing_to_do,
        "studies": info.num_studies,
        "scans": info.num_scans,
        "splits": dict(info.by_split),
        "ledger": sums.as_json(),
        "reports": result.reports.as_json() if result.reports else None,
        "labels": result.labels.as_json() if result.labels else None,
        "scrubbed": dict(result.scrubbed),
        "answers": dict(result.answers),
        "rejected_by_failure": sums.failures,
    }


def _new_version(pipeline: Pipeline, console: Console) -> Pipeline:
    """The pipeline with the folders that fit its settings."""
    from ingest import versions

    version = versions.fitting(pipeline)
    versions.begin(pipeline, version)
    if version.dataset != pipeline.dataset:
        console.print(
            f"[bold]version[/]: other settings than those of {pipeline.dataset}; other commands "
            f"find it with --set dataset={version.dataset} --set run={version.run}"
        )
    return version


def _train(pipeline: Pipeline, console: Console) -> dict[str, Any]:
    from train.loop import train

    result = train(pipeline, console=console)
    if result.already_done:
        console.print(
            f"[bold]train[/]: nothing to do, {result.checkpoint} has all {result.step} steps"
        )
    else:
        console.print(
            f"[bold]train[/]: {result.step} steps, loss {result.loss:.3f}, "
            f"{result.studies_per_s:.0f} studies/s: {result.checkpoint}"
        )
    return {
        "checkpoint": str(result.checkpoint),
        "nothing_to_do": result.already_done,
        "step": result.step,
        "loss": result.loss,
        "studies_per_s": result.studies_per_s,
    }


def _eval(pipeline: Pipeline, console: Console) -> dict[str, Any]:
    from eval.cli import evaluate

    results = evaluate(pipeline, console=console)
    files = [Path(pipeline.run) / "eval" / f"{result.benchmark.name}.json" for result in results]
    return {"benchmarks": [json.loads(file.read_text(encoding="utf-8")) for file in files]}


def _demo_cohort(
    home: Path, num_studies: int, shuffle_reports: bool, console: Console
) -> dict[str, Any]:
    """Write the cohort once. Its project key is a constant: nobody is in it, and a demo should
    repeat exactly."""
    from ingest.cohort import write_cohort

    mark = home / "cohort.json"
    want = {"num_studies": num_studies, "shuffle_reports": shuffle_reports}
    if mark.exists():
        facts: dict[str, Any] = json.loads(mark.read_text())
        if facts["arguments"] == want:
            console.print(
                f"[bold]cohort[/]: nothing to do, {facts['num_files']:,} files are in {home}"
            )
            return facts
        raise UserError(
            f"{home} holds another cohort ({facts['arguments']}); remove it or set --folder"
        )
    if (home / "cohort").exists():
        shutil.rmtree(home / "cohort")  # begun by a run that was stopped: it has no mark
    key_file = home / "run" / "project.key"
    key_file.parent.mkdir(parents=True, exist_ok=True, mode=0o700)
    key_file.write_text("00" * 32 + "\n")
    key_file.chmod(0o600)
    with Bars(console, {"cohort": "cohort: studies"}) as bars:
        summary = write_cohort(
            home / "cohort",
            num_studies=num_studies,
            seed=0,
            workers=os.cpu_count() or 1,
            shuffle_reports=shuffle_reports,
            progress=partial(bars, "cohort"),
        )
    facts = {"arguments": want, **asdict(summary)}
    mark.write_text(json.dumps(facts, indent=1))
    console.print(
        f"[bold]cohort[/]: {summary.num_studies} studies of {summary.num_patients} patients "
        f"in {summary.num_files:,} files"
    )
    return facts


def _console(as_json: bool) -> Console:
    """Where people read: the terminal, or standard error when standard output is kept for JSON."""
    return Console(stderr=as_json, quiet=as_json, highlight=False, soft_wrap=True)


class Stopped(BaseException):
    """A signal asked the command to stop. Not KeyboardInterrupt: typer would end with 130."""


def _stop(number: int, frame: object) -> None:
    raise Stopped


def main() -> None:
    """Entry point of the console command."""
    for number in (signal.SIGTERM, signal.SIGINT):
        signal.signal(number, _stop)
    try:
        code = app(standalone_mode=False) or EXIT_DONE
    except typer.exceptions.TyperException as error:
        print(f"Error: {error.format_message()}", file=sys.stderr)
        code = EXIT_USER
    except UserError as error:
        print(f"Error: {error}", file=sys.stderr)
        code = EXIT_USER
    except (Stopped, KeyboardInterrupt, typer.exceptions.Abort):
        print("Stopped. The same command goes on from here.", file=sys.stderr)
        code = EXIT_RESUMABLE
    except BrokenPipeError:
        sys.stderr.close()
        code = EXIT_DONE
    except OSError as error:
        if error.errno not in USER_ERRNOS:
            raise
        print(f"Error: {error}", file=sys.stderr)
        code = EXIT_USER
    sys.exit(code)


if __name__ == "__main__":
    main()
