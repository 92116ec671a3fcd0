"""Are two models different on the same cases? Paired bootstrap, DeLong, McNemar, Wilcoxon, Holm.

Cases of one patient are not independent, so every test takes the patients and treats them as the units. With
one case per patient each is the textbook test.
"""

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
from scipy.stats import binom, norm, rankdata, wilcoxon

from medcli.metrics.bootstrap import LEVEL, RESAMPLES, Measure, patient_weights, percentile_interval


@dataclass(frozen=True)
class Difference:
    """A minus B with its interval, and the p value of "no difference"; NaN where undefined."""

    difference: float
    low: float
    high: float
    p: float


# ---- bootstrap


def paired_bootstrap(
    first: Measure,
    second: Measure,
    patients: Sequence[str],
    *,
    resamples: int = RESAMPLES,
    level: float = LEVEL,
    seed: int = 0,
) -> dict[str, Difference]:
    """Difference of every measure, both models measured on the same resamples of patients.

    Percentile interval; two-sided p by turning the interval around: twice the smaller share of resamples on
    one side of zero, counted with the sample itself (Davison and Hinkley 1997, Bootstrap Methods, 4.2 and
    5.4), so that p is below 1 - level just when the interval excludes zero. Resamples in which a measure is
    undefined for either are left out of it. With fewer than two patients all but the difference is NaN.

    Args:
        first, second: From weights (resamples, cases) to (resamples,) values by name; same names.
        patients: One per case.
    """
    whole = np.ones((1, len(patients)))
    one, other = first(whole), second(whole)
    observed = {name: float(np.squeeze(one[name] - other[name])) for name in one}
    drawn: dict[str, list[np.ndarray]] = {name: [] for name in observed}
    for weights in patient_weights(patients, resamples=resamples, seed=seed):
        one, other = first(weights), second(weights)
        for name, parts in drawn.items():
            parts.append(np.asarray(one[name] - other[name], float))
    if len(set(patients)) < 2:
        return {name: Difference(value, np.nan, np.nan, np.nan) for name, value in observed.items()}
    return {name: _difference(observed[name], np.concatenate(parts), level) for name, parts in drawn.items()}


def _difference(observed: float, drawn: np.ndarray, level: float) -> Difference:
    drawn = drawn[np.isfinite(drawn)]
    low, high = percentile_interval(drawn, level)
    if not len(drawn) or np.isnan(observed):
        return Difference(observed, low, high, float("nan"))
    smaller = min((drawn <= 0).sum(), (drawn >= 0).sum())
    return Difference(observed, low, high, min(1.0, 2 * (int(smaller) + 1) / (len(drawn) + 1)))


# ---- DeLong


