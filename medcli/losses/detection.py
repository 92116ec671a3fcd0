"""The detector's loss: which anchor answers for which object, and how far its answer is off.

Assignment: Feng et al. 2021, "TOOD: Task-aligned One-stage Object Detection", section 3.2. Classes: binary
cross-entropy against the alignment. Boxes: complete IoU (Zheng et al. 2020, "Distance-IoU Loss") and
distribution focal loss (Li et al. 2020, "Generalized Focal Loss"). With targets of a fixed number of rows all shapes
are fixed, so that it compiles.
"""

import math
from dataclasses import dataclass

import numpy as np
import tensorflow as tf

from medcli.models.anchors import REG_MAX, split_outputs, to_corners

TINY = 1e-7


@dataclass(frozen=True)
class Weights:
    """How much each part of the loss counts."""

    box: float = 7.5
    classes: float = 0.5
    distribution: float = 1.5


def detection_loss(
    targets: tf.Tensor,
    outputs: tf.Tensor,
    points: np.ndarray,
    strides: np.ndarray,
    weights: Weights = Weights(),
) -> tf.Tensor:
    """Mean loss over the batch, float32 scalar; finite and about the classes only when no image has a box.

    Args:
        targets: (B, M, 5) float32: x0, y0, x1, y1 in pixels and the class; class -1 marks padding.
        outputs: (B, A, 4 * REG_MAX + classes) float32 raw outputs.
        points, strides: From `medcli.models.anchors.anchor_points`.
        weights: Of the parts.
    """
    distances, class_logits = split_outputs(outputs)
    log_probabilities = tf.nn.log_softmax(distances)
    corners = to_corners(log_probabilities, points, strides)
    true_corners, true_scores = assign(
        targets, tf.stop_gradient(corners), tf.stop_gradient(tf.sigmoid(class_logits)), points, strides
    )
    weight = tf.reduce_sum(true_scores, axis=-1)
    total = tf.maximum(tf.reduce_sum(weight), 1.0)
    class_loss = tf.nn.sigmoid_cross_entropy_with_logits(labels=true_scores, logits=class_logits)
    box_loss = (1.0 - complete_iou(true_corners, corners)) * weight
    distribution_loss = distribution_focal(log_probabilities, true_corners, points, strides) * weight
    return (
        weights.classes * tf.reduce_sum(class_loss)
        + weights.box * tf.reduce_sum(box_loss)
        + weights.distribution * tf.reduce_sum(distribution_loss)
    ) / total


def assign(
    targets: tf.Tensor,
    corners: tf.Tensor,
    scores: tf.Tensor,
    points: np.ndarray,
    strides: np.ndarray,
    *,
    top: int = 10,
) -> tuple[tf.Tensor, tf.Tensor]:
    """Give every object the `top` anchors inside it that answer best, by score**0.5 * IoU**6.

    An anchor that several objects want goes to the one it overlaps most. The best anchor of an object gets
    its IoU as target score, the others less in proportion to their alignment. A box narrower than two cells
    of the finest level counts as that wide when points inside it are sought: no object is without an anchor.

    Args:
        targets: (B, M, 5), padded with class -1.
        corners: (B, A, 4) predicted corners in pixels.
        scores: (B, A, classes) predicted scores.

    Returns:
        (B, A, 4) corners to reach in pixels, any where the scores are zero; (B, A, classes) target scores.
    """
    boxes, classes = targets[..., :4], tf.cast(targets[..., 4], tf.int32)
    anchors, num_classes = scores.shape[1], scores.shape[2]
    one_hot = tf.one_hot(classes, num_classes)  # (B, M, classes), zeros for padding: their alignment is zero
    overlap = pairwise_iou(boxes, corners) * _near(boxes, points, float(np.min(strides)))  # (B, M, A)
    root = tf.matmul(one_hot, tf.sqrt(scores), transpose_b=True)
    alignment = root * tf.square(overlap * tf.square(overlap))  # products, since pow is slow

    # From here on only the best `top` anchors of each object, (B, M, top)
    alignment, anchor = tf.math.top_k(alignment, min(top, anchors), sorted=False)
    overlap = tf.gather(overlap, anchor, batch_dims=2)
    wanted = alignment > 0

    # An anchor goes to the object with the largest overlap, of equal ones to the last
    largest = _scatter_max(tf.where(wanted, overlap, 0.0), anchor, anchors)  # (B, A)
    wanted &= overlap >= tf.gather(largest, anchor, batch_dims=1)
    number = tf.broadcast_to(tf.range(tf.shape(boxes)[1])[:, None], tf.shape(anchor))
    owner = _scatter_max(tf.where(wanted, number, -1), anchor, anchors)
    wanted &= number == tf.gather(owner, anchor, batch_dims=1)

    alignment, overlap = tf.where(wanted, alignment, 0.0), tf.where(wanted, overlap, 0.0)
    best_overlap = tf.reduce_max(overlap, axis=-1, keepdims=True)
    best_alignment = tf.reduce_max(alignment, axis=-1, keepdims=True)
    strength = tf.math.divide_no_nan(alignment * best_overlap, best_alignment)
    strength = _scatter_max(strength, anchor, anchors)
    owner = tf.maximum(owner, 0)
    true_scores = tf.gather(one_hot, owner, batch_dims=1) * strength[..., None]
    return tf.gather(boxes, owner, batch_dims=1), true_scores


