"""Losses between standardised numbers and what a network says of them."""

import tensorflow as tf

DELTA = 1.0
"""Huber: from so many standard deviations of the target on, an error counts linearly."""


def mse(targets, outputs):
    """Mean squared error of (batch, 1) float32."""
    return tf.reduce_mean(tf.square(targets - outputs))


def mae(targets, outputs):
    """Mean absolute error of (batch, 1) float32."""
    return tf.reduce_mean(tf.abs(targets - outputs))


def huber(targets, outputs, delta: float = DELTA):
    """Mean Huber loss of (batch, 1) float32 (Huber 1964, Ann. Math. Stat. 35:73-101).

    Half the square of an error up to `delta`, beyond it delta * (|error| - delta / 2), so that one far-off label does
    not outweigh a batch.
    """
    error = tf.abs(targets - outputs)
    near = tf.minimum(error, delta)
    return tf.reduce_mean(0.5 * tf.square(near) + delta * (error - near))


LOSSES = {"huber": huber, "mae": mae, "mse": mse}
