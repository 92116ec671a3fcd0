"""Cramér's V, mutual information, and a permutation test that knows that cases of one patient are alike."""

import numpy as np
import pytest

from medcli.audit.association import (
    associate,
    contingency,
    cramers_v,
    mutual_information,
    permutations,
)


def test_cramers_v_by_hand():
    # chi² = 100 (40 * 30 - 10 * 20)² / (50 * 50 * 60 * 40) = 16.67, phi² = 0.1667;
    # Bergsma: (0.1667 - 1/99) / (2 - 1/99 - 1) = 0.1582
    assert cramers_v(np.array([[40, 10], [20, 30]])) == pytest.approx(np.sqrt(0.15816), abs=1e-4)
    assert cramers_v(np.array([[30, 0], [0, 20]])) == pytest.approx(1)
    assert cramers_v(np.array([[10, 10], [20, 20]])) == 0
    assert cramers_v(np.array([[10, 10], [0, 0]])) == 0


def test_chi_squared_is_scipys_and_information_scikit_learns():
    from scipy.stats.contingency import association
    from sklearn.metrics import mutual_info_score

    from medcli.audit.association import _squares

    random = np.random.default_rng(0)
    column, label = random.integers(0, 4, 200), random.integers(0, 3, 200)
    table = contingency(column, label, 4, 3)
    assert np.sqrt(_squares(table)) == pytest.approx(association(table, method="cramer"))
    assert mutual_information(table) == pytest.approx(mutual_info_score(column, label) / np.log(2))


def test_a_permutation_gives_every_patient_the_values_of_one_other():
    patients = ["a", "a", "a", "b", "c", "c"]
    values = np.array([1, 1, 1, 2, 3, 3])
    for order in permutations(patients, 50):
        shuffled = values[order]
        assert len(set(shuffled[:3])) == 1
        assert len(set(shuffled[4:])) == 1
        assert {shuffled[0], shuffled[3], shuffled[4]} == {1, 2, 3}
    single = permutations(list("abcdef"), 20)
    assert all(sorted(order) == list(range(6)) for order in single)


def test_p_keeps_its_level_with_patients_and_not_without():
    random = np.random.default_rng(1)
    known, blind = [], []
    for trial in range(200):
        sizes = random.integers(1, 8, 40)
        cluster = np.repeat(np.arange(40), sizes)
        column = random.integers(0, 2, 40)[cluster]
        label = (random.random(40) < 0.5)[cluster] ^ (random.random(len(cluster)) < 0.1)
        label = label.astype(int)
        names = [f"p{number}" for number in cluster]
        known.append(associate(column, label, permutations(names, 99, trial)).p)
        blind.append(associate(column, label, permutations(list(map(str, range(len(label)))), 99, trial)).p)
    assert 0.01 <= np.mean(np.less_equal(known, 0.05)) <= 0.1
    assert np.mean(np.less_equal(blind, 0.05)) > 0.2


def test_a_real_association_is_found():
    random = np.random.default_rng(2)
    column = random.integers(0, 3, 300)
    label = (random.random(300) < np.array([0.3, 0.5, 0.7])[column]).astype(int)
    found = associate(column, label, permutations(list(map(str, range(300)))))
    assert found.p == pytest.approx(1 / 1000)
    assert 0.2 < found.v < 0.45
