"""Conformal risk control: how low a threshold must be so that little is missed, and how much to expect of a result.

Angelopoulos, Bates, Fisch, Lei and Schuster 2022 (arXiv 2208.02814, ICLR 2024): of losses that can only fall
when a threshold falls, on cases that the model did not learn from, the largest threshold whose corrected mean
loss stays below alpha keeps the expected loss of a new case of the same kind below alpha.

The unit is the patient: the cases of one patient count together as one.
"""

from collections.abc import Iterable, Sequence

import numpy as np

from medcli.metrics.bootstrap import divide

THRESHOLDS = np.unique(np.r_[0.0, np.logspace(-6, -2, 81), np.linspace(0.01, 0.5, 99)])
"""From which probability or score something is taken in, rising. Never above one half."""


def controlled(losses: np.ndarray, alpha: float) -> int | None:
    """Index of the largest threshold whose risk is controlled: (n R + 1) / (n + 1) <= alpha.

    Args:
        losses: (n, thresholds) from 0 to 1, not falling along the thresholds, which rise.

    Returns:
        None when no threshold keeps the promise; with n < 1 / alpha - 1 none can.
    """
    if not len(losses):
        return None
    corrected = (np.asarray(losses, float).sum(0) + 1) / (len(losses) + 1)
    kept = np.flatnonzero(corrected <= alpha + 1e-12)
    return int(kept[-1]) if len(kept) else None


def by_patient(losses: np.ndarray, patients: Sequence[str] | np.ndarray) -> np.ndarray:
    """(patients, ...) mean over the cases of each patient, by sorted name; cases whose first loss is NaN are left out.

    Args:
        losses: (n, ...); a case counts for all thresholds or for none.
    """
    losses = np.asarray(losses, float)
    known = ~np.isnan(losses.reshape(len(losses), -1)[:, 0]) if losses.size else np.zeros(len(losses), bool)
    _, code = np.unique(np.asarray(patients, str)[known], return_inverse=True)
    sums = np.zeros((code.max(initial=-1) + 1, *losses.shape[1:]))
    np.add.at(sums, code, losses[known])
    return sums / np.bincount(code).reshape(-1, *(1,) * (losses.ndim - 1))


def levels(chances: np.ndarray) -> np.ndarray:
    """uint8 index of the highest of THRESHOLDS that each chance reaches: all that `missed` needs to know of it."""
    return np.searchsorted(THRESHOLDS[1:], chances, side="right").astype(np.uint8)


def missed(chances: np.ndarray, count: int, thresholds: np.ndarray = THRESHOLDS) -> np.ndarray:
    """(thresholds,) share of `count` true voxels or objects that are missed when only chances >= the threshold are in.

    Args:
        chances: What was given to those of them that were found at all; the others are missed at any threshold.

    Returns:
        NaN when there is nothing to miss.
    """
    if not count:
        return np.full(len(thresholds), np.nan)
    found = len(chances) - np.searchsorted(np.sort(chances), thresholds, side="left")
    return 1 - found / count


def expected_dice(probabilities: np.ndarray, labels: np.ndarray) -> np.ndarray:
    """(classes,) Dice to expect if the probabilities are right: 2 sum(p within the mask) / (sum p + mask).

    The mean field of Dice (numerator and denominator by themselves), without any truth. NaN for a class that is
    neither predicted nor expected on even one voxel.

    Args:
        probabilities: Spatial shape + (1 + classes), background first.
        labels: Spatial shape, ids made from them.
    """
    masks = (labels == index for index in range(1, probabilities.shape[-1]))
    return dice_of_sums(dice_sums(probabilities, masks))


def dice_sums(probabilities: np.ndarray, masks: Iterable[np.ndarray]) -> np.ndarray:
    """(classes, 3) float64: what `expected_dice` needs of a part of an image; those of several parts add up.

    Args:
        masks: For each class where it is predicted, bool.
    """
    sums = []
    for index, mask in enumerate(masks, start=1):
        chance = probabilities[..., index]
        sums.append([float(chance[mask].sum(dtype=float)), float(chance.sum(dtype=float)), float(mask.sum())])
    return np.array(sums, float).reshape(-1, 3)


def dice_of_sums(sums: np.ndarray) -> np.ndarray:
    """(classes,)"""
    both, expected, size = sums.T
    return np.where((size > 0) | (expected >= 1), divide(2 * both, expected + size), np.nan)


def expected_f1(scores: np.ndarray, threshold: float = 0.25) -> float:
    """F1 to expect of the boxes from a score on, if scores are the chance of being right.

    Sums of scores stand for hits and, below the threshold, for misses. NaN when there is no box at all.
    """
    scores = np.asarray(scores, float)
    kept = scores >= threshold
    hits, missing = scores[kept].sum(), scores[~kept].sum()
    return float(divide(2 * hits, 2 * hits + (1 - scores[kept]).sum() + missing)) if len(scores) else np.nan


def learn_quality(expected: np.ndarray, true: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
    """Rising steps (x, y) from expected to true quality: isotonic regression; with few cases a shift by the mean.

    Args:
        expected, true: (n,) from 0 to 1; pairs with NaN are left out.
    """
    known = np.isfinite(expected) & np.isfinite(true)
    expected, true = np.asarray(expected, float)[known], np.asarray(true, float)[known]
    if len(expected) < FEW:
        shift = float((true - expected).mean()) if len(expected) else 0.0
        return np.array([0.0, 1.0]), np.array([0.0, 1.0]) + shift
    from sklearn.isotonic import IsotonicRegression

    fitted = IsotonicRegression(y_min=0, y_max=1, out_of_bounds="clip").fit(expected, true)
    return np.asarray(fitted.X_thresholds_, float), np.asarray(fitted.y_thresholds_, float)


FEW = 20
"""Fewer cases than this teach only a shift of the expected quality."""


def quality_of(expected: np.ndarray, steps: tuple[np.ndarray, np.ndarray]) -> np.ndarray:
    """Quality to expect, 0 to 1, by the steps of `learn_quality`; NaN stays NaN."""
    expected = np.asarray(expected, float)
    found = np.clip(np.interp(expected, *steps), 0, 1)
    return np.where(np.isnan(expected), np.nan, found)
