"""A network that learns regions which overlap: training step, validation, prediction, explanation."""

import numpy as np
import pytest
from scipy import ndimage

tf = pytest.importorskip("tensorflow")

from medcli.datasets.feed import feed  # noqa: E402
from medcli.files import write_array  # noqa: E402
from medcli.preprocessing.prepared import Prepared, image_path, label_path  # noqa: E402
from medcli.tasks.choose import task_for  # noqa: E402
from medcli.tasks.segmentation import region_chances, regions_with_entropy  # noqa: E402
from tests.made_up import prepared_folder  # noqa: E402


@pytest.fixture(scope="module")
def trained(tmp_path_factory):
    """Discs with a rim (label 1) and a brighter middle (label 2); the regions are the whole and the middle."""
    folder = tmp_path_factory.mktemp("regions") / "p"
    config = prepared_folder(
        folder, "segmentation", model={"width": 8}, train={"augment": "none", "foreground": 1.0}
    )
    prepared = Prepared.open(folder)
    for record in prepared.records:
        whole = prepared.label(record) > 0
        middle = ndimage.binary_erosion(whole)
        write_array(label_path(folder, record.key), whole.astype(np.uint8) + middle)
        write_array(
            image_path(folder, record.key), prepared.image(record) + 3 * middle[..., None].astype(np.float32)
        )
    plan = prepared.plan.model_copy(
        update={"classes": ["whole", "middle"], "labels": ["rim", "inner"], "regions": [[1, 2], [2]]}
    )
    task = task_for(config, plan)
    tf.keras.utils.set_random_seed(0)
    model = task.build_model()
    optimizer = tf.keras.optimizers.AdamW(3e-3)

    @tf.function
    def step(images, targets):
        with tf.GradientTape() as tape:
            loss = task.loss(targets, model(images, training=True))
        optimizer.apply_gradients(
            zip(tape.gradient(loss, model.trainable_variables), model.trainable_variables, strict=True)
        )
        return loss

    samples = task.training_set(prepared, prepared.split("train"))
    losses = [float(step(*batch)) for batch in feed(samples, batch_size=8, first_batch=0, last_batch=120)]
    return task, model, prepared, losses


def test_the_loss_falls_and_both_regions_are_found(trained):
    task, model, prepared, losses = trained
    assert model.outputs[0].shape[-1] == 2
    assert np.mean(losses[-5:]) < 0.6 * np.mean(losses[:5])
    measures = task.validate(model, prepared, prepared.split("val"))
    assert set(measures) == {"loss", "dice", "dice_whole", "dice_middle"}
    assert measures["dice_whole"] > 0.6 and measures["dice_middle"] > 0.3


def test_probabilities_are_those_of_no_region_and_of_each(trained):
    task, model, prepared, _ = trained
    chances = task.predict(model, [prepared.image(prepared.records[0])])[0].whole()
    assert chances.shape[-1] == 3
    np.testing.assert_allclose(chances[..., 0], 1 - chances[..., 1:].max(-1), atol=2e-3)
    assert chances[..., 1:].sum(-1).max() > 1.2, "they overlap"


def test_a_region_can_be_explained(trained):
    task, model, prepared, _ = trained
    record = next(record for record in prepared.records if record.objects > 60)
    settings = {"most": 2, "windows": 1, "calibrated": lambda values: values}
    targets = task.targets(model, prepared.image(record), wanted=None, **settings)
    assert targets[0].class_index == 0 and targets[0].probability > 0.5
    region, chosen = targets[0].spec
    outputs = model(targets[0].image[None], training=False)
    odds, chance = task.score(outputs, region[None], chosen[None])
    logits = np.asarray(outputs[0] if isinstance(outputs, list) else outputs)[0, ..., 0]
    assert float(odds[0]) == pytest.approx(logits[region > 0].mean(), rel=1e-4)
    assert 0 < float(chance[0]) < 1


def test_the_entropy_is_the_sum_over_regions():
    logits = np.log(np.array([[[1.0, 1 / 3]]], np.float32))
    found = regions_with_entropy(tf.constant(logits)).numpy()[0, 0]
    np.testing.assert_allclose(found[:3], region_chances(tf.constant(logits)).numpy()[0, 0])
    assert found[3] == pytest.approx(1 - 0.25 * np.log2(0.25) - 0.75 * np.log2(0.75), abs=1e-5)
