"""Single objects in masks: numbers of their own, kept with the class of every voxel in one array.

A packed array is int32: the class (0 = background, 255 = ignored) in the lowest 8 bits, above them the number of the
object, 1, 2, ... within its case (0: none). A nearest-neighbour warp moves both at once.
"""

import numpy as np

from medcli.case import Case
from medcli.errors import DataError
from medcli.image import Image
from medcli.io.masks import read_mask
from medcli.preprocessing.geometry import Placement
from medcli.preprocessing.labels import IGNORE, map_labels
from medcli.preprocessing.plan import Plan

BITS = 8
MOST = 2 ** (31 - BITS) - 1
"""Objects that can be told apart in one case."""


def packed(classes: np.ndarray, numbers: np.ndarray) -> np.ndarray:
    """int32 of class ids and object numbers; where there is no object of a class there is no number either."""
    if numbers.size and int(numbers.max()) > MOST:
        raise DataError(f"Expected at most {MOST} objects in a case, found {int(numbers.max())}.")
    known = (classes > 0) & (classes != IGNORE)
    return classes.astype(np.int32) | (np.where(known, numbers, 0).astype(np.int32) << BITS)


def classes_of(label: np.ndarray) -> np.ndarray:
    """uint8 class ids of a packed array; of an array of class ids itself."""
    return label if label.dtype == np.uint8 else (label & (2**BITS - 1)).astype(np.uint8)


def numbers_of(label: np.ndarray) -> np.ndarray:
    """int32 object numbers of a packed array."""
    return label >> BITS


def true_objects(label: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
    """Consecutive numbers (spatial) of the objects of a packed array, and their classes (n,) by most voxels."""
    numbers, classes = consecutive(numbers_of(label)), classes_of(label)
    inside, count = numbers > 0, int(numbers.max(initial=0))
    cells = numbers[inside].astype(np.int64) << BITS | classes[inside]
    table = np.bincount(cells, minlength=(count + 1) << BITS).reshape(count + 1, -1)
    return numbers, table[1:].argmax(axis=1).astype(np.uint8)


def read_objects(case: Case, image: Image, plan: Plan) -> np.ndarray:
    """The true objects of a case on the grid of its image, packed.

    Raises FormatError when a mask cannot be read or lies on another grid.
    """
    if (
        plan.objects == "instances" and len(case.masks) > 1 and plan.label_ids
    ):  # a mask per class, each with numbers
        file, numbers = np.zeros(image.shape, np.int32), np.zeros(image.shape, np.int32)
        for index, source in enumerate(case.masks, start=1):
            ids = consecutive(read_mask([source], image))
            numbers = np.where(ids > 0, ids + numbers.max(initial=0), numbers)
            file[ids > 0] = index
        return packed(map_labels(file, plan), consecutive(numbers))
    mask = read_mask(case.masks, image)
    classes = map_labels(mask, plan)
    return packed(classes, consecutive(mask) if plan.objects == "instances" else parts(classes))


def consecutive(ids: np.ndarray) -> np.ndarray:
    """int32 numbers 1, 2, ... of the ids above zero, in their order; else 0."""
    known, number = np.unique(ids, return_inverse=True)
    rank = np.cumsum(known > 0) * (known > 0)
    return rank.astype(np.int32)[number].reshape(ids.shape)


def parts(classes: np.ndarray) -> np.ndarray:
    """int32 numbers of the connected parts of every class (touching by face, edge or corner)."""
    from scipy import ndimage

    numbers = np.zeros(classes.shape, np.int32)
    for value in np.unique(classes[(classes > 0) & (classes != IGNORE)]):
        here, _ = ndimage.label(classes == value, np.ones((3,) * classes.ndim))
        numbers[here > 0] = here[here > 0] + numbers.max(initial=0)
    return numbers


def placed(label: np.ndarray, placement: Placement) -> np.ndarray:
    """Bring a packed array from the image's grid to the prepared one.

    Where it is resampled a voxel gets the class with the largest share in it, and the number of the nearest object.
    """
    cut = placement.cut(label)
    if cut.shape == placement.scaled:
        return placement.padded(np.ascontiguousarray(cut))
    classes = placement.labels(classes_of(label), IGNORE if (classes_of(cut) == IGNORE).any() else None)
    return packed(classes, fitted(numbers_of(placement.nearest(label)), (classes > 0) & (classes != IGNORE)))


def fitted(numbers: np.ndarray, region: np.ndarray, reach: int | None = None) -> np.ndarray:
    """Objects made to fill a region: cut where they pass it, grown into it voxel by voxel where it is empty.

    Args:
        numbers: Of objects, 0 = none.
        region: bool.
        reach: Steps of growing; None: until nothing changes.
    """
    from scipy import ndimage

    kept = np.where(region, numbers, 0)
    left = np.count_nonzero(region & (kept == 0))
    while left and reach != 0:
        grown = ndimage.maximum_filter(kept, 3)
        kept = np.where(region & (kept == 0), grown, kept)
        before, left = left, np.count_nonzero(region & (kept == 0))
        if left == before:
            break
        reach = None if reach is None else reach - 1
    return kept
