"""Losses between label ids and logits of every voxel.

With few classes, reductions over the last axis are several times slower on a CPU than over the first one, so all losses
work on (class, voxel) arrays; see `by_class`.
"""

from collections.abc import Sequence
from typing import NamedTuple

import numpy as np
import tensorflow as tf

IGNORE = 255
"""Label id of voxels that no loss and no measure looks at."""
BOUNDARY_REACH, BOUNDARY_WEIGHT = 1, 4.0
SKELETON_STEPS = 5

Regions = Sequence[Sequence[int]]
"""Label ids of every region; empty: the labels exclude one another. See `medcli.preprocessing.plan.Plan.regions`."""


class Voxels(NamedTuple):
    """What every loss is made of, float32.

    Exclusive labels: a softmax over background and classes. Regions, which may overlap: a sigmoid for each.

    Attributes:
        truth: (output, voxel) zeros and ones, background first where the labels are exclusive; all zeros if ignored.
        probabilities: (output, voxel)
        classes, found: (class or region, voxel) the same without background.
        terms: (1, voxel) cross-entropy, or (region, voxel) binary cross-entropy; 0 where ignored.
        known: (voxel,) 1 or 0.
    """

    truth: tf.Tensor
    probabilities: tf.Tensor
    classes: tf.Tensor
    found: tf.Tensor
    terms: tf.Tensor
    known: tf.Tensor

    def mean(self, terms, weights=None):
        """Mean over the known voxels (by their weights) of terms (k, voxel), and over k; 0 when none is known."""
        weights = self.known if weights is None else weights
        return tf.reduce_sum(tf.reduce_mean(terms, axis=0) * weights) / tf.maximum(
            tf.reduce_sum(weights), 1.0
        )


def by_voxel(labels, logits, regions: Regions = ()) -> Voxels:
    """Args:
    labels: (batch, ...) uint8 ids, 0 = background; `IGNORE` gives all zeros.
    logits: (batch, ..., output) float32: background and classes, or the regions.
    """
    flat = tf.reshape(tf.cast(labels, tf.uint8), [-1])
    known = tf.cast(flat != IGNORE, tf.float32)
    outputs = logits.shape[-1]
    scores = tf.transpose(tf.reshape(logits, [-1, outputs]))
    if regions:
        index = tf.cast(flat, tf.int32)
        truth = tf.stack([tf.gather(row, index) for row in _memberships(regions)])
        chances = tf.sigmoid(scores)
        terms = tf.nn.sigmoid_cross_entropy_with_logits(labels=truth, logits=scores) * known
        return Voxels(truth, chances, truth, chances * known, terms, known)
    truth = tf.cast(flat[None] == np.arange(outputs, dtype=np.uint8)[:, None], tf.float32)
    scores -= tf.stop_gradient(tf.reduce_max(scores, axis=0))
    log_p = scores - tf.math.log(tf.reduce_sum(tf.exp(scores), axis=0))
    terms = -tf.reduce_sum(truth * log_p, axis=0, keepdims=True)
    return Voxels(truth, tf.exp(log_p), truth[1:], tf.exp(log_p[1:]) * known, terms, known)


def _memberships(regions: Regions) -> np.ndarray:
    """(region, 256) float32: 1 for every label id of the region."""
    table = np.zeros((len(regions), 256), np.float32)
    for row, ids in zip(table, regions, strict=True):
        row[list(ids)] = 1
    return table


def cross_entropy(labels, logits, regions: Regions = ()):
    """Mean cross-entropy over the voxels that are not ignored; 0 when all are."""
    voxels = by_voxel(labels, logits, regions)
    return voxels.mean(voxels.terms)


def focal(labels, logits, regions: Regions = (), gamma: float = 2.0):
    """Cross-entropy times (1 - p_true) ** gamma (Lin et al. 2017, equation 4), mean over the known voxels."""
    voxels = by_voxel(labels, logits, regions)
    return voxels.mean(voxels.terms * (1 - tf.exp(-voxels.terms)) ** gamma)


def dice(labels, logits, regions: Regions = ()):
    """1 minus the soft Dice of the foreground classes or regions; see `_dice`."""
    return _dice(by_voxel(labels, logits, regions))


def dice_cross_entropy(labels, logits, regions: Regions = ()):
    """The sum of both, as in Isensee et al. 2021."""
    voxels = by_voxel(labels, logits, regions)
    return _dice(voxels) + voxels.mean(voxels.terms)


def mean_squared_error(labels, logits, regions: Regions = ()):
    """Mean over classes (or regions) and known voxels of (probability - truth) ** 2, truth one-hot or 0 and 1."""
    voxels = by_voxel(labels, logits, regions)
    return voxels.mean(tf.square(voxels.probabilities - voxels.truth))


def _dice(voxels: Voxels, smooth: float = 1.0, missed: float = 0.5):
    """1 - mean over classes of (2 sum(p y) + s) / (sum(p) + sum(y) + s), with sums over the whole batch.

    Milletari et al. 2016 without the squares. A class that is absent and not predicted costs nothing. Sums over the
    batch rather than per sample keep small or missing objects from dominating. Other shares than one half for `missed`
    give the Tversky loss (Salehi et al. 2017, equation 4): 2 ((1 - m) sum(p) + m sum(y)) in place of the two sums.
    """
    overlap = tf.reduce_sum(voxels.found * voxels.classes, axis=1)
    found, true = tf.reduce_sum(voxels.found, axis=1), tf.reduce_sum(voxels.classes, axis=1)
    total = 2 * ((1 - missed) * found + missed * true)
    return 1 - tf.reduce_mean((2 * overlap + smooth) / (total + smooth))


