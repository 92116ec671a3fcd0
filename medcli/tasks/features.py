"""Features of a network beside its output, from one pass: means over space at every depth of the way down."""

import keras
import tensorflow as tf

MOST_DEPTHS = 5
LEAST_FILTERS = 8
"""A map of fewer is the image itself, in other colours."""


def with_features(model: keras.Model) -> tuple[keras.Model, int]:
    """A model over the same layers that gives its outputs, then one map of features per depth; and how many of these.

    A depth is the last layer before the resolution falls. The way ends where the resolution grows again (the decoder
    of a U-Net, the neck of a detector) or is gone (the dense layers of a classifier, whose input is the last depth).
    """
    depths = _depths(model)[-MOST_DEPTHS:]
    return keras.Model(model.inputs[0], [*model.outputs, *depths]), len(depths)


def pooled(maps: list) -> list[tf.Tensor]:
    """(batch, filters) float32 of each: mean over space, however many axes."""
    maps = [tf.cast(one, tf.float32) for one in maps]
    return [tf.reduce_mean(one, axis=tuple(range(1, one.shape.rank - 1))) for one in maps]


def _depths(model: keras.Model) -> list:
    """Tensors, from fine to coarse; at least what enters the last layer, when nothing else is to be seen."""
    found, last = [], None
    for layer in model.layers[1:]:
        output = layer.output
        if isinstance(output, (list, tuple)) or len(output.shape) not in (4, 5):
            continue
        if last is not None and _size(output) != _size(last):
            if _size(output) > _size(last):
                break
            found.append(last)
        last = output
    found = [one for one in [*found, last] if one is not None and one.shape[-1] >= LEAST_FILTERS]
    final = model.layers[-1].input
    if not found or any(isinstance(layer, keras.layers.Dense) for layer in model.layers[:-1]):
        found.append(final[0] if isinstance(final, (list, tuple)) else final)
    return found


def _size(output) -> int:
    size = 1
    for length in output.shape[1:-1]:
        size *= length or 1
    return size
