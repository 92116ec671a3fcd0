"""Blank boxes of a picture with the background around them."""

from collections.abc import Iterable

import numpy as np

from medcli.deidentify.pixels.boxes import Box, cut, grow

_RING = 2


def blank(picture: np.ndarray, boxes: Iterable[Box], *, indices: bool = False) -> np.ndarray:
    """A copy in which each box has one value: a common one of the ring around it, which is not that of the text.

    The ring's value leaves less of a mark than black, changes nothing where the background is even, and hides dark
    text as well as bright.

    Args:
        picture: (row, column) or (row, column, channel), any type.
        indices: The values are indices of a palette, which have no order.
    """
    boxes = [grow(box, 0, picture.shape) for box in boxes]
    covered = np.zeros(picture.shape[:2], bool)
    for box in boxes:
        cut(covered, box)[...] = True
    out = picture.copy()
    for box in boxes:
        cut(out, box)[...] = _background(picture, covered, box, indices=indices)
    return out


def _background(picture: np.ndarray, covered: np.ndarray, box: Box, *, indices: bool) -> np.ndarray:
    """The value of the ring around a box, as far as no box covers it; without such a ring, that of the box's edge."""
    outer = grow(box, _RING, picture.shape)
    free = ~cut(covered, outer)
    if not free.any():
        free = np.ones_like(free)
        free[_RING:-_RING, _RING:-_RING] = False
    values = cut(picture, outer)[free]
    if indices:
        found, counts = np.unique(values, axis=0, return_counts=True)
        return found[counts.argmax()]
    return np.percentile(values, 50, axis=0, method="lower").astype(picture.dtype)
