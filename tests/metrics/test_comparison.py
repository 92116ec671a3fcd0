"""Tests that compare two models, against their definitions, statsmodels, published numbers and simulation."""

import numpy as np
import pytest
from scipy.stats import norm

from medcli.metrics.bootstrap import weighted_mean
from medcli.metrics.comparison import (
    delong,
    holm,
    mcnemar,
    paired_bootstrap,
    placements,
    signed_rank,
)


def names(numbers):
    return [f"p{number}" for number in numbers]


def by_definition(truth, first, second):
    """DeLong 1988, equations 3 to 6, one comparison of a positive and a negative at a time."""

    def kernel(score):
        return np.array([[float(x > y) + 0.5 * (x == y) for y in score[~truth]] for x in score[truth]])

    kernels = [kernel(score) for score in (first, second)]
    area = np.array([k.mean() for k in kernels])
    of_positive = np.cov([k.mean(1) for k in kernels])
    of_negative = np.cov([k.mean(0) for k in kernels])
    covariance = of_positive / truth.sum() + of_negative / (~truth).sum()
    contrast = np.array([1, -1])
    error = np.sqrt(contrast @ covariance @ contrast)
    z = (area[0] - area[1]) / error
    return area[0] - area[1], error, 2 * norm.sf(abs(z))


@pytest.mark.parametrize("seed", range(5))
def test_delong_is_its_definition_also_with_ties(seed):
    from sklearn.metrics import roc_auc_score

    random = np.random.default_rng(seed)
    truth = random.random(70) < 0.4
    first = np.round(truth + random.normal(0, 1, 70), 1)  # rounded: many ties
    second = np.round(0.5 * truth + 0.5 * first + random.normal(0, 1, 70), 1)
    found = delong(truth, first, second, names(range(70)))
    difference, error, p = by_definition(truth, first, second)
    assert found.difference == pytest.approx(difference, abs=1e-12)
    assert found.difference == pytest.approx(roc_auc_score(truth, first) - roc_auc_score(truth, second))
    assert found.p == pytest.approx(p, rel=1e-9)
    assert (found.high - found.low) / 2 == pytest.approx(1.959964 * error, rel=1e-6)


def test_placements_by_hand():
    above, below = placements(np.array([3.0, 2.0]), np.array([1.0, 2.0, 4.0]))
    assert above.tolist() == pytest.approx([2 / 3, 1.5 / 3])
    assert below.tolist() == pytest.approx([1.0, 1.5 / 2, 0.0])


def test_delong_at_the_edges():
    truth = np.array([True, True, False, False])
    score = np.array([0.9, 0.4, 0.5, 0.1])
    same = delong(truth, score, 2 * score, names(range(4)))
    assert (same.difference, same.low, same.high, same.p) == (0, 0, 0, 1)
    assert np.isnan(delong(np.ones(4, bool), score, score[::-1], names(range(4))).difference)
    of_one = delong(truth, score, score[::-1], ["a"] * 4)
    assert of_one.difference == pytest.approx(0.75 - 0.25)
    assert np.isnan(of_one.p)


def test_delong_of_cases_given_twice_is_that_of_single_cases_when_the_patients_are_known():
    random = np.random.default_rng(1)
    truth = random.random(60) < 0.5
    first, second = truth + random.normal(0, 1, (2, 60))
    once = delong(truth, first, second, names(range(60)))
    twice = delong(*(np.tile(part, 2) for part in (truth, first, second)), names([*range(60), *range(60)]))
    assert twice.difference == pytest.approx(once.difference)
    assert twice.p == pytest.approx(once.p, rel=1e-9)
    blind = delong(*(np.tile(part, 2) for part in (truth, first, second)), names(range(120)))
    assert blind.p < once.p


def clustered_scores(random, patients=60, per=3):
    """Two models of equal worth; the cases of a patient share truth, and errors of each model."""
    cluster = np.repeat(np.arange(patients), per)
    truth = (random.random(patients) < 0.5)[cluster]
    shared = random.normal(0, 1, (2, patients))[:, cluster]
    first, second = 1.2 * truth + shared + random.normal(0, 0.5, (2, len(cluster)))
    return truth, first, second, names(cluster)


def test_delong_keeps_its_level_and_with_clusters_only_when_it_knows_them():
    random = np.random.default_rng(2)
    single, known, blind = [], [], []
    for _ in range(500):
        truth = random.random(120) < 0.5
        first, second = 1.2 * truth + random.normal(0, 1, (2, 120))
        single.append(delong(truth, first, second, names(range(120))).p)
        truth, first, second, patients = clustered_scores(random)
        known.append(delong(truth, first, second, patients).p)
        blind.append(delong(truth, first, second, names(range(len(truth)))).p)
    # 0.05 +- 3 standard errors of 500 draws, and a little for small samples
    assert 0.02 <= np.mean(np.less(single, 0.05)) <= 0.085
    assert 0.02 <= np.mean(np.less(known, 0.05)) <= 0.09
    assert np.mean(np.less(blind, 0.05)) > 0.15


def decisions(both, only_first, only_second, neither):
    pairs = [(1, 1)] * both + [(1, 0)] * only_first + [(0, 1)] * only_second + [(0, 0)] * neither
    return np.array(pairs, bool).T


