"""How well classes are told apart: ranking, decisions and confusion.

Axes: n cases, k classes. Every formula takes weights, so that it can be resampled: (..., n) floats, how
often each case counts; None: once. Their leading axes lead the result. A measure that is undefined (no
positive case, nothing predicted positive) is NaN, and a macro mean is over the classes where it is defined. A truth
of NaN is not known (several labels per case): that label of that case does not count.
"""

from collections.abc import Callable
from typing import NamedTuple

import numpy as np

from medcli.metrics.bootstrap import divide, mean_of_known
from medcli.metrics.known import is_known, only_known


class Counts(NamedTuple):
    """One class against the rest; each (...) or (..., k)."""

    tp: np.ndarray
    fp: np.ndarray
    fn: np.ndarray
    tn: np.ndarray


# ---- decisions


def counts(truth: np.ndarray, predicted: np.ndarray, weights: np.ndarray | None = None) -> Counts:
    """Hits and misses of yes-or-no decisions.

    Args:
        truth: (n, k) bool, or 0, 1 and NaN.
        predicted: (n, k) bool.

    Returns:
        Counts of shape (..., k).
    """
    yes, no = np.asarray(truth) == 1, np.asarray(truth) == 0
    predicted = np.asarray(predicted, bool)
    weights = np.ones(len(yes)) if weights is None else weights
    parts = (yes & predicted, no & predicted, yes & ~predicted, no & ~predicted)
    return Counts(*(weights @ part.astype(float) for part in parts))


def sensitivity(c: Counts) -> np.ndarray:
    """Recall, true positive rate: TP / (TP + FN)."""
    return divide(c.tp, c.tp + c.fn)


def specificity(c: Counts) -> np.ndarray:
    """True negative rate: TN / (TN + FP)."""
    return divide(c.tn, c.tn + c.fp)


def ppv(c: Counts) -> np.ndarray:
    """Positive predictive value, precision: TP / (TP + FP), at the prevalence of these data."""
    return divide(c.tp, c.tp + c.fp)


def npv(c: Counts) -> np.ndarray:
    """Negative predictive value: TN / (TN + FN), at the prevalence of these data."""
    return divide(c.tn, c.tn + c.fn)


def f1(c: Counts) -> np.ndarray:
    """Harmonic mean of sensitivity and PPV: 2 TP / (2 TP + FP + FN) (van Rijsbergen 1979)."""
    return divide(2 * c.tp, 2 * c.tp + c.fp + c.fn)


def confusion_matrix(
    truth: np.ndarray, predicted: np.ndarray, num_classes: int, weights: np.ndarray | None = None
) -> np.ndarray:
    """(..., k, k): row the true class, column the predicted one.

    Args:
        truth, predicted: (n,) class indices.
    """
    cell = np.asarray(truth) * num_classes + np.asarray(predicted)
    one_hot = (cell[:, None] == np.arange(num_classes**2)).astype(float)
    weights = np.ones(len(cell)) if weights is None else weights
    return (weights @ one_hot).reshape(*weights.shape[:-1], num_classes, num_classes)


def accuracy(confusion: np.ndarray) -> np.ndarray:
    """Share of cases on the diagonal."""
    return divide(np.trace(confusion, axis1=-2, axis2=-1), confusion.sum((-2, -1)))


def balanced_accuracy(confusion: np.ndarray) -> np.ndarray:
    """Mean sensitivity of the classes that occur (Brodersen et al. 2010, ICPR, 3121-3124)."""
    return mean_of_known(divide(np.diagonal(confusion, axis1=-2, axis2=-1), confusion.sum(-1)))


def matthews(confusion: np.ndarray) -> np.ndarray:
    """Matthews correlation for any number of classes, R_K of Gorodkin 2004 (Comput. Biol. Chem. 28:367-374).

    0 when all cases are of one class or all predictions are of one class, as scikit-learn has it.
    """
    right = np.trace(confusion, axis1=-2, axis2=-1)
    return matthews_of_margins(right, confusion.sum(-1), confusion.sum(-2))


