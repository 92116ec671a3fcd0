"""Learning on from given weights, and the mean of the last epochs: what moves when, how far, and after a stop."""

import os
import signal

import keras
import numpy as np
import pytest

tf = pytest.importorskip("tensorflow")

from medcli.config.schema import Config  # noqa: E402
from medcli.datasets.feed import feed  # noqa: E402
from medcli.models.blocks import FusedBatchNormalization  # noqa: E402
from medcli.models.panel import build_panel  # noqa: E402
from medcli.models.resnet import build_resnet18  # noqa: E402
from medcli.preprocessing.prepared import Prepared  # noqa: E402
from medcli.run import Run  # noqa: E402
from medcli.training import Stopped, train  # noqa: E402
from medcli.training.averages import Averages, Settling, Statistics  # noqa: E402
from medcli.training.fine_tuning import FineTuning, changed, fine_tuning, weighty  # noqa: E402
from medcli.training.optimizer import learning_rate_at  # noqa: E402
from tests.made_up import prepared_folder  # noqa: E402
from tests.test_training import same, weights  # noqa: E402


def small(outputs=2):
    return build_resnet18((8, 8, 1), outputs, width=2, stages=2, blocks=1)


# ---- pieces


def test_layers_that_were_filled_are_told_from_new_ones():
    model = small()
    layers = weighty(model)
    before = [layer.get_weights() for layer in layers]
    for layer in layers[:3]:
        layer.set_weights([array + 1 for array in layer.get_weights()])
    assert changed(layers, before) == layers[:3]
    for layer in layers:
        layer.set_weights([array + 1 for array in layer.get_weights()])
    assert changed(layers, before) == layers[:-1]  # what answers is new in any case


def config(**train_settings):
    return Config(task="classification", train=train_settings)


def test_rates_rise_geometrically_to_those_of_the_new_layers():
    model = keras.Sequential([keras.Input((4,)), *(keras.layers.Dense(4) for _ in range(4))])
    found = fine_tuning(config(backbone_rate=0.01), model, model.layers[:2], epochs=20)
    by_layer = [found.rates.get(layer.kernel.path, 1.0) for layer in model.layers]
    assert by_layer == pytest.approx([0.01, 0.1, 1.0, 1.0])
    assert found.epochs == 2  # a tenth


def test_auto_leaves_other_tasks_and_new_networks_alone():
    model = small()
    other = fine_tuning(Config(task="segmentation"), model, weighty(model), epochs=20)
    assert (other.rates, other.epochs) == ({}, 0)
    assert fine_tuning(config(), model, [], epochs=20) == FineTuning()
    assert fine_tuning(config(freeze_epochs=9), model, weighty(model), epochs=3).epochs == 2


@pytest.mark.parametrize("optimizer", ["AdamW", "SGD"])
def test_slowed_variables_go_so_much_of_the_way(optimizer):
    ends = {}
    for rate in (None, 0.25):
        one, other = keras.Variable([1.0, 2.0], name="one"), keras.Variable([3.0], name="other")
        slow = FineTuning(rates={} if rate is None else {one.path: rate})
        chosen = getattr(keras.optimizers, optimizer)(0.1)
        with slow.slowed([one, other]):
            chosen.apply([tf.constant([1.0, -3.0]), tf.constant([2.0])], [one, other])
        ends[rate] = one.numpy() - [1, 2], other.numpy() - 3
    np.testing.assert_allclose(ends[0.25][0], 0.25 * ends[None][0], rtol=1e-5)
    np.testing.assert_array_equal(ends[0.25][1], ends[None][1])


def test_frozen_normalisation_keeps_and_uses_its_statistics():
    model = small()
    norm = model.get_layer("stem_norm")
    x = tf.random.stateless_normal((4, 8, 8, 2), [0, 1]) * 3 + 1
    norm.trainable = False
    np.testing.assert_array_equal(norm(x, training=True), norm(x, training=False))
    assert not np.asarray(norm.moving_mean).any()
    norm.trainable = True
    norm(x, training=True)
    assert np.asarray(norm.moving_mean).all()


