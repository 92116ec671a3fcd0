"""A 2D network over a volume: what it sees of every plane, without holding that for the whole volume."""

from collections.abc import Callable
from typing import Any

import numpy as np


class NeighbouringPlanes:
    """A volume whose channels are `count` neighbouring planes, stacked only where they are read.

    Args:
        volume: (plane, row, column, channel); may be memory-mapped.
        count: Odd. Beyond the first and the last plane there are zeros, as around training patches.

    >>> volume = np.arange(1, 4).reshape(3, 1, 1, 1)
    >>> NeighbouringPlanes(volume, 3)[0:2, :, :][:, 0, 0].tolist()
    [[0.0, 1.0, 2.0], [1.0, 2.0, 3.0]]
    """

    ndim = 4

    def __init__(self, volume: np.ndarray, count: int) -> None:
        self._volume, self._count = volume, count
        self.shape = (*volume.shape[:3], count * volume.shape[3])

    def __getitem__(self, window: tuple[slice, slice, slice]) -> np.ndarray:
        planes, rows, columns = window
        first, last, _ = planes.indices(self.shape[0])
        half = self._count // 2
        low, high = max(first - half, 0), min(last + half, self.shape[0])
        part = np.asarray(self._volume[low:high, rows, columns], np.float32)
        part = np.pad(part, [(low - first + half, last + half - high), (0, 0), (0, 0), (0, 0)])
        length = last - first
        return np.concatenate([part[number : number + length] for number in range(self._count)], axis=-1)

    def __array__(self, dtype: Any = None, copy: bool | None = None) -> np.ndarray:
        """All of it, for volumes that are smaller than a patch and so must be padded."""
        whole = self[:, :, :]
        return whole if dtype is None else whole.astype(dtype)


def of_planes(
    predict_batch: Callable[[np.ndarray], np.ndarray], count: int
) -> Callable[[np.ndarray], np.ndarray]:
    """From what takes (batch, count, row, column, channel) to what takes windows of `NeighbouringPlanes`."""

    def predict(batch: np.ndarray) -> np.ndarray:
        stacked = batch[:, 0].reshape(*batch.shape[:1], *batch.shape[2:4], count, -1)
        return predict_batch(np.ascontiguousarray(stacked.transpose(0, 3, 1, 2, 4)))

    return predict
