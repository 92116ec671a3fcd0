"""Resampling a window of a picture, and the boxes in it, by the same scale, shift and mirroring."""

import tensorflow as tf

LEAST_AREA = 0.1
"""A box is dropped when less than this share of its area remains after clipping ..."""
LEAST_SIDE = 2.0
"""... or when a side is shorter than this many pixels."""


def resample(image, start, zoom, size, up_down, left_right) -> tf.Tensor:
    """The window of `image` from `start` on, enlarged by `zoom`, as (*size, channel) float32; zero outside.

    Args:
        image: (row, column, channel).
        start: (2,) row and column of the window's first edge in pixels, may be negative.
        zoom: (2,) pixels out per pixel in.
        size: (2,) int32 rows and columns of the result.
        up_down, left_right: Mirror the result.
    """
    # crop_and_resize maps first and last output pixel to the given centres, in units of (side - 1)
    sides = tf.cast(tf.shape(image)[:2], tf.float32) - 1
    first = (start + 0.5 / zoom - 0.5) / sides
    last = (start + (tf.cast(size, tf.float32) - 0.5) / zoom - 0.5) / sides
    mirror = tf.stack([up_down, left_right])
    box = tf.concat([tf.where(mirror, last, first), tf.where(mirror, first, last)], 0)
    return tf.image.crop_and_resize(
        image[None], box[None], [0], size, method="bilinear", extrapolation_value=0.0
    )[0]


def move_boxes(boxes, start, zoom, size, up_down, left_right) -> tf.Tensor:
    """Boxes (n, 5) as `resample` moves their pixels, clipped; those that hardly remain get class -1."""
    limit = tf.cast(size, tf.float32)
    corners = []
    for axis, mirror in ((1, left_right), (0, up_down)):
        low, high = ((boxes[:, i] - start[axis]) * zoom[axis] for i in (1 - axis, 3 - axis))
        corners.append((tf.where(mirror, limit[axis] - high, low), tf.where(mirror, limit[axis] - low, high)))
    (x0, x1), (y0, y1) = corners
    area = (x1 - x0) * (y1 - y0)
    x0, x1 = (tf.clip_by_value(x, 0.0, limit[1]) for x in (x0, x1))
    y0, y1 = (tf.clip_by_value(y, 0.0, limit[0]) for y in (y0, y1))
    remains = ((x1 - x0) * (y1 - y0) >= LEAST_AREA * area) & (tf.minimum(x1 - x0, y1 - y0) >= LEAST_SIDE)
    return tf.stack([x0, y0, x1, y1, tf.where(remains, boxes[:, 4], -1.0)], axis=1)
