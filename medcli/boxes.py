"""Boxes and their arithmetic: float32 (n, 4) as x0, y0, x1, y1 in pixels, half-open at the far edge."""

from dataclasses import dataclass

import numpy as np


@dataclass(frozen=True, eq=False)
class Boxes:
    """Boxes of one image.

    Attributes:
        corners: (n, 4) float32: x0, y0, x1, y1 in pixels of the image they stand with; x runs along columns; a box that
            covers the whole image is (0, 0, columns, rows).
        classes: (n,) int32 indices into the class names.
        scores: (n,) float32 in 0..1 for predictions; ones for the truth.
        crowd: (n,) bool; true for regions that COCO marks as crowds: matched but never counted.
    """

    corners: np.ndarray
    classes: np.ndarray
    scores: np.ndarray
    crowd: np.ndarray

    @classmethod
    def of(cls, corners, classes, scores=None, crowd=None) -> "Boxes":
        corners = np.asarray(corners, np.float32).reshape(-1, 4)
        n = len(corners)
        return cls(
            corners,
            np.asarray(classes, np.int32).reshape(n),
            np.ones(n, np.float32) if scores is None else np.asarray(scores, np.float32).reshape(n),
            np.zeros(n, bool) if crowd is None else np.asarray(crowd, bool).reshape(n),
        )

    @classmethod
    def empty(cls) -> "Boxes":
        return cls.of(np.zeros((0, 4)), np.zeros(0))

    def __len__(self) -> int:
        return len(self.corners)

    def take(self, index) -> "Boxes":
        """The boxes at these indices, or where this mask is true."""
        return Boxes(self.corners[index], self.classes[index], self.scores[index], self.crowd[index])

    def scaled(self, scale_x: float, scale_y: float, shift_x: float = 0.0, shift_y: float = 0.0) -> "Boxes":
        """Scale first, then shift."""
        factor = np.array([scale_x, scale_y, scale_x, scale_y], np.float32)
        shift = np.array([shift_x, shift_y, shift_x, shift_y], np.float32)
        return Boxes(self.corners * factor + shift, self.classes, self.scores, self.crowd)

    def mirrored(self, height: int, width: int, *, rows: bool = False, columns: bool = False) -> "Boxes":
        """As the boxes lie when the image (height x width pixels) is mirrored along rows and/or columns."""
        x0, y0, x1, y1 = self.corners.T
        if columns:
            x0, x1 = width - x1, width - x0
        if rows:
            y0, y1 = height - y1, height - y0
        corners = np.stack([x0, y0, x1, y1], axis=1)
        return Boxes(corners, self.classes, self.scores, self.crowd)

    def clipped(self, rows: int, columns: int) -> "Boxes":
        """Cut at the image's edge; boxes that lie outside keep zero area (drop them with `take(areas > 0)`)."""
        limit = np.array([columns, rows, columns, rows], np.float32)
        return Boxes(np.clip(self.corners, 0, limit), self.classes, self.scores, self.crowd)

    @property
    def areas(self) -> np.ndarray:
        return area(self.corners)


def area(corners: np.ndarray) -> np.ndarray:
    """(n,) areas in square pixels; zero where a box is empty or inverted."""
    size = np.clip(corners[..., 2:] - corners[..., :2], 0, None)
    return size[..., 0] * size[..., 1]


def iou_matrix(a: np.ndarray, b: np.ndarray) -> np.ndarray:
    """(n, m) intersection over union of corners a (n, 4) with b (m, 4); zero where both are empty."""
    low = np.maximum(a[:, None, :2], b[None, :, :2])
    high = np.minimum(a[:, None, 2:], b[None, :, 2:])
    size = np.clip(high - low, 0, None)
    overlap = size[..., 0] * size[..., 1]
    union = area(a)[:, None] + area(b)[None, :] - overlap
    return np.divide(overlap, union, out=np.zeros_like(overlap), where=union > 0)
