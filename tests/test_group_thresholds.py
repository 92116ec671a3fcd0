"""Thresholds of groups: against fairlearn and by hand, in the files of a run, in predictions and in results."""

import json
from dataclasses import replace

import numpy as np
import pytest
from PIL import Image as Pillow
from scipy.special import expit

from medcli.calibration import Calibration, Validation, fit, learn
from medcli.config.loading import from_dict
from medcli.config.schema import Config, Evaluate
from medcli.errors import ConfigError
from medcli.evaluation.evaluate import evaluate
from medcli.files import read_csv, write_csv
from medcli.group_thresholds import AskedGroups, fit_group_thresholds
from medcli.metrics.decision import choose_threshold, nearest_threshold
from medcli.prediction.predict import predict
from medcli.prediction.result import Prediction
from medcli.preprocessing.prepared import Record, write_manifest
from tests.evaluation import runs
from tests.fake_run import brightness, fake_loading, fake_run


def record(case: str, split: str, **groups: str) -> Record:
    return Record(
        case=case, patient=case, split=split, fold=None, classes=("a",), key=case, shape=(4, 4), original_shape=(4, 4),
        spacing=None, objects=0, sources=(f"{case}.png",), labels=(), sha256="", groups=groups,
    )  # fmt: skip


TRAINING = [record(f"t{number}", "train", sex="FM"[number % 2], age=str(30 + number)) for number in range(40)]


def made(aim: str, truth, scores, sexes, *, common=0.5, threshold="youden", patients=4):
    return fit_group_thresholds(
        AskedGroups(columns=["sex"], aim=aim, patients=patients),
        np.stack([~truth, truth], 1), np.stack([1 - scores, scores], 1), [{"sex": sex} for sex in sexes],
        [str(number) for number in range(len(truth))], training=TRAINING, classes={"b": 1}, common={"b": common},
        aim=threshold,
    )  # fmt: skip


TRUTH = np.array([1, 1, 1, 1, 0, 0, 0, 0] * 2, bool)
SCORES = np.array([0.9, 0.8, 0.7, 0.3, 0.6, 0.2, 0.2, 0.1, 0.6, 0.5, 0.4, 0.1, 0.45, 0.3, 0.2, 0.2])
SEXES = list("F" * 8 + "M" * 8)


def test_thresholds_by_hand():
    # At 0.55 for all: sensitivity 3/4 of F, 1/4 of M, 4/8 in all; specificity 3/4 and 4/4, 7/8 in all.
    equal = made("equal_opportunity", TRUTH, SCORES, SEXES, common=0.55).points
    assert {key: point["b"].threshold for key, point in equal.items()} == pytest.approx(
        {"sex=F": 0.75, "sex=M": 0.475}
    )
    assert [(point["b"].sensitivity, point["b"].specificity) for point in equal.values()] == [
        (0.5, 1),
        (0.5, 1),
    ]
    own = made("own", TRUTH, SCORES, SEXES, threshold={"sensitivity": 0.75}).points
    assert [own[key]["b"].threshold for key in ("sex=F", "sex=M")] == pytest.approx([0.65, 0.35])
    assert [own[key]["b"].specificity for key in ("sex=F", "sex=M")] == [1, 0.75]
    # (1/2, 7/8): of F (1/2, 1) at 0.75 is 1/8 off, as is none other; of M (1/2, 1) at 0.475.
    odds = made("equalized_odds", TRUTH, SCORES, SEXES, common=0.55).points
    assert [odds[key]["b"].threshold for key in ("sex=F", "sex=M")] == pytest.approx([0.75, 0.475])
    assert nearest_threshold(TRUTH[:8], SCORES[:8], sensitivity=1.0, specificity=0.7) == pytest.approx(0.25)


def test_groups_with_few_cases_keep_the_common_threshold():
    found = made("own", TRUTH, SCORES, [*SEXES[:14], "X", ""], patients=8)
    assert set(found.points) == {"sex=F"}
    assert found.common == {"sex=M": "too few: 6 of at least 8 patients"}
    common = {"b": 0.5}
    assert found.at({"sex": "M"}, common) == found.at({}, common) == found.at({"sex": "X"}, common) == common
    assert found.at({"sex": "F"}, common)["b"] != 0.5
    assert [found.whose(one) for one in ({"sex": "F"}, {"sex": "M"}, {}, {"sex": "X"})] == [
        "sex=F",
        "all: sex=M had too few validation cases",
        "all: sex not given",
        "all: a value of sex that the training part had not",
    ]


