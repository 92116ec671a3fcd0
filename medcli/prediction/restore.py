"""From what the network says on the prepared grid to labels on the image's own grid."""

import numpy as np

from medcli.preprocessing.geometry import Placement

LARGE_BYTES = 2**30
"""Probabilities that would take more than this on the original grid are compared class by class."""


def restore_labels(probabilities: np.ndarray, placement: Placement) -> np.ndarray:
    """The most probable class at every voxel of the original grid (ties: the smaller id).

    Probabilities, not labels, are interpolated, so borders stay smooth. What was cropped away is background.

    Args:
        probabilities: float32, prepared shape + (1 + classes), background first.

    Returns:
        uint8, original shape.
    """
    kept = tuple(stop - start for start, stop in zip(placement.start, placement.stop, strict=True))
    if placement.scaled == kept:  # nothing was resampled, so nothing is interpolated
        return placement.restore_labels(most_probable(probabilities))
    if np.prod(placement.original, dtype=float) * probabilities.shape[-1] * 4 <= LARGE_BYTES:
        return most_probable(placement.restore_probabilities(probabilities))
    return _class_by_class(probabilities, placement)


def most_probable(probabilities: np.ndarray) -> np.ndarray:
    """uint8 labels of probabilities (spatial + class)."""
    if probabilities.shape[-1] == 2:  # many times faster than argmax along so short an axis
        return (probabilities[..., 1] > probabilities[..., 0]).astype(np.uint8)
    return probabilities.argmax(axis=-1).astype(np.uint8)


def _class_by_class(probabilities: np.ndarray, placement: Placement) -> np.ndarray:
    """As `most_probable`, with two classes in memory at a time: the best so far, and the next."""
    labels = np.zeros(placement.original, np.uint8)
    best: np.ndarray | None = None
    for index in range(1, probabilities.shape[-1]):
        pair = placement.restore_probabilities(probabilities[..., [0, index]])  # background tells the crop
        best = pair[..., 0].copy() if best is None else best
        better = pair[..., 1] > best
        labels[better] = index
        np.maximum(best, pair[..., 1], out=best)
    return labels


def largest_components(labels: np.ndarray) -> np.ndarray:
    """Keep only the largest object of every label (neighbours share a face; ties: the first found)."""
    from scipy import ndimage

    kept = np.zeros_like(labels)
    for label in np.unique(labels[labels > 0]):
        objects, number = ndimage.label(labels == label)
        sizes = np.bincount(objects.ravel(), minlength=number + 1)
        sizes[0] = 0
        kept[objects == sizes.argmax()] = label
    return kept
