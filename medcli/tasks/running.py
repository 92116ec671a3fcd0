"""Running a network on NumPy batches, traced once or twice."""

from collections.abc import Callable, Iterable, Iterator
from itertools import islice
from typing import Any

import numpy as np
import tensorflow as tf

from medcli.tasks.features import pooled, with_features


class Runner:
    """Calls `model`, and then `then` on its output, in a graph that takes batches of any size."""

    def __init__(self, then: Callable[[tf.Tensor], tf.Tensor] = tf.identity) -> None:
        self._then = then
        self._model = None
        self._call: Any = None
        self._both: Any = None

    def __call__(self, model, batch: np.ndarray, size: int | None = None) -> np.ndarray:
        """float32 output (the first, when the model has several) for (n, ...) float32 input.

        With a `size` short batches are padded to it, for networks that are slow to compile for another size.
        """
        self._take(model)
        if self._call is None:
            self._call = tf.function(
                lambda images: self._then(first(model(images, training=False))), reduce_retracing=True
            )
        return self._call(_padded(batch, size)).numpy()[: len(batch)]

    def with_features(
        self, model, batch: np.ndarray, size: int | None = None
    ) -> tuple[np.ndarray, list[np.ndarray]]:
        """The same output, and for every depth (n, filters) float32 features, from one pass."""
        self._take(model)
        if self._both is None:
            both, depths = with_features(model)

            @tf.function(reduce_retracing=True, autograph=False)
            def run(images):
                outputs = both(images, training=False)
                return self._then(outputs[0]), pooled(outputs[-depths:])

            self._both = run
        output, features = self._both(_padded(batch, size))
        return output.numpy()[: len(batch)], [one.numpy()[: len(batch)] for one in features]

    def _take(self, model) -> None:
        if model is not self._model:
            self._model, self._call, self._both = model, None, None


def _padded(batch: np.ndarray, size: int | None) -> tf.Tensor:
    if size is not None and len(batch) < size:
        batch = np.concatenate([batch, np.zeros((size - len(batch), *batch.shape[1:]), batch.dtype)])
    return tf.constant(batch, tf.float32)


def batched(items: Iterable[Any], size: int) -> Iterator[list[Any]]:
    """Lists of `size` items, the last one perhaps shorter."""
    source = iter(items)
    while some := list(islice(source, size)):
        yield some


def first(outputs):
    return outputs[0] if isinstance(outputs, (list, tuple)) else outputs
