"""A patch network over a whole image: overlapping windows, blended with weights like a Gaussian."""

from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass
from functools import lru_cache
from itertools import combinations, product
from math import ceil

import numpy as np

SIGMA = 1 / 8
"""Standard deviation of the weights as a share of the patch, as in nnU-Net (Isensee et al. 2021)."""


@dataclass(frozen=True, eq=False)
class Slabs:
    """An array too large to hold, given in parts along its first axis, each computed when it is asked for.

    Attributes:
        shape: Of the whole: spatial axes, then outputs.
        parts: Starts anew and gives float32 arrays (n, *shape[1:]) from the first plane to the last; each is the
            caller's own.
        windows, skipped: How many places the network would look at, and how many of them hold nothing.
    """

    shape: tuple[int, ...]
    parts: Callable[[], Iterator[np.ndarray]]
    windows: int = 1
    skipped: int = 0

    @classmethod
    def of(cls, array: np.ndarray) -> "Slabs":
        """An array that is there already."""
        return cls(array.shape, lambda: iter([array]))

    def __iter__(self) -> Iterator[np.ndarray]:
        return self.parts()

    def whole(self, out: np.ndarray | None = None) -> np.ndarray:
        """All parts in one array, `out` if given (perhaps memory-mapped)."""
        if out is None:
            out = np.empty(self.shape, np.float32)
        first = 0
        for part in self:
            out[first : first + len(part)] = part
            first += len(part)
        return out


def sliding_window(
    predict_batch: Callable[[np.ndarray], np.ndarray],
    image: np.ndarray,
    *,
    patch: Sequence[int],
    num_outputs: int,
    overlap: float = 0.5,
    batch_size: int = 4,
    flips: bool | Sequence[int] = False,
    content: np.ndarray | None = None,
    margin: int = 0,
    empty: Sequence[float] = (1.0,),
) -> Slabs:
    """Predict an image of any size with a network of fixed patch size.

    Windows lie evenly from edge to edge, so the true overlap is at least the one asked for. An image
    smaller than the patch is padded with zeros on both sides, and the padding is cut off again. Memory while
    the result is read: as many planes as the patch has, the planes that are finished, and two batches.

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
        content: bool, spatial shape of the image; windows without any of it, and without any within `margin`
            voxels around them, are not predicted. None: all are.
        empty: What is said of such a window: the first outputs; the rest is 0.

    Returns:
        float32, spatial shape of the image + num_outputs: the weighted mean of what the windows say. It comes
        out plane by plane, as soon as no further window touches a plane.

    Raises:
        ValueError: The patch does not fit the image's axes, or the overlap is out of range.
    """
    patch = tuple(int(size) for size in patch)
    axes = image.ndim - 1
    if len(patch) != axes or min(patch) < 1:
        raise ValueError(f"expected a patch of {axes} positive sizes for this image, got {patch}")
    if not 0 <= overlap < 1:
        raise ValueError(f"expected an overlap from 0 to below 1, got {overlap}")
    shape = (*image.shape[:-1], num_outputs)
    image, inner = _pad(image, patch)
    starts = [window_starts(size, length, overlap) for size, length in zip(image.shape, patch, strict=False)]
    mirrored = _mirrors(range(axes) if flips is True else flips or ())
    places = list(product(*starts))
    held = places
    if content is not None:
        content, _ = _pad(content[..., None], patch)
        held = [place for place in places if content[_around(place, patch, margin)].any()]
    jobs = [(place, mirror) for place in held for mirror in mirrored]

    def parts() -> Iterator[np.ndarray]:
        answers = _answers(predict_batch, image, jobs, patch, batch_size)
        answer = np.zeros(num_outputs, np.float32)
        answer[: len(empty)] = empty
        blend = _Blend(starts, image.shape[:-1], patch, num_outputs, len(mirrored))
        said = set(held)
        for place in places:
            if place[0] > blend.first:
                yield from _cut(blend.finish(place[0]), inner)
            if place not in said:
                blend.add(place, answer, times=len(mirrored))
                continue
            for _ in mirrored:
                blend.add(place, next(answers))
        yield from _cut(blend.finish(image.shape[0]), inner)

    return Slabs(shape, parts, len(places), len(places) - len(held))


