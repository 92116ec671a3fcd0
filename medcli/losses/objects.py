"""The loss of single objects: that of the classes, and that of the depth within objects."""

import tensorflow as tf

from medcli.losses.segmentation import IGNORE, subsampled


def object_loss(class_loss, targets, outputs):
    """At every resolution the loss of the classes plus the cross-entropy of the depth, weighted as deep supervision.

    Args:
        class_loss: Between labels (batch, ...) and logits (batch, ..., 1 + classes).
        targets: (batch, ..., 2) uint8, class ids and 255 times the depth; see `medcli.datasets.objects`.
        outputs: Logits (batch, ..., 1 + classes + 1), the depth last; or a list from full to coarse resolution.
    """
    labels, depth = targets[..., 0], tf.cast(targets[..., 1], tf.float32) / 255
    levels = list(outputs) if isinstance(outputs, (list, tuple)) else [outputs]
    weights = [0.5**level for level in range(len(levels))]
    total = 0.0
    for weight, logits in zip(weights, levels, strict=True):
        here, wanted = (subsampled(part, logits.shape[1:-1]) for part in (labels, depth))
        total += weight * (class_loss(here, logits[..., :-1]) + depth_loss(here, wanted, logits[..., -1]))
    return total / sum(weights)


def depth_loss(labels, depth, logits):
    """Mean binary cross-entropy with the depth as a soft target, over the voxels that are not ignored.

    Its optimum is the expected depth, as with a squared error, but wrong voxels far from the target still learn.
    """
    known = tf.cast(labels != IGNORE, tf.float32)
    terms = tf.nn.sigmoid_cross_entropy_with_logits(depth, logits)
    return tf.reduce_sum(terms * known) / tf.maximum(tf.reduce_sum(known), 1.0)
