"""Judging detections."""

import json
from collections.abc import Mapping, Sequence
from dataclasses import replace
from functools import cached_property
from pathlib import Path
from typing import Any

import numpy as np

from medcli.boxes import Boxes
from medcli.case import Case
from medcli.config.schema import Evaluate
from medcli.drawing import add_legend, add_title, beside, draw_boxes, views
from medcli.errors import DataError, RunError
from medcli.evaluation.controlled import controlled_row
from medcli.evaluation.detection_errors import Album, Mistake, mistakes
from medcli.evaluation.detection_scores import (
    FALSE,
    FOUND,
    curve_rows,
    found_measures,
    found_section,
    size_section,
)
from medcli.evaluation.detection_volumes import FILE as VOLUMES
from medcli.evaluation.detection_volumes import Volumes
from medcli.evaluation.judge import Detail, Judged, Measured, Plot, Values, shown_window, with_intervals
from medcli.evaluation.plots import confusion_figure, froc_figure, precision_recall_figure
from medcli.image import Image
from medcli.metrics import detection as metrics
from medcli.metrics.samples import DETECTION_GAPS, Sample, detection_sample
from medcli.operating import Operating, is_found, thresholds_of
from medcli.prediction.result import Prediction
from medcli.preprocessing.objects import with_boxes
from medcli.preprocessing.plan import Plan
from medcli.run import Run

FILE, ERRORS, CURVES = "detections.json", "errors.csv", "score_curves.csv"


