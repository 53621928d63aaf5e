"""`dicom2clip shards import-hlip`: HLIP's folder of .pt files -> a dataset.

In: roots, JSON files of scans and reports. Out: a dataset; exit code 3 where files were missing or
broken.
"""

from __future__ import annotations

import json
from pathlib import Path
from typing import Annotated

import typer
from rich.console import Console

from shards import allowed, layout
from shards.catalog import DatasetInfo
from shards.cli_options import AsJson
from shards.hlip import Reading
from shards.hlip_tables import HlipSource, read_column, read_studies
from shards.import_hlip import LEDGER, ImportSettings, import_studies
from shards.store import store_at
from study import private
from study.alone import alone_in
from study.errors import EXIT_REJECTED, UserError
from study.ingest_sections import Intensity
from study.progress import Bars
from study.pseudonyms import project_key
from study.quantities import size_bytes
from study.records import FAILURE_REASONS

FAILURES = {str(reason) for reason in FAILURE_REASONS}


def import_dataset(
    roots: Annotated[
        list[Path],
        typer.Argument(
            metavar="ROOT...", help="Folders of <uid>/<scan>/img.pt.", show_default=False
        ),
    ],
    dataset: Annotated[
        str, typer.Argument(metavar="DATASET", help="Folder or URL to be made.", show_default=False)
    ],
    scans: Annotated[
        list[Path], typer.Option(help="JSON: uid -> names of its scans; one file a root, in order.")
    ],
    run: Annotated[
        Path, typer.Option(help="Private folder (0700): project key, what became of every scan.")
    ],
    reports: Annotated[
        list[Path],
        typer.Option(help="JSON: uid -> sentences, or a text; one file a root, in order."),
    ] = [],
    scrubbed: Annotated[
        bool,
        typer.Option("--scrubbed", help="I state: nothing in the reports identifies anyone."),
    ] = False,
    uids: Annotated[
        Path | None, typer.Option(help="CSV with a column uid: only these studies.")
    ] = None,
    patients: Annotated[
        Path | None, typer.Option(help="CSV with columns uid and patient; else each uid is one.")
    ] = None,
    key_file: Annotated[
        Path | None, typer.Option(help="Project key; RUN/project.key if not given.")
    ] = None,
    split: Annotated[
        list[str], typer.Option(help="train, valid or test; for all roots, or one for each.")
    ] = [],
    valid_fraction: Annotated[float, typer.Option(min=0, max=1, help="Of patients.")] = 0.0,
    test_fraction: Annotated[float, typer.Option(min=0, max=1, help="Of patients.")] = 0.0,
    modality: Annotated[
        str, typer.Option(help="CT or MR; else CT where a name has a window, MR elsewhere.")
    ] = "",
    shape: Annotated[
        tuple[int, int, int], typer.Option(help="D H W to store; larger in plane is cropped.")
    ] = (48, 224, 224),
    spacing_mm: Annotated[
        tuple[float, float, float], typer.Option(help="Spacing of D H W to assume.")
    ] = (1.0, 1.0, 1.0),
    window: Annotated[
        list[str], typer.Option(help="Limits of a CT window that you know: brain=40/80 (HU).")
    ] = [],
    variant: Annotated[str, typer.Option(help="Name of the sentences' summariser.")] = "hlip",
    compression: Annotated[str, typer.Option(help="none or zstd.")] = "none",
    shard_bytes: Annotated[str, typer.Option(help="Of the arrays of a shard.")] = "1 GB",
    name: Annotated[str, typer.Option(help="Name of the dataset.")] = "hlip",
    as_json: AsJson = False,
) -> None:
    """Convert HLIP's <root>/<uid>/<scan>/img.pt and its JSON files into a dataset.

    HLIP's files tell neither geometry nor limits of windows: scans are flagged GEOMETRY_ASSUMED and
    LIMITS_ASSUMED. The same command goes on where it was stopped.
    """
    if reports and not scrubbed:
        raise UserError(
            "--reports: texts are stored as they are, and a dataset holds scrubbed text only; give "
            "--scrubbed if nothing in them identifies anyone"
        )
    settings = ImportSettings(
        Reading(_shape(shape), _modality(modality), _spacing(spacing_mm), _limits(window)),
        variant,
        compression,
        _bytes(shard_bytes),
        valid_fraction,
        test_fraction,
    )
    _check(settings, split)
    sources = _sources(roots, scans, reports, split)
    chosen = None if uids is None else {uid for (uid,) in read_column("--uids", uids, "uid")}
    known = {} if patients is None else _patients(patients)
    studies, left_out = read_studies(sources, variant, uids=chosen, patients=known)
    private.private_folder(run)
    with alone_in(run), Bars(Console(stderr=True), {"studies": "importing"}) as bars:
        key = project_key(key_file or run / "project.key")
        place = store_at(dataset)
        info, scans_out = import_studies(
            studies, settings, place, run, key, name=name, on_progress=bars
        )
    _tell(info, scans_out, left_out, run, place.url, as_json)
    if FAILURES & {*info.by_reason, *scans_out}:
        raise typer.Exit(EXIT_REJECTED)


