"""Measures of groups against fairlearn, and their chances by simulation."""

import numpy as np
import pytest
from fairlearn import metrics as fairlearn
from sklearn import metrics as sklearn

from medcli.metrics import classification, detection, samples, segmentation
from medcli.metrics import groups as metrics
from medcli.metrics.bootstrap import percentile_interval
from medcli.metrics.samples import Gap, Sample


def made_up(n=300, k=2, *, seed=0, digits=2, multi_label=False):
    """Truth (n, k), probabilities with many ties, and what is called."""
    random = np.random.default_rng(seed)
    if multi_label:
        truth = random.random((n, k)) < 0.3
        probabilities = np.round(np.clip(random.normal(0.35 + 0.3 * truth, 0.2), 0, 1), digits)
    else:
        truth = random.integers(0, k, n)[:, None] == np.arange(k)
        raw = np.exp(random.normal(0, 1, (n, k)) + truth)
        last = np.round(raw / raw.sum(1, keepdims=True), digits)[:, :-1]
        probabilities = np.concatenate([last, 1 - last.sum(1, keepdims=True)], 1)
    return truth, probabilities, classification.decide(probabilities, multi_label=multi_label)


def sample_of(truth, probabilities, decided, **settings):
    return samples.classification_sample(
        truth, probabilities, decided, **({"multi_label": False, "positive": -1} | settings)
    )


@pytest.mark.parametrize("seed", range(5))
def test_two_classes_agree_with_fairlearn(seed):
    truth, probabilities, decided = made_up(seed=seed)
    codes = np.random.default_rng(seed + 100).integers(0, 4, len(truth))
    found = metrics.group_values(sample_of(truth, probabilities, decided), codes, 4)
    true, called = truth[:, 1], decided[:, 1]
    frame = fairlearn.MetricFrame(
        metrics={
            "accuracy": sklearn.accuracy_score,
            "balanced_accuracy": sklearn.balanced_accuracy_score,
            "sensitivity": fairlearn.true_positive_rate,
            "specificity": fairlearn.true_negative_rate,
            "mcc": sklearn.matthews_corrcoef,
        },
        y_true=true,
        y_pred=called,
        sensitive_features=codes,
    )
    for name, values in frame.by_group.items():
        np.testing.assert_allclose(found[name], values, atol=1e-12, err_msg=name)
    ranked = fairlearn.MetricFrame(
        metrics=sklearn.roc_auc_score, y_true=true, y_pred=probabilities[:, 1], sensitive_features=codes
    )
    np.testing.assert_allclose(found["auroc"], ranked.by_group)
    offset = fairlearn.MetricFrame(
        metrics=lambda y, p: np.mean(p) - np.mean(y),
        y_true=true,
        y_pred=probabilities[:, 1],
        sensitive_features=codes,
    )
    np.testing.assert_allclose(found["calibration"], offset.by_group, atol=1e-12)

    gaps = {gap.name: float(metrics.gap_value(gap, found)) for gap in samples.CLASSIFICATION_GAPS}
    assert gaps == pytest.approx(
        {
            "equal_opportunity": fairlearn.equal_opportunity_difference(
                true, called, sensitive_features=codes
            ),
            "equalized_odds": fairlearn.equalized_odds_difference(true, called, sensitive_features=codes),
            "auroc": ranked.difference(),
            "calibration": offset.difference(),
        }
    )


@pytest.mark.parametrize(
    ("k", "multi_label", "positive"), [(2, False, 0), (2, False, -1), (4, False, -1), (3, True, -1)]
)
def test_values_are_those_of_the_whole_evaluation(k, multi_label, positive):
    truth, probabilities, decided = made_up(120, k, multi_label=multi_label)
    sample = sample_of(truth, probabilities, decided, multi_label=multi_label, positive=positive)
    weights = np.random.default_rng(1).integers(0, 3, (5, 60)).astype(float)
    part = np.arange(20, 80)
    found = sample.values(part, weights, sample.names)
    expected, _ = classification.measures(
        truth[part], probabilities[part], multi_label=multi_label, positive=positive, weights=weights
    )
    for name in set(found) - {"calibration"}:
        np.testing.assert_allclose(found[name], expected[name], err_msg=name)


