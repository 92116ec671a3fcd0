"""The report of an evaluation as one HTML file."""

import math
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from medcli.evaluation.groups_page import interval_text
from medcli.evaluation.judge import Judge, Measured, Plot, Section, Support
from medcli.evaluation.kept import Kept, Picture
from medcli.evaluation.measures import TITLES
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


@dataclass(frozen=True, eq=False)
class Findings:
    """Attributes:
    run, kept, judge: What was judged, and by what.
    measured, support: The numbers, and what each rests on.
    content: Of metrics.json.
    plots: Of the judge; those of the sections are with them.
    sections: In the order to show them.
    pictures: With a caption each.
    """

    run: Run
    kept: Kept
    judge: Judge
    measured: Measured
    support: Mapping[str, Support]
    content: Mapping[str, Any]
    plots: Sequence[Plot]
    sections: Sequence[Section]
    pictures: Sequence[tuple[Picture, str]]


def write_page(folder: Path, found: Findings) -> None:
    """Write report.html; the plots, also those of the sections, lie in the folder as PNG."""
    run, kept, judge, measured, support = found.run, found.kept, found.judge, found.measured, found.support
    where = PARTS[kept.part] if kept.name == kept.part else kept.name
    name = run.config.name or run.folder.name
    report = Report(
        f"{name}: {run.plan.task}",
        f"Evaluated on {where}: {_plural(found.content['cases'], 'case')} of "
        f"{_plural(found.content['patients'], 'patient')}",
    )
    report.warnings(_warnings(found))
    report.cards([_card(name, measured, support[name]) for name in judge.headline])
    report.heading("Measures").table(
        _overall(judge, measured, support),
        "95 % intervals by resampling patients; they need several patients.",
    )
    if len(run.plan.classes) > 1:
        report.table(_per_class(judge, measured, support), "For every class, with 95 % intervals.")
    report.heading("Plots")
    for plot in found.plots:
        report.plot((folder / f"{plot.name}.png").read_bytes(), plot.caption, plot.alt)
    for section in found.sections:
        report.heading(section.title)
        for table in section.tables:
            report.table(table.rows, table.caption)
        for plot in section.plots:
            report.plot((folder / f"{plot.name}.png").read_bytes(), plot.caption, plot.alt)
    for kind, title in (("worst", "Worst cases"), ("best", "Best cases")):
        pictures = [
            (kept.picture(folder, one), caption) for one, caption in found.pictures if one.kind == kind
        ]
        if pictures:
            report.heading(title).pictures(pictures, wide=judge.wide)
    report.heading("Cases").table(*_cases(kept))
    _how(report, run)
    report.write(folder / "report.html")


def _warnings(found: Findings) -> list[str]:
    texts, failed = list(found.content["notes"]), found.kept.failed
    if failed:
        case, reason = next(iter(failed.items()))
        texts.append(
            f"{_plural(len(failed), 'case')} could not be judged (status in the table of cases), "
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


def _cases(kept: Kept) -> tuple[list[dict[str, Any]], str]:
    rows = kept.rows[:MOST_ROWS]
    left = len(kept.rows) - len(rows)
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
