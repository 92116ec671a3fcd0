"""What of an answer is to be explained: one number that the network gives, and where it was asked for."""

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np


@dataclass(frozen=True, eq=False)
class Target:
    """One answer of a network to one image: a class, a found box, a segmented region.

    Attributes:
        class_index: Its class.
        probability: Of the answer as a person is told it (calibrated where the run has a calibration), 0..1; NaN of a
            number.
        said: A number as a person is told it; "": the class and its probability say all.
        image: What the network is given, float32 (spatial + channel): the prepared image or a window of it.
        start: Where that window begins in the prepared image; negative where it was padded.
        spec: float32 arrays that `Task.score` takes, the same shapes for every target of a run.
        cam: The class activation map that suits the answer: "gradcam", or "layercam", which keeps to the place.
        layers: Names of the layers among which the map's is chosen; empty: all that keep the place.
        box: (4,) corners in pixels of the prepared image, when the answer is a box.
        region: bool in the spatial shape of `image`, when the answer is a region.
        others: Further windows of the same answer, when it does not fit into one.
        share: How much of the region the windows hold.
    """

    class_index: int
    probability: float
    image: np.ndarray
    start: tuple[int, ...]
    spec: tuple[np.ndarray, ...]
    cam: str
    layers: tuple[str, ...] = ()
    box: np.ndarray | None = None
    region: np.ndarray | None = None
    others: "tuple[Target, ...]" = ()
    share: float = 1.0
    said: str = ""


def one_hot(index: int, length: int) -> np.ndarray:
    return np.eye(length, dtype=np.float32)[index]


def cut(array: np.ndarray, start: Sequence[int], shape: Sequence[int]) -> np.ndarray:
    """The window of this shape (spatial) that begins at `start`; zeros where it lies outside of the array."""
    out = np.zeros((*shape, *array.shape[len(shape) :]), array.dtype)
    inside, of_window = _overlap(start, shape, array.shape)
    out[of_window] = array[inside]
    return out


def paste(total: np.ndarray, window: np.ndarray, start: Sequence[int]) -> None:
    """Add a window to the array it was cut from."""
    inside, of_window = _overlap(start, window.shape, total.shape)
    total[inside] += window[of_window]


def covering(region: np.ndarray, patch: Sequence[int], most: int) -> list[tuple[int, ...]]:
    """Starts of at most `most` windows, each where most of the rest of the region lies.

    Args:
        region: bool, not empty.
        patch: Shape of the windows. An axis that is shorter gets a window that begins before it.
    """
    from scipy.ndimage import uniform_filter

    left = region.copy()
    starts: list[tuple[int, ...]] = []
    while left.any() and len(starts) < most:
        density = uniform_filter(left.astype(np.float32), list(patch), mode="constant")
        centre = np.unravel_index(int(density.argmax()), density.shape)
        start = tuple(
            _begin(int(middle), length, size)
            for middle, length, size in zip(centre, patch, region.shape, strict=True)
        )
        left[_overlap(start, patch, region.shape)[0]] = False
        starts.append(start)
    return starts


def _begin(middle: int, length: int, size: int) -> int:
    if size <= length:
        return -((length - size) // 2)
    return int(np.clip(middle - length // 2, 0, size - length))


def _overlap(
    start: Sequence[int], shape: Sequence[int], whole: Sequence[int]
) -> tuple[tuple[slice, ...], tuple[slice, ...]]:
    """The part that window and array share, as indices of the array and of the window."""
    inside, of_window = [], []
    for begin, length, size in zip(start, shape, whole, strict=False):
        low, high = max(begin, 0), min(begin + length, size)
        inside.append(slice(low, high))
        of_window.append(slice(low - begin, high - begin))
    return tuple(inside), tuple(of_window)