@pytest.mark.parametrize("digits", [1, 8])
@pytest.mark.parametrize(("k", "multi_label"), [(2, False), (3, False), (3, True)])
def test_the_fast_way_by_label_is_the_slow_way(digits, k, multi_label):
    sample = sample_of(*made_up(90, k, digits=digits, multi_label=multi_label), multi_label=multi_label)
    labels = np.random.default_rng(2).integers(0, 3, (7, 70))
    labels[0] = 0  # two groups without cases
    cases = np.arange(10, 80)
    found = sample.by_label(cases, labels, 3, sample.names)
    slow = Sample(sample.names, sample.gaps, sample.values, sample.truth, sample.counted)
    for name, values in slow.by_label(cases, labels, 3, sample.names).items():
        np.testing.assert_allclose(found[name], values, err_msg=name)


def test_confidence_minus_accuracy_with_three_classes():
    truth = np.eye(3, dtype=bool)[[0, 1, 2, 2]]
    probabilities = np.array([[0.8, 0.1, 0.1], [0.6, 0.3, 0.1], [0.2, 0.3, 0.5], [0.1, 0.0, 0.9]])
    sample = sample_of(truth, probabilities, classification.decide(probabilities, multi_label=False))
    found = metrics.group_values(sample, np.array([0, 0, 1, 1]), 2)
    # Confidence 0.7 with one of two right; confidence 0.7 with both right.
    np.testing.assert_allclose(found["calibration"], [0.2, -0.3])


def test_ends_and_the_difference_between_them():
    values = {"sensitivity": np.array([0.9, np.nan, 0.6, 0.8]), "specificity": np.array([0.5, 0.1, 0.6, 0.7])}
    odds = Gap("equalized_odds", ("sensitivity", "specificity"))
    assert metrics.gap_value(odds, values) == pytest.approx(0.6)  # specificity, of the second and the last
    assert metrics.ends(odds, values) == ("specificity", 1, 3)
    assert metrics.ends(Gap("a", ("sensitivity",)), values) == ("sensitivity", 2, 0)
    # Calibration should be 0: the group farther from it is the worst, whatever its sign.
    calibration = Gap("calibration", ("calibration",), target=0.0)
    found = metrics.ends(calibration, {"calibration": np.array([-0.1, 0.3, 0.0])})
    assert found == ("calibration", 1, 0)
    drawn = {"calibration": np.array([[-0.1, 0.3, 0.0], [0.2, 0.1, 0.0]])}
    np.testing.assert_allclose(
        metrics.difference(found, {"calibration": np.array([-0.1, 0.3, 0.0])}, drawn), [0.4, -0.1]
    )


def test_fewer_than_two_groups_have_no_gap():
    gap = Gap("auroc", ("auroc",))
    assert np.isnan(metrics.gap_value(gap, {"auroc": np.array([0.9, np.nan])}))
    assert np.isnan(metrics.gap_value(gap, {"auroc": np.array([])}))
    sample = sample_of(*made_up(40))
    found = metrics.chance(sample, np.zeros(40, int), 1, list(map(str, range(40))), permutations=10)
    assert np.isnan(list(found.values())).all()


def test_holm_by_hand():
    # 0.01 x 4, 0.02 x 3 = 0.06, 0.03 x 2 = 0.06, 0.5; NaN is no test.
    found = metrics.holm([0.03, 0.5, float("nan"), 0.01, 0.02])
    np.testing.assert_allclose(found, [0.06, 0.5, np.nan, 0.04, 0.06])
    np.testing.assert_allclose(metrics.holm([0.9, 0.8]), [1, 1])
    assert metrics.holm([]).shape == (0,)


# ---- resampling


