"""Where in a prepared volume there is something to look at: the body, not the air or the padding around it."""

import numpy as np

from medcli.preprocessing.plan import Intensity, Plan

AIR_HU = -500.0
"""Hounsfield units between air with its noise and the skin."""
ONLY_HU = -200.0
"""A lower limit of the values below this only Hounsfield units have."""
MARGIN = 8
"""Voxels around the content that count as content."""


def content_mask(array: np.ndarray, plan: Plan) -> np.ndarray | None:
    """bool (spatial): True where there is content, and everything that content encloses within its plane.

    What is no content holds the lowest value of every channel, to the bit: padding, a border of zeros, air that the
    window cuts off. In CT with a wider window air itself is told by its value. A place counts as enclosed when there is
    content on both sides of it along both axes of its plane, so lungs and bowel belong to the body.

    Args:
        array: (spatial + channel), prepared by this plan.

    Returns:
        None when all or nothing is content, so that nothing can be left out.
    """
    limits = [_limit(array[..., channel], rule, plan) for channel, rule in enumerate(plan.intensity)]
    found = np.zeros(array.shape[:-1], bool)
    for plane, mask in zip(array, found, strict=True) if array.ndim == 4 else [(array, found)]:
        for channel, limit in enumerate(limits):
            mask |= plane[..., channel] > limit
        mask |= _enclosed(mask)
    return found if found.any() and not found.all() else None


def _limit(values: np.ndarray, rule: Intensity, plan: Plan) -> float:
    """The highest value of what is no content."""
    lowest = float(values.min())
    if rule.kind != "fixed" or rule.low is None or rule.low > ONLY_HU or plan.contrast != "none":
        return lowest
    return max(lowest, (AIR_HU - rule.mean) / rule.std)


def _enclosed(mask: np.ndarray) -> np.ndarray:
    """True where (row, column) has content before and behind it along both axes."""
    inside = np.ones_like(mask)
    for axis in (0, 1):
        inside &= np.logical_or.accumulate(mask, axis)
        inside &= np.flip(np.logical_or.accumulate(np.flip(mask, axis), axis), axis)
    return inside
