"""A network without its answer, with a projector behind it, for learning from images alone."""

import keras
from keras import layers

REPRESENTATION = "representation"
"""The layer whose output is taken over by later training."""
WIDTH = 512


def with_projector(network: keras.Model, width: int = WIDTH) -> keras.Model:
    """Up to the input of its last layer as it is, then three dense layers that are thrown away after training.

    The projector takes up what views have in common, so that the layer before it keeps more (Chen et al. 2020, "A
    simple framework for contrastive learning of visual representations", section 4.2). The layers of the network
    come first, so that `transfer_weights` finds them in a network for another task.
    """
    x = layers.Activation("linear", name=REPRESENTATION)(network.layers[-1].input)
    for number in (1, 2):
        x = layers.Dense(width, use_bias=False, name=f"project{number}")(x)
        x = layers.BatchNormalization(name=f"project{number}_norm")(x)
        x = layers.Activation("relu", name=f"project{number}_relu")(x)
    outputs = layers.Dense(width, use_bias=False, dtype="float32", name="project3")(x)
    return keras.Model(network.inputs[0], outputs, name=f"{network.name}_views")


def representation(model: keras.Model) -> keras.Model:
    """The part of a network with a projector that is kept: image to (batch, features)."""
    return keras.Model(model.inputs[0], model.get_layer(REPRESENTATION).output)
