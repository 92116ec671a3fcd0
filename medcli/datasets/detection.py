"""Training samples for detection: mosaics of four cases or single ones, with boxes that follow exactly.

A sample is a pure function of (seed, number). All geometry keeps edges parallel to the axes (scale, shift,
mirror, quarter turn), so that a box stays the tightest box of its object.
"""

import math
from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
import tensorflow as tf

from medcli.datasets.augment import log_uniform, normal, uniform
from medcli.datasets.draw import Draw, EachOnce
from medcli.datasets.store import ArrayStore, sample_seed

LEAST_AREA = 0.1
"""A box is dropped when less than this share of its area remains after clipping ..."""
LEAST_SIDE = 2.0
"""... or when a side is shorter than this many pixels."""


@dataclass(frozen=True)
class Strength:
    """How far samples may be changed.

    Attributes:
        mosaic: Probability of a mosaic of four cases rather than one case.
        scale: Zoom between 1 / (1 + scale) and 1 + scale.
        stretch: The same for each axis by itself.
        brightness: Standard deviation of an added constant, in standard deviations of the data set.
        contrast: Contrast factor between 1 / (1 + contrast) and 1 + contrast.
        colour: Standard deviation of the entries that mix the channels.
        plain: Share of the training, at its end, that sees single cases only.
    """

    mosaic: float
    scale: float
    stretch: float
    brightness: float
    contrast: float
    colour: float
    plain: float = 0.2


STRENGTHS = {
    "none": Strength(0, 0, 0, 0, 0, 0),
    "light": Strength(0.5, 0.15, 0.0, 0.1, 0.1, 0.0),
    "medium": Strength(1.0, 0.4, 0.1, 0.2, 0.25, 0.05),
    "strong": Strength(1.0, 0.7, 0.15, 0.3, 0.4, 0.1),
}


def most_boxes(counts: Sequence[int], strength: Strength) -> int:
    """Rows of a target: enough for the fullest case, and for mosaics that show three average cases."""
    mosaic = 3 * float(np.mean(counts)) if strength.mosaic else 0.0
    return max(8, math.ceil(max(max(counts), mosaic) / 8) * 8)


