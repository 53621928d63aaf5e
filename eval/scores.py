"""Scores of a classifier, as pure functions of arrays.

In: what is true, what was scored, and how much every study counts. Out: numbers between 0 and 1, or
NaN where a score is not defined. A resample of the bootstrap is nothing but a vector of counts, so
every score takes weights [..., N] and answers with [...]: a thousand resamples are a few matrix
operations, not a thousand sorts. Intervals are percentile bootstraps over patients, not studies
(Field and Welsh 2007, the cluster bootstrap): studies of one patient are alike, and resampling them
one by one makes intervals too narrow. AUC is the Mann-Whitney statistic, ties counted half (Hanley
and McNeil 1982).

Shapes: N studies, R resamples, C classes, G groups of equal scores.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

Floats = NDArray[np.float64]

BLOCK_VALUES = 1 << 22
"""Weights held at once while bootstrapping (32 MiB)."""

LEVEL = 0.95
"""Coverage of an interval."""


@dataclass(frozen=True)
class Score:
    """A value with its 95 % interval; NaN where it is not defined or there was no bootstrap."""

    value: float
    low: float = float("nan")
    high: float = float("nan")


# ---------------------------------------------------------------------------------------- one class


def auc(labels_N: Floats, scores_N: Floats, weights: Floats | None = None) -> Floats:
    """Area under the ROC curve, [...] for weights [..., N] (a 0-d array without weights).

    Labels are 0, 1 or NaN; studies with NaN take no part. NaN where an outcome does not occur.
    """
    positive, negative = _by_score(labels_N, scores_N, weights)
    below = np.cumsum(negative, axis=-1) - negative / 2
    return _ratio((positive * below).sum(-1), positive.sum(-1) * negative.sum(-1))


def sensitivity_at(
    specificity: float, labels_N: Floats, scores_N: Floats, weights: Floats | None = None
) -> Floats:
    """Highest sensitivity among the thresholds whose specificity is at least `specificity`.

    A point of the ROC curve of these very data, not the promise of a threshold for other data.
    """
    positive, negative = _by_score(labels_N, scores_N, weights)
    detected = np.flip(np.cumsum(np.flip(positive, -1), axis=-1), -1)
    false_alarms = np.flip(np.cumsum(np.flip(negative, -1), axis=-1), -1)
    negatives = negative.sum(-1, keepdims=True)
    allowed = false_alarms <= (1 - specificity) * negatives + 1e-9 * negatives  # rounding of 1 - x
    best = np.where(allowed, detected, 0.0).max(-1, initial=0.0)
    defined = np.where(negatives[..., 0] > 0, positive.sum(-1), 0.0)
    return _ratio(best, defined)


def _by_score(labels_N: Floats, scores_N: Floats, weights: Floats | None) -> tuple[Floats, Floats]:
    """Weight of positives and of negatives at every distinct score, lowest first: two of [...,
    G]."""
    assert labels_N.shape == scores_N.shape
    assert labels_N.ndim == 1
    known = ~np.isnan(labels_N)
    labels, scores = labels_N[known], scores_N[known]
    assert np.isin(labels, (0.0, 1.0)).all(), "labels are 0, 1 or NaN"
    assert np.isfinite(scores).all(), "a score that is not finite has no rank"
    kept = np.ones(len(labels)) if weights is None else weights[..., known]
    if not len(labels):
        return np.zeros((*kept.shape[:-1], 0)), np.zeros((*kept.shape[:-1], 0))
    order = np.argsort(scores, kind="stable")
    starts = np.flatnonzero(np.diff(scores[order], prepend=np.nan) != 0)
    ordered = kept[..., order]
    positive = np.add.reduceat(ordered * labels[order], starts, axis=-1)
    negative = np.add.reduceat(ordered * (1 - labels[order]), starts, axis=-1)
    return positive, negative


# ---------------------------------------------------------------------------------------- decisions


def balanced_accuracy(
    truth_N: NDArray[np.int64], predicted_N: NDArray[np.int64], weights: Floats | None = None
) -> Floats:
    """Mean recall over the classes that occur in the truth; NaN where fewer than two do."""
    true, _, hit = _confusion(truth_N, predicted_N, weights)
    recall = _ratio(hit, true)
    present = true > 0
    mean = _ratio(np.where(present, recall, 0.0).sum(-1), present.sum(-1).astype(float))
    return np.where(present.sum(-1) >= 2, mean, np.nan)


def weighted_f1(
    truth_N: NDArray[np.int64], predicted_N: NDArray[np.int64], weights: Floats | None = None
) -> Floats:
    """F1 of every class, averaged with the number of its studies as weight; NaN without studies."""
    true, called, hit = _confusion(truth_N, predicted_N, weights)
    f1 = np.nan_to_num(_ratio(2 * hit, true + called))
    return _ratio((f1 * true).sum(-1), true.sum(-1))


def _confusion(
    truth_N: NDArray[np.int64], predicted_N: NDArray[np.int64], weights: Floats | None
) -> tuple[Floats, Floats, Floats]:
    """Weight that is truly C, that is called C, and that is both: three of [..., C]."""
    assert truth_N.shape == predicted_N.shape
    assert truth_N.ndim == 1
    kept = np.ones(len(truth_N)) if weights is None else weights
    classes_C = np.union1d(truth_N, predicted_N)
    true_NC = (truth_N[:, None] == classes_C).astype(float)
    called_NC = (predicted_N[:, None] == classes_C).astype(float)
    return kept @ true_NC, kept @ called_NC, kept @ (true_NC * called_NC)


# ---------------------------------------------------------------------------------------- agreement


def kappa(
    truth_N: NDArray[np.int64], called_N: NDArray[np.int64], weights: Floats | None = None
) -> Floats:
    """Cohen's kappa of two readers: how far they agree beyond chance (Cohen 1960), [...].

    1 is full agreement, 0 that of two who guess with these frequencies; below 0 they agree less
    often. NaN where chance alone agrees fully, because both call everything the same.
    """
    true, called, hit = _confusion(truth_N, called_N, weights)
    total = true.sum(-1)
    observed = _ratio(hit.sum(-1), total)
    chance = _ratio((true * called).sum(-1), total**2)
    return _ratio(observed - chance, 1 - chance)


def recall(
    outcome: int,
    truth_N: NDArray[np.int64],
    called_N: NDArray[np.int64],
    weights: Floats | None = None,
) -> Floats:
    """Share of the studies with an outcome that are called so: of 1 the sensitivity, of 0 the
    specificity. NaN where the outcome does not occur."""
    kept = np.ones(len(truth_N)) if weights is None else weights
    is_so = (truth_N == outcome).astype(float)
    return _ratio(kept @ (is_so * (called_N == outcome)), kept @ is_so)


# ------------------------------------------------------------------------------------- over classes


@dataclass(frozen=True)
class Macro:
    """A mean over classes, and which ones it could not include."""

    value: float
    averaged: tuple[str, ...]
    left_out: tuple[str, ...]


def macro(per_class: Mapping[str, float]) -> Macro:
    """Mean over the classes whose score is defined; the others are named, never silently NaN."""
    averaged = tuple(name for name, value in per_class.items() if not np.isnan(value))
    left_out = tuple(name for name in per_class if name not in averaged)
    value = float(np.mean([per_class[name] for name in averaged])) if averaged else float("nan")
    return Macro(value, averaged, left_out)


def mean_over_classes(scores_RC: Floats) -> Floats:
    """Mean of every row over the classes defined in it, [R]; NaN where none is."""
    defined = ~np.isnan(scores_RC)
    return _ratio(np.where(defined, scores_RC, 0.0).sum(-1), defined.sum(-1).astype(float))


# ---------------------------------------------------------------------------------------- bootstrap


def bootstrap(
    statistic: Callable[[Floats], Floats], patients: Sequence[str], resamples: int, seed: int
) -> Floats:
    """`statistic` of `resamples` draws of patients with replacement, along the first axis.

    `statistic` takes weights [R, N] and answers with [R, ...]; everything it computes is seen on
    the same draws, so that differences between its parts are paired. The result depends on the set
    of patients and on the seed, not on the size of the blocks.
    """
    return np.concatenate(
        [statistic(weights_RN) for weights_RN in _draws(patients, resamples, seed)]
    )


def _draws(patients: Sequence[str], resamples: int, seed: int) -> Iterator[Floats]:
    """Blocks of [R, N]: how often each study counts, which is how often its patient was drawn."""
    names, patient_N = np.unique(
        np.asarray(patients, dtype=object).astype(str), return_inverse=True
    )
    generator = np.random.default_rng(seed)
    block = max(1, BLOCK_VALUES // max(1, len(patient_N)))
    for start in range(0, resamples, block):
        size = min(block, resamples - start)
        counts = generator.multinomial(len(names), np.full(len(names), 1 / len(names)), size=size)
        yield counts[:, patient_N].astype(float)


def interval(value: float, resampled_R: Floats) -> Score:
    """The value with the percentiles of its resamples.

    Resamples in which the score is not defined are left out; NaN limits where that is more than
    half of them.
    """
    defined = resampled_R[~np.isnan(resampled_R)]
    if np.isnan(value) or len(defined) == 0 or 2 * len(defined) < len(resampled_R):
        return Score(value)
    low, high = np.quantile(defined, [(1 - LEVEL) / 2, (1 + LEVEL) / 2])
    return Score(value, float(low), float(high))


def _ratio(top: Floats, bottom: Floats) -> Floats:
    """top / bottom, NaN where bottom is 0."""
    out = np.full(np.broadcast_shapes(np.shape(top), np.shape(bottom)), np.nan)
    np.divide(top, bottom, out=out, where=np.asarray(bottom) > 0)
    return out
