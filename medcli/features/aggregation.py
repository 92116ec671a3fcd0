"""How texture matrices of planes and directions become one set of numbers (IBSI manual, 3.6.1 and 3.7.1).

2d_averaged            one matrix per plane and direction; features of each, then their mean
2d_slice_merged        the directions of a plane are merged; features per plane, then their mean
2.5d_direction_merged  the planes are merged for each direction; features per direction, then their mean
2.5d_merged            all planes and directions merged into one matrix
3d_averaged            one matrix per direction in space; features of each, then their mean
3d_merged              all directions in space merged into one matrix
"""

from collections.abc import Callable
from itertools import product

import numpy as np

from medcli.config.schema import Features
from medcli.features.region import Region

Offset = tuple[int, int, int]

IN_PLANE: tuple[Offset, ...] = ((0, 0, 1), (0, 1, 0), (0, 1, 1), (0, 1, -1))
IN_SPACE: tuple[Offset, ...] = tuple(
    (a, b, c) for a, b, c in product((-1, 0, 1), repeat=3) if (a, b, c) > (0, 0, 0)
)  # one of each pair of opposite ones: 13
ANISOTROPIC = 2.0
"""From this ratio of plane distance to pixel size on, `auto` compares voxels within planes only."""


def resolve(region: Region, settings: Features) -> str:
    """The aggregation; auto: 2d_slice_merged in pictures, 3d_merged in volumes, 2.5d_merged where planes lie apart."""
    if settings.aggregation != "auto":
        if region.dimensions == 2 and settings.aggregation.startswith("3d"):
            return settings.aggregation.replace("3d", "2d").replace("2d_merged", "2d_slice_merged")
        return settings.aggregation
    if region.dimensions == 2:
        return "2d_slice_merged"
    return "2.5d_merged" if region.spacing[0] >= ANISOTROPIC * min(region.spacing[1:]) else "3d_merged"


def directions(aggregation: str) -> tuple[Offset, ...]:
    return IN_SPACE if aggregation.startswith("3d") else IN_PLANE


def aggregated(
    matrices: np.ndarray, aggregation: str, features: Callable[[np.ndarray], dict[str, np.ndarray]]
) -> dict[str, float]:
    """Merge matrices, take the features of what is left, and average.

    Args:
        matrices: (planes, directions, rows, columns) counts; one plane for the aggregations in space.
        features: From (..., rows, columns) counts to values (...); NaN for a matrix without counts, which is left out
            of the mean.
    """
    if aggregation in ("2d_slice_merged", "2.5d_merged", "3d_merged"):
        matrices = matrices.sum(axis=1, keepdims=True)
    if aggregation.startswith("2.5d"):
        matrices = matrices.sum(axis=0, keepdims=True)
    matrices = matrices.reshape(-1, *matrices.shape[2:])
    known = matrices[matrices.sum(axis=(1, 2)) > 0]
    if not len(known):
        return {name: np.nan for name in features(np.ones((1, 2, 2)))}
    return {name: float(np.mean(values)) for name, values in features(known).items()}
