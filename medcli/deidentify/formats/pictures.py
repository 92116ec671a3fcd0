"""Burned-in text in the samples of a picture: found on what a person sees, blanked in what is stored."""

from typing import TypeAlias

import numpy as np

Box: TypeAlias = tuple[int, int, int, int]


def blanked(samples: np.ndarray, *, palette: np.ndarray | None = None) -> np.ndarray | None:
    """The samples with burned-in text blanked; None when there is none.

    Args:
        samples: (row, column) or (row, column, channel) of any depth: grey or RGB, perhaps with opacity; or channels of
            which each is a picture of its own.
        palette: (colours, 3) uint8: the samples are indices into it.
    """
    from medcli.deidentify.pixels import blank  # detectors load only where they are asked for

    boxes = _boxes(samples, palette)
    if not boxes:
        return None
    if samples.ndim == 2 or samples.shape[2] > 4:
        return blank(samples, boxes, indices=palette is not None)
    new = samples.copy()
    colours = _colours(samples)
    new[..., colours] = blank(np.ascontiguousarray(samples[..., colours]), boxes)
    if samples.shape[2] in (2, 4):
        opacity = new[..., -1]
        for left, top, right, bottom in boxes:
            opacity[top:bottom, left:right] = samples[..., -1].max()
    return new


def _colours(samples: np.ndarray) -> slice | int:
    """The channels that are not opacity."""
    return slice(0, 3) if samples.shape[2] > 2 else 0


def _boxes(samples: np.ndarray, palette: np.ndarray | None) -> list[Box]:
    """Of what is seen, and of what the opacity alone may write."""
    from medcli.deidentify.pixels import find_text

    if palette is not None:
        colours = np.zeros((256, 3), np.uint8)
        colours[: len(palette)] = palette
        return list(find_text(colours[samples]))
    if samples.ndim == 2:
        return list(find_text(samples))
    if samples.shape[2] > 4:
        return [
            box for channel in np.moveaxis(samples, -1, 0) for box in find_text(np.ascontiguousarray(channel))
        ]
    boxes = list(find_text(np.ascontiguousarray(samples[..., _colours(samples)])))
    if samples.shape[2] in (2, 4) and np.ptp(samples[..., -1]):
        boxes += find_text(np.ascontiguousarray(samples[..., -1]))
    return boxes
