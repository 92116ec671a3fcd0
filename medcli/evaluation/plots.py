"""Figures of an evaluation: curves, confusion, distributions. Nothing is shown on a screen."""

from collections.abc import Mapping, Sequence
from typing import TYPE_CHECKING, Any

import numpy as np

from medcli.drawing import HEXES

if TYPE_CHECKING:
    from matplotlib.axes import Axes
    from matplotlib.figure import Figure

    from medcli.metrics.calibration import ReliabilityCurve
    from medcli.metrics.operating import ScoreCurve

Curves = Mapping[str, tuple[np.ndarray, np.ndarray]]
"""Label to (x, y)."""

MARKERS = ("o", "s", "^", "D", "v", "P", "X")
LINES = ("-", "--", "-.", ":")
FEW_DOTS = 50
"""Up to so many cases are drawn as large dots."""
MOST_NUMBERS = 15
"""A confusion matrix of more classes is drawn without numbers."""
COLORS = ("#0072b2", "#d55e00", "#009e73", "#cc79a7", "#e69f00", "#56b4e9", "#000000")
"""The palette in the order that reads best as lines on white."""


def plain_axes(width: float = 5.2, height: float = 4.4) -> tuple["Figure", "Axes"]:
    from matplotlib.figure import Figure

    figure = Figure(figsize=(width, height), layout="constrained")
    axes = figure.add_subplot()
    axes.spines[["top", "right"]].set_visible(False)
    axes.grid(alpha=0.25, linewidth=0.6)
    axes.set_axisbelow(True)
    return figure, axes


def _draw(axes: "Axes", curves: Curves, *, steps: bool = False) -> None:
    for number, (label, (x, y)) in enumerate(curves.items()):
        style = LINES[number % len(LINES)]  # with seven colours all 28 pairs differ
        color, drawn = COLORS[number % len(COLORS)], "steps-post" if steps else "default"
        axes.plot(x, y, color=color, linestyle=style, linewidth=1.8, label=label, drawstyle=drawn)
    if curves and (len(curves) > 1 or next(iter(curves))):
        axes.legend(fontsize=8, frameon=False, loc="best")


def roc_figure(curves: Curves) -> "Figure":
    """(false positive rate, true positive rate) per label."""
    figure, axes = plain_axes()
    axes.plot([0, 1], [0, 1], color="0.7", linewidth=1, linestyle=(0, (2, 3)))
    _draw(axes, curves)
    axes.set(
        xlim=(-0.01, 1.01),
        ylim=(-0.01, 1.01),
        xlabel="1 - specificity (false positive rate)",
        ylabel="sensitivity",
        title="ROC",
    )
    return figure


def precision_recall_figure(
    curves: Curves, title: str = "Precision and recall", marks: Sequence[tuple[float, float]] = ()
) -> "Figure":
    """(recall, precision) per label; `marks`: a point of each to be marked, in the same order."""
    figure, axes = plain_axes()
    _draw(axes, curves, steps=True)
    for number, (x, y) in enumerate(marks):
        color = COLORS[number % len(COLORS)]
        axes.plot(x, y, marker="o", markersize=7, markerfacecolor=color, markeredgecolor="black", zorder=4)
    axes.set(
        xlim=(-0.01, 1.01),
        ylim=(-0.01, 1.02),
        xlabel="recall (sensitivity)",
        ylabel="precision (PPV)",
        title=title,
    )
    return figure


