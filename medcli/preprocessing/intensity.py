"""Values: colour channels, window, contrast enhancement, normalising."""

import numpy as np

from medcli.errors import DataError
from medcli.preprocessing.plan import Intensity, Plan

LUMINANCE = (0.299, 0.587, 0.114)
"""Weights of red, green and blue (ITU-R BT.601)."""


def is_grey(array: np.ndarray) -> bool:
    """Whether all colour channels of (spatial + channel) are the same; an alpha channel does not count."""
    colors = without_alpha(array)
    return colors.shape[-1] == 1 or all(
        np.array_equal(colors[..., 0], colors[..., channel]) for channel in range(1, colors.shape[-1])
    )


def without_alpha(array: np.ndarray) -> np.ndarray:
    """A picture with 2 or 4 channels without its last one."""
    return array[..., :-1] if array.shape[-1] in (2, 4) else array


def to_grey(array: np.ndarray) -> np.ndarray:
    """One channel: the luminance of a colour picture, or what its channels all are."""
    colors = without_alpha(array)
    if is_grey(colors):
        return colors[..., :1]
    colors = colors.astype(np.float32)
    return np.asarray(sum(weight * colors[..., [channel]] for channel, weight in enumerate(LUMINANCE)))


def to_color(array: np.ndarray, color: str) -> np.ndarray:
    """Bring a picture to "grey" (1 channel) or "rgb" (3); "as_is" leaves everything alone."""
    if color == "grey":
        return to_grey(array)
    if color == "rgb":
        colors = without_alpha(array)
        return np.repeat(colors, 3, axis=-1) if colors.shape[-1] == 1 else colors
    return array


def enhanced(array: np.ndarray, plan: Plan) -> np.ndarray:
    """Clip each channel to its limits, then enhance the contrast as the plan says.

    Args:
        array: (spatial + channel) float32, plan.channels channels.

    Returns:
        float32. With contrast enhancement the values are 0..1, where 0 and 1 were the clip limits, or the
        image's own lowest and highest value where there are none. CLAHE of RGB works on the brightness.
    """
    if array.shape[-1] != len(plan.intensity):
        raise DataError(
            f"The plan expects {len(plan.intensity)} channel(s), the image has {array.shape[-1]}; "
            f"give images of the kind that the plan was made for."
        )
    if any(rule.low is not None or rule.high is not None for rule in plan.intensity):
        clipped = np.empty(array.shape, np.float32)
        for channel, rule in enumerate(plan.intensity):
            clipped[..., channel] = _clipped(array[..., channel], rule)
        array = clipped
    if plan.contrast == "none":
        return array
    scaled = np.stack(
        [_to_unit(array[..., channel], rule) for channel, rule in enumerate(plan.intensity)], axis=-1
    )
    if plan.color == "rgb" and plan.contrast == "clahe":
        return _with_contrast(scaled, plan)
    return np.stack(
        [_with_contrast(scaled[..., channel], plan) for channel in range(scaled.shape[-1])], axis=-1
    )


def normalized(array: np.ndarray, plan: Plan) -> np.ndarray:
    """Normalise every channel of an enhanced array (spatial + channel) by its rule; float32, a new array."""
    out = np.empty(array.shape, np.float32)
    for channel, rule in enumerate(plan.intensity):
        out[..., channel] = _normalized(array[..., channel], rule)
    return out


def _clipped(values: np.ndarray, rule: Intensity) -> np.ndarray:
    return values if rule.low is None and rule.high is None else np.clip(values, rule.low, rule.high)


def _to_unit(values: np.ndarray, rule: Intensity) -> np.ndarray:
    low = float(values.min()) if rule.low is None else rule.low
    high = float(values.max()) if rule.high is None else rule.high
    return np.zeros_like(values) if high <= low else (values - np.float32(low)) / np.float32(high - low)


def _with_contrast(values: np.ndarray, plan: Plan) -> np.ndarray:
    from skimage import exposure

    if values.size == 0 or values.min() == values.max():
        return values
    match plan.contrast:
        case "clahe":
            spatial = values.shape[: plan.dimensions]
            tile = [max(1, n // plan.clahe_tiles) for n in spatial]
            values = exposure.equalize_adapthist(values, kernel_size=tile, clip_limit=plan.clahe_clip)
        case "histogram":
            values = exposure.equalize_hist(values)
        case "gamma":
            values = np.clip(values, 0, 1) ** plan.gamma
    return values.astype(np.float32)


def _mean_and_std(values: np.ndarray) -> tuple[float, float]:
    """In double precision, plane by plane: a copy of all values in it would be twice as large as they are."""
    mean = float(values.mean(dtype=np.float64))
    squares = sum(float(np.square(plane - mean, dtype=np.float64).sum()) for plane in values)
    return mean, float(np.sqrt(squares / max(values.size, 1)))


def _normalized(values: np.ndarray, rule: Intensity) -> np.ndarray:
    match rule.kind:
        case "zscore":
            low, scale = _mean_and_std(values)
        case "fixed":
            low, scale = rule.mean, rule.std
        case "percentile":
            low, high = (float(value) for value in np.percentile(values, rule.percentiles))
            scale = high - low
            values = np.clip(values, low, high)
        case "minmax":
            low = float(values.min())
            scale = float(values.max()) - low
        case _:
            return values
    if scale <= 0 or not np.isfinite(scale):  # a constant image carries nothing
        return np.zeros_like(values)
    return (values - np.float32(low)) / np.float32(scale)
