"""Several networks that answer together, against each of them asked by itself."""

from dataclasses import replace

import numpy as np
import pytest

from medcli.boxes import Boxes
from medcli.calibration import Calibration
from medcli.case import Case
from medcli.config.schema import Config
from medcli.image import Image
from medcli.metrics.fusion import fuse
from medcli.prediction.predictor import Predictor
from medcli.preprocessing.plan import Intensity, Plan
from medcli.run import Run
from medcli.sliding import Slabs
from tests.ensemble_records import record
from tests.made_up import prepared_folder

keras = pytest.importorskip("keras")

from medcli.preprocessing.prepared import Prepared  # noqa: E402
from medcli.tasks.base import Ensembled  # noqa: E402
from medcli.tasks.choose import task_for  # noqa: E402
from medcli.tasks.ensemble import Ensemble, MeanNetwork  # noqa: E402


@pytest.mark.parametrize("task", ["segmentation", "classification", "regression"])
def test_networks_without_training(tmp_path, task):
    settings = {"model": {"name": "auto" if task == "segmentation" else "cnn", "width": 4, "stages": 2}}
    config = prepared_folder(tmp_path / "prepared", task, cases=4, **settings)
    prepared = Prepared.open(tmp_path / "prepared")
    keras.utils.set_random_seed(1)
    tasks = [task_for(config, prepared.plan) for _ in range(3)]
    models = tuple(one.build_model() for one in tasks)
    images = [prepared.image(record) for record in prepared.records[:2]]
    alone = [one.predict(model, images) for one, model in zip(tasks, models, strict=True)]
    together = Ensemble(config, prepared.plan, tasks)
    assert isinstance(together, Ensembled) and not isinstance(tasks[0], Ensembled)
    found, two = together.predict(models, images), together.predict_by((0, 2), models, images)
    if task == "segmentation":
        wholes = np.array([[result.whole() for result in results] for results in alone])
        np.testing.assert_allclose(found[1].whole(), wholes[:, 1].mean(0), atol=2e-6)
        np.testing.assert_allclose(two[0].whole(), wholes[[0, 2], 0].mean(0), atol=2e-6)
        np.testing.assert_array_equal(together.predict_by((1,), models, images)[0].whole(), wholes[1, 0])
    else:
        np.testing.assert_array_equal(found[1], [results[1] for results in alone])
        np.testing.assert_array_equal(two[0], [alone[0][0], alone[2][0]])


@pytest.mark.parametrize("independent", [False, True])
def test_the_mean_of_networks_is_one_of_probabilities(independent):
    import tensorflow as tf

    logits = np.random.default_rng(0).normal(0, 3, (2, 4, 5, 3)).astype(np.float32)
    chance = tf.sigmoid if independent else tf.nn.softmax
    joined = MeanNetwork(
        [lambda *_, k=k, **__: tf.constant(logits[k]) for k in range(2)], independent=independent
    )
    expected = (chance(logits[0]).numpy() + chance(logits[1]).numpy()) / 2
    np.testing.assert_allclose(chance(joined(None)).numpy(), expected, rtol=1e-4, atol=1e-7)


class Says:
    """A task of one answer."""

    def __init__(self, plan, answer):
        self.plan, self.answer = plan, answer

    def predict(self, model, images):
        return [self.answer] * len(images)


def plan_for(task: str, **more) -> Plan:
    return Plan(
        task=task, dimensions=2, classes=["a", "b"], channels=1, color="grey", intensity=[Intensity(kind="none")],
        batch_size=2, stages=2, **more,
    )  # fmt: skip


def test_patches_of_different_sizes_are_averaged_image_by_image():
    plans = [plan_for("segmentation", patch=[4, 4]), plan_for("segmentation", patch=[8, 8])]
    answers = [Slabs.of(np.full((5, 6, 3), value, np.float32)) for value in (0.2, 0.4)]
    tasks = [Says(plan, answer) for plan, answer in zip(plans, answers, strict=True)]
    together = Ensemble(Config(task="segmentation"), plans[0], tasks)
    np.testing.assert_allclose(together.predict((None, None), [None])[0].whole(), 0.3, rtol=1e-6)


def test_boxes_are_fused_and_those_of_one_network_left_as_they_are():
    plan = plan_for("detection", size=[32, 32])
    boxes = [
        Boxes.of([[0, 0, 10, 4], [0, 0, 10, 4.2]], [0, 0], [0.8, 0.4]),
        Boxes.of([[1, 0, 11, 4]], [0], [0.6]),
    ]
    together = Ensemble(Config(task="detection"), plan, [Says(plan, one) for one in boxes])
    (found,) = together.predict((None, None), [None])
    np.testing.assert_array_equal(found.corners, fuse(boxes, iou=0.55).corners)
    assert together.predict_by((0,), (None, None), [None])[0] is boxes[0]


# ---- the predictor


OPINIONS = np.float32([[0.9, 0.1], [0.5, 0.5], [0.1, 0.9]])


class Opinions:
    """An ensemble of three networks that say `OPINIONS`, whatever they see."""

    def predict_by(self, voters, models, images):
        self.asked = tuple(voters)
        return [OPINIONS[list(voters)] for _ in images]


class Squaring(Calibration):
    """Squares probabilities and leaves their sum: easy to follow."""

    def scaled(self, probabilities):
        return probabilities**2


@pytest.fixture
def predictor(tmp_path):
    """Cases c0, c1, c2 each held out by the network of their number; c3 is new."""
    config, plan = Config(task="classification"), plan_for("classification", size=[4, 4])
    members = tuple(
        Run(tmp_path, config, plan, tuple(record(f"c{n}", "val" if n == own else "train") for n in range(3)))
        for own in range(3)
    )
    run = Run(tmp_path, config, plan, (), members, folds=True)
    image = Image(np.zeros((4, 4, 1), np.uint8))
    return Predictor(run, Opinions(), (None,) * 3).reading(lambda case: image)


def predicted(predictor: Predictor, *names: str) -> dict[str, list[float]]:
    outcomes = predictor.predict_cases([Case(name, ()) for name in names])
    return {case.name: outcome.probabilities.tolist() for case, _, outcome in outcomes}


def test_new_images_are_seen_by_all_and_held_out_ones_by_who_did_not_train_on_them(predictor):
    assert predicted(predictor, "c0", "c3") == {
        "c0": pytest.approx([0.5, 0.5]),
        "c3": pytest.approx([0.5, 0.5]),
    }
    found = predicted(predictor.held_out(), "c2", "c0", "c3", "c1")
    assert found == {
        name: pytest.approx(OPINIONS[n].tolist()) for n, name in enumerate(["c0", "c1", "c2"])
    } | {"c3": pytest.approx([0.5, 0.5])}


def test_each_fold_is_calibrated_by_itself_but_other_ensembles_as_a_whole(predictor):
    """By hand: of 0.9, 0.5, 0.1 the mean square is (0.81 + 0.25 + 0.01) / 3, the square of the mean 0.25."""
    squaring = Squaring.model_construct()
    folds = replace(predictor, calibration=squaring)
    assert predicted(folds, "new")["new"][0] == pytest.approx(1.07 / 3)
    others = replace(folds, run=replace(folds.run, folds=False))
    assert predicted(others, "new")["new"][0] == pytest.approx(0.25)
