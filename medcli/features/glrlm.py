"""Grey level run lengths: how many neighbours in a line share a level (IBSI manual 3.7; Galloway 1975)."""

import numpy as np

from medcli.config.schema import Features
from medcli.features.aggregation import Offset, aggregated, directions, resolve
from medcli.features.discretise import levels
from medcli.features.feature import Family, Feature
from medcli.features.region import Region, cropped

_TABLE = (
    ("short_runs_emphasis", "1", "sum r(i,l) / l^2 / N; r(i,l): runs of level i and length l, N: all runs", "22OV"),
    ("long_runs_emphasis", "1", "sum l^2 r(i,l) / N", "W4KF"),
    ("low_grey_level_run_emphasis", "1", "sum r(i,l) / i^2 / N", "V3SW"),
    ("high_grey_level_run_emphasis", "level^2", "sum i^2 r(i,l) / N", "G3QZ"),
    ("short_run_low_grey_level_emphasis", "1", "sum r(i,l) / (i^2 l^2) / N", "HTZT"),
    ("short_run_high_grey_level_emphasis", "level^2", "sum i^2 r(i,l) / l^2 / N", "GD3A"),
    ("long_run_low_grey_level_emphasis", "1", "sum l^2 r(i,l) / i^2 / N", "IVPO"),
    ("long_run_high_grey_level_emphasis", "level^2", "sum i^2 l^2 r(i,l) / N", "3KUM"),
    ("grey_level_non_uniformity", "1", "sum over i of r(i)^2 / N", "R5YN"),
    ("normalised_grey_level_non_uniformity", "1", "sum over i of r(i)^2 / N^2", "OVBL"),
    ("run_length_non_uniformity", "1", "sum over l of r(l)^2 / N", "W92Y"),
    ("normalised_run_length_non_uniformity", "1", "sum over l of r(l)^2 / N^2", "IC23"),
    ("run_percentage", "1", "N / number of voxels, each counted once for every direction", "9ZK5"),
    ("grey_level_variance", "level^2", "variance of i over the runs", "8CE5"),
    ("run_length_variance", "voxel^2", "variance of l over the runs", "SXLW"),
    ("run_entropy", "bit", "-sum p log p, p = r(i,l) / N", "HJ9O"),
)  # fmt: skip
FEATURES = tuple(Feature(f"glrlm_{row[0]}", *row[1:]) for row in _TABLE)


def glrlm_features(region: Region, settings: Features) -> dict[str, float]:
    region = cropped(region)
    found, number = levels(region, settings)
    aggregation = resolve(region, settings)
    lines = [runs(found, offset) for offset in directions(aggregation)]
    longest = max(int(line[2].max()) for line in lines)
    planes = 1 if aggregation.startswith("3d") else found.shape[0]
    matrices = np.zeros((planes, len(lines), number, longest))
    for direction, (plane, level, length) in enumerate(lines):
        cells = ((plane if planes > 1 else 0) * number + level - 1) * longest + length - 1
        counts = np.bincount(cells, minlength=planes * number * longest)
        matrices[:, direction] = counts.reshape(planes, number, longest)
    return {
        f"glrlm_{name}": value for name, value in aggregated(matrices, aggregation, glrlm_measures).items()
    }


def runs(found: np.ndarray, offset: Offset) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
    """All runs in one direction: plane where each begins, its level (from 1), its length.

    Args:
        found: (plane, row, column) levels from 1, 0 outside; at least one is not 0.
    """
    padded = np.pad(found, 1)  # a run ends at the edge, so none leaves the array
    flat = padded.ravel()
    step = int(np.dot(offset, [padded.shape[1] * padded.shape[2], padded.shape[2], 1]))
    filled = np.flatnonzero(flat)
    starts = filled[flat[filled - step] != flat[filled]]
    length = np.ones(len(starts), np.int64)
    going = np.arange(len(starts))
    while going.size:
        going = going[flat[starts[going] + length[going] * step] == flat[starts[going]]]
        length[going] += 1
    return starts // (padded.shape[1] * padded.shape[2]) - 1, flat[starts], length


def glrlm_measures(counts: np.ndarray) -> dict[str, np.ndarray]:
    """The features without their prefix, each (...), of numbers of runs (..., levels, lengths)."""
    total = counts.sum((-2, -1))
    p = counts / total[..., None, None]
    i = np.arange(1, counts.shape[-2] + 1, dtype=np.float64)
    length = np.arange(1, counts.shape[-1] + 1, dtype=np.float64)
    level_p, length_p = p.sum(-1), p.sum(-2)

    def weighted(level_power: int, length_power: int) -> np.ndarray:
        return ((p @ length**length_power) * i**level_power).sum(-1)

    def variance(share: np.ndarray, x: np.ndarray) -> np.ndarray:
        return (share * (x - (share @ x)[..., None]) ** 2).sum(-1)

    return {
        "short_runs_emphasis": weighted(0, -2),
        "long_runs_emphasis": weighted(0, 2),
        "low_grey_level_run_emphasis": weighted(-2, 0),
        "high_grey_level_run_emphasis": weighted(2, 0),
        "short_run_low_grey_level_emphasis": weighted(-2, -2),
        "short_run_high_grey_level_emphasis": weighted(2, -2),
        "long_run_low_grey_level_emphasis": weighted(-2, 2),
        "long_run_high_grey_level_emphasis": weighted(2, 2),
        "grey_level_non_uniformity": (level_p**2).sum(-1) * total,
        "normalised_grey_level_non_uniformity": (level_p**2).sum(-1),
        "run_length_non_uniformity": (length_p**2).sum(-1) * total,
        "normalised_run_length_non_uniformity": (length_p**2).sum(-1),
        "run_percentage": 1 / (length_p @ length),  # every voxel is in one run: N / sum of the lengths
        "grey_level_variance": variance(level_p, i),
        "run_length_variance": variance(length_p, length),
        "run_entropy": -(p * np.log2(p, out=np.zeros_like(p), where=p > 0)).sum((-2, -1)),
    }


FAMILY = Family("glrlm", "IBSI manual 3.7", FEATURES, glrlm_features)
