"""Grey level co-occurrence: how often levels i and j are neighbours (IBSI manual 3.6; Haralick et al. 1973)."""

import numpy as np

from medcli.config.schema import Features
from medcli.features.aggregation import Offset, aggregated, directions, resolve
from medcli.features.discretise import levels
from medcli.features.feature import Family, Feature
from medcli.features.region import Region, cropped

_TABLE = (
    ("joint_maximum", "1", "largest p(i,j)", "GYBY"),
    ("joint_average", "level", "sum i p(i,j), called mu", "60VM"),
    ("joint_variance", "level^2", "sum (i - mu)^2 p(i,j)", "UR99"),
    ("joint_entropy", "bit", "-sum p(i,j) log p(i,j)", "TU9B"),
    ("difference_average", "level", "sum k d(k), d(k) the probability that |i - j| = k", "TF7R"),
    ("difference_variance", "level^2", "sum (k - difference average)^2 d(k)", "D3YU"),
    ("difference_entropy", "bit", "-sum d(k) log d(k)", "NTRS"),
    ("sum_average", "level", "sum k s(k), s(k) the probability that i + j = k", "ZGXS"),
    ("sum_variance", "level^2", "sum (k - sum average)^2 s(k)", "OEEB"),
    ("sum_entropy", "bit", "-sum s(k) log s(k)", "P6QZ"),
    ("angular_second_moment", "1", "sum p(i,j)^2", "8ZQL"),
    ("contrast", "level^2", "sum (i - j)^2 p(i,j)", "ACUI"),
    ("dissimilarity", "level", "sum |i - j| p(i,j)", "8S9J"),
    ("inverse_difference", "1", "sum p(i,j) / (1 + |i - j|)", "IB1Z"),
    ("normalised_inverse_difference", "1", "sum p(i,j) / (1 + |i - j| / levels)", "NDRX"),
    ("inverse_difference_moment", "1", "sum p(i,j) / (1 + (i - j)^2)", "WF0Z"),
    ("normalised_inverse_difference_moment", "1", "sum p(i,j) / (1 + (i - j)^2 / levels^2)", "1QCO"),
    ("inverse_variance", "1", "2 sum over i < j of p(i,j) / (i - j)^2", "E8JP"),
    ("correlation", "1", "(sum i j p(i,j) - mu^2) / joint variance; 1 when constant", "NI2N"),
    ("autocorrelation", "level^2", "sum i j p(i,j)", "QWB0"),
    ("cluster_tendency", "level^2", "sum (i + j - 2 mu)^2 p(i,j)", "DG8W"),
    ("cluster_shade", "level^3", "sum (i + j - 2 mu)^3 p(i,j)", "7NFM"),
    ("cluster_prominence", "level^4", "sum (i + j - 2 mu)^4 p(i,j)", "AE86"),
    ("information_correlation_1", "1", "(H(i,j) - H1) / H(i), H1 = -sum p(i,j) log p(i) p(j); 0 when constant", "R8DG"),
    ("information_correlation_2", "1", "sqrt(1 - exp(-2 (H2 - H(i,j)))), H2 = -sum p(i) p(j) log(p(i) p(j))", "JN9H"),
)  # fmt: skip
FEATURES = tuple(Feature(f"glcm_{row[0]}", *row[1:]) for row in _TABLE)


def glcm_features(region: Region, settings: Features) -> dict[str, float]:
    """Of neighbours at `features.distance` voxels (Chebyshev), both orders counted; NaN where no voxel has one."""
    region = cropped(region)
    found, number = levels(region, settings)
    aggregation = resolve(region, settings)
    offsets = directions(aggregation)
    matrices = np.stack(
        [cooccurrence(found, number, offset, settings.distance, by_plane=offset[0] == 0 and "3d" not in aggregation)
         for offset in offsets], axis=1,
    )  # fmt: skip
    return {f"glcm_{name}": value for name, value in aggregated(matrices, aggregation, glcm_measures).items()}


