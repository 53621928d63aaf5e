"""`dicom2clip shards export`: studies as NIfTI, labels and predictions as a table.

In: the folder or URL of a dataset. Out: a folder a study (see `export`), and a CSV or Parquet table
(see `export_table`).
"""

from __future__ import annotations

import json
from pathlib import Path
from typing import Annotated, Any

import typer
from rich.console import Console

from shards import export, export_table
from shards.cli_options import AsJson, DatasetPath, Split
from shards.index import SampleRef
from shards.reader import CorruptSample, Dataset
from shards.store import LocalStore
from study.errors import EXIT_REJECTED, UserError, naming
from study.progress import Bars


def export_studies(
    dataset: DatasetPath,
    keys: Annotated[
        list[str] | None, typer.Argument(help="Keys of studies, or their beginnings.")
    ] = None,
    output: Annotated[
        Path | None,
        typer.Option("--output", "-o", help="Folder for NIfTI files; made if missing."),
    ] = None,
    everything: Annotated[
        bool, typer.Option("--all", help="NIfTI files of every study, not of those named.")
    ] = False,
    split: Split = None,
    units: Annotated[
        bool,
        typer.Option("--units", help="Values in source units (HU) by scl_slope and scl_inter."),
    ] = False,
    table: Annotated[
        Path | None, typer.Option(help="Table of key, split and labels: .csv or .parquet.")
    ] = None,
    predictions: Annotated[
        Path | None,
        typer.Option(help="Table with a column key, whose columns are put beside the labels."),
    ] = None,
    force: Annotated[bool, typer.Option("--force", help="Replace files that are there.")] = False,
    as_json: AsJson = False,
) -> None:
    """Write studies as NIfTI with their facts beside them (-o), or labels as a table (--table).

    NIfTI: index (w, h, d), world RAS in mm. A study is a folder: s00.nii.gz and s00.json a scan,
    study.json, sentences.txt.
    """
    if output is None and table is None:
        raise UserError("give -o FOLDER for NIfTI files, --table FILE for labels, or both")
    if predictions is not None and table is None:
        raise UserError("--predictions: give --table FILE to write them to, beside the labels")
    if output is not None and not (keys or everything or split):
        raise UserError("-o: name keys of studies, or give --split or --all")
    if keys and everything:
        raise UserError("--all: give keys of studies or --all, not both")
    opened = Dataset.open(dataset)
    refs = _chosen(opened, keys, split)
    if table is not None:
        _check_table(table, force)
    if output is not None:
        if output.exists() and not output.is_dir():
            raise UserError(f"-o {output}: it is a file; give a folder")
        if not force:
            export.refuse_existing(output, refs)
    facts: dict[str, Any] = {"studies": len(refs)}
    if table is not None:
        facts |= _write_table(opened, refs, table, predictions)
    if output is not None:
        facts |= _write_scans(opened, refs, output, units)
    if as_json:
        typer.echo(json.dumps(facts, sort_keys=True))
    else:
        _tell(facts, output, table)
    if facts.get("unreadable"):
        raise typer.Exit(EXIT_REJECTED)


def _chosen(dataset: Dataset, keys: list[str] | None, split: str | None) -> list[SampleRef]:
    refs = list(dataset.samples(split))
    if not keys:
        return refs
    found = {ref.key: ref for ref in map(dataset.find, keys)}
    other = [ref for ref in found.values() if split not in (None, ref.split)]
    if other:
        raise UserError(f"--split {split}: study {other[0].key} is in {other[0].split}")
    return list(found.values())


def _check_table(table: Path, force: bool) -> None:
    export_table.check_ending("--table", table)
    if not table.absolute().parent.is_dir():
        raise UserError(f"--table {table}: there is no folder {table.parent}")
    if table.exists() and not force:
        raise UserError(f"--table {table} is there already; --force replaces it")


def _write_table(
    dataset: Dataset, refs: list[SampleRef], file: Path, predictions: Path | None
) -> dict[str, Any]:
    rows = export_table.labels_table(dataset, refs)
    facts: dict[str, Any] = {}
    if predictions is not None:
        read = export_table.read_predictions(predictions)
        rows, without, unknown = export_table.beside(rows, read)
        if unknown == len(read):
            what = f"none of its {len(read)} keys is that of one of the {len(refs)} studies"
            raise UserError(f"--predictions {predictions}: {what}")
        facts = {"without_prediction": without, "predictions_of_no_study": unknown}
    with naming(file):
        export_table.write_table(file, rows)
    return {**facts, "table": str(file), "columns": rows.column_names}


def _write_scans(
    dataset: Dataset, refs: list[SampleRef], output: Path, units: bool
) -> dict[str, Any]:
    files, unreadable, folder = 0, [], LocalStore(output)
    with Bars(Console(stderr=True), {"studies": "writing studies"}) as bars:
        for done, ref in enumerate(refs, 1):
            try:
                with naming(output / ref.key):
                    files += len(export.export_study(dataset, ref, folder, units=units))
            except CorruptSample as error:
                unreadable.append(str(error))
            bars("studies", done, len(refs))
    return {"folder": str(output), "files": files, "unreadable": unreadable}


def _tell(facts: dict[str, Any], output: Path | None, table: Path | None) -> None:
    if table is not None:
        typer.echo(f"{table}: {facts['studies']} studies, {len(facts['columns'])} columns")
    if "without_prediction" in facts:
        typer.echo(
            f"{facts['without_prediction']} studies have no prediction, "
            f"{facts['predictions_of_no_study']} predictions are of no study here"
        )
    if output is not None:
        typer.echo(
            f"{output}: {facts['files']} files of {facts['studies'] - len(facts['unreadable'])} "
            "studies. Protected data: faces and texts are in them"
        )
        for problem in facts["unreadable"]:
            typer.echo(problem)
