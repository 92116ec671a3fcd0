"""Intensities without their place: statistics of the values (IBSI 3.3) and of their grey levels (IBSI 3.4)."""

import numpy as np

from medcli.config.schema import Features
from medcli.features.discretise import levels
from medcli.features.feature import Family, Feature
from medcli.features.region import Region

_SHARED = (
    ("mean", "u", "mean of x", "Q4LE", "X6K6"),
    ("variance", "u^2", "mean of (x - mean)^2", "ECT3", "CH89"),
    ("skewness", "1", "mean of (x - mean)^3 / variance^1.5; 0 when constant", "KE2A", "88K1"),
    ("kurtosis", "1", "mean of (x - mean)^4 / variance^2 - 3; 0 when constant", "IPH6", "C3I7"),
    ("median", "u", "50th percentile", "Y12H", "WIFQ"),
    ("minimum", "u", "smallest x", "1GSF", "1PR8"),
    ("percentile_10", "u", "10th percentile", "QG58", "GPMT"),
    ("percentile_90", "u", "90th percentile", "8DWT", "OZ0C"),
    ("maximum", "u", "largest x", "84IY", "3NCY"),
    ("interquartile_range", "u", "75th minus 25th percentile", "SALO", "WR0O"),
    ("range", "u", "largest minus smallest x", "2OJQ", "5Z3W"),
    ("mean_absolute_deviation", "u", "mean of |x - mean|", "4FUA", "D2ZX"),
    ("robust_mean_absolute_deviation", "u", "the same within the 10th to 90th percentile", "1128", "WRZB"),
    ("median_absolute_deviation", "u", "mean of |x - median|", "N72L", "4RNL"),
    ("coefficient_of_variation", "1", "standard deviation / mean; not defined for mean 0", "7TET", "CWYJ"),
    ("quartile_coefficient_of_dispersion", "1", "(P75 - P25) / (P75 + P25); not defined for sum 0", "9S40", "SLWD"),
)  # fmt: skip


def _named(prefix: str, unit: str, word: str, code: int) -> tuple[Feature, ...]:
    return tuple(
        Feature(f"{prefix}_{row[0]}", row[1].replace("u", unit), row[2].replace("x", word), row[code])
        for row in _SHARED
    )


INTENSITY = (
    *_named("intensity", "intensity", "value", 3),
    Feature("intensity_energy", "intensity^2", "sum of value^2", "N8CA"),
    Feature("intensity_root_mean_square", "intensity", "square root of the mean of value^2", "5ZWQ"),
)
HISTOGRAM = (
    *_named("histogram", "level", "level", 4),
    Feature("histogram_mode", "level", "most frequent level; of several the one nearest to the mean", "AMMC"),
    Feature("histogram_entropy", "bit", "-sum p log p over the levels", "TLU2"),
    Feature("histogram_uniformity", "1", "sum p^2 over the levels", "BJ5W"),
    Feature("histogram_maximum_gradient", "1", "largest gradient of the counts per level", "12CE"),
    Feature("histogram_maximum_gradient_level", "level", "level with the largest gradient", "8E6O"),
    Feature("histogram_minimum_gradient", "1", "smallest gradient of the counts per level", "VQB3"),
    Feature("histogram_minimum_gradient_level", "level", "level with the smallest gradient", "RHQZ"),
)


def statistics(x: np.ndarray) -> dict[str, float]:
    """The statistics that values and levels share, of (n,) numbers, n > 0; percentiles are interpolated linearly."""
    mean = x.mean()
    low, quarter, median, three, high = np.percentile(x, (10, 25, 50, 75, 90))
    centred = x - mean
    variance = float(np.mean(centred**2))
    constant = x.max() == x.min()
    middle = x[(x >= low) & (x <= high)]
    return {
        "mean": float(mean),
        "variance": 0.0 if constant else variance,
        "skewness": 0.0 if constant else float(np.mean(centred**3) / variance**1.5),
        "kurtosis": 0.0 if constant else float(np.mean(centred**4) / variance**2 - 3),
        "median": float(median),
        "minimum": float(x.min()),
        "percentile_10": float(low),
        "percentile_90": float(high),
        "maximum": float(x.max()),
        "interquartile_range": float(three - quarter),
        "range": float(x.max() - x.min()),
        "mean_absolute_deviation": float(np.abs(centred).mean()),
        "robust_mean_absolute_deviation": float(np.abs(middle - middle.mean()).mean())
        if middle.size
        else 0.0,
        "median_absolute_deviation": float(np.abs(x - median).mean()),
        "coefficient_of_variation": float(np.sqrt(variance) / mean) if mean else np.nan,
        "quartile_coefficient_of_dispersion": float((three - quarter) / (three + quarter))
        if three + quarter
        else np.nan,
    }


def intensity_features(region: Region, settings: Features) -> dict[str, float]:
    """Of the values as they are."""
    x = region.numbers
    return {
        **{f"intensity_{name}": value for name, value in statistics(x).items()},
        "intensity_energy": float(np.sum(x**2)),
        "intensity_root_mean_square": float(np.sqrt(np.mean(x**2))),
    }


def histogram_features(region: Region, settings: Features) -> dict[str, float]:
    """Of the grey levels. One level alone has no gradient: 0 at that level."""
    found, number = levels(region, settings)
    x = found[region.inside].astype(np.float64)
    counts = np.bincount(found[region.inside], minlength=number + 1)[1:].astype(np.float64)
    p = counts[counts > 0] / counts.sum()
    gradient = np.gradient(counts) if number > 1 else np.zeros(1)
    shared = statistics(x)
    modes = np.flatnonzero(counts == counts.max()) + 1
    return {
        **{f"histogram_{name}": value for name, value in shared.items()},
        "histogram_mode": float(modes[np.abs(modes - shared["mean"]).argmin()]),
        "histogram_entropy": float(-np.sum(p * np.log2(p))),
        "histogram_uniformity": float(np.sum(p**2)),
        "histogram_maximum_gradient": float(gradient.max()),
        "histogram_maximum_gradient_level": float(gradient.argmax() + 1),
        "histogram_minimum_gradient": float(gradient.min()),
        "histogram_minimum_gradient_level": float(gradient.argmin() + 1),
    }


INTENSITY_FAMILY = Family("intensity", "IBSI manual 3.3", INTENSITY, intensity_features)
HISTOGRAM_FAMILY = Family("histogram", "IBSI manual 3.4", HISTOGRAM, histogram_features)
