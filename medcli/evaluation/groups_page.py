"""The groups in the report: per column a table and a plot, then the gaps, then the intersections."""

import math
import re
from collections.abc import Sequence
from typing import TYPE_CHECKING, Any

from medcli.evaluation.groups import GAP_TITLES, METHOD, FoundGap, Group, Groups, p_text
from medcli.evaluation.judge import Plot, Section, Table
from medcli.evaluation.measures import TITLES
from medcli.metrics.bootstrap import RESAMPLES
from medcli.metrics.groups import PERMUTATIONS
from medcli.report import number_text

if TYPE_CHECKING:
    from matplotlib.axes import Axes
    from matplotlib.figure import Figure

MOST_PANELS = 4
NO_BREAK = "\u00a0"
INK, MARKED, GREY = "#0072b2", "#d55e00", "#6b7280"


def group_sections(groups: Groups, headline: Sequence[str]) -> list[Section]:
    """Groups of every column, and of the intersections of two."""
    alone = [columns for columns in groups.columns if len(columns) == 1]
    pairs = [columns for columns in groups.columns if len(columns) > 1]
    shown = _panels(groups, headline)
    tables = [Table(_rows(groups, [columns]), f"Groups of {columns[0]}.") for columns in alone]
    tables.append(Table(_gap_rows(groups, alone), _method(groups)))
    plots = [_plot(groups, columns, shown) for columns in alone]
    sections = [Section("Groups", tables, plots)]
    if pairs:
        tables = [
            Table(_rows(groups, pairs), "Groups of every two columns."),
            Table(_gap_rows(groups, pairs), "Gaps between the groups of two columns."),
        ]
        sections.append(Section("Groups of two columns", tables, []))
    return sections


def _method(groups: Groups) -> str:
    return f"{groups.note}Gaps between the groups with at least {groups.fewest} patients. " + METHOD.format(
        resamples=f"{RESAMPLES:,}", permutations=f"{PERMUTATIONS:,}"
    )


def _panels(groups: Groups, headline: Sequence[str]) -> list[str]:
    """The measures of the gaps, then the task's most important ones."""
    compared = [gap.name for gap in groups.gaps]
    first = [name for gap in dict.fromkeys(compared) for name in _MEASURES_OF_GAPS.get(gap, (gap,))]
    wanted = dict.fromkeys([*first, *headline])
    return [name for name in wanted if name in groups.names][:MOST_PANELS]


_MEASURES_OF_GAPS = {"equal_opportunity": ("sensitivity",), "equalized_odds": ("sensitivity", "specificity")}


def _rows(groups: Groups, wanted: Sequence[tuple[str, ...]]) -> list[dict[str, Any]]:
    rows = []
    for columns in wanted:
        # One column's table begins with all cases, so that a group can be read against them.
        first = [groups.everybody] if len(wanted) == 1 else []
        for group in first + groups.of(columns)[0]:
            row: dict[str, Any] = {"columns": " & ".join(columns)} if len(wanted) > 1 else {}
            row |= {"group": group.name, "cases": group.cases, "patients": group.patients}
            if group.prevalence is not None:
                row["prevalence"] = group.prevalence
            rows.append(row | {TITLES[name][0]: _cell(group, name) for name in groups.names})
    return rows


def _cell(group: Group, name: str) -> str:
    if group.too_few:
        return "too few"
    value, low, high = group.values[name]
    return interval_text(value, low, high)


def interval_text(value: float, low: float, high: float) -> str:
    """`0.912 (0.85 to 0.95)`, which breaks before the bracket alone; a dash for what is undefined."""
    if not math.isfinite(low):
        return number_text(value)
    low_text, high_text = (f"{end:.2f}" if abs(end) < 100 else number_text(end) for end in (low, high))
    return f"{number_text(value)} " + f"({low_text} to {high_text})".replace(" ", NO_BREAK)


