"""Thresholds, net benefit, predictive values and refusal by hand and against scikit-learn."""

import numpy as np
import pytest
from sklearn import metrics as sk

from medcli.metrics import decision as ours
from medcli.metrics.classification import sensitivity, specificity

# Falling scores: yes .9, no .8, yes .7, yes .6, no .4, no .2
TRUTH = np.array([1, 0, 1, 1, 0, 0], bool)
SCORES = np.array([0.9, 0.8, 0.7, 0.6, 0.4, 0.2])


@pytest.mark.parametrize(
    ("aim", "value", "rates"),
    [
        ("youden", 0.5, (1, 2 / 3)),  # down to .6: 3 of 3 found, 2 of 3 refused; the middle of .6 and .4
        ({"sensitivity": 0.3}, 0.85, (1 / 3, 1)),
        ({"sensitivity": 0.95}, 0.5, (1, 2 / 3)),
        ({"specificity": 0.9}, 0.85, (1 / 3, 1)),
        ({"specificity": 0.6}, 0.5, (1, 2 / 3)),
        ({"cost_fn": 5}, 0.5, (1, 2 / 3)),  # one false alarm costs 1
        ({"cost_fn": 0.4}, 0.85, (1 / 3, 1)),  # two missed cost .8, one false alarm 1
        ({"cost_fn": 0.01}, 0.85, (1 / 3, 1)),  # without a false alarm there is nothing to lose
        (0.65, 0.65, (2 / 3, 2 / 3)),
    ],
)
def test_thresholds_by_hand(aim, value, rates):
    found = ours.choose_threshold(TRUTH, SCORES, aim)
    assert found.value == pytest.approx(value)
    assert (found.sensitivity, found.specificity) == pytest.approx(rates)


def test_acting_on_nobody_can_be_best():
    found = ours.choose_threshold(np.array([0, 1], bool), np.array([0.9, 0.1]), {"cost_fn": 0.1})
    assert found.value > 1 and found.specificity == 1
    everybody = ours.choose_threshold(np.array([0, 1], bool), np.array([0.9, 0.0]), {"sensitivity": 1.0})
    assert everybody.value == 0 and everybody.sensitivity == 1


def test_without_both_kinds_of_cases_the_threshold_is_a_half():
    found = ours.choose_threshold(np.ones(3, bool), np.array([0.1, 0.2, 0.3]), "youden")
    assert found.value == 0.5 and np.isnan(found.specificity)


@pytest.mark.parametrize("seed", range(5))
def test_aims_are_met_as_well_as_scikit_learns_curve_allows(seed):
    random = np.random.default_rng(seed)
    truth = random.random(200) < 0.3
    scores = np.round(np.clip(random.normal(0.4 + 0.25 * truth, 0.2), 0, 1), 2)  # ties
    fpr, tpr, _ = sk.roc_curve(truth, scores, drop_intermediate=False)
    youden = ours.choose_threshold(truth, scores, "youden")
    assert youden.sensitivity + youden.specificity == pytest.approx((tpr + 1 - fpr).max())
    sure = ours.choose_threshold(truth, scores, {"sensitivity": 0.9})
    assert sure.sensitivity >= 0.9
    assert sure.specificity == pytest.approx((1 - fpr)[tpr >= 0.9].max())
    careful = ours.choose_threshold(truth, scores, {"specificity": 0.9})
    assert careful.specificity >= 0.9
    assert careful.sensitivity == pytest.approx(tpr[fpr <= 0.1 + 1e-12].max())
    dear = ours.choose_threshold(truth, scores, {"cost_fn": 4})
    costs = 4 * (1 - tpr) * truth.sum() + fpr * (~truth).sum()
    missed, alarms = (1 - dear.sensitivity) * truth.sum(), (1 - dear.specificity) * (~truth).sum()
    assert 4 * missed + alarms == pytest.approx(costs.min())


def test_counts_equal_scikit_learns_confusion():
    weights = np.array([[1.0, 1, 1, 1, 1, 1], [2, 0, 1, 3, 1, 1]])
    for threshold in (0.1, 0.6, 0.75):
        found = ours.counts_at(TRUTH, SCORES, np.array([threshold]), weights)
        for row, sample_weight in enumerate(weights):
            table = sk.confusion_matrix(TRUTH, threshold <= SCORES, sample_weight=sample_weight)
            assert [found.tn[row, 0], found.fp[row, 0]] == table[0].tolist()
            assert [found.fn[row, 0], found.tp[row, 0]] == table[1].tolist()


