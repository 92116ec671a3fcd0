"""How far probabilities can be taken at their word, and scalings that bring them closer.

Axes as in `classification`: n cases, k classes; formulas that take weights (..., n) give (...).
"""

import math
from collections.abc import Sequence
from typing import NamedTuple

import numpy as np

from medcli.metrics.bootstrap import divide, mean_of_known
from medcli.metrics.known import is_known, only_known

BINS = 10
"""Bins of the calibration error and of the diagram, each with the same number of cases."""
LEAST = 1e-7
"""Probabilities are kept this far from 0 and 1 before their logarithm is taken."""
Z = 1.959964
"""Standard normal quantile of a 95 % interval."""


# ---- how well calibrated


def equal_mass_bins(values: np.ndarray, bins: int = BINS) -> np.ndarray:
    """(n,) number of each value's bin, from 0; equal values share a bin, so there may be fewer bins.

    Nixon et al. 2019 (CVPR workshops, arXiv:1904.01685) on why bins of equal mass, not of equal width.
    """
    values = np.asarray(values, float)
    edges = np.unique(np.quantile(values, np.linspace(0, 1, bins + 1)[1:-1]))
    return np.unique(np.searchsorted(edges, values, side="left"), return_inverse=True)[1]


def calibration_error(
    truth: np.ndarray,
    probabilities: np.ndarray,
    weights: np.ndarray | None = None,
    *,
    bins: np.ndarray | None = None,
) -> np.ndarray:
    """Expected calibration error: |share that is true - mean probability|, mean over equal-mass bins.

    Naeini et al. 2015 (AAAI 29). With few cases it is well above 0 for a perfect model too:
    see `chance_error`.

    Args:
        truth: (n,) bool, whether what the probability speaks of is so.
        probabilities: (n,).
        bins: (n,) number of each case's bin; None: `equal_mass_bins`.
    """
    truth, probabilities, weights, bins = only_known(truth, probabilities, weights, bins)
    bins = equal_mass_bins(probabilities) if bins is None else bins
    if not len(bins):
        return np.full(np.shape(weights)[:-1], np.nan)
    weights = np.ones(len(bins)) if weights is None else weights
    gap = np.asarray(truth, float) - np.asarray(probabilities, float)
    in_bin = bins[:, None] == np.arange(bins.max() + 1)
    return divide(np.abs(weights @ (gap[:, None] * in_bin)).sum(-1), weights.sum(-1))


def unbiased(resampled: np.ndarray, value: np.ndarray | float) -> np.ndarray:
    """Calibration errors of resamples (many, ...), shifted so that their mean is the error of the data.

    A resample adds noise of its own to every bin, and the error, a sum of absolute gaps, takes noise for
    error: unshifted percentiles would lie too high (Bröcker 2012, Clim. Dyn. 39:655-667, on the bias).
    """
    return np.maximum(resampled - (np.nanmean(resampled, axis=0) - value), 0)


def overall_error(
    truth: np.ndarray,
    probabilities: np.ndarray,
    weights: np.ndarray | None = None,
    *,
    multi_label: bool = False,
    positive: int = -1,
) -> np.ndarray:
    """One calibration error for all (n, k): of two classes that of the positive one, of more that of the most
    probable class (`top_label`), of several labels per case the mean over the labels."""
    if multi_label:
        columns = zip(np.asarray(truth).T, np.asarray(probabilities).T, strict=True)
        return mean_of_known(np.stack([calibration_error(t, p, weights) for t, p in columns], -1))
    if truth.shape[1] == 2:
        return calibration_error(truth[:, positive], probabilities[:, positive], weights)
    return calibration_error(*top_label(truth, probabilities), weights)


def overall_brier(
    truth: np.ndarray,
    probabilities: np.ndarray,
    weights: np.ndarray | None = None,
    *,
    multi_label: bool = False,
) -> np.ndarray:
    """One Brier score for all (n, k); several labels per case: the mean over the labels."""
    if multi_label:
        columns = zip(np.asarray(truth).T, np.asarray(probabilities).T, strict=True)
        return mean_of_known(np.stack([brier(t, p, weights) for t, p in columns], -1))
    return brier(truth, probabilities, weights)


