"""Learning from images alone: the loss, the views, collapse, and the start that it gives."""

import json

import numpy as np
import pytest

from medcli.config.loading import from_dict
from medcli.errors import ConfigError, UsageError
from medcli.metrics.neighbours import effective_rank, spread
from medcli.preprocessing.prepared import Prepared
from tests.made_up import prepared_folder

tf = pytest.importorskip("tensorflow")

from medcli.datasets.feed import feed  # noqa: E402
from medcli.datasets.views import ViewSet  # noqa: E402
from medcli.losses.views import vicreg  # noqa: E402
from medcli.run import Run  # noqa: E402
from medcli.tasks.views import collapsed  # noqa: E402
from medcli.training import train  # noqa: E402
from medcli.training.train import after_pretraining  # noqa: E402

SETTINGS = {
    "seed": 3,
    "deterministic": True,
    "model": {"name": "cnn", "width": 8},
    "train": {
        "learn_from": "images", "epochs": 4, "steps_per_epoch": 5, "validate_every": 2, "mixed_precision": "float32",
        "batch_size": 8,
    },
}  # fmt: skip


def by_hand(a, b):
    """VICReg with NumPy's own variance and covariance."""
    loss = 25 * ((a - b) ** 2).mean()
    for points in (a, b):
        loss += 25 * np.maximum(0, 1 - np.sqrt(points.var(axis=0, ddof=1) + 1e-4)).mean() / 2
        matrix = np.cov(points, rowvar=False)
        loss += (matrix[~np.eye(len(matrix), dtype=bool)] ** 2).sum() / len(matrix)
    return loss


def test_the_loss_is_that_of_the_paper():
    a, b = np.random.default_rng(0).normal(size=(2, 7, 5)) * [1, 0.5, 2, 1, 0.1]
    assert float(vicreg(tf.constant(a), tf.constant(b))) == pytest.approx(by_hand(a, b), rel=1e-5)


def test_alike_images_are_the_worst_that_can_be():
    same = tf.ones((8, 4))
    assert float(vicreg(same, same)) == pytest.approx(25 * (1 - 0.01))
    apart = tf.constant([[1.0, 1], [1, -1], [-1, 1], [-1, -1]])  # deviations above 1, no covariance
    assert float(vicreg(apart, apart)) == pytest.approx(0)


@pytest.mark.parametrize("dimensions", [2, 3])
def test_views_are_a_pure_function_of_the_batch_number(tmp_path, dimensions):
    config = prepared_folder(tmp_path / "prepared", "classification", dimensions=dimensions, **SETTINGS)
    prepared = Prepared.open(tmp_path / "prepared")
    data = ViewSet(config, prepared.plan, prepared, prepared.split("train"))
    batches = [images.numpy() for images, _ in feed(data, batch_size=3, first_batch=0, last_batch=3)]
    (again,) = (images.numpy() for images, _ in feed(data, batch_size=3, first_batch=2, last_batch=3))
    assert (
        batches[0].shape == (6, *prepared.image(prepared.records[0]).shape) and batches[0].dtype == np.float32
    )
    np.testing.assert_array_equal(batches[2], again)
    assert not np.allclose(batches[0][0::2], batches[0][1::2])


def test_the_views_of_an_image_stand_together(tmp_path):
    unchanged = {"train": SETTINGS["train"] | {"augment": "none", "flips": []}}
    config = prepared_folder(tmp_path / "prepared", "classification", **(SETTINGS | unchanged))
    prepared = Prepared.open(tmp_path / "prepared")
    records = prepared.split("train")
    data = ViewSet(config, prepared.plan, prepared, records)
    views = data.views(np.stack([prepared.image(record) for record in records]), 0).numpy()
    for number, record in enumerate(records):
        for view in views[2 * number : 2 * number + 2]:
            np.testing.assert_allclose(view, prepared.image(record), atol=1e-4)


def test_collapse_is_seen():
    random = np.random.default_rng(0)
    healthy = random.normal(size=(200, 16))
    assert spread(healthy) == pytest.approx(1, abs=0.05) and effective_rank(healthy) > 15
    alike = np.ones((200, 16)) + 1e-4 * healthy
    assert spread(alike) < 0.001 and spread(np.ones((5, 4))) == 0 == effective_rank(np.ones((5, 4)))
    line = random.normal(size=(200, 1)) * np.ones((1, 16))
    assert effective_rank(line) == pytest.approx(1)
    assert effective_rank(np.diag([3.0, 1]) - 0.0) == pytest.approx(
        1
    )  # two points differ along one direction
    measures = [
        {"val_spread": spread(x), "val_effective_rank": effective_rank(x)} for x in (healthy, alike, line)
    ]
    assert [collapsed(one) for one in measures] == [False, True, True]


@pytest.fixture(scope="module")
def pretrained(tmp_path_factory):
    folder = tmp_path_factory.mktemp("pretrained")
    config = prepared_folder(folder / "prepared", "classification", cases=24, **SETTINGS)
    return folder, config, train(config, folder / "prepared", folder / "run")


