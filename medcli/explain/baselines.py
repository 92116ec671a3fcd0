"""What stands for no evidence: an image strongly blurred, or its mean."""

from collections.abc import Callable

import numpy as np

BLUR = 1 / 8
"""Standard deviation of the blur as a share of every side."""


def blurred(image: np.ndarray) -> np.ndarray:
    """(spatial + channel) float32 without anything smaller than about a quarter of the image."""
    from scipy.ndimage import gaussian_filter

    sigma = [side * BLUR for side in image.shape[:-1]]
    return gaussian_filter(image, [*sigma, 0], mode="nearest", truncate=3).astype(np.float32)


def mean(image: np.ndarray) -> np.ndarray:
    """Every channel its mean, everywhere."""
    value = image.mean(axis=tuple(range(image.ndim - 1)), keepdims=True, dtype=np.float64)
    return np.broadcast_to(value, image.shape).astype(np.float32)


BASELINES: dict[str, Callable[[np.ndarray], np.ndarray]] = {"blur": blurred, "mean": mean}


def choose_baseline(
    name: str, image: np.ndarray, probabilities: Callable[[np.ndarray], np.ndarray]
) -> tuple[str, np.ndarray]:
    """That of the name; auto: whichever the network finds least probable (ties: blur)."""
    if name == "auto":
        made = {key: make(image) for key, make in BASELINES.items()}
        name = list(made)[int(probabilities(np.stack(list(made.values()))).argmin())]
        return name, made[name]
    return name, BASELINES[name](image)
