"""Single objects as rows of a table: where they are, how large, how sure."""

from collections.abc import Sequence
from typing import Any

import numpy as np
from scipy import ndimage

from medcli.instances.decode import Objects

AXES = {2: ("row", "column"), 3: ("plane", "row", "column")}


def columns(dimensions: int) -> list[str]:
    """Of a picture or a volume, without the case."""
    axes = AXES[dimensions]
    sizes = ["area_px", "area_mm2"] if dimensions == 2 else ["volume_voxels", "volume_mm3"]
    box = [f"{axis}_{end}" for axis in axes for end in ("start", "stop")]
    return ["object", "class", "probability", *sizes, *axes, *box]


def object_rows(
    objects: Objects, classes: Sequence[str], spacing: Sequence[float] | None
) -> list[dict[str, Any]]:
    """One row per object, in the order of their numbers.

    Centres and boxes are in voxels of the image (the centre of the first voxel is 0, boxes are half-open); sizes in
    mm² or mm³ are empty where the spacing is unknown.
    """
    axes = AXES[objects.ids.ndim]
    where = np.nonzero(objects.ids)
    number = objects.ids[where]
    sizes = np.bincount(number, minlength=len(objects) + 1)
    centres = [np.bincount(number, part, len(objects) + 1) / np.maximum(sizes, 1) for part in where]
    one = float(np.prod(spacing)) if spacing is not None else None
    names = columns(objects.ids.ndim)
    rows = []
    for index, box in enumerate(ndimage.find_objects(objects.ids, len(objects)), start=1):
        if box is None:
            continue
        size = int(sizes[index])
        ends = [end for side in box for end in (side.start, side.stop)]
        values: list[Any] = [
            index,
            classes[objects.classes[index - 1] - 1],
            f"{objects.scores[index - 1]:.4f}",
            size,
            "" if one is None else f"{size * one:.6g}",
            *(f"{centres[axis][index]:.2f}" for axis in range(len(axes))),
            *ends,
        ]
        rows.append(dict(zip(names, values, strict=True)))
    return rows
