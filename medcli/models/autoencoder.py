"""A convolutional autoencoder: through a narrow middle and back, so that only what is usual can be drawn again."""

import math
from typing import Any

import keras
from keras import layers, ops

from medcli.models.blocks import conv_block, convolution

SCALE = "score_scale"


@keras.saving.register_keras_serializable(package="medcli")
class ScoreScale(layers.Layer):
    """Passes its input on, and keeps what an error is compared with: centre and deviation of the log of the errors of
    usual cases. Learned after training, not by gradients."""

    def build(self, input_shape):
        self.centre = self.add_weight(
            name="centre", shape=(), initializer="zeros", trainable=False, dtype="float32"
        )
        self.deviation = self.add_weight(
            name="deviation", shape=(), initializer="ones", trainable=False, dtype="float32"
        )

    def call(self, inputs):
        return ops.cast(inputs, "float32")


def build_autoencoder(
    input_shape, *, width: int = 32, stages: int = 3, activation: str = "relu", norm: str = "batch"
) -> keras.Model:
    """Image to reconstruction, float32 of the same shape.

    `stages` times a convolution and one of stride 2, to a map of width / 4 channels, and the same way back.

    Args:
        input_shape: (row, column, channel) or (plane, row, column, channel).
        width: Filters of the first stage; doubled at every stage.
    """
    axes = len(input_shape) - 1
    style: dict[str, Any] = {"norm": norm, "activation": activation}
    sizes = [tuple(input_shape[:-1])]
    inputs = x = keras.Input(input_shape, name="image")
    for stage in range(stages):
        x = conv_block(x, width * 2**stage, **style, name=f"down{stage + 1}_1")
        x = conv_block(x, width * 2**stage, stride=2, **style, name=f"down{stage + 1}_2")
        sizes.append(tuple(math.ceil(size / 2) for size in sizes[-1]))
    x = convolution(max(2, width // 4), axes=axes, kernel=1, use_bias=True, name="middle")(x)
    larger = {2: layers.UpSampling2D, 3: layers.UpSampling3D}[axes]
    cut = {2: layers.Cropping2D, 3: layers.Cropping3D}[axes]
    for stage in reversed(range(stages)):
        x = larger(2, name=f"up{stage + 1}_larger")(x)
        rest = tuple(
            (0, 2 * small - size) for small, size in zip(sizes[stage + 1], sizes[stage], strict=True)
        )
        x = cut(rest, name=f"up{stage + 1}_cut")(x)
        x = conv_block(x, width * 2**stage, **style, name=f"up{stage + 1}_1")
    x = convolution(input_shape[-1], axes=axes, kernel=1, use_bias=True, name="drawn")(x)
    return keras.Model(inputs, ScoreScale(name=SCALE, dtype="float32")(x), name="autoencoder")
