"""How unlike the training cases a case is: distance to its nearest neighbours among their features, and its p-value.

Distance to the k-th neighbour: Sun, Ming, Zhu and Li 2022, "Out-of-distribution detection with deep nearest
neighbors" (ICML). Features of several depths instead of the last alone: Anthony and Kamnitsas 2023, "On the use
of Mahalanobis distance for out-of-distribution detection with neural networks for medical imaging" (UNSURE).
"""

from collections.abc import Sequence
from typing import NamedTuple

import numpy as np

NEIGHBOURS = 5
AT_ONCE = 2_000_000
"""Distances held in memory together."""


class Reference(NamedTuple):
    """Features of training cases, brought to one scale.

    Attributes:
        points: (n, d) float32.
        centre, scale: (d,) that were subtracted and divided by.
    """

    points: np.ndarray
    centre: np.ndarray
    scale: np.ndarray


def reference(features: np.ndarray, depths: Sequence[int]) -> Reference:
    """Centre and scale every feature; every depth of the network weighs alike, however many features it has.

    A feature that hardly varies among the training cases is scaled by a hundredth of the largest deviation of
    its depth, so that it may tell but cannot drown the others.

    Args:
        features: (n, d) of training cases, n >= 1.
        depths: Number of features of each depth; they sum to d.
    """
    features = np.asarray(features, np.float64)
    centre, deviation = features.mean(0), features.std(0)
    scale, start = np.empty_like(deviation), 0
    for width in depths:
        part = deviation[start : start + width]
        least = max(0.01 * float(part.max()), 1e-6)
        scale[start : start + width] = np.maximum(part, least) * np.sqrt(width)
        start += width
    points = ((features - centre) / scale).astype(np.float32)
    return Reference(points, centre.astype(np.float32), scale.astype(np.float32))


def unlikeness(features: np.ndarray, like: Reference, neighbours: int = NEIGHBOURS) -> np.ndarray:
    """(m,) distance of each case to the k-th nearest training case (of fewer, the farthest).

    Args:
        features: (m, d) as the network gives them.
    """
    points = like.points
    k = min(neighbours, len(points)) - 1
    scaled = (np.asarray(features, np.float32) - like.centre) / like.scale
    squares = (points**2).sum(1)
    found = []
    size = max(1, AT_ONCE // len(points))
    for start in range(0, len(scaled), size):
        part = scaled[start : start + size]
        distance = (part**2).sum(1)[:, None] + squares - 2 * part @ points.T
        found.append(np.partition(distance, k, axis=1)[:, k])
    return np.sqrt(np.maximum(np.concatenate(found), 0)) if found else np.zeros(0)


def conformal_p(scores: np.ndarray, known: np.ndarray, patients: Sequence[str] | np.ndarray) -> np.ndarray:
    """(m,) chance of a score at least this large for a new case like those known.

    (1 + share of each patient's cases with such a score, summed over the patients) / (1 + patients): with one
    case per patient the conformal p-value (Vovk et al. 2005; Bates et al. 2023, Ann. Stat. 51:149-178), which is
    never too small more often than it says; with several that of Lee, Barber and Willett 2023 (arXiv 2306.06342).

    Args:
        scores: (m,) large is unusual; NaN gives NaN.
        known: (n,) of cases that no threshold or reference was made from; NaN is left out.
        patients: (n,) whose they are.
    """
    scores = np.atleast_1d(np.asarray(scores, float))
    usable = np.isfinite(known)
    known, patients = np.asarray(known, float)[usable], np.asarray(patients, str)[usable]
    _, code = np.unique(patients, return_inverse=True)
    counts = np.bincount(code)
    order = np.argsort(known)
    above = np.r_[np.cumsum((1 / counts[code][order])[::-1])[::-1], 0.0] if len(known) else np.zeros(1)
    values = (1 + above[np.searchsorted(known[order], scores, side="left")]) / (1 + len(counts))
    return np.where(np.isnan(scores), np.nan, np.minimum(values, 1.0))
