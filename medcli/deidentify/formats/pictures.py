"""Burned-in text in the samples of a picture: found on what a person sees, blanked in what is stored."""

from typing import TypeAlias

import numpy as np

Box: TypeAlias = tuple[int, int, int, int]


def blanked(
    samples: np.ndarray, *, palette: np.ndarray | None = None, maximum: int | None = None
) -> np.ndarray | None:
    """The samples with burned-in text blanked; None when there is none.

    Args:
        samples: (row, column) or (row, column, channel), grey or RGB, perhaps with opacity as last channel.
        palette: (colours, 3) uint8: the samples are indices into it.
        maximum: The largest value that a sample can have; None: that of its type, or of the picture for floats.
    """
    boxes = _boxes(samples, palette, maximum)
    if not boxes:
        return None
    if palette is not None:
        return _filled(samples, boxes, int(palette.astype(int).sum(axis=1).argmin()))
    from medcli.deidentify.pixels import blank

    if samples.ndim == 2:
        return np.asarray(blank(samples, boxes), samples.dtype)
    new = samples.copy()
    colours = slice(0, 3) if samples.shape[2] > 2 else 0
    new[..., colours] = blank(np.ascontiguousarray(samples[..., colours]), boxes)
    if samples.shape[2] in (2, 4):
        new[..., -1] = _filled(samples[..., -1], boxes, samples[..., -1].max())
    return new


def _boxes(samples: np.ndarray, palette: np.ndarray | None, maximum: int | None) -> list[Box]:
    from medcli.deidentify.pixels import find_text

    if palette is not None:
        colours = np.zeros((256, 3), np.uint8)
        colours[: len(palette)] = palette
        return list(find_text(colours[samples]))
    shown = _eight_bits(samples, maximum)
    if shown.ndim == 2:
        return list(find_text(shown))
    if shown.shape[2] in (1, 2):
        boxes = list(find_text(np.ascontiguousarray(shown[..., 0])))
    else:
        boxes = list(find_text(np.ascontiguousarray(shown[..., :3])))
    if shown.shape[2] in (2, 4) and np.ptp(shown[..., -1]):
        boxes += find_text(np.ascontiguousarray(shown[..., -1]))
    return boxes


def _eight_bits(samples: np.ndarray, maximum: int | None) -> np.ndarray:
    if samples.dtype == np.uint8 and maximum in (None, 255):
        return samples
    values = np.nan_to_num(samples.astype(np.float32))
    low, high = (0.0, float(maximum)) if maximum and maximum < 256 else (values.min(), values.max())
    return np.asarray((values - low) * (255 / max(high - low, 1e-9)), np.uint8)


def _filled(samples: np.ndarray, boxes: list[Box], value: int) -> np.ndarray:
    new = samples.copy()
    for left, top, right, bottom in boxes:
        new[top:bottom, left:right] = value
    return new
