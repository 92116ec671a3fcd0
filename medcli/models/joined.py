"""Image and clinical columns in one network: the columns come as further channels (`medcli.clinical.stamp`)."""

import keras
from keras import layers, ops

HIDDEN, DROPOUT = 16, 0.2


@keras.saving.register_keras_serializable(package="medcli")
class Picture(layers.Layer):
    """(batch, ..., channel + columns) to (batch, ..., channel): the image alone."""

    def __init__(self, channels: int, **kwargs):
        super().__init__(**kwargs)
        self.channels = channels

    def call(self, inputs):
        return inputs[..., : self.channels]

    def compute_output_shape(self, input_shape):
        return (*input_shape[:-1], self.channels)

    def get_config(self):
        return super().get_config() | {"channels": self.channels}


@keras.saving.register_keras_serializable(package="medcli")
class Columns(layers.Layer):
    """(batch, ..., channel + columns) to (batch, columns): their mean over the image; always float32.

    They are the same everywhere, except in images that cut-mix made: there the mean is that of both, as their targets
    are.
    """

    def __init__(self, channels: int, **kwargs):
        super().__init__(**{**kwargs, "dtype": "float32"})
        self.channels = channels

    def call(self, inputs):
        return ops.mean(inputs[..., self.channels :], axis=tuple(range(1, len(inputs.shape) - 1)))

    def compute_output_shape(self, input_shape):
        return (input_shape[0], input_shape[-1] - self.channels)

    def get_config(self):
        return super().get_config() | {"channels": self.channels}


def joined(network: keras.Model, input_shape, channels: int) -> keras.Model:
    """A network of the image whose last layer, from features to logits, also sees the columns.

    Args:
        network: Of (..., channels); its last layer is dense.
        input_shape: (..., channels + columns).
    """
    head = network.layers[-1]
    assert isinstance(head, layers.Dense)
    inputs = keras.Input(input_shape, name="image")
    image = keras.Model(network.inputs, head.input, name=network.name)
    features = image(Picture(channels, name="picture")(inputs))
    x = layers.Concatenate(dtype="float32", name="features")([features, branch(inputs, channels)])
    outputs = layers.Dense(head.units, dtype="float32", name="logits")(x)
    return keras.Model(inputs, outputs, name=f"{network.name}_and_columns")


def table_only(input_shape, channels: int, num_outputs: int) -> keras.Model:
    """The same branch and head without the image, of whatever size it is."""
    inputs = keras.Input((*(None for _ in input_shape[:-1]), input_shape[-1]), name="image")
    outputs = layers.Dense(num_outputs, dtype="float32", name="logits")(branch(inputs, channels))
    return keras.Model(inputs, outputs, name="columns_only")


def branch(inputs, channels: int):
    """The columns themselves, so that a linear answer is at hand, and a small dense layer of them."""
    columns = Columns(channels, name="columns")(inputs)
    hidden = layers.Dense(HIDDEN, activation="relu", dtype="float32", name="columns_hidden")(columns)
    hidden = layers.Dropout(DROPOUT, dtype="float32", name="columns_dropout")(hidden)
    return layers.Concatenate(dtype="float32", name="columns_all")([columns, hidden])
