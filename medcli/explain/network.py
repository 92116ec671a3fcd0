"""A network that is asked for scores, gradients and layers, in float32, traced once for all images of a run."""

from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import dataclass, field
from typing import Any

import keras
import numpy as np
import tensorflow as tf

from medcli.errors import UsageError
from medcli.tasks.base import Task

SIDE = 7
"""A map should have at least this many positions along every axis."""
BATCH_VALUES = 2**19
"""Most voxels of one batch."""
BATCH = 32


@dataclass(eq=False)
class Network:
    """A task and its network, of dtype float32; see `ask`."""

    task: Task
    model: keras.Model
    _calls: dict[str, Any] = field(default_factory=dict)

    def ask(self, spec: Sequence[np.ndarray]) -> "Question":
        """About the answer with this `Target.spec`."""
        return Question(self, tuple(tf.constant(part, tf.float32) for part in spec))

    @property
    def layers(self) -> dict[str, tuple[int, ...]]:
        """Spatial shape of every layer that keeps the place, by name, from the image to the answer."""
        axes = 2 if self.task.plan.planes else self.task.plan.dimensions
        shapes = {}
        for layer in flattened(self.model):
            shape = _output_shape(layer)
            if len(shape) == axes + 2 and not isinstance(layer, keras.layers.InputLayer):
                shapes[layer.name] = tuple(shape[1:-1])
        return shapes

    def layer(self, name: str) -> keras.layers.Layer:
        return next(layer for layer in flattened(self.model) if layer.name == name)

    def call(self, name: str, images: np.ndarray, spec: tuple, layer: str = "") -> list[np.ndarray]:
        """One batch through "scores", "gradients" or "at_layer"; compiled at the first call."""
        key = f"{name} {layer}"
        if key not in self._calls:
            compute = {"scores": self._scores, "gradients": self._gradients}.get(name)
            self._calls[key] = tf.function(
                compute or self._at_layer(self.layer(layer)), reduce_retracing=True, autograph=False
            )
        return [part.numpy() for part in self._calls[key](tf.constant(images, tf.float32), spec)]

    def _scores(self, images, spec):
        return self.task.score(self.model(images, training=False), *spec)

    def _gradients(self, images, spec):
        with tf.GradientTape() as tape:
            tape.watch(images)
            score, _ = self._scores(images, spec)
        return score, tape.gradient(score, images, unconnected_gradients="zero")

    def _at_layer(self, layer):
        def compute(images, spec):
            with tf.GradientTape() as tape, _watched(layer, tape) as seen:
                score, _ = self._scores(images, spec)
            return seen[-1], tape.gradient(score, seen[-1], unconnected_gradients="zero")

        return compute


@dataclass(frozen=True, eq=False)
class Question:
    """A network and one answer of it."""

    network: Network
    spec: tuple[tf.Tensor, ...]

    def scores(self, images: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
        """Log odds and probability, (n,) each, of (n, spatial, channel)."""
        log_odds, probability = self._in_batches("scores", images)
        return log_odds, probability

    def probabilities(self, images: np.ndarray) -> np.ndarray:
        return self.scores(images)[1]

    def gradients(self, images: np.ndarray) -> np.ndarray:
        """Of the log odds by the images, in their shape."""
        return self._in_batches("gradients", images)[1]

    def at_layer(self, image: np.ndarray, layer: str) -> tuple[np.ndarray, np.ndarray]:
        """Activations of a layer for one image and the gradient of the log odds by them, spatial + channel."""
        activations, gradients = self.network.call("at_layer", image[None], self.spec, layer)
        return activations[0], gradients[0]

    def _in_batches(self, name: str, images: np.ndarray) -> list[np.ndarray]:
        size = batch_size(images.shape[1:-1])
        parts = [
            self.network.call(name, images[start : start + size], self.spec)
            for start in range(0, len(images), size)
        ]
        return [np.concatenate(part) for part in zip(*parts, strict=True)]


def batch_size(shape: Sequence[int]) -> int:
    """Images of this spatial shape that go through the network together."""
    return int(np.clip(BATCH_VALUES // int(np.prod(shape)), 1, BATCH))


def choose_layer(shapes: Mapping[str, Sequence[int]], among: Sequence[str] = (), wanted: str = "auto") -> str:
    """The layer that maps look at: the one wanted, else the last with enough positions along every axis.

    Args:
        shapes: See `Network.layers`.
        among: Only these; empty: all.

    Raises:
        UsageError: There is none, or not the one wanted.
    """
    if wanted != "auto":
        if wanted not in shapes:
            known = ", ".join(f"{name} ({'x'.join(map(str, shape))})" for name, shape in shapes.items())
            raise UsageError(f"explain.layer: the network has no layer '{wanted}'; it has {known or 'none'}.")
        return wanted
    names = [name for name in shapes if not among or name in among]
    if not names:
        raise UsageError(
            "The network has no layer that keeps the place (no convolution), so there is no activation map; "
            "use --methods ig,occlusion."
        )
    for least in (SIDE, 4, 2):
        enough = [name for name in names if min(shapes[name]) >= least]
        if enough:
            return enough[-1]
    return max(names, key=lambda name: min(shapes[name]))


def flattened(model: keras.Model) -> Iterator[keras.layers.Layer]:
    """Its layers and those of the networks within, from input to output."""
    for layer in model.layers:
        if isinstance(layer, keras.Model):
            yield from flattened(layer)
        else:
            yield layer


@contextmanager
def randomised(network: Network, share: float, seed: int) -> Iterator[None]:
    """Within it, the layers nearest to the answer (this share of them) have lost what they learned.

    Kernels are drawn anew, normal with the spread that they had; of biases and normalisations the values change
    places, so that activations keep their size.
    """
    layers = [layer for layer in flattened(network.model) if layer.weights]
    chosen = layers[len(layers) - max(1, round(share * len(layers))) :]
    before = [[np.array(weight) for weight in layer.weights] for layer in chosen]
    random = np.random.default_rng(seed)
    try:
        for layer, values in zip(chosen, before, strict=True):
            for weight, value in zip(layer.weights, values, strict=True):
                weight.assign(_redrawn(value, random))
        yield
    finally:
        for layer, values in zip(chosen, before, strict=True):
            for weight, value in zip(layer.weights, values, strict=True):
                weight.assign(value)


def _redrawn(value: np.ndarray, random: np.random.Generator) -> np.ndarray:
    if not np.issubdtype(value.dtype, np.floating):
        return value
    if value.ndim < 2:
        return random.permutation(value)
    return (random.normal(size=value.shape) * value.std()).astype(value.dtype)


@contextmanager
def _watched(layer: keras.layers.Layer, tape: tf.GradientTape) -> Iterator[list[tf.Tensor]]:
    """Collect what a layer gives, wherever in a network (or a network within) it stands."""
    seen: list[tf.Tensor] = []
    compute = layer.call

    def call(*args, **kwargs):
        output = compute(*args, **kwargs)
        tape.watch(output)
        seen.append(output)
        return output

    layer.__dict__["call"] = call  # past Keras' tracking of attributes
    try:
        yield seen
    finally:
        del layer.__dict__["call"]


def _output_shape(layer: keras.layers.Layer) -> tuple:
    try:
        shape = layer.output.shape
    except (AttributeError, ValueError):  # several outputs, or never called
        return ()
    return () if None in shape[1:] else tuple(shape)
