"""Measures of groups of patients, the gaps between the groups, and whether a gap is more than chance.

Axes: n cases, k classes, g groups. A partition of the cases is (n,) int codes, 0 to g - 1, -1 for cases that
are left out. Intervals come from resampling patients, so that groups that share patients are compared rightly.

Chance is what remains when the labels of the groups are permuted. What is moved is all cases of one patient in
one group, so images of one patient never count as independent; for columns that vary within a patient (view,
age at follow-up) this errs on the side of chance. Labels are only exchanged where the question allows it:

- Rates, ranking and overlap ask whether the result depends on the group *given the truth* (separation, Hardt et
  al. 2016, arXiv 1610.02413): exchanged among patients who show the same classes, so that groups that differ in
  prevalence alone show no gap.
- Calibration asks whether the truth depends on the group *given the score* (sufficiency, Chouldechova 2017,
  arXiv 1703.00056): exchanged among patients of like scores.
"""

from collections.abc import Callable, Collection, Mapping, Sequence
from dataclasses import dataclass, replace
from typing import Literal, NamedTuple

import numpy as np
from scipy import sparse

from medcli.metrics import classification, detection, segmentation
from medcli.metrics.bootstrap import RESAMPLES, divide, mean_of_known, patient_weights

PERMUTATIONS = 2000
RARE = 10
"""Sets of classes that fewer patients show are exchanged with one another."""
SCORE_BINS = 10
"""Patients of like scores: tenths, fewer when a tenth would hold less than 20 patients."""
_CHUNK = 2_000_000
"""Most labels held at once (permutations times cases)."""

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
    "accuracy",
    "balanced_accuracy",
    "sensitivity",
    "specificity",
    "mcc",
    "calibration",
)


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
    truth: np.ndarray, probabilities: np.ndarray, decided: np.ndarray, *, multi_label: bool, positive: int
) -> Sample:
    """Values as in `classification.measures`, and `calibration`: the mean of what is predicted minus what is.

    Calibration (in the large, Cox 1958, Biometrika 45:562-565) is of the positive class; with more classes of
    the most probable one (confidence minus accuracy); multi-label: of all classes together. Above 0 the risk is
    overestimated. It has no bias in small groups, which the expected calibration error has.

    Args:
        truth: (n, k) bool.
        probabilities: (n, k).
        decided: (n, k) bool, the classes that are called.
        positive: Index of the positive class of two.
    """
    truth, decided = np.asarray(truth, bool), np.asarray(decided, bool)
    number = positive % truth.shape[1] if truth.shape[1] == 2 and not multi_label else None
    if number is not None:
        score, right = probabilities[:, number], truth[:, number].astype(float)
    elif multi_label:
        score, right = probabilities.mean(1), truth.mean(1)
    else:
        rows, best = np.arange(len(truth)), probabilities.argmax(1)
        score, right = probabilities[rows, best], truth[rows, best].astype(float)
    outcomes = [truth & decided, ~truth & decided, truth & ~decided, ~truth & ~decided]
    table = np.concatenate([*outcomes, (score - right)[:, None]], axis=1).astype(float)
    scored = _Scored(truth, probabilities, table, number, multi_label)
    return Sample(
        CLASSIFICATION_NAMES,
        CLASSIFICATION_GAPS,
        scored.values,
        truth,
        np.ones(truth.shape, bool),
        score,
        number,
        told_apart=True,
        labelled=scored.labelled,
    )


@dataclass(frozen=True, eq=False)
class _Scored:
    """Attributes:
    table: (n, 4 k + 1): tp, fp, fn, tn of every class, and predicted minus true.
    number: The positive class of two, else None.
    """

    truth: np.ndarray
    probabilities: np.ndarray
    table: np.ndarray
    number: int | None
    multi_label: bool

    def values(self, cases: np.ndarray, weights: np.ndarray, names: Collection[str]) -> dict[str, np.ndarray]:
        """See `Values`."""
        areas = None
        if "auroc" in names:
            areas = [
                classification.auroc(self.truth[cases, j], self.probabilities[cases, j], weights)
                for j in self._ranked
            ]
        return self._named(weights @ self.table[cases], weights.sum(-1), areas, names)

    def labelled(
        self, cases: np.ndarray, labels: np.ndarray, groups: int, names: Collection[str]
    ) -> dict[str, np.ndarray]:
        """See `Sample.labelled`."""
        areas = None
        if "auroc" in names:
            areas = [
                _labelled_auroc(self.truth[cases, j], self.probabilities[cases, j], labels, groups)
                for j in self._ranked
            ]
        columns = np.column_stack([self.table[cases], np.ones(len(cases))])
        sums = _labelled_sums(columns, labels, groups)
        return self._named(sums[..., :-1], sums[..., -1], areas, names)

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

    gaps = (Gap("dice", ("dice",)),)
    return Sample(segmentation.PER_CLASS, gaps, values, truth, np.isfinite(cases["dice"]))


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

    gaps = (Gap("map50", ("map50",)),)
    return Sample(detection.OVERALL, gaps, values, truth, np.ones(truth.shape, bool))


