"""The report of an evaluation as one HTML file, the model card, and every table as a file of its own."""

import math
from pathlib import Path
from typing import Any

import numpy as np

from medcli.evaluation.findings import Findings, plural
from medcli.evaluation.groups_page import interval_text
from medcli.evaluation.judge import Measured, Support, Table
from medcli.evaluation.kept import Kept, cells
from medcli.evaluation.measures import TITLES
from medcli.evaluation.model_card import model_card, write_card
from medcli.evaluation.short import in_short, prevalence
from medcli.files import write_csv
from medcli.report import Card, Report, number_text

MOST_ROWS = 2000
"""Lines of the table of cases in the page; cases.csv has all."""
TABLES = "tables"
HOLDS = {
    "metrics.json": "every number of this page with full precision",
    "cases.csv": "one line per case: truth, prediction, measures",
    "detections.json": "all boxes from a low score on, and the true ones",
    "errors.csv": "every false box, missed object and wrong class, with its place and why",
    "score_curves.csv": "precision, recall, F1 and false boxes per image by score, for every class",
    "explanations.json": "maps of the worst cases and what their checks say",
    "groups.csv": "every group and every gap between groups",
    "robustness.csv": "what corruptions of the image cost, at every strength",
    "model_card.md": "the model card as Markdown",
    "config.yaml": "every setting that this was made with",
    "evaluation.json": "which cases, weights and pictures",
}
"""What the files of the folder hold, of those that are there."""
DETAILS = {
    "false": ("False boxes", "The most confident first; truth beside what was found. All are in errors.csv."),
    "missed": ("Missed objects", "From large to small; truth beside what was found. All are in errors.csv."),
}
"""Kind of detail to its heading and what is said of it."""


def write_page(folder: Path, found: Findings) -> None:
    """Write report.html, model_card.md and tables/*.csv; the plots lie in the folder as PNG."""
    judge = found.judge
    report = Report(f"{found.name}: {found.run.plan.task}", f"Evaluated on {found.where}: {found.size}")
    tables = _Tables(report, folder)
    report.warnings(_warnings(found))
    report.heading("In short").cards([_card(found, name) for name in judge.headline])
    report.answers(in_short(found))
    report.heading("Measures")
    caption = "95 % intervals by resampling patients; they need several patients."
    tables.add("measures", Table(_overall(found), caption))
    if len(found.run.plan.classes) > 1:
        caption = "For every class, with 95 % intervals."
        tables.add("classes", Table(_per_class(found), caption))
    if found.plots:
        report.heading("Plots").paragraph(f"From {found.size}. {prevalence(found)}")
    for plot in found.plots:
        report.plot((folder / f"{plot.name}.png").read_bytes(), plot.caption, plot.alt)
    basis = f"From {found.size} where no other number is told. {prevalence(found)}"
    for section in found.sections:
        report.heading(section.title).paragraph(basis)
        for table in section.tables:
            tables.add(section.title, table)
        for plot in section.plots:
            report.plot((folder / f"{plot.name}.png").read_bytes(), plot.caption, plot.alt)
    _pictures(tables, folder, found)
    report.heading("Cases").table(*_cases(found.kept), file="cases.csv", long=True)
    _model_card(tables, folder, found)
    _how(tables, found)
    _files(tables)
    report.write(folder / "report.html")


class _Tables:
    """Puts tables into the report and into files of their own; keeps a list of these."""

    def __init__(self, report: Report, folder: Path) -> None:
        self.report, self.folder = report, folder
        self.held: list[tuple[str, str]] = []

    def add(self, title: str, table: Table) -> None:
        stem = "".join(letter if letter.isalnum() else "_" for letter in title.lower()).strip("_")
        names = [name for name, _ in self.held]
        number, file = 1, f"{TABLES}/{stem}.csv"
        while file in names:
            number += 1
            file = f"{TABLES}/{stem}_{number}.csv"
        write_csv(self.folder / file, [cells(row) for row in table.rows])
        self.held.append((file, table.caption))
        self.report.table(table.rows, table.caption, file=file)


def _warnings(found: Findings) -> list[str]:
    texts, failed = list(found.content["notes"]), found.kept.failed
    if failed:
        case, reason = next(iter(failed.items()))
        texts.append(
            f"{plural(len(failed), 'case')} could not be judged (status in the table of cases), "
            f"such as {case}: {reason}"
        )
    return texts