@pytest.mark.parametrize("seed", [0, 1])
def test_equal_opportunity_agrees_with_fairlearn(seed):
    """fairlearn decides some cases at random to make rates equal; ours are as near as the scores allow."""
    from fairlearn.postprocessing import ThresholdOptimizer
    from sklearn.base import BaseEstimator, ClassifierMixin

    class Given(ClassifierMixin, BaseEstimator):
        classes_ = np.array([0, 1])

        def fit(self, X, y):
            return self

        def __sklearn_is_fitted__(self):
            return True

        def predict_proba(self, X):
            return np.column_stack([1 - X[:, 0], X[:, 0]])

    random = np.random.default_rng(seed)
    sexes = random.choice(["F", "M"], 1200)
    truth = random.random(1200) < np.where(sexes == "F", 0.4, 0.6)
    scores = expit(random.normal(2.0 * truth - 1 - 0.8 * (sexes == "F"), 1.0))
    optimizer = ThresholdOptimizer(
        estimator=Given(), constraints="true_positive_rate_parity", objective="balanced_accuracy_score",
        prefit=True, predict_method="predict_proba",
    )  # fmt: skip
    optimizer.fit(scores[:, None], truth.astype(int), sensitive_features=sexes)
    chance = optimizer._pmf_predict(scores[:, None], sensitive_features=sexes)[:, 1]
    theirs = {
        sex: (chance[truth & (sexes == sex)].mean(), chance[~truth & (sexes == sex)].mean()) for sex in "FM"
    }
    target = theirs["F"][0]
    assert theirs["M"][0] == pytest.approx(target, abs=0.01)
    common = choose_threshold(truth, scores, {"sensitivity": float(target)}).value
    ours = made("equal_opportunity", truth, scores, sexes, common=common).points
    before = [float((scores[truth & (sexes == sex)] >= common).mean()) for sex in "FM"]
    assert abs(before[0] - before[1]) > 0.15
    for sex in "FM":
        point = ours[f"sex={sex}"]["b"]
        positives = int((truth & (sexes == sex)).sum())
        assert target - 1e-9 <= point.sensitivity <= target + 2 / positives + 1 / truth.sum()
        assert 1 - point.specificity == pytest.approx(theirs[sex][1], abs=0.02)


# ---- in a run


def learned(tmp_path, *, aim="own", classes=("a", "b")):
    """Women's scores are lower: the network is a picture's brightness."""
    random = np.random.default_rng(3)
    n = 400
    sexes = random.choice(["F", "M"], n)
    truth = random.random(n) < 0.5
    score = np.clip(random.normal(0.35 + 0.3 * truth - 0.1 * (sexes == "F"), 0.12), 0.001, 0.999)
    names = [f"v{number}" for number in range(n)]
    records = [
        *TRAINING,
        *(record(name, "val", sex=sex, age="50") for name, sex in zip(names, sexes, strict=True)),
    ]
    run = fake_run(
        tmp_path / "run", "classification", classes=classes, records=records, predict={"calibrate": "none"}
    )
    write_manifest(run.folder, records)
    data = {"columns": {"groups": ["sex", "age"]}}
    chosen = {"group_thresholds": {"columns": ["sex"], "aim": aim}}
    config = Config(task="classification", data=data, evaluate=chosen, predict={"calibrate": "none"})
    validation = Validation(names, names, np.stack([~truth, truth], 1), np.stack([1 - score, score], 1))
    return replace(run, config=config), validation


def test_they_are_kept_in_the_run_and_other_aims_are_answered_from_its_table(tmp_path):
    run, validation = learned(tmp_path)
    found = learn(run.folder, validation, run.config, run.plan)
    assert Calibration.of(run) == found and found.groups is not None
    low, high = (found.groups.points[key]["b"].threshold for key in ("sex=F", "sex=M"))
    assert low < found.operating["b"].threshold < high
    kept = json.loads((run.folder / "calibration.json").read_text())["groups"]
    assert kept["points"]["sex=F"]["b"]["threshold"] == low
    plain = replace(run, config=run.config.model_copy(update={"evaluate": Evaluate()}))
    without = Calibration.of(plain)
    assert without.groups is None and without.operating == found.operating
    # Between the two thresholds women are called and men are not.
    between = np.array([[1 - (low + high) / 2, (low + high) / 2]] * 3)
    decided = found.decided(between, [{"sex": "F"}, {"sex": "M"}, {}])
    common = (low + high) / 2 >= found.operating["b"].threshold
    assert decided[:, 1].tolist() == [True, False, common]
    assert found.decided(between).tolist() == found.decided(between, [{}] * 3).tolist()


def test_three_exclusive_classes_have_no_thresholds(tmp_path):
    run, validation = learned(tmp_path, classes=("a", "b", "c"))
    three = Validation(
        validation.cases,
        validation.patients,
        np.eye(3, dtype=bool)[np.arange(400) % 3],
        np.full((400, 3), 1 / 3),
    )
    with pytest.raises(ConfigError, match="of the 3 exclusive classes the most probable one is the decision"):
        fit(three, run.config, run.plan, model="0", flips=False, records=run.records)


