"""Numbered discs and balls, and the maps that a perfect network would give."""

import numpy as np

from medcli.datasets.objects import depths


def discs(shape, places, radius):
    grid = np.indices(shape)
    ids = np.zeros(shape, int)
    for number, place in enumerate(places, start=1):
        far = sum((axis - middle) ** 2 for axis, middle in zip(grid, place, strict=True)) > radius**2
        ids[~far & (ids == 0)] = number
    return ids


def maps_of(ids, classes=None):
    kinds = np.concatenate([[0], classes if classes is not None else np.ones(ids.max(), int)])[ids]
    chances = np.eye(kinds.max() + 1, dtype=np.float32)[kinds]
    return np.concatenate([chances, depths(ids)[..., None]], axis=-1)
