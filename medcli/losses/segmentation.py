"""Losses between label ids and logits of every voxel.

With few classes, reductions over the last axis are several times slower on a CPU than over the first one, so all losses
work on (class, voxel) arrays; see `by_class`.
"""

import numpy as np
import tensorflow as tf

IGNORE = 255
"""Label id of voxels that no loss and no measure looks at."""
BOUNDARY_REACH, BOUNDARY_WEIGHT = 1, 4.0
SKELETON_STEPS = 5


def by_class(labels, logits):
    """Truth (class, voxel) as zeros and ones, log-probabilities (class, voxel), known (voxel,); all float32.

    Args:
        labels: (batch, ...) uint8 ids, 0 = background; `IGNORE` gives all zeros.
        logits: (batch, ..., class) float32, background first.
    """
    num_classes = logits.shape[-1]
    flat = tf.reshape(tf.cast(labels, tf.uint8), [-1])
    truth = tf.cast(flat[None] == np.arange(num_classes, dtype=np.uint8)[:, None], tf.float32)
    scores = tf.transpose(tf.reshape(logits, [-1, num_classes]))
    scores -= tf.stop_gradient(tf.reduce_max(scores, axis=0))
    log_probabilities = scores - tf.math.log(tf.reduce_sum(tf.exp(scores), axis=0))
    return truth, log_probabilities, tf.cast(flat != IGNORE, tf.float32)


def cross_entropy(labels, logits):
    """Mean cross-entropy over the voxels that are not ignored; 0 when all are."""
    return _cross_entropy(*by_class(labels, logits))


def focal(labels, logits, gamma: float = 2.0):
    """Cross-entropy times (1 - p_true) ** gamma (Lin et al. 2017, equation 4), mean over the known voxels."""
    truth, log_p, known = by_class(labels, logits)
    terms = -tf.reduce_sum(truth * log_p, axis=0)
    return tf.reduce_sum(terms * (1 - tf.exp(-terms)) ** gamma) / tf.maximum(tf.reduce_sum(known), 1.0)


def dice(labels, logits):
    """1 minus the soft Dice of the foreground classes; see `_dice`."""
    return _dice(*by_class(labels, logits))


def dice_cross_entropy(labels, logits):
    """The sum of both, as in Isensee et al. 2021."""
    parts = by_class(labels, logits)
    return _dice(*parts) + _cross_entropy(*parts)


def mean_squared_error(labels, logits):
    """Mean over classes and known voxels of (probability - one-hot truth) ** 2."""
    truth, log_p, known = by_class(labels, logits)
    terms = tf.reduce_mean(tf.square(tf.exp(log_p) - truth), axis=0)
    return tf.reduce_sum(terms * known) / tf.maximum(tf.reduce_sum(known), 1.0)


def _cross_entropy(truth, log_p, known):
    return -tf.reduce_sum(truth * log_p) / tf.maximum(tf.reduce_sum(known), 1.0)


def _dice(truth, log_p, known, smooth: float = 1.0, missed: float = 0.5):
    """1 - mean over classes of (2 sum(p y) + s) / (sum(p) + sum(y) + s), with sums over the whole batch.

    Milletari et al. 2016 without the squares. A class that is absent and not predicted costs nothing. Sums over the
    batch rather than per sample keep small or missing objects from dominating. Other shares than one half for `missed`
    give the Tversky loss (Salehi et al. 2017, equation 4): 2 ((1 - m) sum(p) + m sum(y)) in place of the two sums.
    """
    probabilities, truth = tf.exp(log_p[1:]) * known, truth[1:]
    overlap = tf.reduce_sum(probabilities * truth, axis=1)
    found, true = tf.reduce_sum(probabilities, axis=1), tf.reduce_sum(truth, axis=1)
    total = 2 * ((1 - missed) * found + missed * true)
    return 1 - tf.reduce_mean((2 * overlap + smooth) / (total + smooth))


def tversky_cross_entropy(labels, logits):
    """Cross-entropy plus a Tversky loss that holds a missed voxel against the network more than a false one."""
    truth, log_p, known = by_class(labels, logits)
    return _dice(truth, log_p, known, missed=0.7) + _cross_entropy(truth, log_p, known)


def boundary_cross_entropy(labels, logits):
    """Dice plus a cross-entropy in which voxels beside another label count `BOUNDARY_WEIGHT` times.

    As the weight map of Ronneberger et al. 2015 (equation 2), but from the nearest voxels only, so that it
    costs two poolings: a voxel counts more when a voxel of another label lies within `BOUNDARY_REACH` of it.
    """
    truth, log_p, known = by_class(labels, logits)
    ids = tf.cast(tf.where(tf.equal(labels, IGNORE), tf.zeros_like(labels), labels), tf.float32)[..., None]
    edge = _pooled(ids, BOUNDARY_REACH) + _pooled(-ids, BOUNDARY_REACH) > 0
    weights = known * (1 + (BOUNDARY_WEIGHT - 1) * tf.reshape(tf.cast(edge, tf.float32), [-1]))
    terms = -tf.reduce_sum(truth * log_p, axis=0)
    return _dice(truth, log_p, known) + tf.reduce_sum(terms * weights) / tf.maximum(
        tf.reduce_sum(weights), 1.0
    )


def centreline_dice_cross_entropy(labels, logits):
    """Dice + cross-entropy, half of the Dice being that of centrelines: for vessels and airways.

    Shit et al. 2021, "clDice" (CVPR), equations 2 to 4 and algorithm 1: soft skeletons by repeated erosion
    (minimum over the neighbours) and opening, `SKELETON_STEPS` times, which must reach half the width of the
    thickest structure. Over the whole batch and the mean of the foreground classes.
    """
    truth, log_p, known = by_class(labels, logits)
    shape = tf.shape(logits)
    spatial = tf.concat([shape[:-1], [shape[-1] - 1]], 0)
    mask = known * tf.ones_like(truth[1:])
    soft, hard = (tf.reshape(tf.transpose(part * mask), spatial) for part in (tf.exp(log_p[1:]), truth[1:]))
    soft.set_shape([*logits.shape[:-1], logits.shape[-1] - 1])
    hard.set_shape(soft.shape)
    axes = list(range(len(soft.shape) - 1))

    def share(line, region):
        return (tf.reduce_sum(line * region, axes) + 1) / (tf.reduce_sum(line, axes) + 1)

    precision = share(soft_skeleton(soft), hard)
    sensitivity = share(tf.stop_gradient(soft_skeleton(hard)), soft)
    centreline = 1 - tf.reduce_mean(2 * precision * sensitivity / (precision + sensitivity))
    return 0.5 * _dice(truth, log_p, known) + 0.5 * centreline + _cross_entropy(truth, log_p, known)


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


def deep_supervision(loss, labels, outputs):
    """The loss at every resolution, weighted 1, 1/2, 1/4, ... and normalised to sum to one.

    Args:
        outputs: Logits from full to coarse resolution; labels are subsampled to each of them (nearest voxel).
    """
    weights = [0.5**level for level in range(len(outputs))]
    total = 0.0
    for weight, logits in zip(weights, outputs, strict=True):
        total += weight * loss(subsampled(labels, logits.shape[1:-1]), logits)
    return total / sum(weights)


def subsampled(labels, shape):
    """Every n-th voxel along each axis, n from the ratio of the shapes; which starts in the middle of its block."""
    steps = [full // small for full, small in zip(labels.shape[1:], shape, strict=True)]
    return labels[(slice(None), *(slice(step // 2, None, step) for step in steps))]
