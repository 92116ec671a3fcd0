"""The coarse answers of a cascade in training: made worse now and then, so that they are not trusted blindly.

nnU-Net grows, shrinks and drops parts of the coarse segmentation in training (Isensee et al. 2021, supplement); these
are the like for probabilities.
"""

from collections.abc import Callable, Sequence
from functools import partial

import numpy as np
import tensorflow as tf

from medcli.datasets.augment import uniform
from medcli.datasets.store import held
from medcli.preprocessing.coarse import SURE
from medcli.preprocessing.prepared import Prepared, Record

DROPPED, SHIFTED, CHANGED = 0.1, 0.3, 0.3
"""How often all answers of a patch are set to zero, are shifted, and are grown, shrunk or blurred."""
WIDTH = 2
"""Voxels per axis of the windows that grow, shrink and blur, in voxels of the coarse grid."""


class Answers:
    """What the coarse networks said of the cases.

    Args:
        factors: How much coarser their grid is, per axis: errors in training are as large as its voxels.
        augment: Whether they are made worse.
    """

    def __init__(
        self,
        prepared: Prepared,
        records: Sequence[Record],
        factors: Sequence[float],
        *,
        cache_gb: float,
        augment: bool,
    ):
        self.store = held([prepared.answer(record) for record in records], "uint8", cache_gb)
        self.channels = int(self.store.shapes[0, -1])
        self._reach = tf.constant([max(1.0, float(factor)) for factor in factors], tf.float32)
        self._windows = [
            [max(1, 2 * round(share * WIDTH * factor / 2) + 1) for factor in factors] for share in (0.5, 1.0)
        ]
        self._augment = augment

    def shift(self, seed) -> tf.Tensor:
        """(axes,) int64: how far from its place the answer to a patch is taken; mostly not at all."""
        axes = len(self._reach)
        if not self._augment:
            return tf.zeros(axes, tf.int64)
        apply = tf.cast(uniform(seed, 90) < SHIFTED, tf.float32)
        return tf.cast(tf.round(uniform(seed, 91, (axes,), -1.0, 1.0) * self._reach * apply), tf.int64)

    def as_channels(self, answers: tf.Tensor) -> tf.Tensor:
        """float32 in 0..1."""
        return tf.cast(answers, tf.float32) / SURE

    def made_worse(self, answers: tf.Tensor, seed) -> tf.Tensor:
        """Dropped, grown, shrunk or blurred, or (mostly) as they are: (*patch, class) float32."""
        if not self._augment:
            return answers
        ways: list[Callable[[], tf.Tensor]] = [lambda: answers]
        for window in self._windows:
            ways += [partial(grown, answers, window), partial(shrunk, answers, window)]
            ways.append(partial(blurred, answers, window))
        way = 1 + tf.cast(uniform(seed, 92) * np.float32(len(ways) - 1), tf.int32)
        way = tf.where(uniform(seed, 93) < CHANGED, tf.minimum(way, len(ways) - 1), 0)
        changed = tf.ensure_shape(tf.switch_case(way, ways), answers.shape)
        return changed * tf.cast(uniform(seed, 94) >= DROPPED, tf.float32)


def grown(answers: tf.Tensor, window: Sequence[int]) -> tf.Tensor:
    """The largest value in a window around each voxel of (spatial + class)."""
    return _pooled(answers, window, "MAX")


def shrunk(answers: tf.Tensor, window: Sequence[int]) -> tf.Tensor:
    """The smallest."""
    return -_pooled(-answers, window, "MAX")


def blurred(answers: tf.Tensor, window: Sequence[int]) -> tf.Tensor:
    """The mean."""
    return _pooled(answers, window, "AVG")


def _pooled(answers: tf.Tensor, window: Sequence[int], kind: str) -> tf.Tensor:
    """Axis by axis."""
    for axis, width in enumerate(window):
        if width > 1:
            one = [width if other == axis else 1 for other in range(len(window))]
            answers = tf.nn.pool(answers[None], one, kind, padding="SAME")[0]
    return answers
