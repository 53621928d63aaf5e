"""Zero-shot on made embeddings: two or three directions in a plane stand for the text tower."""

from __future__ import annotations

from collections.abc import Mapping, Sequence

import numpy as np
import pytest
from sklearn.metrics import balanced_accuracy_score, f1_score, roc_auc_score

from eval.prompts import Benchmark
from eval.zeroshot import (
    BenchmarkResult,
    Cohort,
    TextTower,
    class_embedding,
    evaluate_benchmark,
    truth_table,
)

PREFIX = "This study shows: "


def benchmark(rule: str, metrics: Sequence[str], names: Sequence[str]) -> Benchmark:
    return Benchmark.model_validate(
        {
            "name": "made",
            "title": "Made",
            "rule": rule,
            "metrics": list(metrics),
            "specificity": 0.8,
            "classes": [
                {"name": n.upper(), "label": n, "positive": [n]}
                | ({"negative": [f"no {n}"]} if rule == "difference" else {})
                for n in names
            ],
        }
    )


def tower(vectors: Mapping[str, Sequence[float]]) -> TextTower:
    """A text tower that knows these texts, prefix included, and no others."""

    def encode(texts: Sequence[str]) -> np.ndarray:
        rows = np.array([vectors[text.removeprefix(PREFIX)] for text in texts], np.float32)
        assert all(text.startswith(PREFIX) for text in texts)
        return rows / np.linalg.norm(rows, axis=1, keepdims=True)

    return TextTower(encode, PREFIX, scale=10.0)


def cohort(features: np.ndarray, labels: Sequence[Mapping[str, float]]) -> Cohort:
    features = features.astype(np.float32)
    features /= np.linalg.norm(features, axis=1, keepdims=True)
    keys = tuple(f"k{i}" for i in range(len(labels)))
    return Cohort(keys, tuple(f"p{i // 2}" for i in range(len(labels))), features, tuple(labels))


def noisy(seed: int = 0, studies: int = 120) -> tuple[Cohort, np.ndarray]:
    """Studies with finding a or b or neither; features lean towards the axis of what they have."""
    rng = np.random.default_rng(seed)
    truth = (rng.random((studies, 2)) < 0.4).astype(float)
    features = rng.normal(size=(studies, 3))
    features[:, :2] += 1.5 * truth
    labels = [{"a": a, "b": b} for a, b in truth.tolist()]
    return cohort(features, labels), truth


AXES = {"a": (1, 0, 0), "b": (0, 1, 0), "c": (0, 0, 1), "no a": (-1, 0, 0.5), "no b": (0, -1, 0.5)}


def run(made: Benchmark, who: Cohort, resamples: int = 50) -> BenchmarkResult:
    return evaluate_benchmark(made, who, tower(AXES), resamples=resamples, seed=0)


def test_positive_rule_is_the_cosine() -> None:
    who, truth = noisy()
    result = run(benchmark("positive", ["auc"], "ab"), who)
    for i, c in enumerate(result.classes):
        expected = roc_auc_score(truth[:, i], who.features_NK[:, i])
        assert c.scores["auc"].value == pytest.approx(expected, abs=1e-12)
        assert c.scores["auc"].low < expected < c.scores["auc"].high
        assert (c.positives, c.negatives, c.unknown) == (
            truth[:, i].sum(),
            (1 - truth[:, i]).sum(),
            0,
        )
    mean = np.mean([c.scores["auc"].value for c in result.classes])
    assert result.overall["macro_auc"].value == pytest.approx(mean)
    assert np.allclose(result.scores_NC, who.features_NK[:, :2])
    assert result.classes[0].positive_texts == ("This study shows: a",)


def test_difference_rule_decides_at_zero() -> None:
    who, truth = noisy()
    metrics = ["auc", "balanced_accuracy", "weighted_f1", "sensitivity"]
    result = run(benchmark("difference", metrics, "ab"), who)
    no_a = np.array(AXES["no a"]) / np.linalg.norm(AXES["no a"])
    score = who.features_NK[:, 0] - who.features_NK @ no_a
    got = result.classes[0].scores
    assert got["auc"].value == pytest.approx(roc_auc_score(truth[:, 0], score), abs=1e-12)
    called = score > 0
    expected = balanced_accuracy_score(truth[:, 0], called)
    assert got["balanced_accuracy"].value == pytest.approx(expected, abs=1e-12)
    expected = f1_score(truth[:, 0], called, average="weighted")
    assert got["weighted_f1"].value == pytest.approx(expected, abs=1e-12)
    assert set(result.overall) == {f"macro_{metric}" for metric in metrics}


def exclusive(seed: int = 1, studies: int = 150) -> tuple[Cohort, np.ndarray]:
    rng = np.random.default_rng(seed)
    which = rng.integers(0, 3, size=studies)
    features = rng.normal(size=(studies, 3)) + 1.5 * np.eye(3)[which]
    return cohort(features, [{n: float(w == i) for i, n in enumerate("abc")} for w in which]), which


