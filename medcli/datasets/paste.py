"""Copy-paste: objects of other cases put into a sample, with their boxes (Ghiasi et al. 2021, "Simple Copy-Paste")."""

from collections.abc import Callable, Sequence

import numpy as np
import tensorflow as tf

from medcli.datasets.augment import log_uniform, uniform
from medcli.datasets.box_moves import move_boxes

LARGEST_SHARE = 0.5
"""Objects longer than this share of the sample are not pasted."""
MOST_COVERED = 0.2
"""An object is not pasted where it would cover more than this share of a box that is there."""
MARGIN, LEAST_MARGIN = 0.1, 2.0
"""Width of the soft border around a pasted rectangle: a share of its sides, at least so many pixels."""
TRIES = 8
"""Random places, of which the one that covers least is taken."""


class Donors:
    """All objects of the training cases that are small enough; each class is drawn equally often.

    Args:
        labels: (n, 5) per case.
        size: Rows and columns of the samples.
        shape: Rows and columns (2,) of a case.
        view: A window of a case, arguments as of `medcli.datasets.box_moves.resample`.
        outline: The same of one object's mask (case, number of the object, window); None: rectangles with soft borders.
    """

    MOST = 3
    """Objects pasted into one sample, at most."""

    def __init__(
        self,
        labels: Sequence[np.ndarray],
        size: tuple[int, int],
        *,
        shape: Callable[[tf.Tensor], tf.Tensor],
        view: Callable[..., tf.Tensor],
        outline: Callable[..., tf.Tensor] | None = None,
    ):
        self.size, self._shape, self._view, self._mask = size, shape, view, outline
        case = np.concatenate([np.full(len(label), index) for index, label in enumerate(labels)])
        number = np.concatenate([np.arange(1, len(label) + 1) for label in labels])
        boxes = np.concatenate([label.reshape(-1, 5) for label in labels]).astype(np.float32)
        sides = boxes[:, [3, 2]] - boxes[:, [1, 0]]
        usable = np.flatnonzero(np.all((sides > 0) & (sides <= LARGEST_SHARE * np.array(size)), axis=1))
        order = usable[np.argsort(boxes[usable, 4], kind="stable")]
        self._any = len(order) > 0
        if not self._any:
            return
        _, first, count = np.unique(boxes[order, 4], return_index=True, return_counts=True)
        self._case = tf.constant(case[order], tf.int64)
        self._number = tf.constant(number[order], tf.int32)
        self._boxes = tf.constant(boxes[order])
        self._first, self._count = tf.constant(first), tf.constant(count)

    def paste(
        self, image: tf.Tensor, boxes: tf.Tensor, seed: tf.Tensor, *, scale: float, flips: tuple[bool, bool]
    ) -> tuple[tf.Tensor, tf.Tensor]:
        """One to `MOST` objects into an image (row, column, channel) with boxes (n, 5), each if there is room for it.

        Args:
            scale: Zoom between 1 / (1 + scale) and 1 + scale.
            flips: Whether rows and columns may be mirrored.
        """
        if not self._any:
            return image, boxes
        wanted = uniform(seed, 110) * self.MOST
        for turn in range(self.MOST):
            image, boxes = self._one(image, boxes, seed, 120 + 10 * turn, turn < wanted, scale, flips)
        return image, boxes

    def _one(self, image, boxes, seed, purpose: int, wanted, scale: float, flips):
        random = uniform(seed, purpose, (4,))
        kind = tf.cast(random[0] * float(len(self._first)), tf.int32)
        place = tf.cast(random[1] * tf.cast(tf.gather(self._count, kind), tf.float32), tf.int64)
        index = tf.gather(self._first, kind) + place
        box = tf.gather(self._boxes, index)
        low, high = tf.stack([box[1], box[0]]), tf.stack([box[3], box[2]])
        mirror = tf.stack([(random[2] < 0.5) & flips[0], (random[3] < 0.5) & flips[1]])
        limit = tf.constant(self.size, tf.float32)
        zoom = tf.minimum(log_uniform(seed, purpose + 1, (), scale), tf.reduce_min(limit / (high - low)))
        length = (high - low) * zoom
        target, covered = self._place(boxes, length, seed, purpose + 2)
        start = tf.where(mirror, high - (limit - target) / zoom, low - target / zoom)
        move = (start, tf.stack([zoom, zoom]), tf.constant(self.size, tf.int32), mirror[0], mirror[1])
        moved = move_boxes(box[None], *move)
        wanted &= covered <= MOST_COVERED

        def pasted():
            case = tf.gather(self._case, index)
            if self._mask is None:
                share = self._rectangle(case, target, length, move)
            else:
                share = self._mask(case, tf.gather(self._number, index), *move)
            return image + share * (self._view(case, *move) - image), tf.concat([boxes, moved], 0)

        return tf.cond(wanted, pasted, lambda: (image, boxes))

    def _place(self, boxes, length, seed, purpose: int):
        """(2,) row and column of the object's corner, and the largest share of a box that it covers there."""
        room = tf.constant(self.size, tf.float32) - length
        corners = uniform(seed, purpose, (TRIES, 2)) * room
        low = tf.maximum(corners[:, None], boxes[None, :, 1::-1])
        high = tf.minimum(corners[:, None] + length, boxes[None, :, 3:1:-1])
        overlap = tf.reduce_prod(tf.nn.relu(high - low), axis=-1)
        area = tf.reduce_prod(boxes[:, 2:4] - boxes[:, :2], axis=-1)
        share = tf.where(boxes[:, 4] >= 0, tf.math.divide_no_nan(overlap, area), 0.0)
        worst = tf.reduce_max(tf.concat([share, tf.zeros((TRIES, 1))], 1), axis=1)
        best = tf.argmin(worst)
        return tf.gather(corners, best), tf.gather(worst, best)

    def _rectangle(self, case, target, length, move):
        """(row, column, 1) in 0..1: how much of the object shows where; nothing from outside of its case."""
        start, zoom, _, up_down, left_right = move
        ramps = []
        for axis, mirror in enumerate((up_down, left_right)):
            at = tf.range(self.size[axis], dtype=tf.float32) + 0.5
            margin = tf.maximum(MARGIN * length[axis], LEAST_MARGIN)
            inside = tf.minimum(at - target[axis], target[axis] + length[axis] - at)
            source = tf.where(mirror, self.size[axis] - at, at) / zoom[axis] + start[axis]
            there = (source >= 0) & (source <= self._shape(case)[axis])
            ramps.append(tf.clip_by_value(1 + inside / margin, 0.0, 1.0) * tf.cast(there, tf.float32))
        return (ramps[0][:, None] * ramps[1][None])[..., None]
