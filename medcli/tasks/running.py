"""Running a network on NumPy batches of one size, traced once."""

import numpy as np
import tensorflow as tf


class Runner:
    """Calls `model` in a graph; a short batch is padded to the full size, so nothing is traced twice."""

    def __init__(self) -> None:
        self._model = None
        self._call = None

    def __call__(self, model, batch: np.ndarray, size: int | None = None) -> np.ndarray:
        """float32 output (the first, when the model has several) for (n, ...) float32 input, n up to `size`."""
        if model is not self._model:
            self._model = model
            self._call = tf.function(
                lambda images: first(model(images, training=False)), reduce_retracing=False
            )
        count = len(batch)
        if size is not None and count < size:
            batch = np.concatenate([batch, np.zeros((size - count, *batch.shape[1:]), batch.dtype)])
        return self._call(tf.constant(batch, tf.float32)).numpy()[:count]


def first(outputs):
    return outputs[0] if isinstance(outputs, (list, tuple)) else outputs
