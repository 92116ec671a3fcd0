"""What `medcli embed` tells at its end."""

from dataclasses import dataclass
from pathlib import Path


@dataclass(frozen=True)
class Summary:
    """Attributes:
    folder: Where the files are.
    cases: All that were asked for.
    failed: Case and reason of those that could not be read.
    features: Length of an embedding.
    clusters: Cases of each.
    silhouette: See `structure.Clusters`.
    follows: Cramér's V (0 to 1) of the clusters with the label and with each column of groups.
    neighbours_auroc: How well the neighbours tell the label; None: too few labels.
    suspects: Number of labels that they contradict; None: they tell too little, or there are too few labels.
    notes: What a reader must know.
    seconds: The whole work, loading the model included.
    """

    folder: Path
    cases: int
    failed: dict[str, str]
    features: int
    clusters: list[int]
    silhouette: float
    follows: dict[str, float]
    neighbours_auroc: float | None
    suspects: int | None
    notes: list[str]
    seconds: float
