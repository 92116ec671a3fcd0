"""What there is to learn, as codes that can be tested: a class per case, or yes and no per class."""

from collections.abc import Iterator, Sequence
from dataclasses import dataclass

import numpy as np

from medcli.audit.columns import column_of
from medcli.case import Case
from medcli.io.cases import Discovery


@dataclass(frozen=True, eq=False)
class Labels:
    """Attributes:
    classes: Names.
    truth: (n, k) bool.
    exclusive: Exactly one class per case.
    cut: The classes are parts of the range of a number.
    """

    classes: list[str]
    truth: np.ndarray
    exclusive: bool
    cut: bool = False

    def targets(self) -> Iterator[tuple[str, np.ndarray, list[str]]]:
        """Name, codes (n,) and names of the codes of everything that has at least two values."""
        if self.exclusive:
            present = np.flatnonzero(self.truth.any(0))
            if len(present) > 1:
                yield "label", self.truth[:, present].argmax(1), [self.classes[index] for index in present]
            return
        for index, name in enumerate(self.classes):
            codes = self.truth[:, index].astype(int)
            if 0 < codes.sum() < len(codes):
                yield name, codes, [f"no {name}", name]


def labels_of(cases: Sequence[Case], found: Discovery, task: str) -> Labels:
    """Classification: the classes; regression: which quarter of the target; detection: which classes an image shows;
    segmentation: nothing."""
    if task == "regression":
        return _cut_labels(cases, found)
    classes = list(found.classes or []) if task != "segmentation" else []
    truth = np.zeros((len(cases), len(classes)), bool)
    for row, case in enumerate(cases):
        if task == "classification":
            truth[row] = [name in case.classes for name in classes]
        elif case.boxes is not None and classes:
            truth[row, np.unique(case.boxes.classes)] = True
    exclusive = task == "classification" and bool((truth.sum(1) == 1).all())
    return Labels(classes, truth, exclusive)


def _cut_labels(cases: Sequence[Case], found: Discovery) -> Labels:
    (name,) = found.classes or ["target"]
    column = column_of(name, ["" if case.target is None else repr(case.target) for case in cases])
    if column is None:
        return Labels([], np.zeros((len(cases), 0), bool), exclusive=False, cut=True)
    levels = [f"{name} {level}" for level in column.levels]
    truth = column.codes[:, None] == np.arange(len(levels))
    return Labels(levels, truth, exclusive=True, cut=True)
