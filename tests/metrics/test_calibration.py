"""Calibration against hand-worked numbers, scikit-learn, statsmodels and simulation."""

import numpy as np
import pytest
import statsmodels.api as sm
from scipy.special import expit
from sklearn import metrics as sk
from sklearn.calibration import calibration_curve
from sklearn.isotonic import IsotonicRegression
from sklearn.linear_model import LogisticRegression
from statsmodels.stats.proportion import proportion_confint

from medcli.metrics import calibration as ours


def overconfident(n=400, seed=0, factor=2.0, shift=0.5):
    """Outcomes of a logit, and probabilities of the same logit times `factor` plus `shift`."""
    random = np.random.default_rng(seed)
    score = random.normal(0, 1.5, n)
    return random.random(n) < expit(score), expit(factor * score + shift)


def three_classes(n=3000, seed=1, temperature=0.5, bias=(0.0, 0.7, -1.2)):
    random = np.random.default_rng(seed)
    logits = random.normal(0, 1.5, (n, 3))
    truth = np.array([random.multinomial(1, row) for row in softmax(logits)], bool)
    return truth, softmax(logits / temperature + np.array(bias))


def softmax(logits):
    chances = np.exp(logits - logits.max(1, keepdims=True))
    return chances / chances.sum(1, keepdims=True)


# ---- errors


def test_error_of_four_cases_by_hand():
    # Two bins: .1 .3 with outcomes 0 1, and .6 .8 with 1 1. Gaps |.2 - .5| = .3 and |.7 - 1| = .3.
    truth, chances = np.array([0, 1, 1, 1], bool), np.array([0.1, 0.3, 0.6, 0.8])
    assert ours.calibration_error(truth, chances, bins=np.array([0, 0, 1, 1])) == pytest.approx(0.3)
    assert ours.equal_mass_bins(chances, 2).tolist() == [0, 0, 1, 1]
    # A weight of 3 on the first case: (|3 * .1 + .3 - 1| + |1.4 - 2|) / 6 = (.4 + .6) / 6.
    weights = np.array([[1.0, 1, 1, 1], [3, 1, 1, 1]])
    found = ours.calibration_error(truth, chances, weights, bins=np.array([0, 0, 1, 1]))
    assert found.tolist() == pytest.approx([0.3, 1 / 6])


@pytest.mark.parametrize("seed", range(4))
def test_error_and_curve_equal_scikit_learns_quantile_bins(seed):
    truth, chances = overconfident(seed=seed)
    observed, predicted = calibration_curve(truth, chances, n_bins=10, strategy="quantile")
    curve = ours.reliability_curve(truth, chances)
    np.testing.assert_allclose(curve.observed, observed)
    np.testing.assert_allclose(curve.predicted, predicted)
    expected = (np.abs(observed - predicted) * curve.cases).sum() / 400
    assert ours.calibration_error(truth, chances) == pytest.approx(expected)


def test_equal_values_share_a_bin():
    assert ours.equal_mass_bins(np.array([0.5] * 7)).tolist() == [0] * 7
    bins = ours.equal_mass_bins(np.array([0.0] * 60 + [0.3] * 20 + [1.0] * 20))
    assert [len(set(bins[part])) for part in (slice(60), slice(60, 80), slice(80, 100))] == [1, 1, 1]
    assert len(set(bins)) == 3


def test_one_number_for_two_for_more_and_for_several_classes():
    truth, chances = three_classes(200)
    right, best = chances.argmax(1) == truth.argmax(1), chances.max(1)
    assert ours.overall_error(truth, chances) == pytest.approx(float(ours.calibration_error(right, best)))
    each = [float(ours.calibration_error(truth[:, j], chances[:, j])) for j in range(3)]
    assert ours.overall_error(truth, chances, multi_label=True) == pytest.approx(np.mean(each))
    pair = np.stack([truth[:, 0], ~truth[:, 0]], 1), np.stack([chances[:, 0], 1 - chances[:, 0]], 1)
    assert ours.overall_error(*pair, positive=0) == pytest.approx(each[0])


def test_a_perfect_model_shows_the_error_that_chance_predicts():
    random = np.random.default_rng(3)
    chances = random.random(300)
    mean, most = ours.chance_error(chances)
    seen = [float(ours.calibration_error(random.random(300) < chances, chances)) for _ in range(500)]
    assert np.mean(seen) == pytest.approx(mean, abs=0.003)
    assert np.mean(np.array(seen) > most) == pytest.approx(0.05, abs=0.03)


