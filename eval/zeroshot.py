"""Study embeddings and a benchmark -> scores of every class, with intervals.

In: embeddings of studies, their labels, and a function from texts to embeddings. Out: a frozen
`BenchmarkResult`. A class is one direction: the mean of its normalised prompt embeddings,
normalised again (CLIP's prompt ensemble, Radford et al. 2021, section 3.1.4). The score of a study
is its cosine with that direction, or what the benchmark's rule makes of the cosines. A class in
which all studies have the same outcome has no score: it is named, not averaged.

Shapes: N studies, C classes, K channels of the joint space, P texts, R resamples.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from eval import scores
from eval.prompts import Benchmark, ClassPrompts
from eval.scores import Floats, Score

Features = NDArray[np.float32]
"""Normalised embeddings, a row each."""

EncodeTexts = Callable[[Sequence[str]], Features]
"""P texts -> [P, K]."""

Statistic = Callable[[Floats], Floats]
"""Weights [R, N] -> [R]."""

DECISIONS: Mapping[str, Callable[..., Floats]] = {
    "balanced_accuracy": scores.balanced_accuracy,
    "weighted_f1": scores.weighted_f1,
}
"""Metrics of a decision rather than of an order."""


@dataclass(frozen=True)
class Cohort:
    """The studies of a split: who they are, where they lie in the joint space, what is known about
    them."""

    keys: tuple[str, ...]
    patients: tuple[str, ...]
    features_NK: Features
    labels: tuple[Mapping[str, float], ...]
    """Label name -> 0, 1 or between; a missing name is unknown."""


@dataclass(frozen=True)
class TextTower:
    """The other half of the model, as far as zero-shot needs it."""

    encode: EncodeTexts
    prefix: str
    """What training put before its texts."""
    scale: float = 100.0
    """Factor of the cosines in the softmax: the exponential of the model's `logit_scale`."""


@dataclass(frozen=True)
class ClassResult:
    """What came out for one class."""

    name: str
    label: str
    positives: int
    negatives: int
    unknown: int
    """Scored studies without this label, or with one that is neither 0 nor 1."""
    scores: Mapping[str, Score]
    """By metric; empty where the class was left out."""
    left_out: str
    """Why the class has no scores; empty where it has."""
    positive_texts: tuple[str, ...]
    """As they were encoded, prefix and template included."""
    negative_texts: tuple[str, ...]


@dataclass(frozen=True)
class BenchmarkResult:
    """A benchmark's answer for one checkpoint on one split."""

    benchmark: Benchmark
    classes: tuple[ClassResult, ...]
    overall: Mapping[str, Score]
    """`macro_METRIC`: the mean over the classes that have scores. With the rule softmax also
    `balanced_accuracy` and `weighted_f1` of its one decision per study."""
    studies: int
    """Scored."""
    patients: int
    set_aside: int
    """Studies of the split without a label that the benchmark could use."""
    resamples: int
    seed: int
    keys: tuple[str, ...]
    """Of the scored studies, the rows of the tables below; their columns are `classes`."""
    truth_NC: Floats
    """0, 1 or NaN."""
    scores_NC: Floats


def evaluate_benchmark(
    benchmark: Benchmark, cohort: Cohort, text: TextTower, *, resamples: int, seed: int = 0
) -> BenchmarkResult:
    """Score all studies of the cohort that have a label of the benchmark.

    The same draws of patients serve all classes, metrics and means. `resamples=0` gives values
    without intervals.
    """
    everyone_NC = truth_table(benchmark.classes, cohort.labels)
    used_N = usable(benchmark, everyone_NC)
    truth_NC = everyone_NC[used_N]
    rows = np.flatnonzero(used_N)
    patients = [cohort.patients[row] for row in rows]

    texts = {
        (c.name, side): benchmark.texts(prompts, text.prefix)
        for c in benchmark.classes
        for side, prompts in (("positive", c.positive), ("negative", c.negative))
    }
    cosine = {
        which: cohort.features_NK[rows] @ class_embedding(text.encode(filled))
        for which, filled in texts.items()
        if filled
    }
    scores_NC = score_studies(benchmark, cosine, text.scale)

    columns = statistics(benchmark, truth_NC, scores_NC)
    values, draws = _measure(columns, patients, resamples, seed)
    classes = tuple(
        ClassResult(
            name=c.name,
            label=c.label,
            positives=int((truth_NC[:, i] == 1).sum()),
            negatives=int((truth_NC[:, i] == 0).sum()),
            unknown=int(np.isnan(truth_NC[:, i]).sum()),
            scores={
                metric: scores.interval(values[metric, name], draws[metric, name])
                for metric, name in columns
                if name == c.name
            },
            left_out=_left_out(c, truth_NC[:, i]),
            positive_texts=texts[c.name, "positive"],
            negative_texts=texts[c.name, "negative"],
        )
        for i, c in enumerate(benchmark.classes)
    )
    return BenchmarkResult(
        benchmark=benchmark,
        classes=classes,
        overall=_overall(benchmark, values, draws),
        studies=len(rows),
        patients=len(set(patients)),
        set_aside=len(cohort.keys) - len(rows),
        resamples=resamples,
        seed=seed,
        keys=tuple(cohort.keys[row] for row in rows),
        truth_NC=truth_NC,
        scores_NC=scores_NC,
    )


# --------------------------------------------------------------------------------- truth and scores


def truth_table(classes: Sequence[ClassPrompts], labels: Sequence[Mapping[str, float]]) -> Floats:
    """[N, C] of 0, 1 and NaN, by the names of the label columns. Uncertain labels (between 0 and 1)
    are NaN."""
    rows = [[float(study.get(c.label, np.nan)) for c in classes] for study in labels]
    table = np.array(rows, dtype=float).reshape(len(labels), len(classes))
    return np.where((table == 0) | (table == 1), table, np.nan)


