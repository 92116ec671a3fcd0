"""Calibration, shift, decisions and refusal in the result of a classifier's evaluation."""

import json
from dataclasses import replace

import numpy as np
import pytest
from PIL import Image as Pillow
from scipy.special import expit
from scipy.stats import binomtest

from medcli.calibration import FILE, Calibration, Validation, learn
from medcli.config.loading import from_dict
from medcli.config.schema import Evaluate
from medcli.errors import ConfigError
from medcli.evaluation.evaluate import evaluate
from medcli.evaluation.learn import with_calibration
from medcli.files import read_csv
from medcli.prediction.predictor import Predictor
from medcli.prediction.result import Prediction
from tests.evaluation import runs

CASES = 240
"""Of the evaluated part; one patient has two."""


def world(folder, *, prevalence=0.5, strength=1.0, seed=0, cases=CASES, name="made_up"):
    """Pictures whose brightness is the logit of the network: 128 + 20 * logit; `strength`: how much truth is in it."""
    random = np.random.default_rng(seed)
    for number in range(cases):
        ill = random.random() < prevalence
        logit = random.normal(2.2 * strength * (1 if ill else -1), 2.0)
        path = folder / "data" / ("ill" if ill else "healthy") / f"case{number:04d}.png"
        path.parent.mkdir(parents=True, exist_ok=True)
        Pillow.fromarray(np.full((5, 7), np.clip(128 + 20 * logit, 0, 255), np.uint8)).save(path)
    return from_dict({"task": "classification", "data": {"root": "data"}}, folder=folder, name=name)


def network(image):
    """Twice too sure, and leaning to `ill`."""
    share = expit(2 * (float(image.array.mean()) - 128) / 20 + 0.8)
    return np.float32([1 - share, share])


def predictor_of(run):
    calibration = Calibration.of(run)

    def answer(case, image):
        raw = network(image)
        scaled = raw if calibration is None else calibration.scaled(raw)
        return Prediction(probabilities=scaled, raw_probabilities=raw)

    return runs.Answers(answer)


@pytest.fixture
def run(tmp_path):
    """A run whose `val` part was learned from, and whose other half is to be judged as `test`."""
    config = world(tmp_path, cases=2 * CASES)
    made = runs.make_run(tmp_path / "run", config, classes=["healthy", "ill"])
    records = tuple(replace(r, split={"train": "test", "val": "val"}[r.split]) for r in made.records)
    made = replace(made, records=records)
    (made.folder / "model.keras").write_bytes(b"weights")
    return made


def taught(run):
    """As `evaluate` does it for a run without a calibration."""
    answers = predictor_of(run)
    loaded = Predictor(run, None, None, None)
    object.__setattr__(loaded, "predict_cases", answers.predict_cases)
    object.__setattr__(loaded, "held_out", lambda: loaded)
    return with_calibration(loaded)


def metrics_of(result):
    return json.loads((result.folder / "metrics.json").read_text())


def test_what_is_learned_on_validation_holds_on_test(run):
    assert taught(run).calibration == Calibration.of(run)
    settings = Evaluate(threshold={"sensitivity": 0.9}, prevalence=0.1)
    result = evaluate(run, predictor=predictor_of(run), settings=settings)
    content = metrics_of(result)
    assert content["split"] == "test" and content["cases"] == CASES
    before, after = (content["calibration"][name]["ill"] for name in ("here_before", "here"))
    assert after["ece"] < before["ece"] and after["ece"] == result.measures["ece"]
    assert after["slope_interval"][0] < 1 < after["slope_interval"][1] and before["slope"] < 0.7
    assert content["calibration"]["validation"]["none"]["ece"] > 0.05
    # Decision: the threshold is for a sensitivity of .9; Bayes at one in ten.
    found = content["decisions"]["thresholds"]["ill"]
    assert found["on_validation"]["sensitivity"] >= 0.9
    low, high = found["intervals"]["sensitivity"]
    assert low <= found["sensitivity"] <= high and found["sensitivity"] == pytest.approx(0.9, abs=0.08)
    hits, alarms = 0.1 * found["sensitivity"], 0.9 * (1 - found["specificity"])
    assert found["ppv_at_prevalence"] == pytest.approx(hits / (hits + alarms))
    # Refusal.
    sets = content["refusal"]["sets"]
    low, high = sets["intervals"]["set_coverage"]
    assert low < 0.9 < high and sets["set_coverage"] == result.measures["set_coverage"]
    assert sum(sets["referred"].values()) == pytest.approx(CASES * (1 - result.measures["answered"]))
    assert result.measures["accuracy_answered"] > result.measures["accuracy"]
    # No shift was made, so none is told.
    assert not [note for note in result.notes if "Shift" in note]
    page = (result.folder / "report.html").read_text()
    for heading in ("Calibration", "Shift", "Decisions", "Refusal"):
        assert f">{heading}</h2>" in page
    for name in ("reliability", "decision_curve", "risk_coverage"):
        assert (result.folder / f"{name}.png").stat().st_size > 5000


