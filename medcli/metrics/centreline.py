"""How well thin structures are followed: the centreline Dice of vessels and airways."""

import numpy as np
from skimage.morphology import skeletonize

IGNORE = 255


def centreline_dice(truth: np.ndarray, predicted: np.ndarray, num_classes: int) -> np.ndarray:
    """clDice (k,) of each of the labels 1 to num_classes (Shit et al. 2021, CVPR, equation 1).

    The harmonic mean of two shares: of the predicted centreline that lies within the true structure, and of
    the true centreline within the predicted structure. A broken vessel costs as much as its length, however
    thin it is. NaN where neither has the label, 0 where only one has. The skeleton is scikit-image's
    (Zhang and Suen in 2D, Lee et al. 1994 in 3D).

    Args:
        truth, predicted: Label ids of one shape (2D or 3D); where the truth is 255 nothing counts.
    """
    judged = np.where(truth == IGNORE, 0, predicted)
    values = np.full(num_classes, np.nan)
    for label in range(1, num_classes + 1):
        true, found = truth == label, judged == label
        if not true.any() and not found.any():
            continue
        precision = _share(skeletonize(found), true)
        sensitivity = _share(skeletonize(true), found)
        together = precision + sensitivity
        values[label - 1] = 2 * precision * sensitivity / together if together else 0.0
    return values


def _share(line: np.ndarray, region: np.ndarray) -> float:
    """Of a centreline the part inside the region; 0 for none."""
    return int(np.count_nonzero(line & region)) / max(1, int(np.count_nonzero(line)))
