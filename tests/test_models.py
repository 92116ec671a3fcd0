"""Networks: shapes in and out, what their settings change, and that every weight learns."""

import numpy as np
import pytest

tf = pytest.importorskip("tensorflow")

import keras  # noqa: E402

from medcli.models.blocks import FusedInstanceNormalization  # noqa: E402
from medcli.models.resnet import build_resnet18  # noqa: E402
from medcli.models.unet import build_unet  # noqa: E402
from medcli.preprocessing.plan_network import residual_strides  # noqa: E402

STRIDES = [(1, 1, 1), (1, 2, 2), (2, 2, 2)]


@pytest.mark.parametrize("encoder", ["plain", "residual"])
def test_unet_gives_logits_on_the_grid_of_every_resolution(encoder):
    network = build_unet((6, 8, 12, 2), 3, strides=STRIDES, width=4, encoder=encoder)
    # Two levels above the coarsest; deep supervision leaves out the two coarsest but always gives the finest.
    assert [tuple(output.shape[1:]) for output in network.outputs] == [(6, 8, 12, 3)]
    four = build_unet((8, 16, 16, 1), 2, strides=[*STRIDES, (2, 2, 2)], width=4, encoder=encoder)
    assert [tuple(output.shape[1:]) for output in four.outputs] == [(8, 16, 16, 2), (8, 8, 8, 2)]


@pytest.mark.parametrize("encoder", ["plain", "residual"])
def test_every_weight_of_a_unet_gets_a_gradient(encoder):
    network = build_unet((16, 24, 1), 2, strides=[(1, 1), (2, 2), (2, 2)], width=4, encoder=encoder)
    images = np.random.default_rng(0).normal(size=(2, 16, 24, 1)).astype(np.float32)
    with tf.GradientTape() as tape:
        loss = tf.reduce_mean(network(images, training=True)[0][..., 1] ** 2)
    gradients = tape.gradient(loss, network.trainable_weights)
    assert [w.path for w, g in zip(network.trainable_weights, gradients, strict=True) if g is None] == []


def test_the_residual_encoder_has_1_3_4_6_blocks():
    network = build_unet((16, 16, 1), 2, strides=[(1, 1), *[(2, 2)] * 3], width=4, encoder="residual")
    adds = [layer.name for layer in network.layers if layer.name.endswith("_add")]
    assert [sum(name.startswith(f"down{stage}_") for name in adds) for stage in (1, 2, 3, 4)] == [1, 3, 4, 6]


@pytest.mark.parametrize("shape", [(3, 6, 5, 4), (3, 4, 6, 5, 4)])
@pytest.mark.parametrize("known_batch", [True, False])
def test_instance_normalisation_and_its_gradient_are_those_of_one_group_per_channel(shape, known_batch):
    x = tf.constant(np.random.default_rng(0).normal(3, 2, shape).astype(np.float32))
    ours, theirs = FusedInstanceNormalization(), keras.layers.GroupNormalization(groups=-1, epsilon=1e-5)
    results = []
    for layer in (ours, theirs):
        layer.build(shape)
        layer.gamma.assign([1.0, 2.0, 3.0, 4.0])
        layer.beta.assign([0.0, 1.0, -1.0, 2.0])

        @tf.function(input_signature=[tf.TensorSpec((shape[0] if known_batch else None, *shape[1:]))])
        def run(x, layer=layer):
            with tf.GradientTape() as tape:
                tape.watch(x)
                y = layer(x)
                total = tf.reduce_sum(y * tf.sin(3 * x))
            return y, *tape.gradient(total, [x, layer.gamma.value, layer.beta.value])

        results.append(run(x))
    for a, b in zip(*results, strict=True):
        np.testing.assert_allclose(a, b, rtol=1e-4, atol=1e-4)


def grids(network):
    """Positions after the stem and after every stage."""
    names = ["stem_pool" if any(layer.name == "stem_pool" for layer in network.layers) else "stem_relu"]
    names += [f"stage{stage}_block2_relu" for stage in range(1, 9)]
    return [tuple(layer.output.shape[1:-1]) for layer in network.layers if layer.name in names]


@pytest.mark.parametrize("size", [(28, 28), (64, 80), (65, 65), (160, 120), (224, 288), (512, 512)])
def test_the_plan_gives_pictures_the_residual_network_that_they_had(size):
    before = build_resnet18((*size, 1), 2, width=2)
    now = build_resnet18((*size, 1), 2, width=2, strides=residual_strides(size, None))
    assert grids(now) == grids(before) and len(grids(now)) == 5
    assert [one.shape for one in now.weights] == [one.shape for one in before.weights]


def test_residual_networks_of_thick_planes_keep_them():
    # Planes 5 mm apart, pixels of 1 mm: they wait until pixels are 4 mm, then 20 planes are halved too.
    strides = residual_strides((20, 64, 48), (5.0, 1.0, 1.0))
    assert strides == ((1, 1, 1), (1, 1, 1), (1, 2, 2), (1, 2, 2), (2, 2, 2))
    network = build_resnet18((20, 64, 48, 1), 2, width=2, strides=strides)
    assert grids(network) == [(20, 64, 48)] * 2 + [(20, 32, 24), (20, 16, 12), (10, 8, 6)]


def test_residual_networks_stop_at_four_positions_and_get_a_fifth_stage_for_large_pictures():
    assert residual_strides((16, 12), None) == ((1, 1), (1, 1), (2, 2), (2, 2), (1, 1))
    assert len(residual_strides((513, 600), None)) == 6
    assert len(residual_strides((513, 600), None, asked=4)) == 5
    volume = residual_strides((8, 40, 40), None)  # the planes stop earlier than the pixels
    assert [step[0] for step in volume] == [1, 1, 2, 1, 1] and [step[1] for step in volume] == [1, 1, 2, 2, 2]
