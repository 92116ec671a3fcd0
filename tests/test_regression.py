"""Numbers: their losses, a training, what becomes of its scale, networks together, the ridge regression."""

import csv
from dataclasses import replace

import numpy as np
import pytest

from medcli.case import Case
from medcli.image import Image
from medcli.prediction.result import Prediction
from medcli.prediction.writers.numbers import NumbersWriter
from medcli.preprocessing.prepared import Prepared
from medcli.run import Run
from tests.made_up import prepared_folder

keras = pytest.importorskip("keras")

from medcli.datasets.classification import number_targets  # noqa: E402
from medcli.losses.regression import LOSSES  # noqa: E402
from medcli.models.baseline import build_baseline  # noqa: E402
from medcli.prediction.predictor import Predictor  # noqa: E402
from medcli.tasks.baseline_numbers import fit_numbers  # noqa: E402
from medcli.tasks.choose import task_for  # noqa: E402
from medcli.training import train  # noqa: E402

SETTINGS = {
    "seed": 1,
    "data": {"table": "table.csv", "columns": {"target": "radius"}},
    "model": {"name": "cnn", "width": 8},
    "train": {
        "epochs": 10, "steps_per_epoch": 8, "batch_size": 8, "validate_every": 6, "mixed_precision": "float32",
        "augment": "none", "learning_rate": 0.005, "tensorboard": False, "flips": ["row", "column"],
    },
}  # fmt: skip


@pytest.fixture(scope="module")
def trained(tmp_path_factory):
    folder = tmp_path_factory.mktemp("numbers")
    config = prepared_folder(folder / "prepared", "regression", cases=48, **SETTINGS)
    return folder, config, train(config, folder / "prepared", folder / "run")


def test_losses_are_those_of_keras():
    random = np.random.default_rng(0)
    targets, outputs = random.normal(0, 2, (2, 9, 1)).astype(np.float32)
    references = {
        "huber": keras.losses.Huber(delta=1.0),
        "mae": keras.losses.MeanAbsoluteError(),
        "mse": keras.losses.MeanSquaredError(),
    }
    assert LOSSES.keys() == references.keys()
    for name, loss in LOSSES.items():
        assert float(loss(targets, outputs)) == pytest.approx(float(references[name](targets, outputs)))


def test_radii_of_discs_are_learned_and_told_in_pixels(trained):
    folder, _, result = trained
    prepared = Prepared.open(folder / "prepared")
    validation = prepared.split("val")
    truth = np.array([record.target for record in validation])
    usual = np.abs(truth - prepared.plan.target.mean).mean()
    assert result.best["val_mae"] < 0.6 * usual
    assert result.best["val_negative_mae"] == -result.best["val_mae"]
    run = Run.open(folder / "run")
    task, model = run.task, run.load_model()
    said = np.array(task.predict(model, [prepared.image(record) for record in validation]))
    assert said.shape == (len(validation), 1)
    assert np.abs(said[:, 0] - truth).mean() == pytest.approx(result.best["val_mae"], rel=1e-4)
    assert not (folder / "run" / "calibration.json").exists(), "there are no probabilities to calibrate"


def test_mirrored_answers_are_averaged(trained):
    folder, _, _ = trained
    run = Run.open(folder / "run")
    settings = run.config.predict.model_copy(update={"flips": True})
    mirrored = replace(run, config=run.config.model_copy(update={"predict": settings})).task
    image, model = Prepared.open(folder / "prepared").image(run.records[0]), run.load_model()
    single = [run.task.predict(model, [np.flip(image, axes)])[0] for axes in ((), (0,), (1,))]
    np.testing.assert_allclose(mirrored.predict(model, [image])[0], np.mean(single, axis=0), rtol=1e-5)


@pytest.mark.parametrize("dimensions", [2, 3])
def test_targets_are_standardised_and_come_back(tmp_path, dimensions):
    settings = {"model": {"name": "cnn", "width": 4}}
    config = prepared_folder(tmp_path / "p", "regression", cases=8, dimensions=dimensions, **settings)
    prepared = Prepared.open(tmp_path / "p")
    task = task_for(config, prepared.plan)
    training = prepared.split("train")
    targets = number_targets(training, prepared.plan.target)
    assert (targets.mean(), targets.std()) == pytest.approx((0, 1), abs=1e-5)
    np.testing.assert_allclose(
        task._answers(targets)[:, 0], [record.target for record in training], rtol=1e-5
    )
    images, given = task.training_set(prepared, training).sample(0)
    assert images.shape == (*prepared.plan.size, 1) and given.shape == (1,)
    assert np.isfinite(float(task.loss(targets, task.build_model()(np.zeros((6, *images.shape))))))


def test_several_networks_in_one_are_judged_one_by_one(tmp_path):
    settings = {"model": {"name": "cnn", "width": 4, "members": 2}, "train": {"loss": "mae"}}
    config = prepared_folder(tmp_path / "p", "regression", cases=4, **settings)
    task = task_for(config, Prepared.open(tmp_path / "p").plan)
    targets, outputs = np.float32([[0], [1]]), np.float32([[[1], [3]], [[1], [5]]])
    assert float(task.loss(targets, outputs)) == pytest.approx((1 + 3 + 0 + 4) / 4)
    model, images = task.build_model(), np.random.default_rng(0).normal(size=(2, 16, 24, 1))
    assert model(images).numpy().tolist() == [[0.0], [0.0]], "the first answer is the mean"


