"""Enlarge and reduce pictures."""

import numpy as np
from scipy import ndimage


def resize(picture: np.ndarray, shape: tuple[int, int]) -> np.ndarray:
    """Linear resampling with pixel centres kept, float32."""
    values = picture.astype(np.float32)
    for axis, length in enumerate(shape):
        values = _resize_axis(values, axis, length)
    return values


def _resize_axis(values: np.ndarray, axis: int, length: int) -> np.ndarray:
    old = values.shape[axis]
    if old == length:
        return values
    if old > length:
        values = ndimage.uniform_filter1d(values, max(1, round(old / length)), axis=axis, mode="nearest")
    at = np.clip((np.arange(length) + 0.5) * old / length - 0.5, 0, old - 1)
    low = np.minimum(at.astype(int), max(old - 2, 0))
    shape = [1] * values.ndim
    shape[axis] = length
    weight = (at - low).astype(np.float32).reshape(shape)
    high = np.minimum(low + 1, old - 1)
    return np.take(values, low, axis) * (1 - weight) + np.take(values, high, axis) * weight