def usable(benchmark: Benchmark, truth_NC: Floats) -> NDArray[np.bool_]:
    """[N]: who takes part. Any known label will do; where classes exclude each other, exactly one
    must be 1."""
    if benchmark.rule == "softmax":
        return np.asarray((truth_NC == 1).sum(axis=1) == 1)
    return np.asarray((~np.isnan(truth_NC)).any(axis=1))


def class_embedding(texts_PK: Features) -> Features:
    """Mean of normalised text embeddings, normalised again: [K]."""
    mean_K: Floats = texts_PK.astype(np.float64).mean(axis=0)
    length = float(np.linalg.norm(mean_K))
    assert length > 0, "the prompts of a class cancel each other out"
    return (mean_K / length).astype(np.float32)


def score_studies(
    benchmark: Benchmark, cosine: Mapping[tuple[str, str], NDArray[np.floating]], scale: float
) -> Floats:
    """[N, C]: higher means that the class is more likely, by the benchmark's rule.

    Of a softmax these are the log-odds: the same order as its probabilities, which round to ties
    near 0 and 1.
    """

    def cosines_with(side: str) -> Floats:
        columns = [cosine[c.name, side].astype(np.float64) for c in benchmark.classes]
        return np.stack(columns, axis=1)

    if benchmark.rule == "positive":
        return cosines_with("positive")
    if benchmark.rule == "difference":
        return cosines_with("positive") - cosines_with("negative")
    logits_NC = scale * cosines_with("positive")
    log_odds_NC = np.empty_like(logits_NC)
    for i in range(logits_NC.shape[1]):
        others = np.delete(logits_NC, i, axis=1)
        log_odds_NC[:, i] = logits_NC[:, i] - np.logaddexp.reduce(others, axis=1)
    return log_odds_NC


# ----------------------------------------------------------------------------------------- measures


def statistics(
    benchmark: Benchmark, truth_NC: Floats, scores_NC: Floats
) -> dict[tuple[str, str], Statistic]:
    """(metric, class) -> its value under weights, for every class with both outcomes; class "" is
    the one decision."""
    columns: dict[tuple[str, str], Statistic] = {}
    for metric in benchmark.metrics:
        if metric in DECISIONS and benchmark.rule == "softmax":
            if len(truth_NC):
                columns[metric, ""] = _decision(
                    metric, np.argmax(truth_NC == 1, axis=1), np.argmax(scores_NC, axis=1)
                )
            continue
        for i, c in enumerate(benchmark.classes):
            if not _left_out(c, truth_NC[:, i]):
                columns[metric, c.name] = _of_class(
                    metric, benchmark.specificity, truth_NC[:, i], scores_NC[:, i]
                )
    return columns


def _of_class(metric: str, specificity: float, truth_N: Floats, scores_N: Floats) -> Statistic:
    if metric == "auc":
        return lambda weights: scores.auc(truth_N, scores_N, weights)
    if metric == "sensitivity":
        return lambda weights: scores.sensitivity_at(specificity, truth_N, scores_N, weights)
    known = ~np.isnan(truth_N)
    decide = _decision(metric, truth_N[known].astype(int), (scores_N[known] > 0).astype(int))
    return lambda weights: decide(weights[:, known])


def _decision(metric: str, truth_N: NDArray[np.int64], called_N: NDArray[np.int64]) -> Statistic:
    return lambda weights: DECISIONS[metric](truth_N, called_N, weights)


Values = dict[tuple[str, str], float]
Draws = dict[tuple[str, str], Floats]


def _measure(
    columns: Mapping[tuple[str, str], Statistic], patients: Sequence[str], resamples: int, seed: int
) -> tuple[Values, Draws]:
    """Every statistic of all studies, and of every resample (none with fewer than two patients:
    they say nothing)."""

    def all_of_them(weights_RN: Floats) -> Floats:
        return np.stack([column(weights_RN) for column in columns.values()], axis=1)

    nothing = np.empty(0)
    if not columns:
        return {}, {}
    values = dict(zip(columns, all_of_them(np.ones((1, len(patients))))[0].tolist(), strict=True))
    if resamples == 0 or len(set(patients)) < 2:
        return values, dict.fromkeys(columns, nothing)
    drawn = scores.bootstrap(all_of_them, patients, resamples, seed)
    return values, dict(zip(columns, drawn.T, strict=True))


def _overall(benchmark: Benchmark, values: Values, draws: Draws) -> dict[str, Score]:
    overall: dict[str, Score] = {}
    for metric in benchmark.metrics:
        if (metric, "") in values:
            overall[metric] = scores.interval(values[metric, ""], draws[metric, ""])
        elif not (metric in DECISIONS and benchmark.rule == "softmax"):
            of_class = {name: value for (m, name), value in values.items() if m == metric}
            mean = scores.macro(of_class).value
            drawn = [draws[metric, name] for name in of_class]
            resampled = scores.mean_over_classes(np.stack(drawn, axis=1)) if drawn else np.empty(0)
            overall[f"macro_{metric}"] = scores.interval(mean, resampled)
    return overall


def _left_out(c: ClassPrompts, truth_N: Floats) -> str:
    positives, negatives = int((truth_N == 1).sum()), int((truth_N == 0).sum())
    if positives and negatives:
        return ""
    if not positives and not negatives:
        return f"no study has a label {c.label!r} of 0 or 1"
    outcome = "positive" if positives else "negative"
    return f"all {positives + negatives} labelled studies are {outcome}"
