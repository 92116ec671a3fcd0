"""Weighted box fusion: boxes of several detectors, or of several views of one image, become one set.

Solovyev, Wang, Gabruseva: Weighted boxes fusion: ensembling boxes from different object detection models, Image and
Vision Computing 107 (2021), section 3. Suppression keeps the best of the boxes of an object; this takes their mean.
"""

from collections.abc import Sequence

import numpy as np

from medcli.boxes import Boxes, iou_matrix


def fuse(
    found: Sequence[Boxes],
    *,
    iou: float = 0.55,
    weights: Sequence[float] | None = None,
    max_detections: int | None = None,
) -> Boxes:
    """One set of boxes from those of several detectors.

    All boxes, best score first, join the fused box of their class that they overlap most, if by more than `iou`, or
    else begin a new one. The corners of a fused box are the mean of its boxes', weighted by score, and its score is
    their mean score, times the share of the detectors that see it: min(boxes, detectors) / detectors. Scores of equal
    size keep the order of the detectors.

    Args:
        found: Boxes of one image, one set per detector; empty sets count as "saw nothing".
        iou: Boxes that overlap by more are taken for the same object.
        weights: How much each detector counts, at least one above zero; None: all alike. With weights a score is
            multiplied by its detector's, and the share is of the sum of the weights.
        max_detections: Keep at most so many; None: all.

    Returns:
        The fused boxes, best first.

    Raises:
        ValueError: The weights are not one per detector, or none is above zero.
    """
    trust: np.ndarray = np.ones(len(found)) if weights is None else np.asarray(weights, float)
    if len(trust) != len(found) or (len(found) and (trust.min() < 0 or trust.sum() == 0)):
        raise ValueError(f"expected {len(found)} weights, none below and some above zero, got {weights}")
    if not any(len(boxes) for boxes in found):
        return Boxes.empty()
    corners = np.concatenate([boxes.corners for boxes in found]).astype(float)
    classes = np.concatenate([boxes.classes for boxes in found])
    scores = np.concatenate([boxes.scores * weight for boxes, weight in zip(found, trust, strict=True)])
    parts = [
        _fused(corners[own], scores[own], iou, trust)
        for own in (classes == kind for kind in np.unique(classes))
    ]
    kinds = [np.full(len(part[1]), kind) for part, kind in zip(parts, np.unique(classes), strict=True)]
    boxes = Boxes.of(
        np.concatenate([part[0] for part in parts]),
        np.concatenate(kinds),
        np.clip(np.concatenate([part[1] for part in parts]), 0, 1),
    )
    return boxes.take(np.argsort(-boxes.scores, kind="stable")[:max_detections])


def _fused(
    corners: np.ndarray, scores: np.ndarray, iou: float, trust: np.ndarray
) -> tuple[np.ndarray, np.ndarray]:
    """Corners (m, 4) and scores (m,) for the boxes (n, 4) and weighted scores (n,) of one class."""
    keep = np.argsort(-scores, kind="stable")
    keep = keep[scores[keep] > 0]
    corners, scores = corners[keep], scores[keep]
    sums = np.zeros((len(scores), 5))  # of each cluster: score times corners, score
    counts = np.zeros(len(scores), int)
    means = np.zeros((len(scores), 4))
    used = 0
    for box, score in zip(corners, scores, strict=True):
        overlaps = iou_matrix(box[None], means[:used])[0]
        at = int(overlaps.argmax()) if used else -1
        if at < 0 or overlaps[at] <= iou:
            at, used = used, used + 1
        sums[at] += score * np.append(box, 1.0)
        counts[at] += 1
        means[at] = sums[at, :4] / sums[at, 4]
    counts = counts[:used]
    mean_scores = sums[:used, 4] / np.maximum(counts, 1)
    return means[:used], mean_scores * np.minimum(counts, len(trust)) / trust.sum()
