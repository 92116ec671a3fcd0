"""What follows from probabilities: thresholds, net benefit, predictive values, answering or not.

Axes as in `classification`: n cases; weights (..., n) give (..., thresholds).
"""

from collections.abc import Mapping
from typing import NamedTuple

import numpy as np

from medcli.metrics.bootstrap import divide
from medcli.metrics.classification import Counts
from medcli.metrics.known import only_known

Aim = float | str | Mapping[str, float]
"""A threshold; "youden"; or one of {"sensitivity": at least}, {"specificity": at least}, {"cost_fn": cost}."""
THRESHOLDS = np.round(np.arange(0.01, 1.0, 0.01), 2)
"""Of the decision curve."""
SHARES = np.array([1.0, 0.95, 0.9, 0.8, 0.7, 0.5])
"""Of the cases that are answered, for the table beside the risk-coverage curve."""


class Threshold(NamedTuple):
    """Scores of at least `value` are called positive; the rates are those on the data it was chosen on."""

    value: float
    sensitivity: float
    specificity: float


def choose_threshold(truth: np.ndarray, scores: np.ndarray, aim: Aim) -> Threshold:
    """The threshold that meets an aim on these data.

    "youden": the largest sensitivity + specificity (Youden 1950, Cancer 3:32-35). "sensitivity": of all
    thresholds with at least this sensitivity the one of the best specificity; "specificity" likewise.
    "cost_fn": the least cost when a missed positive costs this many false alarms. Between two scores that
    serve alike it lies in the middle. Of equals the higher threshold wins, so fewer cases are called
    positive. Without positive or without negative cases it is 0.5.

    Args:
        truth: (n,) bool, or 0, 1 and NaN for unknown.
        scores: (n,) from 0 to 1.
    """
    truth, scores = only_known(truth, np.asarray(scores, float))
    positives, negatives = int(truth.sum()), int((~truth).sum())
    if isinstance(aim, (int, float)):
        value = float(aim)
    elif not positives or not negatives:
        value = 0.5
    else:
        value = _best(truth, scores, aim)
    called = scores >= value
    return Threshold(
        value,
        float((called & truth).sum() / positives) if positives else float("nan"),
        float((~called & ~truth).sum() / negatives) if negatives else float("nan"),
    )


def nearest_threshold(
    truth: np.ndarray, scores: np.ndarray, *, sensitivity: float, specificity: float
) -> float:
    """The threshold whose sensitivity and specificity are nearest to these: the larger difference is least.

    As in `choose_threshold` of equals the higher wins. Needs positive and negative cases.
    """
    distinct, hits, false = _falling(np.asarray(truth, bool), np.asarray(scores, float))
    off = np.maximum(abs(hits / hits[-1] - sensitivity), abs(1 - false / false[-1] - specificity))
    return _between(distinct, int(np.flatnonzero(off <= off.min() + 1e-12)[0]))


def _falling(truth: np.ndarray, scores: np.ndarray) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
    """Distinct negated scores (m,) from the highest score on; positives and negatives (m + 1,) called by then."""
    distinct, place = np.unique(-scores, return_inverse=True)
    hits = np.r_[0, np.bincount(place, truth).cumsum()]
    return distinct, hits, np.r_[0, np.bincount(place, ~truth).cumsum()]


def _between(distinct: np.ndarray, called: int) -> float:
    """The threshold that calls the cases of the `called` highest scores, in the middle between two scores."""
    above = np.r_[np.nextafter(1.0, 2.0), -distinct]
    below = np.r_[-distinct, 0.0]
    if called == 0:
        return float(above[0])
    return float((above[called] + below[called]) / 2 if called < len(distinct) else 0.0)


def _best(truth: np.ndarray, scores: np.ndarray, aim: Aim) -> float:
    distinct, hits, false = _falling(truth, scores)
    found, correct = hits / hits[-1], 1 - false / false[-1]
    if aim == "youden":
        worth = found + correct
    else:
        assert isinstance(aim, Mapping)
        (name, wanted), *_ = aim.items()
        if name == "sensitivity":
            worth = np.where(found >= wanted - 1e-12, correct, -1)
        elif name == "specificity":
            worth = np.where(correct >= wanted - 1e-12, found, -1)
        else:
            worth = -(wanted * (hits[-1] - hits) + false)
    return _between(distinct, int(np.flatnonzero(worth >= worth.max() - 1e-12)[0]))


def counts_at(
    truth: np.ndarray, scores: np.ndarray, thresholds: np.ndarray, weights: np.ndarray | None = None
) -> Counts:
    """Hits and misses at every threshold, each (..., thresholds).

    Args:
        truth, scores: (n,).
    """
    truth, scores, weights = only_known(truth, scores, weights)
    weights = np.ones(len(truth)) if weights is None else weights
    thresholds = np.atleast_1d(thresholds)
    order = np.argsort(thresholds, kind="stable")
    reached = np.searchsorted(thresholds[order], np.asarray(scores, float), side="right")
    by_place = reached[:, None] == np.arange(len(thresholds) + 1)  # how many thresholds each score reaches
    hits, false = (weights @ (by_place & kind[:, None]).astype(float) for kind in (truth, ~truth))

    def from_above(counts: np.ndarray) -> np.ndarray:
        called = np.flip(np.flip(counts, -1).cumsum(-1), -1)[..., 1:]
        return called[..., np.argsort(order)]

    tp, fp = from_above(hits), from_above(false)
    return Counts(tp, fp, hits.sum(-1)[..., None] - tp, false.sum(-1)[..., None] - fp)


