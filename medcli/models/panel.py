"""Several networks side by side in one, each trained by its own loss; their answers are averaged."""

from collections.abc import Callable

import keras
from keras import layers, ops

from medcli.models.descriptors import ObjectDescriptors
from medcli.models.joined import Columns, Picture


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
    descriptors: bool,
    dropout: float = 0.3,
    channels: int | None = None,
) -> keras.Model:
    """`members` networks as `build` makes them and, with `descriptors`, a linear one on `ObjectDescriptors`.

    Args:
        dropout: Share of the descriptors left out at each step; for a linear member this is a ridge penalty
            (Wager et al. 2013, "Dropout training as adaptive regularization").
        channels: Of the image, when clinical columns come behind them; the linear member sees these too.
    """
    inputs = keras.Input(input_shape, name="image")
    outputs = []
    if descriptors:
        image = inputs if channels is None else Picture(channels, name="picture")(inputs)
        x = ObjectDescriptors(name="descriptors")(image)
        x = layers.Dropout(dropout, dtype="float32", name="descriptors_dropout")(x)
        if channels is not None:
            columns = Columns(channels, name="columns")(inputs)
            x = layers.Concatenate(dtype="float32", name="descriptors_and_columns")([x, columns])
        dense = layers.Dense(
            num_outputs, kernel_initializer="zeros", dtype="float32", name="descriptors_logits"
        )
        outputs.append(dense(x))
    for number in range(members):
        network = build()
        network.name = f"member{number + 1}"
        outputs.append(network(inputs))
    return keras.Model(inputs, Panel(dtype="float32", name="logits")(outputs), name="panel")
