"""Training samples of an autoencoder: an image with noise in, without it out."""

from dataclasses import replace

import tensorflow as tf

from medcli.datasets.augment import STRENGTHS, change_intensities, normal
from medcli.datasets.classification import ClassificationSet, flip_volumes
from medcli.datasets.store import sample_seed

NOISE = 0.2
"""In standard deviations of the image: the network learns to draw what it knows, not to copy."""


class ReconstructionSet(ClassificationSet):
    """See `medcli.datasets.feed.TrainingSet`. Images are changed lightly unless `train.augment` says otherwise; nothing
    is blanked, as that would have to be drawn again as well."""

    def batch(self, images, targets, number):
        images = tf.cast(images, tf.float32)
        seed = sample_seed(number, self.seed, purpose=1)
        if len(self._shape) == 3:
            images = self._warp(images, seed)
        else:
            images = flip_volumes(images, seed, self.flips)
        images = change_intensities(images, seed, self.strength)
        return images + NOISE * normal(seed, 90, images.shape), images

    def lightly(self) -> "ReconstructionSet":
        self.strength = replace(STRENGTHS["light"], erase=0.0)
        return self
