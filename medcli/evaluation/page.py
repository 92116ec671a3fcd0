"""The report of an evaluation as one HTML file."""

import math
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

from medcli.evaluation.groups_page import interval_text
from medcli.evaluation.judge import Judge, Judgement, Measured, Plot, Section, Support
from medcli.evaluation.measures import TITLES
from medcli.evaluation.selection import Selection, patients_of
from medcli.report import Card, Report, number_text
from medcli.run import Run

MOST_ROWS = 2000
"""Lines of the table of cases in the page; cases.csv has all."""
PARTS = {
    "train": "the training part",
    "val": "the validation part",
    "test": "the test part",
    "all": "all cases",
}


def write_page(
    path: Path,
    run: Run,
    selection: Selection,
    judge: Judge,
    measured: Measured,
    done: Judgement,
    plots: Sequence[Plot],
    support: Mapping[str, Support],
    sections: Sequence[Section],
) -> None:
    """Write the page; the plots, also those of the sections, lie beside it as PNG."""
    patients = len(set(patients_of(done.judged)))
    where = PARTS[selection.part] if selection.name == selection.part else selection.name
    name = run.config.name or run.folder.name
    report = Report(
        f"{name}: {run.plan.task}",
        f"Evaluated on {where}: {_plural(len(done.judged), 'case')} of {_plural(patients, 'patient')}",
    )
    report.warnings(_warnings(selection, done))
    report.cards([_card(name, measured, support[name]) for name in judge.headline])
    report.heading("Measures").table(
        _overall(judge, measured, support),
        "95 % intervals by resampling patients; they need several patients.",
    )
    if len(run.plan.classes) > 1:
        report.table(_per_class(judge, measured, support), "For every class, with 95 % intervals.")
    report.heading("Plots")
    for plot in plots:
        report.plot((path.parent / f"{plot.name}.png").read_bytes(), plot.caption, plot.alt)
    for section in sections:
        report.heading(section.title)
        for table in section.tables:
            report.table(table.rows, table.caption)
        for plot in section.plots:
            report.plot((path.parent / f"{plot.name}.png").read_bytes(), plot.caption, plot.alt)
    if done.pictures.worst:
        report.heading("Worst cases").pictures(done.pictures.worst, wide=judge.wide)
    if done.pictures.best:
        report.heading("Best cases").pictures(done.pictures.best, wide=judge.wide)
    report.heading("Cases").table(*_cases(done))
    _how(report, run)
    report.write(path)


def _warnings(selection: Selection, done: Judgement) -> list[str]:
    texts = list(selection.notes)
    if done.failed:
        case, reason = next(iter(done.failed.items()))
        texts.append(
            f"{_plural(len(done.failed), 'case')} could not be judged (status in the table of cases), "
            f"such as {case}: {reason}"
        )
    return texts


def _card(name: str, measured: Measured, support: Support) -> Card:
    of = f"{_plural(support.cases, 'case')} of {_plural(support.patients, 'patient')}"
    interval = _interval(name, measured)
    return Card(TITLES[name][0], measured.overall[name], f"{interval}, {of}" if interval else of)


def _interval(name: str, measured: Measured) -> str:
    low, high = measured.intervals[name]
    return f"{number_text(low)} to {number_text(high)} (95 %)" if math.isfinite(low) else ""


def _overall(judge: Judge, measured: Measured, support: Mapping[str, Support]) -> list[dict[str, Any]]:
    rows = []
    for name in judge.overall_names:
        low, high = measured.intervals[name]
        title, meaning = TITLES[name]
        rows.append(
            {"measure": title, "value": measured.overall[name], "from": low, "to": high}
            | _rests_on(support[name])
            | {"says": meaning}
        )
    return rows


def _per_class(judge: Judge, measured: Measured, support: Mapping[str, Support]) -> list[dict[str, Any]]:
    return [
        {"class": label}
        | _rests_on(support[f"{judge.class_names[0]}/{label}"])
        | {
            TITLES[name][0]: interval_text(values[name], *measured.intervals[f"{name}/{label}"])
            for name in judge.class_names
        }
        for label, values in measured.per_class.items()
    ]


def _rests_on(support: Support) -> dict[str, Any]:
    return {name: value for name, value in support._asdict().items() if value is not None}


def _cases(done: Judgement) -> tuple[list[dict[str, Any]], str]:
    rows = done.rows[:MOST_ROWS]
    left = len(done.rows) - len(rows)
    caption = "Click on a column's head to sort."
    return rows, caption + (f" {left} more are in cases.csv." if left else "")


def _how(report: Report, run: Run) -> None:
    report.heading("How it was made")
    if run.plan.reasons:
        reasons = [{"setting": name, "reason": reason} for name, reason in run.plan.reasons.items()]
        report.table(reasons, "What was decided by the data, and why.")
    environment = [{"item": key, "value": value} for key, value in flattened(run.environment())]
    if environment:
        report.table(environment, "Where the run was trained.")


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


def _plural(count: int, noun: str) -> str:
    return f"{count} {noun}" if count == 1 else f"{count} {noun}s"