def test_a_rate_of_one_is_not_called_certain(tmp_path):
    config = world(tmp_path, cases=40, strength=9)
    result = evaluate(runs.make_run(tmp_path / "run", config, classes=["healthy", "ill"]), predictor=runs.Answers(
        lambda case, image: Prediction(probabilities=network(image), raw_probabilities=network(image))
    ))  # fmt: skip
    content = metrics_of(result)
    assert content["overall"]["accuracy"] == 1
    exact = binomtest(content["patients"], content["patients"]).proportion_ci(0.95, method="exact")
    assert content["intervals"]["accuracy"] == pytest.approx([exact.low, 1])
    for name in ("sensitivity/ill", "specificity/ill", "sensitivity", "specificity"):
        low, high = content["intervals"][name]
        assert 0.1 < low < exact.low and high == pytest.approx(1), "from fewer patients than the accuracy"


def test_cases_have_decision_set_and_reason(run):
    taught(run)
    result = evaluate(run, predictor=predictor_of(run))
    known = Calibration.of(run)
    for row in read_csv(result.folder / "cases.csv"):
        chances = np.array([[float(row["p:healthy"]), float(row["p:ill"])]])
        assert (row["refer"] == "") == (row["set"] in ("healthy", "ill"))
        assert row["decision"] == ("ill" if chances[0, 1] >= known.operating["ill"].threshold else "healthy")
        raw = np.array([float(row["raw:healthy"]), float(row["raw:ill"])])
        assert known.scaled(raw) == pytest.approx(chances[0], abs=1e-4)


@pytest.mark.parametrize(
    ("change", "said"),
    [
        ({"strength": 0.1}, "the confidence is distributed otherwise|cannot be taken at their word"),
        ({"prevalence": 0.15}, "ill is predicted for a share of 0.* and true for 0.1"),
    ],
)
def test_a_shifted_set_is_told(run, tmp_path, change, said):
    import re

    taught(run)
    data = world(tmp_path / "other", seed=5, name="elsewhere", **change)
    result = evaluate(run, data=data, predictor=predictor_of(run))
    notes = " ".join(result.notes)
    assert re.search(said, notes), notes
    assert "Shift: " in notes
    shift = metrics_of(result)["shift"]
    assert max(found["distance"] for found in shift["scores"].values()) > 0.1
    assert "Shift: " in (result.folder / "report.html").read_text()


def test_sets_that_no_longer_cover_are_told(run, tmp_path):
    taught(run)
    data = world(tmp_path / "other", seed=6, strength=-0.3, name="elsewhere")
    result = evaluate(run, data=data, predictor=predictor_of(run))
    assert result.measures["set_coverage"] < 0.8
    assert any("less than the 0.9 asked for" in note for note in result.notes)


def test_on_the_validation_part_it_is_said_that_it_was_learned_there(run):
    taught(run)
    result = evaluate(run, predictor=predictor_of(run), split="val")
    assert any(f"were learned from {CASES} of these {CASES} cases" in note for note in result.notes)
    assert "shift" not in metrics_of(result)


def test_other_data_keep_the_rules_of_the_run(run, tmp_path):
    run = replace(run, config=run.config.model_copy(update={"evaluate": Evaluate(coverage=0.7)}))
    taught(run)
    data = world(tmp_path / "other", seed=5, name="elsewhere")
    result = evaluate(run, data=data, predictor=predictor_of(run))
    assert metrics_of(result)["refusal"]["sets"]["asked_coverage"] == 0.7
    data = data.model_copy(update={"evaluate": Evaluate(coverage=0.8)})
    result = evaluate(run, data=data, predictor=predictor_of(run), force=True)
    assert metrics_of(result)["refusal"]["sets"]["asked_coverage"] == 0.8


