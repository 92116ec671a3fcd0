"""For whom a run is worse: measures of every group, gaps between groups, and whether they are more than chance."""

import math
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any

import numpy as np

from medcli.grouping import Grouping, group_cases, too_few
from medcli.metrics.bootstrap import LEVEL, RESAMPLES, at_the_bounds, percentile_interval
from medcli.metrics.groups import (
    PERMUTATIONS,
    chance,
    difference,
    ends,
    gap_value,
    group_values,
    holm,
    resampled_values,
)
from medcli.metrics.samples import Gap, Sample
from medcli.progress import Progress, ignore

SIGNIFICANT = 0.05
"""Corrected p below which a gap is said to be more than chance."""
GAP_TITLES = {
    "equal_opportunity": ("Sensitivity (equal opportunity)", "difference in sensitivity"),
    "equalized_odds": (
        "Sensitivity or specificity (equalised odds)",
        "larger of the differences in sensitivity and in specificity",
    ),
    "auroc": ("AUROC", "difference in AUROC"),
    "calibration": ("Calibration (predicted - true)", "difference in predicted minus true share"),
    "map50": ("mAP .50", "difference in mAP at IoU .50"),
    "dice": ("Dice", "difference in Dice"),
    "mae": ("MAE", "difference in MAE"),
    "bias": ("Bias", "difference in bias"),
}
"""Title and what it is, by the gap's name."""
METHOD = (
    "Intervals: 95 %, percentile bootstrap over patients ({resamples} resamples); of a gap: of the difference "
    "between its two groups. p: {permutations} permutations of the labels of patients (fewer when it is plainly "
    "chance, more when there are many tests), among patients with the same classes (numbers: of the same "
    "fifth; calibration: like scores); Holm's correction over the columns, and over the intersections."
)


@dataclass(frozen=True)
class Group:
    """Attributes:
    columns: Of its grouping.
    name: Such as `F`, `F & 40-59`.
    key: Such as `sex=F`.
    cases, patients: How many there are.
    prevalence: Share of the positive class of two; None: another task or more classes.
    too_few: Why there are no numbers, or "".
    values: Measure to (value, low, high); NaN where undefined.
    """

    columns: tuple[str, ...]
    name: str
    key: str
    cases: int
    patients: int
    prevalence: float | None
    too_few: str = ""
    values: Mapping[str, tuple[float, float, float]] = field(default_factory=dict)

    def as_json(self) -> dict[str, Any]:
        return {
            "columns": list(self.columns),
            "group": self.name,
            "cases": self.cases,
            "patients": self.patients,
            "prevalence": self.prevalence,
            "too_few": self.too_few or None,
            "measures": {
                name: {"value": value, "low": low, "high": high}
                for name, (value, low, high) in self.values.items()
            },
        }


@dataclass(frozen=True)
class FoundGap:
    """Attributes:
    columns: The grouping whose groups are compared.
    name: Of the gap, see `GAP_TITLES`.
    value, low, high: NaN with fewer than two groups that have numbers.
    measure, worst, best: What differs, and between which groups.
    p, p_holm: Against chance, as it is and corrected for the number of tests.
    """

    columns: tuple[str, ...]
    name: str
    value: float
    low: float
    high: float
    measure: str
    worst: str
    best: str
    p: float
    p_holm: float = math.nan

    @property
    def beyond_chance(self) -> bool:
        return self.p_holm < SIGNIFICANT


