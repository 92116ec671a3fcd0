"""Figures of predicted numbers: against the truth, and the differences by size."""

from typing import TYPE_CHECKING

import numpy as np

from medcli.evaluation.plots import COLORS, FEW_DOTS, plain_axes

if TYPE_CHECKING:
    from matplotlib.axes import Axes
    from matplotlib.figure import Figure

INK, LINE = COLORS[0], COLORS[1]


def _dots(axes: "Axes", x: np.ndarray, y: np.ndarray) -> None:
    few = len(x) <= FEW_DOTS
    axes.scatter(
        x, y, s=28 if few else 14, color=INK, alpha=0.8 if few else 0.45, edgecolors="white", linewidths=0.4, zorder=3
    )  # fmt: skip


def scatter_figure(truth: np.ndarray, predicted: np.ndarray, name: str) -> "Figure":
    """Both axes alike, with the line of equality."""
    figure, axes = plain_axes(4.8, 4.6)
    both = np.concatenate([truth, predicted])
    margin = max(0.05 * float(np.ptp(both)), 1e-6)
    ends = (float(both.min()) - margin, float(both.max()) + margin)
    axes.plot(ends, ends, color="0.35", linewidth=1.2, linestyle=(0, (4, 3)), zorder=2)
    _dots(axes, truth, predicted)
    axes.set(xlim=ends, ylim=ends, xlabel=f"true {name}", ylabel=f"predicted {name}", aspect="equal")
    return figure


def agreement_figure(
    truth: np.ndarray, predicted: np.ndarray, name: str, bias: float, limits: tuple[float, float]
) -> "Figure":
    """Differences against means, with bias and limits of agreement, each told at the right (Bland and Altman 1986)."""
    figure, axes = plain_axes(5.8, 4.2)
    axes.axhline(0, color="0.6", linewidth=0.8, zorder=1)
    for value, style in ((bias, "-"), *((limit, (0, (4, 3))) for limit in limits)):
        if np.isfinite(value):
            axes.axhline(value, color=LINE, linewidth=1.4, linestyle=style, zorder=2)
            axes.annotate(
                f"{value:.3g}",
                (1.01, value),
                xycoords=axes.get_yaxis_transform(),
                fontsize=9,
                va="center",
                color=LINE,
            )
    _dots(axes, (truth + predicted) / 2, predicted - truth)
    axes.set(xlabel=f"mean of true and predicted {name}", ylabel="predicted - true")
    return figure
