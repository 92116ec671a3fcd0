"""Functions whose weights no longer change, as constants: oneDNN then keeps them in the order that it works in."""

from collections.abc import Callable

import keras
import tensorflow as tf

from medcli.models.blocks import FusedBatchNormalization


def is_settled(model: keras.Model) -> bool:
    """Whether `medcli.models.fold` has made the network one that only predicts."""
    return any(isinstance(layer, FusedBatchNormalization) and layer.folded for layer in model.layers)


def frozen(function: tf.types.experimental.PolymorphicFunction) -> Callable[..., tuple[tf.Tensor, ...]]:
    """The function (with an input signature, giving a tuple of tensors) with its variables as they are now.

    On a CPU a detector answers for a single picture in half of the time; for sixteen at once nothing is gained.
    """
    from tensorflow.python.framework.convert_to_constants import convert_variables_to_constants_v2

    constant = convert_variables_to_constants_v2(function.get_concrete_function())
    return lambda *inputs: tuple(constant(*inputs))
