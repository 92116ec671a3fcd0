"""What a run learns from its validation part: choice of the scaling, thresholds, sets, and the two files."""

import json
from dataclasses import replace

import numpy as np
import pytest
from scipy.special import expit

from medcli.calibration import (
    FILE,
    TABLE,
    Asked,
    Calibration,
    Validation,
    fit,
    folds,
    learn,
    with_rules,
)
from medcli.config.schema import Config, Evaluate
from medcli.errors import ConfigError, RunError
from medcli.metrics.decision import choose_threshold
from tests.fake_run import fake_run

SETTINGS = {"threshold": "youden"}


def two_classes(n=600, *, factor=2.0, shift=1.0, seed=0, per_patient=1) -> Validation:
    """A model whose logit is `factor` times the true one plus `shift`; classes a and b."""
    random = np.random.default_rng(seed)
    score = random.normal(0, 2, n)
    truth = random.random(n) < expit(score)
    chances = expit(factor * score + shift)
    names = [f"case{number:04d}" for number in range(n)]
    patients = [f"p{number // per_patient}" for number in range(n)]
    return Validation(names, patients, np.stack([~truth, truth], 1), np.stack([1 - chances, chances], 1))


def several_labels(n=500, seed=1) -> Validation:
    random = np.random.default_rng(seed)
    score = random.normal(-0.5, 2, (n, 3))
    names = [str(number) for number in range(n)]
    return Validation(names, names, random.random((n, 3)) < expit(score), expit(1.5 * score + [0, 1, -1]))


def made(tmp_path, validation, *, predict=None, evaluate=None, classes=("a", "b"), multi_label=False):
    run = fake_run(tmp_path / "run", "classification", classes=classes, multi_label=multi_label)
    config = Config(task="classification", predict=predict or {}, evaluate=evaluate or {})
    return run, fit(validation, config, run.plan, model="0", flips=False)


# ---- choice


def test_auto_takes_the_bias_where_the_balance_is_off(tmp_path):
    _, found = made(tmp_path, two_classes())
    assert found.scaling.method == "temperature_bias"
    before, after = found.cross_validation["none"], found.cross_validation["temperature_bias"]
    assert before.ece > 0.06 and after.ece < 0.03
    assert after.log_loss < before.log_loss and after.brier < before.brier


def test_auto_finds_the_temperature(tmp_path):
    _, found = made(tmp_path, two_classes(2000, factor=2.5, shift=0, seed=1))
    assert found.scaling.method in ("temperature", "temperature_bias")
    assert found.scaling.temperature == pytest.approx([2.5], rel=0.15)
    assert np.ptp(found.scaling.bias) < 0.2
    assert "none 0." in found.why and "isotonic 0." in found.why


def test_auto_leaves_a_calibrated_model_alone(tmp_path):
    _, found = made(tmp_path, two_classes(factor=1, shift=0))
    assert found.scaling.method != "isotonic"
    chances = np.float32([[0.3, 0.7], [0.05, 0.95]])
    assert found.scaled(chances) == pytest.approx(chances, abs=0.04)
    assert found.scaled(chances).dtype == np.float32


def test_auto_takes_isotonic_where_no_line_fits(tmp_path):
    validation = two_classes(3000, factor=1, shift=0)
    bent = expit(4 * (expit(2 * (validation.probabilities - 0.5)) - 0.5)) ** 4
    bent = np.where(validation.probabilities > 0.6, 0.55 + 0.01 * validation.probabilities, bent * 0.5)
    chances = bent[:, 1]
    bent = np.stack([1 - chances, chances], 1)
    _, found = made(tmp_path, Validation(validation.cases, validation.patients, validation.truth, bent))
    assert found.scaling.method == "isotonic"


def test_a_scaling_can_be_asked_for_or_refused(tmp_path):
    for name in ("none", "temperature", "isotonic"):
        _, found = made(tmp_path, two_classes(), predict={"calibrate": name})
        assert found.scaling.method == name


def test_few_cases_are_not_scaled(tmp_path):
    _, found = made(tmp_path, two_classes(15), predict={"calibrate": "temperature"})
    assert found.scaling.method == "none" and "too few validation cases" in found.why
    _, found = made(tmp_path, two_classes(60, per_patient=10))  # six patients
    assert found.scaling.method == "none"
    assert found.patients == 6 and found.cases == 60


