"""A residual network of 18 layers sized to its input, for pictures and volumes (He et al. 2016, order of 2016b)."""

from collections.abc import Sequence

import keras
from keras import layers

from medcli.models.blocks import conv_block, convolution, normalization


def build_resnet18(
    input_shape,
    num_outputs: int,
    *,
    width: int = 32,
    stages: int = 4,
    blocks: int = 2,
    activation: str = "relu",
    norm: str = "batch",
    dropout: float = 0.0,
) -> keras.Model:
    """A stem, `stages` stages of `blocks` residual blocks, mean over space, logits.

    The stem keeps the resolution of small inputs (longest side up to 64) and halves or quarters larger ones, so that
    the last stage still sees about 4 to 16 positions per axis.

    Args:
        input_shape: (row, column, channel) or (plane, row, column, channel).
        num_outputs: Logits, float32 under every dtype policy.
        width: Filters of the first stage; doubled at every stage.
    """
    axes = len(input_shape) - 1
    inputs = x = keras.Input(input_shape, name="image")
    longest = max(input_shape[:-1])
    x = conv_block(x, width, kernel=3 if longest <= 64 else 5, stride=1 if longest <= 64 else 2, norm=norm,
                   activation=activation, name="stem")  # fmt: skip
    if longest > 160:
        pooling = {2: layers.MaxPooling2D, 3: layers.MaxPooling3D}[axes]
        x = pooling(3, strides=2, padding="same", name="stem_pool")(x)
    for stage in range(stages):
        for block in range(blocks):
            stride = 2 if stage > 0 and block == 0 else 1
            x = residual_block(
                x, width * 2**stage, stride=stride, norm=norm, activation=activation,
                name=f"stage{stage + 1}_block{block + 1}",
            )  # fmt: skip
    pooling = {2: layers.GlobalAveragePooling2D, 3: layers.GlobalAveragePooling3D}[axes]
    x = pooling(name="mean")(x)
    x = layers.Dropout(dropout, name="dropout")(x) if dropout else x
    outputs = layers.Dense(num_outputs, dtype="float32", name="logits")(x)
    return keras.Model(inputs, outputs, name="resnet18")


def residual_block(x, filters: int, *, stride: int | Sequence[int], norm: str, activation: str, name: str):
    """Two 3x3 convolutions and a shortcut, which is projected where the shape changes."""
    axes = len(x.shape) - 2
    shortcut = x
    strided = stride != 1 if isinstance(stride, int) else any(step != 1 for step in stride)
    if strided or x.shape[-1] != filters:
        if strided:
            pooling = {2: layers.AveragePooling2D, 3: layers.AveragePooling3D}[axes]
            shortcut = pooling(stride, padding="same", name=f"{name}_shortcut_pool")(shortcut)
        shortcut = convolution(
            filters, axes=axes, kernel=1, use_bias=norm == "none", name=f"{name}_shortcut"
        )(shortcut)
        normalise = normalization(norm, f"{name}_shortcut_norm")
        shortcut = normalise(shortcut) if normalise is not None else shortcut
    x = conv_block(x, filters, stride=stride, norm=norm, activation=activation, name=f"{name}_1")
    x = conv_block(x, filters, norm=norm, activation=None, name=f"{name}_2")
    x = layers.Add(name=f"{name}_add")([x, shortcut])
    return layers.Activation(activation, name=f"{name}_{activation}")(x)
