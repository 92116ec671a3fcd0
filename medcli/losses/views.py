"""What two views of one image must have in common, without labels."""

import tensorflow as tf

AGREEMENT, VARIANCE, COVARIANCE = 25.0, 25.0, 1.0


def vicreg(first: tf.Tensor, second: tf.Tensor) -> tf.Tensor:
    """Views of one image agree, every feature varies between images, and no two features say the same.

    Bardes, Ponce and LeCun 2022, "VICReg: variance-invariance-covariance regularization for self-supervised learning"
    (ICLR), equations 1 to 6, with their weights. Unlike contrastive losses it needs no large batches, and unlike
    those with a predictor it says itself when all images look alike: the variance term then is at its highest.

    Args:
        first, second: (n, d) embeddings of the two views, n > 1.

    Returns:
        float32 scalar.
    """
    first, second = tf.cast(first, tf.float32), tf.cast(second, tf.float32)
    agreement = tf.reduce_mean(tf.math.squared_difference(first, second))
    variance = (_lack_of_variance(first) + _lack_of_variance(second)) / 2
    covariance = _covariance(first) + _covariance(second)
    return AGREEMENT * agreement + VARIANCE * variance + COVARIANCE * covariance


def _lack_of_variance(points: tf.Tensor) -> tf.Tensor:
    """Mean over features of how far their deviation falls short of 1."""
    count = tf.cast(tf.shape(points)[0], tf.float32)
    variance = tf.math.reduce_variance(points, axis=0) * count / (count - 1)
    return tf.reduce_mean(tf.nn.relu(1 - tf.sqrt(variance + 1e-4)))


def _covariance(points: tf.Tensor) -> tf.Tensor:
    """Squared covariances of different features, summed and divided by their number."""
    count = tf.cast(tf.shape(points)[0], tf.float32)
    centred = points - tf.reduce_mean(points, axis=0)
    matrix = tf.matmul(centred, centred, transpose_a=True) / (count - 1)
    own = tf.linalg.diag_part(matrix)
    return (tf.reduce_sum(matrix**2) - tf.reduce_sum(own**2)) / points.shape[-1]
