"""Which rule is chosen, and that chance is not taken for a gain."""

import numpy as np
import pytest

from medcli.postprocessing.choose import FEW_PATIENTS, candidates, choose, dice_of_rules
from medcli.postprocessing.rules import Rule, apply_rules


def dice(truth, predicted, label):
    known = truth != 255
    a, b = (truth == label) & known, (predicted == label) & known
    return 1.0 if not (a.any() or b.any()) else 2 * (a & b).sum() / (a.sum() + b.sum())


@pytest.mark.parametrize("label", [1, 2, 3])
def test_dice_of_every_rule_is_that_of_the_labels_it_makes(label):
    random = np.random.default_rng(0)
    truth = random.integers(0, 3, (12, 9, 8)).astype(np.uint8)
    truth[:, 0] = 255
    predicted = np.where(random.random(truth.shape) < 0.4, random.integers(0, 3, truth.shape), truth % 255)
    predicted = predicted.astype(np.uint8)
    rules = candidates([300.0, 500.0])
    assert [rule.kind for rule in rules] == ["none", "largest", "fill_holes", *["min_size"] * 5]
    assert [rule.size for rule in rules[3:]] == [0.4, 1.2, 4.0, 12.0, 40.0]
    found = dice_of_rules(truth, predicted, label, rules, 0.7)
    for rule, value in zip(rules, found, strict=True):
        after = apply_rules(predicted.copy(), [rule if i == label else Rule() for i in (1, 2, 3)], 0.7)
        assert value == pytest.approx(dice(truth, after, label))


def table(cases, gain, *, noise=0.0, seed=0):
    """Dice without a rule and with two, of which the second gains."""
    random = np.random.default_rng(seed)
    before = random.uniform(0.7, 0.9, cases)
    return np.stack(
        [
            before,
            before + random.normal(0, 1, cases) * noise,
            before + gain + random.normal(0, 1, cases) * noise,
        ],
        1,
    )


RULES = [Rule(), Rule(kind="fill_holes"), Rule(kind="largest")]


def test_a_clear_gain_is_taken():
    chosen = choose(table(20, 0.02, noise=0.01), RULES, [f"p{n}" for n in range(20)])
    assert chosen.rule.kind == "largest"
    assert chosen.gain == pytest.approx(0.02, abs=0.01) and chosen.after - chosen.before > 0.01


@pytest.mark.parametrize("gain", [0.0, 0.001])
def test_ties_and_tiny_gains_change_nothing(gain):
    assert choose(table(20, gain), RULES, [f"p{n}" for n in range(20)]).rule.kind == "none"


def test_few_patients_choose_nothing():
    patients = [f"p{n % (FEW_PATIENTS - 1)}" for n in range(40)]
    chosen = choose(table(40, 0.1), RULES, patients)
    assert chosen.rule.kind == "none" and "too few" in chosen.why


def test_chance_is_seldom_taken_for_a_gain():
    patients = [f"p{n}" for n in range(15)]
    taken = [
        choose(table(15, 0, noise=0.03, seed=seed), RULES, patients).rule.kind != "none"
        for seed in range(200)
    ]
    assert np.mean(taken) < 0.08


def test_a_case_without_the_label_that_is_left_empty_counts_as_right():
    truth, predicted = np.zeros((4, 4), np.uint8), np.zeros((4, 4), np.uint8)
    predicted[1, 1] = 1
    found = dice_of_rules(truth, predicted, 1, [Rule(), Rule(kind="min_size", size=2)], 1.0)
    np.testing.assert_array_equal(found, [0, 1])