class DetectionSamples:
    """Implements `medcli.tasks.base.TrainingSet`.

    Args:
        images: One normalised image per case, all of one shape (row, column, channel); zero is padding.
        labels: (n, 5) float32 per case: x0, y0, x1, y1, class in pixels of the image.
        seed: Of the job.
        strength: How far samples may be changed.
        flips: Axes that may be mirrored, of "row" and "column"; with both, quarter turns are made as well.
        draw: Which case each sample begins with; default: each once per epoch. The others of a mosaic are drawn alike.
    """

    total_samples: int = 0
    """Of the whole training, set by the trainer; mosaics end `strength.plain` of it before the end."""

    def __init__(
        self,
        images: ArrayStore,
        labels: Sequence[np.ndarray],
        *,
        seed: int,
        strength: Strength,
        flips: Sequence[str],
        draw: Draw | None = None,
    ):
        self.cases = len(labels)
        self._draw = draw
        self._first = draw or EachOnce(self.cases, seed)
        self.images = images
        self.rows, self.columns, self.channels = (int(length) for length in images.shapes[0])
        self.seed, self.strength = seed, strength
        self.flip_rows, self.flip_columns = "row" in flips, "column" in flips
        self.max_boxes = most_boxes([len(label) for label in labels], strength)
        padded = np.full((self.cases, max(max(map(len, labels)), 1), 5), -1, np.float32)
        for row, label in zip(padded, labels, strict=True):
            row[: len(label)] = label
        with tf.device("CPU:0"):
            self._labels = tf.constant(padded)

    def sample(self, number: tf.Tensor) -> tuple[tf.Tensor, tf.Tensor]:
        """Image (row, column, channel) float32 and (max_boxes, 5) boxes, padded with class -1."""
        seed = sample_seed(number, self.seed, 40)
        first = self._first(number)
        wanted = uniform(seed, 1) < self.strength.mosaic
        if self.total_samples:
            wanted &= tf.cast(number, tf.float32) < (1 - self.strength.plain) * self.total_samples
        image, boxes = tf.cond(wanted, lambda: self._mosaic(first, seed), lambda: self._single(first, seed))
        image = change_colours(
            tf.ensure_shape(image, (self.rows, self.columns, self.channels)), seed, self.strength
        )
        return image, _pad(boxes, self.max_boxes)

    def batch(self, images, targets, number):
        return images, targets

    def _others(self, random: tf.Tensor) -> tf.Tensor:
        """Three cases by three numbers from 0 to 1."""
        if self._draw is None:
            return tf.cast(random * self.cases, tf.int64)
        return tf.stack([self._draw(tf.cast(one * 2**24, tf.int64)) for one in tf.unstack(random, 3)])

    def _single(self, case: tf.Tensor, seed: tf.Tensor):
        return self._tile(case, (self.rows, self.columns), seed, 0)

    def _mosaic(self, case: tf.Tensor, seed: tf.Tensor):
        """Four tiles around a random point in the middle half; each tile shows a random part of its case."""
        others = self._others(uniform(seed, 2, (3,)))
        cut = uniform(seed, 3, (2,), 0.25, 0.75)
        y, x = tf.cast(cut[0] * self.rows, tf.int32), tf.cast(cut[1] * self.columns, tf.int32)
        heights, widths = (y, self.rows - y), (x, self.columns - x)
        tiles = [
            self._tile(index, (heights[place // 2], widths[place % 2]), seed, place + 1)
            for place, index in enumerate([case, *tf.unstack(others, 3)])
        ]
        image = tf.concat(
            [tf.concat([tiles[0][0], tiles[1][0]], 1), tf.concat([tiles[2][0], tiles[3][0]], 1)], 0
        )
        boxes = []
        for place, (_, tile_boxes) in enumerate(tiles):
            shift = tf.cast(tf.stack([x * (place % 2), y * (place // 2)] * 2 + [0]), tf.float32)
            boxes.append(tile_boxes + shift)
        return image, tf.concat(boxes, 0)

    def _tile(self, case: tf.Tensor, size, seed: tf.Tensor, place: int):
        """A random part of a case, `size` (rows, columns) large, with the boxes (n, 5) that remain in it."""
        height, width = (tf.convert_to_tensor(length, tf.int32) for length in size)
        random = uniform(seed, 10 + place, (5,))
        turn = (random[0] < 0.5) if self.flip_rows and self.flip_columns else tf.constant(False)
        up_down = (random[1] < 0.5) if self.flip_rows else tf.constant(False)
        left_right = (random[2] < 0.5) if self.flip_columns else tf.constant(False)
        spread = (
            self.strength.scale if place else self.strength.scale / 2
        )  # a single case stays near its own scale
        zoom = log_uniform(seed, 20 + place, (), spread)
        zoom = zoom * log_uniform(seed, 30 + place, (2,), self.strength.stretch)  # y, x
        size = tf.where(turn, tf.stack([width, height]), tf.stack([height, width]))  # before the turn
        whole = tf.constant([self.rows, self.columns], tf.float32)
        if place:  # no empty margins within a mosaic
            zoom = tf.maximum(zoom, tf.reduce_max(tf.cast(size, tf.float32) / whole))
        window = tf.cast(size, tf.float32) / zoom
        shift = random[3:5] if self.strength.scale or place else 0.5
        start = shift * (whole - window)
        image = resample(self.images.whole(case), start, zoom, size, up_down, left_right)
        boxes = move_boxes(tf.gather(self._labels, case), start, zoom, size, up_down, left_right)
        image = tf.cond(turn, lambda: tf.transpose(image, (1, 0, 2)), lambda: image)
        boxes = tf.where(turn, tf.gather(boxes, [1, 0, 3, 2, 4], axis=1), boxes)
        return image, boxes


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


def change_colours(image: tf.Tensor, seed, strength: Strength) -> tf.Tensor:
    """Brightness, contrast and a slight mixing of the channels, one draw per image (row, column, channel)."""
    if not (strength.brightness or strength.contrast or strength.colour):
        return image
    channels = image.shape[-1]
    mix = log_uniform(seed, 50, (1, 1), strength.contrast) * tf.eye(channels)
    mix += normal(seed, 51, (channels, channels)) * strength.colour
    shift = (
        normal(seed, 52, (1,)) * strength.brightness + normal(seed, 53, (channels,)) * strength.brightness / 2
    )
    return tf.nn.bias_add(tf.tensordot(image, mix, 1), shift)


def _pad(boxes: tf.Tensor, count: int) -> tf.Tensor:
    """Exactly `count` rows: the real boxes in their order, then class -1; what is too many is left out."""
    boxes = tf.boolean_mask(boxes, boxes[:, 4] >= 0)[:count]
    padding = tf.constant([[0.0, 0.0, 0.0, 0.0, -1.0]])
    boxes = tf.concat([boxes, tf.tile(padding, [count - tf.shape(boxes)[0], 1])], 0)
    return tf.ensure_shape(boxes, (count, 5))
