"""How well regions are outlined: overlap, distance of surfaces, volume; case by case, label by label.

Empty masks, everywhere the same rule: where neither truth nor prediction has the label there is nothing to
judge and every measure is NaN, which means leave out. Where only one of them has it, the case was missed or
made up: overlaps are 0, distances are the length of the grid's diagonal, the largest there could be (as in
the BraTS challenges), and the relative volume error is 1 for a missed label and NaN for a made-up one,
since nothing can be divided by zero.

Surfaces are the voxels of a region that touch its outside by a face (at the edge of the image they count as
touching); distances run between voxel centres in mm by the spacing. Which measure to choose: Maier-Hein et
al. 2024, "Metrics reloaded", Nat. Methods 21:195-212.
"""

from collections.abc import Sequence

import numpy as np
from scipy import ndimage
from scipy.spatial import cKDTree

from medcli.metrics.bootstrap import divide, mean_of_known, weighted_mean
from medcli.metrics.centreline import centreline_dice
from medcli.metrics.objects import lesion_counts, lesion_measures

IGNORE = 255
"""Label id in the truth where nothing is judged."""


def overlap_counts(truth: np.ndarray, predicted: np.ndarray, num_classes: int) -> tuple[np.ndarray, ...]:
    """Voxels (tp, fp, fn) of each of the labels 1 to num_classes, three (k,) int arrays, in one pass.

    Args:
        truth, predicted: Label ids of one shape; where the truth is 255 nothing counts.
    """
    judged = truth != IGNORE
    cells = truth[judged].astype(np.int64) * (num_classes + 1) + predicted[judged]
    table = np.bincount(cells, minlength=(num_classes + 1) ** 2).reshape(num_classes + 1, num_classes + 1)
    tp = np.diagonal(table)[1:]
    return tp, table.sum(0)[1:] - tp, table.sum(1)[1:] - tp


def dice(tp: np.ndarray, fp: np.ndarray, fn: np.ndarray) -> np.ndarray:
    """2 |A and B| / (|A| + |B|) (Dice 1945, Ecology 26:297-302); NaN where both are empty."""
    return divide(2 * tp, 2 * tp + fp + fn)


def iou(tp: np.ndarray, fp: np.ndarray, fn: np.ndarray) -> np.ndarray:
    """|A and B| / |A or B| (Jaccard 1912, New Phytol. 11:37-50); NaN where both are empty."""
    return divide(tp, tp + fp + fn)


def volume_error(tp: np.ndarray, fp: np.ndarray, fn: np.ndarray) -> np.ndarray:
    """| |B| - |A| | / |A|, A the truth: the relative volume error without its sign; NaN where A is empty."""
    return divide(np.abs(fp - fn), tp + fn)


# ---- surfaces


def surface(mask: np.ndarray, known: np.ndarray | None = None) -> np.ndarray:
    """The voxels of a bool mask that have a face outside of it.

    Where `known` is False nobody says what is there, so a face to it is none: one labelled slice of many has a
    contour, not two sides. A mask that has no other faces keeps those.
    """
    if known is not None:
        contour = mask & ~ndimage.binary_erosion(mask | ~known)
        if contour.any():
            return contour
    return mask & ~ndimage.binary_erosion(mask)


def surface_distances(
    truth: np.ndarray, predicted: np.ndarray, spacing: Sequence[float], known: np.ndarray | None = None
) -> tuple[np.ndarray, np.ndarray]:
    """Distance in mm from every surface voxel of the truth to the prediction's surface, and back.

    A k-d tree finds them exactly; on volumes it takes an eighth of the time of a distance transform with
    sampling.

    Args:
        truth, predicted: bool masks of one shape, neither empty.
        spacing: mm per axis.
        known: bool, where a label is known; None: everywhere.
    """
    box = _with_border(ndimage.find_objects((truth | predicted).astype(np.uint8))[0], truth.shape)
    there = None if known is None else known[box]
    points = [
        np.argwhere(surface(mask[box], there)) * np.asarray(spacing, float) for mask in (truth, predicted)
    ]
    trees = [cKDTree(part, balanced_tree=False, compact_nodes=False) for part in points]
    return trees[1].query(points[0])[0], trees[0].query(points[1])[0]


def _with_border(box: tuple[slice, ...], shape: Sequence[int]) -> tuple[slice, ...]:
    """One voxel more on every side where there is one, so that the box's own edge is no surface."""
    return tuple(
        slice(max(0, part.start - 1), min(n, part.stop + 1)) for part, n in zip(box, shape, strict=True)
    )


