"""Structure in embeddings: clusters, and a map of two dimensions."""

from contextlib import AbstractContextManager
from dataclasses import dataclass

import numpy as np

COMPONENTS = 50
"""Principal components that clusters and the map are made of."""
MOST_CLUSTERS = 10
JUDGED = 2000
"""Cases that a number of clusters is judged by."""
CLEAR = 0.25
"""Silhouette up to which no substantial structure was found (Kaufman and Rousseeuw 1990, "Finding groups in data")."""
FEWEST_FOR_TSNE, MOST_FOR_TSNE = 30, 3000


@dataclass(frozen=True, eq=False)
class Clusters:
    """Attributes:
    of_case: (n,) cluster from 0, the largest first.
    silhouette: Mean over cases of (b - a) / max(a, b), with the mean distance a to its own cluster and b to the
        nearest other (Rousseeuw 1987); NaN where there is one cluster only.
    nearest: For every cluster the cases nearest to its centre, nearest first.
    """

    of_case: np.ndarray
    silhouette: float
    nearest: list[np.ndarray]

    @property
    def number(self) -> int:
        return len(self.nearest)


def _one_thread() -> AbstractContextManager[object]:
    """The loops are short: several threads would wait more than compute, most of all on a busy machine."""
    from threadpoolctl import threadpool_limits

    return threadpool_limits(1)


def alike(points: np.ndarray) -> bool:
    return float(np.ptp(points, axis=0).max()) < 1e-6


def reduced(points: np.ndarray, components: int = COMPONENTS) -> np.ndarray:
    """(n, at most `components`) principal components, the strongest first."""
    from sklearn.decomposition import PCA

    most = min(components, *points.shape)
    if alike(points):
        return np.zeros((len(points), most), np.float32)
    solver = "full" if most == min(points.shape) else "randomized"
    return PCA(most, svd_solver=solver, random_state=0).fit_transform(points)


def find_clusters(points: np.ndarray, number: int | None = None, *, seed: int = 0) -> Clusters:
    """k-means, with as many clusters as give the best silhouette (2 to 10, of five cases on average at least).

    Args:
        points: (n, d).
        number: How many; None: by the silhouette. With fewer than ten cases, or all alike, there is one.
    """
    most = min(MOST_CLUSTERS, len(points) // 5)
    if number is None and (most < 2 or alike(points)):
        number = 1
    tried = range(2, most + 1) if number is None else [min(number, len(points))]
    found = [
        (_silhouette(points, of_case, seed), of_case) for of_case in (_kmeans(points, k, seed) for k in tried)
    ]
    silhouette, of_case = max(found, key=lambda one: one[0] if one[0] == one[0] else -1.0)
    kinds = np.unique(of_case)
    order = kinds[np.argsort([-np.sum(of_case == kind) for kind in kinds], kind="stable")]
    of_case = np.argsort(order)[np.searchsorted(kinds, of_case)]
    nearest = []
    for cluster in range(len(order)):
        members = np.flatnonzero(of_case == cluster)
        distance = np.linalg.norm(points[members] - points[members].mean(0), axis=1)
        nearest.append(members[np.argsort(distance, kind="stable")])
    return Clusters(of_case, silhouette, nearest)


def _kmeans(points: np.ndarray, number: int, seed: int) -> np.ndarray:
    from sklearn.cluster import KMeans

    with _one_thread():
        return KMeans(number, n_init=4, random_state=seed).fit_predict(points)


def _silhouette(points: np.ndarray, of_case: np.ndarray, seed: int) -> float:
    from sklearn.metrics import silhouette_score

    if not 1 < len(np.unique(of_case)) < len(points):
        return float("nan")
    size = JUDGED if len(points) > JUDGED else None
    try:
        return float(silhouette_score(points, of_case, sample_size=size, random_state=seed))
    except ValueError:  # the drawn cases are all of one cluster
        return float("nan")


def flat_map(points: np.ndarray, kind: str = "auto", *, seed: int = 0) -> tuple[np.ndarray, str]:
    """(n, 2) float32 for a picture, and what made it.

    Args:
        points: (n, d).
        kind: "pca", "tsne" (van der Maaten and Hinton 2008) or "auto": t-SNE for 30 to 3000 cases.
    """
    tsne = kind == "tsne" or (kind == "auto" and FEWEST_FOR_TSNE <= len(points) <= MOST_FOR_TSNE)
    if tsne and len(points) > 3 and not alike(points):
        from sklearn.manifold import TSNE

        perplexity = min(30.0, (len(points) - 1) / 3)
        start = reduced(points, 2)
        start = start / max(float(start[:, 0].std()), 1e-12) * 1e-4
        if start.shape[1] < 2:
            start = np.pad(start, ((0, 0), (0, 1)))
        shown = TSNE(2, perplexity=perplexity, init=start.astype(np.float32), random_state=seed)
        with _one_thread():
            return shown.fit_transform(points).astype(np.float32), "t-SNE"
    flat = reduced(points, 2).astype(np.float32)
    return np.pad(flat, ((0, 0), (0, 2 - flat.shape[1]))), "principal components"