def test_a_run_without_a_calibration_is_judged_all_the_same(run):
    result = evaluate(run, predictor=predictor_of(run))
    content = metrics_of(result)
    assert content["calibration"]["method"] == "none" and "sets" not in content["refusal"]
    assert content["decisions"]["thresholds"]["ill"]["threshold"] == 0.5
    assert np.isnan(result.measures["set_coverage"]) and result.measures["ece"] > 0.05
    assert not (run.folder / FILE).exists()


def test_a_run_whose_validation_cases_are_gone_stays_without(run):
    for path in (run.config.data.root).rglob("*.png"):
        path.write_bytes(b"")
    assert taught(run).calibration is None


def test_wrong_names_are_told_before_the_work(run):
    for prevalence, said in [({"sick": 0.1}, "'sick' is no class of this run; use some of healthy, ill")]:
        with pytest.raises(ConfigError, match=said):
            evaluate(run, predictor=predictor_of(run), settings=Evaluate(prevalence=prevalence))


def test_several_labels_have_all_sections(tmp_path):
    run = runs.classification(tmp_path, cases=80)
    plan = run.plan.model_copy(update={"classes": ["healthy", "ill", "old"], "multi_label": True})
    run = replace(run, plan=plan)
    (run.folder / "model.keras").write_bytes(b"weights")
    random = np.random.default_rng(0)
    score = random.normal(0, 2, (200, 3))
    names = [f"v{number}" for number in range(200)]
    truth = random.random((200, 3)) < expit(score)
    learn(run.folder, Validation(names, names, truth, expit(2 * score)), run.config, plan)
    known = Calibration.of(run)

    def answer(case, image):
        ill = 1.5 if "ill" in case.classes else -1.5
        raw = np.float32(expit([-ill, ill, random.normal()]))
        return Prediction(probabilities=known.scaled(raw), raw_probabilities=raw)

    settings = Evaluate(prevalence={"ill": 0.2})
    result = evaluate(run, predictor=runs.Answers(answer), settings=settings)
    content = metrics_of(result)
    assert set(content["decisions"]["thresholds"]) == {"healthy", "ill", "old"}
    assert content["decisions"]["thresholds"]["ill"]["expected_prevalence"] == 0.2
    assert 0 <= result.measures["set_coverage"] <= 1 and "ece/old" in result.measures
    with pytest.raises(ConfigError, match=r"expected a mapping \{class: share\}"):
        evaluate(run, predictor=runs.Answers(answer), settings=Evaluate(prevalence=0.3), force=True)


def test_three_classes_of_which_one_never_comes(tmp_path):
    run = runs.classification(tmp_path, cases=80)
    plan = run.plan.model_copy(update={"classes": ["healthy", "ill", "old"]})
    run = replace(run, plan=plan)
    (run.folder / "model.keras").write_bytes(b"weights")
    random = np.random.default_rng(0)
    names = [f"v{number}" for number in range(400)]
    true = random.dirichlet([1, 1, 0.5], 400)
    truth = np.array([random.multinomial(1, row) for row in true], bool)
    sharp = true**2 / (true**2).sum(1, keepdims=True)
    known = learn(run.folder, Validation(names, names, truth, sharp), run.config, plan)
    assert known.scaling.temperature == pytest.approx([2], rel=0.2)

    def answer(case, image):
        raw = np.float32(random.dirichlet([1, 5, 1] if "ill" in case.classes else [5, 1, 1]))
        return Prediction(probabilities=known.scaled(raw), raw_probabilities=raw)

    result = evaluate(run, predictor=runs.Answers(answer))
    content = metrics_of(result)
    assert content["calibration"]["here"]["old"]["slope"] is None, "without such a case there is no line"
    assert content["decisions"]["thresholds"]["old"]["sensitivity"] is None
    assert content["decisions"]["thresholds"]["ill"]["specificity"] > 0.5
    assert np.isnan(result.measures["set_coverage/old"]) and result.measures["set_coverage"] > 0.5
