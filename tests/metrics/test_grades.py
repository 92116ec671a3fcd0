"""Measures of grades, against scikit-learn and by hand."""

import numpy as np
import pytest
from sklearn.metrics import cohen_kappa_score, mean_absolute_error

from medcli.metrics.classification import confusion_matrix
from medcli.metrics.grades import steps_off, weighted_kappa


@pytest.mark.parametrize("seed", range(5))
def test_as_scikit_learn(seed):
    random = np.random.default_rng(seed)
    truth = random.integers(0, 5, 60)
    predicted = np.clip(truth + random.integers(-1, 2, 60), 0, 4)
    table = confusion_matrix(truth, predicted, 5)
    assert weighted_kappa(table) == pytest.approx(cohen_kappa_score(truth, predicted, weights="quadratic"))
    assert steps_off(table) == pytest.approx(mean_absolute_error(truth, predicted))


def test_resampled_as_repeated():
    truth, predicted = np.array([0, 1, 2, 2]), np.array([0, 2, 2, 0])
    weights = np.array([[1, 1, 1, 1], [2, 0, 1, 1]])
    tables = confusion_matrix(truth, predicted, 3, weights)
    repeated = np.repeat(np.arange(4), weights[1])
    alone = confusion_matrix(truth[repeated], predicted[repeated], 3)
    assert weighted_kappa(tables)[1] == pytest.approx(weighted_kappa(alone))
    assert steps_off(tables).tolist() == [0.75, 0.5]  # (1 + 2) / 4; 2 / 4


def test_one_grade_only_is_undefined():
    table = confusion_matrix(np.zeros(3, int), np.zeros(3, int), 3)
    assert np.isnan(weighted_kappa(table)) and steps_off(table) == 0