@pytest.mark.parametrize("table", [(10, 1, 7, 3), (5, 4, 4, 2), (8, 0, 5, 1), (30, 21, 9, 4), (2, 0, 0, 1)])
def test_mcnemar_agrees_with_statsmodels(table):
    from statsmodels.stats.contingency_tables import mcnemar as reference

    both, only_first, only_second, neither = table
    found = mcnemar(*decisions(*table), names(range(sum(table))))
    expected = reference([[both, only_first], [only_second, neither]], exact=True).pvalue
    assert found.p_exact == pytest.approx(expected, rel=1e-9)
    assert (found.only_first, found.only_second) == (only_first, only_second)


def test_mcnemar_of_the_published_example():
    # Fagerland et al. 2013, table 1 (airway hyper-responsiveness): 1 against 7; exact 0.0703, mid-p 0.0391
    found = mcnemar(*decisions(1, 1, 7, 12), names(range(21)))
    assert found.p_exact == pytest.approx(0.0703, abs=5e-5)
    assert found.p_mid == pytest.approx(0.0391, abs=5e-5)


def test_mcnemar_counts_all_flips_of_patients_signs():
    # net differences 2, 1, -1 by patient: of 8 sign patterns the sums are +-4 (2), +-2 (4), 0 (2)
    first = np.array([1, 1, 1, 0], bool)
    second = np.array([0, 0, 0, 1], bool)
    found = mcnemar(first, second, ["a", "a", "b", "c"])
    assert found.p_exact == pytest.approx(6 / 8)
    assert found.p_mid == pytest.approx(6 / 8 - 4 / 8 / 2)
    assert found.patients == 3


def test_mcnemar_keeps_its_level():
    random = np.random.default_rng(3)
    exact, mid, clustered, blind = [], [], [], []
    for _ in range(800):
        first, second = random.random((2, 80)) < 0.75
        found = mcnemar(first, second, names(range(80)))
        exact.append(found.p_exact)
        mid.append(found.p_mid)
        cluster = np.repeat(np.arange(30), 4)
        right = random.random((2, 30)) < 0.75
        noise = random.random((2, 120)) < 0.1
        first, second = right[:, cluster] ^ noise
        clustered.append(mcnemar(first, second, names(cluster)).p_mid)
        blind.append(mcnemar(first, second, names(range(120))).p_mid)
    assert 0.005 <= np.mean(np.less(exact, 0.05)) <= 0.05
    assert 0.025 <= np.mean(np.less(mid, 0.05)) <= 0.07
    assert 0.025 <= np.mean(np.less(clustered, 0.05)) <= 0.075
    assert np.mean(np.less(blind, 0.05)) > 0.12


def mean_of(values):
    return lambda weights: {"mean": weighted_mean(values, weights)}


def test_bootstrap_of_a_mean_is_near_the_paired_t_test():
    from scipy.stats import ttest_rel

    random = np.random.default_rng(4)
    first = random.normal(0, 1, 200)
    second = first + random.normal(0.1, 0.5, 200)
    found = paired_bootstrap(mean_of(first), mean_of(second), names(range(200)))["mean"]
    test = ttest_rel(first, second)
    low, high = test.confidence_interval()
    assert found.difference == pytest.approx((first - second).mean())
    assert (found.low, found.high) == pytest.approx((low, high), abs=0.015)
    assert found.p == pytest.approx(test.pvalue, abs=0.01)


def test_bootstrap_at_the_edges():
    values = np.arange(6.0)
    same = paired_bootstrap(mean_of(values), mean_of(values), names(range(6)))["mean"]
    assert (same.difference, same.low, same.high, same.p) == (0, 0, 0, 1)
    one = paired_bootstrap(mean_of(values), mean_of(values + 1), ["a"] * 6)["mean"]
    assert one.difference == -1
    assert np.isnan([one.low, one.high, one.p]).all()


def test_bootstrap_keeps_its_level_with_clusters():
    random = np.random.default_rng(5)
    p, inside = [], []
    for trial in range(300):
        cluster = np.repeat(np.arange(40), 3)
        first, second = random.normal(0, 1, (2, 40))[:, cluster] + random.normal(0, 0.3, (2, 120))
        found = paired_bootstrap(mean_of(first), mean_of(second), names(cluster), resamples=400, seed=trial)[
            "mean"
        ]
        p.append(found.p)
        inside.append(found.low <= 0 <= found.high)
    assert 0.02 <= np.mean(np.less(p, 0.05)) <= 0.095
    assert np.mean(inside) >= 0.905


def test_signed_rank_is_scipys_on_patients_means():
    from scipy.stats import wilcoxon

    random = np.random.default_rng(6)
    first, second = random.normal(0.3, 1, 24), random.normal(0, 1, 24)
    p, count = signed_rank(first, second, names(np.repeat(range(12), 2)))
    means = (first - second).reshape(12, 2).mean(1)
    assert (p, count) == (pytest.approx(wilcoxon(means).pvalue), 12)
    first[:2] = np.nan
    assert signed_rank(first, second, names(np.repeat(range(12), 2)))[1] == 11
    assert signed_rank(second, second, names(range(24))) == (1.0, 24)


def test_holm_agrees_with_statsmodels():
    from statsmodels.stats.multitest import multipletests

    p = [0.04, 0.001, 0.3, 0.012, 0.012]
    assert holm(p) == pytest.approx(multipletests(p, method="holm")[1])
    assert holm([0.02, float("nan"), 0.03])[::2] == pytest.approx([0.04, 0.04])
