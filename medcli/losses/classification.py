"""Losses between class targets and logits, for single-label (softmax) and multi-label (sigmoid) networks.

Multi-label: a target of NaN is a label that nobody knows; it adds nothing to the loss, and gets no gradient. Every
known label counts alike, so a case with fewer of them counts less.
"""

from collections.abc import Callable

import tensorflow as tf

Combine = Callable[[tf.Tensor], tf.Tensor]
"""From the losses of the cases (batch,) to one loss."""


def cross_entropy(
    targets,
    logits,
    *,
    weights=None,
    multi_label: bool = False,
    smoothing: float = 0.0,
    factors=None,
    combine: Combine = tf.reduce_mean,
):
    """Cross-entropy.

    Args:
        targets: (batch, classes) float32, one-hot, multi-hot or soft.
        logits: (batch, classes) float32.
        weights: (classes,) float32; each case counts by the weight of its class (or label), and the sum is divided by
            the number of cases, so balanced weights leave the scale of the loss as it is.
        smoothing: Share of the target spread over all classes (Szegedy et al. 2016, section 7).
        factors: (batch, classes) or (batch, 1); how much each case counts, or each label of it.
        combine: See `Combine`.
    """
    targets, factors = _without_unknown(targets, factors, multi_label)
    terms = _terms(_smooth(targets, smoothing, multi_label), logits, multi_label)
    return combine(_weighted(terms, targets, weights, multi_label, factors))


def focal(
    targets,
    logits,
    *,
    weights=None,
    multi_label: bool = False,
    gamma: float = 2.0,
    smoothing: float = 0.0,
    factors=None,
    combine: Combine = tf.reduce_mean,
):
    """Focal loss: cross-entropy times (1 - p_true) ** gamma (Lin et al. 2017, equation 4)."""
    targets, factors = _without_unknown(targets, factors, multi_label)
    soft = _smooth(targets, smoothing, multi_label)
    if multi_label:
        probability = tf.sigmoid(logits)
        true_probability = targets * probability + (1 - targets) * (1 - probability)
    else:
        true_probability = tf.reduce_sum(tf.nn.softmax(logits) * targets, axis=-1, keepdims=True)
    terms = _terms(soft, logits, multi_label) * (1 - true_probability) ** gamma
    return combine(_weighted(terms, targets, weights, multi_label, factors))


def mean_squared_error(
    targets,
    logits,
    *,
    weights=None,
    multi_label: bool = False,
    smoothing: float = 0.0,
    factors=None,
    combine: Combine = tf.reduce_mean,
):
    """Mean over classes of (probability - target) ** 2, the Brier score."""
    targets, factors = _without_unknown(targets, factors, multi_label)
    probabilities = tf.sigmoid(logits) if multi_label else tf.nn.softmax(logits)
    terms = tf.square(probabilities - _smooth(targets, smoothing, multi_label)) / tf.cast(
        logits.shape[-1], tf.float32
    )
    return combine(_weighted(terms, targets, weights, multi_label, factors))


def ordinal(
    targets,
    logits,
    *,
    weights=None,
    multi_label: bool = False,
    smoothing: float = 0.0,
    factors=None,
    combine: Combine = tf.reduce_mean,
):
    """For grades, classes in order: the further off, the dearer.

    Mean over the classes - 1 thresholds of the binary cross-entropy of "is the grade above this one?", which makes one
    problem of several yes-or-no questions as Frank and Hall 2001 do. The answers are sums of the softmax,
    P(grade > k) = p[k + 1] + ... + p[last], so they fall with k by themselves and those of the grades sum to one. A sum
    of logarithmic scores of events, so the true probabilities have the lowest expected loss (Gneiting and Raftery
    2007, section 2). Two classes: `cross_entropy`.
    """
    assert not multi_label
    soft = _smooth(targets, smoothing, multi_label)
    whole = tf.reduce_logsumexp(logits, axis=-1, keepdims=True)
    log_above = tf.math.cumulative_logsumexp(logits, axis=-1, reverse=True)[:, 1:] - whole
    log_upto = tf.math.cumulative_logsumexp(logits, axis=-1)[:, :-1] - whole
    above = tf.cumsum(soft, axis=-1, reverse=True)[:, 1:]
    upto = tf.cumsum(soft, axis=-1)[:, :-1]
    terms = -(above * log_above + upto * log_upto) / tf.cast(logits.shape[-1] - 1, tf.float32)
    return combine(_weighted(terms, targets, weights, multi_label, factors))


LOSSES = {"cross_entropy": cross_entropy, "focal": focal, "mse": mean_squared_error, "ordinal": ordinal}


def _without_unknown(targets, factors, multi_label: bool):
    """Targets with 0 in place of NaN, and factors that are 0 there; exclusive classes have no unknown ones."""
    if not multi_label:
        return targets, factors
    known = tf.cast(~tf.math.is_nan(targets), tf.float32)
    targets = tf.where(tf.math.is_nan(targets), 0.0, targets)
    return targets, known if factors is None else known * factors


def _terms(targets, logits, multi_label: bool):
    """(batch, classes) whose sum over classes is the loss of the case (multi-label: the mean)."""
    if multi_label:
        return tf.nn.sigmoid_cross_entropy_with_logits(targets, logits) / tf.cast(
            logits.shape[-1], tf.float32
        )
    return -targets * tf.nn.log_softmax(logits)


def _smooth(targets, smoothing: float, multi_label: bool):
    if smoothing == 0:
        return targets
    even = 0.5 if multi_label else 1.0 / targets.shape[-1]
    return targets * (1 - smoothing) + smoothing * even


def _weighted(terms, targets, weights, multi_label: bool, factors):
    """(batch,) losses of the cases."""
    if factors is not None:
        terms = terms * factors
    if weights is None:
        return tf.reduce_sum(terms, axis=-1)
    if multi_label:
        return tf.reduce_sum(terms * (targets * weights + (1 - targets)), axis=-1)
    return tf.reduce_sum(terms, axis=-1) * tf.reduce_sum(targets * weights, axis=-1)
