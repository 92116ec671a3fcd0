"""What a coarse network is given of a prepared image, and what it says brought back to the image's grid.

The coarse image is made from the prepared one, in training and in prediction alike. The answers are the probabilities
of the classes (without background) as uint8, 255 for 1, and go to the fine network as further channels in 0..1.
"""

from collections.abc import Iterable, Sequence
from typing import Any

import numpy as np

from medcli.preprocessing.geometry import Placement, resize
from medcli.preprocessing.slabs import restored_parts

SURE = 255
"""Of an answer as it is kept: probability 1."""


def coarse_shape(shape: Sequence[int], factors: Sequence[float]) -> tuple[int, ...]:
    """At least one voxel per axis.

    >>> coarse_shape((40, 100, 101), (1.0, 2.5, 2.5))
    (40, 40, 40)
    """
    return tuple(max(1, round(n / factor)) for n, factor in zip(shape, factors, strict=True))


def coarse_image(array: np.ndarray, factors: Sequence[float]) -> np.ndarray:
    """float32 (coarse spatial shape + channel); voxels are averaged, so nothing aliases."""
    return resize(array, coarse_shape(array.shape[:-1], factors))


def on_fine_grid(
    parts: Iterable[np.ndarray], coarse: Sequence[int], fine: Sequence[int], classes: int
) -> np.ndarray:
    """uint8 (fine spatial shape + class): probabilities interpolated linearly, part by part, the edges kept.

    Args:
        parts: float32 (n, *coarse[1:], 1 + classes) from the first coarse plane to the last, background first.
    """
    coarse, fine = tuple(coarse), tuple(fine)
    still = (0,) * len(fine)
    straight = tuple(range(len(fine)))
    placement = Placement(fine, straight, (False,) * len(fine), still, fine, coarse, still, coarse)
    answers = np.empty((*fine, classes), np.uint8)
    for first, values in restored_parts((part[..., 1:] for part in parts), placement):
        answers[first : first + len(values)] = np.rint(np.clip(values, 0, 1) * SURE)
    return answers


class Answered:
    """An image whose further channels are the coarse answers, put together only where they are read.

    Args:
        picture: float32 (spatial shape + channel).
        answers: uint8 (spatial shape + class).

    >>> image = Answered(np.ones((2, 3, 1), np.float32), np.full((2, 3, 2), 51, np.uint8))
    >>> image[0:1, 0:2].tolist()
    [[[1.0, 0.20000000298023224, 0.20000000298023224], [1.0, 0.20000000298023224, 0.20000000298023224]]]
    """

    def __init__(self, picture: np.ndarray, answers: np.ndarray) -> None:
        self.picture, self.answers = picture, answers
        self.shape = (*picture.shape[:-1], picture.shape[-1] + answers.shape[-1])
        self.ndim = picture.ndim

    def __getitem__(self, window: tuple[slice, ...]) -> np.ndarray:
        said = self.answers[window].astype(np.float32) / np.float32(SURE)
        return np.concatenate([self.picture[window], said], axis=-1)

    def __array__(self, dtype: Any = None, copy: bool | None = None) -> np.ndarray:
        """All of it, for images that are smaller than a patch and so must be padded."""
        whole = self[(slice(None),) * (self.ndim - 1)]
        return whole if dtype is None else whole.astype(dtype)


def picture_of(image: Any) -> np.ndarray:
    """The image without answers."""
    return image.picture if isinstance(image, Answered) else image
