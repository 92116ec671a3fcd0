"""What there is to learn, as codes that can be tested: a class per case, or yes and no per class."""

from collections.abc import Iterator, Sequence
from dataclasses import dataclass

import numpy as np

from medcli.audit.columns import MISSING, column_of
from medcli.case import Case
from medcli.io.cases import Discovery


@dataclass(frozen=True, eq=False)
class Target:
    """A question that the labels answer, with at least two answers.

    Attributes:
        name: Of the question.
        cases: (m,) the cases whose answer is known, ascending.
        codes: (m,) their answers.
        kinds: Names of the answers.
    """

    name: str
    cases: np.ndarray
    codes: np.ndarray
    kinds: list[str]


@dataclass(frozen=True, eq=False)
class Labels:
    """Attributes:
    classes: Names.
    truth: (n, k) float: 1 where a class applies, 0 where not, NaN where nobody said.
    exclusive: Exactly one class per case, or none where it is unknown.
    cut: The classes are parts of the range of a number.
    """

    classes: list[str]
    truth: np.ndarray
    exclusive: bool
    cut: bool = False

    def targets(self) -> Iterator[Target]:
        if self.exclusive:
            present = np.flatnonzero(np.nansum(self.truth, 0))
            known = np.flatnonzero(self.truth[:, present].any(1) & ~np.isnan(self.truth).any(1))
            if len(present) > 1:
                codes = self.truth[known][:, present].argmax(1)
                yield Target("label", known, codes, [self.classes[index] for index in present])
            return
        for index, name in enumerate(self.classes):
            known = np.flatnonzero(~np.isnan(self.truth[:, index]))
            codes = self.truth[known, index].astype(int)
            if 0 < codes.sum() < len(codes):
                yield Target(name, known, codes, [f"no {name}", name])


def labels_of(cases: Sequence[Case], found: Discovery, task: str) -> Labels:
    """Classification: the classes; regression: which quarter of the target; detection: which classes an image shows;
    segmentation: nothing."""
    if task == "regression":
        return _cut_labels(cases, found)
    classes = list(found.classes or []) if task != "segmentation" else []
    truth = np.zeros((len(cases), len(classes)))
    for row, case in enumerate(cases):
        if task == "classification":
            truth[row] = case.shows(classes)
        elif case.boxes is not None and classes:
            truth[row, np.unique(case.boxes.classes)] = True
    exclusive = task == "classification" and bool((truth.sum(1) == 1).all())
    return Labels(classes, truth, exclusive)


def _cut_labels(cases: Sequence[Case], found: Discovery) -> Labels:
    (name,) = found.classes or ["target"]
    column = column_of(name, ["" if case.target is None else repr(case.target) for case in cases])
    if column is None:
        return Labels([], np.zeros((len(cases), 0)), exclusive=False, cut=True)
    kept = [code for code, level in enumerate(column.levels) if level != MISSING]
    levels = [f"{name} {column.levels[code]}" for code in kept]
    truth = (column.codes[:, None] == kept).astype(float)
    truth[~truth.any(1)] = np.nan
    return Labels(levels, truth, exclusive=True, cut=True)