def test_the_rate_is_held_while_weights_are_averaged():
    settings = config(swa=0.25, warmup=0).train
    rates = [float(learning_rate_at(tf.constant(x), settings, 1.0)) for x in (0.5, 0.75, 0.9, 1.0)]
    assert rates == pytest.approx([0.5, 0.146447, 0.146447, 0.146447], abs=1e-5)


def test_collected_weights_are_the_mean_and_steps_are_no_longer_followed():
    model = small()
    averages = Averages(model, ema=0.9)
    kernel = model.get_layer("logits").kernel
    averages.rest(True)
    for count, value in enumerate([1.0, 2.0, 6.0]):
        kernel.assign(tf.fill(kernel.shape, value))
        averages.collect(count)
        averages.follow(tf.constant(count, tf.int64))
    with averages.swapped(collected=3):
        np.testing.assert_allclose(kernel, 3.0)
    np.testing.assert_allclose(kernel, 6.0)


@pytest.mark.parametrize("norm", ["own", "keras"])
def test_statistics_are_the_mean_of_those_of_the_batches(norm):
    if norm == "own":
        model = small()
        layer, conv = model.get_layer("stem_norm"), model.get_layer("stem_conv")
    else:
        inputs = keras.Input((8, 8, 1))
        conv, layer = keras.layers.Conv2D(2, 3, padding="same"), keras.layers.BatchNormalization()
        model = keras.Model(inputs, keras.layers.Dropout(0.5)(layer(conv(inputs))))
    batches = [(tf.random.stateless_normal((4, 8, 8, 1), [0, n]) * (n + 1), None) for n in range(3)]
    counters = [np.asarray(one) for one in model.variables if not keras.backend.is_float_dtype(one.dtype)]
    Statistics(model, lambda: batches).estimate()
    seen = [np.asarray(conv(images)) for images, _ in batches]
    np.testing.assert_allclose(layer.moving_mean, np.mean([x.mean((0, 1, 2)) for x in seen], 0), atol=1e-5)
    found, expected = np.asarray(layer.moving_variance), np.mean([x.var((0, 1, 2)) for x in seen], 0)
    np.testing.assert_allclose(found, expected, rtol=0.01)  # the fused kernel divides by n - 1
    assert layer.momentum > 0.9
    after = [np.asarray(one) for one in model.variables if not keras.backend.is_float_dtype(one.dtype)]
    assert same(counters, after)


@pytest.mark.parametrize("layer", [keras.layers.BatchNormalization, FusedBatchNormalization])
def test_statistics_forget_their_beginning_in_the_first_steps_and_then_follow_as_ever(layer):
    model = keras.Sequential([keras.Input((2, 2, 3)), layer(momentum=0.97)])
    norm, random = model.layers[-1], np.random.default_rng(0)
    settling, expected = Settling(model), np.zeros(3)
    for step in range(400):
        images = random.normal(5.0, 1.0, (4, 2, 2, 3)).astype(np.float32)
        keep = min(0.97, (1 + step) / (10 + step))
        expected = keep * expected + (1 - keep) * images.mean(axis=(0, 1, 2))
        settling.follow(tf.constant(step))
        with settling:
            model(images, training=True)
        if step == 20:
            assert np.asarray(norm.moving_mean) == pytest.approx(
                np.full(3, 5.0), abs=0.5
            )  # not 5 (1 - 0.97 ** 21)
    assert norm.momentum == 0.97
    np.testing.assert_allclose(norm.moving_mean, expected, rtol=1e-4)


def test_features_of_a_panel_are_standardised_by_statistics_that_settle_too():
    panel = build_panel(None, (24, 32, 3), 2, members=0, descriptors=True, visual_words=4)
    images = tf.constant(np.random.default_rng(0).normal(size=(4, 24, 32, 3)), tf.float32)
    settling = Settling(panel)
    for step in range(30):
        settling.follow(tf.constant(step))
        with settling:
            panel(images, training=True)
    layer = panel.get_layer("descriptors")
    np.testing.assert_allclose(
        layer.moving_mean, layer.features(images).numpy().mean(axis=0), rtol=0.01, atol=0.01
    )
    assert layer.get_config()["momentum"] == 0.97


