"""The objects in masks as boxes: connected parts, or instances that have a number or a file of their own."""

from collections.abc import Sequence
from dataclasses import dataclass, replace
from typing import Literal

import numpy as np

from medcli.boxes import Boxes
from medcli.case import Case
from medcli.config.schema import Data
from medcli.image import Image
from medcli.preprocessing.labels import MANY, LabelRule
from medcli.preprocessing.plan import Plan
from medcli.volume_boxes import VolumeBoxes

Objects = Literal["parts", "instances"]


@dataclass(frozen=True, eq=False)
class Parts:
    """Connected parts of the masks of one case (touching by face, edge or corner).

    Attributes:
        file: (n,) int, which of the case's masks.
        value: (n,) int, in that file.
        start, stop: (n, axes) int, half-open, in pixels of the image and the order of its axes.
    """

    file: np.ndarray
    value: np.ndarray
    start: np.ndarray
    stop: np.ndarray

    @classmethod
    def of(cls, rows: Sequence[Sequence[int]], axes: int) -> "Parts":
        """From rows (file, value, *start, *stop)."""
        table = np.asarray(rows, int).reshape(-1, 2 + 2 * axes)
        return cls(table[:, 0], table[:, 1], table[:, 2 : 2 + axes], table[:, 2 + axes :])

    @property
    def rows(self) -> list[list[int]]:
        return np.column_stack([self.file, self.value, self.start, self.stop]).tolist()

    def joined(self, key: np.ndarray) -> "Parts":
        """Parts of equal key (n,) as one; in the order of the keys."""
        keys, first, group = np.unique(key, return_index=True, return_inverse=True)
        start = np.full((len(keys), self.start.shape[1]), np.iinfo(int).max)
        stop = np.zeros_like(start)
        np.minimum.at(start, group, self.start)
        np.maximum.at(stop, group, self.stop)
        return Parts(self.file[first], self.value[first], start, stop)


def parts_of(masks: Sequence[np.ndarray], *, values_differ: bool = True) -> Parts:
    """Of masks of one shape, 0 and below is background.

    Args:
        values_differ: Voxels of different values that touch are of different parts; else all above zero is value 1.
    """
    from scipy.ndimage import find_objects
    from skimage.measure import label

    axes = masks[0].ndim if masks else 2
    rows = []
    for file, mask in enumerate(masks):
        shown = np.where(mask > 0, mask, 0) if values_differ else (mask > 0).astype(np.uint8)
        numbered = label(shown, background=0, connectivity=mask.ndim)
        for number, box in enumerate(find_objects(numbered), start=1):
            inside = numbered[box] == number
            value = int(shown[box][inside][0])
            rows.append([file, value, *(side.start for side in box), *(side.stop for side in box)])
    return Parts.of(rows, axes)


def parts_in(case: Case, image: Image, *, values_differ: bool = True) -> Parts:
    """Of the case's masks, each on the image's grid; FormatError when one is unreadable or does not fit."""
    return parts_of(_masks_of(case, image), values_differ=values_differ)


def _masks_of(case: Case, image: Image) -> list[np.ndarray]:
    from medcli.io.masks import read_mask
    from medcli.io.planes import read_mask_planes, volume_of

    planes = bool(case.images) and volume_of(case.images[0]) is not None
    return read_mask_planes(case) if planes else [read_mask([source], image) for source in case.masks]


def numbers_in(case: Case, image: Image, plan: Plan) -> np.ndarray:
    """uint16 (shape of the picture): i + 1 where object i of `boxes_of` lies, 0 where there is none.

    Where objects of several masks overlap the last one shows. Objects beyond 65,535 have no number.
    """
    from skimage.measure import label

    masks = _masks_of(case, image)
    rows: list[list[int]] = []
    numbered = np.zeros(masks[0].shape, np.int64)
    for file, mask in enumerate(masks):
        shown = (mask > 0).astype(np.uint8) if merged(plan) else np.where(mask > 0, mask, 0)
        parts = label(shown, background=0, connectivity=mask.ndim)
        numbered = np.where(parts > 0, parts + len(rows), numbered)
        places = np.unique(parts.ravel(), return_index=True)
        rows += [
            [file, int(shown.ravel()[at]), *[0] * 2 * mask.ndim]
            for number, at in zip(*places, strict=True)
            if number
        ]
    parts_found = Parts.of(rows, masks[0].ndim)
    index = _classes(case, parts_found, plan)
    kept = index >= 0
    order = np.zeros(len(rows) + 1, np.int64)
    if plan.objects == "instances":
        order[1:][kept] = np.unique(_keys(_taken(parts_found, kept)), return_inverse=True)[1] + 1
    else:
        order[1:][kept] = np.arange(1, int(kept.sum()) + 1)
    order[order > np.iinfo(np.uint16).max] = 0
    return order[numbered].astype(np.uint16)


