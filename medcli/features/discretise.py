"""Grey levels for texture: a fixed number of bins over the region's range, or bins of a fixed width (IBSI 2.7)."""

import numpy as np

from medcli.config.schema import Features
from medcli.errors import DataError
from medcli.features.region import Region

MOST = 1024
"""Grey levels; a texture matrix has their square as entries."""


def levels(region: Region, settings: Features) -> tuple[np.ndarray, int]:
    """Grey levels of a region as the settings say.

    Returns:
        (plane, row, column) int64, 1, 2, ... inside and 0 elsewhere; and their number: `features.bins` for a fixed
        number, the highest level that occurs for a fixed width.

    Raises:
        DataError: Bins of this width are more than 1,024.
    """
    numbers = region.numbers
    out = np.zeros(region.values.shape, np.int64)
    if settings.discretise == "fixed_number":
        out[region.inside] = fixed_number(numbers, settings.bins)
        return out, settings.bins
    start = settings.bin_start
    if start is None and settings.range is not None:
        start = settings.range[0]
    found = fixed_width(numbers, settings.bin_width, start)
    if found.max() > MOST:
        raise DataError(
            f"features.bin_width: {settings.bin_width:g} makes {found.max()} grey levels of this region, "
            f"more than {MOST}; choose wider bins, or features.range."
        )
    out[region.inside] = found
    return out, int(found.max())


def fixed_number(numbers: np.ndarray, bins: int) -> np.ndarray:
    """floor(bins * (x - min) / (max - min)) + 1, the largest value in the last bin; all 1 when constant.

    >>> fixed_number(np.array([0.0, 0.9, 1.0, 4.0]), 4).tolist()
    [1, 1, 2, 4]
    """
    low, high = numbers.min(), numbers.max()
    if high <= low:
        return np.ones(numbers.shape, np.int64)
    return np.minimum(np.floor(bins * (numbers - low) / (high - low)).astype(np.int64) + 1, bins)


def fixed_width(numbers: np.ndarray, width: float, start: float | None = None) -> np.ndarray:
    """floor((x - start) / width) + 1; start: the smallest value by default, and values below it are level 1.

    >>> fixed_width(np.array([0.0, 24.0, 25.0, 60.0]), 25.0).tolist()
    [1, 1, 2, 3]
    """
    first = numbers.min() if start is None else start
    return np.maximum(np.floor((numbers - first) / width).astype(np.int64) + 1, 1)