def ppv_at(sensitivity: np.ndarray, specificity: np.ndarray, prevalence: float) -> np.ndarray:
    """Positive predictive value where the share `prevalence` is positive.

    Bayes' rule; Altman and Bland 1994, BMJ 309:102.
    """
    hits = np.asarray(sensitivity, float) * prevalence
    return divide(hits, hits + (1 - np.asarray(specificity, float)) * (1 - prevalence))


def npv_at(sensitivity: np.ndarray, specificity: np.ndarray, prevalence: float) -> np.ndarray:
    """Negative predictive value where the share `prevalence` is positive."""
    right = np.asarray(specificity, float) * (1 - prevalence)
    return divide(right, right + (1 - np.asarray(sensitivity, float)) * prevalence)


# ---- decision curve


def net_benefit(
    truth: np.ndarray, scores: np.ndarray, thresholds: np.ndarray, weights: np.ndarray | None = None
) -> np.ndarray:
    """True positives minus false positives at the exchange rate of the threshold, per case.

    TP / n - FP / n * pt / (1 - pt): Vickers and Elkin 2006 (Med. Decis. Making 26:565-574). The scores
    must be probabilities: pt is the probability from which one would act.

    Returns:
        (..., thresholds).
    """
    c = counts_at(truth, scores, thresholds, weights)
    odds = np.asarray(thresholds, float) / (1 - np.asarray(thresholds, float))
    return divide(c.tp - c.fp * odds, c.tp + c.fp + c.fn + c.tn)


def net_benefit_of_all(
    truth: np.ndarray, thresholds: np.ndarray, weights: np.ndarray | None = None
) -> np.ndarray:
    """Net benefit of calling every case positive; that of calling none is 0."""
    truth, weights = only_known(truth, weights)
    weights = np.ones(len(truth)) if weights is None else weights
    share = divide(weights @ np.asarray(truth, float), weights.sum(-1))[..., None]
    odds = np.asarray(thresholds, float) / (1 - np.asarray(thresholds, float))
    return share - (1 - share) * odds


# ---- answering only when sure


def confidence(probabilities: np.ndarray, *, multi_label: bool) -> np.ndarray:
    """(n,): the largest probability; several labels: how far the least sure one is from even, from 0.5 on."""
    if multi_label:
        return np.maximum(probabilities, 1 - probabilities).min(1)
    return probabilities.max(1)


class RiskCoverage(NamedTuple):
    """Attributes:
    share: Of the cases that are answered, rising; the surest first, equal confidence together.
    accuracy: Among these.
    area: Mean error over all shares (Geifman and El-Yaniv 2017, NeurIPS); 0 is perfect.
    """

    share: np.ndarray
    accuracy: np.ndarray
    area: float


def risk_coverage(correct: np.ndarray, confidence: np.ndarray) -> RiskCoverage:
    """Accuracy of the surest cases against their share.

    Args:
        correct: (n,) how right the answer is, 0 to 1.
        confidence: (n,), larger is surer.
    """
    distinct, place = np.unique(-np.asarray(confidence, float), return_inverse=True)
    answered = np.bincount(place, minlength=len(distinct)).astype(float)
    accuracy = np.bincount(place, np.asarray(correct, float)).cumsum() / answered.cumsum()
    share = answered.cumsum() / answered.sum()
    return RiskCoverage(share, accuracy, float(((1 - accuracy) * answered).sum() / answered.sum()))


def least_confidence(confidence: np.ndarray, shares: np.ndarray = SHARES) -> np.ndarray:
    """(shares,): the confidence from which on at least this share of the cases is answered."""
    place = np.ceil(np.asarray(shares) * len(confidence) - 1e-9).astype(int) - 1
    return np.sort(np.asarray(confidence, float))[::-1][np.maximum(place, 0)]


def accuracy_when_answering(
    correct: np.ndarray,
    confidence: np.ndarray,
    shares: np.ndarray = SHARES,
    weights: np.ndarray | None = None,
) -> np.ndarray:
    """(..., shares): accuracy when this share of the cases, the surest ones, is answered.

    What is sure enough is fixed by these data, not by each resample.
    """
    confidence = np.asarray(confidence, float)
    weights = np.ones(len(confidence)) if weights is None else weights
    answered = (confidence[:, None] >= least_confidence(confidence, shares)).astype(float)
    return divide(weights @ (answered * np.asarray(correct, float)[:, None]), weights @ answered)
