"""A benchmark's result -> a table for the terminal, JSON to cite, CSV to compare.

In: a `BenchmarkResult` and its `Source`. Out: `RUN/eval/NAME.json` (everything needed to reproduce
the numbers, and the numbers), `RUN/eval/NAME.csv` (truth and score of every study, for curves and
paired tests) and a rich table. A value that is not defined is null in JSON and a dash in the table,
never a number.
"""

from __future__ import annotations

import csv
import io
import json
import math
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any

from rich.console import Console
from rich.markup import escape
from rich.table import Table

from eval.scores import LEVEL, Score
from eval.zeroshot import BenchmarkResult, ClassResult
from shards.files import write_atomic

METRIC_TITLES = {
    "auc": "AUC",
    "balanced_accuracy": "balanced accuracy",
    "weighted_f1": "weighted F1",
}


@dataclass(frozen=True)
class Source:
    """What was scored: enough to know whether two results may be compared."""

    pipeline: str
    checkpoint: str
    checkpoint_sha256: str
    step: int
    model: str
    prefix: str
    dataset: str
    """Fingerprint of the settings that shaped the dataset's arrays."""
    scans_sha256: str
    """Digest of the split's scans: equal where two results saw the very same voxels."""
    split: str
    max_scans: int
    versions: dict[str, str]


def result_facts(result: BenchmarkResult, source: Source) -> dict[str, Any]:
    """The result as plain JSON values; NaN becomes None."""
    return {
        "benchmark": result.benchmark.model_dump(mode="json"),
        "source": asdict(source),
        "studies": result.studies,
        "patients": result.patients,
        "set_aside": result.set_aside,
        "bootstrap": {
            "resamples": result.resamples,
            "seed": result.seed,
            "unit": "patient",
            "level": LEVEL,
        },
        "overall": {metric: _score_facts(score) for metric, score in result.overall.items()},
        "averaged": [c.name for c in result.classes if not c.left_out],
        "left_out": {c.name: c.left_out for c in result.classes if c.left_out},
        "classes": [_class_facts(c) for c in result.classes],
    }


def write_result(result: BenchmarkResult, source: Source, folder: Path) -> tuple[Path, bool]:
    """Write NAME.csv, then NAME.json; returns the latter, and False where both were there already
    with the same bytes."""
    name = result.benchmark.name
    text = json.dumps(result_facts(result, source), indent=2, ensure_ascii=False, allow_nan=False)
    folder.mkdir(parents=True, exist_ok=True, mode=0o700)
    contents = {
        folder / f"{name}.csv": _study_csv(result).encode(),
        folder / f"{name}.json": f"{text}\n".encode(),
    }
    changed = any(not p.exists() or p.read_bytes() != data for p, data in contents.items())
    if changed:
        for path, data in contents.items():
            write_atomic(path, data)
    return folder / f"{name}.json", changed


def print_result(console: Console, result: BenchmarkResult, source: Source) -> None:
    """A table of classes and their mean, and under it what a reader must know."""
    benchmark = result.benchmark
    table = Table(title=escape(benchmark.title), title_justify="left")
    table.add_column("class")
    table.add_column("yes", justify="right")
    table.add_column("no", justify="right")
    metrics = [m for m in benchmark.metrics if m not in result.overall]
    for metric in metrics:
        table.add_column(_title(metric, benchmark.specificity), justify="right")
    for c in result.classes:
        cells = [_cell(c.scores.get(metric)) for metric in metrics]
        counts = str(c.positives), str(c.negatives)
        table.add_row(escape(c.name), *counts, *cells, style="dim" if c.left_out else None)
    if metrics:
        table.add_section()
        means = [_cell(result.overall.get(f"macro_{metric}")) for metric in metrics]
        table.add_row("mean", "", "", *means, style="bold")
    console.print(table)
    for metric in benchmark.metrics:
        if metric in result.overall:
            console.print(
                f"{_title(metric, benchmark.specificity)}: {_cell(result.overall[metric])}"
            )
    for line in _notes(result, source):
        console.print(line, style="dim", markup=False, highlight=False)


def _notes(result: BenchmarkResult, source: Source) -> list[str]:
    aside = f", {result.set_aside} set aside without a usable label" if result.set_aside else ""
    cohort = f"{result.studies} studies of {result.patients} patients in split {source.split}"
    lines = [
        f"{cohort}{aside}; {Path(source.checkpoint).name}, step {source.step}",
        f"Prompts such as: {result.classes[0].positive_texts[0]}",
    ]
    if any(not math.isnan(score.low) for score in result.overall.values()):
        lines.append(
            f"In brackets: {LEVEL:.0%} interval from {result.resamples} resamples of patients"
        )
    left_out = [f"{c.name} ({c.left_out})" for c in result.classes if c.left_out]
    if left_out:
        lines.append(f"Not scored and not in the mean: {'; '.join(left_out)}")
    return lines


def _title(metric: str, specificity: float) -> str:
    if metric == "sensitivity":
        return f"sensitivity at {specificity:.0%} specificity"
    return METRIC_TITLES[metric]


def _cell(score: Score | None) -> str:
    if score is None or math.isnan(score.value):
        return "-"
    if math.isnan(score.low):
        return f"{score.value:.3f}"
    return f"{score.value:.3f} \\[{score.low:.2f}, {score.high:.2f}]"


def _class_facts(c: ClassResult) -> dict[str, Any]:
    return {
        "name": c.name,
        "label": c.label,
        "positives": c.positives,
        "negatives": c.negatives,
        "unknown": c.unknown,
        "left_out": c.left_out or None,
        "scores": {metric: _score_facts(score) for metric, score in c.scores.items()},
        "positive_texts": list(c.positive_texts),
        "negative_texts": list(c.negative_texts),
    }


def _score_facts(score: Score) -> dict[str, float | None]:
    return {k: None if math.isnan(v) else v for k, v in asdict(score).items()}


def _study_csv(result: BenchmarkResult) -> str:
    """A row a study: its pseudonym, then truth (empty: unknown) and score of every class."""
    out = io.StringIO()
    table = csv.writer(out, lineterminator="\n")
    names = [c.name for c in result.classes]
    table.writerow(["key", *(f"{n}: {what}" for n in names for what in ("truth", "score"))])
    for key, truth_C, scores_C in zip(result.keys, result.truth_NC, result.scores_NC, strict=True):
        cells: list[str] = []
        for truth, score in zip(truth_C.tolist(), scores_C.tolist(), strict=True):
            cells += ["" if math.isnan(truth) else str(int(truth)), repr(score)]
        table.writerow([key, *cells])
    return out.getvalue()
