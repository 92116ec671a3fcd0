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
    strides: Sequence[Sequence[int]] = (),
    activation: str = "relu",
    norm: str = "batch",
    dropout: float = 0.0,
) -> keras.Model:
    """A stem, `stages` stages of `blocks` residual blocks, mean over space, logits.

    Without `strides` the stem keeps the resolution of small inputs (longest side up to 64) and halves or quarters
    larger ones, so that the last stage sees about 4 to 16 positions per axis, and every stage but the first halves it.

    Args:
        input_shape: (row, column, channel) or (plane, row, column, channel).
        num_outputs: Logits, float32 under every dtype policy.
        width: Filters of the first stage; doubled at every stage.
        strides: Per axis, of the stem (where 4 is a stride of 2 and pooling) and on entering each stage, as of
            `Plan.strides`; not followed when they are for another number of stages.
    """
    axes = len(input_shape) - 1
    inputs = x = keras.Input(input_shape, name="image")
    longest = max(input_shape[:-1])
    if len(strides) != stages + 1:
        first = 1 if longest <= 64 else 2 if longest <= 160 else 4
        strides = [[first] * axes] + [[1 if stage == 0 else 2] * axes for stage in range(stages)]
    stem = [min(step, 2) for step in strides[0]]
    x = conv_block(x, width, kernel=3 if longest <= 64 else 5, stride=stem, norm=norm, activation=activation,
                   name="stem")  # fmt: skip
    if max(strides[0]) > 2:
        pooling = {2: layers.MaxPooling2D, 3: layers.MaxPooling3D}[axes]
        pooled = [3 if step > 2 else 1 for step in strides[0]]
        x = pooling(pooled, strides=[step // 2 if step > 2 else 1 for step in strides[0]], padding="same",
                    name="stem_pool")(x)  # fmt: skip
    for stage in range(stages):
        for block in range(blocks):
            x = residual_block(
                x, width * 2**stage, stride=strides[stage + 1] if block == 0 else [1] * axes, norm=norm,
                activation=activation, name=f"stage{stage + 1}_block{block + 1}",
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
