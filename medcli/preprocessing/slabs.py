"""From the prepared grid back to the image's own, part by part along the first prepared axis.

What comes out is what `Placement` gives of the whole array.
"""

from collections.abc import Iterable, Iterator
from math import ceil, floor

import numpy as np
from PIL import Image as Pillow

from medcli.preprocessing.geometry import Placement, resize

PART_BYTES = 64 * 2**20
"""About so much is given at once, before it is copied a few times on the way."""


def restored_parts(parts: Iterable[np.ndarray], placement: Placement) -> Iterator[tuple[int, np.ndarray]]:
    """Values (n, *prepared[1:], channel) from the first prepared plane to the last, linearly on the original grid.

    Returns:
        Pairs of a plane's number and float32 (n, rows, columns, channel) from that plane on. They fill what was
        kept of the image after cropping, in the prepared order of the axes; `whole_grid` places them.
    """
    kept = tuple(b - a for a, b in zip(placement.start, placement.stop, strict=True))
    inside = _in_plane(_unpadded(parts, placement), kept)
    if placement.scaled[0] == kept[0]:
        return _numbered(inside)
    return _resampled(inside, placement.scaled[0], kept[0])


def whole_grid(placement: Placement, dtype, channels: tuple[int, ...] = ()) -> tuple[np.ndarray, np.ndarray]:
    """An array of zeros on the original grid, and a view of it: what was kept, with axes in the prepared order.

    What is written into the view stands where it belongs in the array.
    """
    array = np.zeros((*placement.original, *channels), dtype)
    return array, placement.cut(array)


def _unpadded(parts: Iterable[np.ndarray], placement: Placement) -> Iterator[np.ndarray]:
    first = 0
    begin, *rest = (
        slice(before, before + length)
        for before, length in zip(placement.before, placement.scaled, strict=True)
    )
    for part in parts:
        kept = part[(slice(max(begin.start - first, 0), max(begin.stop - first, 0)), *rest)]
        first += len(part)
        if len(kept):
            yield kept


def _in_plane(parts: Iterable[np.ndarray], kept: tuple[int, ...]) -> Iterator[np.ndarray]:
    """Every axis but the first resampled."""
    for part in parts:
        larger = max(part[0].size, int(np.prod(kept[1:], dtype=int)) * part.shape[-1])
        step = max(1, PART_BYTES // (4 * larger))
        for begin in range(0, len(part), step):
            some = part[begin : begin + step]
            yield resize(some, (len(some), *kept[1:]))


def _numbered(parts: Iterable[np.ndarray]) -> Iterator[tuple[int, np.ndarray]]:
    first = 0
    for part in parts:
        yield first, part
        first += len(part)


def _resampled(parts: Iterable[np.ndarray], length: int, target: int) -> Iterator[tuple[int, np.ndarray]]:
    """The first axis from `length` planes to `target`, as Pillow's linear filter does it at once.

    A new plane is the mean of old ones within one old or one new step of its centre, whichever is larger.
    """
    scale = length / target
    reach = max(1.0, scale)
    held: np.ndarray | None = None
    first = 0  # the number of the first plane held
    done = 0
    for part in parts:
        held = part if held is None else np.concatenate([held, part])
        there = first + len(held)
        step = max(1, PART_BYTES // max(1, held[0].nbytes))
        while done < target:
            ready = target if there == length else floor((there - reach) / scale - 0.5) + 1
            stop = min(ready, target, done + step)
            if stop <= done:
                break
            last = min(length, ceil((stop - 0.5) * scale + reach) + 1)
            box = (done * scale - first, stop * scale - first)
            yield done, _resize_rows(held[: last - first], box, stop - done)
            done = stop
            unused = max(0, floor((done + 0.5) * scale - reach) - 1) - first
            if unused > 0:
                held, first = held[unused:], first + unused
        held = held.copy() if held.base is not None else held


def _resize_rows(planes: np.ndarray, box: tuple[float, float], count: int) -> np.ndarray:
    """(count, ...) new planes that cover the old ones from box[0] to box[1]."""
    flat = Pillow.fromarray(np.ascontiguousarray(planes, np.float32).reshape(len(planes), -1))
    low, high = max(0.0, box[0]), min(float(len(planes)), box[1])
    resized = flat.resize((flat.width, count), Pillow.Resampling.BILINEAR, box=(0, low, flat.width, high))
    return np.asarray(resized).reshape(count, *planes.shape[1:])
