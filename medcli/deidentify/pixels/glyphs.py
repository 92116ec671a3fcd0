"""Strokes that may be letters, and rows of them, by arithmetic on a grey picture alone."""

from dataclasses import dataclass, fields

import numpy as np
from scipy import ndimage
from scipy.sparse import coo_array
from scipy.sparse.csgraph import connected_components

from medcli.deidentify.pixels.boxes import Box

_WIDEST_STROKE = 11
_TALLEST, _LONGEST = 72, 300
_LEAST_HEIGHT, _LEAST_AREA, _LEAST_FILL = 5, 5, 0.08
_MOST = 1500
_EIGHT = np.ones((3, 3), int)


@dataclass(frozen=True)
class Glyphs:
    """Connected strokes, one number of each kind per stroke.

    Attributes:
        x0, y0, x1, y1: Their boxes, half open.
        area: In pixels.
        level: Mean grey of the core, which is what stands out by at least 0.7 of the strongest pixel.
        contrast: By how much the strongest pixel stands out.
        unevenness: Deviation of the core's grey, as a share of the contrast.
        core: The core's share of the area; large where edges are hard.
        thickness: Area over boundary.
    """

    x0: np.ndarray
    y0: np.ndarray
    x1: np.ndarray
    y1: np.ndarray
    area: np.ndarray
    level: np.ndarray
    contrast: np.ndarray
    unevenness: np.ndarray
    core: np.ndarray
    thickness: np.ndarray

    def __len__(self) -> int:
        return len(self.x0)

    @property
    def width(self) -> np.ndarray:
        return self.x1 - self.x0

    @property
    def height(self) -> np.ndarray:
        return self.y1 - self.y0

    @property
    def box(self) -> Box:
        return int(self.x0.min()), int(self.y0.min()), int(self.x1.max()), int(self.y1.max())

    def take(self, chosen: np.ndarray) -> "Glyphs":
        return Glyphs(*(getattr(self, field.name)[chosen] for field in fields(self)))

    def turned(self) -> "Glyphs":
        """With rows and columns exchanged."""
        rest = [getattr(self, field.name) for field in fields(self)[4:]]
        return Glyphs(self.y0, self.x0, self.y1, self.x1, *rest)


def relief(grey: np.ndarray) -> list[np.ndarray]:
    """By how much thin bright, then thin dark structures of a uint8 picture stand out (top-hat transforms)."""
    opened = _slide(_slide(grey, np.minimum), np.maximum)
    closed = _slide(_slide(grey, np.maximum), np.minimum)
    return [grey - opened, closed - grey]


def _slide(values: np.ndarray, extreme: np.ufunc) -> np.ndarray:
    """The least or largest value in the square window around each pixel, by doubling of shifts."""
    for axis in (0, 1):
        reach = _WIDEST_STROKE // 2
        padding = [(0, 0), (0, 0)]
        padding[axis] = (reach, reach)
        wide = np.pad(values, padding, mode="edge")
        covered = 1
        while covered < _WIDEST_STROKE:
            step = min(covered, _WIDEST_STROKE - covered)
            length = wide.shape[axis] - step
            wide = extreme(_part(wide, axis, 0, length), _part(wide, axis, step, length))
            covered += step
        values = wide
    return values


def _part(values: np.ndarray, axis: int, start: int, length: int) -> np.ndarray:
    return values[start : start + length] if axis == 0 else values[:, start : start + length]


def strokes(grey: np.ndarray, raised: np.ndarray, threshold: int) -> Glyphs:
    """What stands out by more than the threshold and has the size of a letter or of a few joined ones."""
    mask = raised > threshold
    labels, count = ndimage.label(mask, _EIGHT)
    parts = ndimage.find_objects(labels)
    bounds = np.array([(p[1].start, p[0].start, p[1].stop, p[0].stop) for p in parts], int).reshape(-1, 4)
    x0, y0, x1, y1 = bounds.T
    area = np.bincount(labels.ravel(), minlength=count + 1)[1:]
    width, height = x1 - x0, y1 - y0
    short, long = np.minimum(width, height), np.maximum(width, height)
    fit = (long >= _LEAST_HEIGHT) & (short <= _TALLEST) & (long <= _LONGEST)
    fit &= (area >= _LEAST_AREA) & (area >= _LEAST_FILL * width * height)
    place = np.full(count + 1, -1)
    place[1:][fit] = np.arange(fit.sum())
    found = _measured(grey, raised, mask, place[labels], bounds[fit], area[fit])
    if len(found) > _MOST:
        found = found.take(np.argsort(-found.contrast, kind="stable")[:_MOST])
    return found


