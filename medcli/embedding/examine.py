"""What can be said of embeddings: clusters, what they go with, neighbours, doubtful labels."""

from collections import Counter
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np

from medcli.audit.association import contingency, cramers_v
from medcli.embedding.collect import Embedded
from medcli.embedding.neighbours import GOOD_ENOUGH, Doubts, doubtful_labels
from medcli.embedding.structure import CLEAR, Clusters, find_clusters, flat_map, reduced
from medcli.metrics.neighbours import VOTERS, directions, nearest


@dataclass(frozen=True)
class Wanted:
    """Attributes:
    clusters: How many; None: by the silhouette.
    kind: Of the map: "auto", "pca" or "tsne".
    neighbours: How many are listed per case.
    """

    clusters: int | None = None
    kind: str = "auto"
    neighbours: int = 5


@dataclass(frozen=True, eq=False)
class Found:
    """All that was found, in the order of `embedded.cases`.

    Attributes:
        labels: "" where unknown; several that apply together are joined by " + ".
        places: (n, 2) on the map, made by `made_by`.
        neighbours, cosines: See `medcli.metrics.neighbours.nearest`.
        doubts: About the labels of `asked`, indices of cases; None: too few labels.
        follows: Cramér's V of the clusters with the label and with each column of groups.
    """

    embedded: Embedded
    labels: list[str]
    clusters: Clusters
    places: np.ndarray
    made_by: str
    neighbours: np.ndarray
    cosines: np.ndarray
    asked: np.ndarray
    doubts: Doubts | None
    follows: dict[str, float]


def examine(embedded: Embedded, wanted: Wanted, *, seed: int = 0) -> Found:
    """All that can be said of embeddings without looking at images again."""
    cases = embedded.cases
    points = directions(embedded.vectors)
    main = reduced(points)
    clusters = find_clusters(main, wanted.clusters, seed=seed)
    places, made_by = flat_map(main, wanted.kind, seed=seed)
    patients = [case.patient or case.name for case in cases]
    found, cosines = nearest(points, patients, wanted.neighbours)
    labels = [" + ".join(case.classes) for case in cases]
    asked = np.array([index for index, case in enumerate(cases) if len(case.classes) == 1], int)
    doubts = None
    if len(asked) > 1:
        voters, _ = nearest(points[asked], [patients[index] for index in asked], VOTERS)
        doubts = doubtful_labels([labels[index] for index in asked], voters)
    columns = {"label": labels} | {
        name: [case.groups.get(name, "") for case in cases]
        for name in dict.fromkeys(name for case in cases for name in case.groups)
    }
    follows = {
        name: share
        for name, texts in columns.items()
        if (share := _follows(clusters.of_case, texts)) is not None
    }
    return Found(embedded, labels, clusters, places, made_by, found, cosines, asked, doubts, follows)


def _follows(of_case: np.ndarray, texts: Sequence[str]) -> float | None:
    """Cramér's V where both vary, of the cases whose text is known; None: not to be told, as with free text."""
    known = np.array([index for index, text in enumerate(texts) if text], int)
    if not len(known):
        return None
    kinds, codes = np.unique(np.asarray(texts, str)[known], return_inverse=True)
    if not 1 < len(kinds) <= len(known) / 4 or len(np.unique(of_case[known])) < 2:
        return None
    return cramers_v(contingency(of_case[known], codes, int(of_case.max()) + 1, len(kinds)))


def remarks(found: Found) -> list[str]:
    said = []
    if found.clusters.number > 1 and not found.clusters.silhouette > CLEAR:
        said.append(
            f"No clear clusters: the silhouette is {found.clusters.silhouette:.2f} (up to {CLEAR:g}: no substantial "
            "structure)."
        )
    if found.doubts is not None and found.doubts.suspects is None:
        said.append(
            "Wrong labels were not looked for: the neighbours tell the label too badly "
            f"(AUROC {found.doubts.auroc:.2f}, below {GOOD_ENOUGH:g})."
        )
    return said


def suspect_rows(found: Found) -> list[dict[str, Any]]:
    """A line per label that the neighbours contradict, the most suspicious first."""
    if found.doubts is None or found.doubts.suspects is None:
        return []
    suspects, kinds, cases = found.doubts.suspects, found.doubts.kinds, found.embedded.cases
    return [
        {
            "case": cases[found.asked[index]].name,
            "patient": cases[found.asked[index]].patient,
            "label": kinds[given],
            "neighbours_say": kinds[likely],
            "share": round(float(found.doubts.shares[index, likely]), 4),
            "margin": round(margin, 4),
        }
        for index, margin, given, likely in zip(
            suspects.indices, suspects.margins, suspects.given, suspects.likely, strict=True
        )
    ]


def cluster_rows(found: Found) -> list[dict[str, Any]]:
    cases = found.embedded.cases
    rows = []
    for number, members in enumerate(found.clusters.nearest):
        labels = Counter(found.labels[index] for index in members if found.labels[index])
        rows.append(
            {
                "cluster": number,
                "cases": len(members),
                "patients": len({cases[index].patient or cases[index].name for index in members}),
                "labels": "; ".join(f"{name} {count}" for name, count in labels.most_common(8)),
                "in the middle": cases[members[0]].name,
            }
        )
    return rows
