"""Networks: shapes in and out, what their settings change, and that every weight learns."""

import numpy as np
import pytest

tf = pytest.importorskip("tensorflow")

from medcli.models.unet import build_unet  # noqa: E402

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
