"""Rules about the objects of one label: which stay, and whether their holes are filled."""

from collections.abc import Sequence
from typing import Literal

import numpy as np
from pydantic import BaseModel, ConfigDict
from scipy import ndimage

Kind = Literal["none", "largest", "min_size", "fill_holes"]


class Rule(BaseModel):
    """Attributes:
    kind: none: all stays; largest: only the largest object; min_size: objects of at least `size`; fill_holes:
        background that the label encloses becomes the label. The parts of an object share faces.
    size: In mm3 (pictures mm2), or in voxels where the spacing of the training data is unknown.
    """

    model_config = ConfigDict(extra="forbid", frozen=True)
    kind: Kind = "none"
    size: float = 0.0


def apply_rules(labels: np.ndarray, rules: Sequence[Rule], voxel_size: float) -> np.ndarray:
    """Labels after the rule of each class (rules[i] is for label i + 1), in order; the array itself is changed.

    Memory holds the part of the image around one label at a time.

    Args:
        labels: uint8, 0 = background.
        voxel_size: Of one voxel, in the unit of the sizes.
    """
    if all(rule.kind == "none" for rule in rules):
        return labels
    boxes = ndimage.find_objects(labels, len(rules))
    for label, (rule, box) in enumerate(zip(rules, boxes, strict=True), start=1):
        if box is None or rule.kind == "none":
            continue
        part = labels[box]
        mask = part == label
        if rule.kind == "fill_holes":
            part[holes(mask) & (part == 0)] = label
        else:
            objects, sizes = sized_objects(mask)
            kept = kept_objects(sizes * voxel_size, rule)
            part[mask & ~kept[objects]] = 0
    return labels


def sized_objects(mask: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
    """Object of every voxel (0: none), and the number of voxels of each (n + 1,), where that of 0 is 0."""
    objects, number = ndimage.label(mask)
    sizes = np.bincount(objects.ravel(), minlength=number + 1)
    sizes[0] = 0
    return objects, sizes


def kept_objects(sizes: np.ndarray, rule: Rule) -> np.ndarray:
    """(n + 1,) bool: which objects of these sizes stay; of equally large ones the first."""
    if rule.kind == "largest":
        kept = np.zeros(len(sizes), bool)
        kept[sizes.argmax()] = len(sizes) > 1
        return kept
    return sizes >= rule.size


def holes(mask: np.ndarray) -> np.ndarray:
    """bool: what `mask` encloses, all sides taken together; the array ends where the mask does.

    As `scipy.ndimage.binary_fill_holes`, which takes as many passes as a hole is wide.
    """
    outside, number = ndimage.label(np.pad(~mask, 1, constant_values=True))
    inner = tuple(slice(1, -1) for _ in mask.shape)
    return (outside[inner] != outside[(0,) * mask.ndim]) & ~mask if number > 1 else np.zeros_like(mask)