def test_groups_of_one_patient_are_drawn_together():
    """Left and right eye of the same patients: their difference varies less than either."""
    random = np.random.default_rng(3)
    each = random.normal(0, 1, 100)
    quality = np.concatenate([each, each + 0.1])
    sample = mean_sample(quality)
    codes, patients = np.repeat([0, 1], 100), [str(i) for i in range(100)] * 2
    (drawn,) = metrics.resampled_values(sample, [(codes, 2)], patients, resamples=200)
    assert drawn["quality"].shape == (200, 2)
    np.testing.assert_allclose(drawn["quality"][:, 1] - drawn["quality"][:, 0], 0.1)
    assert drawn["quality"][:, 0].std() == pytest.approx(0.1, rel=0.3)


def mean_sample(quality, shown=None):
    shown = np.ones((len(quality), 1), bool) if shown is None else shown

    def values(cases, weights, names):
        with np.errstate(invalid="ignore"):
            return {"quality": weights @ quality[cases] / weights.sum(-1)}

    return Sample(("quality",), (Gap("quality", ("quality",)),), values, shown, shown)


def test_coverage_of_intervals_of_a_gap():
    """95 % +- 2 of the intervals hold the true difference in sensitivity, here 0.2, with 1 to 3 images a patient."""
    inside, rounds = 0, 500
    random = np.random.default_rng(4)
    gap = samples.CLASSIFICATION_GAPS[0]
    for _ in range(rounds):
        images = random.integers(1, 4, 160)
        group = np.repeat(np.arange(160) % 2, images)
        chance = np.repeat(np.clip(random.beta(8, 4, 160), 0, 1), images)  # patients differ; mean 2 / 3
        hit = random.random(len(group)) < chance - 0.2 * group
        true = np.ones(len(group), bool)
        probabilities = np.column_stack([~hit, hit]).astype(float)
        sample = sample_of(np.column_stack([~true, true]), probabilities, probabilities > 0.5)
        patients = np.repeat(np.arange(160), images).astype(str)
        only = Sample(("sensitivity",), (gap,), sample.values, sample.truth, sample.counted)
        (drawn,) = metrics.resampled_values(only, [(group, 2)], list(patients), resamples=400)
        low, high = percentile_interval(drawn["sensitivity"][:, 0] - drawn["sensitivity"][:, 1])
        inside += low <= 0.2 <= high
    assert inside / rounds == pytest.approx(0.95, abs=0.02)


# ---- chance


def simulated(random, *, patients=80, effect=0.0, prevalence=(0.5, 0.5), within=False):
    """Scores that depend on the truth and the patient, and by `effect` on the group; 1 to 3 images a patient."""
    images = random.integers(1, 4, patients)
    patient = np.repeat(np.arange(patients), images)
    group = random.integers(0, 2, len(patient)) if within else (np.arange(patients) % 2)[patient]
    ill = random.random(patients)[patient] < np.array(prevalence)[group]
    logit = (
        random.normal(0, 1, len(ill)) + random.normal(0, 0.7, patients)[patient] + np.where(ill, 1.0, -1.0)
    )
    logit -= effect * group * np.where(ill, 1.0, -1.0)
    risk = 1 / (1 + np.exp(-logit))
    probabilities = np.column_stack([1 - risk, risk])
    truth = np.column_stack([~ill, ill])
    return sample_of(truth, probabilities, probabilities > 0.5), group, list(patient.astype(str))


def p_values(rounds, permutations=99, **settings):
    random = np.random.default_rng(5)
    found = []
    for number in range(rounds):
        sample, group, patients = simulated(random, **settings)
        found.append(metrics.chance(sample, group, 2, patients, permutations=permutations, seed=number))
    return {name: np.array([one[name] for one in found]) for name in found[0]}


def test_p_is_uniform_when_groups_are_alike():
    for name, p in p_values(400).items():
        # 400 values: 5 % +- 2.2 below 0.05, half +- 5 below 0.5 (two standard errors).
        assert (p <= 0.05).mean() == pytest.approx(0.05, abs=0.025), name
        assert (p <= 0.5).mean() == pytest.approx(0.5, abs=0.06), name


