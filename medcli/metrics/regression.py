"""Measures of predicted numbers, for all cases or for resamples of them at once.

Axes: n cases. Truth and prediction are (n,) float in one unit; weights (..., n) say how often each case counts (whole
numbers, as resamples of patients give them) and give (...,). Undefined values are NaN.
"""

from collections.abc import Collection

import numpy as np

from medcli.metrics.bootstrap import divide
from medcli.metrics.samples import Gap, Sample
from medcli.preprocessing.targets import fifths

OVERALL = (
    "mae", "rmse", "median_ae", "r2", "pearson", "spearman", "bias", "limit_low", "limit_high", "slope", "intercept",
    "mae_of_mean", "skill",
)  # fmt: skip
"""Names in the order of reports; see `measures`."""
GROUP_NAMES = ("mae", "bias", "rmse")
GAPS = (Gap("mae", ("mae",), target=0.0), Gap("bias", ("bias",), target=0.0))
REACH = 1.96
"""Limits of agreement are so many standard deviations from the bias; 95 % of a normal distribution lie within."""


def measures(
    truth: np.ndarray,
    predicted: np.ndarray,
    weights: np.ndarray | None = None,
    *,
    usual: float | None = None,
    names: Collection[str] = OVERALL,
) -> dict[str, np.ndarray]:
    """The measures of these names.

    mae, median_ae: mean and median absolute error. rmse: root of the mean squared error. r2: 1 - sum of squared errors
    over that around the mean of the truth; below 0 is worse than saying that mean. pearson, spearman: correlations.
    bias: mean of predicted minus true; limit_low, limit_high: bias -+ 1.96 standard deviations (n - 1) of these
    differences (Bland and Altman 1986, Lancet 327:307-310). slope, intercept: of the least-squares line truth =
    intercept + slope * predicted, 1 and 0 when calibrated (Mincer and Zarnowitz 1969). mae_of_mean: the error of who
    always says `usual`; skill: 1 - mae / mae_of_mean.

    Args:
        usual: What the baseline always says, the mean of the training part; None: mae_of_mean and skill are NaN.
    """
    truth, predicted = np.asarray(truth, float), np.asarray(predicted, float)
    weights = np.ones(len(truth)) if weights is None else np.asarray(weights, float)
    wanted = set(names)
    found: dict[str, np.ndarray] = _moments(truth, predicted, weights)
    if "median_ae" in wanted:
        found["median_ae"] = weighted_median(np.abs(predicted - truth), weights)
    if "spearman" in wanted:
        found["spearman"] = spearman(truth, predicted, weights)
    if wanted & {"mae_of_mean", "skill"}:
        off = np.full(len(truth), np.nan) if usual is None else np.abs(truth - usual)
        found["mae_of_mean"] = divide(weights @ off, weights.sum(-1))
        found["skill"] = 1 - divide(found["mae"], found["mae_of_mean"])
    return {name: found[name] for name in names}


def _moments(truth: np.ndarray, predicted: np.ndarray, weights: np.ndarray) -> dict[str, np.ndarray]:
    """All that sums over the cases tell. Both are centred first, so that nothing is lost to rounding."""
    centre = float(truth.mean()) if len(truth) else 0.0
    t, p = truth - centre, predicted - centre
    error = p - t
    columns = np.stack([t, p, t * t, p * p, t * p, np.abs(error), error, error * error], -1)
    total = weights.sum(-1)
    mean = divide(weights @ columns, total[..., None])
    mean_t, mean_p, tt, pp, tp, mae, bias, squared = np.moveaxis(mean, -1, 0)
    var_t, var_p, cov = _positive(tt - mean_t**2, t), _positive(pp - mean_p**2, p), tp - mean_t * mean_p
    var_error = np.maximum(squared - bias**2, 0.0)
    deviation = np.sqrt(np.where(total > 1, divide(var_error * total, total - 1), np.nan))
    slope = divide(cov, var_p)
    return {
        "mae": mae,
        "rmse": np.sqrt(squared),
        "r2": 1 - divide(squared, var_t),
        "pearson": np.clip(divide(cov, np.sqrt(var_t * var_p)), -1, 1),
        "bias": bias,
        "limit_low": bias - REACH * deviation,
        "limit_high": bias + REACH * deviation,
        "slope": slope,
        "intercept": mean_t + centre - slope * (mean_p + centre),
    }


def _positive(variance: np.ndarray, values: np.ndarray) -> np.ndarray:
    """0 where a variance is no more than rounding, as of values that are all the same."""
    size = float(np.abs(values).max(initial=0.0)) ** 2
    return np.where(variance > 1e-12 * size, variance, 0.0)


def weighted_median(values: np.ndarray, weights: np.ndarray) -> np.ndarray:
    """(...,) median of (n,) values that count (..., n) times: of an even number the mean of the middle two.

    Example:
        >>> weighted_median(np.array([1.0, 2.0, 10.0]), np.array([[1, 1, 1], [2, 0, 2]]))
        array([2. , 5.5])
    """
    order = np.argsort(values, kind="stable")
    reached = np.cumsum(weights[..., order], axis=-1)
    total = reached[..., -1:]
    middle = [
        values[order][np.argmax(reached >= np.maximum(place, 1), axis=-1)]
        for place in (np.floor((total + 1) / 2), np.ceil((total + 1) / 2))
    ]
    return np.where(total[..., 0] > 0, (middle[0] + middle[1]) / 2, np.nan)


def weighted_ranks(values: np.ndarray, weights: np.ndarray) -> np.ndarray:
    """(..., n) rank of each of (n,) values among all, which count (..., n) times; equal ones share their mean rank."""
    _, code = np.unique(values, return_inverse=True)
    counts = np.zeros((*weights.shape[:-1], code.max(initial=-1) + 1))
    order = np.argsort(code, kind="stable")
    starts = np.flatnonzero(np.diff(code[order], prepend=-1))
    counts[...] = np.add.reduceat(weights[..., order], starts, axis=-1)
    ranks = np.cumsum(counts, axis=-1) - counts + (counts + 1) / 2
    return ranks[..., code]


def spearman(truth: np.ndarray, predicted: np.ndarray, weights: np.ndarray) -> np.ndarray:
    """(...,) rank correlation: Pearson's of the ranks within each resample; NaN where either is constant."""
    total = weights.sum(-1)
    ranks = [weighted_ranks(values, weights) for values in (truth, predicted)]
    a, b = (one - divide((weights * one).sum(-1), total)[..., None] for one in ranks)
    both, of_a, of_b = ((weights * one).sum(-1) for one in (a * b, a * a, b * b))
    return np.clip(divide(both, np.sqrt(of_a * of_b)), -1, 1)


def parts_by_size(truth: np.ndarray) -> np.ndarray:
    """(n, parts) bool: fifths of the cases from small to large, fewer of few cases; equal values are together."""
    place = fifths(truth)
    return place[:, None] == np.unique(place)[None, :]


def regression_sample(truth: np.ndarray, predicted: np.ndarray) -> Sample:
    """For groups: gaps of the mean absolute error and of the bias, between patients of like truth (`parts_by_size`)."""
    parts = parts_by_size(truth)

    def values(cases: np.ndarray, weights: np.ndarray, names: Collection[str]) -> dict[str, np.ndarray]:
        return measures(truth[cases], predicted[cases], weights, names=names)

    return Sample(GROUP_NAMES, GAPS, values, parts, np.ones(parts.shape, bool))