class DetectionJudge:
    """See `Judge`."""

    overall_names = (*metrics.OVERALL, *FOUND, FALSE)
    class_names = (*metrics.PER_CLASS, *FOUND)
    headline = ("map50", "map", "found_recall", "found_precision", "froc")
    robust_names = ("map50",)
    group_names, gaps = metrics.OVERALL, DETECTION_GAPS
    wide = True

    def __init__(self, plan: Plan, settings: Evaluate, run: Run | None = None) -> None:
        """`run`: Whose thresholds say what counts as found; None: it has none."""
        self.plan, self.settings, self.run = plan, settings, run
        self._truth: list[Boxes] = []
        self._found: list[Boxes] = []
        self._album = Album(plan)
        self._volumes = Volumes(plan)

    @cached_property
    def _operating(self) -> Operating | None:
        """When it is first needed, since an evaluation may learn it before."""
        return None if self.run is None else Operating.of(self.run)

    @cached_property
    def _least(self) -> np.ndarray:
        """(classes,) score from which on boxes count as found: in cases.csv, the confusion matrix, the pictures."""
        return thresholds_of(self._operating, self.plan.num_classes)

    def add(self, case: Case, image: Image, prediction: Prediction) -> Judged:
        assert prediction.boxes is not None
        truth, found = with_boxes(case, image, self.plan).boxes, prediction.boxes
        if truth is None:
            raise DataError("Expected an annotation with the true boxes, found none; annotate the case.")
        judged = self._judged(case.name, truth, found)
        self._volumes.add(case, len(self._found) - 1)
        row = judged.row
        if prediction.controlled is not None:
            overlap = self.settings.iou_threshold
            row = row | controlled_row(prediction.controlled, truth, self.plan, overlap=overlap)
        wrong = mistakes(found, truth, self._least, self.settings.iou_threshold)
        shown = found.take(is_found(found, self._least))
        if self.settings.pictures:
            self._album.add(case.name, image, shown, truth, wrong)
        return replace(judged, row=row, draw=lambda: _draw(image, truth, shown, self.plan, wrong))

    def restore(self, rows: Sequence[Mapping[str, str]], folder: Path) -> list[Judged]:
        path = folder / FILE
        try:
            content = json.loads(path.read_text(encoding="utf-8"))
            index = np.array([self.plan.classes.index(name) for name in content["classes"]], np.int32)
            boxes = [
                [_boxes(content["cases"][row["case"]][kind], kind, index) for kind in ("true", "found")]
                for row in rows
            ]
            volumes = folder / VOLUMES
            self._volumes.restore(json.loads(volumes.read_text("utf-8")) if volumes.is_file() else {})
        except FileNotFoundError:
            raise RunError(f"{path} is missing; run `medcli evaluate --force` again.") from None
        except (OSError, ValueError, KeyError, TypeError, IndexError) as error:
            raise RunError(
                f"{path}: not the stored boxes of this run ({type(error).__name__}); run `medcli evaluate --force` "
                "again."
            ) from None
        return [
            self._judged(row["case"], truth, found) for row, (truth, found) in zip(rows, boxes, strict=True)
        ]

    def _judged(self, case: str, truth: Boxes, found: Boxes) -> Judged:
        """Add one case."""
        self._truth.append(truth)
        self._found.append(found)
        table = self._confusion([found], [truth])
        hits, missed = int(np.trace(table[:-1, :-1])), int(table[:-1].sum() - np.trace(table[:-1, :-1]))
        wrong = int(table[:, :-1].sum()) - hits
        f1 = 2 * hits / (2 * hits + missed + wrong) if hits + missed + wrong else float("nan")
        row = {"objects": int((~truth.crowd).sum()), "hits": hits, "missed": missed, "false": wrong, "f1": f1}
        return Judged(row, f1, f"{case}: {hits} found, {missed} missed, {wrong} false")

    def measure(self, patients: Sequence[str]) -> Measured:
        matches, froc = self._matches(metrics.THRESHOLDS), self._every()
        found, content = found_section(
            self._operating, self._least, froc, self.plan.classes, overlap=self.settings.iou_threshold
        )
        sizes, by_size = size_section(self._found, self._truth, self.plan.classes)
        extra = {
            "objects": {
                name: int(one.truths.sum()) for name, one in zip(self.plan.classes, matches, strict=True)
            },
            "confusion": {
                "classes": [*self.plan.classes, "background"],
                "rows_are_truth": self._confusion(self._found, self._truth).tolist(),
                "score_thresholds": dict(zip(self.plan.classes, self._least.tolist(), strict=True)),
                "iou_threshold": self.settings.iou_threshold,
            },
            "froc_sensitivity": dict(
                zip(map(str, metrics.FROC_RATES), metrics.froc_sensitivities(froc).tolist(), strict=True)
            ),
            "found": content,
            **by_size,
        }

        def measure(weights: np.ndarray | None) -> Values:
            overall, by_class = metrics.measures(matches, froc, weights)
            more, more_by_class = found_measures(froc, self._least, weights)
            return overall | more, by_class | more_by_class

        measured = with_intervals(measure, self.plan.classes, patients, extra=extra)
        sections = [found, sizes]
        if self._volumes.known:
            section, numbers = self._volumes.section(self._found)
            sections.insert(0, section)
            measured.extra["volumes"] = numbers
        return replace(measured, sections=sections)

    def details(self) -> list[Detail]:
        return self._album.details()

    def lists(self, cases: Sequence[str]) -> dict[str, list[dict[str, Any]]]:
        overlap = self.settings.iou_threshold
        wrong = [
            one.row(case, self.plan.classes)
            for case, found, truth in zip(cases, self._found, self._truth, strict=True)
            for one in mistakes(found, truth, self._least, overlap)
        ]
        return {ERRORS: wrong, CURVES: curve_rows(self._every(), self.plan.classes)}

    def stored(self, cases: Sequence[str]) -> dict[str, Any]:
        content = {
            "classes": self.plan.classes,
            "found": "x0 y0 x1 y1 class score; pixels of the image, class as index",
            "true": "x0 y0 x1 y1 class crowd",
            "cases": {
                name: {"found": _rows(found, found.scores), "true": _rows(truth, truth.crowd)}
                for name, found, truth in zip(cases, self._found, self._truth, strict=True)
            },
        }
        return {FILE: content} | ({VOLUMES: self._volumes.stored()} if self._volumes.known else {})

    def sample(self) -> Sample:
        return detection_sample(self._matches(metrics.THRESHOLDS), self._every())

    def plots(self) -> list[Plot]:
        matches, froc = self._matches(np.array([0.5])), self._every()
        curves = {}
        for name, one in zip(self.plan.classes, matches, strict=True):
            if one.truths.sum():
                label = f"{name} ({metrics.average_precision(one)[0]:.3f})"
                curves[label] = metrics.precision_recall_curve(one)[::-1]
        named = zip(self.plan.classes, froc, strict=True) if len(froc) > 1 else ()
        rates = {name: metrics.froc_curve([one]) for name, one in named if one.truths.sum()}
        rates |= {
            "all classes": metrics.froc_curve(froc)
        }  # last, so that a class has one colour in both plots
        half = found_measures(matches, self._least)[1]
        marks = {
            name: (float(half["found_recall"][index]), float(half["found_precision"][index]))
            for index, name in enumerate(self.plan.classes)
            if matches[index].truths.sum()
        }
        table = self._confusion(self._found, self._truth)
        names = [*self.plan.classes, "background"]
        overlap = self.settings.iou_threshold
        return [
            Plot(
                "precision_recall",
                precision_recall_figure(curves, "Precision and recall at IoU .50", list(marks.values())),
                "Per class, with its average precision; the dot: from the score on that counts as found.",
                "Precision-recall curves: " + ", ".join(curves),
            ),
            Plot(
                "froc",
                froc_figure(rates, metrics.FROC_RATES),
                f"Sensitivity against false alarms per image, at IoU {overlap:g}.",
                "FROC curves: sensitivity against false positives per image",
            ),
            Plot(
                "confusion",
                confusion_figure(table, names, names, xlabel="found"),
                f"Boxes that count as found, matched at IoU {overlap:g}; background: missed or false.",
                f"Confusion matrix: {int(np.trace(table))} boxes found with the right class",
            ),
        ]

    @property
    def _threshold(self) -> np.ndarray:
        return np.array([self.settings.iou_threshold])

    def _matches(self, thresholds: np.ndarray, most: int = metrics.MOST) -> list[metrics.Matches]:
        return [
            metrics.match_images(self._found, self._truth, kind, thresholds=thresholds, most=most)
            for kind in range(self.plan.num_classes)
        ]

    def _every(self) -> list[metrics.Matches]:
        """At the overlap that makes a hit, of all boxes."""
        return self._matches(self._threshold, metrics.ALL)

    def _confusion(self, found: Sequence[Boxes], truth: Sequence[Boxes]) -> np.ndarray:
        return metrics.confusion_matrix(
            found,
            truth,
            self.plan.num_classes,
            iou_threshold=self.settings.iou_threshold,
            score_threshold=self._least,
        )


