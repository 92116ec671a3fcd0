"""How much a measure differs between the folds of a cross-validation: the same data, other networks, other cases."""

import math
import statistics
from collections.abc import Sequence
from typing import Any

import numpy as np

from medcli.evaluation.judge import Section, Table
from medcli.evaluation.kept import Kept
from medcli.evaluation.measures import TITLES
from medcli.metrics.samples import Sample
from medcli.report import number_text
from medcli.run import Run


def fold_spread(run: Run, kept: Kept, sample: Sample, names: Sequence[str]) -> dict[str, Any] | None:
    """For metrics.json: per fold the cases and measures, then mean and standard deviation (n - 1) of the folds.

    None when the cases were not predicted out of fold.
    """
    if not run.folds or not kept.own:
        return None
    fold = {record.case: record.fold for record in run.records if record.split == "val"}
    number = np.array([-1 if (found := fold.get(case)) is None else found for case in kept.cases])
    rows: list[dict[str, Any]] = []
    for one in sorted(set(number[number >= 0].tolist())):
        own = np.flatnonzero(number == one)
        values = sample.values(own, np.ones(len(own)), names)
        rows.append({"fold": one, "cases": len(own)} | {name: float(values[name]) for name in names})
    if len(rows) < 2:
        return None
    return {"folds": rows, "spread": {name: _spread([row[name] for row in rows]) for name in names}}


def _spread(values: Sequence[float]) -> dict[str, float]:
    known = [value for value in values if math.isfinite(value)]
    if not known:
        return {"mean": math.nan, "sd": math.nan}
    return {"mean": statistics.fmean(known), "sd": statistics.stdev(known) if len(known) > 1 else math.nan}


def fold_section(content: dict[str, Any]) -> Section:
    caption = (
        "Each fold by itself: the cases that its network did not train on. The spread holds differences between the "
        "cases as well as between the networks, and as the networks share most of their training cases it says less "
        "than it seems about training on other data."
    )
    rows: list[dict[str, Any]] = [{**row, "fold": str(row["fold"])} for row in content["folds"]]
    for key, title in (("mean", "mean"), ("sd", "standard deviation")):
        rows.append({"fold": title} | {name: found[key] for name, found in content["spread"].items()})
    return Section("Folds", [Table(rows, caption)], [])


def fold_note(content: dict[str, Any]) -> str:
    """One sentence about the most important measure."""
    name, found = next(iter(content["spread"].items()))
    values = [row[name] for row in content["folds"] if math.isfinite(row[name])]
    if not values:
        return f"{TITLES[name][0]} is undefined in every fold."
    return (
        f"{TITLES[name][0]} of the {len(content['folds'])} folds one by one: {number_text(min(values))} to "
        f"{number_text(max(values))}, mean {number_text(found['mean'])}, standard deviation {number_text(found['sd'])}."
    )