def placements(positive: np.ndarray, negative: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
    """Share of the negatives below each positive, and of the positives above each negative; ties count half.

    From midranks in O(n log n): Sun and Xu 2014, IEEE Signal Process. Lett. 21:1389-1393.
    """
    m, n = len(positive), len(negative)
    joint = rankdata(np.concatenate([positive, negative]))
    above = (joint[:m] - rankdata(positive)) / n
    below = 1 - (joint[m:] - rankdata(negative)) / m
    return above, below


def delong(
    truth: np.ndarray,
    first: np.ndarray,
    second: np.ndarray,
    patients: Sequence[str],
    *,
    level: float = LEVEL,
) -> Difference:
    """Difference of two AUROCs on the same cases, with a normal interval and two-sided p.

    DeLong et al. 1988, Biometrics 44:837-845; with several cases per patient the variance is the one for
    clustered data of Obuchowski 1997, Biometrics 53:567-578, which is DeLong's when every patient is one case.
    NaN when a class is missing or all of it comes from one patient.

    Args:
        truth: (n,) bool.
        first, second: (n,) scores, larger is more positive.
        patients: (n,).
    """
    nothing = float("nan")
    truth = np.asarray(truth, bool)
    if truth.all() or not truth.any():
        return Difference(nothing, nothing, nothing, nothing)
    _, cluster = np.unique(np.asarray(patients, str), return_inverse=True)
    parts = [placements(score[truth], score[~truth]) for score in (np.asarray(first), np.asarray(second))]
    area = np.array([above.mean() for above, _ in parts])
    difference = float(area[0] - area[1])
    count = int(cluster.max()) + 1

    # Placements minus their means, A minus B, summed within patients: their products give the variance of
    # the difference at once, without the 2 x 2 covariance.
    def summed(which: int, chosen: np.ndarray) -> tuple[np.ndarray, int]:
        off = (parts[0][which] - area[0]) - (parts[1][which] - area[1])
        return np.bincount(cluster[chosen], off, minlength=count), len(np.unique(cluster[chosen]))

    (of_positive, with_positive), (of_negative, with_negative) = summed(0, truth), summed(1, ~truth)
    if with_positive < 2 or with_negative < 2:
        return Difference(difference, nothing, nothing, nothing)
    m, n = int(truth.sum()), int((~truth).sum())
    variance = (
        with_positive / (with_positive - 1) * float(of_positive @ of_positive) / m**2
        + with_negative / (with_negative - 1) * float(of_negative @ of_negative) / n**2
        + 2 * count / (count - 1) * float(of_positive @ of_negative) / (m * n)
    )
    error = float(np.sqrt(max(variance, 0.0)))
    if error < 1e-12:  # the two order the cases alike
        return Difference(difference, difference, difference, 1.0 if abs(difference) < 1e-12 else 0.0)
    reach = float(norm.ppf((1 + level) / 2)) * error
    return Difference(
        difference, difference - reach, difference + reach, float(2 * norm.sf(abs(difference) / error))
    )


# ---- McNemar


@dataclass(frozen=True)
class Discordance:
    """Decisions of two models on the same cases.

    Attributes:
        only_first, only_second: Cases that only this one got right.
        patients: Patients whose decisions favour one of the two.
        p_exact, p_mid: Two-sided; the mid-p value is less conservative.
    """

    only_first: int
    only_second: int
    patients: int
    p_exact: float
    p_mid: float


def mcnemar(first: np.ndarray, second: np.ndarray, patients: Sequence[str]) -> Discordance:
    """Are two models equally often right? Exact.

    McNemar 1947 (Psychometrika 12:153-157) in its conditional exact form, and the mid-p form that Fagerland
    et al. 2013 (BMC Med. Res. Methodol. 13:91) recommend. With several cases per patient the sign of every
    patient's net difference is flipped instead of every case's: under the null hypothesis the two models can
    be exchanged within a patient. All flips are counted exactly. With one case per patient this is McNemar's.

    Args:
        first, second: (n,) bool, right or wrong.
        patients: (n,).
    """
    net = np.asarray(first, int) - np.asarray(second, int)
    _, cluster = np.unique(np.asarray(patients, str), return_inverse=True)
    by_patient = np.rint(np.bincount(cluster, net)).astype(int) if len(net) else np.zeros(0, int)
    sizes = np.abs(by_patient[by_patient != 0])
    if not len(sizes):
        return Discordance(int((net > 0).sum()), int((net < 0).sum()), 0, 1.0, 1.0)
    sums, shares = _sign_flips(sizes)
    observed = abs(int(by_patient.sum()))
    beyond = float(shares[np.abs(sums) >= observed].sum())
    same = float(shares[np.abs(sums) == observed].sum())
    return Discordance(
        int((net > 0).sum()), int((net < 0).sum()), len(sizes), min(1.0, beyond), min(1.0, beyond - same / 2)
    )


def _sign_flips(sizes: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
    """Every value that the sum of sizes with random signs can take, and its probability."""
    ones = int((sizes == 1).sum())
    total = int(sizes.sum())
    shares = np.zeros(2 * total + 1)
    middle = total
    shares[middle - ones : middle + ones + 1 : 2] = binom.pmf(np.arange(ones + 1), ones, 0.5)
    for size in sizes[sizes > 1]:
        flipped = np.zeros_like(shares)
        flipped[size:] += shares[:-size] / 2
        flipped[:-size] += shares[size:] / 2
        shares = flipped
    return np.arange(-total, total + 1), shares


# ---- Wilcoxon


def signed_rank(first: np.ndarray, second: np.ndarray, patients: Sequence[str]) -> tuple[float, int]:
    """Two-sided p of Wilcoxon's signed-rank test on the patients' mean differences, and how many patients.

    Wilcoxon 1945, Biometrics Bull. 1:80-83; SciPy's. NaN values are left out; 1 when nothing differs.
    """
    known = ~(np.isnan(first) | np.isnan(second))
    off = (np.asarray(first, float) - np.asarray(second, float))[known]
    _, cluster = np.unique(np.asarray(patients, str)[known], return_inverse=True)
    if not len(off):
        return float("nan"), 0
    means = np.bincount(cluster, off) / np.bincount(cluster)
    means = np.round(means, 12)  # equal differences stay equal
    if not means.any():
        return 1.0, len(means)
    return float(wilcoxon(means).pvalue), len(means)


# ---- several tests


def holm(p_values: Sequence[float]) -> list[float]:
    """p values that hold for all tests together (Holm 1979, Scand. J. Stat. 6:65-70); NaN stays NaN."""
    p = np.asarray(p_values, float)
    result = np.full(len(p), np.nan)
    order = [index for index in np.argsort(p, kind="stable") if not np.isnan(p[index])]
    reached = 0.0
    for place, index in enumerate(order):
        reached = max(reached, min(1.0, float(p[index]) * (len(order) - place)))
        result[index] = reached
    return result.tolist()
