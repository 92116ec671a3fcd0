"""Bootstrap by patient."""

import numpy as np
import pytest

from medcli.metrics.bootstrap import (
    at_the_bounds,
    intervals,
    patient_weights,
    percentile_interval,
    weighted_mean,
)


def test_cases_of_one_patient_are_drawn_together():
    weights = np.concatenate(list(patient_weights(["a", "b", "a", "c"], resamples=50)))
    assert weights.shape == (50, 4)
    assert (weights[:, 0] == weights[:, 2]).all()
    # Three patients are drawn each time.
    assert (weights[:, 0] + weights[:, 1] + weights[:, 3] == 3).all()


def test_interval_of_a_mean_has_the_width_that_theory_says():
    values = np.random.default_rng(1).normal(5, 2, 400)
    found = intervals(lambda weights: {"mean": weighted_mean(values, weights)}, [str(i) for i in range(400)])
    low, high = found["mean"]
    half = 1.96 * values.std() / 20
    assert (low, high) == pytest.approx((values.mean() - half, values.mean() + half), abs=0.03)


def test_few_patients_with_many_cases_give_a_wide_interval():
    random = np.random.default_rng(2)
    patients = [str(i // 50) for i in range(500)]
    values = random.normal(0, 1, 10).repeat(50)
    measure = lambda weights: {"mean": weighted_mean(values, weights)}  # noqa: E731
    together = np.diff(intervals(measure, patients)["mean"])
    apart = np.diff(intervals(measure, [str(i) for i in range(500)])["mean"])
    assert together > 4 * apart


def test_undefined_resamples_are_left_out():
    assert percentile_interval(np.array([np.nan, 1.0, 1.0, np.nan])) == (1.0, 1.0)


def test_one_patient_says_nothing():
    found = intervals(lambda weights: {"mean": weights.mean(1)}, ["a", "a", "a"])
    assert np.isnan(found["mean"]).all()


def test_weighted_mean_leaves_out_unknown_values():
    values = np.array([[1.0, np.nan], [3.0, np.nan], [np.nan, np.nan]])
    found = weighted_mean(values, np.array([[1.0, 1.0, 1.0], [3.0, 1.0, 5.0]]))
    np.testing.assert_array_equal(found, [[2.0, np.nan], [1.5, np.nan]])


def test_draws_that_are_kept_are_those_that_would_be_drawn(monkeypatch):
    patients = [f"p{number % 30}" for number in range(70)]
    kept = [np.concatenate(list(patient_weights(patients, resamples=40, seed=3))) for _ in range(2)]
    monkeypatch.setattr("medcli.metrics.bootstrap._KEPT", 0)
    anew = np.concatenate(list(patient_weights(patients, resamples=40, seed=3)))
    assert np.array_equal(kept[0], anew) and np.array_equal(kept[1], anew)


def test_rates_at_their_bounds_have_the_exact_interval():
    from scipy.stats import binomtest

    for patients in (4, 30):
        for hits in (0, patients):
            exact = binomtest(hits, patients).proportion_ci(0.95, method="exact")
            rate = hits / patients
            assert at_the_bounds(rate, (rate, rate), patients) == pytest.approx((exact.low, exact.high))
    assert at_the_bounds(0.5, (0.2, 0.8), 4) == (0.2, 0.8)
    assert all(np.isnan(at_the_bounds(1.0, (np.nan, np.nan), 1)))