def score_figure(curves: Mapping[str, tuple["ScoreCurve", float]]) -> "Figure":
    """Precision, recall and F1 by score for every class, with the threshold in use as a line."""
    from matplotlib.figure import Figure

    across = min(3, len(curves))
    down = -(-len(curves) // across)
    figure = Figure(figsize=(1.4 + 3.4 * across, 0.5 + 2.9 * down), layout="constrained")
    panels = figure.subplots(down, across, squeeze=False, sharex=True, sharey=True).ravel()
    for panel, (label, (curve, threshold)) in zip(panels, curves.items(), strict=False):
        for number, (name, values) in enumerate(
            (("precision", curve.precision), ("recall", curve.recall), ("F1", curve.f1))
        ):
            panel.plot(
                curve.score,
                values,
                color=COLORS[number],
                linestyle=LINES[number],
                linewidth=1.8,
                label=name,
                drawstyle="steps-post",
            )
        panel.axvline(threshold, color="0.3", linewidth=1.2, linestyle=":")
        panel.annotate(
            f"{threshold:.2f}", (threshold, 1.0), fontsize=8, xytext=(3, -2), textcoords="offset points"
        )
        panel.set(title=label, xlim=(0, 1), ylim=(-0.01, 1.04))
        panel.spines[["top", "right"]].set_visible(False)
        panel.grid(alpha=0.25, linewidth=0.6)
    for panel in panels[len(curves) :]:
        panel.set_visible(False)
    panels[0].legend(fontsize=8, frameon=False, loc="lower left")
    figure.supxlabel("score from which on boxes count as found", fontsize=10)
    return figure


def levels_figure(levels: np.ndarray, values: np.ndarray) -> "Figure":
    """Average precision of objects against the IoU from which they count as found."""
    figure, axes = plain_axes()
    axes.plot(levels, values, marker="o", markersize=4)
    axes.set(
        ylim=(-0.01, 1.02), xlabel="IoU", ylabel="TP / (TP + FP + FN)", title="Objects found and outlined"
    )
    return figure


def froc_figure(curves: Curves, rates: Sequence[float]) -> "Figure":
    """(false positives per image, sensitivity) per label; the x axis is logarithmic over `rates`."""
    figure, axes = plain_axes()
    low, high = rates[0] / 2, rates[-1] * 2
    drawn = {}
    for label, (x, y) in curves.items():
        inside = (x > low) & (x <= high)
        start, last = (y[x <= edge].max(initial=0.0) for edge in (low, high))
        drawn[label] = np.r_[low, x[inside], high], np.r_[start, y[inside], last]
    _draw(axes, drawn, steps=True)
    axes.set_xscale("log", base=2)
    axes.set_xticks(list(rates), [f"{rate:g}" for rate in rates])
    axes.set(
        xlim=(low, high),
        ylim=(-0.01, 1.02),
        xlabel="false positives per image",
        ylabel="sensitivity",
        title="FROC",
    )
    return figure


def confusion_figure(
    table: np.ndarray, rows: Sequence[str], columns: Sequence[str], *, xlabel: str = "predicted"
) -> "Figure":
    """Counts with the colour by the share of the row."""
    size = float(np.clip(0.62 * len(rows) + 2.2, 4.0, 11.0))
    figure, axes = plain_axes(size + 0.6, size)
    axes.grid(False)
    total = table.sum(1, keepdims=True)
    share = np.divide(table, total, out=np.zeros(table.shape), where=total > 0)
    shown = axes.imshow(share, cmap="Blues", vmin=0, vmax=1)
    figure.colorbar(shown, ax=axes, label="share of the row", fraction=0.046)
    axes.set_xticks(range(len(columns)), columns, rotation=45, ha="right", rotation_mode="anchor")
    axes.set_yticks(range(len(rows)), rows)
    axes.set(xlabel=xlabel, ylabel="truth", title="Confusion")
    axes.spines[:].set_visible(False)
    if len(rows) <= MOST_NUMBERS:
        for (row, column), count in np.ndenumerate(table):
            color = "white" if share[row, column] > 0.55 else "black"
            axes.text(column, row, f"{count:g}", ha="center", va="center", color=color, fontsize=9)
    return figure


def box_figure(
    values: Mapping[str, np.ndarray], ylabel: str, *, limits: tuple[float, float] | None
) -> "Figure":
    """A box per label with every case as a dot; NaN is left out."""
    figure, axes = plain_axes(max(5.2, 1.1 * len(values) + 2.0))
    random = np.random.default_rng(0)
    known = {label: part[np.isfinite(part)] for label, part in values.items()}
    for place, part in enumerate(known.values(), start=1):
        if not len(part):
            continue
        color = HEXES[(place - 1) % len(HEXES)]
        spread = random.uniform(-0.16, 0.16, len(part))
        size, ink = (9, 0.6) if len(part) > FEW_DOTS else (26, 0.9)
        axes.scatter(place + spread, part, s=size, color=color, alpha=ink, linewidths=0, zorder=2)
        axes.boxplot(
            part,
            positions=[place],
            widths=0.5,
            showfliers=False,
            medianprops={"color": "black", "linewidth": 1.6},
            boxprops={"linewidth": 1.1},
            zorder=3,
        )
    names = [f"{label}\n(n = {len(part)})" for label, part in known.items()]
    axes.set_xticks(range(1, len(known) + 1), names)
    axes.set_xlim(0.4, len(known) + 0.6)
    axes.set_ylabel(ylabel)
    axes.set_title(f"{ylabel} per case")
    if limits:
        axes.set_ylim(*limits)
    axes.grid(axis="x", visible=False)
    return figure


def reliability_figure(
    curves: Mapping[str, "ReliabilityCurve"], before: "ReliabilityCurve | None" = None
) -> "Figure":
    """Observed share against mean probability per bin, with intervals; `before`: the same before scaling."""
    figure, axes = plain_axes()
    axes.plot([0, 1], [0, 1], color="0.5", linewidth=1, linestyle=(0, (2, 3)))
    if before is not None:
        axes.plot(
            before.predicted, before.observed, color="0.45", linestyle="--", marker="s", markersize=4,
            markerfacecolor="white", linewidth=1.2, label="before scaling",
        )  # fmt: skip
    for number, (label, curve) in enumerate(curves.items()):
        color, style = COLORS[number % len(COLORS)], LINES[number % len(LINES)]
        bars = np.maximum(np.stack([curve.observed - curve.low, curve.high - curve.observed]), 0)
        axes.errorbar(
            curve.predicted, curve.observed, yerr=bars, color=color, linestyle=style, marker=MARKERS[number % 7],
            markersize=5, linewidth=1.6, elinewidth=1, capsize=2, label=label,
        )  # fmt: skip
    if curves:
        axes.legend(fontsize=8, frameon=False, loc="best")
    axes.set(
        xlim=(-0.02, 1.02),
        ylim=(-0.02, 1.02),
        xlabel="predicted probability",
        ylabel="share that is true",
        title="Reliability",
    )
    return figure


def decision_curve_figure(thresholds: np.ndarray, curves: Mapping[str, Mapping[str, Any]]) -> "Figure":
    """Net benefit by threshold of the model, of acting on all and on none, per class."""
    figure, axes = plain_axes()
    axes.axhline(0, color="0.3", linewidth=1.2, label="none")
    top = 0.0
    for number, (label, curve) in enumerate(curves.items()):
        color = COLORS[number % len(COLORS)]
        low, high = np.array(curve["model_interval"], float).T
        name = label if len(curves) > 1 else "model"
        axes.fill_between(thresholds, low, high, color=color, alpha=0.18, linewidth=0)
        marker = MARKERS[number % len(MARKERS)] if len(curves) > 1 else ""
        axes.plot(
            thresholds, curve["model"], color=color, linewidth=1.8, marker=marker, markevery=8, markersize=5, label=name
        )  # fmt: skip
        everybody = "all" if len(curves) == 1 else f"all, {label}"
        axes.plot(
            thresholds,
            curve["all"],
            color=color,
            linewidth=1.1,
            linestyle=":",
            marker=marker,
            markevery=(4, 8),
            markersize=3,
            label=everybody,
        )
        top = max(top, float(np.nanmax(curve["all"])), float(np.nanmax(curve["model"])))
    axes.legend(fontsize=8, frameon=False, loc="best")
    axes.set(
        xlim=(0, 1),
        ylim=(-0.25 * max(top, 0.05), 1.15 * max(top, 0.05)),
        xlabel="act from this probability",
        ylabel="net benefit",
        title="Decision curve",
    )
    return figure


def risk_coverage_figure(
    share: np.ndarray, accuracy: np.ndarray, told: Sequence[Mapping[str, Any]], measure: str = "accuracy"
) -> "Figure":
    """Accuracy (or another measure) against the share of cases answered; `told`: points with intervals."""
    figure, axes = plain_axes()
    axes.plot(share, accuracy, color=COLORS[0], linewidth=1.8, drawstyle="steps-mid")
    for point in told:
        low, high = point["interval"]
        if np.isfinite([low, high]).all():
            axes.plot([point["share"]] * 2, [low, high], color=COLORS[1], linewidth=1.2, zorder=3)
        axes.plot(point["share"], point["accuracy"], color=COLORS[1], marker="o", markersize=5, zorder=4)
    bottom = min(
        [float(np.min(accuracy)), *(p["interval"][0] for p in told if np.isfinite(p["interval"][0]))]
    )
    axes.set(
        xlim=(0, 1.02),
        ylim=(max(0.0, bottom - 0.05), 1.01),
        xlabel="share of cases that are answered",
        ylabel=f"{measure} of these",
        title="Risk and coverage",
    )
    return figure


def spread_figure(
    positive: np.ndarray, negative: np.ndarray, names: tuple[str, str], threshold: float | None
) -> "Figure":
    """Histograms of the probability of the positive class, in twentieths, for cases that have it and that do not.

    Args:
        positive, negative: (n,) probabilities of the cases of each class.
        names: Of the positive and of the negative class.
        threshold: Where the run decides; None: no line.
    """
    figure, axes = plain_axes()
    edges = np.linspace(0, 1, 21)
    for values, name, color, style in (
        (negative, names[1], COLORS[0], "-"),
        (positive, names[0], COLORS[1], "--"),
    ):
        if len(values):
            share = np.histogram(values, edges)[0] / len(values)
            axes.stairs(
                share, edges, color=color, linestyle=style, linewidth=1.8, label=f"{name} ({len(values)})"
            )
            axes.stairs(share, edges, color=color, alpha=0.15, fill=True)
    if threshold is not None:
        axes.axvline(threshold, color="0.3", linewidth=1.2, linestyle=":", label="threshold of the run")
    axes.legend(fontsize=8, frameon=False, loc="best")
    axes.set(
        xlim=(-0.01, 1.01), ylim=(0, None), xlabel=f"probability of {names[0]}", ylabel="share of the class",
        title="How far the classes lie apart",
    )  # fmt: skip
    return figure


def unlikeness_figure(then: np.ndarray, here: np.ndarray, limit: float | None) -> "Figure":
    """Share of the cases up to each distance from the training cases, on the validation part and here."""
    figure, axes = plain_axes()
    for values, label, color, style in (
        (then, "validation", COLORS[0], "--"),
        (here, "here", COLORS[1], "-"),
    ):
        rising = np.sort(values)
        share = np.arange(1, len(rising) + 1) / len(rising)
        axes.plot(
            rising, share, color=color, linestyle=style, linewidth=1.8, drawstyle="steps-post", label=label
        )
    if limit is not None:
        axes.axvline(limit, color="0.3", linewidth=1.2, linestyle=":", label="referred from here")
    axes.set_xscale("log")
    axes.legend(fontsize=8, frameon=False, loc="best")
    axes.set(
        ylim=(0, 1.02),
        xlabel="distance to the training cases",
        ylabel="share of the cases up to it",
        title="Unlike the training cases",
    )
    return figure
