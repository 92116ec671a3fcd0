"""Conformal risk control and expected quality: hand-worked values, and promises kept in simulations."""

import numpy as np
import pytest

from medcli.metrics.risk import (
    FEW,
    THRESHOLDS,
    by_patient,
    controlled,
    expected_dice,
    expected_f1,
    learn_quality,
    levels,
    missed,
    quality_of,
)


def test_the_largest_threshold_whose_corrected_risk_is_small_enough():
    # Three cases, four thresholds: sums 0, 0.5, 1, 2; corrected (sum + 1) / 4 = 0.25, 0.375, 0.5, 0.75.
    losses = np.array([[0, 0.5, 0.5, 1], [0, 0, 0.5, 0.5], [0, 0, 0, 0.5]])
    assert controlled(losses, 0.5) == 2
    assert controlled(losses, 0.49) == 1
    assert controlled(losses, 0.25) == 0
    assert controlled(losses, 0.24) is None
    assert controlled(np.zeros((8, 4)), 0.1) is None, "1 / 9 is more than 0.1 though nothing is missed"
    assert controlled(np.zeros((9, 4)), 0.1) == 3
    assert controlled(np.zeros((0, 4)), 0.1) is None


def test_a_patient_counts_once_and_only_with_the_class():
    losses = np.array([[0.2, 0.4], [0.6, 1.0], [np.nan, np.nan], [0.0, 0.5]])
    found = by_patient(losses, ["b", "b", "a", "c"])
    np.testing.assert_allclose(found, [[0.4, 0.7], [0.0, 0.5]])
    assert by_patient(np.zeros((0, 3)), []).shape == (0, 3)


def test_missed_counts_what_lies_below_the_threshold():
    thresholds = np.array([0.0, 0.3, 0.5])
    np.testing.assert_allclose(missed(np.array([0.1, 0.3, 0.9]), 4, thresholds), [0.25, 0.5, 0.75])
    assert np.isnan(missed(np.zeros(0), 0, thresholds)).all()
    np.testing.assert_allclose(missed(np.zeros(0), 2, thresholds), 1)


def test_levels_know_all_that_missed_asks_for():
    chances = np.random.default_rng(0).uniform(0, 0.6, 4000).astype(np.float32) ** 4
    chances[:3] = 0, 1, THRESHOLDS[50]
    chances[3:183] = THRESHOLDS
    np.testing.assert_array_equal(missed(THRESHOLDS[levels(chances)], 4000), missed(chances, 4000))


@pytest.mark.parametrize("patients", [12, 40])
def test_the_expected_loss_of_a_new_case_stays_below_alpha(patients):
    """Mean over 3,000 draws of calibration cases and one new case; and it is not kept by far too low thresholds."""
    random, alpha, thresholds = np.random.default_rng(0), 0.2, np.linspace(0, 1, 101)
    risks = []
    for _ in range(3000):
        # A case's voxels have probabilities from a law of its own; the loss is the share of them below t.
        shape = random.uniform(0.6, 6, patients + 1)
        losses = thresholds[None] ** shape[:, None]
        best = controlled(losses[:-1], alpha)
        assert best is not None
        risks.append(losses[-1, best])
    error = np.std(risks) / np.sqrt(len(risks))
    assert np.mean(risks) <= alpha + 2 * error
    assert np.mean(risks) >= alpha - 2 / (patients + 1) - 0.01 - 2 * error, "as tight as the theory says"


def test_expected_dice_by_hand():
    chances = np.array([0.9, 0.6, 0.4, 0.0])
    probabilities = np.stack([1 - chances, chances, np.zeros(4)], -1)
    labels = np.array([1, 1, 0, 0])
    found = expected_dice(probabilities, labels)
    assert found[0] == pytest.approx(2 * 1.5 / (1.9 + 2))
    assert np.isnan(found[1]), "neither predicted nor expected"
    assert expected_dice(np.stack([np.full(4, 0.6), np.full(4, 0.4)], -1), np.zeros(4))[0] == 0


def test_expected_dice_is_that_of_truths_drawn_from_the_probabilities():
    random = np.random.default_rng(1)
    chances = random.beta(0.5, 0.8, 4000)
    labels = (chances > 0.5).astype(int)
    drawn = random.random((300, 4000)) < chances
    dice = 2 * (drawn & (labels == 1)).sum(1) / (drawn.sum(1) + labels.sum())
    found = expected_dice(np.stack([1 - chances, chances], -1), labels)[0]
    assert found == pytest.approx(dice.mean(), abs=0.003)


def test_expected_f1_by_hand():
    assert expected_f1(np.array([0.8, 0.5, 0.1])) == pytest.approx(2.6 / (2.6 + 0.7 + 0.1))
    assert np.isnan(expected_f1(np.zeros(0)))
    assert expected_f1(np.array([0.2])) == 0


def test_quality_follows_what_was_seen():
    expected = np.linspace(0.5, 1, FEW)
    steps = learn_quality(expected, expected**2)
    np.testing.assert_allclose(quality_of(expected, steps), expected**2)
    assert np.isnan(quality_of(np.array([np.nan]), steps)[0])
    few = learn_quality(np.array([0.9, 0.7, np.nan]), np.array([0.8, 0.6, 0.5]))
    np.testing.assert_allclose(quality_of(np.array([0.95, 0.05]), few), [0.85, 0.0])
    np.testing.assert_allclose(quality_of(np.array([0.3]), learn_quality(np.zeros(0), np.zeros(0))), [0.3])
