"""Occlusion: how much the score falls when a block of the image is covered."""

from collections.abc import Callable, Sequence
from itertools import product

import numpy as np

from medcli.sliding import window_starts

SHARE = {2: 8, 3: 4}
"""Blocks along an axis, by the number of axes; neighbours overlap by half."""


def block_shape(shape: Sequence[int]) -> tuple[int, ...]:
    """An eighth of a picture's sides, a quarter of a volume's."""
    return tuple(max(1, -(-side // SHARE[len(shape)])) for side in shape)


def occlusion(
    scores: Callable[[np.ndarray], np.ndarray],
    image: np.ndarray,
    baseline: np.ndarray,
    *,
    block: Sequence[int] | None = None,
    batch: int = 16,
) -> np.ndarray:
    """Zeiler and Fergus 2014, "Visualizing and Understanding Convolutional Networks", section 4.2.

    Args:
        scores: (n, spatial, channel) to (n,).
        image, baseline: (spatial, channel) float32; a covered block shows the baseline.
        block: Its shape; default: see `block_shape`.

    Returns:
        float32 (spatial): the mean fall over the blocks that cover a place; negative where covering it helps.
    """
    shape = image.shape[:-1]
    block = tuple(block or block_shape(shape))
    starts = [window_starts(side, length, 0.5) for side, length in zip(shape, block, strict=True)]
    places = [
        tuple(slice(begin, begin + length) for begin, length in zip(corner, block, strict=True))
        for corner in product(*starts)
    ]
    (whole,) = scores(image[None])
    falls, counts = np.zeros(shape, np.float64), np.zeros(shape, np.float64)
    for first in range(0, len(places), batch):
        part = places[first : first + batch]
        covered = np.repeat(image[None], len(part), axis=0)
        for one, place in zip(covered, part, strict=True):
            one[place] = baseline[place]
        for place, score in zip(part, scores(covered), strict=True):
            falls[place] += float(whole) - float(score)
            counts[place] += 1
    return (falls / counts).astype(np.float32)
