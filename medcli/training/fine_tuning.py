"""Learning on from given weights: new layers first and alone, then all, the early ones slowly."""

from collections.abc import Sequence
from dataclasses import dataclass, field

import keras
import numpy as np
import tensorflow as tf

from medcli.config.schema import WHOLE_IMAGES, Config
from medcli.training.averages import leaves

FROZEN = 0.1
"""`train.freeze_epochs: auto`: share of the epochs in which only new layers learn."""
BACKBONE_RATE = 0.1
"""`train.backbone_rate: auto`."""


@dataclass(frozen=True)
class FineTuning:
    """Which layers were taken over, and how they learn.

    While they are frozen, batch normalisation among them uses its moving statistics and leaves them as they are.

    Attributes:
        taken: The layers that were taken over.
        rates: Factor on the learning rate by variable (its path); variables that are not named have 1.
        epochs: So many epochs are the taken layers frozen.
    """

    taken: list[keras.layers.Layer] = field(default_factory=list)
    rates: dict[str, float] = field(default_factory=dict)
    epochs: int = 0

    def freeze(self, frozen: bool) -> None:
        for layer in self.taken:
            layer.trainable = not frozen

    def slowed(self, variables: Sequence[keras.Variable]) -> "SlowedDown":
        return SlowedDown([(one, self.rates[one.path]) for one in variables if one.path in self.rates])


class SlowedDown:
    """Within it, variables move only this share of the way; in a graph. Works with any optimiser, unlike smaller
    gradients, which Adam would scale up again."""

    def __init__(self, rates: Sequence[tuple[keras.Variable, float]]):
        self.rates = rates

    def __enter__(self) -> None:
        self.before = [tf.identity(variable.value) for variable, _ in self.rates]

    def __exit__(self, *_: object) -> None:
        for (variable, rate), before in zip(self.rates, self.before, strict=True):
            variable.assign(before + rate * (variable.value - before))


def fine_tuning(
    config: Config, model: keras.Model, taken: Sequence[keras.layers.Layer], *, epochs: int
) -> FineTuning:
    """What the config asks for; for tasks that do not see whole images `auto` is: all learn alike from the first step.

    The rates rise geometrically with the depth from `train.backbone_rate` at the first layer to almost 1 at the last
    (Howard and Ruder 2018, section 3.2, discriminative fine-tuning; the factor there is 2.6 from layer to layer).

    Args:
        taken: Layers whose weights were given; none: an ordinary training.
        epochs: Of the whole training, of which at least the last is not frozen.
    """
    settings = config.train
    if not taken:
        return FineTuning()
    automatic = config.task in WHOLE_IMAGES
    frozen, rate = max(1, round(FROZEN * epochs)) if automatic else 0, BACKBONE_RATE if automatic else 1.0
    if settings.freeze_epochs != "auto":
        frozen = settings.freeze_epochs
    if settings.backbone_rate != "auto":
        rate = settings.backbone_rate
    known = {id(layer) for layer in taken}
    rates: dict[str, float] = {}
    for part in (model, *(layer for layer in nested(model))):
        own = [layer for layer in part.layers if id(layer) in known]
        for depth, layer in enumerate(own):
            share = float(rate ** (1 - depth / len(own)))
            rates |= {} if share == 1 else {variable.path: share for variable in layer.trainable_variables}
    return FineTuning(list(taken), rates, min(frozen, epochs - 1))


def nested(model: keras.Model) -> list[keras.Model]:
    """Models within the model, at any depth."""
    inner = [layer for layer in model.layers if isinstance(layer, keras.Model)]
    return inner + [deeper for one in inner for deeper in nested(one)]


def published(model: keras.Model) -> list[keras.layers.Layer]:
    """Layers of `keras.applications` within the model."""
    return [
        layer for one in nested(model) if one.name == "backbone" for layer in leaves(one) if layer.weights
    ]


def weighty(model: keras.Model) -> list[keras.layers.Layer]:
    """Layers with weights that learn."""
    return [layer for layer in leaves(model) if layer.weights]


def changed(
    layers: Sequence[keras.layers.Layer], before: Sequence[Sequence[np.ndarray]]
) -> list[keras.layers.Layer]:
    """Those whose weights are others than before; when that is all of them, all but the last, which answers."""
    found = [
        layer
        for layer, arrays in zip(layers, before, strict=True)
        if any(not np.array_equal(a, b) for a, b in zip(layer.get_weights(), arrays, strict=True))
    ]
    return found[:-1] if len(found) == len(layers) else found