def kind_of_objects(data: Data, values: Sequence[int], most_files: int) -> tuple[Objects, str]:
    """What one object is, and why.

    Args:
        values: All values above zero in the masks.
        most_files: Masks of the case that has most, for one class.
    """
    if data.labels_are == "instances":
        return "instances", "data.labels_are: instances, so every value of a mask is one object"
    if data.labels_are != "auto":
        return "parts", f"data.labels_are: {data.labels_are}, so every connected part is one object"
    if most_files > 1:
        return "instances", f"up to {most_files} masks per case and class, so each is one object"
    if len(values) > MANY and (not data.classes or len(data.classes) == 1):
        return "instances", f"{len(values)} different values for one class, so every value is one object"
    return "parts", "every connected part of a class is one object"


def boxes_of(case: Case, parts: Parts, plan: Plan | LabelRule) -> Boxes:
    """One box per object; values that no class claims are none.

    Args:
        parts: Of the case, with `values_differ` unless `merged(plan)`.
        plan: Or the rule that goes into it.
    """
    parts, index = _objects(case, parts, plan)
    return Boxes.of(np.concatenate([parts.start[:, ::-1], parts.stop[:, ::-1]], axis=1), index)


def volume_truth(case: Case, plan: Plan) -> VolumeBoxes:
    """Of the whole volume that a plane's case is from."""
    from medcli.io.planes import read_volume_masks

    parts, index = _objects(case, parts_of(read_volume_masks(case), values_differ=not merged(plan)), plan)
    return VolumeBoxes.of(np.concatenate([parts.start, parts.stop], axis=1), index)


def _objects(case: Case, parts: Parts, plan: Plan | LabelRule) -> tuple[Parts, np.ndarray]:
    """Parts and the class of each, parts of one instance as one."""
    index = _classes(case, parts, plan)
    parts, index = _taken(parts, index >= 0), index[index >= 0]
    if plan.objects == "instances":
        key = _keys(parts)
        index = index[np.unique(key, return_index=True)[1]]
        parts = parts.joined(key)
    return parts, index


def _keys(parts: Parts) -> np.ndarray:
    """(n,) equal for parts of one instance: the same value in the same file."""
    return parts.file * (int(parts.value.max(initial=0)) + 1) + parts.value


def merged(plan: Plan | LabelRule) -> bool:
    """Everything above zero is alike, so that touching values are one part."""
    return plan.objects == "parts" and not plan.label_ids


def with_boxes(case: Case, image: Image, plan: Plan) -> Case:
    """With the boxes of the objects in its masks, where they are its annotation.

    Raises FormatError when a mask is unreadable or does not fit.
    """
    if case.boxes is not None or not case.masks or plan.task != "detection":
        return case
    parts = parts_in(case, image, values_differ=not merged(plan))
    return replace(case, boxes=boxes_of(case, parts, plan))


def _classes(case: Case, parts: Parts, plan: Plan | LabelRule) -> np.ndarray:
    """(n,) index of the class of every part; -1: of none."""
    if case.classes:
        known = np.array([plan.classes.index(name) for name in case.classes], int)
        return known[parts.file]
    if not plan.label_ids:
        return np.zeros(len(parts.file), int)
    index = np.full(len(parts.file), -1)
    for number, values in enumerate(plan.label_ids):
        index[np.isin(parts.value, values)] = number
    return index


def _taken(parts: Parts, kept: np.ndarray) -> Parts:
    return Parts(parts.file[kept], parts.value[kept], parts.start[kept], parts.stop[kept])
