"""Scores against scikit-learn, against cases counted by hand, and against what must hold for any
input."""

from __future__ import annotations

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from sklearn import metrics as sk

from eval import scores

NAN = float("nan")


def some_scores(seed: int, studies: int = 200) -> tuple[np.ndarray, np.ndarray]:
    """Labels and coarse scores, so that there are many ties."""
    rng = np.random.default_rng(seed)
    labels = (rng.random(studies) < 0.3).astype(float)
    return labels, np.round(rng.normal(size=studies) + labels, 1)


# ------------------------------------------------------------------------------------------ by hand


@pytest.mark.parametrize(
    ("labels", "values", "expected"),
    [
        ([0, 1], [1, 2], 1.0),
        ([0, 1], [2, 1], 0.0),
        ([0, 1], [1, 1], 0.5),
        # pairs (positive, negative): 3>1 3>2 2>1 2=2 -> (1 + 1 + 1 + 0.5) / 4
        ([1, 1, 0, 0], [3, 2, 1, 2], 0.875),
        # all six pairs tied
        ([1, 0, 0, 1, 0], [7, 7, 7, 7, 7], 0.5),
        # the positive at 2 beats 1, ties with 2 and 2, loses to 3: (1 + 0.5 + 0.5 + 0) / 4
        ([1, 0, 0, 0, 0], [2, 1, 2, 2, 3], 0.5),
    ],
)
def test_auc_by_hand(labels: list[int], values: list[float], expected: float) -> None:
    assert scores.auc(np.array(labels, float), np.array(values, float)) == expected


def test_auc_ignores_unknown_labels() -> None:
    labels = np.array([1, NAN, 0, NAN, 1, 0])
    values = np.array([3, 100, 1, -100, 2, 2.0])
    assert scores.auc(labels, values) == 0.875


@pytest.mark.parametrize("labels", [[1, 1], [0, 0], [NAN, NAN], [1, NAN], []])
def test_a_single_outcome_has_no_auc(labels: list[float]) -> None:
    values = np.arange(len(labels), dtype=float)
    assert np.isnan(scores.auc(np.array(labels, float), values))
    assert np.isnan(scores.sensitivity_at(0.9, np.array(labels, float), values))


def test_macro_names_what_it_leaves_out() -> None:
    result = scores.macro({"mass": 0.9, "infarct": NAN, "shift": 0.7})
    assert result.value == pytest.approx(0.8)
    assert result.averaged == ("mass", "shift")
    assert result.left_out == ("infarct",)
    assert np.isnan(scores.macro({"infarct": NAN}).value)


def test_sensitivity_by_hand() -> None:
    # Thresholds, highest first: >=5 finds 1 of 3; >=4 finds 2 (no false alarm);
    # >=3 ties one of each: 3 of 3 with 1 false alarm of 4.
    labels = np.array([1, 1, 1, 0, 0, 0, 0.0])
    values = np.array([5, 4, 3, 3, 2, 1, 0.0])
    assert scores.sensitivity_at(0.9, labels, values) == pytest.approx(2 / 3)
    assert scores.sensitivity_at(0.75, labels, values) == 1.0


def test_sensitivity_is_zero_when_every_threshold_alarms_too_often() -> None:
    assert scores.sensitivity_at(0.9, np.array([0.0, 1.0]), np.array([2.0, 1.0])) == 0.0


def test_decisions_by_hand() -> None:
    truth = np.array([0, 0, 0, 1, 2])
    called = np.array([0, 0, 1, 1, 1])
    # recalls 2/3, 1, 0
    assert scores.balanced_accuracy(truth, called) == pytest.approx(5 / 9)
    # f1: 2*2/(3+2) = 0.8, 2*1/(1+3) = 0.5, 0 -> (0.8*3 + 0.5 + 0) / 5
    assert scores.weighted_f1(truth, called) == pytest.approx(0.58)
    assert np.isnan(scores.balanced_accuracy(np.array([1, 1]), np.array([0, 1])))


# ----------------------------------------------------------------------------- against scikit-learn


@pytest.mark.parametrize("seed", range(5))
def test_equal_to_scikit_learn(seed: int) -> None:
    labels, values = some_scores(seed)
    weights = np.random.default_rng(seed).integers(0, 4, size=len(labels)).astype(float)
    for weight in (None, weights):
        expected = sk.roc_auc_score(labels, values, sample_weight=weight)
        assert float(scores.auc(labels, values, weight)) == pytest.approx(expected, abs=1e-12)

        false_alarms, found, _ = sk.roc_curve(labels, values, sample_weight=weight)
        best = found[false_alarms <= 0.2].max()
        mine = float(scores.sensitivity_at(0.8, labels, values, weight))
        assert mine == pytest.approx(best, abs=1e-12)


