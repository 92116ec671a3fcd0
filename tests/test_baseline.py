"""The baseline of classic features: its network gives what scikit-learn gives, and its run is a run like any other."""

import json

import numpy as np
import pytest
from made_up import prepared_folder

from medcli.config.loading import load_config
from medcli.config.schema import Features
from medcli.errors import ConfigError, DataError
from medcli.features.prepared import columns, matrix, original_units, row, whole_image
from medcli.models.baseline import TREES, build_baseline
from medcli.preprocessing.plan import Intensity, Plan
from medcli.preprocessing.prepared import Prepared, image_path
from medcli.tasks import baseline_fit
from medcli.tasks.baseline_fit import _estimator, divided, fit, rounded_down


def problem(classes, *, cases=240, features=7, seed=0):
    """Features with gaps, of very different size, some of which tell the class; three cases for each patient."""
    random = np.random.default_rng(seed)
    codes = random.integers(0, classes, cases)
    x = random.normal(size=(cases, features)) + codes[:, None] * np.linspace(0, 1, features)
    x = (x * np.logspace(-3, 6, features)).astype(np.float32)
    x[random.random(x.shape) < 0.1] = np.nan
    return x, np.eye(classes, dtype=np.float32)[codes], [f"p{number // 3}" for number in range(cases)]


def network(fitted, classifier, x, outputs):
    model = build_baseline(x.shape[1], outputs, classifier)
    for layer, values in fitted.weights.items():
        for variable in model.get_layer(layer).weights:
            variable.assign(values[variable.name])
    return model


@pytest.fixture
def small_grids(monkeypatch):
    monkeypatch.setitem(baseline_fit.GRIDS, "logistic", ({"C": 1e-3}, {"C": 0.1}))
    settings = ({"max_iter": 2, "max_leaf_nodes": 4}, {"max_iter": 10, "max_leaf_nodes": 15})
    monkeypatch.setitem(baseline_fit.GRIDS, "boosting", settings)


@pytest.mark.parametrize("classifier", ["logistic", "boosting"])
@pytest.mark.parametrize("classes", [2, 3])
def test_the_network_gives_what_scikit_learn_gives(small_grids, classifier, classes):
    x, targets, patients = problem(classes)
    weights = np.array([1.0, 2.0, 0.5][:classes])
    fitted = fit(classifier, x, targets, patients, multi_label=False, class_weights=weights, seed=3)
    theirs = _estimator(classifier, fitted.chosen, 3)
    name = "sample_weight" if classifier == "boosting" else "logisticregression__sample_weight"
    codes = targets.argmax(1)
    theirs.fit(x.astype(np.float64), codes, **{name: weights[codes]})
    new, _, _ = problem(classes, cases=1000, seed=1)
    logits = np.asarray(network(fitted, classifier, x, classes)(new), np.float64)
    ours = np.exp(logits) / np.exp(logits).sum(1, keepdims=True)
    np.testing.assert_allclose(ours, theirs.predict_proba(new.astype(np.float64)), atol=2e-5)
    assert max(fitted.scores, key=lambda score: score["auroc"]).items() >= fitted.chosen.items()


@pytest.mark.parametrize("classifier", ["logistic", "boosting"])
def test_several_labels_are_several_questions(small_grids, classifier):
    x, targets, patients = problem(3)
    both = targets.copy()
    both[targets[:, 2] > 0, 1] = 1
    both[:, 0] = 0  # a label that nobody has
    fitted = fit(classifier, x, both, patients, multi_label=True, class_weights=None, seed=0)
    logits = np.asarray(network(fitted, classifier, x, 3)(x), np.float64)
    assert (logits[:, 0] == baseline_fit.NEVER).all() and not fitted.scores
    theirs = _estimator(classifier, fitted.chosen, 0).fit(x.astype(np.float64), both[:, 1])
    np.testing.assert_allclose(1 / (1 + np.exp(-logits[:, 1])), theirs.predict_proba(x)[:, 1], atol=2e-5)


def test_a_threshold_between_two_floats_parts_them_alike():
    below = np.float32(0.1)
    above = np.nextafter(below, np.float32(1))
    for threshold in (
        np.float64(below),
        (np.float64(below) + np.float64(above)) / 2,
        np.float64(above) - 1e-12,
    ):
        assert (below <= threshold, above <= threshold) == tuple(
            x <= rounded_down(np.array([threshold]))[0] for x in (below, above)
        )


def test_no_patient_is_in_two_folds():
    _, targets, patients = problem(2)
    names = np.array(patients)
    folds = divided(targets, patients, multi_label=False, seed=0)
    assert len(folds) == 5 and sorted(np.concatenate([held for _, held in folds])) == list(range(240))
    for train, held in folds:
        assert not set(names[train]) & set(names[held])
    assert divided(targets[:3], ["a", "a", "a"], multi_label=False, seed=0) == []


