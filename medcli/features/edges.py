"""Edges: the gradient by Sobel's filter, and how much of the region lies on edges found by Canny's method."""

import numpy as np

from medcli.config.schema import Features
from medcli.features.feature import Family, Feature
from medcli.features.planes import filled_planes, unit_planes
from medcli.features.region import Region

SIGMA, LOW, HIGH = 1.0, 0.1, 0.2
"""Canny: smoothing in pixels, thresholds of the gradient of values scaled to 0 ... 1 (skimage's defaults)."""

FEATURES = (
    Feature("edges_sobel_mean", "intensity/pixel", "mean magnitude of Sobel's gradient"),
    Feature("edges_sobel_std", "intensity/pixel", "its standard deviation"),
    Feature("edges_sobel_percentile_90", "intensity/pixel", "its 90th percentile"),
    Feature("edges_sobel_maximum", "intensity/pixel", "its largest value"),
    Feature("edges_sobel_relative", "1", "mean magnitude with values scaled to 0 ... 1"),
    Feature("edges_canny_share", "1", "share of pixels on an edge found by Canny's method, sigma 1 pixel"),
    Feature("edges_canny_pieces", "1/1000 pixels", "connected pieces of these edges"),
)


def edges_features(region: Region, settings: Features) -> dict[str, float]:
    from scipy.ndimage import label
    from skimage.feature import canny
    from skimage.filters import sobel

    steep = np.concatenate([sobel(values)[inside] for values, inside in filled_planes(region)])
    numbers = region.numbers
    spread = float(numbers.max() - numbers.min())
    on_edge = pieces = 0
    for values, inside in unit_planes(region):
        edge = canny(values, sigma=SIGMA, low_threshold=LOW, high_threshold=HIGH) & inside
        on_edge += int(edge.sum())
        pieces += label(edge, np.ones((3, 3)))[1]
    measured = (
        steep.mean(),
        steep.std(),
        np.percentile(steep, 90),
        steep.max(),
        steep.mean() / spread if spread else 0.0,
        on_edge / steep.size,
        1000 * pieces / steep.size,
    )
    return {feature.name: float(value) for feature, value in zip(FEATURES, measured, strict=True)}


FAMILY = Family(
    "edges", "Canny 1986, IEEE PAMI 8:679-698; Sobel as in scikit-image", FEATURES, edges_features
)
