"""Integrated gradients: the change from a baseline to the image, divided among the voxels."""

from collections.abc import Callable, Iterator
from dataclasses import dataclass

import numpy as np

CLOSE = 0.05
"""The sum may be off by this share of the change, or more steps are taken."""
MOST_DOUBLINGS = 4


@dataclass(frozen=True, eq=False)
class Attribution:
    """Attributes:
    values: float32 (spatial), summed over the channels; negative where a place speaks against the answer.
    change: Of the log odds from baseline to image: what the values should add up to.
    error: |sum of the values - change|, as a share of |change| (at least of 0.01): the completeness axiom.
    steps: Points on the way.
    """

    values: np.ndarray
    change: float
    error: float
    steps: int


def integrated_gradients(
    gradients: Callable[[np.ndarray], np.ndarray],
    scores: Callable[[np.ndarray], np.ndarray],
    image: np.ndarray,
    baseline: np.ndarray,
    *,
    steps: int = 32,
    batch: int = 16,
    doublings: int = MOST_DOUBLINGS,
) -> Attribution:
    """Sundararajan et al. 2017, "Axiomatic Attribution for Deep Networks", equations 1 and 3, by midpoints.

    Args:
        gradients: (n, spatial, channel) to the gradients of the score by it, in that shape.
        scores: (n, spatial, channel) to (n,).
        image, baseline: (spatial, channel) float32.
        steps: Doubled up to `doublings` times while the error is above `CLOSE`.
    """
    before, after = scores(np.stack([baseline, image])).astype(float)
    change = float(after - before)
    for _ in range(doublings + 1):
        mean = np.zeros(image.shape, np.float64)
        for points in _path(image, baseline, steps, batch):
            mean += gradients(points).sum(axis=0, dtype=np.float64) / steps
        values = ((image - baseline) * mean).sum(axis=-1)
        error = abs(float(values.sum()) - change) / max(abs(change), 0.01)
        if error <= CLOSE:
            break
        steps *= 2
    else:
        steps //= 2
    return Attribution(values.astype(np.float32), change, error, steps)


def _path(image: np.ndarray, baseline: np.ndarray, steps: int, batch: int) -> Iterator[np.ndarray]:
    for start in range(0, steps, batch):
        share = (np.arange(start, min(start + batch, steps), dtype=np.float32) + 0.5) / steps
        share = share.reshape(-1, *(1,) * image.ndim)
        yield baseline + share * (image - baseline)
