"""The U-Net for pictures and volumes (Ronneberger et al. 2015).

Strides per axis and deep supervision as in Isensee et al. 2021, the residual encoder as in Isensee et al. 2024
("nnU-Net Revisited").
"""

from collections.abc import Sequence
from typing import Any

import keras
from keras import layers

from medcli.models.blocks import conv_block, convolution
from medcli.models.resnet import residual_block
from medcli.preprocessing.network_cost import residual_blocks, stage_filters


def build_unet(
    input_shape,
    num_outputs: int,
    *,
    strides: Sequence[Sequence[int]],
    width: int = 32,
    activation: str = "relu",
    norm: str = "batch",
    dropout: float = 0.0,
    encoder: str = "plain",
    deep_supervision: bool = True,
    flat: bool = False,
) -> keras.Model:
    """An encoder of strided convolutions, a decoder of transposed ones.

    With the plain encoder there are two convolutions at every resolution, down and up; with the residual one
    `network_cost.RESIDUAL_BLOCKS` on the way down and one convolution on the way up.

    Args:
        input_shape: Spatial shape (None where it may vary) and channels.
        num_outputs: Classes with background; logits are float32 under every dtype policy.
        strides: Stride per axis on entering each stage; the first stage's must be all ones.
        deep_supervision: Also give logits at the lower resolutions but the two coarsest; the outputs are then a list
            from full to coarse resolution.
        flat: A 2D network over a volume: the planes of the input are channels, and the output, with one plane, is what
            it says of the middle one.
    """
    axes = len(input_shape) - 1 - flat
    stages = len(strides)
    filters = stage_filters(width, stages)
    style: dict[str, Any] = {"norm": norm, "activation": activation}

    inputs = x = keras.Input(input_shape, name="image")
    if flat:
        strides = [stride[1:] for stride in strides]
        x = layers.Permute((2, 3, 1, 4), name="planes_last")(x)
        x = layers.Reshape((*input_shape[1:3], input_shape[0] * input_shape[3]), name="planes_as_channels")(x)
    skips = []
    for stage in range(stages):
        name, stride = f"down{stage + 1}", tuple(strides[stage])
        if encoder == "residual":
            x = conv_block(x, filters[0], **style, name="stem") if stage == 0 else x
            for block in range(residual_blocks(stage)):
                step = stride if block == 0 else 1
                x = residual_block(x, filters[stage], stride=step, **style, name=f"{name}_block{block + 1}")
        else:
            x = conv_block(x, filters[stage], stride=stride, **style, name=f"{name}_1")
            x = conv_block(x, filters[stage], **style, name=f"{name}_2")
        skips.append(x)
    x = layers.Dropout(dropout, name="dropout")(x) if dropout else x

    upsample = {2: layers.Conv2DTranspose, 3: layers.Conv3DTranspose}[axes]
    levels: list[Any] = []
    for stage in reversed(range(stages - 1)):
        step = tuple(strides[stage + 1])
        x = upsample(filters[stage], step, strides=step, padding="same", name=f"up{stage + 1}_conv")(x)
        x = layers.Concatenate(name=f"up{stage + 1}_skip")([x, skips[stage]])
        x = conv_block(x, filters[stage], **style, name=f"up{stage + 1}_1")
        if encoder == "plain":
            x = conv_block(x, filters[stage], **style, name=f"up{stage + 1}_2")
        levels.insert(0, x)

    kept = levels[: max(1, stages - 2)] if deep_supervision else levels[:1]
    outputs = [
        logits(level, num_outputs, axes, name=f"logits{index + 1}") for index, level in enumerate(kept)
    ]
    if flat:
        outputs = [
            layers.Reshape((1, *output.shape[1:]), dtype="float32", name=f"plane{index + 1}")(output)
            for index, output in enumerate(outputs)
        ]
    return keras.Model(inputs, outputs if deep_supervision else outputs[0], name="unet")


def encoder_layers(model: keras.Model) -> tuple[str, ...]:
    """Names of what recognises, from fine to coarse; behind it begins what draws."""
    return tuple(layer.name for layer in model.layers if layer.name.startswith("down"))


def logits(x, num_outputs: int, axes: int, name: str):
    x = convolution(num_outputs, axes=axes, kernel=1, use_bias=True, name=name)(x)
    return layers.Activation("linear", dtype="float32", name=f"{name}_float32")(x)
