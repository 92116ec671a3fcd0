"""All features of one region, or of an image as a network sees it."""

from collections.abc import Sequence

import numpy as np

from medcli.config.schema import Features
from medcli.features.feature import Family
from medcli.features.region import Region, region_of, resampled
from medcli.features.table import FAMILIES


def extract(region: Region, settings: Features, families: Sequence[Family] | None = None) -> dict[str, float]:
    """Every feature of the chosen families that fit, in the order of the table; NaN where one is not defined.

    A region without a voxel that counts has no features: all are NaN, but its volume or area, which is 0.
    """
    if settings.spacing != "native":
        region = resampled(region, settings.spacing)
    families = chosen(region, settings) if families is None else families
    out: dict[str, float] = {}
    for family in families:
        if region.inside.any():
            out |= family.compute(region, settings)
        else:
            out |= {
                feature.name: 0.0 if feature.name in EMPTY_IS_ZERO else np.nan for feature in family.features
            }
    return out


EMPTY_IS_ZERO = {"shape_volume", "shape_volume_voxels", "shape2d_area", "shape2d_area_pixels"}


def chosen(region: Region, settings: Features) -> list[Family]:
    """Those that the settings name, as far as they mean anything for this region."""
    return [
        family
        for family in FAMILIES
        if (settings.families == "auto" or family.name in settings.families) and family.fits(region)
    ]


def regions_of_channels(
    array: np.ndarray,
    mask: np.ndarray | None,
    spacing: Sequence[float] | None,
    settings: Features,
) -> dict[str, Region]:
    """The region in every channel of an image.

    A picture of three or four channels is a colour picture: one entry, its luminance, with the colours beside it. A
    picture whose channels are all the same is grey. Otherwise channels are named 0, 1, ...; "" when there is only one.

    Args:
        array: (spatial + channel).
        mask: bool, (spatial); None: the whole image.
    """
    from medcli.preprocessing.intensity import is_grey, to_grey, without_alpha

    limits = settings.range

    def region(values: np.ndarray, colors: np.ndarray | None = None) -> Region:
        return region_of(values, mask, spacing, limits=limits, colors=colors)

    if array.ndim == 3 and array.shape[-1] in (2, 3, 4):
        colors = without_alpha(array)
        return {
            "": region(to_grey(array)[..., 0], None if is_grey(array) or colors.shape[-1] != 3 else colors)
        }
    if array.shape[-1] == 1:
        return {"": region(array[..., 0])}
    return {str(channel): region(array[..., channel]) for channel in range(array.shape[-1])}
