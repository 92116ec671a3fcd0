"""Confidence intervals by resampling patients: the percentile bootstrap (Efron 1979, Ann. Stat. 7:1-26)."""

from collections.abc import Callable, Iterator, Mapping, Sequence
from functools import lru_cache

import numpy as np

RESAMPLES = 2000
LEVEL = 0.95
_CHUNK = 4_000_000
"""Most weights held at once (resamples times cases)."""
_KEPT = 25_000_000
"""Draws up to this many (resamples times patients) are kept, in two bytes each."""

Measure = Callable[[np.ndarray], Mapping[str, np.ndarray]]
"""Takes weights (resamples, cases) float64, gives (resamples,) values by name; NaN where undefined."""


def intervals(
    measure: Measure,
    patients: Sequence[str],
    *,
    resamples: int = RESAMPLES,
    level: float = LEVEL,
    seed: int = 0,
) -> dict[str, tuple[float, float]]:
    """Percentile intervals of several measures at once, from the same resamples.

    Cases of one patient are not independent, so whole patients are drawn with replacement; a case that is
    drawn twice has weight 2 in that resample. Resamples in which a measure is undefined are left out of its
    interval. With fewer than two patients nothing can be said and all intervals are NaN.

    Args:
        measure: See `Measure`.
        patients: One per case.

    Returns:
        (low, high) by name.
    """
    drawn: dict[str, list[np.ndarray]] = {}
    for weights in patient_weights(patients, resamples=resamples, seed=seed):
        for name, values in measure(weights).items():
            drawn.setdefault(name, []).append(np.asarray(values, float))
    enough = len(set(patients)) > 1
    nothing = (float("nan"), float("nan"))
    return {
        name: percentile_interval(np.concatenate(parts), level) if enough else nothing
        for name, parts in drawn.items()
    }


def at_the_bounds(
    value: float, interval: tuple[float, float], patients: int, level: float = LEVEL
) -> tuple[float, float]:
    """Resamples of a rate of 0 or 1 are all alike: instead the exact interval for so many patients.

    Clopper and Pearson 1934 (Biometrika 26:404-413). With fewer than two patients as `intervals`: NaN.
    """
    if patients < 2:
        return interval
    reach = ((1 - level) / 2) ** (1 / patients)
    if value >= 1:
        return reach, 1.0
    if value <= 0:
        return 0.0, 1 - reach
    return interval


def rates_at_the_bounds(
    rates: Mapping[str, float],
    intervals: Mapping[str, tuple[float, float]],
    patients: Sequence[str],
    shares: Mapping[str, np.ndarray],
) -> dict[str, tuple[float, float]]:
    """`intervals` with those of `at_the_bounds`; `shares`: by rate the cases (n,) bool that it is a share of."""
    who = np.asarray(patients, dtype=str)
    exact = {
        name: at_the_bounds(rates[name], intervals[name], len(set(who[cases])))
        for name, cases in shares.items()
        if name in rates and name in intervals
    }
    return {**intervals, **exact}


def patient_weights(
    patients: Sequence[str], *, resamples: int = RESAMPLES, seed: int = 0
) -> Iterator[np.ndarray]:
    """How often each case is drawn, float64 (chunk of resamples, cases); the chunks add up to `resamples`."""
    names, patient_of_case = np.unique(np.asarray(patients, dtype=str), return_inverse=True)
    size = max(1, _CHUNK // len(patients))
    few = len(names) * resamples <= _KEPT
    for drawn in (_kept_draws if few else _draws)(len(names), resamples, size, seed):
        # Laid out case by case: what is sorted, cut or summed over cases then moves whole rows.
        yield drawn.T.astype(float)[patient_of_case].T


def _draws(patients: int, resamples: int, size: int, seed: int) -> Iterator[np.ndarray]:
    """How often each patient is drawn, (at most `size`, patients)."""
    random = np.random.default_rng(seed)
    share = np.full(patients, 1 / patients)
    for start in range(0, resamples, size):
        yield random.multinomial(patients, share, size=min(size, resamples - start))


@lru_cache(maxsize=2)
def _kept_draws(patients: int, resamples: int, size: int, seed: int) -> list[np.ndarray]:
    """An evaluation asks for the same draws several times, and drawing takes as long as most measures."""
    return [drawn.astype(np.uint16) for drawn in _draws(patients, resamples, size, seed)]


def percentile_interval(values: np.ndarray, level: float = LEVEL) -> tuple[float, float]:
    """The middle `level` of the values that are numbers; NaN when there are none."""
    values = values[np.isfinite(values)]
    if values.size == 0:
        return float("nan"), float("nan")
    low, high = np.quantile(values, [(1 - level) / 2, (1 + level) / 2])
    return float(low), float(high)


def weighted_mean(values: np.ndarray, weights: np.ndarray) -> np.ndarray:
    """Mean over cases, leaving out NaN.

    Args:
        values: (cases,) or (cases, k).
        weights: (resamples, cases).

    Returns:
        (resamples,) or (resamples, k); NaN where no value counts.
    """
    known = ~np.isnan(values)
    total = weights @ np.where(known, values, 0.0)
    return divide(total, weights @ known.astype(float))


def divide(a: np.ndarray, b: np.ndarray) -> np.ndarray:
    """a / b; NaN where b is 0."""
    a, b = np.broadcast_arrays(np.asarray(a, float), np.asarray(b, float))
    return np.divide(a, b, out=np.full(a.shape, np.nan), where=b != 0)


def mean_of_known(values: np.ndarray, axis: int = -1) -> np.ndarray:
    """Mean along an axis, leaving out NaN; NaN without a warning where nothing is left."""
    known = ~np.isnan(values)
    return divide(np.where(known, values, 0.0).sum(axis), known.sum(axis))
