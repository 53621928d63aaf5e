"""`dicom2clip shards ls`, `info`, `show`: what is in a dataset.

In: the folder of a dataset. Out: tables for people, `--json` for programs.
"""

from __future__ import annotations

import json
from typing import Annotated, Any

import typer

from shards import layout
from shards.cli_options import AsJson, DatasetPath, Split, print_table
from shards.reader import Dataset


def list_studies(
    dataset: DatasetPath,
    split: Split = None,
    rejected: Annotated[
        bool, typer.Option("--rejected", help="Rejected studies, with their reasons.")
    ] = False,
    limit: Annotated[int, typer.Option(min=0, help="At most so many studies; 0 lists all.")] = 0,
    as_json: AsJson = False,
) -> None:
    """List studies, one a line."""
    opened = Dataset.open(dataset)
    current = {(ref.key, ref.shard) for ref in opened.samples(split)}
    rows = [
        row
        for row in opened.table().to_pylist(maps_as_pydicts="strict")
        if (
            row["status"] == "rejected" and split in (None, row["split"])
            if rejected
            else (row["key"], row["shard"]) in current
        )
    ]
    shown = rows[:limit] if limit else rows
    if as_json:
        for row in shown:
            typer.echo(json.dumps(row, sort_keys=True))
        return
    if rejected:
        print_table(
            ("key", "split", "shard", "reason"),
            ((r["key"], r["split"], r["shard"], r["reason"]) for r in shown),
        )
    else:
        columns = (
            "key",
            "split",
            "shard",
            "scans",
            "modality",
            "planes",
            "windows",
            "sentences",
            "MB",
        )
        print_table(columns, (_line(row) for row in shown))
    if len(shown) < len(rows):
        typer.echo(f"{len(shown)} of {len(rows)} studies")


def info(dataset: DatasetPath, as_json: AsJson = False) -> None:
    """Counts, settings and provenance of a dataset."""
    opened = Dataset.open(dataset)
    facts = opened.info.model_dump(mode="json")
    if as_json:
        typer.echo(json.dumps(facts, sort_keys=True))
        return
    lines: list[tuple[str, str]] = [("path", dataset)]
    for name, value in facts.items():
        if name in ("settings", "files", "sha256"):
            continue
        if isinstance(value, dict):
            lines += [(f"{name}: {part}", _short(inner)) for part, inner in value.items()]
        else:
            lines.append((name, _short(value)))
    print_table(("fact", "value"), lines)


def show(
    dataset: DatasetPath,
    key: Annotated[str, typer.Argument(help="Key of a study, or its beginning.")],
    as_json: AsJson = False,
) -> None:
    """Print one study: its scans, sentences and labels."""
    opened = Dataset.open(dataset)
    ref = opened.find(key)
    meta = opened.metadata(ref)
    if as_json:
        typer.echo(json.dumps({**meta, "shard": ref.shard}, sort_keys=True))
        return
    place = f"patient {meta['patient']}, shard {layout.shard_stem(ref.shard)}"
    facts = f"{meta['key']}  {meta['split']}, {place}"
    known = [f"{meta['age_years']} years" if meta["age_years"] is not None else "", meta["sex"]]
    typer.echo(", ".join([facts, *(fact for fact in known if fact)]))
    print_table(
        (
            "scan",
            "modality",
            "plane",
            "window",
            "limits",
            "shape",
            "spacing mm",
            "source",
            "source mm",
            "flags",
        ),
        (_scan_line(scan) for scan in meta["scans"]),
    )
    for variant, sentences in meta["report"]["sentences"].items():
        typer.echo(f"sentences, {variant}:")
        for sentence in sentences:
            typer.echo(f"  - {sentence}")
    for label, value in sorted(meta["labels"].items()):
        typer.echo(f"label {label}: {value:g}")


def _line(row: dict[str, Any]) -> tuple[object, ...]:
    said = ", ".join(f"{count} {variant}" for variant, count in row["num_sentences"].items())
    kinds = (" ".join(row[name]) for name in ("modalities", "planes", "windows"))
    megabytes = f"{row['bytes'] / 1e6:.1f}"
    return (row["key"][:12], row["split"], row["shard"], row["num_scans"], *kinds, said, megabytes)


def _scan_line(scan: dict[str, Any]) -> tuple[object, ...]:
    return (
        scan["member"],
        scan["modality"],
        scan["plane"],
        scan["window"],
        " to ".join(f"{value:.5g}" for value in scan["window_limits"]),
        "x".join(str(size) for size in scan["shape"]),
        "x".join(f"{value:.3g}" for value in scan["spacing_mm"]),
        "x".join(str(size) for size in scan["source_shape"]),
        "x".join(f"{value:.3g}" for value in scan["source_spacing_mm"]),
        " ".join(scan["flags"]),
    )


def _short(value: Any) -> str:
    if isinstance(value, dict):
        return ", ".join(f"{name} {inner}" for name, inner in value.items())
    return "x".join(str(part) for part in value) if isinstance(value, list) else str(value)
