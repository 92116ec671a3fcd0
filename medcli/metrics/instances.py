"""How well single objects are found and outlined: average precision and panoptic quality of numbered objects.

Objects of one class are matched one to one where their IoU is at least 0.5. Above 0.5 there is at most one partner
(Kirillov et al. 2019, "Panoptic Segmentation", section 4.1), so the pairs at 0.5 with their IoU tell the pairs at every
higher level: `Matched` is all that is kept of a case.
"""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace

import numpy as np
from scipy.sparse import coo_matrix

from medcli.metrics.bootstrap import mean_of_known, weighted_mean
from medcli.metrics.detection import Matches, average_precision
from medcli.metrics.objects import IOU_LEVELS, best_pairs, instance_measures

LEVELS = np.array(IOU_LEVELS)
PER_CASE = ("ap50", "ap75", "ap50_90")
"""Of every image by itself, then the mean over the images: TP / (TP + FP + FN), as in the 2018 Data Science Bowl
(Caicedo et al. 2019, Nat. Methods 16:1247)."""
POOLED = ("pq", "sq", "rq", "ap50_pooled", "ap50_90_pooled", "ap50_ranked", "ap50_90_ranked")
"""Of all objects of all images together: panoptic quality (Kirillov et al. 2019), TP / (TP + FP + FN) (StarDist's), and
the area under precision and recall with the objects ranked by their score (COCO's, with these levels)."""


@dataclass(frozen=True, eq=False)
class Matched:
    """The objects of one class in one image.

    Attributes:
        truths: Number of true objects.
        scores: (m,) of the objects found.
        ious: (m,) IoU with the true object that each is matched with, at least 0.5; 0 where it is with none.
        sizes: (m,) their voxels.
        merged: Objects found that hold at least half of each of several true ones.
        split: True objects that hold at least half of each of several found ones.
    """

    truths: int
    scores: np.ndarray
    ious: np.ndarray
    sizes: np.ndarray
    merged: int = 0
    split: int = 0

    def without_small(self, smallest: int) -> "Matched":
        """As if objects of fewer voxels had not been found; who was merged and split stays."""
        kept = self.sizes >= smallest
        return replace(self, scores=self.scores[kept], ious=self.ious[kept], sizes=self.sizes[kept])

    @property
    def counts(self) -> dict[str, np.ndarray]:
        """As `objects.instance_measures` takes them, (levels,) each."""
        hits = self.ious[:, None] >= LEVELS
        tp = hits.sum(axis=0)
        return {
            "tp": tp,
            "fp": len(self.ious) - tp,
            "fn": self.truths - tp,
            "iou": np.where(hits, self.ious[:, None], 0).sum(axis=0),
        }


def match_objects(
    truth: np.ndarray,
    true_classes: np.ndarray,
    found: np.ndarray,
    found_classes: np.ndarray,
    scores: np.ndarray,
    num_classes: int,
) -> list[Matched]:
    """Match the objects of one image, class by class.

    Args:
        truth, found: Numbers 1 to n and 1 to m, 0 = background, of one shape. An object without a voxel counts as one
            that is not there.
        true_classes, found_classes: (n,) and (m,) label ids from 1 on.
        scores: (m,).
    """
    cells = coo_matrix(
        (np.ones(truth.size, np.int32), (truth.ravel(), found.ravel())),
        (len(true_classes) + 1, len(found_classes) + 1),
    ).tocsr()
    true_sizes, found_sizes = (np.asarray(cells.sum(axis)).ravel()[1:] for axis in (1, 0))
    pairs = cells[1:, 1:].tocoo()
    result = []
    for kind in range(1, num_classes + 1):
        true, here = (true_classes == kind) & (true_sizes > 0), (found_classes == kind) & (found_sizes > 0)
        same = true[pairs.row] & here[pairs.col]
        rows, columns, shared = pairs.row[same], pairs.col[same], pairs.data[same]
        iou = shared / (true_sizes[rows] + found_sizes[columns] - shared)
        ious = _paired(rows, columns, iou, len(found_classes))
        within = columns[2 * shared >= true_sizes[rows]]
        pieces = rows[2 * shared >= found_sizes[columns]]
        result.append(
            Matched(
                int(true.sum()),
                np.asarray(scores)[here],
                ious[here],
                found_sizes[here],
                int((np.bincount(within, minlength=1) > 1).sum()),
                int((np.bincount(pieces, minlength=1) > 1).sum()),
            )
        )
    return result