def hausdorff95(to_predicted: np.ndarray, to_truth: np.ndarray) -> float:
    """The larger of the two directed 95th percentiles in mm (Huttenlocher et al. 1993, IEEE PAMI 15:850)."""
    return float(max(np.percentile(to_predicted, 95), np.percentile(to_truth, 95)))


def average_surface_distance(to_predicted: np.ndarray, to_truth: np.ndarray) -> float:
    """Mean in mm over the surface voxels of both (symmetric; Heimann et al. 2009, IEEE TMI 28:1251-1265)."""
    return float((to_predicted.sum() + to_truth.sum()) / (len(to_predicted) + len(to_truth)))


def surface_dice(to_predicted: np.ndarray, to_truth: np.ndarray, tolerance: float) -> float:
    """Share of both surfaces that lies within `tolerance` mm of the other.

    The normalised surface Dice of Nikolov et al. 2021 (J. Med. Internet Res. 23:e26151), counted in surface
    voxels as in MONAI rather than in areas of surface elements.
    """
    near = (to_predicted <= tolerance).sum() + (to_truth <= tolerance).sum()
    return float(near / (len(to_predicted) + len(to_truth)))


# ---- all of them

PER_CLASS = ("dice", "iou", "hd95", "asd", "nsd", "volume_error", "lesion_sensitivity", "lesion_precision")
CENTRELINE = "cldice"
"""Measured on demand: it says something about vessels and airways only."""


def measures(
    truth: np.ndarray,
    predicted: np.ndarray,
    num_classes: int,
    *,
    spacing: Sequence[float] | None = None,
    tolerance: float = 2.0,
    centreline: bool = False,
) -> dict[str, np.ndarray]:
    """Everything for one case, each (k,) for the labels 1 to num_classes.

    The lesion-wise measures (see `objects.lesion_counts`) follow the rule of empty masks too, so both are 0
    where only one of truth and prediction has the label.

    Args:
        truth, predicted: Label ids of one shape; 255 in the truth is left out.
        spacing: mm per axis; None: pixels.
        tolerance: Of the surface Dice in mm (pixels without spacing).
        centreline: Also the centreline Dice.
    """
    spacing = spacing or (1.0,) * truth.ndim
    tp, fp, fn = overlap_counts(truth, predicted, num_classes)
    diagonal = float(np.linalg.norm(np.multiply(truth.shape, spacing)))
    distances = np.full((3, num_classes), np.nan)
    known = truth != IGNORE
    judged = np.where(known, predicted, 0)
    sparse = None if known.all() else known
    for index in range(num_classes):
        true, found = tp[index] + fn[index] > 0, tp[index] + fp[index] > 0
        if true and found:
            both = surface_distances(truth == index + 1, judged == index + 1, spacing, sparse)
            near = surface_dice(*both, tolerance)
            distances[:, index] = hausdorff95(*both), average_surface_distance(*both), near
        elif true or found:
            distances[:, index] = diagonal, diagonal, 0.0
    lesions = lesion_measures(lesion_counts(truth, predicted, num_classes))
    one_sided = (tp == 0) & (fp + fn > 0)
    found = {
        "dice": dice(tp, fp, fn),
        "iou": iou(tp, fp, fn),
        "hd95": distances[0],
        "asd": distances[1],
        "nsd": distances[2],
        "volume_error": volume_error(tp, fp, fn),
        "lesion_sensitivity": np.where(one_sided, 0.0, lesions["lesion_sensitivity"]),
        "lesion_precision": np.where(one_sided, 0.0, lesions["lesion_precision"]),
    }
    return found | ({CENTRELINE: centreline_dice(truth, predicted, num_classes)} if centreline else {})


def summarise(
    cases: dict[str, np.ndarray], weights: np.ndarray | None = None
) -> tuple[dict[str, np.ndarray], dict[str, np.ndarray]]:
    """Mean over the cases for every label, then over the labels (as nnU-Net), leaving out what is NaN.

    Args:
        cases: By measure (n, k).
        weights: (..., n) or None.

    Returns:
        Overall values (...), and values per class (..., k), both named as in `cases`.
    """
    weights = np.ones(len(next(iter(cases.values())))) if weights is None else weights
    by_class = {name: weighted_mean(values, weights) for name, values in cases.items()}
    return {name: mean_of_known(values) for name, values in by_class.items()}, by_class
