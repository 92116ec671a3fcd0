"""Training samples without labels: two views of every image, each changed in its own way."""

from collections.abc import Sequence
from dataclasses import replace

import numpy as np
import tensorflow as tf

from medcli.config.schema import Config
from medcli.datasets.augment import (
    STRENGTHS,
    Strength,
    change_intensities,
    erase_rectangles,
    transforms,
    uniform,
    warp,
)
from medcli.datasets.classification import flip_axes, flip_volumes
from medcli.datasets.draw import EachOnce
from medcli.datasets.store import image_store, sample_seed
from medcli.preprocessing.plan import Plan
from medcli.preprocessing.prepared import Prepared, Record

VIEWS = Strength(
    rotate=20,
    scale=0.5,
    shift=0.15,
    probability=1.0,
    brightness=0.4,
    contrast=0.6,
    gamma=0.5,
    noise=0.15,
    erase=0.3,
)
"""More than a classifier would be given: what two views share must not be found by their place and brightness."""


class ViewSet:
    """See `medcli.datasets.feed.TrainingSet`. A batch holds the two views of an image one after the other.

    Volumes are mirrored and changed in their values only.
    """

    total_samples: int

    def __init__(self, config: Config, plan: Plan, prepared: Prepared, records: Sequence[Record]):
        self.cases = len(records)
        self.seed = config.seed
        self.flips = flip_axes(config, plan)
        self.strength = VIEWS if config.train.augment == "auto" else STRENGTHS[config.train.augment]
        if {"row", "column"} <= self.flips and self.strength.rotate > 0:
            self.strength = replace(self.strength, rotate=180.0)
        self._draw = EachOnce(self.cases, self.seed)
        self._images = image_store(prepared, records, config.train.cache_gb)
        self._shape = tuple(int(n) for n in self._images.shapes[0])

    def sample(self, number):
        image = tf.ensure_shape(self._images.whole(self._draw(number)), self._shape)
        return image, tf.zeros(0)

    def batch(self, images, targets, number):
        images = self.views(images, number)
        return images, tf.zeros((images.shape[0], 0))

    def views(self, images, number) -> tf.Tensor:
        """(2 n, ...) float32: first view of the first image, its second, first view of the second image, ..."""
        images = tf.cast(images, tf.float32)
        pair = [self._changed(images, sample_seed(number, self.seed, purpose)) for purpose in (71, 72)]
        return tf.reshape(tf.stack(pair, axis=1), (2 * images.shape[0], *self._shape))

    def _changed(self, images, seed):
        if len(self._shape) == 4:
            return change_intensities(flip_volumes(images, seed, self.flips), seed, self.strength)
        count, size, strength = images.shape[0], np.array(self._shape[:2], np.float32), self.strength
        shift = uniform(seed, 6, (count, 2), -strength.shift, strength.shift) * size
        transform = transforms(
            seed, count, out_size=size, centre=(size - 1) / 2 + shift, strength=strength,
            flip_rows="row" in self.flips, flip_columns="column" in self.flips,
        )  # fmt: skip
        warped = warp(images, transform, self._shape[:2], nearest=False, fill="NEAREST")
        changed = change_intensities(tf.ensure_shape(warped, images.shape), seed, strength)
        return erase_rectangles(changed, seed, strength)
