"""Training samples for detection: mosaics of four cases or single ones, mixed and pasted into, with boxes that follow.

A sample is a pure function of (seed, number). All geometry keeps edges parallel to the axes (scale, shift,
mirror, quarter turn), so that a box stays the tightest box of its object.
"""

import math
from collections.abc import Collection, Sequence
from dataclasses import dataclass, replace

import numpy as np
import tensorflow as tf

from medcli.datasets.augment import log_uniform, normal, uniform
from medcli.datasets.box_moves import move_boxes, resample
from medcli.datasets.draw import Draw, EachOnce
from medcli.datasets.paste import Donors
from medcli.datasets.store import ArrayStore, sample_seed

UNDEMANDING = ("mosaic", "scale", "brightness", "contrast")
"""What plans of before there was a choice mean."""
MIXED = (0.4, 0.6)
"""Mix-up: the first picture's share."""


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
        mixup: Probability that another case shines through, with its boxes.
        paste: Probability that objects of other cases are pasted in.
        plain: Share of the training, at its end, that sees single cases only, unmixed.
    """

    mosaic: float
    scale: float
    stretch: float
    brightness: float
    contrast: float
    colour: float
    mixup: float = 0.0
    paste: float = 0.0
    plain: float = 0.2

    def only(self, names: Collection[str]) -> "Strength":
        """Without the changes that are not named (mosaic, mixup, paste, scale, brightness, contrast)."""
        parts = {"scale": ("scale", "stretch"), "contrast": ("contrast", "colour")}
        kinds = ("mosaic", "mixup", "paste", "scale", "brightness", "contrast")
        without = [part for kind in kinds if kind not in names for part in parts.get(kind, (kind,))]
        return replace(self, **dict.fromkeys(without, 0.0))


STRENGTHS = {
    "none": Strength(0, 0, 0, 0, 0, 0),
    "light": Strength(0.5, 0.15, 0.0, 0.1, 0.1, 0.0, mixup=0.05, paste=0.2),
    "medium": Strength(1.0, 0.4, 0.1, 0.2, 0.25, 0.05, mixup=0.15, paste=0.4),
    "strong": Strength(1.0, 0.7, 0.15, 0.3, 0.4, 0.1, mixup=0.3, paste=0.6),
}


def most_boxes(counts: Sequence[int], strength: Strength) -> int:
    """Rows of a target: enough for the fullest case, and for mosaics that show three average cases; more when mixed."""
    mean = float(np.mean(counts))
    most = max(max(counts), 3 * mean if strength.mosaic else 0.0)
    most += mean if strength.mixup else 0.0
    most += Donors.MOST if strength.paste else 0
    return max(8, math.ceil(most / 8) * 8)


class DetectionSamples:
    """Implements `medcli.tasks.base.TrainingSet`.

    Args:
        images: One normalised image per case (row, column, channel), all of one shape unless there is a `tile`; zero is
            padding.
        labels: (n, 5) float32 per case: x0, y0, x1, y1, class in pixels of the image.
        seed: Of the job.
        strength: How far samples may be changed.
        flips: Axes that may be mirrored, of "row" and "column"; with both, quarter turns are made as well.
        draw: Which case each sample begins with; default: each once per epoch. The others of a mosaic are drawn alike.
        tile: Rows and columns of the samples, where they are not whole images.
        foreground: Share of the tiles that are laid around a box, which is whole in them if it fits.
        masks: For each case the number of the box that a pixel belongs to (row of its labels, from 1 on); None: objects
            are pasted as rectangles.
        one_shape: Whether every batch has `max_boxes` rows of targets, as XLA compiles for each shape again.
    """

    total_samples: int = 0
    """Of the whole training, set by the trainer, who may lower it; the last `strength.plain` has no mosaics."""

    def __init__(
        self,
        images: ArrayStore,
        labels: Sequence[np.ndarray],
        *,
        seed: int,
        strength: Strength,
        flips: Collection[str],
        draw: Draw | None = None,
        tile: Sequence[int] | None = None,
        foreground: float = 0.5,
        masks: ArrayStore | None = None,
        one_shape: bool = False,
    ):
        self.cases = len(labels)
        self._draw = draw
        self._first = draw or EachOnce(self.cases, seed)
        self.images = images
        self.channels = int(images.shapes[0][2])
        self.rows, self.columns = (int(length) for length in (images.shapes[0][:2] if tile is None else tile))
        self.seed, self.strength, self.one_shape = seed, strength, one_shape
        self.flip_rows, self.flip_columns = "row" in flips, "column" in flips
        self._foreground = None if tile is None else foreground
        counts = [len(label) if tile is None else most_together(label, tile) for label in labels]
        self.max_boxes = most_boxes(counts, strength)
        padded = np.full((self.cases, max(max(map(len, labels)), 1), 5), -1, np.float32)
        for row, label in zip(padded, labels, strict=True):
            row[: len(label)] = label
        with tf.device("CPU:0"):
            self._labels = tf.constant(padded)
            self._counts = tf.constant([len(label) for label in labels])
        self._donors = self._masks = None
        if strength.paste:
            self._masks = masks
            outline = None if masks is None else self._outline
            size = (self.rows, self.columns)
            self._donors = Donors(labels, size, shape=self._shape, view=self._view, outline=outline)

    def sample(self, number: tf.Tensor) -> tuple[tf.Tensor, tf.Tensor]:
        """Image (row, column, channel) float32 and (max_boxes, 5) boxes, padded with class -1."""
        seed = sample_seed(number, self.seed, 40)
        first = self._first(number)
        rich = self._is_rich(number)
        mosaic = rich & (uniform(seed, 1) < self.strength.mosaic)
        image, boxes = tf.cond(mosaic, lambda: self._mosaic(first, seed), lambda: self._single(first, seed))
        if self.strength.mixup:
            mixed = rich & (uniform(seed, 4) < self.strength.mixup)
            image, boxes = tf.cond(mixed, lambda: self._mixed(image, boxes, seed), lambda: (image, boxes))
        if self._donors is not None:
            donors, pasted = self._donors, rich & (uniform(seed, 5) < self.strength.paste)
            flips = (self.flip_rows, self.flip_columns)
            image, boxes = tf.cond(
                pasted,
                lambda: donors.paste(image, boxes, seed, scale=self.strength.scale / 2, flips=flips),
                lambda: (image, boxes),
            )
        image = change_colours(
            tf.ensure_shape(image, (self.rows, self.columns, self.channels)), seed, self.strength
        )
        return image, _pad(boxes, self.max_boxes)

    def batch(self, images, targets, number):
        """Without rows that are padding in the whole batch, since assignment pays for each."""
        if self.one_shape:
            return images, targets
        most = tf.reduce_max(tf.reduce_sum(tf.cast(targets[..., 4] >= 0, tf.int32), axis=1))
        return images, targets[:, : tf.maximum(most, 1)]

    def _is_rich(self, number: tf.Tensor) -> tf.Tensor:
        """Before the plain end, which comes sooner when the time runs out: so Python is asked each time."""

        def rich(number: np.int64) -> np.bool_:
            return np.bool_(not self.total_samples or number < (1 - self.strength.plain) * self.total_samples)

        return tf.ensure_shape(tf.numpy_function(rich, [number], tf.bool, stateful=False), ())

    def _others(self, random: tf.Tensor) -> tf.Tensor:
        """Three cases by three numbers from 0 to 1."""
        if self._draw is None:
            return tf.cast(random * self.cases, tf.int64)
        return tf.stack([self._draw(tf.cast(one * 2**24, tf.int64)) for one in tf.unstack(random, 3)])

    def _single(self, case: tf.Tensor, seed: tf.Tensor):
        return self._tile(case, (self.rows, self.columns), seed, 0)

    def _mixed(self, image: tf.Tensor, boxes: tf.Tensor, seed: tf.Tensor):
        """Mix-up (Zhang et al. 2018) of about equal shares, where the boxes of both count (Zhang et al. 2019)."""
        other, more = self._tile(self._others(uniform(seed, 6, (3,)))[0], (self.rows, self.columns), seed, 5)
        share = uniform(seed, 7, (), *MIXED)
        return share * image + (1 - share) * other, tf.concat([boxes, more], 0)

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
        whole = self._shape(case)
        if place:  # no empty margins within a mosaic
            zoom = tf.maximum(zoom, tf.reduce_max(tf.cast(size, tf.float32) / whole))
        window = tf.cast(size, tf.float32) / zoom
        start = self._start(case, random[3:5], window, whole, seed, place)
        image = self._view(case, start, zoom, size, up_down, left_right)
        boxes = move_boxes(tf.gather(self._labels, case), start, zoom, size, up_down, left_right)
        image = tf.cond(turn, lambda: tf.transpose(image, (1, 0, 2)), lambda: image)
        boxes = tf.where(turn, tf.gather(boxes, [1, 0, 3, 2, 4], axis=1), boxes)
        return image, boxes

    def _shape(self, case: tf.Tensor) -> tf.Tensor:
        """(2,) float32 rows and columns of a case."""
        if self._foreground is None:
            return tf.constant([self.rows, self.columns], tf.float32)
        return tf.cast(tf.gather(self.images.shapes, case)[:2], tf.float32)

    def _start(self, case, random, window, whole, seed, place: int) -> tf.Tensor:
        """(2,) where a window of this size begins in the case: anywhere, or in tiles often around a box."""
        if self._foreground is None:
            return (random if self.strength.scale or place else 0.5) * (whole - window)
        count = tf.gather(self._counts, case)
        chosen = tf.cast(uniform(seed, 90 + place) * tf.cast(count, tf.float32), tf.int32)
        box = tf.gather(tf.gather(self._labels, case), tf.clip_by_value(chosen, 0, tf.maximum(count - 1, 0)))
        low, high = tf.stack([box[1], box[0]]), tf.stack([box[3], box[2]])
        around = low + random * (high - window - low)
        around = tf.clip_by_value(around, tf.minimum(whole - window, 0.0), tf.maximum(whole - window, 0.0))
        wanted = (count > 0) & (uniform(seed, 100 + place) < self._foreground)
        return tf.where(wanted, around, random * (whole - window))

    def _view(self, case, start, zoom, size, up_down, left_right) -> tf.Tensor:
        """`resample` of a case."""
        part, start = self._part(self.images, case, start, zoom, size)
        return resample(part, start, zoom, size, up_down, left_right)

    def _outline(self, case, number, start, zoom, size, up_down, left_right) -> tf.Tensor:
        """The same of the mask of one object, in 0..1."""
        part, start = self._part(self._masks, case, start, zoom, size)
        inside = tf.cast(tf.cast(part, tf.int32) == number, tf.float32)
        return resample(inside, start, zoom, size, up_down, left_right)

    def _part(self, store: ArrayStore | None, case, start, zoom, size):
        """A case, or of a large one what the window needs, and where the window begins in it."""
        assert store is not None
        if self._foreground is None:
            return store.whole(case), start
        shape = tf.gather(store.shapes, case)
        window = tf.cast(size, tf.float32) / zoom
        low = tf.clip_by_value(tf.cast(tf.floor(start), tf.int64) - 1, 0, tf.maximum(shape[:2] - 2, 0))
        high = tf.clip_by_value(tf.cast(tf.math.ceil(start + window), tf.int64) + 1, low + 2, shape[:2])
        part = store.crop(case, tf.concat([low, [0]], 0), tf.concat([high - low, shape[2:]], 0))
        return part, start - tf.cast(low, tf.float32)


def most_together(label: np.ndarray, tile: Sequence[int]) -> int:
    """Most boxes of (n, 5) that a tile around one of them can hold, even zoomed out by half."""
    from scipy.spatial import cKDTree

    if not len(label):
        return 0
    centres = (label[:, :2] + label[:, 2:4]) / 2 / (1.5 * np.array([tile[1], tile[0]]))
    return int(cKDTree(centres).query_ball_point(centres, 0.5, p=np.inf, return_length=True).max())


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