def _gap_rows(groups: Groups, wanted: Sequence[tuple[str, ...]]) -> list[dict[str, Any]]:
    return [
        {
            "column": " & ".join(columns),
            "gap": GAP_TITLES[gap.name][0],
            "value (95 %)": interval_text(gap.value, gap.low, gap.high)
            if gap.worst
            else "too few groups with numbers",
            "worst": gap.worst,
            "best": gap.best,
            "p": p_text(gap.p),
            "p corrected": p_text(gap.p_holm),
            "more than chance": "" if math.isnan(gap.p) else "yes" if gap.beyond_chance else "no",
        }
        for columns in wanted
        for gap in groups.of(columns)[1]
    ]


# ---- the plot


def _plot(groups: Groups, columns: tuple[str, ...], names: Sequence[str]) -> Plot:
    found, gaps = groups.of(columns)
    return Plot(
        file_name(columns),
        groups_figure(groups, found, gaps, names, title=" & ".join(columns)),
        f"By {' & '.join(columns)}: value and 95 % interval of every group; dashed: all cases. "
        "A square marks the worst group of a gap that is more than chance.",
        _alt(found, names, " & ".join(columns)),
    )


def file_name(columns: Sequence[str]) -> str:
    """Safe and short; columns whose names differ in special signs alone are told apart by their letters' sum."""
    plain = "_".join(re.sub(r"[^A-Za-z0-9]+", "_", column).strip("_") for column in columns)
    exact = "_".join(columns)
    return f"groups_{plain[:60]}" + ("" if plain == exact else f"_{sum(map(ord, exact)) % 1000}")


def _alt(found: Sequence[Group], names: Sequence[str], title: str) -> str:
    parts = []
    for name in names:
        values = [f"{group.name} {_cell(group, name)}" for group in found]
        parts.append(f"{TITLES[name][0]}: {', '.join(values)}")
    return f"Dots with intervals by {title}. " + "; ".join(parts)


def groups_figure(
    groups: Groups, found: Sequence[Group], gaps: Sequence[FoundGap], names: Sequence[str], *, title: str
) -> "Figure":
    """A panel per measure, a line per group."""
    from matplotlib.figure import Figure

    rows = math.ceil(len(names) / 2)
    figure = Figure(figsize=(5.6, rows * (1.0 + 0.3 * len(found)) + 0.5), layout="constrained")
    panels = figure.subplots(rows, min(2, len(names)), sharey=True, squeeze=False).ravel()
    worst = {(gap.measure, gap.worst) for gap in gaps if gap.beyond_chance}
    for axes, name in zip(panels, names, strict=False):
        _panel(axes, groups, found, name, {group for measure, group in worst if measure == name})
    for axes in panels[len(names) :]:
        axes.set_visible(False)
    labels = [f"{_short(group.name)} ({group.patients})" for group in found]
    panels[0].set_yticks(range(len(found)), labels)
    panels[0].set_ylim(len(found) - 0.4, -0.6)
    figure.suptitle(f"{title} (patients)", fontsize=10)
    return figure


def _panel(axes: "Axes", groups: Groups, found: Sequence[Group], name: str, worst: set[str]) -> None:
    axes.spines[["top", "right", "left"]].set_visible(False)
    axes.grid(axis="x", alpha=0.25, linewidth=0.6)
    axes.tick_params(axis="y", length=0, labelsize=8)
    axes.tick_params(axis="x", labelsize=8)
    axes.locator_params(axis="x", nbins=4)
    axes.set_title(TITLES[name][0], fontsize=9)
    overall = groups.everybody.values[name][0]
    if math.isfinite(overall):
        axes.axvline(overall, color="0.35", linewidth=1, linestyle=(0, (3, 3)), zorder=1)
    for place, group in enumerate(found):
        value, low, high = group.values.get(name, (math.nan,) * 3)
        if not math.isfinite(value):
            text = "too few" if group.too_few else "undefined"
            axes.text(
                0.02, place, text, transform=axes.get_yaxis_transform(), color=GREY, fontsize=8, va="center"
            )
            continue
        color, marker = (MARKED, "s") if group.name in worst else (INK, "o")
        if math.isfinite(low):
            axes.plot([low, high], [place, place], color=color, linewidth=1.8, solid_capstyle="butt")
        axes.plot([value], [place], marker=marker, color=color, markersize=6)


def _short(text: str, most: int = 22) -> str:
    return text if len(text) <= most else text[: most - 1] + "…"
