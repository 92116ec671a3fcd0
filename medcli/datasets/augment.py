"""Augmentation as pure functions of a seed: geometry in one resampling step, intensities after it.

All run in a TensorFlow graph without Python per element. Images are normalised float32.
"""

from collections.abc import Callable
from dataclasses import dataclass

import numpy as np
import tensorflow as tf


@dataclass(frozen=True)
class Strength:
    """How far samples may be changed.

    Attributes:
        rotate: Largest angle in degrees.
        scale: Zoom between 1 / (1 + scale) and 1 + scale.
        shift: Largest shift as a share of the size (whole pictures only; patches are placed at random anyway).
        probability: Of rotating and scaling at all.
        brightness: Standard deviation of an added constant, in standard deviations of the image.
        contrast: Contrast factor between 1 / (1 + contrast) and 1 + contrast.
        gamma: Exponent between 1 / (1 + gamma) and 1 + gamma on values scaled to 0..1.
        noise: Largest standard deviation of Gaussian noise, in standard deviations of the image.
        erase: Probability of blanking a random rectangle (classification).
    """

    rotate: float
    scale: float
    shift: float
    probability: float
    brightness: float
    contrast: float
    gamma: float
    noise: float
    erase: float


STRENGTHS = {
    "none": Strength(0, 0, 0, 0, 0, 0, 0, 0, 0),
    "light": Strength(5, 0.05, 0.04, 0.5, 0.05, 0.1, 0.1, 0.02, 0.0),
    "medium": Strength(12, 0.15, 0.08, 0.7, 0.1, 0.25, 0.25, 0.05, 0.1),
    "strong": Strength(30, 0.3, 0.12, 0.8, 0.2, 0.4, 0.5, 0.1, 0.25),
}


def uniform(seed, purpose: int, shape=(), low=0.0, high=1.0) -> tf.Tensor:
    """Stateless uniform numbers; `purpose` separates the draws made with one seed."""
    return tf.random.stateless_uniform(shape, tf.stack([seed[0] + purpose * 7919, seed[1]]), low, high)


def normal(seed, purpose: int, shape=()) -> tf.Tensor:
    return tf.random.stateless_normal(shape, tf.stack([seed[0] + purpose * 7919, seed[1]]))


def log_uniform(seed, purpose: int, shape, spread: float) -> tf.Tensor:
    """Factors between 1 / (1 + spread) and 1 + spread, symmetric on a log scale."""
    limit = float(np.log1p(spread))
    return tf.exp(uniform(seed, purpose, shape, -limit, limit))


def transforms(
    seed, count: int, *, out_size, centre, strength: Strength, flip_rows: bool, flip_columns: bool
) -> tf.Tensor:
    """(count, 8) projective transforms, from output to input pixels, for `warp`.

    Rotates and scales about the output's centre and maps that centre to `centre` (count, 2: row, column) of the input.
    """
    angle = uniform(seed, 1, (count,), -strength.rotate, strength.rotate) * (np.pi / 180)
    zoom = log_uniform(seed, 2, (count,), strength.scale)
    apply = tf.cast(uniform(seed, 3, (count,)) < strength.probability, tf.float32)
    angle, zoom = angle * apply, zoom * apply + (1 - apply)
    flip_y = 1 - 2 * tf.cast(uniform(seed, 4, (count,)) < (0.5 if flip_rows else 0.0), tf.float32)
    flip_x = 1 - 2 * tf.cast(uniform(seed, 5, (count,)) < (0.5 if flip_columns else 0.0), tf.float32)
    cos, sin = tf.cos(angle) / zoom, tf.sin(angle) / zoom
    a0, a1, b0, b1 = cos * flip_x, -sin * flip_y, sin * flip_x, cos * flip_y
    out_y, out_x = (tf.cast(out_size[0], tf.float32) - 1) / 2, (tf.cast(out_size[1], tf.float32) - 1) / 2
    shift_x = centre[:, 1] - a0 * out_x - a1 * out_y
    shift_y = centre[:, 0] - b0 * out_x - b1 * out_y
    zero = tf.zeros_like(a0)
    return tf.stack([a0, a1, shift_x, b0, b1, shift_y, zero, zero], axis=1)


