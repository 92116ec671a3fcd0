"""Normalisation folded into convolutions: the same outputs, at every layer that others read."""

import numpy as np
import pytest

pytest.importorskip("tensorflow")

import keras

from medcli.config.schema import Config
from medcli.models.blocks import FusedBatchNormalization
from medcli.models.fold import fold_norms
from medcli.preprocessing.plan import Intensity, Plan
from medcli.tasks.choose import task_for
from medcli.tasks.features import with_features
from medcli.tasks.running import first

NETWORKS = {
    "unet 2D": ("segmentation", {"width": 4}, [16, 24], [[1, 1], [2, 2], [2, 2]]),
    "unet 3D": ("segmentation", {"width": 4, "encoder": "residual"}, [8, 8, 12], [[1, 1, 1], [1, 2, 2]]),
    "resnet18": ("classification", {"name": "resnet18", "width": 4}, [32, 40], []),
    "cnn": ("classification", {"name": "cnn", "width": 4}, [32, 40], []),
    "yolo": ("detection", {}, [64, 64], []),
}


def network(task, model, size, strides):
    plan = Plan(
        task=task, dimensions=len(size), classes=["a", "b"], channels=1, color="as_is", batch_size=2,
        intensity=[Intensity(kind="none")], stages=len(strides) or 3, strides=strides,
        patch=size if task == "segmentation" else None, size=None if task == "segmentation" else size,
    )  # fmt: skip
    built = task_for(Config.model_validate({"task": task, "model": model}), plan).build_model()
    random = np.random.default_rng(0)
    norms = [layer for layer in built.layers if isinstance(layer, FusedBatchNormalization)]
    for norm in norms:  # as after a training
        channels = norm.gamma.shape[0]
        for weight, low, high in ((norm.gamma, 0.5, 1.5), (norm.beta, -0.2, 0.2)):
            weight.assign(random.uniform(low, high, channels))
        norm.moving_mean.assign(random.uniform(-0.2, 0.2, channels))
        norm.moving_variance.assign(random.uniform(0.5, 2, channels))
    return built, norms


def of_all(model, images):
    model, _ = with_features(model)
    return [np.asarray(one) for one in keras.tree.flatten(model(images, training=False))]


@pytest.mark.parametrize("name", NETWORKS)
def test_outputs_and_features_stay(name):
    task, model, size, strides = NETWORKS[name]
    built, norms = network(task, model, size, strides)
    images = np.random.default_rng(1).normal(size=(2, *size, 1)).astype(np.float32)
    before = of_all(built, images)
    names = [layer.name for layer in built.layers]
    assert fold_norms(built) == len(norms)
    after = of_all(built, images)
    for a, b in zip(before, after, strict=True):
        np.testing.assert_allclose(b, a, rtol=1e-4, atol=1e-4 * np.abs(a).max())
    assert [layer.name for layer in built.layers] == names
    assert fold_norms(built) == 0  # once is enough


def test_a_convolution_that_others_read_stays():
    image = keras.Input((8, 8, 1))
    x = keras.layers.Conv2D(3, 3, use_bias=False, name="shared")(image)
    y = FusedBatchNormalization(name="norm")(x)
    biased = FusedBatchNormalization(name="second")(keras.layers.Conv2D(3, 3)(y))
    bent = FusedBatchNormalization(name="third")(
        keras.layers.Conv2D(3, 3, use_bias=False, activation="relu")(y)
    )
    model = keras.Model(image, [x, first([biased]), bent])
    assert fold_norms(model) == 0
