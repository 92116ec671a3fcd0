"""Judging a detector of planes on whole volumes: linked boxes against the objects of the masks."""

from collections.abc import Sequence
from dataclasses import dataclass, field
from typing import Any

import numpy as np

from medcli.boxes import Boxes
from medcli.case import Case
from medcli.evaluation.judge import Plot, Section, Table
from medcli.evaluation.plots import froc_figure
from medcli.io.planes import place_of, volume_of
from medcli.metrics.bootstrap import mean_of_known
from medcli.metrics.detection import (
    FROC_RATES,
    Matches,
    average_precision,
    froc_curve,
    froc_sensitivities,
    recall,
)
from medcli.metrics.linking import link
from medcli.metrics.volume_detection import match_volumes
from medcli.preprocessing.objects import volume_truth
from medcli.preprocessing.plan import Plan
from medcli.volume_boxes import VolumeBoxes

FILE = "volumes.json"
OVERLAP = 0.25
"""3D IoU of a hit in the average precision: objects of few planes rarely reach more."""


@dataclass
class _Volume:
    affine: np.ndarray
    spacing: tuple[float, ...]
    truth: VolumeBoxes
    planes: dict[int, int] = field(default_factory=dict)
    """Index of the plane to the number of its case."""


@dataclass
class Volumes:
    """The volumes whose planes were judged, by name."""

    plan: Plan
    known: dict[str, _Volume] = field(default_factory=dict)

    def add(self, case: Case, number: int) -> None:
        """Of a case that is a plane with masks; others are passed over."""
        found = volume_of(case.images[0])
        if found is None or not case.masks:
            return
        source, index, _ = found
        name = case.name.rpartition("_p")[0]
        if name not in self.known:
            self.known[name] = _Volume(*place_of(source), volume_truth(case, self.plan))
        self.known[name].planes[index] = number

    def stored(self) -> dict[str, Any]:
        return {
            name: {
                "affine": one.affine.tolist(),
                "spacing": list(one.spacing),
                "true": np.column_stack([one.truth.corners, one.truth.classes]).tolist(),
                "planes": {str(index): number for index, number in one.planes.items()},
            }
            for name, one in self.known.items()
        }

    def restore(self, content: dict[str, Any]) -> None:
        for name, one in content.items():
            table = np.array(one["true"], float).reshape(-1, 7)
            planes = {int(index): int(number) for index, number in one["planes"].items()}
            truth = VolumeBoxes.of(table[:, :6], table[:, 6])
            self.known[name] = _Volume(np.array(one["affine"]), tuple(one["spacing"]), truth, planes)

    def section(self, found: Sequence[Boxes]) -> tuple[Section, dict[str, Any]]:
        """FROC per volume and average precision, also as in metrics.json."""
        volumes = list(self.known.values())
        linked = [
            link(
                [
                    found[one.planes[i]] if i in one.planes else Boxes.empty()
                    for i in range(max(one.planes) + 1)
                ]
            )
            for one in volumes
        ]
        classes = range(self.plan.num_classes)

        def matches(overlap: float | None) -> list[Matches]:
            places = [(one.affine, one.spacing) for one in volumes]
            truth = [one.truth for one in volumes]
            return [match_volumes(linked, truth, kind, places, overlap=overlap) for kind in classes]

        by_distance, by_overlap = matches(None), matches(OVERLAP)
        rates = froc_sensitivities(by_distance)
        numbers = {
            "volumes": len(volumes),
            "objects": int(sum(one.truths.sum() for one in by_distance)),
            "froc": float(mean_of_known(rates)),
            "sensitivity": float(froc_sensitivities(by_distance, rates=(np.inf,))[0]),
            "ap25": float(mean_of_known(np.array([average_precision(one)[0] for one in by_overlap]))),
            "recall25": float(mean_of_known(np.array([recall(one)[0] for one in by_overlap]))),
        }
        at = {f"{rate:g}": float(value) for rate, value in zip(FROC_RATES, rates, strict=True)}
        rows = [
            {"volumes": numbers["volumes"], "objects": numbers["objects"], "FROC score": numbers["froc"]}
            | {f"at {rate}": value for rate, value in at.items()}
            | {"AP (3D IoU .25)": numbers["ap25"], "recall (3D IoU .25)": numbers["recall25"]}
        ]
        caption = (
            "Boxes of neighbouring planes linked to boxes of the volume. FROC: a box hits an object when its centre "
            "lies within the object's radius (half the mean length of its box, in mm), as in LUNA16; the columns are "
            "sensitivities at so many false boxes per volume."
        )
        plots = []
        if numbers["objects"]:
            figure = froc_figure({"": froc_curve(by_distance)}, FROC_RATES)
            figure.axes[0].set_xlabel("false positives per volume")
            plots.append(
                Plot(
                    "froc_volumes",
                    figure,
                    "Sensitivity against false boxes per volume, hits by centre distance.",
                    "FROC curve per volume",
                )
            )
        return Section("Objects in volumes", [Table(rows, caption)], plots), numbers | {"sensitivity_at": at}