def test_predict_takes_the_group_from_the_table_and_says_where_it_could_not(tmp_path, monkeypatch):
    run, validation = learned(tmp_path)
    found = learn(run.folder, validation, run.config, run.plan)
    low, high = (found.groups.points[key]["b"].threshold for key in ("sex=F", "sex=M"))
    value = round(255 * (low + high) / 2)
    for name in ("x", "y", "z"):
        Pillow.fromarray(np.full((4, 4), value, np.uint8)).save(tmp_path / f"{name}.png")
    write_csv(
        tmp_path / "cases.csv",
        [{"file": "x.png", "Sex": "F"}, {"file": "y.png", "Sex": "M"}, {"file": "z.png", "Sex": ""}],
    )
    fake_loading(monkeypatch, brightness)
    summary = predict(run, [tmp_path / "cases.csv"], tmp_path / "out")
    decided = {row["case"]: row["decision"] for row in read_csv(tmp_path / "out" / "decisions.csv")}
    assert (decided["x"], decided["y"]) == ("b", "a")
    rows = read_csv(tmp_path / "out" / "thresholds.csv")
    assert [row["threshold_of"] for row in rows] == [
        "sex=F",
        "sex=M",
        "all: a value of sex that the training part had not",
    ]
    assert float(rows[0]["threshold:b"]) == pytest.approx(low)
    assert summary.notes == [
        "1 of 3 cases were decided by the threshold for all (a value of sex that the training part had not)."
    ]
    summary = predict(run, [tmp_path / "x.png"], tmp_path / "other")
    assert summary.notes == ["1 of 1 cases were decided by the threshold for all (sex not given)."]


def test_evaluate_decides_by_group_and_reports_it(tmp_path):
    """Women's pictures are darker; with one threshold they are missed more often."""
    random = np.random.default_rng(0)
    rows = []
    (tmp_path / "data").mkdir()
    for number in range(240):
        sex, ill = "FM"[number % 2], bool(number // 2 % 2)
        value = np.clip(random.normal(100 + 60 * ill - 40 * (sex == "F"), 20), 0, 255)
        Pillow.fromarray(np.full((4, 4), value, np.uint8)).save(tmp_path / "data" / f"case{number:03d}.png")
        rows.append({"file": f"case{number:03d}.png", "label": ["healthy", "ill"][ill], "sex": sex})
    write_csv(tmp_path / "data" / "table.csv", rows)
    data = {"root": "data", "table": "table.csv", "columns": {"groups": ["sex"]}}
    config = from_dict({"task": "classification", "data": data}, folder=tmp_path, name="made_up")
    run = runs.make_run(tmp_path / "run", config, classes=["healthy", "ill"])
    sexes = {row["file"][:-4]: row["sex"] for row in rows}
    records = [
        replace(one, groups={"sex": sexes[one.case]}, split=split)
        for number, one in enumerate(run.records)
        for split in [("train", "val", "test")[number // 4 % 3]]
    ]
    (run.folder / "model.keras").write_bytes(b"weights")
    write_manifest(run.folder, records)
    run = replace(run, records=tuple(records))

    def answer(case, image):
        share = float(image.array.mean()) / 255
        return Prediction(probabilities=np.float32([1 - share, share]))

    settings = {"columns": ["sex"], "aim": "equal_opportunity"}
    for name, chosen in {"one": {}, "two": settings}.items():
        whole = config.model_copy(
            update={
                "evaluate": Evaluate(group_thresholds=chosen, pictures=0),
                "predict": config.predict.model_copy(update={"calibrate": "none"}),
            }
        )
        one = replace(run, config=whole)
        learn_from(one, answer)
        evaluate(one, split="test", name=name, predictor=runs.Answers(answer))
    before, after = (
        json.loads((run.folder / "evaluate" / name / "metrics.json").read_text()) for name in ("one", "two")
    )
    gap = [
        next(one["value"] for one in found["groups"]["gaps"] if one["gap"] == "equal_opportunity")
        for found in (before, after)
    ]
    assert gap[0] > 0.3 and gap[1] < 0.15
    assert "groups" not in before["decisions"]
    table = {row["threshold_of"]: row for row in after["decisions"]["groups"]["rows"]}
    assert table["sex=F"]["threshold"] < table["sex=M"]["threshold"] and table["sex=F"]["cases"] == 40
    decided = {row["case"]: row for row in read_csv(run.folder / "evaluate" / "two" / "cases.csv")}
    called = [row for row in decided.values() if row["sex"] == "F" and row["truth"] == "ill"]
    share = np.mean([row["decision"] == "ill" for row in called])
    assert share == pytest.approx(table["sex=F"]["sensitivity"])
    assert "Thresholds by sex" in (run.folder / "evaluate" / "two" / "report.html").read_text()


def learn_from(run, answer) -> None:
    from medcli.io.cases import discover
    from medcli.io.readers import read_channels

    cases = {case.name: case for case in discover(run.config).cases}
    validation = [cases[one.case] for one in run.records if one.split == "val"]
    chances = [answer(case, read_channels(case.images)).probabilities for case in validation]
    truth = [[name in case.classes for name in run.plan.classes] for case in validation]
    names = [case.name for case in validation]
    learn(run.folder, Validation(names, names, np.array(truth), np.array(chances)), run.config, run.plan)
