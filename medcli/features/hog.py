"""Histograms of oriented gradients: in which direction values change, cell by cell (Dalal and Triggs 2005)."""

import numpy as np

from medcli.config.schema import Features
from medcli.features.feature import Family, Feature
from medcli.features.planes import unit_planes
from medcli.features.region import Region, cropped

CELLS, CELL, ORIENTATIONS = 4, 16, 9
"""The region's box is brought to 4 x 4 cells of 16 x 16 pixels; 9 directions from 0 to 180 degrees."""

FEATURES = tuple(
    Feature(
        f"hog_row{row}_column{column}_{20 * bin:03d}",
        "1",
        f"gradient from {20 * bin} to {20 * bin + 20} degrees in cell ({row}, {column}) of 4 x 4, L2-Hys per cell",
    )
    for row in range(CELLS)
    for column in range(CELLS)
    for bin in range(ORIENTATIONS)
)


def hog_features(region: Region, settings: Features) -> dict[str, float]:
    """Of the box around the region, its surroundings included; of volumes the mean over the planes.

    By `skimage.feature.hog`.
    """
    from skimage.feature import hog
    from skimage.transform import resize

    box = cropped(region)
    found = [
        hog(
            resize(values, (CELLS * CELL,) * 2, order=1, anti_aliasing=True, mode="edge"),
            orientations=ORIENTATIONS,
            pixels_per_cell=(CELL, CELL),
            cells_per_block=(1, 1),
        )
        for values, _ in unit_planes(box)
    ]
    mean = np.mean(found, axis=0)
    return {feature.name: float(value) for feature, value in zip(FEATURES, mean, strict=True)}


FAMILY = Family("hog", "Dalal and Triggs 2005, CVPR, 886-893", FEATURES, hog_features)