@pytest.mark.parametrize("seed", range(5))
def test_decisions_equal_to_scikit_learn(seed: int) -> None:
    rng = np.random.default_rng(seed)
    truth, called = rng.integers(0, 5, size=100), rng.integers(0, 6, size=100)
    for weight in (None, rng.integers(0, 4, size=100).astype(float)):
        with pytest.warns(UserWarning, match="y_pred contains classes not in y_true"):
            expected = sk.balanced_accuracy_score(truth, called, sample_weight=weight)
        mine = float(scores.balanced_accuracy(truth, called, weight))
        assert mine == pytest.approx(expected, abs=1e-12)
        expected = sk.f1_score(truth, called, average="weighted", sample_weight=weight)
        assert float(scores.weighted_f1(truth, called, weight)) == pytest.approx(
            expected, abs=1e-12
        )


# ----------------------------------------------------------------------------------- what must hold


@given(st.lists(st.tuples(st.sampled_from([0.0, 1.0, NAN]), st.integers(0, 5)), max_size=30))
@settings(max_examples=100, deadline=None)
def test_auc_is_symmetric_and_blind_to_monotone_maps(studies: list[tuple[float, int]]) -> None:
    labels = np.array([label for label, _ in studies], float)
    values = np.array([value for _, value in studies], float)
    area = float(scores.auc(labels, values))
    assert float(scores.auc(labels, np.exp(values))) == pytest.approx(area, nan_ok=True)
    assert float(scores.auc(1 - labels, values)) == pytest.approx(1 - area, nan_ok=True)
    assert float(scores.auc(labels, -values)) == pytest.approx(1 - area, nan_ok=True)


@given(st.integers(0, 1000))
@settings(max_examples=20, deadline=None)
def test_weights_are_repeats(seed: int) -> None:
    labels, values = some_scores(seed, studies=40)
    counts = np.random.default_rng(seed).integers(0, 3, size=40)
    repeated = np.repeat(labels, counts), np.repeat(values, counts)
    weighted = float(scores.auc(labels, values, counts.astype(float)))
    assert weighted == pytest.approx(float(scores.auc(*repeated)), abs=1e-12, nan_ok=True)


# ---------------------------------------------------------------------------------------- bootstrap


def test_bootstrap_draws_patients_and_not_studies() -> None:
    patients = ["a", "b", "a", "c", "b", "a"]
    weights = scores.bootstrap(lambda block: block, patients, 50, seed=1)
    assert weights.shape == (50, 6)
    assert (weights[:, 0] == weights[:, 2]).all()
    assert (weights[:, 0] == weights[:, 5]).all()
    assert (weights[:, 1] == weights[:, 4]).all()
    assert (weights[:, 0] + weights[:, 1] + weights[:, 3] == 3).all(), "three patients a draw"


def test_bootstrap_is_seeded_and_free_of_blocks(monkeypatch: pytest.MonkeyPatch) -> None:
    labels, values = some_scores(3)
    patients = [f"p{i // 2}" for i in range(len(labels))]

    def area(weights: np.ndarray) -> np.ndarray:
        return scores.auc(labels, values, weights)

    whole = scores.bootstrap(area, patients, 100, seed=7)
    monkeypatch.setattr(scores, "BLOCK_VALUES", 7 * len(labels))
    assert np.array_equal(scores.bootstrap(area, patients, 100, seed=7), whole)
    assert not np.array_equal(scores.bootstrap(area, patients, 100, seed=8), whole)


def test_interval_covers_the_truth_as_often_as_it_says() -> None:
    """AUC of two unit normals a distance d apart is Phi(d / sqrt 2): 0.8 for d = 1.19."""
    rng = np.random.default_rng(0)
    covered = 0
    for _ in range(200):
        labels = np.repeat([0.0, 1.0], 60)
        values = rng.normal(size=120) + 1.1902 * labels

        def area(weights: np.ndarray, labels=labels, values=values) -> np.ndarray:
            return scores.auc(labels, values, weights)

        score = scores.interval(
            float(scores.auc(labels, values)),
            scores.bootstrap(area, [str(i) for i in range(120)], 200, seed=1),
        )
        covered += score.low <= 0.8 <= score.high
    assert 0.90 <= covered / 200 <= 0.99


def test_studies_of_one_patient_widen_the_interval() -> None:
    labels, values = some_scores(5, studies=50)
    labels, values = np.tile(labels, 4), np.tile(values, 4)

    def width(patients: list[str]) -> float:
        drawn = scores.bootstrap(lambda w: scores.auc(labels, values, w), patients, 300, seed=0)
        score = scores.interval(0.5, drawn)
        return score.high - score.low

    alike = width([f"p{i % 50}" for i in range(200)])
    apart = width([f"p{i}" for i in range(200)])
    assert alike > 1.5 * apart


def test_an_interval_needs_most_of_its_resamples() -> None:
    assert np.isnan(scores.interval(0.7, np.array([NAN, NAN, 0.6])).low)
    assert scores.interval(0.7, np.array([NAN, 0.6, 0.8])).low == pytest.approx(0.605)
    assert np.isnan(scores.interval(NAN, np.array([0.1, 0.2])).high)
    assert np.isnan(scores.interval(0.7, np.empty(0)).low)
