"""Boxes in volumes: float32 (n, 6) as plane, row, column of the near and of the far corner, in voxels, half-open."""

from dataclasses import dataclass

import numpy as np


@dataclass(frozen=True, eq=False)
class VolumeBoxes:
    """Boxes of one volume.

    Attributes:
        corners: (n, 6) float32: plane0, row0, column0, plane1, row1, column1 in voxels; a box that covers the whole
            volume is (0, 0, 0, planes, rows, columns).
        classes: (n,) int32 indices into the class names.
        scores: (n,) float32 in 0..1 for predictions; ones for the truth.
        volumes: (n,) float64, mm^3 of the object itself, where it is known (the truth from masks); else NaN.
    """

    corners: np.ndarray
    classes: np.ndarray
    scores: np.ndarray
    volumes: np.ndarray

    @classmethod
    def of(cls, corners, classes, scores=None, volumes=None) -> "VolumeBoxes":
        corners = np.asarray(corners, np.float32).reshape(-1, 6)
        n = len(corners)
        return cls(
            corners,
            np.asarray(classes, np.int32).reshape(n),
            np.ones(n, np.float32) if scores is None else np.asarray(scores, np.float32).reshape(n),
            np.full(n, np.nan) if volumes is None else np.asarray(volumes, float).reshape(n),
        )

    @classmethod
    def empty(cls) -> "VolumeBoxes":
        return cls.of(np.zeros((0, 6)), np.zeros(0))

    def __len__(self) -> int:
        return len(self.corners)

    def take(self, index) -> "VolumeBoxes":
        """The boxes at these indices, or where this mask is true."""
        return VolumeBoxes(self.corners[index], self.classes[index], self.scores[index], self.volumes[index])

    @property
    def centres(self) -> np.ndarray:
        """(n, 3) plane, row, column of the middle as voxel indices: the middle of the first voxel is 0."""
        return (self.corners[:, :3] + self.corners[:, 3:]).astype(float) / 2 - 0.5

    def centres_mm(self, affine: np.ndarray) -> np.ndarray:
        """(n, 3) middles in RAS+ mm by the affine of the image."""
        return self.centres @ affine[:3, :3].T + affine[:3, 3]

    def sizes_mm(self, spacing) -> np.ndarray:
        """(n, 3) lengths along plane, row and column."""
        return (self.corners[:, 3:] - self.corners[:, :3]).astype(float) * np.asarray(spacing, float)

    def radii_mm(self, spacing) -> np.ndarray:
        """(n,) of the ball with the object's volume where that is known, else half the mean of the box's lengths."""
        by_box = self.sizes_mm(spacing).mean(1) / 2
        by_volume = np.cbrt(3 * np.nan_to_num(self.volumes) / (4 * np.pi))
        return np.where(np.isfinite(self.volumes), by_volume, by_box)


def iou_matrix_3d(a: np.ndarray, b: np.ndarray) -> np.ndarray:
    """(n, m) intersection over union of corners a (n, 6) with b (m, 6); zero where both are empty."""
    a, b = np.asarray(a, float), np.asarray(b, float)
    low = np.maximum(a[:, None, :3], b[None, :, :3])
    high = np.minimum(a[:, None, 3:], b[None, :, 3:])
    both = np.clip(high - low, 0, None).prod(-1)
    sizes = [np.clip(box[:, 3:] - box[:, :3], 0, None).prod(-1) for box in (a, b)]
    union = sizes[0][:, None] + sizes[1][None, :] - both
    return np.divide(both, union, out=np.zeros_like(both), where=union > 0)
