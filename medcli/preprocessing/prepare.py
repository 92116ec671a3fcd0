"""The one function that prepares an image, in training and in prediction alike."""

from dataclasses import replace

import numpy as np

from medcli.errors import DataError
from medcli.image import Image
from medcli.preprocessing.coarse import coarse_image
from medcli.preprocessing.geometry import (
    Placement,
    fitted_shape,
    foreground_box,
    orientation,
    resize,
    spaced_shape,
)
from medcli.preprocessing.intensity import enhanced, normalized, to_color
from medcli.preprocessing.plan import Plan


def prepare(image: Image, plan: Plan) -> tuple[np.ndarray, Placement]:
    """Reorient, crop, resample or resize, enhance and normalise one image as the plan says.

    Returns:
        The prepared array, float32 (spatial + plan.channels), and the placement, which takes labels and boxes
        to its grid and predictions back to the image's own.

    Raises:
        DataError: The image has another number of axes or channels than the plan is for.
    """
    if image.ndim != plan.dimensions:
        raise DataError(
            f"The plan is for {_kind(plan.dimensions)}, this image is one of {_kind(image.ndim)} "
            f"(shape {'x'.join(map(str, image.shape))}); give images of the kind that was trained on."
        )
    array = to_color(image.array, plan.color)
    placement = place(image, array, plan)
    array = resize(finite(placement.cut(array)), placement.scaled)
    array = normalized(enhanced(array, plan), plan)
    if plan.coarser is not None:
        array = coarse_image(array, plan.coarser)
        shape = array.shape[:-1]
        placement = replace(placement, scaled=shape, prepared=shape)
    return np.ascontiguousarray(placement.padded(array)), placement


def place(image: Image, array: np.ndarray, plan: Plan) -> Placement:
    """Decide axis order, crop, resampling and padding; `array` is the image's with its colours as planned."""
    axes: tuple[int, ...] = tuple(range(image.ndim))
    flips: tuple[bool, ...] = (False,) * image.ndim
    if plan.reorient and image.affine is not None:
        axes, flips = orientation(image.affine)
    oriented = tuple(image.shape[axis] for axis in axes)
    start, stop = (0,) * image.ndim, oriented
    if plan.crop:
        whole = Placement(image.shape, axes, flips, start, stop, oriented, start, oriented)
        start, stop = foreground_box(whole.oriented(array))
    kept = tuple(b - a for a, b in zip(start, stop, strict=True))
    scaled = kept
    if plan.spacing is not None and image.spacing is not None:
        scaled = spaced_shape(kept, [image.spacing[axis] for axis in axes], plan.spacing)
    prepared = scaled
    if plan.size is not None:
        prepared = tuple(plan.size)
        scaled = fitted_shape(scaled, prepared) if plan.keep_aspect else prepared
    before = tuple((n - m) // 2 for n, m in zip(prepared, scaled, strict=True))
    return Placement(image.shape, axes, flips, start, stop, scaled, before, prepared)


def finite(array: np.ndarray) -> np.ndarray:
    """float32 with the lowest finite value in place of NaN and infinity (0 when nothing is finite)."""
    array = array.astype(np.float32, copy=False)
    usable = np.isfinite(array)
    if usable.all():
        return array
    lowest = array[usable].min() if usable.any() else np.float32(0)
    return np.where(usable, array, lowest)


def _kind(dimensions: int) -> str:
    return "pictures (2 axes)" if dimensions == 2 else f"volumes ({dimensions} axes)"
