"""A synthetic cohort on disk: DICOM files as a PACS would export them, reports, and true labels.

In: a folder, the number of studies, a seed. Out: `dicom/<patient>/<study>/...`, `reports.csv`,
`labels.csv`, and the counts of everything written, so that ingestion can be checked against them.
Idea: what each study holds is a pure function of (seed, position in the cohort), so the bytes do
not depend on the number of workers; a series' header is encoded once and only patched per slice.
"""

from __future__ import annotations

import csv
import io
import multiprocessing
from collections import Counter
from collections.abc import Callable, Iterator
from concurrent.futures import ProcessPoolExecutor
from dataclasses import dataclass, fields
from functools import partial
from pathlib import Path

import numpy as np

from ingest import cohort_dicom as dicom
from ingest.cohort_reports import write_report
from ingest.phantom import (
    CONTRASTS,
    FINDINGS,
    PLANES,
    Head,
    SeriesParams,
    draw_head,
    sample_series,
)

SECOND_STUDY_RATE = 0.15  # part of the patients who come back for a follow-up
COVERAGE_MM = 168.0  # extent of a stack across its slices
FIELD_OF_VIEW_MM = 208.0
MISSING_REPORT_EVERY = 40  # one study in so many has no report
NUM_SURPLUS_REPORTS = 2  # reports of studies that are not in the folder

File = tuple[str, str, bytes]  # the count it belongs to, its name below the study, its content


@dataclass(frozen=True)
class StudyPlan:
    """Which study of the cohort this is; all else follows from it."""

    seed: int
    index: int  # position in the cohort
    patient: int
    visit: int  # 0 for a patient's first study, 1 for the follow-up


@dataclass(frozen=True)
class CohortSummary:
    """Counts of what was written. The file counts, all but the last, sum to `num_files`."""

    num_patients: int
    num_studies: int
    num_series: int  # imaging series proper: neither localizers nor derived
    num_slices: int  # files of those series, each once
    num_localizers: int  # files, as all below
    num_derived: int
    num_duplicates: int  # byte-identical copies of slices
    num_truncated: int  # copies of slices that end within the pixel data
    num_empty: int
    num_not_dicom: int
    num_without_pixels: int  # DICOM without an image: structured reports, directories
    num_files: int  # in the folder `dicom`
    num_report_rows: int
    num_missing_reports: int  # studies without a row
    num_surplus_reports: int  # rows without a study
    num_positive: tuple[tuple[str, int], ...]  # studies per finding, and "normal"


def plan_cohort(num_studies: int, seed: int) -> list[StudyPlan]:
    """The studies of a cohort in order; some patients come twice."""
    plans: list[StudyPlan] = []
    patient = 0
    while len(plans) < num_studies:
        twice = np.random.default_rng((seed, patient, 99)).random() < SECOND_STUDY_RATE
        for visit in range(2 if twice else 1):
            plans.append(StudyPlan(seed, len(plans), patient, visit))
        patient += 1
    return plans[:num_studies]


def study_head(plan: StudyPlan) -> Head:
    """The head that was scanned in a study, with its findings."""
    return draw_head(plan.seed, plan.patient, plan.visit)


def study_series(plan: StudyPlan) -> list[SeriesParams]:
    """Two to five series of a study, each of another contrast, most of them axial."""
    rng = np.random.default_rng((plan.seed, plan.index, 2))
    num_series = int(rng.choice([2, 3, 4, 5], p=[0.25, 0.4, 0.25, 0.1]))
    contrasts = rng.permutation(CONTRASTS)[:num_series]
    series = []
    for contrast in contrasts:
        matrix = int(rng.choice([64, 72, 80, 96], p=[0.3, 0.3, 0.3, 0.1]))
        num_slices = int(rng.integers(14, 21))
        series.append(
            SeriesParams(
                contrast=str(contrast),
                plane=str(rng.choice(PLANES, p=[0.7, 0.2, 0.1])),
                matrix=matrix,
                spacing_mm=round(FIELD_OF_VIEW_MM * rng.uniform(0.97, 1.03) / matrix, 3),
                slice_spacing_mm=round(COVERAGE_MM / num_slices, 2),
                num_slices=num_slices,
                tilt_deg=round(float(rng.uniform(-12, 12)), 1) if rng.random() < 0.15 else 0.0,
                noise_seed=int(rng.integers(2**31)),
            )
        )
    return series


