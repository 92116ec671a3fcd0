"""Running a network on NumPy batches, traced once or twice."""

from collections.abc import Callable
from typing import Any

import numpy as np
import tensorflow as tf


class Runner:
    """Calls `model`, and then `then` on its output, in a graph that takes batches of any size."""

    def __init__(self, then: Callable[[tf.Tensor], tf.Tensor] = tf.identity) -> None:
        self._then = then
        self._model = None
        self._call: Any = None

    def __call__(self, model, batch: np.ndarray, size: int | None = None) -> np.ndarray:
        """float32 output (the first, when the model has several) for (n, ...) float32 input.

        With a `size` short batches are padded to it, for networks that are slow to compile for another size.
        """
        if model is not self._model:
            self._model = model
            self._call = tf.function(
                lambda images: self._then(first(model(images, training=False))), reduce_retracing=True
            )
        count = len(batch)
        if size is not None and count < size:
            batch = np.concatenate([batch, np.zeros((size - count, *batch.shape[1:]), batch.dtype)])
        return self._call(tf.constant(batch, tf.float32)).numpy()[:count]


def first(outputs):
    return outputs[0] if isinstance(outputs, (list, tuple)) else outputs
