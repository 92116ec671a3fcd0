"""From what the network says of every voxel to single objects."""

from dataclasses import dataclass

import numpy as np
from scipy import ndimage

STEPS = 100
"""The depth is looked at in as many steps; finer ones are noise."""


@dataclass(frozen=True)
class Rule:
    """How objects are made of maps; chosen on the validation part.

    Attributes:
        foreground: From which probability of any class on a voxel belongs to an object.
        contrast: An object's deepest voxel is at least so much deeper than the way from it to any other object.
        smallest: Objects of fewer voxels (of the prepared grid) are dropped.
    """

    foreground: float = 0.5
    contrast: float = 0.2
    smallest: int = 0


USUAL = Rule()
"""Where none was chosen."""


@dataclass(frozen=True, eq=False)
class Objects:
    """Attributes:
    ids: int32, 0 = background, else the number of the object from 1 on.
    classes: (n,) uint8, the class of each object as a label id from 1 on.
    scores: (n,) float32, mean probability of that class over its voxels.
    """

    ids: np.ndarray
    classes: np.ndarray
    scores: np.ndarray

    def __len__(self) -> int:
        return len(self.classes)

    @property
    def labels(self) -> np.ndarray:
        """uint8, the class of every voxel."""
        return np.concatenate([np.zeros(1, np.uint8), self.classes])[self.ids]

    @property
    def sizes(self) -> np.ndarray:
        """(n,) voxels."""
        return np.bincount(self.ids.ravel(), minlength=len(self) + 1)[1:]

    def take(self, chosen: np.ndarray) -> "Objects":
        """Some of them, numbered anew.

        Args:
            chosen: (n,) bool.
        """
        number = np.concatenate([[0], np.cumsum(chosen) * chosen]).astype(np.int32)
        return Objects(number[self.ids], self.classes[chosen], self.scores[chosen])


def decode(maps: np.ndarray, rule: Rule) -> Objects:
    """The foreground cut along the valleys of the depth (see `separated`).

    An object has the class with the largest sum of probabilities over its voxels.

    Args:
        maps: float32 (spatial + 1 + classes + 1): probabilities, background first, then the depth in 0..1.
    """
    mask, depth = maps[..., 0] < 1 - rule.foreground, maps[..., -1]
    ids, number = separated(mask, depth, rule.contrast)
    ids, number = _without_small(ids, number, rule.smallest)
    classes = range(1, maps.shape[-1] - 1)
    if not number:
        return Objects(ids, np.zeros(0, np.uint8), np.zeros(0, np.float32))
    inside = ids > 0
    where = ids[inside]
    sums = np.stack([np.bincount(where, maps[..., one][inside], number + 1)[1:] for one in classes], axis=-1)
    sizes = np.bincount(where, minlength=number + 1)[1:]
    scores = (sums.max(axis=-1) / sizes).astype(np.float32)
    return Objects(ids, (1 + sums.argmax(axis=-1)).astype(np.uint8), scores)


def separated(mask: np.ndarray, depth: np.ndarray, contrast: float) -> tuple[np.ndarray, int]:
    """Numbers (int32) of the objects of a mask, and how many there are.

    Every local maximum of the depth floods its basin (watershed); then basins are joined where the lower of two tops
    is less than `contrast` above the pass between them (its dynamics, Grimaud 1992; so the tops that are left are the
    h-maxima). Work in each connected part is done in its own box: time and memory go with what there is to separate.
    """
    from skimage.segmentation import watershed

    faces = ndimage.generate_binary_structure(mask.ndim, 1)
    regions, parts = ndimage.label(mask, np.ones((3,) * mask.ndim))
    depth = np.where(mask, np.rint(depth * STEPS), 0).astype(np.int16)
    tops, found = ndimage.label(mask & (ndimage.maximum_filter(depth, footprint=faces) == depth), faces)
    region_of = np.zeros(found + 1, np.int32)
    region_of[tops[tops > 0]] = regions[tops > 0]
    several = np.bincount(region_of[1:], minlength=parts + 1) > 1
    number = (np.cumsum(~several) - 1).astype(np.int32)  # of the background 0, of whole parts 1, 2, ...
    total = int(number[-1])
    ids = np.where(several, 0, number)[regions]
    boxes = ndimage.find_objects(regions)
    for part in np.flatnonzero(several):
        box = boxes[part - 1]
        here = regions[box] == part
        basins = watershed(-depth[box], np.where(here, tops[box], 0), mask=here)
        own = np.unique(basins[here])
        basins = np.where(here, np.searchsorted(own, basins) + 1, 0)
        label = joined(basins, depth[box], round(contrast * STEPS))
        ids[box][here] = total + label[basins[here]]
        total += int(label.max())
    return ids, total


def joined(basins: np.ndarray, depth: np.ndarray, contrast: int) -> np.ndarray:
    """(n + 1,) new number of every basin 1 to n, the same for those that are joined; 0 for 0.

    Args:
        basins: Numbers 0 (none) to n.
        depth: Of the same shape; passes are looked for between voxels that share a face.
        contrast: In units of the depth.
    """
    count = int(basins.max())
    peak = np.zeros(count + 1, int)
    np.maximum.at(peak, basins.ravel(), depth.ravel())
    group = list(range(count + 1))  # all that is connected above the pass in hand, named by its highest basin
    label = list(range(count + 1))
    for height, one, other in _passes(basins, depth):
        low, high = _root(group, one), _root(group, other)
        if low == high:
            continue
        if peak[low] > peak[high]:
            low, high = high, low
        group[low] = high
        if peak[low] - height < contrast:
            label[_root(label, one)] = _root(label, other)
    roots = np.array([_root(label, basin) for basin in range(count + 1)])
    return np.unique(roots, return_inverse=True)[1]


def _passes(basins: np.ndarray, depth: np.ndarray) -> list[tuple[int, int, int]]:
    """(height, basin, basin) of the highest pass between every two neighbours, from the highest on."""
    found = []
    for axis in range(basins.ndim):
        ids, values = np.moveaxis(basins, axis, 0), np.moveaxis(depth, axis, 0)
        at = (ids[:-1] != ids[1:]) & (ids[:-1] > 0) & (ids[1:] > 0)
        pair = np.stack([ids[:-1][at], ids[1:][at]])
        found.append(
            np.vstack([np.minimum(values[:-1][at], values[1:][at]), pair.min(axis=0), pair.max(axis=0)])
        )
    table = np.concatenate(found, axis=1)
    table = table[:, np.lexsort((table[2], table[1], -table[0]))]
    _, first = np.unique(table[1:], axis=1, return_index=True)
    return [tuple(column) for column in table[:, np.sort(first)].T.tolist()]


def _root(parents: list[int], node: int) -> int:
    while parents[node] != node:
        parents[node] = parents[parents[node]]
        node = parents[node]
    return node


def _without_small(ids: np.ndarray, number: int, smallest: int) -> tuple[np.ndarray, int]:
    if smallest <= 1 or not number:
        return ids, number
    kept = np.bincount(ids.ravel(), minlength=number + 1) >= smallest
    kept[0] = False
    return (np.cumsum(kept) * kept).astype(np.int32)[ids], int(kept.sum())
