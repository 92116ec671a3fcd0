"""Rotation, scaling, mirroring and elastic deformation of a patch: which part of a case it needs, in one resampling.

A patch is described by where its voxels come from: a matrix about its centre, and a displacement of each voxel. As much
is computed as was drawn: a patch that is only mirrored is cut and reversed; one that is turned about its planes' axis
is interpolated within planes, all planes at once; only the rest is interpolated in three directions.
"""

from collections.abc import Collection, Sequence
from dataclasses import dataclass

import numpy as np
import tensorflow as tf

from medcli.datasets.augment import Strength, log_uniform, uniform
from medcli.datasets.separable import smooth_field

ELASTIC_INTERVALS = 4
"""Intervals of the spline per axis."""
ELASTIC_REACH = 0.35
"""Largest displacement of a control point, in intervals. Below 0.40 (three axes) a cubic spline never folds: Choi and
Lee 2000, "Injectivity conditions of 2D and 3D uniform cubic B-spline functions"."""
TILT = 0.5
"""Out of the plane, volumes turn by this share of the angle within it: patches have fewer planes than rows."""

CUT, IN_PLANE, IN_SPACE = 0, 1, 2
"""Kinds of resampling, by what they cost."""


@dataclass(frozen=True)
class Chances:
    """With what probability a patch is deformed.

    Attributes:
        turn: Rotated and scaled within the planes.
        tilt: Volumes: also rotated out of the planes and scaled along all axes.
        elastic: Deformed elastically.
    """

    turn: float
    tilt: float
    elastic: float


CHANCES = {
    "none": Chances(0, 0, 0),
    "light": Chances(0.5, 0, 0),
    "medium": Chances(0.7, 0.2, 0),
    "strong": Chances(0.8, 0.3, 0.2),
}


@dataclass(frozen=True)
class Draws:
    """One drawn deformation, as tensors.

    Attributes:
        kind: CUT, IN_PLANE or IN_SPACE.
        matrix: (axes, axes) float32, from voxels of the patch to voxels of the case, both from the patch's centre.
        controls: Of the displacement, in voxels of the patch; zeros where there is none.
        elastic: Whether there is one.
        half: (axes,) how far the patch reaches in the case on each side of its centre, in voxels.
    """

    kind: tf.Tensor
    matrix: tf.Tensor
    controls: tf.Tensor
    elastic: tf.Tensor
    half: tf.Tensor


