"""Unlikeness of features against scikit-learn, and p-values that are as rare as they say."""

import numpy as np
import pytest
from sklearn.neighbors import NearestNeighbors

from medcli.metrics.unusual import conformal_p, reference, unlikeness


def test_distances_are_those_of_scikit_learn():
    random = np.random.default_rng(0)
    training, new = random.normal(3, 2, (60, 7)), random.normal(3, 2, (25, 7))
    like = reference(training, (4, 3))
    scale = training.std(0) * np.sqrt([4, 4, 4, 4, 3, 3, 3])
    nearest = NearestNeighbors(n_neighbors=5).fit((training - training.mean(0)) / scale)
    expected = nearest.kneighbors((new - training.mean(0)) / scale)[0][:, -1]
    np.testing.assert_allclose(unlikeness(new, like), expected, rtol=1e-4)


def test_few_training_cases_and_features_that_do_not_vary():
    training = np.array([[0.0, 1.0], [2.0, 1.0]])
    like = reference(training, (2,))
    found = unlikeness(np.array([[0.0, 1.0], [0.0, 1.5]]), like)
    assert np.isfinite(found).all() and found[1] > found[0]
    np.testing.assert_allclose(found[0], 2 / (1 * np.sqrt(2)), rtol=1e-6)
    constant = reference(np.ones((3, 2)), (2,))
    assert unlikeness(np.ones((1, 2)), constant)[0] == 0


def test_p_by_hand():
    known, patients = np.array([1.0, 2.0, 3.0, 4.0]), ["a", "a", "b", "c"]
    # of a half of the cases, of b and c all are at least 2.0
    np.testing.assert_allclose(
        conformal_p(np.array([2.0, 5.0, 0.0, 3.5]), known, patients), [3.5 / 4, 1 / 4, 1, 2 / 4]
    )
    assert np.isnan(conformal_p(np.array([np.nan]), known, patients)[0])
    np.testing.assert_allclose(conformal_p(np.array([5.0]), np.zeros(0), []), [1.0])


@pytest.mark.parametrize("cases", [1, 4])
def test_p_is_uniform_for_patients_like_those_known(cases):
    """Without ties P(p <= t) = floor(t (n + 1)) / (n + 1) for one case per patient, and at most t for several."""
    random, patients = np.random.default_rng(0), 19
    found = []
    names = np.repeat(np.arange(patients), cases)
    for _ in range(4000):
        level = np.repeat(random.normal(0, 1, patients + 1), cases) + random.normal(
            0, 0.5, (patients + 1) * cases
        )
        found.append(conformal_p(level[-1:], level[:-cases], names)[0])
    for limit in (0.05, 0.2, 0.5, 0.9):
        share = np.mean(np.array(found) <= limit + 1e-12)
        error = 3 * np.sqrt(limit * (1 - limit) / len(found))
        assert share <= limit + error
        assert cases > 1 or share >= limit - error