def _paired(rows: np.ndarray, columns: np.ndarray, iou: np.ndarray, found: int) -> np.ndarray:
    """(found,) IoU of every found object with its partner; partners compete only where an IoU is exactly 0.5."""
    close = iou >= LEVELS[0]
    rows, columns, iou = rows[close], columns[close], iou[close]
    result = np.zeros(found)
    if len(np.unique(rows)) == len(rows) and len(np.unique(columns)) == len(columns):
        result[columns] = iou
        return result
    (true, row), (mine, column) = (np.unique(part, return_inverse=True) for part in (rows, columns))
    table = np.zeros((len(true), len(mine)))
    table[row, column] = iou
    place, partner = best_pairs(table, LEVELS[0])
    result[mine[partner]] = table[place, partner]
    return result


def per_case(classes: Sequence[Matched]) -> dict[str, np.ndarray]:
    """(k,) measures of one image; NaN where it holds no object of the class, neither true nor found."""
    measured = instance_measures(stacked([classes]))
    return {name: values[0] for name, values in measured.items()}


def stacked(cases: Sequence[Sequence[Matched]]) -> dict[str, np.ndarray]:
    """Counts (n, k, levels) of all images."""
    counts = [[one.counts for one in classes] for classes in cases]
    names = ("tp", "fp", "fn", "iou")
    return {name: np.array([[one[name] for one in row] for row in counts], float) for name in names}


@dataclass(frozen=True, eq=False)
class Pooled:
    """All images of an evaluation, to be weighed again and again."""

    counts: Mapping[str, np.ndarray]
    ranked: Sequence[Matches]

    @classmethod
    def of(cls, cases: Sequence[Sequence[Matched]]) -> "Pooled":
        return cls(stacked(cases), [_ranked(kind) for kind in zip(*cases, strict=True)])

    def measures(
        self, weights: np.ndarray | None = None
    ) -> tuple[dict[str, np.ndarray], dict[str, np.ndarray]]:
        """Overall values (...), the mean over the classes that occur, and values per class (..., k).

        Args:
            weights: (..., n), how often each image counts; None: once.
        """
        number = len(self.counts["tp"])
        weights = np.ones(number) if weights is None else np.asarray(weights, float)
        shape = self.counts["tp"].shape[1:]
        sums = {
            name: (weights @ part.reshape(number, -1)).reshape(*weights.shape[:-1], *shape)
            for name, part in self.counts.items()
        }
        pooled = instance_measures(sums)
        single = instance_measures(dict(self.counts))
        ranked = np.stack([average_precision(one, weights) for one in self.ranked], axis=-2)
        by_class = {name: weighted_mean(single[name], weights) for name in PER_CASE}
        by_class |= {name: pooled[name] for name in ("pq", "sq", "rq")}
        by_class |= {f"{name}_pooled": pooled[name] for name in ("ap50", "ap50_90")}
        by_class |= {"ap50_ranked": ranked[..., 0], "ap50_90_ranked": ranked.mean(axis=-1)}
        return {name: mean_of_known(values) for name, values in by_class.items()}, by_class


def _ranked(images: Sequence[Matched]) -> Matches:
    """One class in all images, as `detection.average_precision` takes it."""
    scores = np.concatenate([one.scores for one in images])
    order = np.argsort(-scores, kind="stable")
    hit = np.concatenate([one.ious for one in images])[order, None] >= LEVELS
    image = np.repeat(np.arange(len(images)), [len(one.scores) for one in images])[order]
    truths = np.array([one.truths for one in images])
    return Matches(image, scores[order], hit, np.zeros_like(hit), truths, LEVELS)
