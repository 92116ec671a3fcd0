"""Gabor filters: how strongly stripes of a width and direction answer (Manjunath and Ma 1996)."""

from functools import lru_cache

import numpy as np

from medcli.config.schema import Features
from medcli.features.feature import Family, Feature
from medcli.features.planes import unit_planes
from medcli.features.region import Region

FREQUENCIES = (0.1, 0.2, 0.4)
"""Cycles per pixel; the bandwidth is one octave."""
ANGLES = (0, 45, 90, 135)
"""Degrees: 0 for stripes across the rows' direction (they change along a row)."""

FEATURES = tuple(
    Feature(
        f"gabor_{frequency:g}_{angle}_{name}".replace("0.", "0p"),
        "1",
        f"{text} of the magnitude at {frequency:g} cycles per pixel and {angle} degrees, values scaled to 0 ... 1",
    )
    for frequency in FREQUENCIES
    for angle in ANGLES
    for name, text in (("mean", "mean"), ("std", "standard deviation"))
)


@lru_cache(maxsize=1)
def kernels() -> tuple[np.ndarray, ...]:
    """Complex kernels as `skimage.filters.gabor` has them, by frequency, then angle."""
    from skimage.filters import gabor_kernel

    return tuple(gabor_kernel(f, theta=np.deg2rad(angle)) for f in FREQUENCIES for angle in ANGLES)


def magnitude(values: np.ndarray, kernel: np.ndarray) -> np.ndarray:
    """|values * kernel| of (row, column), mirrored at the edges; `skimage.filters.gabor` through Fourier space."""
    from scipy.signal import fftconvolve

    margins = [(n // 2, n // 2) for n in kernel.shape]  # all sizes are odd
    return np.abs(fftconvolve(np.pad(values, margins, mode="symmetric"), kernel, mode="valid"))


def gabor_features(region: Region, settings: Features) -> dict[str, float]:
    totals = np.zeros((len(kernels()), 3))
    for values, inside in unit_planes(region):
        for row, kernel in zip(totals, kernels(), strict=True):
            found = magnitude(values, kernel)[inside]
            row += len(found), found.sum(), np.square(found).sum()
    count, total, squares = totals.T
    mean = total / count
    spread = np.sqrt(np.maximum(squares / count - mean**2, 0))
    numbers = np.stack([mean, spread], 1).ravel()
    return {feature.name: float(value) for feature, value in zip(FEATURES, numbers, strict=True)}


FAMILY = Family("gabor", "Manjunath and Ma 1996, IEEE PAMI 18:837-842", FEATURES, gabor_features)
