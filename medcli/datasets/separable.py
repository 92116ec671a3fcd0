"""Linear changes along one axis as matrices: blurring, coarser sampling, smooth fields from few control points.

A product with a small matrix is as fast as anything a CPU does, and the borders are part of the matrix.
"""

import math
from collections.abc import Sequence

import numpy as np
import tensorflow as tf

BLUR_REACH = 6
"""Voxels on each side that a blur looks at: four standard deviations of the widest one."""


def along(images: tf.Tensor, matrix: tf.Tensor, axis: int) -> tf.Tensor:
    """The (m, n) matrix applied along an axis of length n of an array of static shape; the axis becomes m long."""
    shape = images.shape.as_list()
    before, behind = math.prod(shape[:axis]), math.prod(shape[axis + 1 :])
    size = shape[axis]
    if behind == 1:
        out = tf.matmul(tf.reshape(images, (before, size)), matrix, transpose_b=True)
    elif before == 1:
        out = tf.matmul(matrix, tf.reshape(images, (size, behind)))
    else:
        out = tf.matmul(matrix, tf.reshape(images, (before, size, behind)))
    return tf.reshape(out, (*shape[:axis], matrix.shape[0], *shape[axis + 1 :]))


def blur_matrix(size: int, sigma: tf.Tensor) -> tf.Tensor:
    """(size, size) Gaussian of `sigma` > 0 voxels, at most `BLUR_REACH` / 4; the image goes on mirrored at its ends.

    As `scipy.ndimage.gaussian_filter1d(radius=BLUR_REACH, mode="reflect")` for axes longer than the reach; on shorter
    ones the parts that would be mirrored twice are left out and the rest weighs more.
    """
    index = np.arange(size)
    direct = np.abs(index[:, None] - index)
    first, last = index[:, None] + index + 1, 2 * size - 1 - index[:, None] - index
    matrix: tf.Tensor = 0.0
    for distance in (direct, first, last):
        within = tf.constant(distance <= BLUR_REACH, tf.float32)
        matrix += within * tf.exp(-0.5 * (tf.constant(distance, tf.float32) / sigma) ** 2)
    return matrix / tf.reduce_sum(matrix, axis=1, keepdims=True)


def coarse_matrix(size: int, coarse: tf.Tensor) -> tf.Tensor:
    """(size, size) that takes every voxel from a grid of only `coarse` (int, 1 to size) nearest ones, linearly.

    As `scipy.ndimage.zoom` down with order 0 and up with order 1 (`grid_mode=True, mode="nearest"`).
    """
    voxels, steps = tf.cast(size, tf.int32), tf.cast(coarse, tf.int32)
    ratio = tf.cast(steps, tf.float32) / size
    place = tf.clip_by_value(
        (tf.range(size, dtype=tf.float32) + 0.5) * ratio - 0.5, 0.0, tf.cast(steps - 1, tf.float32)
    )
    low = tf.floor(place)
    share = (place - low)[:, None]
    below = tf.cast(low, tf.int32)
    above = tf.minimum(below + 1, steps - 1)
    below, above = (tf.one_hot((2 * at + 1) * voxels // (2 * steps), size) for at in (below, above))
    return below * (1 - share) + above * share


def spline_matrix(size: int, intervals: int) -> np.ndarray:
    """(size, intervals + 3) float32: values at voxels from the control points of a uniform cubic B-spline."""
    from scipy.interpolate import BSpline

    knots = np.arange(-3, intervals + 4, dtype=np.float64)
    places = (np.arange(size) + 0.5) / size * intervals
    return BSpline.design_matrix(places, knots, 3).toarray().astype(np.float32)


def smooth_field(controls: tf.Tensor, shape: Sequence[int]) -> tf.Tensor:
    """Values (*shape, n) from control points (intervals + 3 per axis, n)."""
    field = controls
    for axis, size in enumerate(shape):
        field = along(field, tf.constant(spline_matrix(size, controls.shape[axis] - 3)), axis)
    return field