@dataclass(frozen=True)
class Groups:
    """Attributes:
    fewest: Patients that a group needs for numbers.
    names: The measures.
    everybody: All cases as one group.
    groups, gaps: In the order of the columns, intersections last.
    note: See `Sample`.
    """

    fewest: int
    names: tuple[str, ...]
    everybody: Group
    groups: list[Group]
    gaps: list[FoundGap]
    note: str = ""

    @property
    def columns(self) -> list[tuple[str, ...]]:
        return list(dict.fromkeys(group.columns for group in self.groups))

    def of(self, columns: tuple[str, ...]) -> tuple[list[Group], list[FoundGap]]:
        return (
            [group for group in self.groups if group.columns == columns],
            [gap for gap in self.gaps if gap.columns == columns],
        )

    @property
    def flat(self) -> dict[str, float]:
        """As gates name them: `auroc/sex=F`, `equalized_odds_gap/sex`; NaN where there is no number."""
        values = {
            f"{name}/{group.key}": group.values[name][0] if name in group.values else math.nan
            for group in self.groups
            for name in self.names
        }
        return values | {f"{gap.name}_gap/{' & '.join(gap.columns)}": gap.value for gap in self.gaps}

    def warnings(self) -> list[str]:
        """One sentence for every column with a gap that is more than chance; the largest of its gaps first."""
        texts = []
        for columns in self.columns:
            beyond = [gap for gap in self.of(columns)[1] if gap.beyond_chance]
            if beyond:
                texts.append(_warning(" & ".join(columns), beyond))
        return texts

    def as_json(self) -> dict[str, Any]:
        return {
            "fewest_patients": self.fewest,
            "method": self.note + METHOD.format(resamples=RESAMPLES, permutations=PERMUTATIONS),
            "all": self.everybody.as_json(),
            "groups": [group.as_json() for group in self.groups],
            "gaps": [
                {
                    "columns": list(gap.columns),
                    "gap": gap.name,
                    "value": gap.value,
                    "low": gap.low,
                    "high": gap.high,
                    "measure": gap.measure,
                    "worst": gap.worst,
                    "best": gap.best,
                    "p": gap.p,
                    "p_holm": gap.p_holm,
                    "beyond_chance": gap.beyond_chance,
                }
                for gap in self.gaps
            ],
        }

    def rows(self) -> list[dict[str, Any]]:
        """For groups.csv: one line per group and measure, then one per gap."""
        lines: list[dict[str, Any]] = []
        for group in (self.everybody, *self.groups):
            who = {
                "columns": " & ".join(group.columns),
                "group": group.name,
                "cases": group.cases,
                "patients": group.patients,
                "prevalence": math.nan if group.prevalence is None else group.prevalence,
            }
            for name in self.names:
                value, low, high = group.values.get(name, (math.nan,) * 3)
                lines.append(
                    who | {"measure": name, "value": value, "low": low, "high": high, "p": "", "p_holm": ""}
                    | {"note": group.too_few}
                )  # fmt: skip
        for gap in self.gaps:
            lines.append(
                {"columns": " & ".join(gap.columns), "group": f"{gap.best} to {gap.worst}" if gap.worst else ""}
                | {"measure": f"{gap.name}_gap", "value": gap.value, "low": gap.low, "high": gap.high}
                | {"p": gap.p, "p_holm": gap.p_holm}
                | {"note": "" if gap.worst else "fewer than two groups with numbers"}
            )  # fmt: skip
        return lines


def _warning(title: str, beyond: Sequence[FoundGap]) -> str:
    parts = [
        f"{GAP_TITLES[gap.name][1]} {gap.value:.2f} ({gap.low:.2f} to {gap.high:.2f}, p = {p_text(gap.p_holm)}; "
        f"worst: {gap.worst}, best: {gap.best})"
        for gap in sorted(beyond, key=lambda gap: (gap.p_holm, -gap.value))
    ]
    return f"Groups of {title} differ by more than chance: {'; '.join(parts)}."


def p_text(p: float) -> str:
    """Two digits that matter; a dash for no test."""
    return "–" if math.isnan(p) else f"{p:.2f}" if p >= 0.095 else f"{p:.2g}"


def group_names(sample_names: Sequence[str], gaps: Sequence[Gap], groupings: Sequence[Grouping]) -> set[str]:
    """The names in `Groups.flat`, before anything is measured."""
    names = {
        f"{name}/{one.key(group)}"
        for one in groupings
        for group in range(len(one.names))
        for name in sample_names
    }
    return names | {f"{gap.name}_gap/{one.title}" for one in groupings for gap in gaps}


def measure_groups(
    sample: Sample,
    columns: Sequence[Mapping[str, str]],
    patients: Sequence[str],
    *,
    fewest: int,
    seed: int = 0,
    progress: Progress = ignore,
) -> Groups | None:
    """Measure every group of every column and of every pair of columns; None when there are no columns.

    Args:
        sample: The judged cases.
        columns: Column to value, one mapping per case.
        patients: One per case.
        fewest: Patients that a group needs for numbers; for classification also half as many with and half as
            many without a class.
    """
    groupings = group_cases(columns, patients, fewest=fewest)
    if not groupings:
        return None
    names = np.asarray(patients, dtype=str)
    parts = [[np.flatnonzero(one.codes == group) for group in range(len(one.names))] for one in groupings]
    reasons = [[reason_for(sample, cases, names, fewest) for cases in groups] for groups in parts]
    partitions = [
        with_numbers(one.codes, [not reason for reason in why])
        for one, why in zip(groupings, reasons, strict=True)
    ]
    everybody = Grouping(("all cases",), ["all"], np.zeros(len(names), int))
    *drawn, drawn_of_all = resampled_values(sample, [*partitions, (everybody.codes, 1)], patients, seed=seed)
    values_of_all = group_values(sample, everybody.codes, 1)
    whole = _groups(sample, everybody, [np.arange(len(names))], [""], names, values_of_all, drawn_of_all)
    groups: list[Group] = []
    gaps: list[FoundGap] = []
    tests = _tests(groupings, partitions, sample)
    for number, (one, (codes, kept)) in enumerate(zip(groupings, partitions, strict=True)):
        progress("groups", number, len(groupings))
        values = group_values(sample, codes, kept)
        named = [name for name, reason in zip(one.names, reasons[number], strict=True) if not reason]
        groups += _groups(sample, one, parts[number], reasons[number], names, values, drawn[number])
        if kept > 1:
            count = max(PERMUTATIONS, math.ceil(2 * tests[len(one.columns)] / SIGNIFICANT))
            p = chance(sample, codes, kept, patients, permutations=count, seed=seed)
        else:
            p = dict.fromkeys((gap.name for gap in sample.gaps), math.nan)
        gaps += [_gap(gap, one, named, values, drawn[number], p[gap.name]) for gap in sample.gaps]
    progress("groups", len(groupings), len(groupings))
    return Groups(fewest, sample.names, whole[0], groups, _corrected(gaps), sample.note)


