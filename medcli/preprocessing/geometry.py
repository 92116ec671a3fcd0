"""Where a prepared image lies in the original: axis order, crop, scale and padding, there and back."""

from collections.abc import Sequence
from dataclasses import dataclass
from functools import lru_cache

import numpy as np
from PIL import Image as Pillow

from medcli.boxes import Boxes

PART_BYTES = 64 * 2**20
AXIAL = ("S", "P", "L")
"""The axes of a reoriented volume point to: superior (planes), posterior (rows), left (columns)."""


@dataclass(frozen=True)
class Placement:
    """How one image was brought to its prepared grid. Every tuple has one entry per spatial axis.

    The steps in their order, each skipped when it would change nothing, so that an image that already fits
    passes unchanged to the bit:

    Attributes:
        original: Shape of the image as read.
        axes: Prepared axis i is the original axis axes[i].
        flips: Prepared axis i runs against the original one.
        start, stop: The part kept, in voxels of the reoriented image.
        scaled: Shape after resampling that part; its edges (not its voxel centres) stay where they were.
        before: Voxels of padding in front.
        prepared: Shape in the end.
    """

    original: tuple[int, ...]
    axes: tuple[int, ...]
    flips: tuple[bool, ...]
    start: tuple[int, ...]
    stop: tuple[int, ...]
    scaled: tuple[int, ...]
    before: tuple[int, ...]
    prepared: tuple[int, ...]

    def oriented(self, array: np.ndarray) -> np.ndarray:
        """Spatial axes (and perhaps a channel) in the prepared order and direction; a view."""
        extra = range(len(self.axes), array.ndim)
        array = array.transpose(*self.axes, *extra)
        return array[tuple(slice(None, None, -1 if flip else 1) for flip in self.flips)]

    def cut(self, array: np.ndarray) -> np.ndarray:
        """Oriented and cropped, not resampled; a view."""
        return self.oriented(array)[_slices(self.start, self.stop)]

    def padded(self, array: np.ndarray) -> np.ndarray:
        """Zeros around a resampled array (spatial, perhaps with a channel)."""
        if self.scaled == self.prepared:
            return array
        out = np.zeros(self.prepared + array.shape[len(self.prepared) :], array.dtype)
        out[self._inside()] = array
        return out

    def labels(self, mask: np.ndarray, ignore: int | None = None) -> np.ndarray:
        """Bring label ids (integers, original shape) to the prepared grid (prepared shape, same dtype).

        A voxel gets the label with the largest share in it; padding is background (0).

        Args:
            ignore: Id of voxels that nobody labelled; see `resize_labels`.
        """
        return self.padded(resize_labels(self.cut(mask), self.scaled, ignore))

    def nearest(self, mask: np.ndarray) -> np.ndarray:
        """As `labels`, but a voxel gets the label in its middle: for many labels, and as many as one likes."""
        part = self.cut(mask)
        for axis, length in enumerate(self.scaled):
            if part.shape[axis] != length:
                part = part.take(_nearest(part.shape[axis], length), axis)
        return self.padded(part)

    def boxes(self, boxes: Boxes) -> Boxes:
        """Boxes of the original picture in pixels of the prepared one, cut at its edge."""
        scale, shift = self._box_map()
        return _mapped(boxes, scale, shift).clipped(*self.prepared)

    def restore_boxes(self, boxes: Boxes) -> Boxes:
        """Boxes of the prepared picture in pixels of the original one, cut at its edge."""
        scale, shift = self._box_map()
        return _mapped(boxes, 1 / scale, -shift / scale).clipped(*self.original)

    def restore_probabilities(self, array: np.ndarray) -> np.ndarray:
        """Probabilities (prepared shape + class, background first) on the original grid, linearly.

        What was cropped away is background: probability 1 for class 0.
        """
        part = resize(array[self._inside()], tuple(b - a for a, b in zip(self.start, self.stop, strict=True)))
        if self._is_whole():
            return self._as_original(part)
        oriented = np.zeros(self._oriented_shape() + array.shape[-1:], part.dtype)
        oriented[..., 0] = 1
        oriented[_slices(self.start, self.stop)] = part
        return self._as_original(oriented)

    def restore_labels(self, array: np.ndarray) -> np.ndarray:
        """Label ids (prepared shape) on the original grid, by the nearest voxel; 0 where nothing was kept."""
        part = array[self._inside()]
        for axis, (a, b) in enumerate(zip(self.start, self.stop, strict=True)):
            if part.shape[axis] != b - a:
                part = part.take(_nearest(part.shape[axis], b - a), axis)
        if self._is_whole():
            return self._as_original(part)
        oriented = np.zeros(self._oriented_shape(), array.dtype)
        oriented[_slices(self.start, self.stop)] = part
        return self._as_original(oriented)

    def _as_original(self, array: np.ndarray) -> np.ndarray:
        """Undo `oriented`."""
        extra = range(len(self.axes), array.ndim)
        array = array[tuple(slice(None, None, -1 if flip else 1) for flip in self.flips)]
        return np.ascontiguousarray(array.transpose(*np.argsort(self.axes), *extra))

    def _inside(self) -> tuple[slice, ...]:
        return tuple(slice(b, b + n) for b, n in zip(self.before, self.scaled, strict=True))

    def _oriented_shape(self) -> tuple[int, ...]:
        return tuple(self.original[axis] for axis in self.axes)

    def _is_whole(self) -> bool:
        return not any(self.start) and self.stop == self._oriented_shape()

    def _box_map(self) -> tuple[np.ndarray, np.ndarray]:
        """(scale, shift) in float64 for x0, y0, x1, y1; pictures only."""
        rows, columns = (
            (n / (b - a), p - a * n / (b - a))
            for n, a, b, p in zip(self.scaled, self.start, self.stop, self.before, strict=True)
        )
        return np.array([columns[0], rows[0]] * 2), np.array([columns[1], rows[1]] * 2)


