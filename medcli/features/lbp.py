"""Local binary patterns: which neighbours on a circle are brighter than their centre (Ojala et al. 2002)."""

import numpy as np

from medcli.config.schema import Features
from medcli.features.feature import Family, Feature
from medcli.features.planes import unit_planes
from medcli.features.region import Region

CIRCLES = ((1, 8), (2, 16))
"""Radius in pixels, and points on the circle."""
LEVELS = 255
"""Values are rounded to 0 ... 255 over the region's range first, so that noise below that does not count."""


def _features() -> tuple[Feature, ...]:
    found = []
    for radius, points in CIRCLES:
        for pattern in range(points + 1):
            text = (
                f"share of pixels with an arc of {pattern} of {points} points at {radius} pixel(s) as bright"
            )
            found.append(Feature(f"lbp_radius{radius}_uniform{pattern:02d}", "1", text))
        found.append(Feature(f"lbp_radius{radius}_other", "1", "share of pixels with several arcs"))
        found.append(Feature(f"lbp_radius{radius}_entropy", "bit", "-sum p log p over these shares"))
    return tuple(found)


FEATURES = _features()


def lbp_features(region: Region, settings: Features) -> dict[str, float]:
    """Rotation-invariant uniform patterns, by `skimage.feature.local_binary_pattern`."""
    from skimage.feature import local_binary_pattern

    counts = [np.zeros(points + 2) for _, points in CIRCLES]
    for values, inside in unit_planes(region):
        picture = np.rint(values * LEVELS).astype(np.uint8)
        for total, (radius, points) in zip(counts, CIRCLES, strict=True):
            codes = local_binary_pattern(picture, points, radius, method="uniform")
            total += np.bincount(codes[inside].astype(int), minlength=points + 2)
    numbers: list[float] = []
    for total in counts:
        p = total / total.sum()
        some = p[p > 0]
        numbers += [*p.tolist(), float(-np.sum(some * np.log2(some)))]
    return {feature.name: value for feature, value in zip(FEATURES, numbers, strict=True)}


FAMILY = Family("lbp", "Ojala et al. 2002, IEEE PAMI 24:971-987", FEATURES, lbp_features)
