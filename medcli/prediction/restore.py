"""From what the network says on the prepared grid to labels and maps on the image's own grid, part by part.

`restore` is the one place where probabilities become labels. Memory holds the results that are asked for and a few
planes of probabilities.
"""

from collections.abc import Callable, Iterator
from dataclasses import dataclass

import numpy as np

from medcli.metrics.bootstrap import mean_of_known
from medcli.metrics.risk import dice_of_sums, dice_sums
from medcli.metrics.uncertainty import entropy
from medcli.preprocessing.geometry import Placement
from medcli.preprocessing.slabs import restored_parts, whole_grid
from medcli.sliding import Slabs


@dataclass(frozen=True, eq=False)
class Wanted:
    """What is made of the probabilities beside the labels.

    Attributes:
        probabilities: Themselves, on the original grid.
        limits: (classes,) for each class the probability from which its outer mask begins; None: no such masks.
        uncertainty: The entropy map; the slabs then have one more channel at the end, the mean entropy of single
            predictions, for the map of their disagreement.
        quality: The Dice to expect.
    """

    probabilities: bool = False
    limits: np.ndarray | None = None
    uncertainty: bool = False
    quality: bool = False


@dataclass(frozen=True, eq=False)
class Restored:
    """On the original grid; None is what was not wanted.

    Attributes:
        labels: uint8.
        probabilities: float32, spatial + (1 + classes), background first.
        outer: For each class bool.
        uncertainty: float32, entropy of the probabilities in bits.
        disagreement: float32, bits: that entropy less the mean entropy of the single predictions (windows, mirrored
            images) which the probabilities are the mean of: their mutual information.
        quality: Mean Dice over the labels to expect by the probabilities alone, on the prepared grid; NaN when not
            wanted or nothing is there.
    """

    labels: np.ndarray
    probabilities: np.ndarray | None = None
    outer: tuple[np.ndarray, ...] | None = None
    uncertainty: np.ndarray | None = None
    disagreement: np.ndarray | None = None
    quality: float = float("nan")


def most_probable(probabilities: np.ndarray) -> np.ndarray:
    """uint8 labels of probabilities (spatial + class); ties: the smaller id."""
    if probabilities.shape[-1] == 2:  # many times faster than argmax along so short an axis
        return (probabilities[..., 1] > probabilities[..., 0]).astype(np.uint8)
    labels = np.zeros(probabilities.shape[:-1], np.uint8)
    best = probabilities[..., 0].copy()
    for index in range(1, probabilities.shape[-1]):  # likewise
        chance = probabilities[..., index]
        np.copyto(labels, np.uint8(index), where=chance > best)
        np.maximum(best, chance, out=best)
    return labels


def restore(
    slabs: Slabs,
    placement: Placement,
    wanted: Wanted = Wanted(),
    decide: Callable[[np.ndarray], np.ndarray] = most_probable,
) -> Restored:
    """Labels, and what else is wanted, at every voxel of the original grid.

    Probabilities, not labels, are interpolated, so borders stay smooth. What was cropped away is background with
    certainty.

    Args:
        slabs: float32 probabilities on the prepared grid, background first (see `Wanted.uncertainty`).
        decide: From probabilities (spatial + class) to labels.
    """
    classes = slabs.shape[-1] - wanted.uncertainty
    sums = np.zeros((classes - 1, 3))

    def counted() -> Iterator[np.ndarray]:
        for part in slabs:
            if wanted.quality:
                chances = part[..., :classes]
                sums[...] += dice_sums(chances, most_probable(chances))
            yield part

    labels, in_labels = whole_grid(placement, np.uint8)
    chances = spread = doubt = None
    if wanted.probabilities:
        chances, in_chances = whole_grid(placement, np.float32, (classes,))
        chances[..., 0] = 1
    if wanted.uncertainty:
        doubt, in_doubt = whole_grid(placement, np.float32)
        spread, in_spread = whole_grid(placement, np.float32)
    outer = [whole_grid(placement, bool) for _ in (() if wanted.limits is None else wanted.limits)]
    for (mask, _), limit in zip(outer, () if wanted.limits is None else wanted.limits, strict=True):
        mask[...] = limit <= 0
    for first, values in restored_parts(counted(), placement):
        here = slice(first, first + len(values))
        part = values[..., :classes]
        decided = decide(part)
        in_labels[here] = decided
        if chances is not None:
            in_chances[here] = part
        if doubt is not None and spread is not None:
            in_doubt[here] = entropy(part)
            in_spread[here] = np.maximum(in_doubt[here] - values[..., -1], 0)
        for index, (_, mask) in enumerate(outer, start=1):
            limit = 0.0 if wanted.limits is None else wanted.limits[index - 1]
            mask[here] = (part[..., index] >= limit) | (decided == index)
    return Restored(
        labels,
        chances,
        tuple(mask for mask, _ in outer) if wanted.limits is not None else None,
        doubt,
        spread,
        float(mean_of_known(dice_of_sums(sums))) if wanted.quality else float("nan"),
    )


def restore_labels(probabilities: np.ndarray, placement: Placement) -> np.ndarray:
    """uint8 labels on the original grid of a whole array (prepared shape + class)."""
    return restore(Slabs.of(probabilities), placement).labels


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
