"""How well single objects are found: lesions as connected components, and instances that have ids of their own.

Objects are matched one to one by intersection over union. Above an IoU of 0.5 an object can match only one
other, so the matching is unique (Kirillov et al. 2019, "Panoptic Segmentation", section 4.1); at 0.5 and
below the largest total overlap is taken (Hungarian method).
"""

import numpy as np
from scipy import ndimage
from scipy.optimize import linear_sum_assignment

from medcli.metrics.bootstrap import divide

IGNORE = 255
IOU_LEVELS = (0.5, 0.55, 0.6, 0.65, 0.7, 0.75, 0.8, 0.85, 0.9)
"""Overlaps at which the instance AP is given."""


def components(mask: np.ndarray) -> np.ndarray:
    """Ids 1, 2, ... of the connected parts of a bool mask (touching by face, edge or corner), else 0; int32."""
    return ndimage.label(mask, np.ones((3,) * mask.ndim))[0]


def best_pairs(iou: np.ndarray, level: float) -> tuple[np.ndarray, np.ndarray]:
    """Rows and columns of the matched pairs, (k,) each."""
    allowed = iou >= level
    rows, columns = linear_sum_assignment(-np.where(allowed, 1.0 + iou, 0.0))  # first many, then good
    kept = allowed[rows, columns]
    return rows[kept], columns[kept]


def instance_measures(counts: dict[str, np.ndarray]) -> dict[str, np.ndarray]:
    """From counts (..., levels), of one case or summed over cases, values (...); NaN where nothing is there.

    Args:
        counts: For each of `IOU_LEVELS` pairs `tp`, made-up `fp`, missed `fn`, and `iou`, the sum over pairs.

    Returns:
        ap50, ap75, ap50_90: tp / (tp + fp + fn) at IoU 0.5, at 0.75, and the mean from 0.5 to 0.9, as in the
            2018 Data Science Bowl (Caicedo et al. 2019, Nat. Methods 16:1247) and StarDist; no scores are
            needed, unlike COCO's average precision.
        sq, rq, pq: Segmentation quality (mean IoU of the pairs), recognition quality (F1) and their product,
            the panoptic quality, at 0.5 (Kirillov et al. 2019, equation 2).
    """
    tp, fp, fn = counts["tp"], counts["fp"], counts["fn"]
    precision = divide(tp, tp + fp + fn)
    quality = divide(counts["iou"][..., 0], tp[..., 0])
    recognition = divide(2 * tp[..., 0], 2 * tp[..., 0] + fp[..., 0] + fn[..., 0])
    return {
        "ap50": precision[..., 0],
        "ap75": precision[..., IOU_LEVELS.index(0.75)],
        "ap50_90": precision.mean(-1),
        "sq": quality,
        "rq": recognition,
        "pq": np.where(recognition == 0, 0.0, quality * recognition),
    }


def lesion_counts(truth: np.ndarray, predicted: np.ndarray, num_classes: int) -> dict[str, np.ndarray]:
    """Connected parts of each label that are found, missed and made up, (k,) each: `hit`, `missed`, `false`.

    A true part is hit when the prediction touches it with at least one voxel of its label; a predicted part
    is false when it touches no true one. That is the lesion-wise counting of the multiple sclerosis
    challenges (Carass et al. 2017, NeuroImage 148:77), which forgives how much of a lesion is outlined.

    Args:
        truth, predicted: Label ids of one shape; where the truth is 255 nothing counts.
    """
    judged = np.where(truth == IGNORE, 0, predicted)
    hit, missed, false = (np.zeros(num_classes, int) for _ in range(3))
    for label in range(1, num_classes + 1):
        true, found = components(truth == label), components(judged == label)
        both = (true > 0) & (found > 0)
        touched = len(np.unique(true[both]))
        hit[label - 1], missed[label - 1] = touched, true.max(initial=0) - touched
        false[label - 1] = found.max(initial=0) - len(np.unique(found[both]))
    return {"hit": hit, "missed": missed, "false": false}


def lesion_measures(counts: dict[str, np.ndarray]) -> dict[str, np.ndarray]:
    """Lesion-wise sensitivity, precision and F1 from summed counts.

    Precision is hit / (hit + false), so that both are about true lesions and F1 is their harmonic mean.
    Where there are no true parts the sensitivity is NaN, where nothing is predicted the precision is.
    """
    hit, missed, false = counts["hit"], counts["missed"], counts["false"]
    return {
        "lesion_sensitivity": divide(hit, hit + missed),
        "lesion_precision": divide(hit, hit + false),
        "lesion_f1": divide(2 * hit, 2 * hit + missed + false),
    }
