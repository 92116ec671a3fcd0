"""What was measured, in a form that can be measured again for any part of the cases: for groups and their gaps.

Axes: n cases, k classes, g groups, r rows of weights or labels.
"""

from collections.abc import Callable, Collection, Mapping, Sequence
from dataclasses import dataclass, replace
from typing import Literal, NamedTuple

import numpy as np
from scipy import sparse

from medcli.metrics import classification, detection, segmentation
from medcli.metrics.bootstrap import divide, mean_of_known
from medcli.metrics.known import is_known

Values = Callable[[np.ndarray, np.ndarray, Collection[str]], dict[str, np.ndarray]]
"""(indices of cases (m,), weights (..., m), names) to (...) by name; NaN where undefined."""

Labelled = Callable[[np.ndarray, np.ndarray, int, Collection[str]], dict[str, np.ndarray]]
"""See `Sample.by_label`."""


class Gap(NamedTuple):
    """A difference between groups.

    Attributes:
        name: In files, followed by `_gap`.
        measures: The largest range over the groups of any of them.
        given: What labels are exchanged within; see the module.
        target: Where a measure should be, so that the worst group is the one farthest from it.
    """

    name: str
    measures: tuple[str, ...]
    given: Literal["truth", "score"] = "truth"
    target: float = 1.0


CLASSIFICATION_GAPS = (
    Gap("equal_opportunity", ("sensitivity",)),
    Gap("equalized_odds", ("sensitivity", "specificity")),
    Gap("auroc", ("auroc",)),
    Gap("calibration", ("calibration",), given="score", target=0.0),
)
CLASSIFICATION_NAMES = (
    "auroc",
    "sensitivity",
    "specificity",
    "calibration",
    "accuracy",
    "balanced_accuracy",
    "mcc",
)


SEGMENTATION_GAPS = (Gap("dice", ("dice",)),)
DETECTION_GAPS = (Gap("map50", ("map50",)),)


@dataclass(frozen=True, eq=False)
class Sample:
    """The cases of an evaluation in a form that can be measured again for any part of them.

    Attributes:
        names: The measures of every group.
        gaps: What is compared.
        values: See `Values`.
        truth: (n, k) bool, the classes that a case shows.
        counted: (n, k) bool, the cases that a class is judged on.
        score: (n,) what a case is predicted with, for gaps given the score; None: there are none.
        positive: The class whose share is the prevalence; None: more than two classes.
        told_apart: Groups must hold cases with and without a class (classification).
        labelled: A faster way to `by_label`.
        note: What a reader of the values must know.
    """

    names: tuple[str, ...]
    gaps: tuple[Gap, ...]
    values: Values
    truth: np.ndarray
    counted: np.ndarray
    score: np.ndarray | None = None
    positive: int | None = None
    told_apart: bool = False
    labelled: Labelled | None = None
    note: str = ""

    def by_label(
        self, cases: np.ndarray, labels: np.ndarray, groups: int, names: Collection[str]
    ) -> dict[str, np.ndarray]:
        """(r, groups) by name: the values of each group when the cases (m,) are labelled (r, m) int."""
        if self.labelled is not None:
            return self.labelled(cases, labels, groups, names)
        found = [self.values(cases, (labels == group).astype(float), names) for group in range(groups)]
        return {name: np.stack([values[name] for values in found], -1) for name in names}


# ---- classification