def _boxes(rows: list[list[float]], kind: str, index: np.ndarray) -> Boxes:
    """As `_rows` wrote them; `index`: the class of this run for every class of the file."""
    table = np.array(rows, float).reshape(-1, 6)
    classes = index[table[:, 4].astype(int)]
    if kind == "true":
        return Boxes.of(table[:, :4], classes, crowd=table[:, 5] > 0)
    return Boxes.of(table[:, :4], classes, table[:, 5])


def _rows(boxes: Boxes, last: np.ndarray) -> list[list[float]]:
    table = np.column_stack([boxes.corners.round(3), boxes.classes, last]).astype(float)
    return [[float(f"{value:.9g}") for value in row] for row in table]


def _draw(image: Image, truth: Boxes, found: Boxes, plan: Plan, wrong: Sequence[Mistake]) -> np.ndarray:
    """Truth and prediction side by side; what is missed or false is drawn thick."""
    view = views(image, window=shown_window(plan), longest=480)[0]
    drawn = []
    for title, boxes, kind in (
        ("truth (missed: thick)", truth, "missed"),
        ("found (false: thick)", found, "false"),
    ):
        thick = {tuple(one.corners.tolist()) for one in wrong if one.kind == kind}
        loud = np.array([tuple(corners) in thick for corners in boxes.corners.tolist()], bool)
        picture = draw_boxes(view.rgb, boxes.scaled(*view.scale), plan.classes, names=False, thick=loud)
        drawn.append(add_title(picture, title))
    return add_legend(beside(drawn), plan.classes)