# ---- values and their resamples


def group_values(
    sample: Sample, codes: np.ndarray, groups: int, names: Collection[str] | None = None
) -> dict[str, np.ndarray]:
    """(groups,) by name; NaN for a group without cases."""
    parts = [np.flatnonzero(codes == group) for group in range(groups)]
    wanted = sample.names if names is None else names
    found = [sample.values(part, np.ones(len(part)), wanted) for part in parts]
    return {name: np.array([float(values[name]) for values in found]) for name in wanted}


def resampled_values(
    sample: Sample,
    partitions: Sequence[tuple[np.ndarray, int]],
    patients: Sequence[str],
    *,
    resamples: int = RESAMPLES,
    seed: int = 0,
) -> list[dict[str, np.ndarray]]:
    """For every partition (codes, groups) the values (resamples, groups) by name, from common resamples."""
    parts = [[np.flatnonzero(codes == group) for group in range(groups)] for codes, groups in partitions]
    drawn: list[dict[str, list[np.ndarray]]] = [{name: [] for name in sample.names} for _ in partitions]
    for weights in patient_weights(patients, resamples=resamples, seed=seed):
        by_case = np.ascontiguousarray(weights.T)
        for groups, kept in zip(parts, drawn, strict=True):
            found = [sample.values(part, by_case[part].T, sample.names) for part in groups]
            for name in sample.names if found else ():
                kept[name].append(np.stack([values[name] for values in found], -1))
    return [
        {name: np.concatenate(kept) if kept else np.empty((resamples, 0)) for name, kept in one.items()}
        for one in drawn
    ]


# ---- gaps


def gap_value(gap: Gap, values: Mapping[str, np.ndarray]) -> np.ndarray:
    """(...,) the largest range over the groups (..., g) of any of its measures; NaN without two groups.

    `equalized_odds` is that of fairlearn: the larger of the differences in true and in false positive rate.
    """
    return np.max([_range(values[name]) for name in gap.measures], axis=0)


def _range(values: np.ndarray) -> np.ndarray:
    known = ~np.isnan(values)
    highest = np.where(known, values, -np.inf).max(-1, initial=-np.inf)
    lowest = np.where(known, values, np.inf).min(-1, initial=np.inf)
    return np.where(known.sum(-1) > 1, highest - lowest, np.nan)


class Ends(NamedTuple):
    """The two groups that make the gap, and the measure that differs most between them."""

    measure: str
    worst: int
    best: int


def ends(gap: Gap, values: Mapping[str, np.ndarray]) -> Ends:
    """Worst: the end of the range that is farther from `gap.target`. Needs two groups with a value."""
    measure = max(gap.measures, key=lambda name: np.nan_to_num(_range(values[name]), nan=-1.0))
    low, high = int(np.nanargmin(values[measure])), int(np.nanargmax(values[measure]))
    of_low, of_high = (abs(values[measure][place] - gap.target) for place in (low, high))
    return Ends(measure, low, high) if of_low >= of_high else Ends(measure, high, low)


def difference(
    found: Ends, values: Mapping[str, np.ndarray], resamples: Mapping[str, np.ndarray]
) -> np.ndarray:
    """(resamples,) between the two groups, signed so that the gap found is positive.

    The range itself is never below 0 and grows with noise, so its resamples would miss a gap of 0; the
    difference between the two groups that were farthest apart does not.
    """
    sign = np.sign(values[found.measure][found.best] - values[found.measure][found.worst])
    drawn = resamples[found.measure]
    return sign * (drawn[..., found.best] - drawn[..., found.worst])


# ---- chance


