"""Two tables of labels -> how far they agree, label by label.

In: the labels of studies by two readers (a language model, words, people), of which one is taken as
the reference. Out: AUC, Cohen's kappa, sensitivity and specificity of each label with intervals,
their means over labels, and counts of all that was not compared. Pure. A study is compared where
both know the label; one that the reference leaves open (between 0 and 1) is set aside. The AUC
takes the values as they are; the others need a decision, and a value above `threshold` is a yes: at
0.5 an uncertain label (0.5) is a no, at 0.49 a yes.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import asdict, dataclass
from typing import Any

import numpy as np
from numpy.typing import NDArray

from eval import scores
from eval.scores import Floats, Macro, Score

METRICS = ("auc", "kappa", "sensitivity", "specificity")
THRESHOLD = 0.5

Table = Mapping[str, Mapping[str, float]]
"""Study -> label -> value from 0 to 1; what is unknown is left out."""


@dataclass(frozen=True)
class LabelAgreement:
    """One label."""

    label: str
    compared: int
    """Studies of which both say something, and the reference yes or no."""
    positive: int
    """Of these, yes by the reference."""
    called: int
    """Of these, yes by the other."""
    uncertain: int
    """Of these, neither 0 nor 1 by the other."""
    open: int
    """Studies set aside because the reference says neither yes nor no."""
    unknown: int
    """Studies of both tables of which one says nothing."""
    scores: Mapping[str, Score]
    """By the names of METRICS."""


@dataclass(frozen=True)
class Agreement:
    """All labels that both tables have."""

    labels: tuple[LabelAgreement, ...]
    macro: Mapping[str, Macro]
    """Mean of each metric over the labels of which it is defined."""
    intervals: Mapping[str, Score]
    """The same means with their intervals."""
    studies: int
    """In both tables."""
    only_predicted: int
    only_reference: int
    """Studies that the other table lacks."""
    labels_only_predicted: tuple[str, ...]
    labels_only_reference: tuple[str, ...]
    threshold: float

    def as_json(self) -> dict[str, Any]:
        """Plain values; what is not defined is null."""
        plain: dict[str, Any] = _without_nan(asdict(self))
        return plain


def agreement(
    predicted: Table,
    reference: Table,
    *,
    threshold: float = THRESHOLD,
    patients: Mapping[str, str] | None = None,
    resamples: int = 1000,
    seed: int = 0,
) -> Agreement:
    """Compare two tables. `patients` tells whose a study is, for the bootstrap; without it each
    study is a patient of its own. The order of rows and columns changes nothing."""
    keys = sorted(predicted.keys() & reference.keys())
    ours, theirs = _names(predicted), _names(reference)
    names = [name for name in theirs if name in ours]
    whose = [patients.get(key, key) if patients else key for key in keys]
    said = {name: _column(predicted, keys, name) for name in names}
    true = {name: _column(reference, keys, name) for name in names}
    statistic = _statistic(said, true, threshold)
    point = statistic(np.ones((1, len(keys))))[0]
    drawn = (
        scores.bootstrap(statistic, whose, resamples, seed)
        if resamples and keys and names
        else None
    )
    rows = []
    for at, name in enumerate(names):
        of_label = {
            metric: _score(point[at, m], None if drawn is None else drawn[:, at, m])
            for m, metric in enumerate(METRICS)
        }
        rows.append(_counted(name, said[name], true[name], threshold, of_label))
    macro = {m: scores.macro({r.label: r.scores[m].value for r in rows}) for m in METRICS}
    means = {
        metric: _score(
            macro[metric].value,
            None if drawn is None else scores.mean_over_classes(drawn[:, :, m]),
        )
        for m, metric in enumerate(METRICS)
    }
    return Agreement(
        labels=tuple(rows),
        macro=macro,
        intervals=means,
        studies=len(keys),
        only_predicted=len(predicted) - len(keys),
        only_reference=len(reference) - len(keys),
        labels_only_predicted=tuple(name for name in ours if name not in theirs),
        labels_only_reference=tuple(name for name in theirs if name not in ours),
        threshold=threshold,
    )


def _names(table: Table) -> tuple[str, ...]:
    return tuple(sorted({name for labels in table.values() for name in labels}))


def _column(table: Table, keys: Sequence[str], name: str) -> Floats:
    return np.array([table[key].get(name, np.nan) for key in keys], float)


def _statistic(
    said: Mapping[str, Floats], true: Mapping[str, Floats], threshold: float
) -> Callable[[Floats], Floats]:
    """Weights [R, N] -> scores [R, labels, METRICS]."""
    parts = []
    for name, said_N in said.items():
        kept = _compared(said_N, true[name])
        called = (said_N[kept] > threshold).astype(np.int64)
        parts.append((kept, true[name][kept].astype(np.int64), called, said_N[kept]))

    def of(weights_RN: Floats) -> Floats:
        out = np.full((len(weights_RN), len(parts), len(METRICS)), np.nan)
        for at, (kept, truth, called, values) in enumerate(parts):
            weights = weights_RN[:, kept]
            out[:, at, 0] = scores.auc(truth.astype(float), values, weights)
            out[:, at, 1] = scores.kappa(truth, called, weights)
            out[:, at, 2] = scores.recall(1, truth, called, weights)
            out[:, at, 3] = scores.recall(0, truth, called, weights)
        return out

    return of


def _compared(said_N: Floats, true_N: Floats) -> NDArray[np.bool_]:
    return ~np.isnan(said_N) & np.isin(true_N, (0.0, 1.0))


def _counted(
    name: str, said_N: Floats, true_N: Floats, threshold: float, of_label: dict[str, Score]
) -> LabelAgreement:
    kept = _compared(said_N, true_N)
    known = ~np.isnan(said_N) & ~np.isnan(true_N)
    return LabelAgreement(
        label=name,
        compared=int(kept.sum()),
        positive=int((true_N[kept] == 1.0).sum()),
        called=int((said_N[kept] > threshold).sum()),
        uncertain=int((~np.isin(said_N[kept], (0.0, 1.0))).sum()),
        open=int((known & ~kept).sum()),
        unknown=int((~known).sum()),
        scores=of_label,
    )


def _score(value: float, drawn_R: Floats | None) -> Score:
    return Score(float(value)) if drawn_R is None else scores.interval(float(value), drawn_R)


def _without_nan(value: Any) -> Any:
    if isinstance(value, Mapping):
        return {name: _without_nan(item) for name, item in value.items()}
    if isinstance(value, list | tuple):
        return [_without_nan(item) for item in value]
    return None if isinstance(value, float) and np.isnan(value) else value
