"""Regions that overlap, made of the labels of a data set: the whole tumour, its core, what enhances.

The network gives every region a probability of its own. A label image is made of them by the order of the regions: each
writes its own label, later ones over earlier ones. A region's own label is the first of its labels that no later region
has; so of nested regions, from the largest to the smallest, each writes what the next one leaves of it.
"""

from collections.abc import Mapping, Sequence

import numpy as np

from medcli.errors import ConfigError

Regions = Sequence[Sequence[int]]
"""Label ids of every region, as `Plan.regions`; empty: the classes exclude one another, class i is label i + 1."""


def label_ids_of(regions: Mapping[str, Sequence[str]], labels: Sequence[str]) -> list[list[int]]:
    """For every region its label ids (1, 2, ... in the order of the labels).

    Raises:
        ConfigError: A region names no label, an unknown one, or only labels that later regions have as well.
    """
    known = ", ".join(f"`{name}`" for name in labels)
    for name, members in regions.items():
        unknown = [label for label in members if label not in labels]
        if unknown or not members:
            got = f"`{unknown[0]}`" if unknown else "none"
            raise ConfigError(f"data.regions.{name}: expected names of labels ({known}), got {got}.")
    found = [[labels.index(label) + 1 for label in members] for members in regions.values()]
    for name, own in zip(regions, _own_labels(found), strict=True):
        if own == 0:
            raise ConfigError(
                f"data.regions.{name}: every label of it is also in a later region, so it would be overwritten; "
                "list regions from the largest to the smallest."
            )
    return found


def _own_labels(regions: Regions) -> list[int]:
    """The label that each region writes, 0 for none."""
    later = [set().union(*regions[index + 1 :]) for index in range(len(regions))]
    return [
        next((label for label in ids if label not in after), 0)
        for ids, after in zip(regions, later, strict=True)
    ]


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


def decoded(probabilities: np.ndarray, regions: Regions) -> np.ndarray:
    """uint8 label ids of probabilities (spatial + (1 + classes), background first).

    Exclusive classes: the most probable one. Regions: by their order, from one half on.
    """
    if not regions:
        return most_probable(probabilities)
    labels = np.zeros(probabilities.shape[:-1], np.uint8)
    for index, own in enumerate(_own_labels(regions), start=1):
        labels[probabilities[..., index] > 0.5] = own
    return labels


def members_mask(labels: np.ndarray, index: int, regions: Regions) -> np.ndarray:
    """bool: where label ids belong to the class or region of this index; unlabelled voxels belong to none."""
    if not regions:
        return labels == index + 1
    return np.isin(labels, regions[index])


def class_mask(probabilities: np.ndarray, labels: np.ndarray, index: int, regions: Regions) -> np.ndarray:
    """bool: where a class or region is predicted, by the labels made of the probabilities where these can tell."""
    if told_by_labels(regions):
        return members_mask(labels, index, regions)
    return probabilities[..., index + 1] > 0.5


def told_by_labels(regions: Regions) -> bool:
    """Whether a label image can say of every voxel to which regions it belongs, as those of nested regions can."""
    return not _untold(regions)


def _untold(regions: Regions) -> list[int]:
    """Labels that come back as another combination of regions when they are written as regions."""
    own = _own_labels(regions)
    lost = []
    for label in sorted({label for ids in regions for label in ids}):
        inside = [label in ids for ids in regions]
        back = next(writes for writes, yes in zip(own[::-1], inside[::-1], strict=True) if yes)
        if [back in ids for ids in regions] != inside:
            lost.append(label)
    return lost


def explained(regions: Regions, classes: Sequence[str], labels: Sequence[str]) -> str:
    """The reason in the plan."""
    steps = [f"{name} as {labels[own - 1]}" for name, own in zip(classes, _own_labels(regions), strict=True)]
    text = f"one sigmoid each; written in this order, later over earlier: {', '.join(steps)}"
    lost = [labels[label - 1] for label in _untold(regions)]
    if lost:
        text += (
            f"; label images cannot tell the regions of {', '.join(lost)}, so each region also gets a mask"
        )
    return text
