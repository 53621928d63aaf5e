"""The head phantom: where things are, that nothing is random, and that it is worth learning."""

from __future__ import annotations

from dataclasses import replace

import numpy as np
import pytest
from sklearn.linear_model import LogisticRegression
from sklearn.metrics import roc_auc_score
from sklearn.pipeline import make_pipeline
from sklearn.preprocessing import StandardScaler

from ingest.cohort import plan_cohort, study_head, study_series
from ingest.phantom import (
    CONTRASTS,
    FINDINGS,
    Finding,
    Head,
    SeriesParams,
    draw_head,
    sample_series,
)

BALL_MM = (35.0, -20.0, 18.0)  # left, anterior, superior: no two axes can be confused


def head_with_ball() -> Head:
    """A head in the scanner's axes with one mass at a known place."""
    upright = ((1.0, 0.0, 0.0), (0.0, 1.0, 0.0), (0.0, 0.0, 1.0))
    ball = Finding("mass", "left", 16.0, BALL_MM, (0.0, 0.0, 0.0))
    head = replace(draw_head(0, 0), centre_mm=(0.0, 0.0, 0.0), rotation=upright)
    return replace(head, findings=(ball,))


@pytest.mark.parametrize("plane", ["axial", "coronal", "sagittal"])
@pytest.mark.parametrize("tilt_deg", [0.0, 12.0])
def test_ball_is_found_at_its_place(plane: str, tilt_deg: float) -> None:
    head = head_with_ball()
    series = SeriesParams("FLAIR", plane, 80, 2.6, 7.0, 24, tilt_deg, noise_seed=3)
    volume, geometry = sample_series(head, series)
    without, _ = sample_series(replace(head, findings=()), series)
    weight = np.abs(volume.astype(float) - without)
    weight[weight < 0.2 * weight.max()] = 0
    centre = [float((weight * axis).sum() / weight.sum()) for axis in np.indices(weight.shape)]
    # DICOM PS3.3 C.7.6.2.1.1: position of a pixel from IPP, IOP and PixelSpacing
    found = (
        np.array(geometry.first_position_mm)
        + centre[0] * np.array(geometry.slice_step_mm)
        + centre[1] * geometry.spacing_mm * np.array(geometry.column_cosine)
        + centre[2] * geometry.spacing_mm * np.array(geometry.row_cosine)
    )
    np.testing.assert_allclose(found, BALL_MM, atol=2.0)


def test_axes_are_orthonormal_and_right_handed() -> None:
    for plane in ("axial", "coronal", "sagittal"):
        series = SeriesParams("T1", plane, 64, 3.0, 8.0, 16, tilt_deg=7.0)
        _, geometry = sample_series(draw_head(0, 0), series)
        normal = np.cross(geometry.row_cosine, geometry.column_cosine)
        assert np.linalg.norm(normal) == pytest.approx(1.0)
        np.testing.assert_allclose(np.array(geometry.slice_step_mm) / 8.0, normal, atol=1e-6)


def test_same_arguments_same_volume() -> None:
    series = SeriesParams("T2", "coronal", 64, 3.2, 8.0, 18, noise_seed=5)
    first, _ = sample_series(draw_head(4, 9, 1), series)
    again, _ = sample_series(draw_head(4, 9, 1), series)
    np.testing.assert_array_equal(first, again)
    assert first.dtype == np.int16
    assert first.shape == (18, 64, 64)
    other, _ = sample_series(draw_head(5, 9, 1), series)
    assert not np.array_equal(first, other)


def test_follow_up_keeps_the_anatomy() -> None:
    first, second = draw_head(0, 3, 0), draw_head(0, 3, 1)
    assert replace(first, findings=()) == replace(second, findings=())


@pytest.mark.parametrize("kind", FINDINGS)
def test_each_finding_is_visible_in_some_contrasts_only(kind: str) -> None:
    head = next(h for i in range(1000) if (h := draw_head(1, i)).find(kind))
    head = replace(head, findings=(head.find(kind),))
    change = {}
    for contrast in CONTRASTS:
        series = SeriesParams(contrast, "axial", 64, 3.3, 8.0, 20, noise_seed=2)
        with_it = sample_series(head, series)[0].astype(float)
        without = sample_series(replace(head, findings=()), series)[0].astype(float)
        change[contrast] = np.quantile(np.abs(with_it - without), 0.998) / np.quantile(
            without, 0.998
        )
    assert max(change.values()) > 0.25, change
    if kind in ("mass", "haemorrhage", "infarct"):
        assert min(change.values()) < 0.5 * max(change.values()), change


def test_rates() -> None:
    heads = [draw_head(2, i) for i in range(1500)]
    for kind in FINDINGS:
        assert np.mean([h.find(kind) is not None for h in heads]) == pytest.approx(0.25, abs=0.04)
    assert np.mean([not h.findings for h in heads]) == pytest.approx(0.24, abs=0.04)


def test_brightness_does_not_tell_the_findings() -> None:
    """A logistic regression on mean and 32-bin histogram must stay below 0.70: worth learning."""
    features, labels, patients = [], [], []
    for plan in plan_cohort(300, seed=11):
        head = study_head(plan)
        scans = [scan_histogram(sample_series(head, s)[0]) for s in study_series(plan)]
        features.append(np.mean(scans, axis=0))
        labels.append([head.find(kind) is not None for kind in FINDINGS])
        patients.append(plan.patient)
    x, y, fold = np.array(features), np.array(labels), np.array(patients) % 3
    scores = np.zeros(y.shape)
    for held_out in range(3):  # every patient is scored by a model that has not seen them
        train = fold != held_out
        for k in range(len(FINDINGS)):
            model = make_pipeline(StandardScaler(), LogisticRegression(C=0.1, max_iter=500))
            model.fit(x[train], y[train, k])
            scores[~train, k] = model.decision_function(x[~train])
    auc = [roc_auc_score(y[:, k], scores[:, k]) for k in range(len(FINDINGS))]
    assert np.mean(auc) < 0.68, dict(zip(FINDINGS, np.round(auc, 3), strict=True))


def scan_histogram(volume: np.ndarray) -> np.ndarray:
    """Mean and 32-bin histogram after the MR intensity rule (0.5 and 99.5 percentiles)."""
    low, high = np.percentile(volume, (0.5, 99.5))
    scaled = np.clip((volume - low) / (high - low), 0, 1)
    histogram, _ = np.histogram(scaled, bins=32, range=(0, 1))
    return np.concatenate([[scaled.mean()], histogram / scaled.size])
