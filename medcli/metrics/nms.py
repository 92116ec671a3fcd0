"""Non-maximum suppression: of boxes that overlap too much, the one with the best score stays, or keeps its score."""

import numpy as np

from medcli.boxes import Boxes, iou_matrix


def suppress(boxes: Boxes, *, iou: float, max_detections: int | None = None, by_class: bool = True) -> Boxes:
    """Greedy suppression, best score first; equal scores keep their order.

    Args:
        boxes: Candidates of one image.
        iou: A box that overlaps a kept one by more than this is dropped.
        max_detections: Keep at most so many; None: all.
        by_class: Boxes of different classes do not suppress one another.

    Returns:
        The kept boxes, best first; empty for no candidates.
    """
    boxes = boxes.take(np.argsort(-boxes.scores, kind="stable"))
    suppresses = np.triu(iou_matrix(boxes.corners, boxes.corners) > iou, k=1)  # [better, worse]
    if by_class:
        suppresses &= boxes.classes[:, None] == boxes.classes[None, :]
    return boxes.take(np.flatnonzero(_survivors(suppresses))[:max_detections])


SIGMA = 0.5
"""Of the Gaussian penalty; the value of the paper."""


def soften(
    boxes: Boxes,
    *,
    least: float,
    sigma: float = SIGMA,
    max_detections: int | None = None,
    by_class: bool = True,
) -> Boxes:
    """Soft suppression: an overlapped box stays with a lower score, times exp(-IoU^2 / sigma) of every better one.

    Bodla, Singh, Chellappa, Davis 2017: Soft-NMS, improving object detection with one line of code (ICCV,
    arXiv 1704.04503), the Gaussian form. Objects that touch or overlap in truth are not lost. The best box is
    settled first, then the best of what is left by its lowered score, and so on; equal scores keep their order.

    Args:
        boxes: Candidates of one image.
        least: Boxes whose lowered score falls below this are dropped.
        max_detections: Keep at most so many; None: all.
        by_class: Boxes of different classes leave one another alone.

    Returns:
        The kept boxes with their new scores, best first.
    """
    boxes = boxes.take(np.argsort(-boxes.scores, kind="stable"))
    left = boxes.scores.astype(float)
    order, scores = [], []
    for _ in range(len(boxes) if max_detections is None else min(max_detections, len(boxes))):
        best = int(left.argmax())
        if left[best] < least or left[best] < 0:
            break
        order.append(best)
        scores.append(left[best])
        overlap = iou_matrix(boxes.corners[best][None], boxes.corners)[0].astype(float)
        if by_class:
            overlap *= boxes.classes == boxes.classes[best]
        left *= np.exp(-(overlap**2) / sigma)
        left[best] = -1.0  # settled
    kept = boxes.take(np.array(order, int))
    return Boxes.of(kept.corners, kept.classes, scores, kept.crowd)


def _survivors(suppresses: np.ndarray) -> np.ndarray:
    """The greedy solution as a fixed point: a box stays when no box that stays suppresses it.

    Each round settles at least one more box for good, usually nearly all of them, so a few rounds do.
    """
    keep: np.ndarray = np.ones(len(suppresses), bool)
    while True:
        settled: np.ndarray = ~(suppresses & keep[:, None]).any(axis=0)
        if np.array_equal(settled, keep):
            return keep
        keep = settled


def candidates(corners: np.ndarray, scores: np.ndarray, *, score_threshold: float, most: int = 1000) -> Boxes:
    """Every (anchor, class) pair with at least this score as a box, the best `most` of them.

    Args:
        corners: (A, 4) float32.
        scores: (A, classes) float32.
    """
    anchor, classes = np.nonzero(scores >= score_threshold)
    values = scores[anchor, classes]
    if len(values) > most:
        best = np.sort(np.argpartition(-values, most)[:most])
        anchor, classes, values = anchor[best], classes[best], values[best]
    return Boxes.of(corners[anchor], classes, values)