def matthews_of_margins(right: np.ndarray, true: np.ndarray, guessed: np.ndarray) -> np.ndarray:
    """`matthews` from the number of right decisions (...) and of cases per true and guessed class (..., k)."""
    total = true.sum(-1)
    covariance = right * total - (true * guessed).sum(-1)
    spread = (total**2 - (guessed**2).sum(-1)) * (total**2 - (true**2).sum(-1))
    return np.nan_to_num(divide(covariance, np.sqrt(np.maximum(spread, 0))), nan=0.0)


def as_confusion(c: Counts) -> np.ndarray:
    """(..., 2, 2) with "no" first."""
    return np.stack([np.stack([c.tn, c.fp], -1), np.stack([c.fn, c.tp], -1)], -2)


# ---- ranking


def _groups(scores: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
    """Order by descending score, and where each group of equal scores begins in it."""
    order = np.argsort(-scores, kind="stable")
    ordered = scores[order]
    return order, np.flatnonzero(np.r_[True, ordered[1:] != ordered[:-1]])


def _cumulated(
    truth: np.ndarray, scores: np.ndarray, weights: np.ndarray | None
) -> tuple[np.ndarray, np.ndarray]:
    """(..., groups): true and false positives when everything down to this score is called positive."""
    truth, scores, weights = only_known(truth, scores, weights)
    weights = np.ones(len(scores)) if weights is None else weights
    order, starts = _groups(np.asarray(scores, float))
    ordered, positive = weights[..., order], truth[order]
    hits = np.add.reduceat(ordered * positive, starts, axis=-1)
    false = np.add.reduceat(ordered * ~positive, starts, axis=-1)
    return hits.cumsum(-1), false.cumsum(-1)


def roc_curve(truth: np.ndarray, scores: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
    """False and true positive rates from (0, 0) to (1, 1), one point per distinct score (Fawcett 2006)."""
    tp, fp = (np.r_[0.0, part] for part in _cumulated(truth, scores, None))
    return divide(fp, fp[-1]), divide(tp, tp[-1])


def auroc(truth: np.ndarray, scores: np.ndarray, weights: np.ndarray | None = None) -> np.ndarray:
    """Area under the ROC curve: how often a positive case scores above a negative one, ties counting half.

    Hanley and McNeil 1982, Radiology 143:29-36. NaN when one of the two classes is missing.

    Args:
        truth: (n,) bool, or 0, 1 and NaN.
        scores: (n,), larger is more positive.

    Returns:
        (...).
    """
    truth, scores, weights = only_known(truth, np.asarray(scores, float), weights)
    weights = np.ones(len(scores)) if weights is None else weights
    positive, negative = np.flatnonzero(truth), np.flatnonzero(~truth)
    positive = positive[np.argsort(-scores[positive], kind="stable")]
    ladder = -scores[positive]
    above, upto = (np.searchsorted(ladder, -scores[negative], side=side) for side in ("left", "right"))
    by_case = np.moveaxis(weights, -1, 0)
    wins = np.zeros((len(positive) + 1, *by_case.shape[1:]))
    np.cumsum(by_case[positive], axis=0, out=wins[1:])
    beaten = wins[above] if (above == upto).all() else (wins[above] + wins[upto]) / 2
    false = by_case[negative]
    return divide(np.einsum("n...,n...->...", false, beaten), wins[-1] * false.sum(0))


def precision_recall_curve(truth: np.ndarray, scores: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
    """Precision and recall by descending score, one point per distinct score."""
    tp, fp = _cumulated(truth, scores, None)
    return divide(tp, tp + fp), divide(tp, tp[-1])


def average_precision(truth: np.ndarray, scores: np.ndarray, weights: np.ndarray | None = None) -> np.ndarray:
    """Sum of precision times the step in recall, without interpolation (as scikit-learn).

    NaN when there is no positive case.
    """
    tp, fp = _cumulated(truth, scores, weights)
    precision = np.nan_to_num(divide(tp, tp + fp))
    return divide((precision * np.diff(tp, axis=-1, prepend=0)).sum(-1), tp[..., -1])


# ---- all of them

PER_CLASS = ("auroc", "average_precision", "sensitivity", "specificity", "ppv", "npv", "f1")
OVERALL = ("accuracy", "balanced_accuracy", *PER_CLASS, "mcc")
MICRO = tuple(f"micro_{name}" for name in PER_CLASS)
"""Several labels per case: all labels of all cases taken together."""


def decide(probabilities: np.ndarray, *, multi_label: bool) -> np.ndarray:
    """(n, k) bool: the most probable class (the first of equals), or every class of at least 0.5."""
    if multi_label:
        return probabilities >= 0.5
    return np.arange(probabilities.shape[1]) == probabilities.argmax(1)[:, None]


def measures(
    truth: np.ndarray,
    probabilities: np.ndarray,
    *,
    multi_label: bool = False,
    positive: int = -1,
    weights: np.ndarray | None = None,
    decided: np.ndarray | None = None,
) -> tuple[dict[str, np.ndarray], dict[str, np.ndarray]]:
    """Everything at once.

    Two classes: the overall values are those of the class `positive`. More classes: one against the rest,
    then the mean over the classes (macro); accuracy, balanced accuracy and MCC are of the full confusion
    matrix. Multi-label: every measure is the mean over the classes, accuracy among them (the share of right
    decisions), and those of MICRO are of all labels together.

    Args:
        truth: (n, k) bool; exactly one true per row unless `multi_label`, where NaN is unknown.
        probabilities: (n, k).
        decided: (n, k) bool, the classes that are called; None: as `decide` has it.

    Returns:
        Overall values (...) named as in OVERALL (and MICRO), and values per class (..., k) named as in PER_CLASS.
    """
    truth = np.asarray(truth) if multi_label else np.asarray(truth, bool)
    predicted = decide(probabilities, multi_label=multi_label) if decided is None else decided
    c = counts(truth, predicted, weights)
    columns = [(truth[:, j], probabilities[:, j]) for j in range(truth.shape[1])]
    by_class = {
        "auroc": np.stack([auroc(t, p, weights) for t, p in columns], -1),
        "average_precision": np.stack([average_precision(t, p, weights) for t, p in columns], -1),
        "sensitivity": sensitivity(c),
        "specificity": specificity(c),
        "ppv": ppv(c),
        "npv": npv(c),
        "f1": f1(c),
    }
    if multi_label:
        tables = as_confusion(c)
        overall = {
            name: mean_of_known(rate(tables))
            for name, rate in (
                ("accuracy", accuracy),
                ("balanced_accuracy", balanced_accuracy),
                ("mcc", matthews),
            )
        }
    else:
        table = confusion_matrix(truth.argmax(1), predicted.argmax(1), truth.shape[1], weights)
        overall = {
            "accuracy": accuracy(table),
            "balanced_accuracy": balanced_accuracy(table),
            "mcc": matthews(table),
        }
    binary = truth.shape[1] == 2 and not multi_label
    for name, values in by_class.items():
        overall[name] = values[..., positive] if binary else mean_of_known(values)
    found = {name: overall[name] for name in OVERALL}
    return found | (_micro(truth, probabilities, c, weights) if multi_label else {}), by_class


def _micro(
    truth: np.ndarray, probabilities: np.ndarray, c: Counts, weights: np.ndarray | None
) -> dict[str, np.ndarray]:
    """The measures of MICRO (...): every label of every case is a question of its own."""
    pooled = Counts(*(part.sum(-1) for part in c))
    labels = truth.shape[1]
    answers = truth.ravel(), np.asarray(probabilities).ravel()

    def ranked(measure: Callable[..., np.ndarray]) -> np.ndarray:
        if weights is None or weights.ndim == 1:
            return measure(*answers, None if weights is None else np.repeat(weights, labels))
        parts = np.array_split(weights, min(labels, len(weights)))  # no more memory than one label takes
        return np.concatenate([measure(*answers, np.repeat(part, labels, axis=1)) for part in parts])

    found = {
        "auroc": ranked(auroc),
        "average_precision": ranked(average_precision),
        "sensitivity": sensitivity(pooled),
        "specificity": specificity(pooled),
        "ppv": ppv(pooled),
        "npv": npv(pooled),
        "f1": f1(pooled),
    }
    return {f"micro_{name}": value for name, value in found.items()}


def known_counts(truth: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
    """(k,) int each: cases with the class, and cases of which that is known."""
    return (np.asarray(truth) == 1).sum(0), is_known(truth).sum(0)