def test_a_run_like_any_other(pretrained):
    folder, _, result = pretrained
    names = {path.name for path in (folder / "run").iterdir()}
    assert names >= {
        "config.yaml",
        "plan.yaml",
        "model.keras",
        "checkpoints",
        "history.csv",
        "curves.png",
        "result.json",
    }
    assert "calibration.json" not in names
    assert {"val_loss", "val_spread", "val_effective_rank"} <= set(result.best)
    assert result.epochs == 4 and not collapsed(result.best)


def test_it_resumes_to_the_same_result(pretrained):
    folder, config, result = pretrained
    last = sorted((folder / "run" / "checkpoints").glob("step-*.npz"))[-1]
    with np.load(last) as content:
        expected = {name: content[name] for name in content.files if name != "state"}
    last.unlink()
    again = train(config, folder / "prepared", folder / "run", resume=True)
    with np.load(last) as content:
        assert all(np.array_equal(content[name], value) for name, value in expected.items())
    assert again.best == result.best


def test_its_weights_are_the_start_of_a_classifier(pretrained, tmp_path):
    folder, config, _ = pretrained
    settings = config.train.model_copy(update={"learn_from": "labels", "epochs": 1, "steps_per_epoch": 1})
    model = config.model.model_copy(update={"weights": str(folder / "run")})
    events = []
    train(
        config.model_copy(update={"train": settings, "model": model}), folder / "prepared", tmp_path / "run",
        on_event=events.append,
    )  # fmt: skip
    (told,) = [event for event in events if event["event"] == "weights"]
    assert (told["filled"], told["total"]) == (
        6,
        8,
    )  # two convolutions, the dense layer of 64; not the logits
    used = Run.open(tmp_path / "run").config.train
    assert (used.freeze_epochs, used.backbone_rate) == (0, 1.0)
    asked = settings.model_copy(update={"backbone_rate": 0.3})
    kept = after_pretraining(
        config.model_copy(update={"train": asked, "model": model}), folder / "run" / "model.keras"
    )
    assert (kept.train.freeze_epochs, kept.train.backbone_rate) == (0, 0.3)
    assert after_pretraining(kept, tmp_path / "run" / "model.keras") is kept  # it learned from labels


def test_it_answers_nothing_but_can_be_embedded(pretrained, tmp_path):
    from medcli.case import Case
    from medcli.embedding.work import embed
    from medcli.evaluation.evaluate import evaluate
    from medcli.prediction.predict import predict_cases

    run = Run.open(pretrained[0] / "run")
    with pytest.raises(UsageError, match="has no answers; start a training from it"):
        predict_cases(run, [], tmp_path / "out")
    with pytest.raises(UsageError, match="has no answers"):
        evaluate(run)
    from PIL import Image as Pillow

    from medcli.case import Source

    cases = []
    for number in range(4):
        path = tmp_path / f"{number}.png"
        Pillow.fromarray(np.random.default_rng(number).integers(0, 255, (16, 24), np.uint8)).save(path)
        cases.append(Case(path.stem, (Source(path),)))
    summary = embed(run, cases, tmp_path / "out")
    assert summary.features == 64 and json.loads((tmp_path / "out" / "embed.json").read_text())["cases"] == 4


@pytest.mark.parametrize(
    ("changes", "reason"),
    [
        ({"task": "segmentation"}, "expected task: classification"),
        ({"model": {"name": "features"}}, "expected one network"),
        ({"model": {"members": 3}}, "expected one network"),
    ],
)
def test_what_cannot_be_learned_from_images_alone_is_refused(changes, reason):
    with pytest.raises(ConfigError, match=reason):
        from_dict({"task": "classification", "train": {"learn_from": "images"}} | changes, name="x")


def test_images_without_labels_are_enough(tmp_path):
    from PIL import Image as Pillow

    from medcli.errors import DataError
    from medcli.preprocessing.build import preprocess

    random = np.random.default_rng(0)
    (tmp_path / "images" / "deeper").mkdir(parents=True)
    for number in range(12):
        folder = tmp_path / "images" / ("deeper" if number % 2 else "")
        Pillow.fromarray(random.integers(0, 255, (16, 16), np.uint8)).save(folder / f"{number}.png")
    job = {
        "task": "classification", "name": "x", "data": {"root": tmp_path, "format": "images", "images": "images"},
        "preprocess": {"workers": 1},
    }  # fmt: skip
    preprocess(from_dict(job, name="x"), tmp_path / "prepared")
    prepared = Prepared.open(tmp_path / "prepared")
    assert len(prepared.records) == 12 and prepared.split("val")
    with pytest.raises(DataError, match="use `medcli pretrain`"):
        train(from_dict(job, name="x"), tmp_path / "prepared", tmp_path / "run")
    alone = from_dict(
        job | {"train": {"learn_from": "images"}, "model": {"name": "cnn", "width": 4}}, name="x"
    )
    best = train(alone, tmp_path / "prepared", tmp_path / "run", smoke=True).best
    assert "val_spread" in best and "val_neighbours_auroc" not in best