def write_cohort(
    folder: Path,
    *,
    num_studies: int,
    seed: int,
    workers: int,
    shuffle_reports: bool = False,
    progress: Callable[[int, int], None] | None = None,
) -> CohortSummary:
    """Write a cohort into a new or empty folder.

    `progress(done, total)` is called in this process as studies are finished. With
    `shuffle_reports` the texts are permuted between studies (the control of the demo); rows and
    labels stay. Equal arguments give equal bytes, whatever `workers`.
    Raises ValueError if the folder holds anything, or for a number of studies below one.
    """
    if num_studies < 1:
        raise ValueError(f"num_studies is {num_studies}; at least 1 is needed")
    if folder.exists() and any(folder.iterdir()):
        raise ValueError(f"{folder} is not empty; give a new folder for the synthetic cohort")
    (folder / "dicom").mkdir(parents=True, exist_ok=True)
    plans = plan_cohort(num_studies, seed)
    counts: Counter[str] = Counter()
    write = partial(write_study, folder / "dicom")
    for done, study_counts in enumerate(_map_in_order(write, plans, workers), 1):
        counts.update(study_counts)
        if progress is not None:
            progress(done, num_studies)
    num_missing = _write_reports(folder / "reports.csv", plans, shuffle_reports)
    positive = _write_labels(folder / "labels.csv", plans)
    file_counts = {f.name: counts[f.name] for f in fields(CohortSummary) if f.name in dicom.KINDS}
    return CohortSummary(
        num_patients=len({plan.patient for plan in plans}),
        num_studies=num_studies,
        num_series=counts["num_series"],
        num_files=sum(file_counts.values()),
        num_report_rows=num_studies - num_missing + NUM_SURPLUS_REPORTS,
        num_missing_reports=num_missing,
        num_surplus_reports=NUM_SURPLUS_REPORTS,
        num_positive=positive,
        **file_counts,
    )


def _map_in_order(
    write: Callable[[StudyPlan], Counter[str]], plans: list[StudyPlan], workers: int
) -> Iterator[Counter[str]]:
    """Results of `write` over the plans, in order, with or without other processes."""
    if workers <= 1:
        yield from map(write, plans)
        return
    # spawn: the caller may hold threads (torch, dask), which a fork would not survive
    context = multiprocessing.get_context("spawn")
    with ProcessPoolExecutor(workers, mp_context=context) as pool:
        yield from pool.map(write, plans, chunksize=4)


def write_study(dicom_folder: Path, plan: StudyPlan) -> Counter[str]:
    """Write all files of one study; returns counts by the names of `CohortSummary`."""
    rng = np.random.default_rng((plan.seed, plan.index, 3))
    head = study_head(plan)
    ids = dicom.StudyIds.of(plan.seed, plan.patient, plan.visit)
    all_series = study_series(plan)
    files: list[File] = []
    volumes: list[np.ndarray] = []
    for number, series in enumerate(all_series, 2):
        volume, geometry = sample_series(head, series)
        volumes.append(volume)
        header = dicom.SeriesHeader(ids, number, series, geometry, reverse=rng.random() < 0.3)
        slices = [("num_slices", *header.encode(k, pixels)) for k, pixels in enumerate(volume)]
        files += slices
        if rng.random() < 0.12:  # exact duplicates, as when a transfer is repeated
            again = rng.choice(len(slices), size=3, replace=False)
            files += [("num_duplicates", f"copy_{slices[k][1]}", slices[k][2]) for k in again]
    if rng.random() < 0.5:
        files += [("num_localizers", *f) for f in dicom.localizer_files(ids, head, plan.seed)]
    if rng.random() < 0.25:
        files += [("num_derived", *f) for f in dicom.projection_files(ids, volumes[0])]
    if rng.random() < 0.15:
        files.append(("num_derived", *dicom.screen_save_file(ids, volumes[0])))
    files += _faulty_files(plan, ids, files)
    _write_files(dicom_folder / ids.patient_id / ids.folder_name, files, rng)
    return Counter(count for count, _, _ in files) + Counter(num_series=len(all_series))


