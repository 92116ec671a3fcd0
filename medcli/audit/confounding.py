"""Labels that go with a column, and shortcuts: what a network could learn instead of the disease."""

from collections.abc import Callable, Sequence
from functools import lru_cache
from typing import Any

import numpy as np

from medcli.audit.association import PERMUTATIONS, associate, permutations
from medcli.audit.columns import Column
from medcli.audit.findings import Finding
from medcli.audit.labels import Labels, Target
from medcli.audit.look import Look
from medcli.audit.probe import (
    border,
    brightness,
    corners,
    file_facts,
    folds_of,
    one_hot,
    probe,
    stacked,
    whole,
)  # fmt: skip
from medcli.metrics.comparison import holm

SIGNIFICANT = 0.05
WEAK = 0.1
"""Cramér's V below which an association is not worth a word."""
THE_LABEL = 0.8
"""Cramér's V from which a column is the label in other words."""
TELLS = 0.6
"""AUROC from which a probe is worth a word."""
SITE_LIKE = {"site", "hospital", "centre", "center", "institution", "scanner", "manufacturer", "device",
             "station", "vendor", "view", "viewposition", "view_position", "source"}  # fmt: skip
"""Names of columns that are always asked whether the picture gives them away."""


def associations(
    labels: Labels, columns: Sequence[Column], patients: Sequence[str], seed: int
) -> list[dict[str, Any]]:
    """One row per target and column; p values by patient, and adjusted for all rows (Holm)."""
    targets = list(labels.targets())
    if not targets or not columns:
        return []
    rows: list[dict[str, Any]] = []
    shuffled = shuffles_of(patients, PERMUTATIONS, seed)
    for target in targets:
        own, shuffles = shuffled(target.cases)
        for column in columns:
            found = associate(column.codes[target.cases], target.codes, shuffles)
            rows.append(
                {
                    "target": target.name,
                    "column": column.name,
                    "V": found.v,
                    "bits": found.information,
                    "p": found.p,
                    "contrast": _contrast(found.table, column.levels, target.kinds),
                    "cases": len(own),
                    "patients": len(set(own)),
                }
            )
    for row, p in zip(rows, holm([row["p"] for row in rows]), strict=True):
        row["p, Holm"] = p
    return rows


def shuffles_of(
    patients: Sequence[str], count: int, seed: int
) -> Callable[[np.ndarray], tuple[list[str], np.ndarray]]:
    """From the cases whose answer is known to their patients and `permutations`, drawn once for the same cases."""

    @lru_cache(maxsize=1)
    def of(cases: bytes) -> tuple[list[str], np.ndarray]:
        own = [patients[case] for case in np.frombuffer(cases, np.int64)]
        return own, permutations(own, count, seed)

    return lambda cases: of(cases.astype(np.int64).tobytes())


def _contrast(table: np.ndarray, levels: Sequence[str], names: Sequence[str]) -> str:
    """The class and the two well-filled levels that differ most, as `AP: 70 % abnormal, PA: 38 %`."""
    sizes = table.sum(1)
    shares = np.divide(table, sizes[:, None], out=np.zeros(table.shape), where=sizes[:, None] > 0)
    filled = np.flatnonzero(sizes >= max(5, 0.02 * sizes.sum()))
    if len(filled) < 2:
        filled = np.argsort(-sizes)[:2]
    kind = len(names) - 1 if len(names) == 2 else int(np.ptp(shares[filled], axis=0).argmax())
    high, low = filled[shares[filled, kind].argmax()], filled[shares[filled, kind].argmin()]
    return (
        f"{levels[high]}: {shares[high, kind]:.0%} {names[kind]} of {sizes[high]}, "
        f"{levels[low]}: {shares[low, kind]:.0%} of {sizes[low]}"
    )


def association_findings(rows: Sequence[dict[str, Any]]) -> list[Finding]:
    findings = []
    for row in rows:
        if row["p, Holm"] >= SIGNIFICANT or row["V"] < WEAK:
            continue
        numbers = {name: row[name] for name in ("V", "bits", "p", "p, Holm", "cases", "patients")}
        if row["V"] >= THE_LABEL:
            text = (
                f"The column {row['column']} is the {row['target']} in other words (V {row['V']:.2f}): never give "
                "it to a model as input."
            )
            findings.append(Finding("note", "confounding", text, numbers=numbers))
            continue
        text = (
            f"The {row['target']} goes with {row['column']} ({row['contrast']}; V {row['V']:.2f}, "
            f"p {_p(row['p, Holm'])} by patient): report by {row['column']}, and balance it if it is not the "
            "disease."
        )
        findings.append(Finding("warning", "confounding", text, numbers=numbers))
    return findings


