"""Labels that the nearest neighbours of other patients contradict."""

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np

from medcli.audit.label_errors import GOOD_ENOUGH
from medcli.audit.suspects import Suspects, confident_suspects
from medcli.metrics.neighbours import askable, vote_auroc, votes


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
    known = askable(labels)
    if known is None or not found.size:
        return None
    kinds, codes = known
    shares = votes(codes, found)
    area = vote_auroc(codes, shares)
    suspects = confident_suspects(codes, shares) if area >= GOOD_ENOUGH else None
    return Doubts(kinds, area, suspects, shares)
