"""From what the network says on the prepared grid to labels and maps on the image's own grid, part by part.

`restore` is the one place where probabilities become labels. Memory holds the results that are asked for and a few
planes of probabilities.
"""

from collections.abc import Iterator
from dataclasses import dataclass

import numpy as np

from medcli.instances.decode import Objects, Rule
from medcli.metrics.bootstrap import mean_of_known
from medcli.metrics.risk import dice_of_sums, dice_sums, levels
from medcli.metrics.uncertainty import entropy, entropy_of_each
from medcli.preprocessing.geometry import Placement
from medcli.preprocessing.instances import fitted
from medcli.preprocessing.regions import Regions, class_mask, decoded
from medcli.preprocessing.slabs import restored_parts, whole_grid
from medcli.sliding import Slabs


@dataclass(frozen=True, eq=False)
class Wanted:
    """What is made of the probabilities beside the labels.

    Attributes:
        probabilities: Themselves, on the original grid.
        levels: What of their size there is to learn from, `medcli.metrics.risk.levels`, on the original grid.
        limits: (classes,) for each class the probability from which its outer mask begins; None: no such masks.
        uncertainty: The entropy map; the slabs then have one more channel at the end, the mean entropy of single
            predictions, for the map of their disagreement.
        quality: The Dice to expect.
        regions: A mask for every class, as where classes overlap and labels cannot tell them.
    """

    probabilities: bool = False
    levels: bool = False
    limits: np.ndarray | None = None
    uncertainty: bool = False
    quality: bool = False
    regions: bool = False


@dataclass(frozen=True, eq=False)
class Restored:
    """On the original grid; None is what was not wanted.

    Attributes:
        labels: uint8.
        probabilities: float32, spatial + (1 + classes), background first.
        levels: uint8, spatial + (classes,).
        outer: For each class bool.
        uncertainty: float32, entropy of the probabilities in bits (of regions the sum of each one's).
        disagreement: float32, bits: that entropy less the mean entropy of the single predictions (windows, mirrored
            images) which the probabilities are the mean of: their mutual information.
        quality: Mean Dice over the labels to expect by the probabilities alone, on the prepared grid; NaN when not
            wanted or nothing is there.
        regions: For each class bool.
    """

    labels: np.ndarray
    probabilities: np.ndarray | None = None
    levels: np.ndarray | None = None
    outer: tuple[np.ndarray, ...] | None = None
    uncertainty: np.ndarray | None = None
    disagreement: np.ndarray | None = None
    quality: float = float("nan")
    regions: tuple[np.ndarray, ...] | None = None


def restore(
    slabs: Slabs,
    placement: Placement,
    wanted: Wanted = Wanted(),
    regions: Regions = (),
) -> Restored:
    """Labels, and what else is wanted, at every voxel of the original grid.

    Probabilities, not labels, are interpolated, so borders stay smooth. What was cropped away is background with
    certainty.

    Args:
        slabs: float32 probabilities on the prepared grid, background first (see `Wanted.uncertainty`).
        regions: Label ids of classes that may overlap; see `medcli.preprocessing.regions`.
    """
    classes = slabs.shape[-1] - wanted.uncertainty
    sums = np.zeros((classes - 1, 3))

    def masks(chances: np.ndarray, labels: np.ndarray) -> Iterator[np.ndarray]:
        return (class_mask(chances, labels, index, regions) for index in range(classes - 1))

    def counted() -> Iterator[np.ndarray]:
        for part in slabs:
            if wanted.quality:
                chances = part[..., :classes]
                sums[...] += dice_sums(chances, masks(chances, decoded(chances, regions)))
            yield part

    labels, in_labels = whole_grid(placement, np.uint8)
    chances = heights = spread = doubt = None
    if wanted.probabilities:
        chances, in_chances = whole_grid(placement, np.float32, (classes,))
        chances[..., 0] = 1
    if wanted.levels:
        heights, in_heights = whole_grid(placement, np.uint8, (classes - 1,))
    if wanted.uncertainty:
        doubt, in_doubt = whole_grid(placement, np.float32)
        spread, in_spread = whole_grid(placement, np.float32)
    outer = [whole_grid(placement, bool) for _ in (() if wanted.limits is None else wanted.limits)]
    inner = [whole_grid(placement, bool) for _ in range(classes - 1 if wanted.regions else 0)]
    for (mask, _), limit in zip(outer, () if wanted.limits is None else wanted.limits, strict=True):
        mask[...] = limit <= 0
    for first, values in restored_parts(counted(), placement):
        here = slice(first, first + len(values))
        part = values[..., :classes]
        decided = decoded(part, regions)
        in_labels[here] = decided
        if chances is not None:
            in_chances[here] = part
        if heights is not None:
            in_heights[here] = levels(part[..., 1:])
        if doubt is not None and spread is not None:
            in_doubt[here] = entropy(part) if not regions else entropy_of_each(part[..., 1:])
            in_spread[here] = np.maximum(in_doubt[here] - values[..., -1], 0)
        for index, (_, mask) in enumerate(outer):
            limit = 0.0 if wanted.limits is None else wanted.limits[index]
            mask[here] = (part[..., index + 1] >= limit) | class_mask(part, decided, index, regions)
        if inner:
            for (_, mask), found in zip(inner, masks(part, decided), strict=True):
                mask[here] = found
    return Restored(
        labels,
        chances,
        heights,
        tuple(mask for mask, _ in outer) if wanted.limits is not None else None,
        doubt,
        spread,
        float(mean_of_known(dice_of_sums(sums))) if wanted.quality else float("nan"),
        tuple(mask for mask, _ in inner) if wanted.regions else None,
    )


def restore_objects(found: Objects, background: np.ndarray, placement: Placement, rule: Rule) -> Objects:
    """Objects of the prepared grid on the original one; those without a voxel there are gone.

    Where the grids differ an object's outline follows the interpolated probability, as that of labels does.

    Args:
        background: float32, prepared shape: its probability.
    """
    ids = placement.restore_labels(found.ids)
    kept = tuple(stop - start for start, stop in zip(placement.start, placement.stop, strict=True))
    if placement.scaled == kept:
        return Objects(ids, found.classes, found.scores)
    pair = np.stack([background, 1 - background], axis=-1)
    region = placement.restore_probabilities(pair)[..., 0] < 1 - rule.foreground
    coarser = max(new / old for new, old in zip(kept, placement.scaled, strict=True))
    whole = Objects(fitted(ids, region, reach=1 + round(coarser)), found.classes, found.scores)
    return whole.take(whole.sizes > 0)


def restore_labels(probabilities: np.ndarray, placement: Placement) -> np.ndarray:
    """uint8 labels on the original grid of a whole array (prepared shape + class)."""
    return restore(Slabs.of(probabilities), placement).labels
