"""Hospitals and scanners: where a run was tested, where it was not trained, and how much hangs on one of them.

A column of groups is one of sites when its name says so, see `is_site`.
Every site gets its value (as in the groups), whether training saw it, and what the result would be without it. The
latter is a view of this evaluation, not a training that leaves the site out; for that, give `data.split.file` a split
in which one site is the test part.
"""

import math
from collections import Counter
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np

from medcli.evaluation.groups import Groups
from medcli.evaluation.groups_page import interval_text
from medcli.evaluation.judge import Section, Table
from medcli.evaluation.measures import TITLES
from medcli.grouping import OTHER, UNKNOWN, ColumnRule, Grouping, group_column, is_site
from medcli.metrics.bootstrap import LEVEL, patient_weights, percentile_interval
from medcli.metrics.samples import Sample
from medcli.preprocessing.prepared import Record

RESAMPLES = 1000


@dataclass(frozen=True)
class Sites:
    """Attributes:
    content: By column what metrics.json holds under `sites`, see `_column`.
    """

    content: dict[str, dict[str, Any]]

    @property
    def notes(self) -> list[str]:
        """One statement for every column."""
        return [_statement(column, found) for column, found in self.content.items()]

    @property
    def section(self) -> Section:
        return Section("Sites", [_table(column, found) for column, found in self.content.items()], [])


def measure_sites(
    groups: Groups,
    sample: Sample,
    columns: Sequence[Mapping[str, str]],
    patients: Sequence[str],
    measure: str,
    records: Sequence[Record],
    *,
    fewest: int,
    seed: int = 0,
) -> Sites | None:
    """None without a column of sites.

    Args:
        groups: The same cases by group, whose values are told again.
        sample: The judged cases.
        columns: Column to value, one mapping per case.
        patients: One per case.
        measure: That the statement is about, of `sample.names`.
        records: What the run was trained on.
        fewest: See `measure_groups`.
    """
    names = np.asarray(patients, dtype=str)
    found = {}
    for column in dict.fromkeys(name for one in columns for name in one if is_site(name)):
        values = [one.get(column, "") for one in columns]
        one = group_column(column, values, names, fewest=fewest)
        trained = _trained(ColumnRule.fit(column, values, names, fewest=fewest), records)
        found[column] = _column(one, groups, sample, patients, measure, trained, seed)
    return Sites(found) if found else None


def _column(
    one: Grouping,
    groups: Groups,
    sample: Sample,
    patients: Sequence[str],
    measure: str,
    trained: Mapping[str, int] | None,
    seed: int,
) -> dict[str, Any]:
    """measure; all: value, low, high; sites: name, cases, patients, trained (patients in the training part, None:
    unknown), too_few, value, low, high, and `without`: value, low, high, difference, difference_low, difference_high.
    """
    everybody = groups.everybody
    told = {group.name: group for group in groups.of(one.columns)[0]}
    without = _without(one, sample, patients, measure, seed)
    sites = []
    for number, name in enumerate(one.names):
        group = told[name]
        value, low, high = group.values.get(measure, (math.nan,) * 3)
        seen = None if trained is None or name in (UNKNOWN, OTHER) else trained.get(name, 0)
        sites.append(
            {"name": name, "cases": group.cases, "patients": group.patients, "trained": seen}
            | {"too_few": group.too_few, "value": value, "low": low, "high": high, "without": without[number]}
        )  # fmt: skip
    value, low, high = everybody.values[measure]
    return {"measure": measure, "all": {"value": value, "low": low, "high": high}, "sites": sites}


def _trained(rule: ColumnRule, records: Sequence[Record]) -> Counter[str] | None:
    """Patients in the training part by site; None when the run does not know the column."""
    known = {
        (rule.group(record.groups[rule.column]), record.patient)
        for record in records
        if record.split == "train" and record.groups.get(rule.column)
    }
    return Counter(site for site, _ in known if site) if known else None


def _without(
    one: Grouping, sample: Sample, patients: Sequence[str], measure: str, seed: int
) -> list[dict[str, float] | None]:
    """The result on all other sites, against that on all, from common resamples; None when there is no other."""
    everybody = np.arange(len(one.codes))
    others = [np.flatnonzero(one.codes != number) for number in range(len(one.names))]
    if len(others) < 2:
        return [None] * len(others)

    def values(weights: np.ndarray) -> np.ndarray:
        parts = [everybody, *others]
        return np.stack([sample.values(part, weights[:, part], [measure])[measure] for part in parts], -1)

    exact = values(np.ones((1, len(everybody))))[0]
    drawn = np.concatenate(
        [values(weights) for weights in patient_weights(patients, resamples=RESAMPLES, seed=seed)]
    )
    found: list[dict[str, float] | None] = []
    for number in range(1, len(exact)):
        low, high = percentile_interval(drawn[:, number], LEVEL)
        change_low, change_high = percentile_interval(drawn[:, number] - drawn[:, 0], LEVEL)
        found.append(
            {"value": float(exact[number]), "low": low, "high": high}
            | {"difference": float(exact[number] - exact[0])}
            | {"difference_low": change_low, "difference_high": change_high}
        )
    return found


# ---- words


def _statement(column: str, found: Mapping[str, Any]) -> str:
    sites, title = found["sites"], TITLES[found["measure"]][0]
    if len(sites) == 1:
        return f"Sites ({column}): all cases are from {sites[0]['name']}; how the run does elsewhere is not known."
    known = [site for site in sites if math.isfinite(site["value"])]
    parts = []
    if len(known) > 1:
        ends = [pick(known, key=lambda site: site["value"]) for pick in (min, max)]
        parts.append(f"{title} from {_told(ends[0])} to {_told(ends[1])}")
        moved = max(known, key=lambda site: abs(site["without"]["difference"]))
        without = moved["without"]
        bounds = f"{without['difference_low']:+.3f} to {without['difference_high']:+.3f}"
        parts.append(f"leaving out {moved['name']} moves it most, by {without['difference']:+.3f} ({bounds})")
    else:
        parts.append("too few patients of more than one of them to compare")
    unseen = [site["name"] for site in sites if site["trained"] == 0]
    if unseen:
        parts.append(f"not in the training part: {', '.join(unseen)}")
    elif all(site["trained"] for site in sites if site["trained"] is not None) and any(
        site["trained"] for site in sites
    ):
        parts.append("all of them were in the training part, so a new site may do worse")
    return f"Sites ({column}): {'; '.join(parts)}."


def _told(site: Mapping[str, Any]) -> str:
    interval = interval_text(site["value"], site["low"], site["high"])
    return f"{interval} at {site['name']} ({site['patients']} patients)"


def _table(column: str, found: Mapping[str, Any]) -> Table:
    title = TITLES[found["measure"]][0]
    rows = []
    for site in found["sites"]:
        without = site["without"]
        row = {column: site["name"], "cases": site["cases"], "patients": site["patients"]}
        if site["trained"] is not None:
            row["patients in training"] = site["trained"]
        row[title] = "too few" if site["too_few"] else interval_text(site["value"], site["low"], site["high"])
        if without:
            row["without this site"] = interval_text(without["value"], without["low"], without["high"])
            row["change"] = (
                f"{without['difference']:+.3f} "
                f"({without['difference_low']:+.3f} to {without['difference_high']:+.3f})"
            )
        rows.append(row)
    whole = found["all"]
    return Table(
        rows,
        f"{title} by {column}, and of all other sites together; all: "
        f"{interval_text(whole['value'], whole['low'], whole['high'])}. 95 % intervals by resampling patients.",
    )