def orientation(affine: np.ndarray) -> tuple[tuple[int, ...], tuple[bool, ...]]:
    """(axes, flips) that bring a volume closest to plane = inferior to superior, row = anterior to posterior,
    column = right to left.

    Args:
        affine: (4, 4), from (plane, row, column, 1) to RAS+ mm.
    """
    return _orientation(np.asarray(affine, float)[:3, :3].tobytes())


@lru_cache
def _orientation(axes_of: bytes) -> tuple[tuple[int, ...], tuple[bool, ...]]:
    """Of the nine float64 of an affine that turn and scale; most volumes of a set lie alike."""
    from nibabel.orientations import axcodes2ornt, io_orientation, ornt_transform

    affine = np.eye(4)
    affine[:3, :3] = np.frombuffer(axes_of).reshape(3, 3)
    to_axial = ornt_transform(io_orientation(affine), axcodes2ornt(AXIAL))
    axes = np.argsort(to_axial[:, 0]).astype(int)
    return tuple(int(axis) for axis in axes), tuple(bool(to_axial[axis, 1] < 0) for axis in axes)


def foreground_box(array: np.ndarray) -> tuple[tuple[int, ...], tuple[int, ...]]:
    """(start, stop) of the part of (spatial + channel) that is above the lowest value of its channel.

    A constant image has no foreground and is kept whole.
    """
    above = np.zeros(array.shape[:-1], bool)
    for channel in range(array.shape[-1]):
        values = array[..., channel]
        above |= values > values.min()
    if not above.any():
        return (0,) * above.ndim, above.shape
    ends = []
    for axis in range(above.ndim):
        others = tuple(other for other in range(above.ndim) if other != axis)
        filled = np.flatnonzero(above.any(axis=others))
        ends.append((int(filled[0]), int(filled[-1]) + 1))
    return tuple(a for a, _ in ends), tuple(b for _, b in ends)


def spaced_shape(shape: Sequence[int], spacing: Sequence[float], target: Sequence[float]) -> tuple[int, ...]:
    """Shape after resampling from one spacing to another, at least one voxel per axis."""
    return tuple(max(1, round(n * a / b)) for n, a, b in zip(shape, spacing, target, strict=True))