class Deformation:
    """What may happen to patches of one size.

    Args:
        patch: Size per axis, planes first in volumes.
        spacing: Of voxels along the axes; only the ratios matter.
        strength: Angles and zoom.
        chances: With what probability.
        allowed: Of rotate, scale, tilt, elastic; others are not made.
        flips: Axes that are mirrored half of the time: plane, row, column.
        quarter_turns: Rows and columns change places half of the time; needs a square patch.
    """

    def __init__(
        self,
        patch: Sequence[int],
        spacing: Sequence[float],
        *,
        strength: Strength,
        chances: Chances,
        allowed: Collection[str],
        flips: Collection[str],
        quarter_turns: bool,
    ):
        self.patch, self.axes = tuple(patch), len(patch)
        self.angle = strength.rotate if "rotate" in allowed else 0.0
        self.zoom = strength.scale if "scale" in allowed else 0.0
        self.turn = chances.turn if self.angle or self.zoom else 0.0
        self.tilt = chances.tilt if "tilt" in allowed and self.turn and self.axes == 3 else 0.0
        self.elastic = chances.elastic if "elastic" in allowed else 0.0
        names = ("plane", "row", "column")[-self.axes :]
        self.flips = tuple(0.5 if name in flips else 0.0 for name in names)
        steps = np.array(spacing, np.float32)
        square = patch[-1] == patch[-2] and np.isclose(steps[-1], steps[-2])
        self.quarter = 0.5 if quarter_turns and square else 0.0
        if square:
            steps[-1] = steps[-2]  # a quarter turn is then exact
        self._aspect = tf.constant(steps[None] / steps[:, None])
        self._interpolated = tf.constant([IN_SPACE, IN_PLANE, IN_PLANE][-self.axes :])

    def draw(self, seed) -> Draws:
        """All that is random."""

        def happens(purpose: int, probability: float):
            return uniform(seed, purpose) < probability

        tilted = happens(80, self.tilt)
        turned = happens(3, self.turn) | tilted
        elastic = happens(81, self.elastic)
        apply, apply_tilt = tf.cast(turned, tf.float32), tf.cast(tilted, tf.float32)
        angles = uniform(seed, 1, (3,), -self.angle, self.angle) * (np.pi / 180)
        angles *= tf.stack([apply, TILT * apply_tilt, TILT * apply_tilt])
        zoom = log_uniform(seed, 2, (), self.zoom) ** apply
        mirror = 1 - 2 * tf.cast(uniform(seed, 4, (self.axes,)) < tf.constant(self.flips), tf.float32)
        quarter = happens(46, self.quarter)
        matrix = self._matrix(angles, zoom, tilted, quarter) * mirror
        interval = tf.constant(self.patch, tf.float32) / ELASTIC_INTERVALS
        reach = interval * (ELASTIC_REACH * tf.cast(elastic, tf.float32))
        count = [ELASTIC_INTERVALS + 3] * self.axes
        if self.axes == 3 and not self.tilt:
            reach *= tf.constant([0.0, 1.0, 1.0])
            count[0] = 1  # the same in all planes
        controls = uniform(seed, 82, (*count, self.axes), -1.0, 1.0) * reach
        half = tf.linalg.matvec(tf.abs(matrix), (tf.constant(self.patch, tf.float32) - 1) / 2 + reach)
        kind = tf.where(turned | elastic, IN_PLANE, CUT)
        if self.tilt:
            kind = tf.where(tilted | elastic, IN_SPACE, kind)
        return Draws(kind, matrix, controls, elastic, half)

    def _matrix(self, angles, zoom, tilted, quarter):
        """Rotations about the axes of planes, columns and rows, divided by the zoom, in voxels."""
        matrix = _rotation(angles[0], 1, 2)
        if self.tilt:
            matrix = tf.matmul(_rotation(angles[2], 0, 2), tf.matmul(_rotation(angles[1], 0, 1), matrix))
        swapped = tf.gather(matrix, [0, 2, 1], axis=1)
        matrix = tf.where(quarter, swapped, matrix)
        matrix /= tf.stack([tf.where(tilted, zoom, 1.0), zoom, zoom])[:, None]
        return matrix[-self.axes :, -self.axes :] * self._aspect

    def region(self, draws: Draws, corner: tf.Tensor) -> tuple[tf.Tensor, tf.Tensor]:
        """First voxel and size of what the patch needs of the case, int64; undeformed, it would begin at `corner`."""
        centre = tf.cast(corner, tf.float32) + (tf.constant(self.patch, tf.float32) - 1) / 2
        slack = 1e-3 * tf.cast(draws.kind >= self._interpolated, tf.float32)  # else exactly the patch
        first = tf.floor(centre - draws.half - slack)
        last = tf.math.ceil(centre + draws.half + slack)
        return tf.cast(first, tf.int64), tf.cast(last - first, tf.int64) + 1

    def apply(self, draws: Draws, image, label, offset):
        """The patch (*patch, channel) and its labels (*patch) from a region of image and labels.

        Args:
            offset: (axes,) float32: where the patch's centre lies in the region.
        """
        branches = [lambda: self._cut(draws, image, label)]
        if self.turn or self.elastic:
            branches.append(lambda: self._in_plane(draws, image, label, offset))
        if self.tilt:
            branches.append(lambda: self._in_space(draws, image, label, offset))
        patch, labels = tf.switch_case(draws.kind, branches) if len(branches) > 1 else branches[0]()
        channels = image.shape[-1]
        return tf.ensure_shape(patch, (*self.patch, channels)), tf.ensure_shape(labels, self.patch)

    def _cut(self, draws: Draws, image, label):
        rows, columns = self.axes - 2, self.axes - 1
        if self.quarter:
            swapped = tf.abs(draws.matrix[rows, columns]) > 0.5
            order = [*range(rows), columns, rows]
            image = tf.cond(swapped, lambda: tf.transpose(image, [*order, self.axes]), lambda: image)
            label = tf.cond(swapped, lambda: tf.transpose(label, order), lambda: label)
        mirrored = tf.where(tf.reduce_sum(draws.matrix, axis=0) < 0)[:, 0]
        return tf.reverse(image, mirrored), tf.reverse(label, mirrored)

    def _in_plane(self, draws: Draws, image, label, offset):
        """Planes ride along; if mirrored, they change their order."""
        offset, flat = offset[-2:], draws.matrix[-2:, -2:]
        if self.axes == 2:
            at = self._places(draws, flat, offset)
            return linear(image, at), nearest(label, at)
        planes = self.patch[0]
        if self.flips[0]:
            mirrored = draws.matrix[0, 0] < 0
            image = tf.cond(mirrored, lambda: tf.reverse(image, [0]), lambda: image)
            label = tf.cond(mirrored, lambda: tf.reverse(label, [0]), lambda: label)
        at = self._places(draws, flat, offset)
        image = linear(tf.transpose(image, (1, 2, 0, 3)), at)
        label = nearest(tf.transpose(label, (1, 2, 0)), at)
        image = tf.reshape(image, (*self.patch[1:], planes, image.shape[-1]))
        return tf.transpose(image, (2, 0, 1, 3)), tf.transpose(label, (2, 0, 1))

    def _in_space(self, draws: Draws, image, label, offset):
        at = self._places(draws, draws.matrix, offset)
        return linear(image, at), nearest(label, at)

    def _places(self, draws: Draws, matrix, offset) -> list[tf.Tensor]:
        """Where the voxels of the patch (of a plane of it) lie in the region, one array per axis."""
        axes = matrix.shape[0]
        shape = self.patch[-axes:]
        grid = [
            tf.reshape(tf.range(size, dtype=tf.float32) - (size - 1) / 2, [-1 if a == axis else 1 for a in range(axes)])
            for axis, size in enumerate(shape)
        ]  # fmt: skip

        def affine(voxels):
            return [
                tf.broadcast_to(
                    sum(matrix[row, axis] * voxels[axis] for axis in range(axes)) + offset[row], shape
                )
                for row in range(axes)
            ]

        def elastic():
            controls = draws.controls if axes == self.axes else draws.controls[0]
            moved = smooth_field(controls[..., -axes:], shape)
            return affine([grid[axis] + moved[..., axis] for axis in range(axes)])

        if not self.elastic:
            return affine(grid)
        return tf.cond(draws.elastic, elastic, lambda: affine(grid))


