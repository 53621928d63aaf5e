"""The synthetic cohort on disk: its counts, its headers, its reports, and its bytes."""

from __future__ import annotations

import csv
import hashlib
from collections import Counter
from dataclasses import replace
from pathlib import Path

import numpy as np
import pydicom
import pytest
from pydicom.errors import InvalidDicomError

from ingest.cohort import (
    CohortSummary,
    plan_cohort,
    study_head,
    study_series,
    write_cohort,
    write_study,
)
from ingest.cohort_dicom import StudyIds
from ingest.phantom import FINDINGS, sample_series

NUM_STUDIES = 42
IMAGE_TAGS = ("ImagePositionPatient", "ImageOrientationPatient", "PixelSpacing", "EchoTime")


@pytest.fixture(scope="module")
def cohort(tmp_path_factory: pytest.TempPathFactory) -> tuple[Path, CohortSummary]:
    folder = tmp_path_factory.mktemp("cohort") / "first"
    return folder, write_cohort(folder, num_studies=NUM_STUDIES, seed=3, workers=1)


def digests(folder: Path) -> dict[str, str]:
    files = sorted(p for p in folder.rglob("*") if p.is_file())
    return {str(p.relative_to(folder)): hashlib.sha256(p.read_bytes()).hexdigest() for p in files}


def rows(path: Path) -> list[dict[str, str]]:
    with path.open(encoding="utf-8", newline="") as file:
        return list(csv.DictReader(file))


def test_same_bytes_whatever_the_workers(tmp_path: Path) -> None:
    done: list[tuple[int, int]] = []
    one = write_cohort(tmp_path / "one", num_studies=6, seed=3, workers=1)
    two = write_cohort(
        tmp_path / "two",
        num_studies=6,
        seed=3,
        workers=2,
        progress=lambda a, b: done.append((a, b)),
    )
    assert one == two
    assert digests(tmp_path / "one") == digests(tmp_path / "two")
    assert done == [(i, 6) for i in range(1, 7)]


def test_counts_equal_what_is_on_disk(cohort: tuple[Path, CohortSummary]) -> None:
    folder, summary = cohort
    found: Counter[str] = Counter()
    series, studies, patients, seen = set(), set(), set(), set()
    for path in sorted(p for p in (folder / "dicom").rglob("*") if p.is_file()):
        found["num_files"] += 1
        content = path.read_bytes()
        if not content:
            found["num_empty"] += 1
            continue
        try:
            dataset = pydicom.dcmread(path)
        except InvalidDicomError:
            found["num_not_dicom"] += 1
            continue
        if "PixelData" not in dataset:
            found["num_without_pixels"] += 1
            continue
        expected = dataset.Rows * dataset.Columns * dataset.BitsAllocated // 8
        if len(dataset.PixelData) < expected:
            found["num_truncated"] += 1
        elif dataset.ImageType[0] == "DERIVED":
            found["num_derived"] += 1
        elif "LOCALIZER" in dataset.ImageType:
            found["num_localizers"] += 1
        elif dataset.SOPInstanceUID in seen:
            found["num_duplicates"] += 1
        else:
            found["num_slices"] += 1
            seen.add(dataset.SOPInstanceUID)
            series.add(dataset.SeriesInstanceUID)
            assert all(tag in dataset for tag in IMAGE_TAGS)
            assert dataset.file_meta.MediaStorageSOPInstanceUID == dataset.SOPInstanceUID
            assert dataset.pixel_array.max() > 0
        studies.add(dataset.StudyInstanceUID)
        patients.add(dataset.PatientID)
    assert {key: getattr(summary, key) for key in found} == dict(found)
    assert (summary.num_series, summary.num_studies) == (len(series), len(studies))
    assert summary.num_patients == len(patients) < NUM_STUDIES  # some come twice
    assert min(found.values()) > 0
    assert len(found) == 9  # every kind of file is there


