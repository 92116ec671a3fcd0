"""From which score on a box counts as found: precision, recall and F1 by score, and the score that suits a goal."""

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np

from medcli.metrics.bootstrap import divide, mean_of_known
from medcli.metrics.detection import Matches, pool


@dataclass(frozen=True, eq=False)
class ScoreCurve:
    """What counts as found from each score on, by falling score, equal scores together.

    Attributes:
        score: (n,) the scores that occur.
        precision: (n,) share of the boxes from this score on that are right.
        recall: (n,) share of the true boxes that they hit; NaN without any.
        f1: (n,) harmonic mean of the two; NaN without any true box.
        false: (n,) false boxes per image.
    """

    score: np.ndarray
    precision: np.ndarray
    recall: np.ndarray
    f1: np.ndarray
    false: np.ndarray


def score_curve(matches: Matches, column: int = 0) -> ScoreCurve:
    """Of one class, or of several pooled, at one overlap."""
    counted = ~matches.ignored[:, column]
    hit, score = matches.hit[counted, column], matches.score[counted]
    last = np.r_[score[1:] != score[:-1], True] if len(score) else np.zeros(0, bool)
    tp, fp = np.cumsum(hit)[last], np.cumsum(~hit)[last]
    truths = int(matches.truths.sum())
    return ScoreCurve(
        score[last],
        divide(tp, tp + fp),
        divide(tp, np.full(len(tp), truths)),
        divide(2 * tp, tp + fp + truths) if truths else np.full(len(tp), np.nan),
        fp / max(len(matches.truths), 1),
    )


def counts_at(
    matches: Matches, threshold: float, weights: np.ndarray | None = None, column: int = 0
) -> np.ndarray:
    """(..., 3) hits, false and missed boxes from this score on.

    Args:
        weights: (..., images), how often each image counts; None: once.
    """
    weights = np.ones(len(matches.truths)) if weights is None else np.asarray(weights, float)
    images = len(matches.truths)
    above = matches.score >= threshold
    hit = above & matches.hit[:, column]
    false = above & ~matches.hit[:, column] & ~matches.ignored[:, column]
    tp, fp = (np.bincount(matches.image[which], minlength=images).astype(float) for which in (hit, false))
    return np.stack([weights @ tp, weights @ fp, weights @ (matches.truths - tp)], axis=-1)


def precision_recall_f1(counts: np.ndarray) -> dict[str, np.ndarray]:
    """From counts (..., 3) as of `counts_at`; NaN where nothing is found (precision) or there (recall)."""
    tp, fp, fn = np.moveaxis(np.asarray(counts, float), -1, 0)
    return {
        "precision": divide(tp, tp + fp),
        "recall": divide(tp, tp + fn),
        "f1": divide(2 * tp, 2 * tp + fp + fn),
    }


def best_f1(matches: Matches) -> float | None:
    """The score with the best F1 (of equal ones the highest); None without a true box that is hit at all."""
    curve = score_curve(matches)
    if not len(curve.score) or not np.nan_to_num(curve.f1).max() > 0:
        return None
    return float(curve.score[int(np.nan_to_num(curve.f1).argmax())])


def best_common_f1(matches: Sequence[Matches]) -> float | None:
    """One score for all classes with the best mean of their F1; classes without true boxes do not count."""
    known = [one for one in matches if one.truths.sum()]
    scores = np.unique(np.concatenate([one.score for one in known])) if known else np.zeros(0)
    if not len(scores):
        return None
    rows = []
    for one in known:
        curve = score_curve(one)
        place = len(curve.score) - np.searchsorted(curve.score[::-1], scores, side="left") - 1
        rows.append(np.where(place >= 0, np.r_[curve.f1, 0.0][place], 0.0))
    mean = mean_of_known(np.stack(rows), axis=0)
    if mean.max() <= 0:
        return None
    return float(scores[len(scores) - 1 - int(mean[::-1].argmax())])


def with_false_positives(matches: Sequence[Matches], most: float) -> float | None:
    """The lowest score for all classes with at most so many false boxes per image; None: no box at all."""
    curve = score_curve(pool(matches))
    kept = np.flatnonzero(curve.false <= most + 1e-12)
    return float(curve.score[kept[-1]]) if len(kept) else None