def _faulty_files(plan: StudyPlan, ids: dicom.StudyIds, files: list[File]) -> list[File]:
    """What else lies in export folders; which study gets what is fixed by its position."""
    index = plan.index
    extra: list[File] = []
    if index % 20 == 3:
        _, name, whole = files[5]
        extra.append(("num_truncated", f"part_{name}", whole[: len(whole) * 3 // 5]))
    if index % 50 == 5:
        extra.append(("num_empty", "IM_EMPTY.dcm", b""))
    if index % 20 == 1:
        extra.append(("num_not_dicom", "readme.txt", b"Exported for research.\n"))
        extra.append(("num_not_dicom", "export.json", b'{"format": "dicom", "version": 1}\n'))
    if index % 20 == 2:
        signature = b"\x89PNG\r\n\x1a\n"
        extra.append(("num_not_dicom", "thumbnail", signature + bytes(range(256)) * 2))
    if index % 10 == 4:
        extra.append(("num_without_pixels", *dicom.structured_report_file(ids)))
    if index % 50 == 0:
        extra.append(("num_without_pixels", *dicom.directory_file(ids)))
    return extra


def _write_files(folder: Path, files: list[File], rng: np.random.Generator) -> None:
    """Write under one of several naming styles, so that names tell a crawler nothing."""
    style = int(rng.integers(4))
    order = rng.permutation(len(files))
    for subfolder in {name.rpartition("/")[0] for _, name, _ in files} if style == 1 else {""}:
        (folder / subfolder).mkdir(parents=True, exist_ok=True)
    for position, k in enumerate(order.tolist()):
        count, name, content = files[k]
        if style == 1:  # a folder per series
            path = folder / name
        elif style == 2 and count == "num_slices":  # numbered, no extension
            path = folder / f"IM{position:05d}"
        elif style == 3 and count == "num_slices":
            path = folder / f"I{position:04d}.{'dcm' if position % 2 else 'IMA'}"
        else:
            path = folder / name.replace("/", "_")
        path.write_bytes(content)


def _write_reports(path: Path, plans: list[StudyPlan], shuffle: bool) -> int:
    """Write reports.csv; returns the number of studies left without a report."""
    rows: list[tuple[str, str, str]] = []
    texts: list[str] = []
    num_missing = 0
    for plan in plans:
        if plan.index % MISSING_REPORT_EVERY == MISSING_REPORT_EVERY - 1:
            num_missing += 1
            continue
        ids = dicom.StudyIds.of(plan.seed, plan.patient, plan.visit)
        contrasts = tuple(series.contrast for series in study_series(plan))
        rng = np.random.default_rng((plan.seed, plan.index, 4))
        rows.append((ids.study_uid, ids.patient_id, ids.accession))
        texts.append(write_report(study_head(plan), contrasts, rng))
    seed = plans[0].seed
    if shuffle:
        order = np.random.default_rng((seed, 5)).permutation(len(texts))
        texts = [texts[k] for k in order]
    for k in range(NUM_SURPLUS_REPORTS):  # patients far beyond the cohort
        patient = 10**6 + k
        ids = dicom.StudyIds.of(seed, patient, 0)
        rng = np.random.default_rng((seed, patient, 4))
        rows.append((ids.study_uid, ids.patient_id, ids.accession))
        texts.append(write_report(draw_head(seed, patient), ("T1",), rng))
    table = io.StringIO()
    writer = csv.writer(table, lineterminator="\n")
    writer.writerow(("StudyInstanceUID", "PatientID", "AccessionNumber", "report"))
    writer.writerows((*row, text) for row, text in zip(rows, texts, strict=True))
    path.write_text(table.getvalue(), encoding="utf-8", newline="")
    return num_missing


def _write_labels(path: Path, plans: list[StudyPlan]) -> tuple[tuple[str, int], ...]:
    """Write labels.csv, a 0/1 column per finding and "normal"; returns the column sums."""
    lines = [",".join(("StudyInstanceUID", *FINDINGS, "normal"))]
    total = np.zeros(len(FINDINGS) + 1, dtype=int)
    for plan in plans:
        head = study_head(plan)
        row = [int(head.find(kind) is not None) for kind in FINDINGS]
        row.append(int(not any(row)))
        total += row
        study_uid = dicom.StudyIds.of(plan.seed, plan.patient, plan.visit).study_uid
        lines.append(",".join((study_uid, *map(str, row))))
    path.write_text("\n".join(lines) + "\n", encoding="utf-8", newline="")
    return tuple(zip((*FINDINGS, "normal"), total.tolist(), strict=True))