def test_geometry_and_pixels_survive_the_file(tmp_path: Path) -> None:
    plan = plan_cohort(8, seed=3)[7]
    write_study(tmp_path, plan)
    ids = StudyIds.of(plan.seed, plan.patient, plan.visit)
    datasets = [pydicom.dcmread(p) for p in tmp_path.rglob("*") if p.is_file()]
    for number, series in enumerate(study_series(plan), 2):
        volume, geometry = sample_series(study_head(plan), series)
        own = [d for d in datasets if d.get("SeriesNumber") == number]
        assert {d.StudyInstanceUID for d in own} == {ids.study_uid}
        normal = np.cross(geometry.row_cosine, geometry.column_cosine)
        own.sort(key=lambda d: float(np.dot(d.ImagePositionPatient, normal)))
        own = list({d.SOPInstanceUID: d for d in own}.values())  # some were sent twice
        assert len(own) == series.num_slices
        for k, dataset in enumerate(own):
            np.testing.assert_array_equal(dataset.pixel_array, volume[k])
            position = np.array(dataset.ImagePositionPatient, dtype=float)
            np.testing.assert_allclose(position, geometry.position_mm(k), atol=1e-3)
        gaps = np.diff([float(d.SliceLocation) for d in own])
        np.testing.assert_allclose(gaps, own[0].SpacingBetweenSlices, atol=1e-2)
        cosines = (*geometry.row_cosine, *geometry.column_cosine)
        np.testing.assert_allclose(own[0].ImageOrientationPatient, cosines, atol=1e-6)
        assert own[0].PixelSpacing[0] == pytest.approx(series.spacing_mm)


def test_headers_are_valid_dicom(cohort: tuple[Path, CohortSummary]) -> None:
    folder, _ = cohort
    study = sorted((folder / "dicom").glob("*/*"))[9]
    for path in sorted(p for p in study.rglob("*") if p.is_file()):
        dataset = pydicom.dcmread(path)
        pydicom.config.settings.reading_validation_mode = pydicom.config.RAISE
        try:
            for element in dataset.iterall():
                assert element.value is not None
            assert pydicom.uid.UID(dataset.SOPInstanceUID).is_valid
        finally:
            pydicom.config.settings.reading_validation_mode = pydicom.config.WARN


def test_reports_and_labels(cohort: tuple[Path, CohortSummary]) -> None:
    folder, summary = cohort
    labels = {r["StudyInstanceUID"]: r for r in rows(folder / "labels.csv")}
    reports = rows(folder / "reports.csv")
    assert len(labels) == NUM_STUDIES
    assert len(reports) == summary.num_report_rows
    assert NUM_STUDIES - sum(r["StudyInstanceUID"] in labels for r in reports) == (
        summary.num_missing_reports
    )
    sums = {k: sum(int(row[k]) for row in labels.values()) for k in (*FINDINGS, "normal")}
    assert sums == dict(summary.num_positive)
    for report in reports:
        text = report["report"].lower()
        assert "findings" in text
        assert "impression" in text
        label = labels.get(report["StudyInstanceUID"])
        if label and label["midline_shift"] == "1":
            assert "shift of the midline" in text or "midline shift" in text


def test_control_permutes_the_texts_only(
    cohort: tuple[Path, CohortSummary], tmp_path: Path
) -> None:
    folder, summary = cohort
    control = tmp_path / "control"
    again = write_cohort(control, num_studies=NUM_STUDIES, seed=3, workers=1, shuffle_reports=True)
    assert again == summary
    true_rows, control_rows = rows(folder / "reports.csv"), rows(control / "reports.csv")
    ids = ("StudyInstanceUID", "PatientID", "AccessionNumber")
    assert [[r[i] for i in ids] for r in true_rows] == [[r[i] for i in ids] for r in control_rows]
    assert Counter(r["report"] for r in true_rows) == Counter(r["report"] for r in control_rows)
    moved = sum(a != b for a, b in zip(true_rows, control_rows, strict=True))
    assert moved > 0.8 * len(true_rows)
    assert (folder / "labels.csv").read_bytes() == (control / "labels.csv").read_bytes()


def test_a_folder_in_use_is_refused(tmp_path: Path) -> None:
    (tmp_path / "something").touch()
    with pytest.raises(ValueError, match="not empty"):
        write_cohort(tmp_path, num_studies=2, seed=0, workers=1)


def test_a_follow_up_is_the_same_patient() -> None:
    plans = plan_cohort(100, seed=0)
    second = next(p for p in plans if p.visit == 1)
    first = replace(second, index=second.index - 1, visit=0)
    assert first in plans
    before, after = (StudyIds.of(p.seed, p.patient, p.visit) for p in (first, second))
    assert before.patient_id == after.patient_id
    assert before.study_uid != after.study_uid
    assert before.study_date < after.study_date