def tversky_cross_entropy(labels, logits, regions: Regions = ()):
    """Cross-entropy plus a Tversky loss that holds a missed voxel against the network more than a false one."""
    voxels = by_voxel(labels, logits, regions)
    return _dice(voxels, missed=0.7) + voxels.mean(voxels.terms)


def boundary_cross_entropy(labels, logits, regions: Regions = ()):
    """Dice plus a cross-entropy in which voxels beside another label count `BOUNDARY_WEIGHT` times.

    As the weight map of Ronneberger et al. 2015 (equation 2), but from the nearest voxels only, so that it
    costs two poolings: a voxel counts more when a voxel of another label lies within `BOUNDARY_REACH` of it. An
    ignored voxel is no other label.
    """
    voxels = by_voxel(labels, logits, regions)
    highest = tf.cast(labels, tf.float32)[..., None]
    lowest = tf.where(highest == IGNORE, -1.0, highest)
    edge = _pooled(lowest, BOUNDARY_REACH) + _pooled(-highest, BOUNDARY_REACH) > 0
    weights = voxels.known * (1 + (BOUNDARY_WEIGHT - 1) * tf.reshape(tf.cast(edge, tf.float32), [-1]))
    return _dice(voxels) + voxels.mean(voxels.terms, weights)


def centreline_dice_cross_entropy(labels, logits, regions: Regions = ()):
    """Dice + cross-entropy, half of the Dice being that of centrelines: for vessels and airways.

    Shit et al. 2021, "clDice" (CVPR), equations 2 to 4 and algorithm 1: soft skeletons by repeated erosion
    (minimum over the neighbours) and opening, `SKELETON_STEPS` times, which must reach half the width of the
    thickest structure. Over the whole batch and the mean of the foreground classes.
    """
    voxels = by_voxel(labels, logits, regions)
    count = voxels.classes.shape[0]
    spatial = tf.concat([tf.shape(logits)[:-1], [count]], 0)
    soft, hard = (tf.reshape(tf.transpose(part), spatial) for part in (voxels.found, voxels.classes))
    soft.set_shape([*logits.shape[:-1], count])
    hard.set_shape(soft.shape)
    axes = list(range(len(soft.shape) - 1))

    def share(line, region):
        return (tf.reduce_sum(line * region, axes) + 1) / (tf.reduce_sum(line, axes) + 1)

    precision = share(soft_skeleton(soft), hard)
    sensitivity = share(tf.stop_gradient(soft_skeleton(hard)), soft)
    centreline = 1 - tf.reduce_mean(2 * precision * sensitivity / (precision + sensitivity))
    return 0.5 * _dice(voxels) + 0.5 * centreline + voxels.mean(voxels.terms)


def soft_skeleton(x):
    """Algorithm 1 of Shit et al. 2021: what each erosion takes away that an opening would not give back.

    Args:
        x: (batch, ..., class) float32 in 0..1, two or three spatial axes.
    """
    skeleton = tf.nn.relu(x - _opened(x))
    for _ in range(SKELETON_STEPS):
        x = -_pooled(-x, 1)
        more = tf.nn.relu(x - _opened(x))
        skeleton += tf.nn.relu(more - skeleton * more)
    return skeleton


def _opened(x):
    return _pooled(-_pooled(-x, 1), 1)


def _pooled(x, reach: int):
    """Maximum over the cube (square) of `reach` voxels on every side."""
    axes = len(x.shape) - 2
    pool = {2: tf.nn.max_pool2d, 3: tf.nn.max_pool3d}[axes]
    return pool(x, 2 * reach + 1, 1, "SAME")


LOSSES = {
    "cross_entropy": cross_entropy,
    "focal": focal,
    "dice": dice,
    "dice_cross_entropy": dice_cross_entropy,
    "tversky_cross_entropy": tversky_cross_entropy,
    "boundary_cross_entropy": boundary_cross_entropy,
    "centreline_dice_cross_entropy": centreline_dice_cross_entropy,
    "mse": mean_squared_error,
}


def deep_supervision(loss, labels, outputs, *, sparse: bool = False):
    """The loss at every resolution, weighted 1, 1/2, 1/4, ... and normalised to sum to one.

    Args:
        outputs: Logits from full to coarse resolution; labels are subsampled to each of them (nearest voxel).
        sparse: Most labels may be unknown; see `subsampled`.
    """
    weights = [0.5**level for level in range(len(outputs))]
    total = 0.0
    for weight, logits in zip(weights, outputs, strict=True):
        total += weight * loss(subsampled(labels, logits.shape[1:-1], sparse=sparse), logits)
    return total / sum(weights)


def subsampled(labels, shape, *, sparse: bool = False):
    """Every n-th voxel along each axis, n from the ratio of the shapes; which starts in the middle of its block.

    With `sparse` an ignored voxel is replaced, axis by axis, by the nearest known one of its block: one labelled plane
    of ten would else be lost at most of the coarser resolutions.
    """
    for axis, (full, small) in enumerate(zip(labels.shape[1:], shape, strict=True), start=1):
        step = full // small
        middle = step // 2
        offsets = sorted(range(step), key=[abs(offset - middle) for offset in range(step)].__getitem__)
        every = [(slice(None),) * axis + (slice(offset, None, step),) for offset in offsets]
        nearest = labels[every[0]]
        for other in every[1:] if sparse else ():
            nearest = tf.where(nearest == IGNORE, labels[other], nearest)
        labels = nearest
    return labels
