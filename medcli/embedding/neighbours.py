"""Nearest neighbours of other patients, and labels that they contradict."""

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np

from medcli.audit.label_errors import GOOD_ENOUGH
from medcli.audit.suspects import Suspects, confident_suspects
from medcli.metrics.classification import auroc

AT_ONCE = 4_000_000
"""Similarities held in memory together."""
FEWEST = 5
"""Cases that every label needs for its neighbours to be asked."""


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


@dataclass(frozen=True, eq=False)
class Doubts:
    """Attributes:
    kinds: The labels.
    auroc: How well the neighbours tell the label; mean over labels, each against the rest.
    suspects: Labels that the neighbours contradict, by confident learning; None: the neighbours tell too little
        (AUROC below `GOOD_ENOUGH`) to be believed.
    shares: (n, kinds) of the neighbours.
    """

    kinds: list[str]
    auroc: float
    suspects: Suspects | None
    shares: np.ndarray


def doubtful_labels(labels: Sequence[str], found: np.ndarray) -> Doubts | None:
    """Ask the neighbours of every case about its label; None when there is one label, or one with too few cases.

    Args:
        labels: (n,).
        found: (n, k) from `nearest`.
    """
    kinds, codes = np.unique(np.asarray(labels, str), return_inverse=True)
    if len(kinds) < 2 or np.bincount(codes).min() < FEWEST or not found.size:
        return None
    shares = votes(codes, found)
    judged = range(len(kinds)) if len(kinds) > 2 else [1]
    area = float(np.mean([auroc(codes == kind, shares[:, kind]) for kind in judged]))
    suspects = confident_suspects(codes, shares) if area >= GOOD_ENOUGH else None
    return Doubts(kinds.tolist(), area, suspects, shares)
