"""A patch network over a whole image: overlapping windows, blended with weights like a Gaussian."""

from collections.abc import Callable, Iterator, Sequence
from functools import lru_cache
from itertools import combinations, product
from math import ceil

import numpy as np

SIGMA = 1 / 8
"""Standard deviation of the weights as a share of the patch, as in nnU-Net (Isensee et al. 2021)."""


def sliding_window(
    predict_batch: Callable[[np.ndarray], np.ndarray],
    image: np.ndarray,
    *,
    patch: Sequence[int],
    num_outputs: int,
    overlap: float = 0.5,
    batch_size: int = 4,
    flips: bool | Sequence[int] = False,
    out: np.ndarray | None = None,
) -> np.ndarray:
    """Predict an image of any size with a network of fixed patch size.

    Windows lie evenly from edge to edge, so the true overlap is at least the one asked for. An image
    smaller than the patch is padded with zeros on both sides, and the padding is cut off again. Memory:
    the result, and two batches.

    Args:
        predict_batch: Takes (batch, *patch, channel) float32, returns (batch, *patch, num_outputs). The
            batches of one image have one size, at most `batch_size`, but for a smaller last one; the array
            it is given is reused for the next batch.
        image: Spatial shape + channel, any number of spatial axes; read window by window, so it may be
            memory-mapped.
        patch: Size per spatial axis.
        num_outputs: Channels of the result.
        overlap: Share of a window that the next one covers, 0 to below 1.
        batch_size: Most windows in one call.
        flips: Average over mirrored inputs: True for all spatial axes, or the axes that may be mirrored.
        out: Array of zeros to fill instead of a new one, for example memory-mapped; float32, spatial shape
            + output.

    Returns:
        float32, spatial shape of the image + num_outputs: the weighted mean of what the windows say.

    Raises:
        ValueError: The patch does not fit the image's axes, or the overlap is out of range.
    """
    patch = tuple(int(size) for size in patch)
    axes = image.ndim - 1
    if len(patch) != axes or min(patch) < 1:
        raise ValueError(f"expected a patch of {axes} positive sizes for this image, got {patch}")
    if not 0 <= overlap < 1:
        raise ValueError(f"expected an overlap from 0 to below 1, got {overlap}")
    if out is None:
        out = np.zeros((*image.shape[:-1], num_outputs), np.float32)
    image, inner = _pad(image, patch)
    starts = [window_starts(size, length, overlap) for size, length in zip(image.shape, patch, strict=False)]
    mirrored = _mirrors(range(axes) if flips is True else flips or ())
    jobs = list(product(product(*starts), mirrored))

    padded = image.shape[:-1] != out.shape[:-1]
    total = np.zeros((*image.shape[:-1], num_outputs), np.float32) if padded else out
    _accumulate(total, predict_batch, image, jobs, patch, batch_size)
    coverage = [_coverage(*axis) for axis in zip(starts, image.shape, patch, strict=False)]
    _divide(total, coverage, len(mirrored))
    if padded:
        out[...] = total[inner]
    return out


def window_starts(size: int, length: int, overlap: float) -> list[int]:
    """Where windows of this length begin along an axis of this size: evenly from edge to edge.

    >>> window_starts(10, 4, 0.5)
    [0, 2, 4, 6]
    """
    step = max(1.0, length * (1 - overlap))
    number = ceil(max(0, size - length) / step) + 1
    return [int(start) for start in np.rint(np.linspace(0, max(0, size - length), number))]


@lru_cache(maxsize=16)
def axis_weights(length: int) -> np.ndarray:
    """(length,) float32 weights along one axis, symmetric; the middle has the weight one."""
    distance = np.arange(length) - (length - 1) / 2
    weights = np.exp(-0.5 * (distance / (length * SIGMA)) ** 2)
    return (weights / weights.max()).astype(np.float32)


@lru_cache(maxsize=4)
def _patch_weights(patch: tuple[int, ...], num_outputs: int) -> np.ndarray:
    """Product of the weights along the axes, repeated per output: plain memory multiplies faster."""
    weights = np.ones((), np.float32)
    for length in patch:
        weights = weights[..., None] * axis_weights(length)
    return np.ascontiguousarray(np.broadcast_to(weights[..., None], (*patch, num_outputs)))


def _pad(image: np.ndarray, patch: tuple[int, ...]) -> tuple[np.ndarray, tuple[slice, ...]]:
    """The image brought to at least the patch's size, and where it lies in it."""
    missing = [max(0, length - size) for size, length in zip(image.shape, patch, strict=False)]
    inner = tuple(slice(gap // 2, gap // 2 + size) for gap, size in zip(missing, image.shape, strict=False))
    if any(missing):
        image = np.pad(image, [(gap // 2, gap - gap // 2) for gap in missing] + [(0, 0)])
    return image, inner


def _mirrors(axes: Sequence[int]) -> list[tuple[slice, ...]]:
    """Every way to mirror these axes, as indices; the first mirrors nothing."""
    axes = tuple(axes)
    chosen = [subset for number in range(len(axes) + 1) for subset in combinations(axes, number)]
    steps = [
        [-1 if axis in subset else None for axis in range(max(axes, default=-1) + 1)] for subset in chosen
    ]
    return [tuple(slice(None, None, step) for step in mirror) for mirror in steps]


def _batches(jobs: list, batch_size: int) -> Iterator[list]:
    """Parts of equal length, but for the last: 5 jobs in batches of at most 4 are 3 and 2, not 4 and 1."""
    size = ceil(len(jobs) / ceil(len(jobs) / batch_size))
    for start in range(0, len(jobs), size):
        yield jobs[start : start + size]


def _accumulate(total, predict_batch, image, jobs, patch, batch_size) -> None:
    """Add every window's weighted prediction to `total`."""
    weights = _patch_weights(patch, total.shape[-1])
    weighted = np.empty_like(weights)
    batch = None
    for part in _batches(jobs, batch_size):
        if batch is None:
            batch = np.zeros((len(part), *patch, image.shape[-1]), np.float32)
        for row, (start, mirror) in zip(batch, part, strict=False):
            row[mirror] = image[_window(start, patch)]
        predictions = np.asarray(predict_batch(batch[: len(part)]))
        for row, (start, mirror) in zip(predictions, part, strict=False):
            np.multiply(row[mirror], weights, out=weighted)
            total[_window(start, patch)] += weighted


def _window(start: Sequence[int], patch: Sequence[int]) -> tuple[slice, ...]:
    return tuple(slice(begin, begin + length) for begin, length in zip(start, patch, strict=True))


def _coverage(starts: list[int], size: int, length: int) -> np.ndarray:
    """Sum of the weights along one axis (windows form a grid and weights are products)."""
    total = np.zeros(size, np.float32)
    for start in starts:
        total[start : start + length] += axis_weights(length)
    return total


def _divide(total: np.ndarray, coverage: list[np.ndarray], repeats: int) -> None:
    """Divide in place by the sum of all weights at each place, one hyperplane at a time to save memory."""
    rest = np.ones((), np.float32)
    for sums in coverage[1:]:
        rest = rest[..., None] * sums
    for plane, weight in zip(total, coverage[0], strict=True):
        plane /= (weight * repeats * rest)[..., None]