def _tell(
    info: DatasetInfo,
    scans_out: dict[str, int],
    left_out: int,
    run: Path,
    dataset: str,
    as_json: bool,
) -> None:
    facts = {
        "studies": info.num_studies,
        "scans": info.num_scans,
        "shards": info.num_shards,
        "rejected": info.by_reason,
        "scans_left_out": dict(sorted(scans_out.items())),
        "not_in_uids": left_out,
    }
    if as_json:
        typer.echo(json.dumps(facts, sort_keys=True))
        return
    typer.echo(
        f"{dataset}: {info.num_studies} studies, {info.num_scans} scans in {info.num_shards} shards"
    )
    for what, counts in (("studies", info.by_reason), ("scans", scans_out)):
        for reason, count in sorted(counts.items()):
            typer.echo(f"{count} {what} left out: {reason}")
    if left_out:
        typer.echo(f"{left_out} studies left out: not in --uids")
    if info.by_reason or scans_out:
        typer.echo(f"which ones, and why: {run / LEDGER}")


def _sources(
    roots: list[Path], scans: list[Path], reports: list[Path], split: list[str]
) -> list[HlipSource]:
    for option, values in (("--scans", scans), ("--reports", reports), ("--split", split)):
        allowed_counts = {len(roots)} | ({0} if option != "--scans" else set())
        allowed_counts |= {1} if option == "--split" else set()
        if len(values) not in allowed_counts:
            raise UserError(
                f"{option}: {len(values)} given for {len(roots)} roots; give one for each"
            )
    for root in roots:
        if not root.is_dir():
            raise UserError(f"there is no folder {root}")
    texts: list[Path | None] = [*reports] if reports else [None] * len(roots)
    splits = (split or [""]) * (len(roots) if len(split) < 2 else 1)
    return [HlipSource(*facts) for facts in zip(roots, scans, texts, splits, strict=True)]


def _check(settings: ImportSettings, split: list[str]) -> None:
    if settings.compression not in layout.SUFFIX:
        raise UserError(f"--compression {settings.compression}: none or zstd")
    if not allowed.VARIANT.fits(settings.variant):
        raise UserError(
            f"--variant {settings.variant!r}: a letter first, then letters, digits, ._-"
        )
    wrong = [name for name in split if name not in allowed.SPLITS]
    if wrong:
        raise UserError(f"--split {wrong[0]}: {', '.join(allowed.SPLITS)}")
    if split and (settings.valid_fraction or settings.test_fraction):
        raise UserError("--split: give splits or fractions of patients, not both")
    if settings.valid_fraction + settings.test_fraction > 1:
        raise UserError("--valid-fraction and --test-fraction: together at most 1")


def _patients(file: Path) -> dict[str, str]:
    rows = read_column("--patients", file, "uid", "patient")
    known = {row[0]: row[1] for row in rows}
    if any(known[uid] != patient for uid, patient in rows):
        raise UserError(f"--patients {file}: a uid has two patients")
    return known


def _shape(shape: tuple[int, int, int]) -> tuple[int, int, int]:
    if min(shape) < 1:
        raise UserError(f"--shape {' '.join(map(str, shape))}: three positive numbers, D H W")
    return shape


def _spacing(spacing_mm: tuple[float, float, float]) -> tuple[float, float, float]:
    if not all(0 < value < 100 for value in spacing_mm):
        raise UserError("--spacing-mm: three lengths in mm, above 0 and below 100, of D H W")
    return spacing_mm


def _modality(modality: str) -> str:
    if modality not in ("", "CT", "MR"):
        raise UserError(f"--modality {modality}: CT or MR")
    return modality


def _limits(windows: list[str]) -> dict[str, tuple[float, float]]:
    """Window -> (lower, upper), of texts like brain=40/80 (centre/width)."""
    known = Intensity().ct_windows
    found = {}
    for text in windows:
        name, _, numbers = text.partition("=")
        centre, _, width = numbers.partition("/")
        try:
            middle, half = float(centre), float(width) / 2
        except ValueError:
            half = 0.0
        if name not in known or not 0 < half < 1e5 or not abs(middle) < 1e5:
            names = ", ".join(sorted(known))
            raise UserError(f"--window {text}: NAME=CENTRE/WIDTH in HU; names are {names}")
        found[name] = (middle - half, middle + half)
    return dict(sorted(found.items()))


def _bytes(text: str) -> int:
    try:
        return max(1, size_bytes(text))
    except (ValueError, IndexError):
        raise UserError(f"--shard-bytes {text!r}: a number and a unit, as in 1 GB") from None