def cooccurrence(
    found: np.ndarray, number: int, offset: Offset, distance: int, *, by_plane: bool
) -> np.ndarray:
    """Symmetric counts of pairs of levels: (planes, number, number), or (1, number, number) for all planes together.

    Args:
        found: (plane, row, column) levels from 1, 0 outside.
    """
    steps = [part * distance for part in offset]
    if any(abs(step) >= size for step, size in zip(steps, found.shape, strict=True)):
        return np.zeros((found.shape[0] if by_plane else 1, number, number))
    here = found[
        tuple(slice(max(0, -step), min(n, n - step)) for step, n in zip(steps, found.shape, strict=True))
    ]
    there = found[
        tuple(slice(max(0, step), min(n, n + step)) for step, n in zip(steps, found.shape, strict=True))
    ]
    both = (here > 0) & (there > 0)
    planes = found.shape[0] if by_plane else 1
    plane = np.nonzero(both)[0] if by_plane else 0
    cells = (plane * number + here[both] - 1) * number + there[both] - 1
    counts = (
        np.bincount(cells, minlength=planes * number**2).reshape(planes, number, number).astype(np.float64)
    )
    return counts + counts.transpose(0, 2, 1)


def glcm_measures(counts: np.ndarray) -> dict[str, np.ndarray]:
    """The features without their prefix, each (...), of symmetric counts (..., levels, levels)."""
    number = counts.shape[-1]
    p = counts / counts.sum((-2, -1), keepdims=True)
    i = np.arange(1, number + 1, dtype=np.float64)
    row = p.sum(-1)
    mu = row @ i
    variance = (row * (i - mu[..., None]) ** 2).sum(-1)
    difference, total = _diagonals(p)
    k = np.arange(number, dtype=np.float64)
    sums = np.arange(2, 2 * number + 1, dtype=np.float64)
    mean_difference, mean_sum = difference @ k, total @ sums
    centred = sums - 2 * mu[..., None]
    product = row[..., :, None] * row[..., None, :]
    joint, single = _entropy(p, 2), _entropy(row, 1)
    first = -(p * _log(product)).sum((-2, -1))
    second = -(product * _log(product)).sum((-2, -1))
    auto = (p * np.outer(i, i)).sum((-2, -1))
    with np.errstate(divide="ignore", invalid="ignore"):
        correlation = np.where(variance > 1e-12, (auto - mu**2) / variance, 1.0)
        information = np.where(single > 1e-12, (joint - first) / single, 0.0)
    return {
        "joint_maximum": p.max((-2, -1)),
        "joint_average": mu,
        "joint_variance": variance,
        "joint_entropy": joint,
        "difference_average": mean_difference,
        "difference_variance": (difference * (k - mean_difference[..., None]) ** 2).sum(-1),
        "difference_entropy": _entropy(difference, 1),
        "sum_average": mean_sum,
        "sum_variance": (total * (sums - mean_sum[..., None]) ** 2).sum(-1),
        "sum_entropy": _entropy(total, 1),
        "angular_second_moment": (p**2).sum((-2, -1)),
        "contrast": difference @ k**2,
        "dissimilarity": mean_difference,
        "inverse_difference": difference @ (1 / (1 + k)),
        "normalised_inverse_difference": difference @ (1 / (1 + k / number)),
        "inverse_difference_moment": difference @ (1 / (1 + k**2)),
        "normalised_inverse_difference_moment": difference @ (1 / (1 + (k / number) ** 2)),
        "inverse_variance": difference[..., 1:] @ (1 / k[1:] ** 2),
        "correlation": correlation,
        "autocorrelation": auto,
        "cluster_tendency": (total * centred**2).sum(-1),
        "cluster_shade": (total * centred**3).sum(-1),
        "cluster_prominence": (total * centred**4).sum(-1),
        "information_correlation_1": information,
        "information_correlation_2": np.sqrt(np.maximum(1 - np.exp(-2 * (second - joint)), 0)),
    }  # fmt: skip


def _diagonals(p: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
    """Probabilities of |i - j| = 0, 1, ... (..., levels) and of i + j = 2, 3, ... (..., 2 levels - 1)."""
    number = p.shape[-1]
    i, j = np.indices((number, number)).reshape(2, -1)
    flat = p.reshape(-1, number**2)

    def added(key: np.ndarray, length: int) -> np.ndarray:
        found = np.stack([np.bincount(key, weights=row, minlength=length) for row in flat])
        return found.reshape(*p.shape[:-2], length)

    return added(np.abs(i - j), number), added(i + j, 2 * number - 1)


def _log(p: np.ndarray) -> np.ndarray:
    """log2, and 0 for 0."""
    return np.log2(p, out=np.zeros_like(p), where=p > 0)


def _entropy(p: np.ndarray, axes: int) -> np.ndarray:
    return -(p * _log(p)).sum(tuple(range(-axes, 0)))


FAMILY = Family("glcm", "IBSI manual 3.6", FEATURES, glcm_features)