def test_new_cases_are_calibrated(tmp_path):
    for method in ("temperature_bias", "isotonic"):
        _, found = made(tmp_path, two_classes(3000), predict={"calibrate": method})
        new = two_classes(20_000, seed=9)
        chances = found.scaled(new.probabilities)[:, 1]
        for low in (0.1, 0.4, 0.7):
            near = (chances > low) & (chances < low + 0.2)
            assert new.truth[near, 1].mean() == pytest.approx(chances[near].mean(), abs=0.06)


def test_folds_keep_patients_together_and_spread_classes():
    validation = two_classes(400, per_patient=4)
    fold = folds(validation.truth, validation.patients)
    of_patient = {}
    for patient, number in zip(validation.patients, fold, strict=True):
        assert of_patient.setdefault(patient, number) == number
    assert set(fold) == set(range(5))
    first = [validation.truth[validation.patients.index(patient)][1] for patient in of_patient]
    for number in range(5):
        kinds = [kind for kind, own in zip(first, of_patient.values(), strict=True) if own == number]
        assert abs(np.mean(kinds) - np.mean(first)) < 0.06


# ---- thresholds


def test_the_threshold_is_that_of_the_aim_and_holds_on_new_cases(tmp_path):
    settings = {"threshold": {"sensitivity": 0.95}}
    _, found = made(tmp_path, two_classes(3000), evaluate=settings)
    assert list(found.operating) == ["b"] and found.operating["b"].sensitivity >= 0.95
    new = two_classes(20_000, seed=5)
    called = found.decided(found.scaled(new.probabilities))[:, 1]
    assert called[new.truth[:, 1]].mean() == pytest.approx(0.95, abs=0.02)


def test_the_positive_class_can_be_the_first(tmp_path):
    _, found = made(tmp_path, two_classes(), evaluate={"positive": "a", "threshold": 0.7})
    assert list(found.operating) == ["a"] and found.operating["a"].threshold == 0.7
    decided = found.decided(np.array([[0.71, 0.29], [0.69, 0.31]]))
    assert decided.tolist() == [[True, False], [False, True]]
    with pytest.raises(
        ConfigError, match=r"evaluate\.positive: 'c' is no class of this run; use one of a, b"
    ):
        made(tmp_path, two_classes(), evaluate={"positive": "c"})


def test_three_classes_are_decided_by_the_most_probable(tmp_path):
    random = np.random.default_rng(0)
    chances = random.dirichlet(np.ones(3), 300)
    truth = np.array([random.multinomial(1, row) for row in chances], bool)
    names = [str(number) for number in range(300)]
    _, found = made(tmp_path, Validation(names, names, truth, chances), classes=("a", "b", "c"))
    assert list(found.operating) == ["a", "b", "c"]
    assert found.decided(np.array([[0.2, 0.5, 0.3]])).tolist() == [[False, True, False]]


# ---- sets


@pytest.mark.parametrize("sets", ["lac", "aps", "raps"])
def test_sets_cover_new_cases(tmp_path, sets):
    _, found = made(tmp_path, two_classes(1000), evaluate={"sets": sets})
    new = two_classes(20_000, seed=7)
    chances = found.scaled(new.probabilities)
    inside, reasons = found.sets(chances)
    covered = (inside & new.truth).any(1).mean()
    assert covered == pytest.approx(0.9, abs=0.02) if sets == "lac" else covered > 0.88
    assert found.expected_coverage == pytest.approx(covered, abs=0.03)
    sizes = inside.sum(1)
    assert [reason == "" for reason in reasons] == (sizes == 1).tolist()
    assert set(reasons) <= {"", "several_labels", "no_label"}
    assert np.nanmean(found.covered(new.truth, chances)) == pytest.approx(covered)


def test_several_labels_are_referred_when_one_is_undecided(tmp_path):
    _, found = made(tmp_path, several_labels(), classes=("x", "y", "z"), multi_label=True)
    new = several_labels(5000, seed=2)
    chances = found.scaled(new.probabilities)
    assert np.mean(found.covered(new.truth, chances), 0) == pytest.approx([0.9] * 3, abs=0.035)
    inside, reasons = found.sets(chances)
    assert set(reasons) == {"", "undecided_label"}
    sure = [reason == "" for reason in reasons]
    assert (inside == (chances > 0.5))[sure].all()
    assert found.decided(np.array([[1.0, 0.0, 1.0]])).tolist() == [[True, False, True]]


