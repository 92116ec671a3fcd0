"""Non-maximum suppression: of boxes that overlap too much, the one with the best score stays."""

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
