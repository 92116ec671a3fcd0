"""Measures of predicted numbers, against scikit-learn and SciPy; resamples against samples written out in full."""

import numpy as np
import pytest
from scipy import stats

from medcli.metrics.groups import ends, gap_value, group_values
from medcli.metrics.regression import (
    OVERALL,
    measures,
    parts_by_size,
    regression_sample,
    weighted_median,
    weighted_ranks,
)

sklearn = pytest.importorskip("sklearn.metrics")


def reference(truth, predicted, usual):
    """By other libraries, one sample at a time."""
    line = stats.linregress(predicted, truth)
    off = predicted - truth
    reach = 1.96 * np.std(off, ddof=1)
    mae, of_mean = sklearn.mean_absolute_error(truth, predicted), np.abs(truth - usual).mean()
    return {
        "mae": mae,
        "rmse": sklearn.root_mean_squared_error(truth, predicted),
        "median_ae": sklearn.median_absolute_error(truth, predicted),
        "r2": sklearn.r2_score(truth, predicted),
        "pearson": stats.pearsonr(truth, predicted).statistic,
        "spearman": stats.spearmanr(truth, predicted).statistic,
        "bias": off.mean(),
        "limit_low": off.mean() - reach,
        "limit_high": off.mean() + reach,
        "slope": line.slope,
        "intercept": line.intercept,
        "mae_of_mean": of_mean,
        "skill": 1 - mae / of_mean,
    }


@pytest.fixture(params=["smooth", "tied", "far from zero"])
def numbers(request):
    random = np.random.default_rng(5)
    truth = random.uniform(20, 90, 41)
    predicted = 0.6 * truth + 18 + random.normal(0, 9, 41)
    if request.param == "tied":
        truth, predicted = np.round(truth, -1), np.round(predicted, -1)
    if request.param == "far from zero":
        truth, predicted = truth + 1e6, predicted + 1e6
    return truth, predicted


def test_every_measure_is_that_of_another_library(numbers):
    truth, predicted = numbers
    found = measures(truth, predicted, usual=truth.mean() + 3)
    assert list(found) == list(OVERALL)
    expected = reference(truth, predicted, truth.mean() + 3)
    assert {name: float(value) for name, value in found.items()} == pytest.approx(expected, rel=1e-6)


def test_a_case_that_counts_twice_is_a_case_that_is_there_twice(numbers):
    truth, predicted = numbers
    weights = np.random.default_rng(1).integers(0, 4, (3, len(truth))).astype(float)
    found = measures(truth, predicted, weights, usual=50.0)
    for row, counts in enumerate(weights.astype(int)):
        expected = reference(np.repeat(truth, counts), np.repeat(predicted, counts), 50.0)
        assert {name: value[row] for name, value in found.items()} == pytest.approx(expected, rel=1e-6)


def test_limits_of_agreement_by_hand():
    # Differences 1, 2, 3: mean 2, standard deviation (n - 1) 1.
    found = measures(np.array([10.0, 20.0, 30.0]), np.array([11.0, 22.0, 33.0]))
    assert (found["bias"], found["limit_low"], found["limit_high"]) == pytest.approx((2, 0.04, 3.96))


def test_what_is_undefined_is_nan():
    same = measures(np.full(5, 7.1), np.arange(5.0), usual=7.1)
    for name in ("r2", "pearson", "spearman", "skill"):
        assert np.isnan(same[name]), name
    assert same["mae_of_mean"] == 0
    constant = measures(np.arange(5.0), np.full(5, 0.3))
    assert np.isnan([constant[name] for name in ("pearson", "spearman", "slope", "intercept")]).all()
    assert np.isnan(constant["mae_of_mean"]), "no usual number was given"
    one = measures(np.array([3.0]), np.array([5.0]))
    assert (one["mae"], one["median_ae"]) == (2, 2) and np.isnan(one["limit_low"])
    nobody = measures(np.arange(4.0), np.arange(4.0), np.zeros((1, 4)), usual=1.0)
    assert all(np.isnan(value).all() for value in nobody.values())


def test_medians_and_ranks_of_weighted_values():
    values = np.array([4.0, 1.0, 3.0, 3.0])
    weights = np.array([[1, 1, 1, 1], [0, 3, 2, 0]], float)
    np.testing.assert_array_equal(weighted_median(values, weights), [3.0, 1.0])  # 1 3 3 4, and 1 1 1 3 3
    np.testing.assert_array_equal(weighted_ranks(values, weights)[0], stats.rankdata(values))
    assert weighted_ranks(values, weights)[1, 1:3].tolist() == [2.0, 4.5]


def test_groups_are_compared_by_error_and_bias_among_like_numbers():
    truth = np.repeat([20.0, 40.0, 60.0, 80.0, 100.0], 20)
    group = np.tile([0, 1], 50)
    sample = regression_sample(truth, truth + np.where(group == 0, 2.0, -5.0))
    assert sample.truth.sum(0).tolist() == [20] * 5
    values = group_values(sample, group, 2)
    assert values["mae"].tolist() == [2, 5] and values["bias"].tolist() == [2, -5]
    error, bias = sample.gaps
    assert (gap_value(error, values), gap_value(bias, values)) == (3, 7)
    assert ends(error, values).worst == ends(bias, values).worst == 1, "the group farther from 0"


def test_parts_by_size_keep_equal_numbers_together():
    parts = parts_by_size(np.array([1.0] * 30 + [2.0] * 30))
    assert parts.shape == (60, 2) and parts[:30, 0].all() and parts[30:, 1].all()
    assert parts_by_size(np.arange(7.0)).shape == (7, 1), "of few cases there is one part"
