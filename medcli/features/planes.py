"""Filters for pictures, applied to volumes plane by plane: what they need of a region."""

from collections.abc import Iterator

import numpy as np

from medcli.features.region import Region, cropped

MARGIN = 16
"""Pixels around a region that filters may see."""


def filled_planes(region: Region) -> Iterator[tuple[np.ndarray, np.ndarray]]:
    """(values, inside), each (row, column), of every plane with pixels that count, with a margin around the region."""
    region = cropped(region, MARGIN)
    for values, inside in zip(region.values, region.inside, strict=True):
        if inside.any():
            yield values, inside


def unit_planes(region: Region) -> Iterator[tuple[np.ndarray, np.ndarray]]:
    """The same with values scaled so that the region's smallest is 0 and its largest 1 (cut there); constant: 0."""
    numbers = region.numbers
    low, high = float(numbers.min()), float(numbers.max())
    for values, inside in filled_planes(region):
        yield (np.clip((values - low) / (high - low), 0, 1) if high > low else np.zeros_like(values)), inside