def classification_sample(
    truth: np.ndarray,
    probabilities: np.ndarray,
    decided: np.ndarray,
    *,
    multi_label: bool,
    positive: int,
    note: str = "",
) -> Sample:
    """Values as in `classification.measures`, and `calibration`: the mean of what is predicted minus what is.

    Calibration (in the large, Cox 1958, Biometrika 45:562-565) is of the positive class; with more classes of
    the most probable one (confidence minus accuracy); multi-label: of all classes together. Above 0 the risk is
    overestimated. It has no bias in small groups, which the expected calibration error has.

    Args:
        truth: (n, k) bool; `multi_label`: or 0, 1 and NaN for unknown.
        probabilities: (n, k).
        decided: (n, k) bool, the classes that are called.
        positive: Index of the positive class of two.
        note: See `Sample`.
    """
    known, decided = is_known(truth), np.asarray(decided, bool)
    truth = np.asarray(truth) == 1
    number = positive % truth.shape[1] if truth.shape[1] == 2 and not multi_label else None
    if number is not None:
        score, right = probabilities[:, number], truth[:, number].astype(float)
    elif multi_label:
        share = np.maximum(known.sum(1), 1)
        score, right = (probabilities * known).sum(1) / share, truth.sum(1) / share
    else:
        rows, best = np.arange(len(truth)), probabilities.argmax(1)
        score, right = probabilities[rows, best], truth[rows, best].astype(float)
    absent = known & ~truth
    outcomes = [truth & decided, absent & decided, truth & ~decided, absent & ~decided]
    table = np.concatenate([*outcomes, (score - right)[:, None]], axis=1).astype(float)
    scored = _Scored(truth, known, probabilities, table, number, multi_label)
    return Sample(
        CLASSIFICATION_NAMES,
        CLASSIFICATION_GAPS,
        scored.values,
        truth,
        known,
        score,
        number,
        told_apart=True,
        note=note,
        labelled=scored.labelled,
    )


@dataclass(frozen=True, eq=False)
class _Scored:
    """Attributes:
    table: (n, 4 k + 1): tp, fp, fn, tn of every class, and predicted minus true.
    number: The positive class of two, else None.
    """

    truth: np.ndarray
    known: np.ndarray
    probabilities: np.ndarray
    table: np.ndarray
    number: int | None
    multi_label: bool

    def values(self, cases: np.ndarray, weights: np.ndarray, names: Collection[str]) -> dict[str, np.ndarray]:
        """See `Values`."""
        areas = None
        if "auroc" in names:
            areas = [classification.auroc(*self._known(cases, j, weights)) for j in self._ranked]
        return self._named(weights @ self.table[cases], weights.sum(-1), areas, names)

    def labelled(
        self, cases: np.ndarray, labels: np.ndarray, groups: int, names: Collection[str]
    ) -> dict[str, np.ndarray]:
        """See `Sample.labelled`."""
        areas = None
        if "auroc" in names:
            areas = [_labelled_auroc(*self._known(cases, j, labels), groups) for j in self._ranked]
        columns = np.column_stack([self.table[cases], np.ones(len(cases))])
        sums = _labelled_sums(columns, labels, groups)
        return self._named(sums[..., :-1], sums[..., -1], areas, names)

    def _known(
        self, cases: np.ndarray, j: int, more: np.ndarray
    ) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
        """Truth and probabilities (m,) of the class where it is known, and of (..., cases) the same columns."""
        known = self.known[cases, j]
        if known.all():
            return self.truth[cases, j], self.probabilities[cases, j], more
        cases = cases[known]
        return self.truth[cases, j], self.probabilities[cases, j], more[..., known]

    @property
    def _ranked(self) -> Sequence[int]:
        return range(self.truth.shape[1]) if self.number is None else [self.number]

    def _named(
        self,
        sums: np.ndarray,
        total: np.ndarray,
        areas: Sequence[np.ndarray] | None,
        names: Collection[str],
    ) -> dict[str, np.ndarray]:
        """Every measure from sums (..., 4 k + 1) of the table."""
        k = self.truth.shape[1]
        c = classification.Counts(*(sums[..., k * part : k * (part + 1)] for part in range(4)))
        found: dict[str, np.ndarray] = {"calibration": divide(sums[..., -1], total)}
        for name, rate in (
            ("sensitivity", classification.sensitivity(c)),
            ("specificity", classification.specificity(c)),
        ):
            found[name] = mean_of_known(rate) if self.number is None else rate[..., self.number]
        if areas is not None:
            found["auroc"] = mean_of_known(np.stack(areas, -1))
        if self.multi_label:
            tables = classification.as_confusion(c)
            found["accuracy"] = mean_of_known(classification.accuracy(tables))
            found["balanced_accuracy"] = mean_of_known(classification.balanced_accuracy(tables))
            found["mcc"] = mean_of_known(classification.matthews(tables))
        else:
            right = c.tp.sum(-1)
            found["accuracy"] = divide(right, total)
            found["balanced_accuracy"] = mean_of_known(classification.sensitivity(c))
            found["mcc"] = classification.matthews_of_margins(right, c.tp + c.fn, c.tp + c.fp)
        return {name: found[name] for name in names}


