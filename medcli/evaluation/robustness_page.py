"""The robustness curve in the report: a table and small multiples, made of what metrics.json holds."""

import math
from collections.abc import Mapping, Sequence
from typing import TYPE_CHECKING, Any

from medcli.evaluation.groups_page import interval_text
from medcli.evaluation.judge import Plot, Section, Table
from medcli.evaluation.measures import TITLES
from medcli.evaluation.plots import COLORS, LINES, MARKERS

if TYPE_CHECKING:
    from matplotlib.axes import Axes
    from matplotlib.figure import Figure

COLUMNS = 4
SHOWN = (1, 3, 5)
"""Strengths in the table; the others are in robustness.csv."""


def robustness_section(content: Mapping[str, Any]) -> Section:
    """
    Args:
        content: `robustness` of metrics.json.
    """
    if not content["corruptions"]:
        return Section("Robustness", [Table([{"robustness": note} for note in content["notes"]])], [])
    return Section("Robustness", [_table(content)], [_plot(content)])


def _number(value: Any) -> float:
    return math.nan if value is None else float(value)


def _text(found: Mapping[str, Any], key: str = "value") -> str:
    low, high = ("low", "high") if key == "value" else (f"{key}_low", f"{key}_high")
    return interval_text(_number(found[key]), _number(found[low]), _number(found[high]))


def _levels(entries: Sequence[Mapping[str, Any]]) -> str:
    """`sigma 2, 7, 16 % of the range`: the words that are alike once."""
    words = zip(*(entry["level"].split(" ") for entry in entries), strict=True)
    return " ".join(part[0] if len(set(part)) == 1 else ", ".join(part) for part in words)


def _areas(areas: Mapping[str, Mapping[str, Any]]) -> dict[str, str]:
    """The area of the first measure as `area`, of the others by name."""
    return {
        "area" if number == 0 else f"area, {TITLES[name][0]}": _text(found)
        for number, (name, found) in enumerate(areas.items())
    }


def _table(content: Mapping[str, Any]) -> Table:
    measure = content["measures"][0]
    title = TITLES[measure][0]
    rows = []
    for one in content["corruptions"].values():
        shown = [entry for entry in one["strengths"] if entry["strength"] in SHOWN]
        row: dict[str, Any] = {"corruption": one["title"], "strengths": _levels(shown)}
        for entry in shown:
            row[f"strength {entry['strength']}"] = _text(entry["measures"][measure])
        rows.append(row | _areas(one["area"]))
    rows.append({"corruption": "Mean"} | _areas(content["mean"]))
    left = "; ".join(f"{name.replace('_', ' ')}: {why}" for name, why in content["left_out"].items())
    caption = (
        f"{title} on corrupted images, {content['cases']} cases of {content['patients']} patients, always the same; "
        f"clean: {_text(content['clean'][measure])}. Area: mean over the strengths "
        f"({', '.join(map(str, content['strengths']))}) divided by the clean value; 1: nothing is lost. "
        "Pixels: of the network's grid; range: 1st to 99th percentile of the image, or the window."
        + (f" Left out: {left}." if left else "")
    )
    return Table(rows, caption)


def _plot(content: Mapping[str, Any]) -> Plot:
    names = [TITLES[name][0] for name in content["measures"]]
    measure = content["measures"][0]
    told = [
        f"{one['title']} {_number(one['strengths'][-1]['measures'][measure]['value']):.2f}"
        for one in content["corruptions"].values()
    ]
    caption = (
        f"{' and '.join(names)} against the strength of each corruption (0: clean, and dotted); bands: 95 % intervals "
        "of the change on the same cases."
    )
    alt = (
        f"Robustness curves. {names[0]} {_number(content['clean'][measure]['value']):.2f} on clean images, at the "
        f"largest strength: {', '.join(told)}"
    )
    return Plot("robustness", robustness_figure(content), caption, alt)


def robustness_figure(content: Mapping[str, Any]) -> "Figure":
    """A panel per corruption, a line with a band per measure; all share their axes."""
    from matplotlib.figure import Figure

    count = len(content["corruptions"])
    columns = min(COLUMNS, count)
    rows = math.ceil(count / columns)
    figure = Figure(figsize=(2.1 * columns + 0.5, 2.0 * rows + 0.7), layout="constrained")
    panels = figure.subplots(rows, columns, sharex=True, sharey=True, squeeze=False).ravel()
    for place, (axes, one) in enumerate(zip(panels, content["corruptions"].values(), strict=False)):
        _panel(axes, content, one)
        axes.tick_params(labelbottom=place >= count - columns)  # the lowest of every column
    for axes in panels[count:]:
        axes.set_visible(False)
    if len(content["measures"]) > 1:
        handles, labels = panels[0].get_legend_handles_labels()
        figure.legend(
            handles, labels, loc="outside upper center", ncols=len(labels), fontsize=8, frameon=False
        )
    figure.supxlabel("strength", fontsize=9)
    if len(content["measures"]) == 1:
        figure.supylabel(TITLES[content["measures"][0]][0], fontsize=9)
    return figure


def _panel(axes: "Axes", content: Mapping[str, Any], one: Mapping[str, Any]) -> None:
    axes.spines[["top", "right"]].set_visible(False)
    axes.grid(alpha=0.25, linewidth=0.6)
    axes.set_title(one["title"], fontsize=9)
    axes.tick_params(labelsize=8)
    axes.set_xticks(range(6))
    axes.set_xlim(-0.2, 5.2)
    for number, measure in enumerate(content["measures"]):
        points = [(0, content["clean"][measure])]
        points += [(entry["strength"], entry["measures"][measure]) for entry in one["strengths"]]
        x = [strength for strength, _ in points]
        value = [_number(found["value"]) for _, found in points]
        low, high = (
            [value[0] + _number(found.get(key, 0.0)) for _, found in points]
            for key in ("difference_low", "difference_high")
        )
        color = COLORS[number]
        axes.axhline(value[0], color=color, linewidth=0.8, linestyle=":", alpha=0.8)
        axes.fill_between(x, low, high, color=color, alpha=0.18, linewidth=0)
        axes.plot(
            x, value, color=color, linestyle=LINES[number], marker=MARKERS[number], markersize=4, linewidth=1.5,
            label=TITLES[measure][0],
        )  # fmt: skip
