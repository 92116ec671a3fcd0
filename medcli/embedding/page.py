"""The map of all cases, and the report about them."""

from pathlib import Path
from typing import TYPE_CHECKING

import numpy as np

from medcli.drawing import beside
from medcli.embedding.examine import Found, cluster_rows, suspect_rows
from medcli.embedding.summary import Summary
from medcli.evaluation.plots import COLORS, MARKERS
from medcli.report import Card, Report
from medcli.run import Run

if TYPE_CHECKING:
    from matplotlib.figure import Figure

UNKNOWN = "#999999"
MIDDLE, SHOWN_SUSPECTS, BESIDE = 4, 12, 3


def map_figure(found: Found) -> "Figure":
    """Every case a point: its colour is the label (without labels the cluster), its shape the cluster."""
    from matplotlib.figure import Figure
    from matplotlib.lines import Line2D

    kinds = sorted({label for label in found.labels if label})
    by_label = bool(kinds)
    figure = Figure(figsize=(8, 6), layout="constrained")
    axes = figure.add_subplot()
    axes.spines[["top", "right"]].set_visible(False)
    clusters, size = found.clusters.of_case, max(8.0, 40.0 - len(found.labels) / 30)
    labels = np.array(found.labels, str)
    for cluster in range(found.clusters.number):
        for kind in [*kinds, ""] if by_label else [""]:
            here = (clusters == cluster) & ((labels == kind) if by_label else True)
            if not here.any():
                continue
            number = kinds.index(kind) if kind else None
            color = COLORS[(cluster if not by_label else number or 0) % len(COLORS)]
            color = UNKNOWN if by_label and not kind else color
            axes.scatter(
                found.places[here, 0],
                found.places[here, 1],
                s=size,
                c=color,
                marker=MARKERS[cluster % len(MARKERS)],
                alpha=0.75,
                linewidths=0.3,
                edgecolors="white",
            )
    suspicious = {row["case"] for row in suspect_rows(found)}
    ringed = np.array([case.name in suspicious for case in found.embedded.cases], bool)
    if ringed.any():
        x, y = found.places[ringed, 0], found.places[ringed, 1]
        axes.scatter(x, y, s=4 * size, facecolors="none", edgecolors="black", linewidths=0.9)
    keys = [
        Line2D([], [], linestyle="", marker="s", color=COLORS[number % len(COLORS)], label=kind)
        for number, kind in enumerate(kinds)
    ]
    keys += [
        Line2D(
            [], [], linestyle="", marker=MARKERS[cluster % len(MARKERS)], label=f"cluster {cluster}",
            color="#444444" if by_label else COLORS[cluster % len(COLORS)],
        )
        for cluster in range(found.clusters.number)
    ]  # fmt: skip
    if ringed.any():
        keys.append(
            Line2D(
                [], [], linestyle="", marker="o", markersize=10, markerfacecolor="none", color="black",
                label="suspected label",
            )
        )  # fmt: skip
    axes.legend(handles=keys, fontsize=8, frameon=False, loc="upper left", bbox_to_anchor=(1.01, 1))
    axes.set_xlabel(f"first axis ({found.made_by})")
    axes.set_ylabel("second axis")
    axes.set_xticks([])
    axes.set_yticks([])
    return figure


def write_page(path: Path, run: Run, found: Found, summary: Summary, figure: "Figure") -> None:
    cases, thumbs, suspects = found.embedded.cases, found.embedded.thumbs, suspect_rows(found)
    report = Report(
        f"{run.folder.name}: embeddings",
        f"{len(cases)} cases as the network sees them, {summary.features} features",
    )
    cards = [Card("cases", len(cases)), Card("clusters", found.clusters.number)]
    cards.append(Card("silhouette", summary.silhouette, "-1 to 1; above 0.25 there is structure"))
    if summary.neighbours_auroc is not None:
        cards.append(Card("label by neighbours", summary.neighbours_auroc, "AUROC"))
    if summary.suspects is not None:
        cards.append(Card("suspected labels", summary.suspects))
    report.cards(cards).warnings(summary.notes)
    report.heading("Map").figure(
        figure,
        f"Near one another is what the network finds alike ({found.made_by}). Distances between far groups mean "
        "little." + (" Rings: suspected labels." if suspects else ""),
        "map of all cases",
    )
    report.heading("Clusters").table(cluster_rows(found), file="clusters.csv")
    if summary.follows:
        report.table(
            [{"column": name, "Cramér's V": value} for name, value in summary.follows.items()],
            "What the clusters go with: 0 nothing, 1 entirely. A column other than the label, such as a site, is a "
            "warning: the network may use it.",
        )
    report.pictures(
        [
            (beside(list(thumbs[members[:MIDDLE]])), f"Cluster {number}: nearest to its middle")
            for number, members in enumerate(found.clusters.nearest)
        ],
        wide=True,
        shows="images of one cluster",
    )
    if suspects:
        place = {case.name: index for index, case in enumerate(cases)}
        shown = []
        for row in suspects[:SHOWN_SUSPECTS]:
            index = place[row["case"]]
            near = [other for other in found.neighbours[index][:BESIDE] if other >= 0]
            caption = f"{row['case']}: labelled {row['label']}, neighbours say {row['neighbours_say']}"
            shown.append((beside([thumbs[index], *thumbs[near]]), f"{caption} ({row['share']:.0%})"))
        report.heading("Suspected labels").pictures(
            shown,
            "Each with its nearest neighbours of other patients. To be looked at by a person, not changed blindly.",
            wide=True,
            shows="a case and its neighbours",
        )
        report.table(suspects[:100], file="suspects.csv", long=True)
    if summary.failed:
        report.heading("Without an embedding").table(
            [{"case": name, "reason": reason} for name, reason in summary.failed.items()]
        )
    report.write(path)