def shortcuts(
    labels: Labels,
    columns: Sequence[Column],
    linked: Sequence[str],
    looks: Sequence[Look],
    patients: Sequence[str],
    seed: int,
) -> list[dict[str, Any]]:
    """What tiny models tell of the labels, and of the columns that go with them or are like a site."""
    # Shuffles that cost about the same for any number of cases
    shuffled = shuffles_of(patients, int(np.clip(1e6 / len(patients), 199, 399)), seed + 1)
    thumbs = stacked(looks)
    from_picture: dict[str, Callable[[], np.ndarray]] = {
        "border": lambda: border(thumbs),
        "corners": lambda: corners(thumbs),
        "file": lambda: file_facts(looks),
        "brightness": lambda: brightness(looks),
    }
    rows = []
    for target in labels.targets():
        sources = from_picture | {
            f"column {column.name}": (lambda column=column: one_hot(column.codes))
            for column in columns
            if column.name in linked
        }
        rows += _probed(target, sources, *shuffled(target.cases), seed)
    for column in columns:
        if column.name in linked or column.name.lower() in SITE_LIKE:
            sources = from_picture | {"whole picture": lambda: whole(thumbs)}
            everyone = np.arange(len(patients))
            asked = Target(f"column {column.name}", everyone, column.codes, column.levels)
            rows += _probed(asked, sources, *shuffled(everyone), seed)
    return rows


def _probed(
    target: Target,
    sources: dict[str, Callable[[], np.ndarray]],
    patients: Sequence[str],
    shuffles: np.ndarray,
    seed: int,
) -> list[dict[str, Any]]:
    fold = folds_of(target.codes, patients, seed)
    if fold is None:
        return []
    rows: list[dict[str, Any]] = []
    for source, features in sources.items():
        found = probe(features()[target.cases], target.codes, patients, shuffles, fold)
        if found is not None:
            rows.append({"target": target.name, "from": source, "AUROC": found.auroc,
                         "low": found.low, "high": found.high,
                         "chance low": found.chance[0], "chance high": found.chance[1], "p": found.p,
                         "cases": len(patients), "patients": len(set(patients))})  # fmt: skip
    for row, p in zip(rows, holm([row["p"] for row in rows]), strict=True):
        row["p, Holm"] = p
    return rows


MEANING = {
    "border": "the outer border alone",
    "corners": "the four corners alone",
    "file": "size, depth and compression of the file alone",
    "brightness": "brightness and contrast alone",
    "whole picture": "the picture at 16 x 16",
}


def shortcut_findings(rows: Sequence[dict[str, Any]], links: Sequence[dict[str, Any]]) -> list[Finding]:
    """Labels told from where no disease is; columns that go with the label and can be seen."""
    findings = []
    telling = [
        row for row in rows if row["p, Holm"] < SIGNIFICANT and row["AUROC"] >= TELLS and row["low"] > 0.5
    ]
    answers = {row["column"] for row in links if row["V"] >= THE_LABEL}
    for row in telling:
        if row["target"].startswith("column ") or row["from"].removeprefix("column ") in answers:
            continue
        source = row["from"]
        meaning = MEANING.get(source, f"{source} alone")
        text = f"The {row['target']} can be told from {meaning}: {_auroc(row)}."
        findings.append(Finding("warning", "shortcut", text, numbers=_numbers(row)))
    for name in dict.fromkeys(row["target"] for row in telling if row["target"].startswith("column ")):
        column = name.removeprefix("column ")
        if column in answers:
            continue
        best = max((row for row in telling if row["target"] == name), key=lambda row: row["AUROC"])
        link = max(
            (row for row in links if row["column"] == column and row["p, Holm"] < SIGNIFICANT),
            key=lambda row: row["V"],
            default=None,
        )
        seen = f"{column} can be told from {MEANING[best['from']]}: {_auroc(best)}"
        if link is None:
            findings.append(Finding("note", "shortcut", f"{seen}.", numbers=_numbers(best)))
            continue
        text = (
            f"A shortcut is open: {seen}, and the {link['target']} goes with it ({link['contrast']}). A network can "
            f"learn {column} in place of the disease; look at the results within each {column}."
        )
        findings.append(Finding("warning", "shortcut", text, numbers=_numbers(best) | {"V": link["V"]}))
    return findings


def _numbers(row: dict[str, Any]) -> dict[str, Any]:
    return {name: value for name, value in row.items() if name not in ("target", "from")}


def _auroc(row: dict[str, Any]) -> str:
    return (
        f"AUROC {row['AUROC']:.2f} ({row['low']:.2f} to {row['high']:.2f}; chance {row['chance low']:.2f} to "
        f"{row['chance high']:.2f}), {row['cases']} cases of {row['patients']} patients"
    )


def _p(p: float) -> str:
    return f"{p:.3f}"
