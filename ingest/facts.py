"""Reports and labels made of facts of the series themselves, to try a folder out that comes without
reports.

In: grouped studies. Out: `reports.csv` and `labels.csv` in the run folder, in the format of any
other such table: what was scanned (modality, body part, weighting, plane, slices), one sentence a
scan; labels `ct` and `mr`. No finding is claimed.
"""

from __future__ import annotations

import csv
import io
from collections.abc import Mapping
from pathlib import Path

import numpy as np

from ingest.geometry import normal_of
from ingest.group import Grouping
from study import private
from study.records import ScanPlan

REPORTS, LABELS = "reports", "labels"
PLANES = ("sagittal", "coronal", "axial")
"""By the axis (x, y, z of LPS) to which the slice normal is nearest."""


def rows_of(
    groupings: Mapping[str, Grouping],
) -> tuple[dict[str, str], dict[str, dict[str, float]]]:
    """Reports and labels by StudyInstanceUID, of the studies that have scans."""
    reports = {uid: report(g.plans) for uid, g in groupings.items() if g.plans}
    labels = {uid: modality_labels(g.plans) for uid, g in groupings.items() if g.plans}
    return reports, labels


def write_part(
    folder: Path,
    part: int,
    reports: Mapping[str, str],
    labels: Mapping[str, Mapping[str, float]],
) -> None:
    """Keep the rows of a part of the studies, until `join_parts`."""
    rows = [[uid, *(int(v) for v in values.values())] for uid, values in labels.items()]
    for name, lines in ((REPORTS, reports.items()), (LABELS, rows)):
        table = io.StringIO(newline="")
        csv.writer(table).writerows(lines)
        private.private_folder(folder / name)
        private.write_text(folder / name / f"{part:05d}.csv", table.getvalue())


def join_parts(folder: Path, parts: int, run: Path) -> None:
    """Write both tables into the run folder, from all parts."""
    heads = {REPORTS: ["StudyInstanceUID", "report"], LABELS: ["StudyInstanceUID", "ct", "mr"]}
    for name, head in heads.items():
        with private.replacing(run / f"{name}.csv") as stream:
            line = io.StringIO(newline="")
            csv.writer(line).writerow(head)
            stream.write(line.getvalue().encode())
            for part in range(parts):
                stream.write((folder / name / f"{part:05d}.csv").read_bytes())


def report(plans: tuple[ScanPlan, ...]) -> str:
    """A report that lists the scans of a study, one sentence each.

    >>> report(())
    'FINDINGS:\\n'
    """
    return "FINDINGS:\n" + "\n".join(dict.fromkeys(_sentence(plan) for plan in plans))


def modality_labels(plans: tuple[ScanPlan, ...]) -> dict[str, float]:
    """1 for each modality that the study has, else 0."""
    found = {plan.modality for plan in plans}
    return {"ct": float("CT" in found), "mr": float("MR" in found)}


def _sentence(plan: ScanPlan) -> str:
    normal = np.abs(normal_of((*plan.row_direction, *plan.column_direction)))
    plane = PLANES[int(normal.argmax())]
    body_part = str(plan.acquisition.get("body_part", "")).lower()
    kind = "CT" if plan.modality == "CT" else f"{_weighting(plan)}MRI"
    where = f" of the {body_part}" if body_part else ""
    slices = f"{len(plan.slices)} slices of {plan.slice_spacing_mm:.0f} mm"
    return f"There is {'an' if plane == 'axial' else 'a'} {plane} {kind}{where} with {slices}."


def _weighting(plan: ScanPlan) -> str:
    """A coarse contrast from echo and repetition time, as a reader would guess it; empty where the
    tags are missing."""
    if plan.acquisition.get("b_value_s_per_mm2"):
        return "diffusion-weighted "
    echo, repetition = (
        plan.acquisition.get("echo_time_ms"),
        plan.acquisition.get("repetition_time_ms"),
    )
    if not isinstance(echo, float) or not isinstance(repetition, float):
        return ""
    if echo < 30:
        return "T1-weighted "
    return "T2-weighted " if repetition > 1500 else "T2*-weighted "
