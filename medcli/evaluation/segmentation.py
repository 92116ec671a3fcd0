"""Judging segmentations, on the grid of the image as it was read."""

from collections.abc import Mapping, Sequence
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np

from medcli.case import Case
from medcli.config.schema import Evaluate
from medcli.drawing import above, add_legend, add_title, beside, draw_labels, views
from medcli.errors import DataError, RunError
from medcli.evaluation.controlled import outer_row
from medcli.evaluation.judge import Detail, Judged, Measured, Plot, shown_window, with_intervals
from medcli.evaluation.plots import box_figure
from medcli.image import Image
from medcli.io.masks import read_mask
from medcli.metrics import segmentation as metrics
from medcli.metrics.bootstrap import mean_of_known
from medcli.metrics.samples import SEGMENTATION_GAPS, Sample, segmentation_sample
from medcli.prediction.result import Prediction
from medcli.preprocessing.labels import IGNORE, map_labels
from medcli.preprocessing.plan import Plan
from medcli.preprocessing.regions import members_mask

MM = "mm"


class SegmentationJudge:
    """See `Judge`."""

    headline: tuple[str, ...] = ("dice", "nsd", "hd95", "asd", "volume_error")
    gaps = SEGMENTATION_GAPS
    robust_names = ("dice",)
    wide = True

    def __init__(self, plan: Plan, settings: Evaluate) -> None:
        self.plan, self.settings = plan, settings
        self.voxel_names = (*metrics.PER_CLASS, *((metrics.CENTRELINE,) if settings.centreline else ()))
        self.overall_names = self.class_names = self.group_names = self.voxel_names
        self._cases: list[dict[str, np.ndarray]] = []
        self._in_mm = True
        self._shown: list[np.ndarray] = []

    def add(self, case: Case, image: Image, prediction: Prediction) -> Judged:
        assert prediction.labels is not None
        if not case.masks:
            raise DataError("Expected a mask as the truth, found none; add one or leave the case out.")
        truth = map_labels(read_mask(case.masks, image), self.plan)
        known = truth != IGNORE
        if not known.any():
            raise DataError(
                "Nobody labelled a voxel of it, so there is nothing to judge; leave the case out."
            )
        predicted = prediction.labels
        values = self._measures(truth, prediction, image)
        sizes = [
            (self._true(truth, index).sum(), (self._found(prediction, index) & known).sum())
            for index in range(self.plan.num_classes)
        ]
        row = self._row(values, sizes, image)
        if prediction.outer is not None:
            row |= outer_row(truth, prediction.outer, self.plan)
        shown = np.array([true > 0 for true, _ in sizes])
        judged = self._judged(case.name, row, values, shown)
        return replace(judged, draw=lambda: _draw(image, truth, predicted, self.plan))

    def _measures(self, truth: np.ndarray, prediction: Prediction, image: Image) -> dict[str, np.ndarray]:
        """Each (classes,); of regions, which may overlap, one by one."""

        def measured(truth, predicted, count):
            return metrics.measures(
                truth,
                predicted,
                count,
                spacing=image.spacing,
                tolerance=self.settings.tolerance_mm,
                centreline=self.settings.centreline,
            )

        if not self.plan.regions:
            return measured(truth, prediction.labels, self.plan.num_classes)
        known = truth != IGNORE
        parts = [
            measured(
                np.where(known, self._true(truth, index), IGNORE).astype(np.uint8),
                self._found(prediction, index).astype(np.uint8),
                1,
            )
            for index in range(self.plan.num_classes)
        ]
        return {name: np.concatenate([part[name] for part in parts]) for name in parts[0]}

    def _true(self, truth: np.ndarray, index: int) -> np.ndarray:
        return members_mask(truth, index, self.plan.regions)

    def _found(self, prediction: Prediction, index: int) -> np.ndarray:
        if prediction.region_masks is not None:
            return prediction.region_masks[index]
        assert prediction.labels is not None
        return members_mask(prediction.labels, index, self.plan.regions)

    def restore(self, rows: Sequence[Mapping[str, str]], folder: Path) -> list[Judged]:
        """The measures are those of the masks, so the tolerance is that of before."""
        try:
            return [self._restored(row) for row in rows]
        except (KeyError, ValueError, StopIteration):
            raise RunError(
                f"{folder / 'cases.csv'}: not a table of this run's labels ({', '.join(self.plan.classes)}); run "
                "`medcli evaluate --force` again."
            ) from None

    def _restored(self, line: Mapping[str, str]) -> Judged:
        classes = self.plan.classes
        columns = {
            name: [f"{name}/{label}" if len(classes) > 1 else name for label in classes]
            for name in self.voxel_names
        }
        values = {
            name: np.array([float(line[column] or "nan") for column in found])
            for name, found in columns.items()
        }
        own = (*self.voxel_names, *(column for found in columns.values() for column in found))
        sizes = [column for column in line if column.startswith(("true_", "predicted_"))]
        row: dict[str, Any] = {name: float(line[name] or "nan") for name in (*own, *sizes)}
        true = [
            next(name for name in sizes if name.startswith("true_") and name.partition("/")[2] == label)
            for label in classes
        ]
        row["distances_in"] = line["distances_in"]
        return self._judged(line["case"], row, values, np.array([row[name] > 0 for name in true]))

    def _judged(
        self, case: str, row: dict[str, Any], values: dict[str, np.ndarray], shown: np.ndarray
    ) -> Judged:
        """Add one case.

        Args:
            row: Its line in cases.csv.
            values: By measure (classes,).
            shown: (classes,) bool, the labels that are in the truth.
        """
        self._cases.append(values)
        self._shown.append(shown)
        self._in_mm &= row["distances_in"] == MM
        quality = float(mean_of_known(values["dice"]))
        return Judged(row, quality, f"{case}: Dice {quality:.3f}")

    def measure(self, patients: Sequence[str]) -> Measured:
        cases = self._stacked()
        extra = {
            "distances_in": "mm" if self._in_mm else "pixels where the spacing is unknown",
            "tolerance": self.settings.tolerance_mm,
            "judged_cases": {
                name: int(np.isfinite(cases["dice"][:, index]).sum())
                for index, name in enumerate(self.plan.classes)
            },
        }
        return with_intervals(
            lambda weights: metrics.summarise(cases, weights), self.plan.classes, patients, extra=extra
        )

    def sample(self) -> Sample:
        return segmentation_sample(self._stacked(), np.stack(self._shown))

    def details(self) -> list[Detail]:
        return []

    def lists(self, cases: Sequence[str]) -> dict[str, list[dict[str, Any]]]:
        return {}

    def plots(self) -> list[Plot]:
        cases = self._stacked()
        unit = "mm" if self._in_mm else "pixels"

        def by_label(name: str) -> dict[str, np.ndarray]:
            return {label: cases[name][:, index] for index, label in enumerate(self.plan.classes)}

        return [
            Plot(
                "dice",
                box_figure(by_label("dice"), "Dice", limits=(-0.02, 1.02)),
                "Every dot is a case; the box is the middle half.",
                "Box plot of Dice per label",
            ),
            Plot(
                "hd95",
                box_figure(by_label("hd95"), f"HD95 ({unit})", limits=None),
                "95th percentile of the surface distance; smaller is better.",
                "Box plot of the 95 % Hausdorff distance per label",
            ),
        ]

    def stored(self, cases: Sequence[str]) -> dict[str, Any]:
        return {}

    def _stacked(self) -> dict[str, np.ndarray]:
        return {name: np.stack([case[name] for case in self._cases]) for name in self.voxel_names}

    def _row(
        self, values: dict[str, np.ndarray], sizes: Sequence[tuple[int, int]], image: Image
    ) -> dict[str, Any]:
        """Means over the labels, then every label, then its size in ml (mm² for pictures, else pixels).

        Args:
            sizes: For every label voxels in the truth and in the prediction.
        """
        row: dict[str, Any] = {name: float(mean_of_known(part)) for name, part in values.items()}
        one = float(np.prod(image.spacing)) if image.spacing else 1.0
        size, one = ("ml", one / 1000) if image.ndim == 3 and image.spacing else ("size", one)
        for index, label in enumerate(self.plan.classes):
            if len(self.plan.classes) > 1:
                row |= {f"{name}/{label}": float(part[index]) for name, part in values.items()}
            true, found = sizes[index]
            row[f"true_{size}/{label}"] = float(true * one)
            row[f"predicted_{size}/{label}"] = float(found * one)
        row["distances_in"] = MM if image.spacing else "pixels"
        return row


def _draw(image: Image, truth: np.ndarray, predicted: np.ndarray, plan: Plan) -> np.ndarray:
    """Truth and prediction beside each other; for volumes one above the other in three planes."""
    flat = image.ndim == 2
    truth = np.where(truth == IGNORE, 0, truth)
    shown = views(image, (truth, predicted), window=shown_window(plan), longest=400 if flat else 260)
    rows = [
        add_title(beside([draw_labels(view.rgb, view.labels[which], fill=0.2) for view in shown]), title)
        for which, title in enumerate(("truth", "prediction"))
    ]
    return add_legend(beside(rows) if flat else above(rows), plan.label_names)
