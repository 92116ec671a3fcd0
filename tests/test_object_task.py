"""The task of single objects, in pictures and volumes: targets, loss, validation, what it predicts."""

import numpy as np
import pytest

tf = pytest.importorskip("tensorflow")

from medcli.datasets.feed import feed  # noqa: E402
from medcli.datasets.objects import depths  # noqa: E402
from medcli.files import write_array  # noqa: E402
from medcli.instances.learn import FILE, learn, rule_of  # noqa: E402
from medcli.losses.objects import depth_loss, object_loss  # noqa: E402
from medcli.losses.segmentation import IGNORE, dice_cross_entropy  # noqa: E402
from medcli.preprocessing.instances import numbers_of, packed  # noqa: E402
from medcli.preprocessing.plan import save_plan  # noqa: E402
from medcli.preprocessing.prepared import Prepared, label_path  # noqa: E402
from medcli.tasks.choose import task_for  # noqa: E402
from medcli.tasks.objects import ObjectSegmentation  # noqa: E402
from tests.made_up import prepared_folder  # noqa: E402


@pytest.fixture(params=[2, 3])
def made(request, tmp_path):
    """Each disc of the made-up folder is cut into two objects along its middle column."""
    settings = {
        "train": {"augment": "strong", "foreground": 1.0},
        "model": {"width": 4, "deep_supervision": True},
    }
    config = prepared_folder(tmp_path / "p", "segmentation", dimensions=request.param, **settings)
    prepared = Prepared.open(tmp_path / "p")
    save_plan(prepared.plan.model_copy(update={"objects": "instances"}), tmp_path / "p" / "plan.yaml")
    for record in prepared.records:
        inside = np.load(label_path(tmp_path / "p", record.key))
        columns = np.nonzero(inside)[-1]
        right = np.arange(inside.shape[-1]) > columns.mean()
        write_array(label_path(tmp_path / "p", record.key), packed(inside, inside * (1 + right)))
    prepared = Prepared.open(tmp_path / "p")
    return task_for(config, prepared.plan), prepared


def test_targets_are_classes_and_depths_of_the_warped_objects(made):
    task, prepared = made
    assert isinstance(task, ObjectSegmentation)
    training_set = task.training_set(prepared, prepared.split("train"))
    for images, targets in feed(training_set, batch_size=4, first_batch=0, last_batch=3):
        assert targets.shape == (*images.shape[:-1], 2) and targets.dtype == tf.uint8
        classes, depth = targets[..., 0].numpy(), targets[..., 1].numpy()
        assert classes.sum() > 20
        assert ((depth > 0) == (classes > 0)).all()
        assert (depth.reshape(4, -1).max(axis=1) == 255).all()
        assert images.numpy()[..., 0][classes == 1].mean() > images.numpy()[..., 0][classes == 0].mean() + 0.5


def test_a_network_learns_and_its_rule_is_chosen(made, tmp_path):
    task, prepared = made
    model = task.build_model()
    assert [output.shape[-1] for output in model.outputs] == [3]
    training_set = task.training_set(prepared, prepared.split("train"))
    optimizer, losses = tf.keras.optimizers.Adam(0.01), []
    for images, targets in feed(training_set, batch_size=4, first_batch=0, last_batch=6):
        with tf.GradientTape() as tape:
            loss = task.loss(targets, model(images, training=True))
        optimizer.apply_gradients(
            zip(tape.gradient(loss, model.trainable_weights), model.trainable_weights, strict=True)
        )
        losses.append(float(loss))
    assert np.isfinite(losses).all() and losses[-1] < losses[0]
    validation = prepared.split("val")
    measures = task.validate(model, prepared, validation)
    assert set(measures) == {"loss", "dice", "ap50_90"} and task.monitor in measures
    image = prepared.image(validation[0])
    maps = task.predict(model, [image])[0].whole()
    assert maps.shape == (*image.shape[:-1], 3)
    np.testing.assert_allclose(maps[..., :2].sum(-1), 1, atol=1e-5)
    assert maps[..., 2].min() >= 0 and maps[..., 2].max() <= 1 + 1e-6
    assert task.predict_with_features(model, [image])[0][0].shape == maps.shape
    odds, probability = task.score(model(image[None][(slice(None), *(slice(n) for n in task.plan.patch))]),
                                   tf.ones((1, *task.plan.patch)), tf.constant([0.0, 1.0]))  # fmt: skip
    assert odds.shape == probability.shape == (1,)
    (tmp_path / "model.keras").write_bytes(b"weights")
    learn(tmp_path, lambda image: task.predict(model, [image])[0].whole(), prepared, validation)
    assert (tmp_path / FILE).is_file() and rule_of(tmp_path) is not None


def test_the_loss_is_that_of_the_classes_and_of_the_depth():
    random = np.random.default_rng(0)
    numbers = np.zeros((1, 8, 12), int)
    numbers[0, 2:6, 1:5], numbers[0, 2:6, 5:11] = 1, 2
    depth = np.rint(255 * depths(numbers[0]))[None]
    labels = (numbers > 0).astype(np.uint8)
    labels[0, 0] = IGNORE
    targets = tf.constant(np.stack([labels, depth], -1).astype(np.uint8))
    logits = random.normal(size=(1, 8, 12, 3)).astype(np.float32)
    chance, wanted, known = 1 / (1 + np.exp(-logits[..., 2])), depth / 255, labels != IGNORE
    by_hand = -(wanted * np.log(chance) + (1 - wanted) * np.log(1 - chance))[known].mean()
    assert float(depth_loss(labels, tf.constant(wanted, tf.float32), logits[..., 2])) == pytest.approx(
        by_hand, rel=1e-5
    )
    whole = dice_cross_entropy(tf.constant(labels), tf.constant(logits[..., :2])) + by_hand
    assert float(object_loss(dice_cross_entropy, targets, tf.constant(logits))) == pytest.approx(
        float(whole), rel=1e-5
    )
    coarse = logits[:, ::2, ::2]
    both = object_loss(dice_cross_entropy, targets, [tf.constant(logits), tf.constant(coarse)])
    small = object_loss(dice_cross_entropy, targets[:, 1::2, 1::2], tf.constant(coarse))
    assert float(both) == pytest.approx((2 * float(whole) + float(small)) / 3, rel=1e-5)


def test_objects_keep_their_numbers_in_the_store(made):
    _, prepared = made
    record = prepared.records[0]
    assert prepared.label(record).dtype == np.uint8
    assert set(np.unique(numbers_of(prepared.objects(record)))) == {0, 1, 2}