def test_groups_that_differ_in_prevalence_alone_have_no_gap():
    """Labels exchanged among all patients would find one far too often."""
    found = p_values(300, prevalence=(0.15, 0.6))
    for name in ("equal_opportunity", "equalized_odds", "auroc"):
        assert (found[name] <= 0.05).mean() < 0.08, name


def test_labels_that_vary_within_a_patient_err_on_the_side_of_chance():
    for name, p in p_values(300, within=True).items():
        assert (p <= 0.05).mean() < 0.08, name


def test_a_true_gap_is_found():
    found = p_values(40, effect=1.2)
    assert (found["auroc"] <= 0.05).mean() > 0.8
    assert (found["equalized_odds"] <= 0.05).mean() > 0.6


def test_calibration_is_tested_given_the_score():
    """Predictions that are right on average in both groups, though the groups differ in risk."""
    random = np.random.default_rng(6)
    right, wrong = [], []
    for seed in range(150):
        group = np.arange(200) % 2
        risk = random.beta(2 + 3 * group, 5 - 2 * group)
        for shift, kept in ((0.0, right), (0.25, wrong)):
            ill = random.random(200) < np.clip(risk + shift * group, 0, 1)
            probabilities = np.column_stack([1 - risk, risk])
            sample = sample_of(np.column_stack([~ill, ill]), probabilities, probabilities > 0.5)
            p = metrics.chance(sample, group, 2, list(map(str, range(200))), permutations=99, seed=seed)
            kept.append(p["calibration"])
    assert np.mean(np.array(right) <= 0.05) == pytest.approx(0.05, abs=0.04)
    assert np.mean(np.array(wrong) <= 0.05) > 0.7


def test_labels_stay_among_patients_who_show_the_same():
    truth = np.array([True] * 12 + [False] * 12)[:, None]
    unit_of_case = np.arange(24)
    strata = metrics._same_classes(truth, unit_of_case, 24)
    codes = np.array([1] * 3 + [0] * 9 + [1] * 8 + [0] * 4, np.int8)
    moved = metrics._permuted(codes, strata, 50, np.random.default_rng(0))
    assert (moved[:, :12].sum(1) == 3).all() and (moved[:, 12:].sum(1) == 8).all()
    assert len(np.unique(moved, axis=0)) > 30


# ---- the other tasks


def test_overlap_and_boxes_by_group():
    random = np.random.default_rng(7)
    cases = {name: random.random((6, 2)) for name in segmentation.PER_CLASS}
    cases["dice"][0] = np.nan
    sample = samples.segmentation_sample(cases, np.ones((6, 2), bool))
    codes = np.array([0, 0, 0, 1, 1, 1])
    found = metrics.group_values(sample, codes, 2)
    assert found["dice"] == pytest.approx([cases["dice"][1:3].mean(), cases["dice"][3:].mean()])

    from medcli.boxes import Boxes

    truth = [Boxes.of([[0, 0, 10, 10]], [0])] * 4
    right, wrong = Boxes.of([[0, 0, 10, 10]], [0], [0.9]), Boxes.of([[20, 20, 30, 30]], [0], [0.9])
    kept = [right, right, right, wrong]
    matches = [detection.match_images(kept, truth, 0)]
    sample = samples.detection_sample(matches, matches)
    found = metrics.group_values(sample, np.array([0, 0, 1, 1]), 2)
    half = detection.match_images(kept[2:], truth[2:], 0)
    assert found["map50"] == pytest.approx([1, float(detection.average_precision(half)[0])])
    assert found["recall50"] == pytest.approx([1, 0.5])
    weights = np.array([[1.0, 2.0], [0.0, 1.0]])
    np.testing.assert_allclose(sample.values(np.array([2, 3]), weights, ["recall50"])["recall50"], [1 / 3, 0])
