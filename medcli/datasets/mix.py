"""Two samples made one, and their targets alike: mix-up and cut-mix, as pure functions of a seed."""

from typing import Literal

import tensorflow as tf

from medcli.datasets.augment import uniform

Mix = Literal["none", "mixup", "cutmix", "both"]
MIXUP_ALPHA = 0.2
"""Of the Beta distribution; 0.1 to 0.4 in Zhang et al. 2018, section 3.1."""
CUTMIX_ALPHA = 1.0
"""Of the Beta distribution, that is a uniform share; Yun et al. 2019, section 3.1."""


def mix(images: tf.Tensor, targets: tf.Tensor, seed: tf.Tensor, kind: Mix) -> tuple[tf.Tensor, tf.Tensor]:
    """Every sample of a batch with the next one (the last with the first).

    Args:
        images: (count, ..., channel).
        targets: (count, k), such that a mean of two targets is the target of a mixture.
        seed: (2,).
        kind: both: mix-up for the one half of the batches, cut-mix for the other.
    """
    if kind == "none":
        return images, targets
    if kind == "both":
        return tf.cond(
            uniform(seed, 40) < 0.5,
            lambda: mix(images, targets, seed, "mixup"),
            lambda: mix(images, targets, seed, "cutmix"),
        )
    partners, others = tf.roll(images, 1, axis=0), tf.roll(targets, 1, axis=0)
    if kind == "mixup":
        share = beta(seed, 41, (images.shape[0], 1), MIXUP_ALPHA)
        keep = tf.reshape(share, (-1,) + (1,) * (len(images.shape) - 1))
        return keep * images + (1 - keep) * partners, share * targets + (1 - share) * others
    share = beta(seed, 43, (images.shape[0], 1), CUTMIX_ALPHA)
    inside = boxes(images.shape[:-1], 1 - share, seed)
    covered = tf.reduce_mean(inside, axis=list(range(1, len(inside.shape))))[:, None]
    mixed = tf.where(inside[..., None] > 0, partners, images)
    return mixed, (1 - covered) * targets + covered * others


def boxes(shape: tuple[int, ...], share: tf.Tensor, seed: tf.Tensor) -> tf.Tensor:
    """(count, ...) float32, 1 inside a box of the image's proportions and of this share (count, 1) of its pixels.

    The centre is anywhere, and what lies outside of the image is cut off, so boxes may be smaller than asked for.
    """
    axes = len(shape) - 1
    inside = tf.ones((shape[0],) + (1,) * axes)
    for axis, size in enumerate(shape[1:]):
        half = share ** (1 / axes) * size / 2
        centre = uniform(seed, 45 + axis, (shape[0], 1)) * size
        places = tf.range(size, dtype=tf.float32)[None] + 0.5
        within = tf.cast(tf.abs(places - centre) < half, tf.float32)
        inside *= tf.reshape(within, (-1, *(size if other == axis else 1 for other in range(axes))))
    return inside


def beta(seed: tf.Tensor, purpose: int, shape: tuple[int, ...], alpha: float) -> tf.Tensor:
    """Numbers from Beta(alpha, alpha), as the share of one of two Gamma(alpha) numbers in their sum."""
    first, second = (
        tf.random.stateless_gamma(shape, tf.stack([seed[0] + part * 7919, seed[1]]), alpha, dtype=tf.float32)
        for part in (purpose, purpose + 1)
    )
    tiny = 1e-30
    return (first + tiny) / (first + second + 2 * tiny)