def test_thresholds_may_come_in_any_order():
    found = ours.counts_at(TRUTH, SCORES, np.array([0.75, 0.1, 0.6]))
    assert found.tp.tolist() == [1, 3, 3] and found.fp.tolist() == [1, 3, 1]
    assert found.fn.tolist() == [2, 0, 0] and found.tn.tolist() == [2, 0, 2]


def test_predictive_values_by_hand():
    # Of 1,000 people 10 are ill; 9 of them and 99 of the 990 others (10 %) test positive: 9 / 108 and 891 / 892.
    assert ours.ppv_at(np.array(0.9), np.array(0.9), 0.01) == pytest.approx(9 / 108)
    assert ours.npv_at(np.array(0.9), np.array(0.9), 0.01) == pytest.approx(891 / 892)
    assert np.isnan(ours.ppv_at(np.array(0.0), np.array(1.0), 0.01))


def test_predictive_values_at_the_prevalence_of_the_data_are_those_of_the_data():
    c = ours.counts_at(TRUTH, SCORES, np.array([0.65]))
    found = ours.ppv_at(sensitivity(c), specificity(c), 0.5)
    assert found == pytest.approx(sk.precision_score(TRUTH, SCORES >= 0.65))


def test_net_benefit_by_hand():
    # From .75 on: 1 true and 1 false positive of 6. At pt .25 a false positive costs 1/3: (1 - 1/3) / 6.
    found = ours.net_benefit(TRUTH, np.where(SCORES >= 0.75, 0.9, 0.1), np.array([0.25]))
    assert found == pytest.approx([(1 - 1 / 3) / 6])
    # Acting on all: 3 true, 3 false: (3 - 1) / 6; at pt .5 nothing is gained.
    assert ours.net_benefit_of_all(TRUTH, np.array([0.25, 0.5])) == pytest.approx([2 / 6, 0])


def test_net_benefit_of_all_is_that_of_the_prevalence():
    thresholds = ours.THRESHOLDS
    expected = 0.5 - 0.5 * thresholds / (1 - thresholds)  # Vickers and Elkin 2006, with TP / n the prevalence
    np.testing.assert_allclose(ours.net_benefit_of_all(TRUTH, thresholds), expected)


def test_a_calibrated_model_never_loses_to_all_or_none():
    random = np.random.default_rng(0)
    chances = random.random(200_000)
    truth = random.random(200_000) < chances
    at = np.array([0.1, 0.3, 0.5, 0.8])
    model, everybody = ours.net_benefit(truth, chances, at), ours.net_benefit_of_all(truth, at)
    assert (model > np.maximum(everybody, 0) - 1e-3).all()


def test_weights_equal_repeated_cases():
    weights = np.array([2, 0, 1, 3, 1, 1])
    index = np.repeat(np.arange(6), weights)
    at = np.array([0.3, 0.65])
    found = ours.net_benefit(TRUTH, SCORES, at, weights.astype(float))
    np.testing.assert_allclose(found, ours.net_benefit(TRUTH[index], SCORES[index], at))


def test_risk_coverage_by_hand():
    # Confidence .9 right; .8 right and wrong, together; .6 wrong. Accuracies 1, 2/3, 2/4 at 1/4, 3/4, 1.
    found = ours.risk_coverage(np.array([1, 0, 1, 0]), np.array([0.9, 0.8, 0.8, 0.6]))
    assert found.share.tolist() == [0.25, 0.75, 1]
    assert found.accuracy == pytest.approx([1, 2 / 3, 0.5])
    assert found.area == pytest.approx((0 + 2 * (1 / 3) + 0.5) / 4)


def test_accuracy_when_only_the_surest_are_answered():
    correct, confidence = np.array([1.0, 1, 0, 1]), np.array([0.9, 0.8, 0.7, 0.6])
    found = ours.accuracy_when_answering(correct, confidence, np.array([1.0, 0.5]))
    assert found == pytest.approx([0.75, 1])
    assert ours.least_confidence(confidence, np.array([1.0, 0.5, 0.3])).tolist() == [0.6, 0.8, 0.8]
    twice = ours.accuracy_when_answering(
        correct, confidence, np.array([1.0, 0.5]), np.array([[1.0, 1, 5, 1], [0, 0, 1, 1]])
    )
    assert twice[0] == pytest.approx([3 / 8, 1])
    assert twice[1, 0] == pytest.approx(0.5) and np.isnan(twice[1, 1])
