"""Embeddings compared by direction: nearest neighbours of other patients, what they say, and whether all are alike."""

from collections.abc import Sequence

import numpy as np

from medcli.metrics.classification import auroc

AT_ONCE = 4_000_000
"""Similarities held in memory together."""
FEWEST = 5
"""Cases that every label needs for its neighbours to be asked."""
VOTERS = 10
"""Neighbours that are asked about a label."""


def directions(vectors: np.ndarray) -> np.ndarray:
    """(n, d) of length 1 as float32: distances between them go with the cosine. A zero vector stays zero."""
    length = np.linalg.norm(vectors, axis=1, keepdims=True)
    return np.asarray(vectors / np.maximum(length, 1e-12), np.float32)


def nearest(points: np.ndarray, patients: Sequence[str], number: int) -> tuple[np.ndarray, np.ndarray]:
    """The cases of other patients that are nearest to each case, and how similar they are.

    Args:
        points: (n, d) of length 1.
        patients: (n,) whose cases they are.
        number: How many neighbours; fewer where there are not as many.

    Returns:
        (n, k) int indices, nearest first, and (n, k) float32 cosines. Where a case has fewer neighbours than others,
        -1 and NaN.
    """
    _, owner = np.unique(np.asarray(patients, str), return_inverse=True)
    count = len(points)
    number = min(number, count - 1)
    found, close = np.empty((count, number), int), np.empty((count, number), np.float32)
    step = max(1, AT_ONCE // max(count, 1))
    for start in range(0, count, step):
        here = slice(start, start + step)
        cosine = points[here] @ points.T
        cosine[owner[here, None] == owner[None]] = -np.inf
        order = np.argpartition(-cosine, number - 1, axis=1)[:, :number]
        values = np.take_along_axis(cosine, order, 1)
        sorting = np.argsort(-values, axis=1, kind="stable")
        found[here] = np.take_along_axis(order, sorting, 1)
        close[here] = np.take_along_axis(values, sorting, 1)
    missing = np.isneginf(close)
    found[missing], close[missing] = -1, np.nan
    return found, close


def votes(codes: np.ndarray, found: np.ndarray) -> np.ndarray:
    """(n, kinds) share of the neighbours that have each label; of no neighbours equal shares."""
    kinds = int(codes.max()) + 1
    there = found >= 0
    chosen = (codes[found][..., None] == np.arange(kinds)) & there[..., None]
    total = there.sum(1, keepdims=True)
    return np.where(total > 0, chosen.sum(1) / np.maximum(total, 1), 1 / kinds)


def vote_auroc(codes: np.ndarray, shares: np.ndarray) -> float:
    """How well the neighbours tell the label; mean over labels (of two: the second), each against the rest."""
    judged = range(shares.shape[1]) if shares.shape[1] > 2 else [1]
    return float(np.mean([auroc(codes == kind, shares[:, kind]) for kind in judged]))


def askable(labels: Sequence[str]) -> tuple[list[str], np.ndarray] | None:
    """The labels in order and the code of every case; None when there is one label, or one with too few cases."""
    kinds, codes = np.unique(np.asarray(labels, str), return_inverse=True)
    if len(kinds) < 2 or np.bincount(codes).min() < FEWEST:
        return None
    return kinds.tolist(), codes


def spread(vectors: np.ndarray) -> float:
    """0: all cases have the same direction (collapse); 1: directions are as different as can be.

    Mean deviation of the unit vectors' features, times the root of their number (Chen and He 2021, "Exploring simple
    siamese representation learning", section 4.1).
    """
    unit = directions(vectors)
    return float(unit.std(axis=0).mean() * np.sqrt(unit.shape[1]))


def effective_rank(vectors: np.ndarray) -> float:
    """Along how many directions cases differ: exp of the entropy of the singular values' shares; 0 if they do not.

    Roy and Vetterli 2007, "The effective rank"; as a sign of collapsed dimensions Garrido et al. 2023, "RankMe".
    """
    values = np.linalg.svd(vectors - vectors.mean(axis=0), compute_uv=False)
    if values.sum() <= 1e-9 * max(1.0, float(np.abs(vectors).max(initial=0))):
        return 0.0
    shares = values[values > 0] / values.sum()
    return float(np.exp(-(shares * np.log(shares)).sum()))