def one_window(image: np.ndarray, patch: Sequence[int]) -> np.ndarray:
    """The only window of an image that is no larger than the patch, (*patch, channel)."""
    return _pad(image, tuple(patch))[0]


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


def _answers(predict_batch, image, jobs, patch, batch_size) -> Iterator[np.ndarray]:
    """The prediction for every job (start, mirror), mirrored back, in their order."""
    batch = None
    for part in _batches(jobs, batch_size):
        if batch is None:
            batch = np.zeros((len(part), *patch, image.shape[-1]), np.float32)
        for row, (start, mirror) in zip(batch, part, strict=False):
            row[mirror] = image[_window(start, patch)]
        predictions = np.asarray(predict_batch(batch[: len(part)]))
        for row, (_, mirror) in zip(predictions, part, strict=False):
            yield row[mirror]


class _Blend:
    """Adds up weighted windows for a patch's worth of planes, and gives away those that are finished.

    Windows must come in the order of their first axis.
    """

    def __init__(self, starts, shape, patch, num_outputs: int, repeats: int) -> None:
        self.first = 0
        self._patch = patch
        self._total = np.zeros((min(patch[0], shape[0]), *shape[1:], num_outputs), np.float32)
        self._weights = _patch_weights(patch, num_outputs)
        self._weighted = np.empty_like(self._weights)
        sums = [_coverage(*axis) for axis in zip(starts, shape, patch, strict=True)]
        self._along = sums[0] * repeats
        self._rest = np.ones((), np.float32)
        for one in sums[1:]:
            self._rest = self._rest[..., None] * one

    def add(self, place: tuple[int, ...], answer: np.ndarray, *, times: int = 1) -> None:
        """`answer`: (*patch, outputs), or (outputs,) that holds everywhere."""
        np.multiply(answer if times == 1 else answer * times, self._weights, out=self._weighted)
        self._total[_window((place[0] - self.first, *place[1:]), self._patch)] += self._weighted

    def finish(self, stop: int) -> Iterator[np.ndarray]:
        """The planes before `stop`, divided by all weights at each place; few at a time, to save memory."""
        count = stop - self.first
        step = max(1, PART_BYTES // max(1, self._total[0].nbytes))
        for begin in range(0, count, step):
            along = self._along[self.first + begin : self.first + min(begin + step, count)]
            part = self._total[begin : min(begin + step, count)].copy()
            for plane, weight in zip(part, along, strict=True):
                plane /= (weight * self._rest)[..., None]
            yield part
        for plane in range(len(self._total) - count):  # one by one: NumPy would copy all of what overlaps
            self._total[plane] = self._total[plane + count]
        self._total[len(self._total) - count :] = 0
        self.first = stop


PART_BYTES = 32 * 2**20
"""About so much is given away at once."""


def _cut(parts: Iterator[np.ndarray], inner: tuple[slice, ...]) -> Iterator[np.ndarray]:
    """Without padding."""
    begin, first = inner[0], 0
    for part in parts:
        kept = part[(slice(max(begin.start - first, 0), max(begin.stop - first, 0)), *inner[1:])]
        if len(kept):
            yield kept
        first += len(part)


def _window(start: Sequence[int], patch: Sequence[int]) -> tuple[slice, ...]:
    return tuple(slice(begin, begin + length) for begin, length in zip(start, patch, strict=True))


def _around(start: Sequence[int], patch: Sequence[int], margin: int) -> tuple[slice, ...]:
    return tuple(
        slice(max(0, begin - margin), begin + length + margin)
        for begin, length in zip(start, patch, strict=True)
    )


def _coverage(starts: list[int], size: int, length: int) -> np.ndarray:
    """Sum of the weights along one axis (windows form a grid and weights are products)."""
    total = np.zeros(size, np.float32)
    for start in starts:
        total[start : start + length] += axis_weights(length)
    return total
