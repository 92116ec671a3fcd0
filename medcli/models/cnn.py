"""The textbook network: stages of convolution and pooling, then a dense head."""

import keras
from keras import layers

from medcli.models.blocks import convolution


def build_cnn(
    input_shape,
    num_outputs: int,
    *,
    width: int = 32,
    stages: int = 2,
    activation: str = "relu",
    dropout: float = 0.0,
) -> keras.Model:
    """`stages` times (3x3 convolution, activation, 2x2 max pooling), doubling the filters, then a dense layer of 64.

    Args:
        input_shape: (row, column, channel) or (plane, row, column, channel).
        num_outputs: Logits; the output is float32 under every dtype policy.
    """
    axes = len(input_shape) - 1
    pooling = {2: layers.MaxPooling2D, 3: layers.MaxPooling3D}[axes]
    inputs = x = keras.Input(input_shape, name="image")
    for stage in range(stages):
        name = f"stage{stage + 1}"
        x = convolution(width * 2**stage, axes=axes, use_bias=True, name=f"{name}_conv")(x)
        x = layers.Activation(activation, name=f"{name}_{activation}")(x)
        x = pooling(2, padding="same", name=f"{name}_pool")(x)
    x = layers.Flatten(name="flatten")(x)
    x = layers.Dense(64, activation=activation, name="hidden")(x)
    x = layers.Dropout(dropout, name="dropout")(x) if dropout else x
    outputs = layers.Dense(num_outputs, dtype="float32", name="logits")(x)
    return keras.Model(inputs, outputs, name="cnn")