def fitted_shape(shape: Sequence[int], size: Sequence[int]) -> tuple[int, ...]:
    """The largest shape of the same proportions within `size`."""
    scale = min(limit / n for n, limit in zip(shape, size, strict=True))
    return tuple(min(limit, max(1, round(n * scale))) for n, limit in zip(shape, size, strict=True))


def resize(array: np.ndarray, shape: Sequence[int]) -> np.ndarray:
    """Resample (spatial + channel) linearly to this spatial shape; shrinking averages, so nothing aliases.

    Returns float32, or the array itself when the shape is already right. Pillow's filter does one axis at a
    time; when enlarging it equals `scipy.ndimage.zoom(order=1, grid_mode=True, mode="nearest")` and is two to
    three times as fast.
    """
    for axis in sorted(range(len(shape)), key=lambda axis: shape[axis] / array.shape[axis]):
        if array.shape[axis] != shape[axis]:
            array = _resize_axis(array, axis, shape[axis])
    return array


def _resize_axis(array: np.ndarray, axis: int, length: int) -> np.ndarray:
    """In parts where it is large, since every step here is a copy."""
    other = 1 if axis == 0 else 0
    steps = min(array.shape[other], array.nbytes // PART_BYTES)
    if steps < 2:
        return _resized(array, axis, length)
    out = np.empty((*array.shape[:axis], length, *array.shape[axis + 1 :]), np.float32)
    for part, place in zip(
        np.array_split(array, steps, other), np.array_split(out, steps, other), strict=True
    ):
        place[...] = _resized(part, axis, length)
    return out


def _resized(array: np.ndarray, axis: int, length: int) -> np.ndarray:
    moved = np.moveaxis(array, axis, 0).astype(np.float32, copy=False)
    flat = Pillow.fromarray(np.ascontiguousarray(moved).reshape(moved.shape[0], -1))
    resized = np.asarray(flat.resize((flat.width, length), Pillow.Resampling.BILINEAR))
    return np.moveaxis(resized.reshape(length, *moved.shape[1:]), 0, axis)


def resize_labels(mask: np.ndarray, shape: Sequence[int], ignore: int | None = None) -> np.ndarray:
    """Resample label ids: every label's indicator linearly, then the largest wins (ties: the smaller id).

    Args:
        ignore: Id of voxels that nobody labelled. The labels are chosen among the others, and a voxel is ignored where
            they have too small a share: less than half of what a single labelled voxel or plane keeps when it is
            shrunk, so that sparse annotation (one slice of ten, scribbles) does not vanish on a coarser grid.
    """
    if tuple(mask.shape) == tuple(shape):
        return mask
    ids = np.unique(mask)
    if ignore is not None and ignore in ids and len(ids) > 1:
        known = resize((mask != ignore).astype(np.float32)[..., None], shape)[..., 0]
        shrunk = max(1.0, *(n / m for n, m in zip(mask.shape, shape, strict=True)))
        # Unlabelled voxels have no share in any label, so the largest one is that of a label that somebody drew.
        out = _largest_share(mask, ids[ids != ignore], shape)
        out[known < 0.5 / shrunk] = ignore
        return out
    return _largest_share(mask, ids, shape)


def _largest_share(mask: np.ndarray, ids: np.ndarray, shape: Sequence[int]) -> np.ndarray:
    out = np.full(shape, ids[0], mask.dtype)
    best = None
    for value in ids:
        share = resize((mask == value).astype(np.float32)[..., None], shape)[..., 0]
        if best is None:
            best = share.copy()
            continue
        wins = share > best
        out[wins] = value
        np.maximum(best, share, out=best)
    return out


def _nearest(length: int, new_length: int) -> np.ndarray:
    return np.minimum(((np.arange(new_length) + 0.5) * length / new_length).astype(int), length - 1)


def _slices(start: Sequence[int], stop: Sequence[int]) -> tuple[slice, ...]:
    return tuple(slice(a, b) for a, b in zip(start, stop, strict=True))


def _mapped(boxes: Boxes, scale: np.ndarray, shift: np.ndarray) -> Boxes:
    corners = (boxes.corners.astype(np.float64) * scale + shift).astype(np.float32)
    return Boxes(corners, boxes.classes, boxes.scores, boxes.crowd)
