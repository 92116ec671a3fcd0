"""Rotating an image in its plane, and bringing truth and prediction together again.

What is exact and what is not:

- Classification: the picture keeps its size, corners are cut, as when a patient lies askew. Nothing to move.
- Segmentation: the image grows so that nothing is cut off. The truth stays as it was drawn; the predicted
  labels are rotated back (every label's indicator linearly, the largest wins), so a perfect prediction loses
  what half a pixel at the edge is worth: `rotated_back` of a rotated truth says how much.
- Detection: the image grows. The true boxes are moved: their centre exactly, their size as that of the ellipse
  inside (Kalra et al. 2021, arXiv:2109.13488). That is exact for round things and for all at 0 and 90
  degrees; the box around a turned box would be too large for nearly everything in a medical image.
"""

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np

from medcli.boxes import Boxes


@dataclass(frozen=True, eq=False)
class Rotation:
    """A turn about the centre of the last two spatial axes.

    Attributes:
        degrees: Counter-clockwise as displayed with rows downwards.
        shape: (rows, columns) before.
        turned: (rows, columns) after.
        spacing: Of rows and columns, so that circles stay circles.
    """

    degrees: float
    shape: tuple[int, int]
    turned: tuple[int, int]
    spacing: tuple[float, float] = (1.0, 1.0)

    @classmethod
    def of(
        cls, shape: Sequence[int], degrees: float, *, spacing: Sequence[float] | None = None, grow: bool
    ) -> "Rotation":
        """
        Args:
            shape: Spatial; the last two axes turn.
            spacing: Per spatial axis; None: all alike.
            grow: Make room for the corners.
        """
        rows, columns = shape[-2:]
        step = (1.0, 1.0) if spacing is None else (float(spacing[-2]), float(spacing[-1]))
        turned = (rows, columns)
        if grow:
            forth = np.abs(_turn(-degrees, step)) @ [rows, columns]
            turned = (int(np.ceil(forth[0] - 1e-6)), int(np.ceil(forth[1] - 1e-6)))
        return cls(degrees, (rows, columns), turned, step)

    @property
    def forth(self) -> np.ndarray:
        """(2, 2): from a place (row, column) relative to the centre before to that after."""
        return _turn(-self.degrees, self.spacing)

    @property
    def back(self) -> np.ndarray:
        return _turn(self.degrees, self.spacing)

    def image(self, array: np.ndarray, fill: float = 0.0) -> np.ndarray:
        """Rotate (spatial + channel), linearly; `fill` where nothing was."""
        return _sampled(array, self.back, self.turned, fill)

    def rotated_back(self, labels: np.ndarray) -> np.ndarray:
        """Label ids on the rotated grid (spatial) to the grid before; ties go to the smaller id."""
        spatial = (*labels.shape[:-2], *self.shape)
        found = np.zeros(spatial, labels.dtype)
        best = np.full(spatial, -1, np.float32)
        for value in np.unique(labels):
            indicator = (labels == value).astype(np.float32)[..., None]
            share = _sampled(indicator, self.forth, self.shape, float(value == 0))[..., 0]
            wins = share > best + 1e-6
            found[wins], best[wins] = value, share[wins]
        return found

    def numbers_back(self, numbers: np.ndarray) -> np.ndarray:
        """Numbers of objects on the rotated grid (spatial) to the grid before: of the nearest place; 0 outside."""
        found = _sampled(numbers[..., None], self.forth, self.shape, 0.0, order=0)[..., 0]
        return found.astype(numbers.dtype)

    def boxes(self, boxes: Boxes) -> Boxes:
        """Boxes before to those after, by the ellipse inside each."""
        corners = boxes.corners.astype(float)
        centre = np.stack([corners[:, 1] + corners[:, 3], corners[:, 0] + corners[:, 2]], 1) / 2
        half = np.stack([corners[:, 3] - corners[:, 1], corners[:, 2] - corners[:, 0]], 1) / 2
        moved = (centre - np.array(self.shape) / 2) @ self.forth.T + np.array(self.turned) / 2
        reach = np.sqrt(half**2 @ (self.forth**2).T)
        low, high = moved - reach, moved + reach
        return Boxes.of(
            np.stack([low[:, 1], low[:, 0], high[:, 1], high[:, 0]], 1),
            boxes.classes,
            boxes.scores,
            boxes.crowd,
        ).clipped(*self.turned)


def _turn(degrees: float, spacing: tuple[float, float]) -> np.ndarray:
    """(2, 2) in pixels: rotation in mm between the steps."""
    cos, sin = np.cos(np.deg2rad(degrees)), np.sin(np.deg2rad(degrees))
    row, column = spacing
    return np.array([[cos, sin * column / row], [-sin * row / column, cos]])


def _sampled(
    array: np.ndarray, matrix: np.ndarray, shape: tuple[int, int], fill: float, *, order: int = 1
) -> np.ndarray:
    """Value at every place of the new plane; `matrix` takes it, relative to the centre, to that in the old one."""
    from scipy.ndimage import affine_transform

    old = np.array(array.shape[-3:-1])
    offset = (old - 1) / 2 - matrix @ ((np.array(shape) - 1) / 2)
    planes = array.reshape(-1, *array.shape[-3:])
    out = np.empty((len(planes), *shape, array.shape[-1]), np.float32)
    for plane, target in zip(planes, out, strict=True):
        for channel in range(array.shape[-1]):
            # Beyond the edge values fade into `fill`; "constant" would drop a place that is out by rounding.
            affine_transform(
                plane[..., channel],
                matrix,
                offset,
                shape,
                target[..., channel],
                order=order,
                mode="grid-constant",
                cval=fill,
            )
    return out.reshape(*array.shape[:-3], *shape, array.shape[-1])
