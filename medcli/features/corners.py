"""Corners: points where values change in every direction, by Harris' measure and by the FAST test."""

import numpy as np

from medcli.config.schema import Features
from medcli.features.feature import Family, Feature
from medcli.features.planes import unit_planes
from medcli.features.region import Region

HARRIS = 1e-4
"""Least Harris response of a corner, values scaled to 0 ... 1: about a step of a fifth of the range."""
FAST_POINTS, FAST_STEP = 9, 0.1
"""FAST: so many neighbours in an arc of 16 must be brighter, or darker, by so much of the range."""

FEATURES = (
    Feature(
        "corners_harris", "1/1000 pixels", "peaks of Harris' response (k = 0.05, sigma 1 pixel) above 1e-4"
    ),
    Feature("corners_harris_maximum", "1", "largest response, values scaled to 0 ... 1"),
    Feature("corners_fast", "1/1000 pixels", "peaks of the FAST-9 test with a step of a tenth of the range"),
)


def corners_features(region: Region, settings: Features) -> dict[str, float]:
    from skimage.feature import corner_fast, corner_harris, corner_peaks

    pixels = harris = fast = 0
    highest = 0.0
    for values, inside in unit_planes(region):
        response = np.where(inside, corner_harris(values, k=0.05, sigma=1), 0.0)
        test = np.where(
            inside, corner_fast(np.pad(values, 3, mode="edge"), FAST_POINTS, FAST_STEP)[3:-3, 3:-3], 0.0
        )
        pixels += int(inside.sum())
        highest = max(highest, float(response.max()))
        harris += len(
            corner_peaks(
                response, min_distance=1, threshold_abs=HARRIS, threshold_rel=0, exclude_border=False
            )
        )
        fast += len(
            corner_peaks(test, min_distance=1, threshold_abs=0, threshold_rel=0, exclude_border=False)
        )
    measured = (1000 * harris / pixels, highest, 1000 * fast / pixels)
    return {feature.name: float(value) for feature, value in zip(FEATURES, measured, strict=True)}


FAMILY = Family(
    "corners",
    "Harris and Stephens 1988, Alvey Vision Conference, 147-151; Rosten and Drummond 2006, ECCV, 430-443",
    FEATURES,
    corners_features,
)