def _tests(
    groupings: Sequence[Grouping], partitions: Sequence[tuple[np.ndarray, int]], sample: Sample
) -> dict[int, int]:
    """How many tests there are of single columns (1) and of intersections (2): the families of `_corrected`."""
    counts = {1: 0, 2: 0}
    for one, (_, kept) in zip(groupings, partitions, strict=True):
        counts[len(one.columns)] += len(sample.gaps) if kept > 1 else 0
    return counts


def reason_for(sample: Sample, cases: np.ndarray, patients: np.ndarray, fewest: int) -> str:
    """Why a group gets no numbers, or ""."""
    known = cases[sample.counted[cases].any(1)]
    columns = slice(None) if sample.positive is None else [sample.positive]
    shown = sample.truth[known][:, columns] if sample.told_apart else None
    return too_few(shown, patients[known], fewest)


def with_numbers(codes: np.ndarray, kept: Sequence[bool]) -> tuple[np.ndarray, int]:
    """Codes of the groups that are kept, counted anew; -1 for the others."""
    place = np.where(kept, np.cumsum(kept) - 1, -1)
    return place[codes], int(np.sum(kept))


def _groups(
    sample: Sample,
    one: Grouping,
    parts: Sequence[np.ndarray],
    reasons: Sequence[str],
    patients: np.ndarray,
    values: Mapping[str, np.ndarray],
    drawn: Mapping[str, np.ndarray],
) -> list[Group]:
    found, place = [], 0
    for number, (cases, reason) in enumerate(zip(parts, reasons, strict=True)):
        measured = {}
        if not reason:
            for name in sample.names:
                value = float(values[name][place])
                interval = percentile_interval(drawn[name][:, place], LEVEL)
                if name in ("sensitivity", "specificity", "accuracy") and sample.positive is not None:
                    interval = at_the_bounds(value, interval, _judged_patients(sample, name, cases, patients))
                measured[name] = (value, *(interval if math.isfinite(value) else (math.nan, math.nan)))
            place += 1
        share = None if sample.positive is None else float(sample.truth[cases, sample.positive].mean())
        who = (one.columns, one.names[number], one.key(number))
        found.append(Group(*who, len(cases), len(set(patients[cases])), share, reason, measured))
    return found


def _judged_patients(sample: Sample, name: str, cases: np.ndarray, patients: np.ndarray) -> int:
    """Patients with a case that the rate is a share of."""
    positive = sample.truth[cases, sample.positive]
    of = {"sensitivity": positive, "specificity": ~positive, "accuracy": np.ones(len(cases), bool)}[name]
    return len(set(patients[cases[of]]))


def _gap(
    gap: Gap,
    one: Grouping,
    named: Sequence[str],
    values: Mapping[str, np.ndarray],
    drawn: Mapping[str, np.ndarray],
    p: float,
) -> FoundGap:
    value = float(gap_value(gap, values))
    if not math.isfinite(value):
        return FoundGap(one.columns, gap.name, math.nan, math.nan, math.nan, "", "", "", math.nan)
    found = ends(gap, values)
    low, high = percentile_interval(difference(found, values, drawn), LEVEL)
    return FoundGap(
        one.columns, gap.name, value, low, high, found.measure, named[found.worst], named[found.best], p
    )


def _corrected(gaps: Sequence[FoundGap]) -> list[FoundGap]:
    """With Holm's correction among the columns, and among the intersections: many pairs do not hide a column."""
    from dataclasses import replace

    corrected = np.full(len(gaps), math.nan)
    for size in (1, 2):
        family = [number for number, gap in enumerate(gaps) if len(gap.columns) == size]
        corrected[family] = holm([gaps[number].p for number in family])
    return [replace(gap, p_holm=float(p)) for gap, p in zip(gaps, corrected, strict=True)]
