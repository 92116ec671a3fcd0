"""The grid on which the detector predicts, and what its raw output means.

Every cell of every level is one anchor point. Its output is 4 x `REG_MAX` logits, the distributions of the
distances from the point to the left, top, right and bottom edge in strides, then one logit per class.
Formula: Li et al. 2020, "Generalized Focal Loss", section 3.2 (a distance is the mean of a distribution).
"""

from collections.abc import Sequence

import numpy as np
import tensorflow as tf

REG_MAX = 16
"""Bins per distance; the largest distance is (REG_MAX - 1) strides."""


def anchor_points(size: Sequence[int], strides: Sequence[int]) -> tuple[np.ndarray, np.ndarray]:
    """Points (A, 2) float32 as x, y in pixels and their strides (A,) float32; level by level, row by row."""
    points, steps = [], []
    for stride in strides:
        rows, columns = size[0] // stride, size[1] // stride
        y, x = np.meshgrid(np.arange(rows) + 0.5, np.arange(columns) + 0.5, indexing="ij")
        points.append(np.stack([x, y], axis=-1).reshape(-1, 2) * stride)
        steps.append(np.full(rows * columns, stride))
    return np.concatenate(points).astype(np.float32), np.concatenate(steps).astype(np.float32)


def split_outputs(outputs: tf.Tensor) -> tuple[tf.Tensor, tf.Tensor]:
    """Logits of the distances (B, A, 4, REG_MAX) and of the classes (B, A, classes) in raw outputs."""
    distances, classes = tf.split(outputs, [4 * REG_MAX, outputs.shape[-1] - 4 * REG_MAX], axis=-1)
    return tf.reshape(distances, (-1, outputs.shape[1], 4, REG_MAX)), classes


def to_corners(log_probabilities: tf.Tensor, points: np.ndarray, strides: np.ndarray) -> tf.Tensor:
    """Corners (B, A, 4) in pixels from log probabilities (B, A, 4, REG_MAX) of the distances."""
    bins = tf.range(REG_MAX, dtype=tf.float32)
    distances = tf.reduce_sum(tf.exp(log_probabilities) * bins, axis=-1) * strides[:, None]
    before, after = tf.split(distances, 2, axis=-1)
    return tf.concat([points - before, points + after], axis=-1)


def decode(outputs: tf.Tensor, points: np.ndarray, strides: np.ndarray) -> tuple[tf.Tensor, tf.Tensor]:
    """Corners (B, A, 4) in pixels and scores (B, A, classes) in 0..1 of raw outputs."""
    distances, classes = split_outputs(outputs)
    return to_corners(tf.nn.log_softmax(distances), points, strides), tf.sigmoid(classes)
