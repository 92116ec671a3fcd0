"""Losses between label ids and logits of every voxel."""

import tensorflow as tf

IGNORE = 255
"""Label id of voxels that no loss and no measure looks at."""


def cross_entropy(labels, logits):
    """Mean cross-entropy over the voxels that are not ignored; 0 when all are.

    Args:
        labels: (batch, ...) integer ids, 0 = background.
        logits: (batch, ..., classes) float32, background first.
    """
    known = tf.cast(labels != IGNORE, tf.float32)
    ids = tf.where(labels != IGNORE, tf.cast(labels, tf.int32), 0)
    terms = tf.nn.sparse_softmax_cross_entropy_with_logits(ids, logits)
    return tf.reduce_sum(terms * known) / tf.maximum(tf.reduce_sum(known), 1.0)


def focal(labels, logits, gamma: float = 2.0):
    """Cross-entropy times (1 - p_true) ** gamma (Lin et al. 2017, equation 4), mean over the known voxels."""
    known = tf.cast(labels != IGNORE, tf.float32)
    ids = tf.where(labels != IGNORE, tf.cast(labels, tf.int32), 0)
    terms = tf.nn.sparse_softmax_cross_entropy_with_logits(ids, logits)
    return tf.reduce_sum(terms * (1 - tf.exp(-terms)) ** gamma * known) / tf.maximum(
        tf.reduce_sum(known), 1.0
    )


def dice(labels, logits, smooth: float = 1.0):
    """1 minus the soft Dice of the foreground classes, with sums over the whole batch.

    2 sum(p y) / (sum(p) + sum(y)) per class (Milletari et al. 2016 without the squares), both sides plus `smooth`, so a
    class that is absent and not predicted costs nothing. Sums over the batch rather than per sample keep small or
    missing objects from dominating.
    """
    num_classes = logits.shape[-1]
    known = tf.cast(labels != IGNORE, tf.float32)[..., None]
    probabilities = tf.nn.softmax(logits)[..., 1:] * known
    truth = tf.one_hot(
        tf.cast(labels, tf.int32) - 1, num_classes - 1
    )  # background and ignored become all zeros
    axes = list(range(len(labels.shape)))
    overlap = tf.reduce_sum(probabilities * truth, axes)
    total = tf.reduce_sum(probabilities, axes) + tf.reduce_sum(truth, axes)
    return 1 - tf.reduce_mean((2 * overlap + smooth) / (total + smooth))


def dice_cross_entropy(labels, logits):
    """The sum of both, as in Isensee et al. 2021."""
    return dice(labels, logits) + cross_entropy(labels, logits)


def mean_squared_error(labels, logits):
    """Mean over classes and known voxels of (probability - one-hot truth) ** 2."""
    known = tf.cast(labels != IGNORE, tf.float32)
    truth = tf.one_hot(tf.cast(labels, tf.int32), logits.shape[-1])
    terms = tf.reduce_mean(tf.square(tf.nn.softmax(logits) - truth), axis=-1)
    return tf.reduce_sum(terms * known) / tf.maximum(tf.reduce_sum(known), 1.0)


LOSSES = {
    "cross_entropy": cross_entropy,
    "focal": focal,
    "dice": dice,
    "dice_cross_entropy": dice_cross_entropy,
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