def test_the_worst_group_can_choose_the_weights(tmp_path):
    fairness = {"columns": ["sex"], "select": "worst_group", "method": "sampling", "patients": 1}
    data = {"columns": {"groups": ["sex"]}}
    settings = {"model": {"name": "cnn", "width": 4}, "train": {"fairness": fairness}, "data": data}
    config = prepared_folder(tmp_path / "p", "regression", cases=8, **settings)
    prepared = Prepared.open(tmp_path / "p")
    records = tuple(replace(one, groups={"sex": "FM"[n % 2]}) for n, one in enumerate(prepared.records))
    prepared = replace(prepared, records=records)
    task = task_for(config, prepared.plan)
    assert task.monitor == "worst_negative_mae"
    task.training_set(prepared, prepared.split("train"))
    found = task.validate(task.build_model(), prepared, prepared.split("val"))
    assert found["worst_negative_mae"] == min(found["negative_mae/sex=F"], found["negative_mae/sex=M"])


def test_of_several_answers_mean_and_spread_are_told(tmp_path):
    from medcli.prediction.predictor import _number

    found = _number(np.float32([[50.0], [52.0], [57.0]]))
    assert (found.number, found.spread) == pytest.approx((53, np.sqrt((9 + 1 + 16) / 2)))
    alone = _number(np.float32([41.5]))
    assert alone.number == 41.5 and np.isnan(alone.spread)
    writer, image = NumbersWriter(tmp_path, ["a", "b"], members=3), Image(np.zeros((2, 2, 1), np.float32))
    for name, prediction in (("b", Prediction(number=2.0)), ("a", found)):
        writer.add(Case(name, ()), image, prediction)
    writer.flush()
    with open(tmp_path / "predictions.csv", newline="") as stream:
        rows = list(csv.reader(stream))
    assert rows == [["case", "predicted", "spread"], ["a", "53", "3.606"], ["b", "2", ""]]
    again = NumbersWriter(tmp_path, ["a", "b"], members=3)
    assert again.keep({"a"}) == {"a"} and again.predictions.rows == {"a": rows[1]}


@pytest.mark.parametrize("regressor", ["logistic", "boosting"])
def test_the_network_of_a_baseline_says_what_scikit_learn_says(regressor):
    from medcli.tasks import baseline_numbers

    random = np.random.default_rng(2)
    x = random.normal(size=(80, 6)).astype(np.float32)
    y = (x[:, 0] - 0.5 * x[:, 1] + random.normal(0, 0.2, 80)).astype(np.float32)
    x[3, 2] = np.nan
    grid = [{"max_iter": 8, "max_leaf_nodes": leaves, "learning_rate": 0.2} for leaves in (4, 15)]
    if regressor == "logistic":
        grid = baseline_numbers.RIDGE[:2]
    with pytest.MonkeyPatch.context() as patch:
        patch.setitem(baseline_numbers.GRIDS, regressor, grid)
        fitted = fit_numbers(regressor, x, y, [f"p{n // 2}" for n in range(80)], unit=10.0)
    model = build_baseline(6, 1, regressor)
    for layer, values in fitted.weights.items():
        for variable in model.get_layer(layer).weights:
            variable.assign(values[variable.name])
    expected = baseline_numbers._trained(regressor, fitted.chosen, x, y, 0).predict(x.astype(np.float64))
    np.testing.assert_allclose(model(x).numpy()[:, 0], expected, atol=1e-4)
    assert len(fitted.scores) == 2 and fitted.chosen == {
        key: value for key, value in min(fitted.scores, key=lambda one: one["mae"]).items() if key != "mae"
    }
    spread = np.abs(y - y.mean()).mean() * 10
    assert min(one["mae"] for one in fitted.scores) < spread, "out of fold, in the unit"


def test_what_is_explained_is_the_distance_from_the_mean(trained):
    folder, _, _ = trained
    run = Run.open(folder / "run")
    task, model, prepared = run.task, run.load_model("float32"), Prepared.open(folder / "prepared")
    sides = {}
    for record in prepared.records:
        image = prepared.image(record)
        (target,) = task.targets(model, image, wanted=None, most=1, windows=1, calibrated=None)
        score, share = task.score(model(image[None]), *target.spec)
        value = task.predict(model, [image])[0][0]
        expected = abs(value - run.plan.target.mean) / run.plan.target.sd
        assert float(score[0]) == pytest.approx(expected, abs=1e-4)
        assert float(share[0]) == pytest.approx(1 / (1 + np.exp(-expected)), abs=1e-4)
        sides["above" in target.said] = target.said
    assert sides.keys() == {True, False} and "below the mean of" in sides[False]


def test_a_loaded_run_predicts_cases_in_the_unit(trained):
    folder, _, _ = trained
    run = Run.open(folder / "run")
    prepared = Prepared.open(folder / "prepared")
    by_name = {record.case: prepared.image(record) for record in run.records}
    predictor = Predictor.load(run).reading(lambda case: Image(by_name[case.name]))
    (record,) = [one for one in run.records if one.split == "val"][:1]
    ((_, _, found),) = predictor.predict_cases([Case(record.case, ())])
    assert found.number == pytest.approx(record.target, abs=1.5) and found.probabilities is None
