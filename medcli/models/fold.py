"""Batch normalisation folded into the convolution before it, for networks that only predict."""

import keras
import numpy as np

from medcli.models.blocks import FusedBatchNormalization


def fold_norms(model: keras.Model) -> int:
    """Make one step of every convolution and the batch normalisation behind it; the number of these pairs.

    With the moving statistics, normalising is a factor and a shift per channel: the factor goes into the kernel, and of
    the normalisation only the shift is left. All layers keep their names and, up to rounding, their outputs. What is
    read by something else than its normalisation stays as it is.
    """
    folded = 0
    for norm in model.layers:
        if not isinstance(norm, FusedBatchNormalization) or norm.folded:
            continue
        convolution = norm.input._keras_history.operation
        if not _only_before(convolution, norm) or any(convolution.output is one for one in model.outputs):
            continue
        factor = np.asarray(norm.gamma) / np.sqrt(np.asarray(norm.moving_variance) + norm.epsilon)
        convolution.kernel.assign(np.asarray(convolution.kernel) * factor)
        norm.fold(np.asarray(norm.beta) - np.asarray(norm.moving_mean) * factor)
        folded += 1
    return folded


def _only_before(layer, norm: FusedBatchNormalization) -> bool:
    """Whether it is a linear convolution without a bias that nothing but the normalisation reads."""
    if not isinstance(layer, (keras.layers.Conv2D, keras.layers.Conv3D)) or layer.use_bias:
        return False
    linear = layer.activation is keras.activations.linear
    return linear and [node.operation for node in layer._outbound_nodes] == [norm]
