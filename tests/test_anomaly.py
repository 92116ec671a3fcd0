"""Anomalies by an autoencoder: made-up stripes, of which the abnormal ones have a bright spot."""

import csv

import numpy as np
import pytest
from PIL import Image as Pillow

from medcli.config.loading import from_dict
from medcli.errors import ConfigError, DataError
from medcli.preprocessing.build import preprocess
from medcli.preprocessing.prepared import Prepared

tf = pytest.importorskip("tensorflow")

from medcli.evaluation.evaluate import evaluate  # noqa: E402
from medcli.models.autoencoder import build_autoencoder  # noqa: E402
from medcli.prediction.predict import predict  # noqa: E402
from medcli.run import Run  # noqa: E402
from medcli.tasks.anomaly import LEAST_DETAIL, detail  # noqa: E402
from medcli.training import train  # noqa: E402

SPOT = (slice(4, 9), slice(10, 15))


def stripes(random, *, abnormal: bool) -> np.ndarray:
    rows, columns = np.indices((20, 24))
    picture = (
        110 + 50 * np.sin(columns / 3 + random.uniform(0, 6)) + 20 * np.sin(rows / 4 + random.uniform(0, 6))
    )
    picture = picture + random.normal(0, 3, picture.shape)
    if abnormal:
        picture[SPOT] = 235
    return np.clip(picture, 0, 255).astype(np.uint8)


def write(folder, count, *, abnormal, seed):
    random = np.random.default_rng(seed)
    folder.mkdir(parents=True)
    for number in range(count):
        Pillow.fromarray(stripes(random, abnormal=abnormal)).save(folder / f"{folder.name}{number:02d}.png")


def job(root, **changes):
    settings = {
        "task": "classification", "seed": 1, "data": {"root": root, "classes": ["normal", "odd"]},
        "preprocess": {"workers": 1}, "model": {"name": "autoencoder", "width": 8, "stages": 2},
        "train": {"epochs": 6, "steps_per_epoch": 25, "batch_size": 16, "validate_every": 3, "tensorboard": False,
                  "learning_rate": 0.003, "mixed_precision": "float32"},
        "evaluate": {"robustness": "off", "explained": 0, "pictures": 1},
    }  # fmt: skip
    return from_dict(settings | changes, name="stripes")


def test_detail_is_what_smoothing_takes_away():
    random = np.random.default_rng(0)
    noise = random.normal(0, 1, (1, 40, 50, 1))
    ramp = np.broadcast_to(np.linspace(0, 5, 50)[None, None, :, None], noise.shape)
    # White noise less its Gaussian mean has variance 1 - 2 k(0) + sum(k^2); k(0) = 0.399^2, sum(k^2) = 0.282^2.
    expected = np.sqrt(1 - 2 * 0.399**2 + 0.282**2) * np.sqrt(2 / np.pi)
    assert detail(noise)[0] == pytest.approx(expected, rel=0.03)
    assert detail(ramp)[0] < 0.01 and detail(np.ones((1, 8, 9, 1)))[0] == LEAST_DETAIL
    np.testing.assert_allclose(
        detail(np.concatenate([3 * noise, ramp + noise]))[0] / 3, detail(noise)[0], rtol=1e-5
    )


@pytest.mark.parametrize("shape", [(13, 10, 1), (5, 12, 9, 2)])
def test_what_comes_out_has_the_shape_of_what_goes_in(shape):
    model = build_autoencoder(shape, width=4, stages=2)
    assert model(np.zeros((2, *shape), np.float32)).shape == (2, *shape)
    middle = model.get_layer("middle").output
    assert np.prod(middle.shape[1:]) < np.prod(shape), "narrow"


@pytest.fixture(scope="module")
def trained(tmp_path_factory):
    folder = tmp_path_factory.mktemp("stripes")
    write(folder / "data" / "normal", 60, abnormal=False, seed=0)
    write(folder / "data" / "odd", 20, abnormal=True, seed=1)
    config = job(folder / "data")
    preprocess(config, folder / "prepared")
    return folder, train(config, folder / "prepared", folder / "run")


def test_planted_anomalies_are_told(trained):
    folder, result = trained
    assert result.best["val_auroc"] > 0.95
    assert (folder / "run" / "calibration.json").is_file()
    result = evaluate(folder / "run")
    assert result.measures["auroc"] > 0.95 and (folder / "run" / "evaluate" / "val" / "report.html").is_file()


def test_the_map_says_where(trained, tmp_path):
    folder, _ = trained
    settings = Run.open(folder / "run").config.predict.model_copy(update={"overlays": True})
    inputs = sorted((folder / "data" / "odd").iterdir())[:4]
    predict(folder / "run", inputs, tmp_path / "out", settings=settings)
    for path in inputs:
        heat = np.load(tmp_path / "out" / f"{path.stem}_anomaly.npy")
        assert heat.shape == (20, 24) and heat.dtype == np.float32
        assert heat[SPOT].mean() > 2 * np.delete(heat, range(8, 17), axis=1).mean()
        assert (tmp_path / "out" / "overlays" / f"{path.stem}.png").is_file()
    with open(tmp_path / "out" / "predictions.csv", newline="") as stream:
        assert list(next(iter(csv.DictReader(stream)))) == ["case", "predicted", "normal", "odd"]
    predict(folder / "run", inputs[:1], tmp_path / "out", force=True)
    assert len(list((tmp_path / "out").glob("*_anomaly.npy"))) == 1


def test_normal_images_alone_are_enough(trained, tmp_path):
    data = {"root": trained[0] / "data", "format": "images", "images": "normal"}
    config = job(tmp_path, data=data)
    preprocess(config, tmp_path / "prepared")
    assert Prepared.open(tmp_path / "prepared").plan.classes == ["normal", "abnormal"]
    best = train(config, tmp_path / "prepared", tmp_path / "run", smoke=True).best
    assert "val_auroc" not in best and not (tmp_path / "run" / "calibration.json").exists()
    evaluate(tmp_path / "run")
    summary = predict(tmp_path / "run", [trained[0] / "data" / "odd"], tmp_path / "out")
    assert summary.done == 20


@pytest.mark.parametrize(
    ("changes", "reason"),
    [
        ({"task": "segmentation"}, "autoencoder: expected task: classification"),
        ({"model": {"name": "autoencoder", "members": 2}}, "expected one network"),
        ({"train": {"learn_from": "images"}}, "which needs none anyway"),
    ],
)
def test_settings_that_do_not_go_together(changes, reason):
    with pytest.raises(ConfigError, match=reason):
        from_dict({"task": "classification", "model": {"name": "autoencoder"}} | changes, name="x")


def test_what_cannot_be_learned_is_refused(trained, tmp_path):
    folder, _ = trained
    wrong = job(folder / "data").model_copy(update={"seed": 2})
    records = [record for record in Prepared.open(folder / "prepared").records if record.classes == ("odd",)]
    task = Run.open(folder / "run").task
    with pytest.raises(DataError, match="no training case of the class normal"):
        task.training_set(Prepared.open(folder / "prepared"), records)
    three = Prepared.open(folder / "prepared").plan.model_copy(update={"classes": ["a", "b", "c"]})
    with pytest.raises(ConfigError, match="two classes; the data have 3"):
        type(task)(wrong, three)