def test_interval_of_the_error_covers_the_true_error():
    # Probabilities .1 too high everywhere: the true error is .1.
    random, hits = np.random.default_rng(4), 0
    for _ in range(200):
        chances = 0.1 + 0.8 * random.random(300)
        truth = random.random(300) < chances - 0.1
        weights = random.multinomial(300, np.full(300, 1 / 300), 400).astype(float)
        plain = ours.calibration_error(truth, chances)
        drawn = ours.unbiased(ours.calibration_error(truth, chances, weights), plain)
        low, high = np.quantile(drawn, [0.025, 0.975])
        hits += low <= 0.1 <= high
    assert hits / 200 > 0.9


# ---- Brier


@pytest.mark.parametrize("seed", range(3))
def test_brier_equals_scikit_learn(seed):
    truth, chances = overconfident(seed=seed)
    weights = np.random.default_rng(seed).integers(0, 3, len(truth)).astype(float)
    assert ours.brier(truth, chances) == pytest.approx(sk.brier_score_loss(truth, chances))
    expected = sk.brier_score_loss(truth, chances, sample_weight=weights)
    assert ours.brier(truth, chances, weights) == pytest.approx(expected)
    truth, chances = three_classes(300, seed)
    expected = sk.brier_score_loss(truth.argmax(1), chances, scale_by_half=True, labels=[0, 1, 2])
    assert ours.brier(truth, chances) == pytest.approx(expected)


def test_parts_of_the_brier_score_by_hand():
    # Forecasts .2 (five times, once true) and .8 (five times, three times true); prevalence .4.
    chances = np.array([0.2] * 5 + [0.8] * 5)
    truth = np.array([1, 0, 0, 0, 0, 1, 1, 1, 0, 0], bool)
    found = ours.brier_parts(truth, chances)
    assert found.reliability == pytest.approx(0.5 * 0.0 + 0.5 * 0.2**2)  # .8 came true in .6
    assert found.resolution == pytest.approx(0.5 * 0.2**2 + 0.5 * 0.2**2)
    assert found.uncertainty == pytest.approx(0.4 * 0.6)
    assert found.within == pytest.approx(0)
    assert found.brier == pytest.approx(np.mean((chances - truth) ** 2))


# ---- line