def _measured(
    grey: np.ndarray,
    raised: np.ndarray,
    mask: np.ndarray,
    place: np.ndarray,
    bounds: np.ndarray,
    area: np.ndarray,
) -> Glyphs:
    """`place`: the number of each pixel's stroke, -1 for none."""
    pixels = np.flatnonzero(place.ravel() >= 0)
    number, count = place.ravel()[pixels], len(area)
    height, values = raised.ravel()[pixels].astype(float), grey.ravel()[pixels].astype(float)
    contrast = np.zeros(count)
    np.maximum.at(contrast, number, height)
    core = height >= 0.7 * contrast[number]
    cores = np.bincount(number[core], minlength=count)
    level = np.bincount(number[core], values[core], minlength=count) / cores
    square = np.bincount(number[core], values[core] ** 2, minlength=count) / cores
    edge = ~_inner(mask).ravel()[pixels]
    boundary = np.bincount(number[edge], minlength=count)
    left, top, right, bottom = bounds.T
    return Glyphs(
        left,
        top,
        right,
        bottom,
        area,
        level,
        contrast,
        np.sqrt(np.maximum(square - level**2, 0)) / np.maximum(contrast, 1),
        cores / area,
        area / np.maximum(boundary, 1),
    )


def _inner(mask: np.ndarray) -> np.ndarray:
    """Pixels of a mask all of whose four neighbours are in it; the picture's edge counts as in it."""
    inner = mask.copy()
    inner[1:] &= mask[:-1]
    inner[:-1] &= mask[1:]
    inner[:, 1:] &= mask[:, :-1]
    inner[:, :-1] &= mask[:, 1:]
    return inner


def rows_of(glyphs: Glyphs) -> list[Glyphs]:
    """Groups of strokes beside each other, alike in height, grey and contrast, from left to right."""
    usual = (
        (glyphs.height >= _LEAST_HEIGHT) & (glyphs.height <= _TALLEST) & (glyphs.width <= 8 * glyphs.height)
    )
    glyphs = glyphs.take(np.flatnonzero(usual))
    glyphs = glyphs.take(np.argsort(glyphs.x0, kind="stable"))
    group = _groups(glyphs)
    order = np.argsort(group, kind="stable")
    ends = np.flatnonzero(np.diff(group[order])) + 1
    return [glyphs.take(members) for members in np.split(order, ends) if len(members) >= 3]


def _groups(glyphs: Glyphs) -> np.ndarray:
    """The number of each stroke's group."""
    ahead = np.searchsorted(glyphs.x0, glyphs.x1 + 1.1 * glyphs.height + 4)
    here = np.arange(len(glyphs))
    reach = np.maximum(ahead - here - 1, 0)
    first = np.repeat(here, reach)
    second = first + 1 + np.arange(len(first)) - np.repeat(np.cumsum(reach) - reach, reach)
    joined = _neighbours(glyphs.take(first), glyphs.take(second))
    first, second = first[joined], second[joined]
    links = coo_array((np.ones(len(first), bool), (first, second)), shape=(len(glyphs), len(glyphs)))
    return connected_components(links, directed=False)[1] if len(glyphs) else here


def _neighbours(left: Glyphs, right: Glyphs) -> np.ndarray:
    common = np.minimum(left.y1, right.y1) - np.maximum(left.y0, right.y0)
    low, high = np.minimum(left.height, right.height), np.maximum(left.height, right.height)
    faint, strong = np.minimum(left.contrast, right.contrast), np.maximum(left.contrast, right.contrast)
    beside = (common >= 0.55 * low) & (high <= 2 * low) & (right.x0 - left.x1 <= 0.9 * low + 3)
    return beside & (np.abs(left.level - right.level) <= 0.35 * strong) & (faint >= 0.5 * strong)
