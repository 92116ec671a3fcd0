"""The report of an audit as one HTML file, with pictures of the pairs and of the suspects."""

from collections import Counter
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np

from medcli.audit.duplicates import Pair
from medcli.audit.findings import LEVELS
from medcli.audit.look import SIDE
from medcli.case import Case
from medcli.config.schema import Config
from medcli.drawing import beside, to_display, views
from medcli.errors import MedcliError
from medcli.report import Card, Report

if TYPE_CHECKING:
    from medcli.audit.work import Audit, Data

PICTURES = 12
SHOWN = {"leak": "leaks in the split", "warning": "warnings", "note": "notes"}
CAPTIONS = {
    "associations": "Every label against every column: Cramér's V (0 to 1), mutual information in bits, p by "
    "shuffling patients, adjusted for all rows (Holm).",
    "shortcuts": "What a linear model tells from what should not know it, five-fold by patient; chance is the range "
    "of 95 % of models on shuffled answers.",
    "label errors": "The small model (logistic regression on the picture at 16 x 16 and gradient histograms) whose "
    "doubts make the suspects.",
    "coverage": "Who is in which part.",
}


def write_page(path: Path, config: Config, data: "Data", result: "Audit") -> None:
    counts = Counter(finding.level for finding in result.findings)
    patients = str(result.patients) if data.patients_known else "unknown"
    report = Report(
        f"{config.name or 'data'}: audit", f"{result.cases} cases, patients: {patients}, before any training"
    )
    report.cards([Card(SHOWN[level], counts[level]) for level in LEVELS])
    report.heading("Findings").table(
        [
            {"level": finding.level, "check": finding.check, "finding": finding.text}
            for finding in result.findings
        ],
        "leak: measures on the split in use would be too good. warning: look before training. note: to know.",
    )
    if result.pairs:
        pairs = sorted(result.pairs, key=lambda pair: (not pair.exact, -pair.correlation))
        shown = [
            (
                beside([picture_of(data, index) for index in (pair.first, pair.second)]),
                f"{data.names[pair.first]} = {data.names[pair.second]}: {alike_text(pair)}",
            )
            for pair in pairs[:PICTURES]
        ]
        report.heading("Duplicates").pictures(shown, f"{len(shown)} of {len(pairs)} pairs.", wide=True)
    if result.suspects:
        shown = [
            (picture_of(data, index), f"{data.names[index]}: {reason}")
            for index, reason in result.suspects[: 2 * PICTURES]
        ]
        report.heading("Suspicious labels").pictures(shown, f"{len(shown)} of {len(result.suspects)}.")
    for name, rows in result.tables.items():
        if rows:
            report.heading(name.capitalize()).table(rows, CAPTIONS.get(name, ""))
    report.write(path)


def alike_text(pair: Pair) -> str:
    if pair.exact:
        return "the same"
    return f"correlation {pair.correlation:.2f}" + (f", {pair.turn}" if pair.turn else "")


def picture_of(data: "Data", index: int) -> np.ndarray:
    """The case as it lies on disk; the small picture when it cannot be read again."""
    try:
        return _read(data.cases[index])
    except (MedcliError, OSError):
        thumb: Any = np.kron(
            to_display(data.looks[index].thumb), np.ones((200 // SIDE, 200 // SIDE, 1), np.uint8)
        )
        return thumb


def _read(case: Case) -> np.ndarray:
    from medcli.io.readers import read_channels

    return views(read_channels(case.images), longest=220)[0].rgb
