"""A region of an image: values, mask, spacing; always with a plane axis, so that pictures are volumes of one plane."""

from collections.abc import Sequence
from dataclasses import dataclass, replace

import numpy as np


@dataclass(frozen=True, eq=False)
class Region:
    """Attributes:
    values: (plane, row, column) float64.
    mask: bool, the same shape: the region's form (IBSI's morphological mask).
    inside: bool, the same shape: the voxels of the mask whose values count (IBSI's intensity mask); fewer than the
        mask where values lie outside `features.range` or are not finite.
    spacing: Per axis, in mm or, where the file does not tell, in pixels.
    dimensions: 2 for a picture, 3 for a volume.
    whole: The region is the whole image, so its form says nothing.
    colors: (plane, row, column, 3) float64 of a colour picture, else None.
    """

    values: np.ndarray
    mask: np.ndarray
    inside: np.ndarray
    spacing: tuple[float, float, float]
    dimensions: int
    whole: bool = False
    colors: np.ndarray | None = None

    @property
    def numbers(self) -> np.ndarray:
        """(n,) the values that count."""
        return self.values[self.inside]


def region_of(
    values: np.ndarray,
    mask: np.ndarray | None = None,
    spacing: Sequence[float] | None = None,
    *,
    limits: Sequence[float] | None = None,
    colors: np.ndarray | None = None,
) -> Region:
    """A region of a picture (row, column) or a volume (plane, row, column).

    Args:
        values: Any numbers; what is not finite does not count.
        mask: bool, the same shape; None: the whole image.
        spacing: One number per axis; None: 1.
        limits: (low, high): only values from low to high count (IBSI's re-segmentation).
        colors: values' shape + (3,).
    """
    dimensions = values.ndim
    steps = tuple(float(step) for step in spacing or (1.0,) * dimensions)
    if dimensions == 2:
        values, steps = values[None], (1.0, *steps)
        mask = None if mask is None else mask[None]
        colors = None if colors is None else colors[None]
    whole = mask is None
    mask = np.ones(values.shape, bool) if mask is None else np.asarray(mask, bool)
    values = np.asarray(values, np.float64)
    inside = mask & np.isfinite(values)
    if limits is not None:
        inside = inside & (values >= limits[0]) & (values <= limits[1])
    return Region(
        np.nan_to_num(values, posinf=0.0, neginf=0.0),
        mask,
        inside,
        (steps[0], steps[1], steps[2]),
        dimensions,
        whole,
        None if colors is None else np.asarray(colors, np.float64),
    )


def cropped(region: Region, margin: int = 0) -> Region:
    """The box around the mask and `margin` voxels more; the region itself when its mask is empty."""
    if region.whole or not region.mask.any():
        return region
    box = []
    for axis, size in enumerate(region.mask.shape):
        filled = np.flatnonzero(region.mask.any(axis=tuple(other for other in range(3) if other != axis)))
        more = 0 if axis == 0 and region.dimensions == 2 else margin
        box.append(slice(max(0, int(filled[0]) - more), min(size, int(filled[-1]) + 1 + more)))
    cut = tuple(box)
    return replace(
        region,
        values=region.values[cut],
        mask=region.mask[cut],
        inside=region.inside[cut],
        colors=None if region.colors is None else region.colors[cut],
    )


def resampled(region: Region, spacing: Sequence[float]) -> Region:
    """Brought to another spacing: values linearly, masks linearly and then from one half on.

    As in the IBSI manual (2.4): the grids share their centre, and the new one has ceil(n * old / new) voxels along an
    axis. In pictures the plane axis stays.
    """
    wanted = (1.0, *spacing) if region.dimensions == 2 else tuple(spacing)
    if wanted == region.spacing:
        return region
    from scipy.ndimage import map_coordinates

    places = []
    for size, old, new in zip(region.values.shape, region.spacing, wanted, strict=True):
        count = max(1, int(np.ceil(round(size * old / new, 6))))
        places.append((np.arange(count) - (count - 1) / 2) * new / old + (size - 1) / 2)
    grid = np.meshgrid(*places, indexing="ij")

    def moved(array: np.ndarray) -> np.ndarray:
        return map_coordinates(array.astype(np.float64), grid, order=1, mode="nearest")

    colors = region.colors
    return replace(
        region,
        values=moved(region.values),
        mask=moved(region.mask) >= 0.5,
        inside=moved(region.inside) >= 0.5,
        spacing=(float(wanted[0]), float(wanted[1]), float(wanted[2])),
        colors=None if colors is None else np.stack([moved(colors[..., c]) for c in range(3)], -1),
    )