@pytest.mark.parametrize("seed", range(3))
def test_line_equals_statsmodels(seed):
    truth, chances = overconfident(seed=seed)
    patients = [str(number // 3) for number in range(len(truth))]
    score, groups = ours.logit(chances), np.array([number // 3 for number in range(len(truth))])
    cluster = {"cov_type": "cluster", "cov_kwds": {"groups": groups, "use_correction": True}}
    family = sm.families.Binomial()
    both = sm.GLM(truth.astype(float), sm.add_constant(score), family=family).fit(**cluster)
    alone = sm.GLM(truth.astype(float), np.ones(len(truth)), family=family, offset=score).fit(**cluster)
    found = ours.calibration_line(truth, chances, patients)
    assert found.slope == pytest.approx(both.params[1], rel=1e-5)
    assert found.intercept == pytest.approx(alone.params[0], rel=1e-5)
    # statsmodels multiplies by (n - 1) / (n - p) as well.
    n = len(truth)
    half = (found.slope_interval[1] - found.slope) * np.sqrt((n - 1) / (n - 2))
    assert half == pytest.approx(1.959964 * both.bse[1], rel=1e-4)
    half = found.intercept_interval[1] - found.intercept
    assert half == pytest.approx(1.959964 * alone.bse[0], rel=1e-4)


def test_line_finds_what_was_done_to_the_logit():
    truth, chances = overconfident(40_000, factor=2.0, shift=0.0)
    found = ours.calibration_line(truth, chances)
    assert found.slope == pytest.approx(0.5, abs=0.02)
    assert found.intercept == pytest.approx(0, abs=0.05)
    assert found.slope_interval[0] < 0.5 < found.slope_interval[1]


def test_line_of_separated_or_constant_cases_is_undefined():
    apart = ours.calibration_line(np.array([0, 0, 1, 1], bool), np.array([0.1, 0.2, 0.8, 0.9]))
    assert np.isnan(apart.slope)
    assert np.isnan(ours.calibration_line(np.ones(5, bool), np.linspace(0.1, 0.9, 5)).intercept)


def test_wilson_equals_statsmodels():
    counts, n = np.array([0, 3, 10]), np.array([5, 10, 10])
    low, high = proportion_confint(counts, n, method="wilson")
    found = ours.wilson(counts / n, n)
    np.testing.assert_allclose(found, (low, high), atol=1e-7)
    assert np.isnan(ours.wilson(np.array(0.5), np.array(0))).all()


def test_intervals_of_the_curve_count_patients():
    truth, chances = np.array([1, 0] * 50, bool), np.full(100, 0.5)
    alone = ours.reliability_curve(truth, chances)
    ten = ours.reliability_curve(truth, chances, [str(number % 10) for number in range(100)])
    assert (ten.low[0], ten.high[0]) == tuple(float(end) for end in ours.wilson(np.array(0.5), np.array(10)))
    assert ten.high - ten.low > alone.high - alone.low


# ---- scalings


def test_temperature_and_bias_are_found_again():
    truth, chances = three_classes(20_000)
    # Logits were divided by .5 and moved; undoing it multiplies the logarithm by .5: temperature 2.
    temperature, bias = ours.fit_temperature(truth, chances, bias=True)
    assert temperature == pytest.approx([2], abs=0.1)
    assert bias - bias[0] == pytest.approx([0, -0.35, 0.6], abs=0.08)
    plain, zeros = ours.fit_temperature(truth, chances)
    assert plain[0] > 1 and zeros.tolist() == [0, 0, 0]
    scaled = ours.scale(chances, plain, zeros)
    assert (scaled.argmax(1) == chances.argmax(1)).all()


def test_two_classes_with_a_bias_equal_platts_logistic_regression():
    truth, chances = overconfident(800)
    pair, both = np.stack([1 - chances, chances], 1), np.stack([~truth, truth], 1)
    fitted = LogisticRegression(C=np.inf, tol=1e-10, max_iter=1000).fit(ours.logit(chances)[:, None], truth)
    expected = fitted.predict_proba(ours.logit(chances)[:, None])
    found = ours.scale(pair, *ours.fit_temperature(both, pair, bias=True))
    np.testing.assert_allclose(found, expected, atol=1e-4)
    single = ours.fit_temperature(truth[:, None], chances[:, None], multi_label=True, bias=True)
    scaled = ours.scale(chances[:, None], *single, multi_label=True)
    np.testing.assert_allclose(scaled[:, 0], expected[:, 1], atol=1e-4)


def test_scaling_by_one_changes_nothing():
    _, chances = three_classes(20)
    np.testing.assert_allclose(ours.scale(chances, np.ones(1), np.zeros(3)), chances)
    np.testing.assert_allclose(
        ours.scale(chances, np.ones(3), np.zeros(3), multi_label=True), chances, atol=1e-6
    )


def test_certain_probabilities_can_be_scaled():
    sure = np.array([[1.0, 0.0], [0.0, 1.0]])
    found = ours.scale(sure, np.array([2.0]), np.array([0.0, 0.5]))
    assert np.isfinite(found).all() and found.sum(1) == pytest.approx([1, 1])


def test_isotonic_equals_scikit_learn_up_to_its_ends():
    truth, chances = overconfident(300)
    (steps,) = ours.fit_isotonic(truth[:, None], chances[:, None])
    least = 1 / 302
    new = np.linspace(0, 1, 77)
    expected = IsotonicRegression(y_min=least, y_max=1 - least, out_of_bounds="clip").fit(chances, truth)
    found = ours.apply_isotonic(new[:, None], [steps], multi_label=True)[:, 0]
    np.testing.assert_allclose(found, expected.predict(new))
    assert found.min() >= least and (np.diff(found) >= 0).all()


def test_isotonic_of_exclusive_classes_sums_to_one():
    truth, chances = three_classes(300)
    scaled = ours.apply_isotonic(chances, ours.fit_isotonic(truth, chances))
    np.testing.assert_allclose(scaled.sum(1), 1)
    assert ours.log_loss(truth, scaled).mean() < ours.log_loss(truth, chances).mean()


def test_log_loss_equals_scikit_learn():
    truth, chances = three_classes(100)
    assert ours.log_loss(truth, chances).mean() == pytest.approx(sk.log_loss(truth.argmax(1), chances))
    one = sk.log_loss(truth[:, 0], chances[:, 0])
    assert ours.log_loss(truth[:, :1], chances[:, :1], multi_label=True).mean() == pytest.approx(one)


def test_distance_of_distributions():
    # All of b lies above all but one quarter of a.
    distance, p = ours.distance_of_distributions(np.array([1.0, 2, 3, 9]), np.array([5.0, 6, 7, 8]))
    assert distance == 0.75 and 0 < p < 1