def chance(
    sample: Sample,
    codes: np.ndarray,
    groups: int,
    patients: Sequence[str],
    *,
    permutations: int = PERMUTATIONS,
    seed: int = 0,
) -> dict[str, float]:
    """p by gap: how often labels that mean nothing give a gap as large as the one found.

    (b + 1) / (m + 1) of Phipson and Smyth 2010 (Stat. Appl. Genet. Mol. Biol. 9:39). NaN where there is no gap
    to test.
    """
    cases = np.flatnonzero(codes >= 0)
    units, unit_of_case, unit_codes = _units(codes[cases], np.asarray(patients, dtype=str)[cases])
    result = {}
    for given in ("truth", "score"):
        gaps = [gap for gap in sample.gaps if gap.given == given]
        if not gaps:
            continue
        names = list(dict.fromkeys(name for gap in gaps for name in gap.measures))
        observed = group_values(sample, codes, groups, names)
        found = {gap.name: gap_value(gap, observed) for gap in gaps}
        as_large = dict.fromkeys(found, 0)
        strata = _strata(sample, given, cases, unit_of_case, units)
        random = np.random.default_rng(seed)
        size = max(1, _CHUNK // max(1, len(cases)))
        for start in range(0, permutations, size):
            moved = _permuted(unit_codes, strata, min(size, permutations - start), random)
            stacked = sample.by_label(cases, moved[:, unit_of_case], groups, names)
            for gap in gaps:
                drawn = gap_value(gap, stacked)
                as_large[gap.name] += int((~(drawn < found[gap.name] - 1e-12)).sum())
        for name, value in found.items():
            result[name] = (as_large[name] + 1) / (permutations + 1) if np.isfinite(value) else float("nan")
    return {gap.name: result[gap.name] for gap in sample.gaps}


def _units(codes: np.ndarray, patients: np.ndarray) -> tuple[int, np.ndarray, np.ndarray]:
    """What is moved: the cases of one patient in one group. Their number, the unit of each case, its code."""
    _, patient = np.unique(patients, return_inverse=True)
    width = int(codes.max(initial=0)) + 1
    pairs, unit_of_case = np.unique(patient * width + codes, return_inverse=True)
    small = np.int8 if width < 128 else np.int32
    return len(pairs), unit_of_case, (pairs % width).astype(small)


def _strata(
    sample: Sample, given: str, cases: np.ndarray, unit_of_case: np.ndarray, units: int
) -> np.ndarray:
    """(units,) int: labels are exchanged among equals."""
    if given == "truth":
        return _same_classes(sample.truth[cases], unit_of_case, units)
    assert sample.score is not None
    total = np.bincount(unit_of_case, weights=sample.score[cases], minlength=units)
    mean = total / np.bincount(unit_of_case, minlength=units)
    bins = int(np.clip(units // 20, 1, SCORE_BINS))
    return np.argsort(np.argsort(mean, kind="stable"), kind="stable") * bins // max(units, 1)


def _same_classes(truth: np.ndarray, unit_of_case: np.ndarray, units: int) -> np.ndarray:
    """Units by the classes that any of their cases shows, and lacks; rare sets stand together."""
    shown = np.zeros((units, 2 * truth.shape[1]), bool)
    np.logical_or.at(shown, unit_of_case, np.concatenate([truth, ~truth], axis=1))
    _, pattern, count = np.unique(shown, axis=0, return_inverse=True, return_counts=True)
    pattern = pattern.reshape(-1)
    any_class = shown[:, : truth.shape[1]].any(1)
    return np.where(count[pattern] < RARE, -1 - any_class.astype(int), pattern)


def _permuted(
    codes: np.ndarray, strata: np.ndarray, permutations: int, random: np.random.Generator
) -> np.ndarray:
    """(permutations, units) codes, shuffled within the strata."""
    moved = np.empty((permutations, len(codes)), codes.dtype)
    for stratum in np.unique(strata):
        where = np.flatnonzero(strata == stratum)
        moved[:, where] = random.permuted(np.tile(codes[where], (permutations, 1)), axis=1)
    return moved


def holm(p: Sequence[float]) -> np.ndarray:
    """p values corrected for their number (Holm 1979, Scand. J. Stat. 6:65-70); NaN is no test and stays NaN."""
    values = np.asarray(p, float)
    result = np.full(values.shape, np.nan)
    known = np.flatnonzero(~np.isnan(values))
    order = known[np.argsort(values[known], kind="stable")]
    steps = values[order] * np.arange(len(order), 0, -1)
    result[order] = np.minimum(np.maximum.accumulate(steps), 1.0) if len(order) else []
    return result