def test_softmax_rule_is_one_decision_per_study() -> None:
    who, which = exclusive()
    result = run(benchmark("softmax", ["auc", "balanced_accuracy", "weighted_f1"], "abc"), who)
    probability = np.exp(10 * who.features_NK)
    probability /= probability.sum(axis=1, keepdims=True)
    expected = roc_auc_score(which, probability, multi_class="ovr")
    assert result.overall["macro_auc"].value == pytest.approx(expected, abs=1e-12)
    called = probability.argmax(axis=1)
    expected = balanced_accuracy_score(which, called)
    assert result.overall["balanced_accuracy"].value == pytest.approx(expected, abs=1e-12)
    expected = f1_score(which, called, average="weighted")
    assert result.overall["weighted_f1"].value == pytest.approx(expected, abs=1e-12)
    assert set(result.classes[0].scores) == {"auc"}


def test_softmax_keeps_its_order_where_probabilities_round_to_one() -> None:
    who = cohort(
        np.array([[1, 0.1], [1, 0.0], [0, 1], [0.1, 1]]),
        [{"a": 1, "b": 0}] * 2 + [{"a": 0, "b": 1}] * 2,
    )
    made = benchmark("softmax", ["auc"], "ab")
    axes = {"a": (1, 0), "b": (0, 1)}
    sharp = TextTower(tower(axes).encode, PREFIX, scale=1e4)
    result = evaluate_benchmark(made, who, sharp, resamples=0)
    assert len(set(result.scores_NC[:, 0].tolist())) == 4
    assert np.isfinite(result.scores_NC).all()


def test_studies_without_exactly_one_class_are_set_aside() -> None:
    who, _ = exclusive()
    labels = [{"a": 1.0, "b": 1.0, "c": 0.0}, {}, {"a": 0.0, "b": 0.0, "c": 0.0}, *who.labels[3:]]
    who = Cohort(who.keys, who.patients, who.features_NK, tuple(labels))
    result = run(benchmark("softmax", ["auc"], "abc"), who)
    assert (result.studies, result.set_aside) == (147, 3)
    assert result.keys == who.keys[3:]


def test_a_class_with_one_outcome_is_named_and_not_averaged() -> None:
    who, _truth = noisy()
    labels = [{"a": s["a"], "b": 0.0} for s in who.labels]
    who = Cohort(who.keys, who.patients, who.features_NK, tuple(labels))
    result = run(benchmark("positive", ["auc"], "abc"), who)
    a, b, c = result.classes
    assert not a.left_out
    assert b.left_out == "all 120 labelled studies are negative"
    assert not b.scores
    assert c.left_out == "no study has a label 'c' of 0 or 1"
    assert c.unknown == 120
    assert result.overall["macro_auc"].value == a.scores["auc"].value


def test_no_class_with_both_outcomes_gives_nan_and_no_crash() -> None:
    who, _ = noisy()
    who = Cohort(who.keys, who.patients, who.features_NK, ({"a": 1.0},) * len(who.keys))
    for rule in ("positive", "softmax"):
        result = run(benchmark(rule, ["auc"], "ab"), who)
        assert np.isnan(result.overall["macro_auc"].value)
        assert all(c.left_out for c in result.classes)


def test_unknown_and_uncertain_labels_do_not_count() -> None:
    classes = benchmark("positive", ["auc"], "ab").classes
    labels = [{"a": 1.0, "b": 0.5}, {"a": 0.0}, {"b": 1.0, "other": 1.0}, {"b": float("nan")}]
    expected = [[1, np.nan], [0, np.nan], [np.nan, 1], [np.nan, np.nan]]
    np.testing.assert_array_equal(truth_table(classes, labels), expected)
    who = cohort(np.random.default_rng(0).normal(size=(4, 3)), labels)
    result = run(benchmark("positive", ["auc"], "ab"), who)
    assert (result.studies, result.set_aside) == (3, 1)
    assert result.classes[0].unknown == 1


def test_labels_are_found_by_name_and_not_by_order() -> None:
    who, _ = noisy()
    turned = tuple({"b": s["b"], "a": s["a"]} for s in who.labels)
    result = run(benchmark("positive", ["auc"], "ab"), who)
    again = run(
        benchmark("positive", ["auc"], "ba"),
        Cohort(who.keys, who.patients, who.features_NK, turned),
    )
    first = {c.name: c.scores for c in result.classes}
    assert first == {c.name: c.scores for c in again.classes}


def test_class_embedding_renormalises_the_mean() -> None:
    texts = np.array([[1, 0], [0, 1]], np.float32)
    np.testing.assert_allclose(class_embedding(texts), [2**-0.5, 2**-0.5], rtol=1e-6)


def test_intervals_are_reproducible_and_optional() -> None:
    who, _ = noisy()
    made = benchmark("positive", ["auc", "sensitivity"], "ab")
    assert run(made, who).overall == run(made, who).overall
    bare = run(made, who, resamples=0)
    assert bare.overall["macro_auc"].value == run(made, who).overall["macro_auc"].value
    assert np.isnan(bare.overall["macro_auc"].low)


def test_one_patient_has_no_interval() -> None:
    who, _ = noisy(studies=10)
    who = Cohort(who.keys, ("p",) * 10, who.features_NK, who.labels)
    score = run(benchmark("positive", ["auc"], "a"), who).overall["macro_auc"]
    assert 0 <= score.value <= 1
    assert np.isnan(score.low)
