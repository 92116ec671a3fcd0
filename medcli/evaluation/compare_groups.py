"""Groups of two evaluated runs, before and after: each group's measures, the worst group, the gaps, and the price."""

import math
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

import numpy as np

from medcli.errors import RunError
from medcli.evaluation.choose import judge_for
from medcli.evaluation.groups import reason_for, with_numbers
from medcli.evaluation.kept import Kept, opened
from medcli.grouping import Grouping, group_cases
from medcli.metrics.bootstrap import LEVEL, percentile_interval
from medcli.metrics.groups import difference, ends, gap_value, group_values, resampled_values
from medcli.metrics.samples import Sample

NOTE = (
    "Groups: {}B - A, with 95 % intervals by paired resampling of patients. The worst group and the groups of a gap "
    "are those farthest from the goal in each run; a run that was chosen for a large gap on these same cases shows a "
    "smaller one next time by chance alone."
)


@dataclass(frozen=True)
class GroupRow:
    """Attributes:
    columns: `all cases`, `sex`, `sex & age`.
    kind: "all" (the price), "group", "worst group" or "gap".
    group: Its name; of the worst group and of a gap those of A and B, where they differ.
    measure: Or the name of the gap.
    a, b, difference: Difference is B minus A.
    low, high: Of the difference.
    cases, patients: Of the group; of the others all that were compared.
    """

    columns: str
    kind: str
    group: str
    measure: str
    a: float
    b: float
    difference: float
    low: float
    high: float
    cases: int
    patients: int


@dataclass(frozen=True, eq=False)
class Side:
    """One result: its cases in the order of `names`, as a sample; group columns; the fewest patients of a group."""

    sample: Sample
    groups: list[dict[str, str]]
    fewest: int


def compare_groups(
    a: Path, b: Path, names: Sequence[str], patients: Sequence[str]
) -> tuple[list[GroupRow], list[str]]:
    """Rows and notes; no rows where the results have no group columns in common.

    Args:
        a, b: RUN/evaluate/NAME of each.
        names: The cases that both were judged on.
        patients: One per case.
    """
    try:
        first, second = (_side(folder, names) for folder in (a, b))
    except RunError as error:
        return [], [f"Groups are not compared: {error}"]
    shared = [name for name in first.groups[0] if name in second.groups[0]]
    values = [{name: one[name] for name in shared} for one in first.groups]
    groupings = group_cases(values, patients, fewest=max(first.fewest, second.fewest))
    if not groupings:
        return [], []
    return _rows(first, second, groupings, patients), [NOTE.format(first.sample.note)]


def _side(folder: Path, names: Sequence[str]) -> Side:
    run, kept = opened(folder), Kept.load(folder)
    place = {case: number for number, case in enumerate(kept.cases)}
    order = [place[name] for name in names]
    judge = judge_for(run.plan, run.config.evaluate, run, own=kept.own)
    judge.restore([kept.judged[number] for number in order], folder)
    groups = kept.group_values
    return Side(judge.sample(), [groups[number] for number in order], run.config.evaluate.group_patients)


def _rows(
    first: Side, second: Side, groupings: Sequence[Grouping], patients: Sequence[str]
) -> list[GroupRow]:
    whose, fewest = np.asarray(patients, dtype=str), max(first.fewest, second.fewest)
    everybody = Grouping(("all cases",), ["all"], np.zeros(len(whose), int))
    several = [everybody, *groupings]
    parts = [[np.flatnonzero(one.codes == group) for group in range(len(one.names))] for one in several]
    enough = [
        [one is everybody or not reason_for(first.sample, cases, whose, fewest) for cases in groups]
        for one, groups in zip(several, parts, strict=True)
    ]
    partitions = [with_numbers(one.codes, kept) for one, kept in zip(several, enough, strict=True)]
    drawn = [resampled_values(side.sample, partitions, patients) for side in (first, second)]
    rows: list[GroupRow] = []
    for number, (one, (codes, count)) in enumerate(zip(several, partitions, strict=True)):
        pair = _Pair(
            [group_values(side.sample, codes, count) for side in (first, second)],
            [resamples[number] for resamples in drawn],
            [name for name, kept in zip(one.names, enough[number], strict=True) if kept],
        )
        title = " & ".join(one.columns)
        sizes = [
            (len(cases), len(set(whose[cases])))
            for cases, kept in zip(parts[number], enough[number], strict=True)
            if kept
        ]
        for place, (group, size) in enumerate(zip(pair.names, sizes, strict=True)):
            kind = "all" if one is everybody else "group"
            rows += [
                GroupRow(title, kind, group, name, *pair.of_groups(name, place, place), *size)
                for name in first.sample.names
            ]
        if count > 1:
            known = (int((codes >= 0).sum()), len(set(whose[codes >= 0])))
            rows += pair.worst(first.sample, title, known) + pair.gaps(first.sample, title, known)
    return rows


@dataclass(frozen=True, eq=False)
class _Pair:
    """Attributes:
    values: Of A and of B, (groups,) by measure.
    drawn: The same, (resamples, groups), from common resamples.
    names: Of the groups.
    """

    values: list[dict[str, np.ndarray]]
    drawn: list[dict[str, np.ndarray]]
    names: list[str]

    def of_groups(self, name: str, in_a: int, in_b: int) -> tuple[float, float, float, float, float]:
        """A, B, B - A and its interval."""
        before, after = float(self.values[0][name][in_a]), float(self.values[1][name][in_b])
        off = self.drawn[1][name][:, in_b] - self.drawn[0][name][:, in_a]
        return _with_interval(before, after, off)

    def worst(self, sample: Sample, title: str, known: tuple[int, int]) -> list[GroupRow]:
        """Of every measure that a gap is about."""
        goals = {name: gap.target for gap in sample.gaps for name in gap.measures}
        rows = []
        for name, goal in goals.items():
            off = [np.abs(values[name] - goal) for values in self.values]
            if any(np.isnan(one).all() for one in off):
                continue
            in_a, in_b = (int(np.nanargmax(one)) for one in off)
            group = _named([self.names[in_a]], [self.names[in_b]])
            rows.append(
                GroupRow(title, "worst group", group, name, *self.of_groups(name, in_a, in_b), *known)
            )
        return rows

    def gaps(self, sample: Sample, title: str, known: tuple[int, int]) -> list[GroupRow]:
        rows = []
        for gap in sample.gaps:
            sizes = [float(gap_value(gap, values)) for values in self.values]
            if not all(map(math.isfinite, sizes)):
                continue
            found = [ends(gap, values) for values in self.values]
            drawn = [difference(*three) for three in zip(found, self.values, self.drawn, strict=True)]
            pairs = [[self.names[one.worst], self.names[one.best]] for one in found]
            group = _named(*pairs)
            numbers = _with_interval(sizes[0], sizes[1], drawn[1] - drawn[0])
            rows.append(GroupRow(title, "gap", group, gap.name, *numbers, *known))
        return rows


def _named(in_a: Sequence[str], in_b: Sequence[str]) -> str:
    first, second = " to ".join(in_a), " to ".join(in_b)
    return first if first == second else f"A: {first}; B: {second}"


def _with_interval(
    before: float, after: float, drawn: np.ndarray
) -> tuple[float, float, float, float, float]:
    low, high = percentile_interval(drawn, LEVEL)
    off = after - before
    return before, after, off, *((low, high) if math.isfinite(off) else (math.nan, math.nan))