def _scatter_max(values: tf.Tensor, anchor: tf.Tensor, anchors: int) -> tf.Tensor:
    """(B, A) the largest of the values (B, M, n) for each anchor (B, M, n); elsewhere 0, integers -1."""
    batch = tf.shape(values)[0]
    place = anchor + anchors * tf.range(batch)[:, None, None]
    start = tf.fill([batch * anchors], tf.constant(-1 if values.dtype.is_integer else 0, values.dtype))
    values = tf.tensor_scatter_nd_max(start, tf.reshape(place, (-1, 1)), tf.reshape(values, (-1,)))
    return tf.reshape(values, (-1, anchors))


def _near(boxes: tf.Tensor, points: np.ndarray, least_half: float) -> tf.Tensor:
    """(B, M, A) one where a point lies inside a box (widened to a half side of `least_half`)."""
    centre = (boxes[..., :2] + boxes[..., 2:]) / 2
    half = tf.maximum((boxes[..., 2:] - boxes[..., :2]) / 2, least_half)
    x = tf.abs(points[:, 0] - centre[..., :1]) < half[..., :1]
    y = tf.abs(points[:, 1] - centre[..., 1:]) < half[..., 1:]
    return tf.cast(x & y, tf.float32)


def pairwise_iou(a: tf.Tensor, b: tf.Tensor) -> tf.Tensor:
    """(B, n, m) intersection over union of corners a (B, n, 4) with b (B, m, 4)."""
    ax0, ay0, ax1, ay1 = (a[..., i, None] for i in range(4))
    bx0, by0, bx1, by1 = (b[..., None, :, i] for i in range(4))
    width = tf.nn.relu(tf.minimum(ax1, bx1) - tf.maximum(ax0, bx0))
    height = tf.nn.relu(tf.minimum(ay1, by1) - tf.maximum(ay0, by0))
    overlap = width * height
    union = (ax1 - ax0) * (ay1 - ay0) + (bx1 - bx0) * (by1 - by0) - overlap
    return overlap / tf.maximum(union, TINY)


def complete_iou(truth: tf.Tensor, corners: tf.Tensor) -> tf.Tensor:
    """(...,) IoU less the centres' distance and the aspect's difference; 1 is perfect. Corners (..., 4)."""
    (true_low, true_high), (low, high) = (tf.split(x, 2, axis=-1) for x in (truth, corners))
    overlap = tf.reduce_prod(tf.nn.relu(tf.minimum(true_high, high) - tf.maximum(true_low, low)), axis=-1)
    true_size, size = true_high - true_low, high - low
    union = tf.reduce_prod(true_size, axis=-1) + tf.reduce_prod(size, axis=-1) - overlap
    iou = overlap / tf.maximum(union, TINY)

    hull = tf.maximum(true_high, high) - tf.minimum(true_low, low)
    shift = (true_low + true_high - low - high) / 2
    distance = tf.reduce_sum(shift**2, axis=-1) / tf.maximum(tf.reduce_sum(hull**2, axis=-1), TINY)

    (true_width, true_height), (width, height) = (tf.unstack(x, axis=-1) for x in (true_size, size))
    angle = tf.atan2(true_width, true_height) - tf.atan2(width, height + TINY)
    aspect = angle**2 * (4 / math.pi**2)
    share = tf.stop_gradient(aspect / (1 - iou + aspect + TINY))
    return iou - distance - share * aspect


def distribution_focal(
    log_probabilities: tf.Tensor, truth: tf.Tensor, points: np.ndarray, strides: np.ndarray
) -> tf.Tensor:
    """(B, A) cross-entropy against the two bins around each true distance, mean over the four edges."""
    distances = tf.concat([points - truth[..., :2], truth[..., 2:] - points], axis=-1) / strides[:, None]
    distances = tf.clip_by_value(distances, 0.0, REG_MAX - 1 - 0.01)
    bins = tf.range(REG_MAX, dtype=tf.float32)
    share = tf.nn.relu(1.0 - tf.abs(distances[..., None] - bins))  # linear in the distance to each bin
    return -tf.reduce_mean(tf.reduce_sum(share * log_probabilities, axis=-1), axis=-1)