def _card(found: Findings, name: str) -> Card:
    interval, of = _interval(name, found.measured), found.based_on(name)
    value = found.measured.overall[name]
    return Card(found.title(name), value, f"{interval}, {of}" if interval else of)


def _interval(name: str, measured: Measured) -> str:
    low, high = measured.intervals[name]
    return f"{number_text(low)} to {number_text(high)} (95 %)" if math.isfinite(low) else ""


def _overall(found: Findings) -> list[dict[str, Any]]:
    rows = []
    for name in found.judge.overall_names:
        low, high = found.measured.intervals[name]
        rows.append(
            {"measure": found.title(name), "value": found.measured.overall[name], "from": low, "to": high}
            | _rests_on(found.support[name])
            | {"says": TITLES[name][1]}
        )
    return rows


def _per_class(found: Findings) -> list[dict[str, Any]]:
    judge, measured, support = found.judge, found.measured, found.support
    return [
        {"class": label}
        | _rests_on(support[f"{judge.class_names[0]}/{label}"])
        | {
            found.title(name): interval_text(values[name], *measured.intervals[f"{name}/{label}"])
            for name in judge.class_names
        }
        for label, values in measured.per_class.items()
    ]


def _rests_on(support: Support) -> dict[str, Any]:
    return {name: value for name, value in support._asdict().items() if value is not None}


def _pictures(tables: _Tables, folder: Path, found: Findings) -> None:
    """The worst cases, why, and the best."""
    shows = {
        "classification": "Image of case",
        "regression": "Image of case",
        "detection": "True boxes beside the boxes found, case",
        "segmentation": "True outlines beside the predicted ones, case",
    }[found.run.plan.task]
    report = tables.report

    def drawn(kind: str) -> list[tuple[np.ndarray, str]]:
        return [
            (found.kept.picture(folder, one), caption) for one, caption in found.pictures if one.kind == kind
        ]

    if drawn("worst"):
        report.heading("Worst cases").pictures(drawn("worst"), wide=found.judge.wide, shows=shows)
    for kind, (title, says) in DETAILS.items():
        if drawn(kind):
            report.heading(title).pictures(drawn(kind), says, shows="Part of case")
    if found.why:
        report.heading(found.why.title)
        for table in found.why.tables:
            tables.add("why", table)
        report.pictures(drawn("why"), wide=True, shows="Map of the evidence over the image of case")
    if drawn("best"):
        report.heading("Best cases").pictures(drawn("best"), wide=found.judge.wide, shows=shows)


def _cases(kept: Kept) -> tuple[list[dict[str, Any]], str]:
    rows = kept.rows[:MOST_ROWS]
    left = len(kept.rows) - len(rows)
    caption = "Click on a column's head to sort."
    return rows, caption + (f" {left} more are in cases.csv." if left else "")


def _model_card(tables: _Tables, folder: Path, found: Findings) -> None:
    parts, report = model_card(found), tables.report
    write_card(folder, found, parts)
    report.heading("Model card")
    for part in parts:
        report.subheading(part.title).terms(part.facts)
        for name, table in part.tables:
            tables.add(f"model card {name}", table)


def _how(tables: _Tables, found: Findings) -> None:
    tables.report.heading("How it was made")
    if found.run.plan.reasons:
        reasons = [{"setting": name, "reason": reason} for name, reason in found.run.plan.reasons.items()]
        tables.add("decisions_of_the_plan", Table(reasons, "What was decided by the data, and why."))
    environment = [{"item": key, "value": value} for key, value in flattened(found.run.environment())]
    if environment:
        tables.add("environment", Table(environment, "Where the run was trained."))


def _files(tables: _Tables) -> None:
    there = [(name, text) for name, text in HOLDS.items() if (tables.folder / name).is_file()]
    rows = [{"file": name, "holds": text} for name, text in [*there, *tables.held]]
    tables.report.heading("Files").table(rows, "Which file of this folder holds which table.")


def flattened(content: Any, prefix: str = "") -> list[tuple[str, str]]:
    """Nested mappings as (dotted key, text) pairs; lists are joined, None is left out."""
    if isinstance(content, dict):
        return [
            pair
            for key, value in content.items()
            for pair in flattened(value, f"{prefix}.{key}" if prefix else str(key))
        ]
    if content is None:
        return []
    text = ", ".join(map(str, content)) if isinstance(content, list) else str(content)
    return [(prefix, text)]