def test_labels_that_nobody_knows_do_not_count(tmp_path):
    whole, random = several_labels(), np.random.default_rng(3)
    known = random.random(whole.truth.shape) > 0.4
    kept = replace(whole, truth=np.where(known, whole.truth, np.nan))
    kept.save(tmp_path, ("x", "y", "z"))
    again = Validation.load(tmp_path, ("x", "y", "z"))
    assert np.array_equal(again.truth, kept.truth, equal_nan=True)
    _, plain = made(tmp_path, kept, classes=("x", "y", "z"), multi_label=True, predict={"calibrate": "none"})
    for index, name in enumerate("xyz"):  # the threshold is that of the cases where the label is known
        rows = known[:, index]
        best = choose_threshold(whole.truth[rows, index], whole.probabilities[rows, index], "youden")
        assert plain.operating[name].threshold == best.value
        assert plain.operating[name].sensitivity == best.sensitivity
    _, found = made(tmp_path, kept, classes=("x", "y", "z"), multi_label=True)
    assert found.scaling.method != "none"
    new = several_labels(5000, seed=2)
    chances = found.scaled(new.probabilities)
    assert np.mean(found.covered(new.truth, chances), 0) == pytest.approx([0.9] * 3, abs=0.04)
    hidden = np.where(random.random(new.truth.shape) > 0.5, new.truth, np.nan)
    assert np.isnan(found.covered(hidden, chances)).tolist() == np.isnan(hidden).tolist()


def test_too_few_cases_promise_nothing(tmp_path):
    _, found = made(tmp_path, two_classes(8))
    inside, reasons = found.sets(np.array([[0.01, 0.99]]))
    assert inside.all() and reasons == ["no_promise"] and not found.promises


# ---- files


@pytest.fixture
def run(tmp_path):
    return fake_run(tmp_path / "run", "classification", classes=("a", "b,|c"))


def test_what_is_written_is_read_again(run):
    validation = two_classes(100)
    learned = learn(run.folder, validation, run.config, run.plan)
    assert Calibration.of(run) == learned
    again = Validation.load(run.folder, run.plan.classes)
    assert (again.cases, again.patients) == (validation.cases, validation.patients)
    np.testing.assert_allclose(again.probabilities, validation.probabilities, rtol=1e-8)


def test_other_settings_are_answered_from_the_kept_table(run):
    learned = learn(run.folder, two_classes(200), run.config, run.plan)
    before = (run.folder / FILE).read_bytes()
    other = with_rules(run, Evaluate(threshold=0.3, coverage=0.8), own=True)
    found = Calibration.of(other)
    assert found.operating["b,|c"].threshold == 0.3
    assert found.quantiles != learned.quantiles and found.scaling == learned.scaling
    assert (run.folder / FILE).read_bytes() == before
    (run.folder / TABLE).unlink()
    assert Calibration.of(run) == learned
    with pytest.raises(RunError, match=r"validation\.csv: not the validation table of this run"):
        Calibration.of(other)


def test_rules_of_other_data_count_only_where_they_are_said(run):
    own = with_rules(run, Evaluate(threshold=0.3, coverage=0.8), own=True)
    other = with_rules(own, Evaluate(coverage=0.7), own=False)
    assert (other.config.evaluate.threshold, other.config.evaluate.coverage) == (0.3, 0.7)
    assert Asked.of(other.config).threshold == 0.3


def test_other_weights_have_no_calibration(run):
    learn(run.folder, two_classes(50), run.config, run.plan)
    (run.folder / "model.keras").write_bytes(b"other weights")
    assert Calibration.of(run) is None


def test_a_run_without_one_has_none(run):
    assert Calibration.of(run) is None


@pytest.mark.parametrize("content", ["", "{}", "[1, 2]", '{"model": 1}'])
def test_a_damaged_file_is_told(run, content):
    (run.folder / FILE).write_text(content)
    with pytest.raises(RunError, match=r"calibration\.json: not a calibration of medcli; remove it"):
        Calibration.of(run)


def test_infinite_limits_survive_the_file(run):
    learned = learn(run.folder, two_classes(6), run.config, run.plan)
    assert json.loads((run.folder / FILE).read_text())["quantiles"] == [[None], [None]]
    assert not Calibration.of(run).promises and Calibration.of(run) == learned
