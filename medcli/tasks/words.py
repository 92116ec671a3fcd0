"""What a network learns before its first step, from the training images and without their labels."""

from collections.abc import Sequence

import keras
import numpy as np

from medcli.models.visual_words import VisualWords
from medcli.preprocessing.prepared import Prepared, Record

MOST_IMAGES = 500
"""More would tell little more, and all are held in memory."""


def learn_words(model: keras.Model, prepared: Prepared, training: Sequence[Record], seed: int) -> None:
    """Learn the visual words of the model, where it has any; the same from the same cases and seed."""
    layers = [layer for layer in model.layers if isinstance(layer, VisualWords)]
    if not layers:
        return
    order = np.random.default_rng(seed).permutation(len(training))[:MOST_IMAGES]
    images = [prepared.image(training[place]) for place in np.sort(order)]
    for layer in layers:
        layer.learn(images, seed)