def warp(
    images: tf.Tensor,
    transform: tf.Tensor,
    out_size,
    *,
    nearest: bool,
    fill: str = "CONSTANT",
    fill_value: float = 0.0,
):
    """Resample (count, row, column, channel) to `out_size`; outside: `fill` (CONSTANT, REFLECT or NEAREST)."""
    return tf.raw_ops.ImageProjectiveTransformV3(
        images=images,
        transforms=transform,
        output_shape=tf.cast(tf.stack(out_size), tf.int32),
        fill_value=fill_value,
        interpolation="NEAREST" if nearest else "BILINEAR",
        fill_mode=fill,
    )


OFTEN = 0.3
"""Share of the images that gamma changes, and likewise noise."""


def change_intensities(images: tf.Tensor, seed, strength: Strength) -> tf.Tensor:
    """Brightness, contrast, gamma and noise, drawn anew for each image of (count, ..., channel)."""
    if strength.probability == 0:
        return images
    count, channels, rank = images.shape[0], images.shape[-1], len(images.shape)
    each = (count,) + (1,) * (rank - 1)
    axes = list(range(1, rank))
    if strength.gamma:
        exponents = log_uniform(seed, 12, each, strength.gamma)

        def gamma(part, places):
            low, high = (reduce(part, axes, keepdims=True) for reduce in (tf.reduce_min, tf.reduce_max))
            span = tf.maximum(high - low, 1e-6)
            return tf.pow((part - low) / span, tf.gather(exponents, places)) * span + low

        images = _some(images, uniform(seed, 13, (count,)) < OFTEN, gamma)
    per_channel = (count,) + (1,) * (rank - 2) + (channels,)
    contrast = log_uniform(seed, 10, each, strength.contrast) * log_uniform(
        seed, 14, per_channel, strength.contrast / 3
    )
    brightness = normal(seed, 11, per_channel) * strength.brightness
    images = images * contrast + (tf.reduce_mean(images, axes, keepdims=True) * (1 - contrast) + brightness)
    if strength.noise:
        sigmas = uniform(seed, 15, each, 0.0, strength.noise)

        def noise(part, places):
            return part + normal(seed, 17, tf.shape(part)) * tf.gather(sigmas, places)

        images = _some(images, uniform(seed, 16, (count,)) < OFTEN, noise)
    return images


def _some(images: tf.Tensor, chosen, change: Callable[[tf.Tensor, tf.Tensor], tf.Tensor]) -> tf.Tensor:
    """Change only the images that (count,) bool names: change(images, their places)."""
    places = tf.where(chosen)[:, 0]
    changed = change(tf.gather(images, places), places)
    return tf.ensure_shape(tf.tensor_scatter_nd_update(images, places[:, None], changed), images.shape)


def erase_rectangles(images: tf.Tensor, seed, strength: Strength) -> tf.Tensor:
    """Set a random rectangle (5 to 25 % of each side) to zero in some images of (count, row, column, channel)."""
    if strength.erase == 0:
        return images
    count, rows, columns = images.shape[0], images.shape[1], images.shape[2]

    def inside(size, purpose):
        length = uniform(seed, purpose, (count, 1), 0.15, 0.4) * size
        first = uniform(seed, purpose + 1, (count, 1), 0.0, 1.0) * (size - length)
        index = tf.range(size, dtype=tf.float32)[None]
        return tf.cast((index >= first) & (index < first + length), tf.float32)

    hole = inside(rows, 20)[:, :, None] * inside(columns, 22)[:, None, :]
    chosen = tf.cast(uniform(seed, 24, (count, 1, 1)) < strength.erase, tf.float32)
    return images * (1 - hole * chosen)[..., None]