def _rotation(angle, first: int, second: int) -> tf.Tensor:
    """(3, 3), in the plane of two axes."""
    still, turning, crossing = np.eye(3), np.zeros((3, 3)), np.zeros((3, 3))
    for axis in (first, second):
        still[axis, axis], turning[axis, axis] = 0, 1
    crossing[first, second], crossing[second, first] = -1, 1
    still, turning, crossing = (tf.constant(part, tf.float32) for part in (still, turning, crossing))
    return still + turning * tf.cos(angle) + crossing * tf.sin(angle)


def linear(image: tf.Tensor, places: Sequence[tf.Tensor]) -> tf.Tensor:
    """Linear interpolation over the first len(places) axes; further axes ride along. Clipped to the image.

    As `scipy.ndimage.map_coordinates(order=1, mode="nearest")`.
    """
    axes = len(places)
    size = tf.shape(image)
    flat, riding = _flat(image, axes)
    base: tf.Tensor = 0
    shares: list[tf.Tensor] = []
    steps: list[tf.Tensor] = []
    for axis, place in enumerate(places):
        last = size[axis] - 1
        place = tf.clip_by_value(place, 0.0, tf.cast(last, tf.float32))
        low = tf.cast(tf.minimum(tf.floor(place), tf.cast(tf.maximum(last - 1, 0), tf.float32)), tf.int32)
        share = place - tf.cast(low, tf.float32)
        shares.append(share[..., None] if riding else share)
        base = base * size[axis] + low
        steps = [step * size[axis] for step in steps] + [tf.minimum(last, 1)]
    corners: list[tf.Tensor] = [0]
    for step in steps:
        corners = [corner + more for corner in corners for more in (0, step)]
    values = [tf.gather(flat, base + corner) for corner in corners]
    for share in reversed(shares):
        values = [low + (high - low) * share for low, high in zip(values[::2], values[1::2], strict=True)]
    value = values[0] if riding else values[0][..., None]
    return tf.reshape(value, tf.concat([tf.shape(places[0]), size[axes:]], 0))


def nearest(label: tf.Tensor, places: Sequence[tf.Tensor]) -> tf.Tensor:
    """The value of the nearest voxel, halves up; axes as for `linear`."""
    axes = len(places)
    size = tf.shape(label)
    flat, _ = _flat(label, axes)
    base: tf.Tensor = 0
    for axis, place in enumerate(places):
        at = tf.clip_by_value(tf.cast(tf.floor(place + 0.5), tf.int32), 0, size[axis] - 1)
        base = base * size[axis] + at
    return tf.reshape(tf.gather(flat, base), tf.concat([tf.shape(places[0]), size[axes:]], 0))


def _flat(array: tf.Tensor, axes: int) -> tuple[tf.Tensor, bool]:
    """The first axes as one, the others as a second one unless there is one value only (faster to gather so)."""
    riding = any(size != 1 for size in array.shape[axes:])
    last = tf.reduce_prod(tf.shape(array)[axes:])
    return tf.reshape(array, (-1, last) if riding else [-1]), riding
