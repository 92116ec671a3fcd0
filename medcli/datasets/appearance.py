"""How an image looks: bias field, sharpness, resolution, noise, brightness, contrast, tone; each drawn by itself.

Everything works on one normalised float32 image (space..., channel) of static shape; what is not drawn is not computed.
"""

from collections.abc import Callable, Collection
from dataclasses import dataclass

import numpy as np
import tensorflow as tf

from medcli.datasets.augment import Strength, log_uniform, normal, uniform
from medcli.datasets.separable import along, blur_matrix, coarse_matrix, smooth_field

SIGMA = (0.5, 1.5)
"""Blur: standard deviation in voxels."""
COARSEST = 0.5
"""Low resolution: the coarsest grid as a share of the image's, per axis."""
FIELD_INTERVALS = 2
"""Bias field: intervals of the spline per axis; slower than the anatomy."""
FIELD = 0.4
"""Bias field: largest logarithm of the factor."""


@dataclass(frozen=True)
class Chances:
    """With what probability an image is changed in each way.

    Attributes:
        bias_field: A smooth factor, as coils make it in MR.
        blur, low_resolution, noise, brightness, contrast: What the names say.
        gamma, inverted_gamma: Darker or lighter middle tones; the same of the negative.
    """

    bias_field: float = 0.0
    blur: float = 0.0
    low_resolution: float = 0.0
    noise: float = 0.0
    brightness: float = 0.0
    contrast: float = 0.0
    gamma: float = 0.0
    inverted_gamma: float = 0.0


CHANCES = {
    "none": Chances(),
    "light": Chances(noise=0.3, brightness=1, contrast=1, gamma=0.3),
    "medium": Chances(0.1, 0.1, 0.1, 0.3, 1, 1, 0.3, 0.1),
    "strong": Chances(0.3, 0.2, 0.25, 0.3, 1, 1, 0.3, 0.1),
}


def change_appearance(
    image: tf.Tensor,
    seed,
    *,
    strength: Strength,
    chances: Chances,
    allowed: Collection[str],
    axes: Collection[int],
) -> tf.Tensor:
    """Draw every change anew.

    Args:
        strength: How far brightness, contrast, gamma and noise go.
        allowed: Names of the changes (fields of `Chances`); others are not made.
        axes: Spatial axes along which it is blurred and coarsened.
    """
    shape = image.shape
    channels = shape[-1]

    def drawn(name: str, purpose: int, change: Callable[[tf.Tensor], tf.Tensor]) -> None:
        nonlocal image
        probability = getattr(chances, name)
        if name in allowed and probability > 0:
            before = image
            yes = uniform(seed, purpose) < probability
            image = tf.ensure_shape(tf.cond(yes, lambda: change(before), lambda: before), shape)

    def one(purpose: int, low: float, high: float):
        return uniform(seed, purpose, (), low, high)

    drawn("bias_field", 60, lambda x: bias_field(x, field_controls(seed, 61, len(shape) - 1)))
    drawn("blur", 62, lambda x: blur(x, one(63, *SIGMA), axes))
    drawn("low_resolution", 64, lambda x: lower_resolution(x, one(65, COARSEST, 1.0), axes))
    drawn("noise", 66, lambda x: x + normal(seed, 68, shape) * one(67, 0.0, strength.noise))
    drawn(
        "contrast", 69,
        lambda x: scale_contrast(
            x, log_uniform(seed, 70, (), strength.contrast) * log_uniform(seed, 71, (channels,), strength.contrast / 3)
        ),
    )  # fmt: skip
    drawn("brightness", 72, lambda x: x + normal(seed, 73, (channels,)) * strength.brightness)
    exponent = log_uniform(seed, 76, (), strength.gamma)
    drawn("gamma", 74, lambda x: change_gamma(x, exponent))
    drawn("inverted_gamma", 75, lambda x: -change_gamma(-x, exponent))
    return image


def field_controls(seed, purpose: int, axes: int) -> tf.Tensor:
    """Logarithms of the bias field at the control points of its spline."""
    return uniform(seed, purpose, (FIELD_INTERVALS + 3,) * axes + (1,), -FIELD, FIELD)


def bias_field(image: tf.Tensor, controls: tf.Tensor) -> tf.Tensor:
    """The image times a smooth factor; its lowest value (air, which gives no signal) stays what it is."""
    low = tf.reduce_min(image)
    return (image - low) * tf.exp(smooth_field(controls, image.shape[:-1])) + low


def blur(image: tf.Tensor, sigma: tf.Tensor, axes: Collection[int]) -> tf.Tensor:
    """Gaussian with a standard deviation of `sigma` voxels along these axes."""
    for axis in axes:
        image = along(image, blur_matrix(image.shape[axis], sigma), axis)
    return image


def lower_resolution(image: tf.Tensor, share: tf.Tensor, axes: Collection[int]) -> tf.Tensor:
    """As if taken with only this share of the voxels along these axes, and interpolated."""
    for axis in axes:
        size = image.shape[axis]
        coarse = tf.maximum(tf.cast(tf.round(share * size), tf.int32), 1)
        image = along(image, coarse_matrix(size, coarse), axis)
    return image


def scale_contrast(image: tf.Tensor, factor: tf.Tensor) -> tf.Tensor:
    """Differences from the mean of all channels times a factor (one, or one per channel)."""
    mean = tf.reduce_mean(image)
    return (image - mean) * factor + mean


def change_gamma(image: tf.Tensor, exponent: tf.Tensor) -> tf.Tensor:
    """Values to the power of `exponent` between the image's lowest and highest value, which stay what they are."""
    low, high = tf.reduce_min(image), tf.reduce_max(image)
    span = tf.maximum(high - low, np.float32(1e-6))
    return tf.pow(tf.maximum((image - low) / span, 0.0), exponent) * span + low
