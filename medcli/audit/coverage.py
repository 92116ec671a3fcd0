"""Who is in which part: cases, patients, labels and missing values of every group."""

from collections.abc import Sequence
from typing import Any

import numpy as np

from medcli.audit.columns import MISSING, OTHER, Column
from medcli.audit.findings import Finding
from medcli.audit.leakage import Division, by_part

FEW = 10
"""Patients of a group below which a measure on it says little."""
MUCH_MISSING = 0.05
MOST_LEVELS = 8
"""Columns with more levels are not looked at group by group."""


def coverage_rows(
    division: Division,
    columns: Sequence[Column],
    patients: Sequence[str],
    labels: np.ndarray,
    classes: Sequence[str],
) -> list[dict[str, Any]]:
    """One row per part and level, and one for the whole part: cases, patients, share of every class.

    Args:
        labels: (n, k) float, as of `Labels.truth`.
    """
    rows = []
    for part, here in by_part(division.parts).items():
        rows.append({"part": part, "column": "", "group": "all", **_counts(here, patients, labels, classes)})
        for column in columns:
            for code, level in enumerate(column.levels):
                members = [index for index in here if column.codes[index] == code]
                rows.append(
                    {"part": part, "column": column.name, "group": level}
                    | _counts(members, patients, labels, classes)
                )
    return rows


def _counts(
    members: Sequence[int], patients: Sequence[str], labels: np.ndarray, classes: Sequence[str]
) -> dict[str, Any]:
    known = np.isfinite(labels[members])
    with np.errstate(invalid="ignore"):
        shares = np.nansum(labels[members], 0) / known.sum(0)  # of those whose label is known
    return {
        "cases": len(members),
        "patients": len({patients[index] for index in members}),
        **{f"share {name}": float(share) for name, share in zip(classes, shares, strict=True)},
    }


def coverage_findings(
    division: Division | None,
    columns: Sequence[Column],
    patients: Sequence[str],
    labels: np.ndarray,
    classes: Sequence[str],
) -> list[Finding]:
    """Missing values, groups without training cases, groups too small to be measured."""
    total = len(patients)
    findings = []
    for column in columns:
        if column.missing >= MUCH_MISSING * total:
            text = (
                f"The column {column.name} is empty for {column.missing} of {total} cases "
                f"({column.missing / total:.0%}); they are a group of their own."
            )
            findings.append(Finding("note", "coverage", text, numbers={"missing": column.missing}))
    if division is None:
        return findings
    small = []
    rows = coverage_rows(
        division, [c for c in columns if len(c.levels) <= MOST_LEVELS], patients, labels, classes
    )
    found = {(row["part"], row["column"], row["group"]): row for row in rows}
    parts = list(by_part(division.parts))
    for column, group in dict.fromkeys((row["column"], row["group"]) for row in rows if row["column"]):
        if group in (MISSING, OTHER):
            continue
        counts = {part: found[part, column, group] for part in parts}
        if "train" in parts and not counts["train"]["cases"] and len(parts) > 1:
            text = f"No training case has {column} = {group}, but other parts do."
            findings.append(Finding("warning", "coverage", text))
        small += [
            f"{column} = {group} in {part} ({row['patients']})"
            for part, row in counts.items()
            if part != "train" and row["patients"] < FEW
        ]
    for part, here in by_part(division.parts).items():
        counts_here = np.nansum(labels[here], 0).tolist()
        lacking = [name for name, count in zip(classes, counts_here, strict=True) if not count]
        if lacking:
            text = f"The part {part} has no case with {', '.join(lacking)}."
            findings.append(Finding("warning", "coverage", text))
    if small:
        text = f"Groups with fewer than {FEW} patients say little when measured: {', '.join(small[:12])}"
        findings.append(
            Finding(
                "note",
                "coverage",
                text + (", ..." if len(small) > 12 else "."),
                numbers={"groups": len(small)},
            )
        )
    return findings
