"""Averages of the weights along the way: an exponential one, and the mean over the last epochs (SWA)."""

from collections.abc import Callable, Iterable, Sequence

import keras
import numpy as np
import tensorflow as tf

BATCHES = 50
"""Most batches from which statistics are taken anew."""


class Averages:
    """Weights and moving statistics of a model, averaged; counters of random generators are left alone.

    Before the last share `swa` of the epochs an exponential moving average over the steps; then, from the epoch in
    which `collect` is first called, the plain mean of the weights at the ends of the epochs (Izmailov et al. 2018,
    algorithm 1 with one epoch per cycle).
    """

    def __init__(self, model: keras.Model, *, ema: float):
        self.variables = [one for one in model.weights if keras.backend.is_float_dtype(one.dtype)]
        self.values = [tf.Variable(variable.value, trainable=False) for variable in self.variables]
        self.ema = ema
        self._resting = tf.Variable(False, trainable=False)

    def reset(self) -> None:
        """Start from the weights as they are now."""
        for value, variable in zip(self.values, self.variables, strict=True):
            value.assign(variable.value)

    def rest(self, resting: bool) -> None:
        """Whether `follow` does nothing from now on, since epochs are collected."""
        self._resting.assign(resting)

    @tf.autograph.experimental.do_not_convert
    def follow(self, step: tf.Tensor) -> None:
        """One step of the exponential average, in a graph; over fewer steps in the beginning, to forget the first."""
        if self.ema == 0:
            return
        done = tf.cast(step, tf.float32)
        keep = tf.minimum(self.ema, (1 + done) / (10 + done))
        keep = tf.where(self._resting, 1.0, keep)
        for value, variable in zip(self.values, self.variables, strict=True):
            value.assign_sub((1 - keep) * (value - variable.value))

    def collect(self, before: int) -> None:
        """Take the weights as they are now into the mean of `before` earlier ones."""
        for value, variable in zip(self.values, self.variables, strict=True):
            value.assign_add((variable.value - value) / (before + 1))

    def swapped(self, collected: int) -> "swapped":
        """The model with the average as its weights; without any average with its own."""
        return swapped(self.variables, self.values if self.ema or collected else None)


class swapped:
    """Within it, the variables hold these values, and the ones before come back at the end. `None` changes nothing."""

    def __init__(self, variables: Sequence, values: Sequence | None):
        self.variables, self.values = variables, values

    def __enter__(self) -> None:
        if self.values is not None:
            self.before = [np.asarray(variable) for variable in self.variables]
            for variable, value in zip(self.variables, self.values, strict=True):
                variable.assign(value)

    def __exit__(self, *_: object) -> None:
        if self.values is not None:
            for variable, value in zip(self.variables, self.before, strict=True):
                variable.assign(value)


def normalisations(model: keras.Model) -> list[keras.layers.Layer]:
    """Layers with moving statistics, at any depth."""
    return [
        layer for layer in leaves(model) if hasattr(layer, "moving_variance") and hasattr(layer, "momentum")
    ]


class Settling:
    """Within it, moving statistics follow fast in the first steps, so that they forget what they began with.

    Their momentum is at most (1 + step) / (10 + step), as of the average of the weights. What is learned does not
    change, since steps use the statistics of their batch. Steps are traced within it too.
    """

    def __init__(self, model: keras.Model):
        layers = normalisations(model)
        self._own = [(layer, float(layer.momentum)) for layer in layers]
        self._now = {momentum: tf.Variable(momentum, trainable=False) for _, momentum in self._own}

    @tf.autograph.experimental.do_not_convert
    def follow(self, step: tf.Tensor) -> None:
        """Before a step, in a graph."""
        done = tf.cast(step, tf.float32)
        for momentum, variable in self._now.items():
            variable.assign(tf.minimum(momentum, (1 + done) / (10 + done)))

    def __enter__(self) -> None:
        for layer, momentum in self._own:
            layer.momentum = self._now[momentum]

    def __exit__(self, *_: object) -> None:
        for layer, momentum in self._own:
            layer.momentum = momentum


def leaves(model: keras.Model) -> Iterable[keras.layers.Layer]:
    """The layers that are no models themselves, from input to output."""
    for layer in model.layers:
        if isinstance(layer, keras.Model):
            yield from leaves(layer)
        else:
            yield layer


class Statistics:
    """Moving statistics of a model's batch normalisations, taken anew from training batches.

    A mean of weights has statistics of its own, which no step has seen (Izmailov et al. 2018, section 3.2). All batches
    count alike. The states of random generators (dropout) are left as they were.

    Args:
        batches: Gives the same batches (images, targets) at every call.
    """

    def __init__(self, model: keras.Model, batches: Callable[[], Iterable]):
        self._model, self._batches, self._layers = model, batches, normalisations(model)
        self._others = [one for one in model.variables if not keras.backend.is_float_dtype(one.dtype)]
        self._moments = [
            moment for layer in self._layers for moment in (layer.moving_mean, layer.moving_variance)
        ]
        self._call = tf.function(self._forget_and_run, autograph=False)

    def estimate(self) -> None:
        """Set them; nothing happens in a model without batch normalisation."""
        if not self._layers:
            return
        sums, count = [np.zeros(moment.shape) for moment in self._moments], 0
        with swapped(self._others, [np.asarray(one) for one in self._others]):
            for images, _ in self._batches():
                self._call(images)
                sums = [
                    total + np.asarray(m, np.float64) for total, m in zip(sums, self._moments, strict=True)
                ]
                count += 1
        for moment, total in zip(self._moments, sums, strict=True):
            moment.assign(np.asarray(total / count, np.float32))

    def _forget_and_run(self, images: tf.Tensor) -> None:
        """With a momentum of zero, the moving statistics are those of this batch."""
        momenta = [layer.momentum for layer in self._layers]
        try:
            for layer in self._layers:
                layer.momentum = 0.0
            self._model(images, training=True)
        finally:
            for layer, momentum in zip(self._layers, momenta, strict=True):
                layer.momentum = momentum
