"""Eight-bit pictures in which text of any brightness can be seen, from pixels of any depth."""

import numpy as np

_SHARES = np.array([0, 1, 3, 8, 20, 35, 50, 65, 80, 92, 97, 99, 100])
_SAMPLES = 100_000


def to_display(picture: np.ndarray) -> np.ndarray:
    """(row, column) or (row, column, 3) uint8; order is kept, distances are not.

    Between the percentiles of the picture the scale is linear; how many grey levels an interval gets grows with
    the logarithm of its width. So text far above the anatomy (at the largest value of 16 bits, say) leaves levels
    for the anatomy and for text within it, and text that covers a tenth of a small picture is seen as well.

    A fourth channel (alpha) is left out; a constant picture is all zero.
    """
    values = picture[..., :3] if picture.ndim == 3 else picture
    if values.ndim == 3 and values.shape[2] != 3:
        values = values[..., 0]
    if values.dtype == bool:
        values = values.astype(np.uint8)
    knots, levels = _scale(values)
    if levels[-1] == 0:
        return np.zeros(values.shape, np.uint8)
    if values.dtype.kind in "iu" and values.dtype.itemsize <= 2:
        least = int(knots[0])
        table = np.interp(np.arange(least, int(knots[-1]) + 1), knots, levels)
        return (table / levels[-1] * 255).astype(np.uint8)[values.astype(np.int32) - least]
    return (np.nan_to_num(np.interp(values, knots, levels)) / levels[-1] * 255).astype(np.uint8)


def _scale(values: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
    """Values and the levels they are shown at, both rising."""
    step = max(1, int(np.sqrt(values.size / _SAMPLES)))
    sample = values[::step, ::step]
    if values.dtype.kind == "f":
        sample = sample[np.isfinite(sample)]
        values = values[np.isfinite(values)]
    if not sample.size or not values.size:
        return np.array([0.0, 1.0]), np.zeros(2)
    knots = np.percentile(sample, _SHARES)
    knots[0], knots[-1] = values.min(), values.max()
    widths = np.diff(knots)
    usual = np.median(widths[widths > 0]) if (widths > 0).any() else 1.0
    keep = np.r_[True, widths > 0]
    return knots[keep], np.cumsum(np.r_[0, np.log1p(widths / usual)])[keep]