# ---- whole trainings

SETTINGS = {
    "seed": 3,
    "deterministic": True,
    "model": {"name": "resnet18", "width": 2, "stages": 2},
    "train": {
        "epochs": 4, "steps_per_epoch": 3, "batch_size": 4, "validate_every": 1, "mixed_precision": "float32",
        "swa": 0.5, "keep": "last", "freeze_epochs": 1, "tensorboard": False,
    },
}  # fmt: skip


@pytest.fixture(scope="module")
def tuned(tmp_path_factory):
    """A run that starts from another one; the weights at the end of each of its epochs."""
    folder = tmp_path_factory.mktemp("tuned")
    config = prepared_folder(folder / "prepared", "classification", **SETTINGS)
    short = config.train.model_copy(update={"epochs": 1, "swa": 0.0})
    train(config.model_copy(update={"train": short}), folder / "prepared", folder / "first")
    start = config.model.model_copy(update={"weights": str(folder / "first")})
    config = config.model_copy(update={"model": start})
    ends: list[dict[str, np.ndarray]] = []
    with pytest.MonkeyPatch.context() as patch:
        from medcli.training import loop

        ended = loop.Loop._end_epoch

        def end_epoch(self):
            ends.append({one.path: np.asarray(one) for one in self.model.weights})
            ended(self)

        patch.setattr(loop.Loop, "_end_epoch", end_epoch)
        train(config, folder / "prepared", folder / "run")
    return folder, config, ends


def by_path(model):
    return {one.path: np.asarray(one) for one in model.weights}


def moves(before, after):
    return {path.split("/")[0] for path in before if not np.array_equal(before[path], after[path])}


def test_only_new_layers_learn_while_the_others_are_frozen(tuned):
    folder, _, ends = tuned
    start = by_path(Run.open(folder / "first").load_model())
    assert moves(start, ends[0]) == {"logits"}
    assert moves(ends[0], ends[1]) == {path.split("/")[0] for path in start}


def test_the_run_keeps_the_mean_of_the_last_epochs_with_statistics_of_its_own(tuned):
    folder, _, ends = tuned
    run = Run.open(folder / "run")
    model = run.load_model()
    kept = by_path(model)
    for path, array in kept.items():
        if "moving" not in path:
            np.testing.assert_allclose(array, (ends[2][path] + ends[3][path]) / 2, atol=1e-6)
    prepared = Prepared.open(folder / "prepared")
    data = feed(
        run.task.training_set(prepared, prepared.split("train")), batch_size=4, first_batch=0, last_batch=3
    )
    stem = model.get_layer("stem_conv")
    means = [np.asarray(stem(images)).mean((0, 1, 2)) for images, _ in data]
    np.testing.assert_allclose(kept["stem_norm/moving_mean"], np.mean(means, 0), atol=1e-5)


@pytest.mark.parametrize(("step", "lost"), [(4, True), (10, False)])
def test_stopped_and_resumed_gives_equal_weights(tuned, tmp_path, step, lost):
    """Between freezing and thawing, as the first step after it is lost; and while weights are collected."""
    folder, config, _ = tuned

    def interrupt(event):
        if event["event"] == "step" and event["step"] >= step:
            os.kill(os.getpid(), signal.SIGTERM)

    with pytest.raises(Stopped):
        train(config, folder / "prepared", tmp_path / "run", on_event=interrupt)
    newest = sorted((tmp_path / "run" / "checkpoints").glob("step-*.npz"))[-1]
    if lost:
        newest.unlink()
    train(config, folder / "prepared", tmp_path / "run", resume=True)
    assert same(weights(tmp_path / "run"), weights(folder / "run"))