def plan_of(color, channels, dimensions=2):
    return Plan(
        task="classification", dimensions=dimensions, classes=["a", "b"], channels=channels, color=color, batch_size=4,
        stages=3, intensity=[Intensity(kind="fixed", mean=100.0 + channel, std=20.0) for channel in range(channels)],
    )  # fmt: skip


@pytest.mark.parametrize(
    ("color", "channels", "shape"), [("grey", 1, (20, 24)), ("rgb", 3, (20, 24)), ("as_is", 2, (4, 12, 12))]
)
def test_a_row_has_a_number_for_every_column(color, channels, shape):
    plan = plan_of(color, channels, len(shape))
    settings = whole_image(Features(range=[0, 1], bins=16, discretise="fixed_width"))
    image = np.random.default_rng(0).normal(size=(*shape, channels)).astype(np.float32)
    names = columns(plan, settings)
    numbers = dict(zip(names, row(image, plan, settings), strict=True))
    assert len(set(names)) == len(names) and np.isfinite(list(numbers.values())).all()
    np.testing.assert_allclose(original_units(image, plan)[..., 0], image[..., 0] * 20.0 + 100, rtol=1e-6)
    first = (
        "channel0_intensity_mean"
        if channels == 2
        else "color_red_mean"
        if channels == 3
        else "intensity_mean"
    )
    assert numbers[first] == pytest.approx(original_units(image, plan)[..., 0].mean(), rel=1e-5)
    grey = np.repeat(image[..., :1], channels, -1)
    constant = row(np.zeros_like(image), plan, settings)
    assert len(row(grey, plan, settings)) == len(constant) == len(names)


@pytest.fixture
def few_features():
    return {"families": ["intensity", "glcm", "edges"]}


@pytest.mark.parametrize("classifier", ["logistic", "boosting"])
def test_a_run_like_any_other(tmp_path, small_grids, few_features, classifier):
    from medcli.run import Run
    from medcli.training import train

    config = prepared_folder(
        tmp_path / "prepared", "classification", cases=48,
        model={"name": "features", "classifier": classifier}, features=few_features, preprocess={"workers": 1},
    )  # fmt: skip
    events = []
    result = train(config, tmp_path / "prepared", tmp_path / "run", on_event=events.append)
    assert result.best["auroc"] > 0.95 and {event["event"] for event in events} == {"stage", "end"}
    run = Run.open(tmp_path / "run")
    assert not [path for path in run.folder.rglob("*") if path.suffix in (".pkl", ".joblib", ".pickle")]
    account = json.loads((run.folder / "fit.json").read_text())
    assert (
        account["classifier"] == classifier and len(account["columns"]) == account["features"] == 18 + 25 + 7
    )
    assert load_config(run.folder / "config.yaml").model.classifier == classifier
    assert (run.folder / "calibration.json").is_file()

    prepared = Prepared.open(tmp_path / "prepared")
    records = prepared.split("val")
    predicted = np.array(run.task.predict(run.load_model(), [prepared.image(record) for record in records]))
    x = matrix(
        [image_path(prepared.folder, record.key) for record in records],
        run.plan,
        whole_image(run.config.features),
        workers=1,
    )
    logits = np.asarray(run.load_model()(x), np.float64)
    np.testing.assert_allclose(predicted, np.exp(logits) / np.exp(logits).sum(1, keepdims=True), atol=1e-6)
    again, seen = run.task.predict_with_features(
        run.load_model(), [prepared.image(record) for record in records]
    )
    np.testing.assert_allclose(again, predicted, atol=1e-6)
    np.testing.assert_allclose([features for (features,) in seen], np.nan_to_num(x), rtol=1e-5)
    truth = np.array([record.classes[0] == "large" for record in records])
    assert (predicted.argmax(1) == truth).mean() > 0.8


def test_what_does_not_fit_is_told(tmp_path):
    from medcli.tasks.choose import task_for

    config = prepared_folder(
        tmp_path / "p", "classification", model={"name": "features", "weights": "imagenet"}
    )
    plan = Prepared.open(tmp_path / "p").plan
    with pytest.raises(ConfigError, match=r"model\.weights"):
        task_for(config, plan).build_model()
    with pytest.raises(DataError, match=r"no map of the image"):
        task_for(config, plan).targets(None, None, wanted=None, most=1, windows=1, calibrated=None)
    config = config.model_copy(
        update={
            "model": config.model.model_copy(update={"weights": "none"}),
            "features": Features(families=["shape"]),
        }
    )
    with pytest.raises(ConfigError, match=r"features\.families"):
        task_for(config, plan).build_model()


def test_no_settings_ask_for_more_than_the_layer_holds():
    for settings in baseline_fit.BOOSTING:
        assert settings["max_iter"] <= TREES and settings["max_leaf_nodes"] <= 15
