"""Colour moments: mean, spread and skewness of every channel (Stricker and Orengo 1995)."""

import numpy as np

from medcli.config.schema import Features
from medcli.features.feature import Family, Feature
from medcli.features.region import Region

CHANNELS = ("red", "green", "blue", "hue", "saturation", "value")

FEATURES = tuple(
    Feature(f"color_{channel}_{name}", unit if channel in CHANNELS[:3] else "1", f"{text} of {channel}")
    for channel in CHANNELS
    for name, unit, text in (
        ("mean", "intensity", "mean"),
        ("std", "intensity", "standard deviation"),
        ("skewness", "intensity", "signed cube root of the third central moment"),
    )
)


def color_features(region: Region, settings: Features) -> dict[str, float]:
    """Red, green, blue as they are; hue (0 ... 1, red at both ends), saturation and value of the colours scaled by
    their range over the region, so that files of 8 and 16 bits and normalised pictures are treated alike.
    """
    from skimage.color import rgb2hsv

    assert region.colors is not None
    colors = region.colors[region.inside]
    low, high = colors.min(), colors.max()
    unit = (colors - low) / (high - low) if high > low else np.zeros_like(colors)
    channels = np.concatenate([colors, rgb2hsv(unit)], axis=-1)
    mean = channels.mean(axis=0)
    centred = channels - mean
    numbers = np.stack([mean, np.sqrt((centred**2).mean(axis=0)), np.cbrt((centred**3).mean(axis=0))], 1)
    return {feature.name: float(value) for feature, value in zip(FEATURES, numbers.ravel(), strict=True)}


FAMILY = Family(
    "color",
    "Stricker and Orengo 1995, SPIE 2420:381-392",
    FEATURES,
    color_features,
    lambda region: region.colors is not None,
)
