"""Do two files share a grid? Axes that are only turned round or swapped are put in order."""

from pathlib import Path

import numpy as np

from medcli.errors import FormatError
from medcli.image import Image


def on_grid(path: Path, array: np.ndarray, affine: np.ndarray | None, like: Image) -> np.ndarray:
    """The array (spatial shape + channel) on the grid of `like`.

    Tools store one grid with its axes in different order and direction; these are swapped and flipped, which
    changes no value. Without affines the shapes alone must agree.

    Raises:
        FormatError: Unless every voxel lies where one of `like` does, to a hundredth of a voxel or of a mm.
    """
    other = like.sources[0] if like.sources else "the image"
    if affine is not None and like.affine is not None and like.ndim == array.ndim - 1 == 3:
        turned = _turned(array, affine, like.affine)
        if turned is not None:
            array, affine = turned
    if array.shape[:-1] != like.shape:
        raise FormatError(
            f"{path}: the shape {like.shape} of {other} was expected, {array.shape[:-1]} was found."
        )
    if affine is None or like.affine is None:
        return array
    ends = [(0, length - 1) for length in like.shape]
    corners = np.array(np.meshgrid(*ends, [1])).reshape(len(ends) + 1, -1)
    apart = float(np.abs((affine - like.affine) @ corners).max())
    if apart > 1e-2 * max(1.0, min(like.spacing or (1.0,))):
        raise FormatError(
            f"{path}: the place in space of {other} was expected, the corners lie up to {apart:.3g} mm "
            "apart; resample it onto that image's grid."
        )
    return array


def _turned(
    array: np.ndarray, affine: np.ndarray, target: np.ndarray
) -> tuple[np.ndarray, np.ndarray] | None:
    """Array and affine with the axes of the target in order and direction; None when not parallel."""
    if np.linalg.matrix_rank(affine) < 4:
        return None
    steps = (np.linalg.inv(affine) @ target)[
        :3, :3
    ]  # each column: a step along the target's axis in our indices
    whole = np.rint(steps)
    if np.abs(steps - whole).max() > 1e-2 or (np.abs(whole) @ np.abs(whole).T != np.eye(3)).any():
        return None
    order = np.abs(whole).argmax(axis=0)
    array = np.transpose(array, (*order, 3))
    affine = affine[:, [*order, 3]]
    for axis in range(3):
        if whole[order[axis], axis] < 0:
            array = np.flip(array, axis)
            affine = affine @ _flip(axis, array.shape[axis])
    return array, affine


def _flip(axis: int, length: int) -> np.ndarray:
    matrix = np.eye(4)
    matrix[axis, axis], matrix[axis, 3] = -1, length - 1
    return matrix
