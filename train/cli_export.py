"""`dicom2clip export`: a run's checkpoint as a folder that open_clip loads."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Annotated, Any

import typer

from study.config import Pipeline, default_file, load_pipeline
from study.errors import UserError

SHAPING = ("grid", "intensity")
"""Parts of `ingest` by which stored scans were made."""


def export_command(
    pipeline: Annotated[
        str,
        typer.Argument(metavar="PIPELINE", help="Name of a pipeline in the configuration file."),
    ],
    out: Annotated[Path, typer.Argument(metavar="OUT", help="A folder that is not there yet.")],
    checkpoint: Annotated[
        Path | None, typer.Option(help="A checkpoint of the run; else its newest.")
    ] = None,
    config: Annotated[
        Path | None,
        typer.Option(
            "--config",
            "-c",
            help="File of pipelines; else pipelines.yaml here, or the program's own.",
        ),
    ] = None,
    overrides: Annotated[
        list[str], typer.Option("--set", help="key=value, e.g. run=FOLDER. May be repeated.")
    ] = [],
    as_json: Annotated[bool, typer.Option("--json", help="Print one JSON object.")] = False,
) -> None:
    """Write the model of a run as a folder that open_clip loads with local-dir:, with its weights,
    tokenizer, and how scans have to be prepared for it."""
    facts = export_run(
        load_pipeline(config or default_file(), pipeline, overrides), out, checkpoint
    )
    if as_json:
        typer.echo(json.dumps(facts))
        return
    typer.echo(
        f"export: {facts['model']} at step {facts['step']:,}, {facts['parameters'] / 1e6:.1f} M "
        f"parameters, {facts['bytes'] / 1e6:,.1f} MB: {facts['folder']}"
    )
    typer.echo(f'Load it: import train.clip; open_clip.create_model("local-dir:{facts["folder"]}")')


def export_run(pipeline: Pipeline, out: Path, checkpoint: Path | None) -> dict[str, Any]:
    """Export and say what it was. UserError where the run has no checkpoint, or `out` is taken."""
    from train.checkpoint import load_model, newest_checkpoint
    from train.clip import recipe_of
    from train.export import export

    if checkpoint is not None and not checkpoint.is_file():
        raise UserError(f"there is no checkpoint {checkpoint}")
    file = checkpoint or newest_checkpoint(Path(pipeline.run))
    loaded = load_model(file)
    folder = export(
        recipe_of(loaded.settings.model, loaded.grid),
        loaded.model,
        loaded.tokenizer,
        out,
        preprocessing=_preprocessing(pipeline),
        about={"prefix": loaded.settings.prefix, "step": loaded.step},
    )
    return {
        "folder": str(folder),
        "checkpoint": str(file),
        "model": loaded.settings.model.name,
        "step": loaded.step,
        "parameters": sum(p.numel() for p in loaded.model.parameters()),
        "bytes": sum(f.stat().st_size for f in folder.rglob("*") if f.is_file()),
    }


def _preprocessing(pipeline: Pipeline) -> dict[str, Any]:
    """What the dataset says of itself; where it is not at hand, what the pipeline says."""
    from shards.catalog import read_info
    from shards.store import store_at

    try:
        said = read_info(store_at(pipeline.dataset)).settings.get("ingest", {})
    except UserError:
        said = pipeline.ingest.model_dump(mode="json")
    return {key: said[key] for key in SHAPING if key in said}