def _labelled_sums(columns: np.ndarray, labels: np.ndarray, groups: int) -> np.ndarray:
    """(r, groups, c) sums of (m, c) columns for every row of labels (r, m)."""
    rows, cases = labels.shape
    places = labels.T + np.arange(rows, dtype=np.int32) * groups
    one_hot = sparse.csc_array(
        (np.ones(places.size), places.ravel(), np.arange(cases + 1) * rows), shape=(rows * groups, cases)
    )
    return (one_hot @ columns).reshape(rows, groups, -1)


def _labelled_auroc(truth: np.ndarray, scores: np.ndarray, labels: np.ndarray, groups: int) -> np.ndarray:
    """(r, groups) as `classification.auroc` of each group, for every row of labels (r, m).

    Sorted by score, then by group: a negative case is beaten by the positives that stand before it in its
    group. Ties count half: the mean of both orders of truth within equal scores.
    """
    orders = [np.lexsort((second, -scores)) for second in (truth, ~truth)]
    tied = len(np.unique(scores[truth])) + len(np.unique(scores[~truth])) > len(np.unique(scores))
    wins, pairs = None, None
    for order in orders if tied else orders[:1]:
        sorted_labels = labels[:, order]
        by_group = np.argsort(sorted_labels, axis=1, kind="stable")
        positive = truth[order][by_group]
        before = np.cumsum(positive, axis=1, dtype=np.int32)
        beaten = np.cumsum(np.where(positive, 0, before), axis=1, dtype=np.int64)
        size = np.stack([(labels == group).sum(1) for group in range(groups)], 1)
        last = np.cumsum(size, axis=1)
        at_end = [np.take_along_axis(np.pad(part, ((0, 0), (1, 0))), last, 1) for part in (before, beaten)]
        positives, sums = (np.diff(part, axis=1, prepend=0) for part in at_end)
        negatives = size - positives
        won = sums - (at_end[0] - positives) * negatives
        pairs = positives * negatives
        wins = won if wins is None else (wins + won) / 2
    assert wins is not None and pairs is not None
    return divide(wins, pairs)


# ---- segmentation and detection


def segmentation_sample(cases: Mapping[str, np.ndarray], truth: np.ndarray) -> Sample:
    """Values as in `segmentation.summarise`; the gap is that of Dice.

    Args:
        cases: By measure (n, k), NaN where a label is not judged.
        truth: (n, k) bool: the label is in the case.
    """

    def values(chosen: np.ndarray, weights: np.ndarray, names: Collection[str]) -> dict[str, np.ndarray]:
        return segmentation.summarise({name: cases[name][chosen] for name in names}, weights)[0]

    return Sample(tuple(cases), SEGMENTATION_GAPS, values, truth, np.isfinite(cases["dice"]))


def detection_sample(matches: Sequence[detection.Matches], froc: Sequence[detection.Matches]) -> Sample:
    """Values as in `detection.measures`; the gap is that of mAP at IoU .50."""
    truth = np.stack([one.truths > 0 for one in matches], 1)
    at_50 = [
        replace(one, hit=one.hit[:, :1], ignored=one.ignored[:, :1], thresholds=one.thresholds[:1])
        for one in matches
    ]

    def values(chosen: np.ndarray, weights: np.ndarray, names: Collection[str]) -> dict[str, np.ndarray]:
        if set(names) == {
            "map50"
        }:  # the permutations ask for this alone; ten overlaps cost ten times as much
            found = [detection.average_precision(detection.of_images(one, chosen), weights) for one in at_50]
            return {"map50": mean_of_known(np.stack(found, -1)[..., 0, :])}
        every = [detection.of_images(one, chosen) for one in matches]
        pooled = [detection.of_images(one, chosen) for one in froc]
        measured = detection.measures(every, pooled, weights)[0]
        return {name: measured[name] for name in names}

    return Sample(detection.OVERALL, DETECTION_GAPS, values, truth, np.ones(truth.shape, bool))