def top_label(truth: np.ndarray, probabilities: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
    """Whether the most probable class is the true one, and its probability (Guo et al. 2017, ICML)."""
    best = probabilities.argmax(1)[:, None]
    right = np.take_along_axis(np.asarray(truth, bool), best, 1)[:, 0]
    return right, np.take_along_axis(np.asarray(probabilities, float), best, 1)[:, 0]


def chance_error(probabilities: np.ndarray, *, draws: int = 400, seed: int = 0) -> tuple[float, float]:
    """Calibration error of a perfect model with these probabilities: its mean and its 95th percentile.

    Outcomes are drawn from the probabilities themselves (consistency resampling; Broecker and Smith 2007,
    Weather Forecast. 22:651-661), one case independent of the others.
    """
    probabilities = np.asarray(probabilities, float)
    bins = equal_mass_bins(probabilities)
    order = np.argsort(bins, kind="stable")
    starts = np.flatnonzero(np.r_[True, np.diff(bins[order]) > 0])
    ordered, random = probabilities[order], np.random.default_rng(seed)
    errors = []
    for _ in range(draws):
        gap = (random.random(len(ordered)) < ordered) - ordered
        errors.append(np.abs(np.add.reduceat(gap, starts)).sum() / len(ordered))
    return float(np.mean(errors)), float(np.quantile(errors, 0.95))


def brier(truth: np.ndarray, probabilities: np.ndarray, weights: np.ndarray | None = None) -> np.ndarray:
    """Mean squared difference of probability and outcome, 0 is perfect (Brier 1950, Mon. Weather Rev. 78:1-3).

    Args:
        truth, probabilities: (n,) of one class; or (n, k): the sum over the classes, halved, so that of two
            classes the value is that of either one.
    """
    if np.ndim(truth) == 1:
        truth, probabilities, weights = only_known(truth, probabilities, weights)
    squares = (np.asarray(probabilities, float) - np.asarray(truth, float)) ** 2
    squares = squares.sum(1) / 2 if squares.ndim == 2 else squares
    weights = np.ones(len(squares)) if weights is None else weights
    return divide(weights @ squares, weights.sum(-1))


class BrierParts(NamedTuple):
    """brier = reliability - resolution + uncertainty + within.

    Attributes:
        reliability: Squared gap between probability and outcome; 0 is perfect.
        resolution: How far the bins' outcomes differ from the prevalence; more is better.
        uncertainty: prevalence * (1 - prevalence): what cannot be changed.
        within: What comes from different probabilities sharing a bin; 0 when they do not.
    """

    brier: float
    reliability: float
    resolution: float
    uncertainty: float
    within: float


def brier_parts(truth: np.ndarray, probabilities: np.ndarray, bins: int = BINS) -> BrierParts:
    """Murphy 1973 (J. Appl. Meteorol. 12:595-600) over equal-mass bins; (n,) of one class."""
    curve = reliability_curve(truth, probabilities, bins=bins)
    share, prevalence = curve.cases / curve.cases.sum(), float(np.mean(truth))
    whole = float(brier(truth, probabilities))
    reliability = float((share * (curve.predicted - curve.observed) ** 2).sum())
    resolution = float((share * (curve.observed - prevalence) ** 2).sum())
    uncertainty = prevalence * (1 - prevalence)
    return BrierParts(
        whole, reliability, resolution, uncertainty, whole - (reliability - resolution + uncertainty)
    )


class ReliabilityCurve(NamedTuple):
    """Per bin, by rising probability: mean probability, share that is true and its interval, cases."""

    predicted: np.ndarray
    observed: np.ndarray
    low: np.ndarray
    high: np.ndarray
    cases: np.ndarray


def reliability_curve(
    truth: np.ndarray,
    probabilities: np.ndarray,
    patients: Sequence[str] | None = None,
    *,
    bins: int = BINS,
) -> ReliabilityCurve:
    """The reliability diagram of one class, with 95 % Wilson intervals.

    Cases of one patient may agree by more than chance, so the interval's n is the number of patients in
    the bin.
    """
    index = equal_mass_bins(probabilities, bins)
    cases = np.bincount(index).astype(float)
    observed = np.bincount(index, np.asarray(truth, float)) / cases
    independent = cases
    if patients is not None:
        code = np.unique(np.asarray(patients, str), return_inverse=True)[1]
        independent = np.bincount(np.unique(np.stack([index, code]), axis=1)[0]).astype(float)
    low, high = wilson(observed, independent)
    return ReliabilityCurve(
        np.bincount(index, np.asarray(probabilities, float)) / cases, observed, low, high, cases.astype(int)
    )


def wilson(share: np.ndarray, n: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
    """95 % interval of a share of n (Wilson 1927, J. Am. Stat. Assoc. 22:209-212); NaN where n is 0."""
    share, n = np.broadcast_arrays(np.asarray(share, float), np.asarray(n, float))
    middle = divide(share + divide(np.full(n.shape, Z**2 / 2), n), 1 + divide(np.full(n.shape, Z**2), n))
    inner = divide(share * (1 - share), n) + divide(np.full(n.shape, Z**2 / 4), n**2)
    half = Z * np.sqrt(inner) / (1 + divide(np.full(n.shape, Z**2), n))
    return np.maximum(middle - half, 0), np.minimum(middle + half, 1)


class CalibrationLine(NamedTuple):
    """Cox's calibration line of one class, each with its 95 % interval; NaN where it cannot be fitted.

    Attributes:
        slope: 1 is perfect; below 1 the probabilities are too extreme, above 1 too timid.
        intercept: With the slope held at 1; 0 is perfect, below 0 the probabilities are too high.
    """

    slope: float
    slope_interval: tuple[float, float]
    intercept: float
    intercept_interval: tuple[float, float]


def calibration_line(
    truth: np.ndarray, probabilities: np.ndarray, patients: Sequence[str] | None = None
) -> CalibrationLine:
    """Logistic regression of the truth on the logit of the probability.

    Cox 1958 (Biometrika 45:562-565); Van Calster et al. 2019 (BMC Med. 17:230) on its reading. Intervals
    are of Wald's kind with the sandwich variance clustered by patient (Liang and Zeger 1986).
    """
    truth = np.asarray(truth, float)
    clusters = np.arange(len(truth)) if patients is None else np.unique(patients, return_inverse=True)[1]
    score = logit(probabilities)
    ones = np.ones(len(truth))
    both = _logistic(np.stack([ones, score], 1), truth, np.zeros(len(truth)), clusters)
    alone = _logistic(ones[:, None], truth, score, clusters)
    return CalibrationLine(*both[1], *alone[0])


def _logistic(
    x: np.ndarray, y: np.ndarray, offset: np.ndarray, clusters: np.ndarray
) -> list[tuple[float, tuple[float, float]]]:
    """Newton's method; (coefficient, interval) per column, NaN when it does not converge (separation)."""
    nothing = [(math.nan, (math.nan, math.nan))] * x.shape[1]
    beta = np.zeros(x.shape[1])
    for _ in range(60):
        chance = 1 / (1 + np.exp(-np.clip(x @ beta + offset, -500, 500)))
        information = (x * (chance * (1 - chance))[:, None]).T @ x
        if np.linalg.cond(information) > 1e12:
            return nothing
        step = np.linalg.solve(information, x.T @ (y - chance))
        beta = beta + np.clip(step, -5, 5)
        if np.abs(step).max() < 1e-10:
            break
    else:
        return nothing
    residuals = np.zeros((clusters.max() + 1, x.shape[1]))
    np.add.at(residuals, clusters, x * (y - chance)[:, None])
    bread, groups = np.linalg.inv(information), len(residuals)
    variance = bread @ (residuals.T @ residuals) @ bread * groups / max(groups - 1, 1)
    half = Z * np.sqrt(np.diag(variance))
    return [(float(b), (float(b - h), float(b + h))) for b, h in zip(beta, half, strict=True)]


def logit(probabilities: np.ndarray) -> np.ndarray:
    clipped = np.clip(np.asarray(probabilities, float), LEAST, 1 - LEAST)
    return np.log(clipped) - np.log1p(-clipped)


# ---- scalings


def log_loss(truth: np.ndarray, probabilities: np.ndarray, *, multi_label: bool = False) -> np.ndarray:
    """(n,) minus the logarithm of the probability given to the truth; multi-label: mean over the known labels."""
    kept = np.clip(np.asarray(probabilities, float), LEAST, 1 - LEAST)
    if multi_label:
        terms = -np.log(np.where(np.asarray(truth) == 1, kept, 1 - kept))
        return mean_of_known(np.where(is_known(truth), terms, np.nan))
    return -np.log((kept * np.asarray(truth, bool)).sum(1))


def fit_temperature(
    truth: np.ndarray, probabilities: np.ndarray, *, multi_label: bool = False, bias: bool = False
) -> tuple[np.ndarray, np.ndarray]:
    """The temperature (and the bias of every class) with the least log loss.

    Temperature: Guo et al. 2017 (ICML). With a bias: Platt 1999 for two classes, Alexandari et al. 2020
    (ICML, bias-corrected temperature scaling) for more; it also corrects a shifted prevalence, which
    class weights in the training cause. Multi-label: every class has its own.

    Args:
        truth: (n, k) bool.
        probabilities: (n, k).

    Returns:
        Temperature (1,), multi-label (k,); bias (k,), zeros without `bias`.
    """
    truth = np.asarray(truth, float)
    if not multi_label:
        temperature, shift = _fit_softmax(_logs(probabilities), truth, bias)
        return np.array([temperature]), shift
    columns = [only_known(t, p) for t, p in zip(truth.T, logit(probabilities).T, strict=True)]
    fits = [
        _fit_softmax(np.stack([np.zeros(len(yes)), score], 1), np.stack([~yes, yes], 1).astype(float), bias)
        for yes, score in columns
    ]
    return np.array([fit[0] for fit in fits]), np.array([fit[1][1] - fit[1][0] for fit in fits])


def _fit_softmax(logits: np.ndarray, truth: np.ndarray, with_bias: bool) -> tuple[float, np.ndarray]:
    """Temperature and bias (the first is 0). The loss is convex in (1 / temperature, bias)."""
    from scipy.optimize import minimize

    k = logits.shape[1]

    def loss(values: np.ndarray) -> tuple[float, np.ndarray]:
        scaled = values[0] * logits + np.r_[0.0, values[1:]]
        scaled = scaled - scaled.max(1, keepdims=True)
        chances = np.exp(scaled)
        chances /= chances.sum(1, keepdims=True)
        gap = (chances - truth) / len(truth)
        value = -(truth * (scaled - np.log(np.exp(scaled).sum(1, keepdims=True)))).sum() / len(truth)
        slopes = np.r_[(gap * logits).sum(), gap[:, 1:].sum(0)]
        return float(value), slopes

    free = k - 1 if with_bias else 0
    bounds = [(0.05, 20.0)] + [(-10.0, 10.0) if with_bias else (0.0, 0.0)] * (k - 1)
    start = np.r_[1.0, np.zeros(k - 1)]
    found = minimize(loss, start, jac=True, method="L-BFGS-B", bounds=bounds, options={"ftol": 1e-13}).x
    return float(1 / found[0]), np.r_[0.0, found[1:]] if free else np.zeros(k)


def scale(
    probabilities: np.ndarray, temperature: np.ndarray, bias: np.ndarray, *, multi_label: bool = False
) -> np.ndarray:
    """softmax(log p / temperature + bias), multi-label sigmoid(logit(p) / temperature + bias); (..., k)."""
    if multi_label:
        return 1 / (1 + np.exp(-np.clip(logit(probabilities) / temperature + bias, -500, 500)))
    scaled = _logs(probabilities) / temperature + bias
    chances = np.exp(scaled - scaled.max(-1, keepdims=True))
    return chances / chances.sum(-1, keepdims=True)


def _logs(probabilities: np.ndarray) -> np.ndarray:
    return np.log(np.maximum(np.asarray(probabilities, float), 1e-30))


Steps = tuple[np.ndarray, np.ndarray]
"""Knots (probability, calibrated probability) of a rising line."""


def fit_isotonic(truth: np.ndarray, probabilities: np.ndarray) -> list[Steps]:
    """A rising step function per class, one against the rest (Zadrozny and Elkan 2002, KDD).

    Values are kept 1 / (n + 2) away from 0 and 1: n cases cannot show that something never happens.
    """
    from sklearn.isotonic import IsotonicRegression

    found = []
    for column, score in zip(np.asarray(truth, float).T, np.asarray(probabilities, float).T, strict=True):
        column, score = only_known(column, score)
        least = 1 / (len(column) + 2)
        fitted = IsotonicRegression(y_min=least, y_max=1 - least, out_of_bounds="clip").fit(
            score, column.astype(float)
        )
        found.append((np.asarray(fitted.X_thresholds_), np.asarray(fitted.y_thresholds_)))
    return found


def apply_isotonic(
    probabilities: np.ndarray, steps: Sequence[Steps], *, multi_label: bool = False
) -> np.ndarray:
    """(..., k); one of k: the classes' values divided by their sum."""
    probabilities = np.asarray(probabilities, float)
    mapped = np.stack([np.interp(probabilities[..., j], x, y) for j, (x, y) in enumerate(steps)], -1)
    return mapped if multi_label else mapped / mapped.sum(-1, keepdims=True)


# ---- shift


def distance_of_distributions(a: np.ndarray, b: np.ndarray) -> tuple[float, float]:
    """Largest gap between the two distribution functions and its p-value (Kolmogorov-Smirnov)."""
    from scipy.stats import ks_2samp

    found = ks_2samp(a, b)
    return float(found.statistic), float(found.pvalue)
