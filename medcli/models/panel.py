"""Several networks side by side in one, each trained by its own loss; their answers are averaged."""

from collections.abc import Callable

import keras
from keras import layers, ops

from medcli.models.descriptors import ObjectDescriptors
from medcli.models.joined import Columns, Picture
from medcli.models.visual_words import VisualWords

LOGITS = "_logits"
"""Ends the name of a linear member's last layer; before it stands the name of its features."""


@keras.saving.register_keras_serializable(package="medcli")
class Panel(layers.Layer):
    """Logits of the members, a list of (batch, classes).

    In training (batch, members, classes), so that every member has a loss of its own (members that share one loss
    lean on one another and err alike); else their mean, (batch, classes). The mean of logits is the geometric mean of
    the probabilities (Hinton 2002, products of experts).
    """

    def call(self, inputs, training=False):
        stacked = ops.stack(inputs, axis=1)
        return stacked if training else ops.mean(stacked, axis=1)

    def compute_output_shape(self, input_shape):
        return input_shape[0]


def build_panel(
    build: Callable[[], keras.Model],
    input_shape,
    num_outputs: int,
    *,
    members: int,
    descriptors: bool = False,
    visual_words: int = 0,
    channels: int | None = None,
) -> keras.Model:
    """`members` networks as `build` makes them, and linear ones: with `descriptors` on `ObjectDescriptors`, with
    `visual_words` on so many `VisualWords`.

    Args:
        channels: Of the image, when clinical columns come behind them; the linear members see these too.
    """
    inputs = keras.Input(input_shape, name="image")
    image = inputs if channels is None else Picture(channels, name="picture")(inputs)
    columns = None if channels is None else Columns(channels, name="columns")(inputs)
    outputs = []
    if descriptors:
        measures = ObjectDescriptors(name="descriptors")
        outputs.append(_linear(measures, image, columns, num_outputs, dropout=0.3))
    if visual_words:
        words = VisualWords(visual_words, name="visual_words")
        # There are many more words than measures.
        outputs.append(_linear(words, image, columns, num_outputs, dropout=0.5))
    for number in range(members):
        network = build()
        network.name = f"member{number + 1}"
        outputs.append(network(inputs))
    return keras.Model(inputs, Panel(dtype="float32", name="logits")(outputs), name="panel")


def _linear(features: layers.Layer, image, columns, num_outputs: int, *, dropout: float):
    """Logits of standardised features and of columns; dropout is a ridge penalty here (Wager et al. 2013, "Dropout
    training as adaptive regularization").
    """
    name = features.name
    x = layers.Dropout(dropout, dtype="float32", name=f"{name}_dropout")(features(image))
    if columns is not None:
        x = layers.Concatenate(dtype="float32", name=f"{name}_and_columns")([x, columns])
    return layers.Dense(num_outputs, kernel_initializer="zeros", dtype="float32", name=f"{name}{LOGITS}")(x)
