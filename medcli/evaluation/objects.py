"""Judging single objects, besides the labels of voxels: how many are found, merged and split, and how well outlined."""

import json
from collections.abc import Mapping, Sequence
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np

from medcli.case import Case
from medcli.config.schema import Evaluate
from medcli.drawing import above, add_legend, add_title, beside, color_of, draw_objects, views
from medcli.errors import RunError
from medcli.evaluation.judge import Judged, Measured, Plot, Section, Table, shown_window, with_intervals
from medcli.evaluation.plots import levels_figure
from medcli.evaluation.segmentation import SegmentationJudge
from medcli.image import Image
from medcli.instances.compare import judged
from medcli.instances.decode import Objects
from medcli.metrics.bootstrap import mean_of_known
from medcli.metrics.instances import LEVELS, PER_CASE, POOLED, Matched, Pooled, match_objects, per_case
from medcli.metrics.samples import Sample, segmentation_sample
from medcli.prediction.result import Prediction
from medcli.preprocessing.instances import read_objects, true_objects
from medcli.preprocessing.plan import Plan

FILE = "objects.json"
KINDS = ("found", "missed or false", "merged or split")
METHOD = (
    "An object is found when its IoU with a true one of its class is at least the level, one to one; counts are at "
    ".50. AP is TP / (TP + FP + FN): of every image, then the mean over the images (2018 Data Science Bowl), and of "
    "the objects of all images together; ranked AP is the area under precision and recall, objects ranked by mean "
    "probability (COCO). Merged: found objects that hold at least half of each of several true ones; split: true "
    "objects that hold at least half of each of several found ones."
)


class ObjectsJudge(SegmentationJudge):
    """See `Judge`."""

    headline = ("ap50", "ap50_90", "pq", "dice")

    def __init__(self, plan: Plan, settings: Evaluate) -> None:
        super().__init__(plan, settings)
        self.group_names = (*self.voxel_names, *PER_CASE)
        self.overall_names = self.class_names = (*self.group_names, *POOLED)
        self._matched: list[list[Matched]] = []

    def add(self, case: Case, image: Image, prediction: Prediction) -> Judged:
        assert prediction.objects is not None
        label = read_objects(case, image, self.plan)
        truth, classes = true_objects(label)
        found = judged(label, prediction.objects)
        matched = match_objects(truth, classes, found.ids, found.classes, found.scores, self.plan.num_classes)
        result = self._with_objects(super().add(case, image, prediction), case.name, matched)
        return replace(result, draw=lambda: _draw(image, Objects(truth, classes, classes), found, self.plan))

    def restore(self, rows: Sequence[Mapping[str, str]], folder: Path) -> list[Judged]:
        path = folder / FILE
        try:
            cases = json.loads(path.read_text(encoding="utf-8"))["cases"]
            matched = [[_matched(cases[row["case"]][name]) for name in self.plan.classes] for row in rows]
        except (OSError, ValueError, KeyError, TypeError, IndexError) as error:
            raise RunError(
                f"{path}: not the stored objects of this run ({type(error).__name__}); run `medcli evaluate --force` "
                "again."
            ) from None
        return [
            self._with_objects(one, row["case"], classes)
            for one, row, classes in zip(super().restore(rows, folder), rows, matched, strict=True)
        ]

    def _with_objects(self, judged: Judged, case: str, matched: list[Matched]) -> Judged:
        """With the columns of the objects in cases.csv; pictures are chosen by them."""
        self._matched.append(matched)
        single = per_case(matched)
        counts = _counted(matched)
        row = {name: float(mean_of_known(single[name])) for name in PER_CASE} | counts
        text = (
            f"{case}: AP .50 {row['ap50']:.3f}, Dice {judged.quality:.3f}; {counts['hits']} of {counts['objects']} "
            f"found, {counts['false']} false, {counts['merged']} merged, {counts['split_up']} split"
        )
        return replace(judged, row=judged.row | row, caption=text, shown_by=row["ap50"])

    def measure(self, patients: Sequence[str]) -> Measured:
        voxelwise = super().measure(patients)
        pooled = Pooled.of(self._matched)
        objects = with_intervals(pooled.measures, self.plan.classes, patients, extra={})
        per_class = {name: values | objects.per_class[name] for name, values in voxelwise.per_class.items()}
        by_level = {
            f"{level:.2f}": round(float(value), 6)
            for level, value in zip(LEVELS, self._levels(), strict=True)
        }
        counts = {
            name: _counted([one[index] for one in self._matched])
            for index, name in enumerate(self.plan.classes)
        }
        extra = {
            "objects": {name: one["objects"] for name, one in counts.items()},
            "object_counts": counts,
            "ap_by_iou": by_level,
        }
        return Measured(
            voxelwise.overall | objects.overall,
            per_class,
            voxelwise.intervals | objects.intervals,
            voxelwise.extra | extra,
            [*voxelwise.sections, _section(counts, by_level)],
            voxelwise.notes,
        )

    def _levels(self) -> np.ndarray:
        """(levels,) AP of every image, mean over the images and the classes."""
        counts = [[one.counts for one in classes] for classes in self._matched]
        table = np.array(
            [[c["tp"] / np.maximum(c["tp"] + c["fp"] + c["fn"], 1) for c in row] for row in counts]
        )
        there = np.array([[c["tp"][0] + c["fp"][0] + c["fn"][0] > 0 for c in row] for row in counts])
        return mean_of_known(mean_of_known(np.where(there[..., None], table, np.nan), axis=0), axis=0)

    def sample(self) -> Sample:
        single = [per_case(matched) for matched in self._matched]
        cases = self._stacked() | {name: np.stack([one[name] for one in single]) for name in PER_CASE}
        return segmentation_sample(cases, np.stack(self._shown))

    def plots(self) -> list[Plot]:
        levels = self._levels()
        figure = levels_figure(LEVELS, levels)
        text = f"Mean over the images, from {levels[0]:.3f} at IoU .50 to {levels[-1]:.3f} at .90."
        return [Plot("ap_by_iou", figure, text, "Average precision of objects against IoU"), *super().plots()]

    def stored(self, cases: Sequence[str]) -> dict[str, Any]:
        content = {
            "found": "score, IoU with the true object it is matched with (0: none), size in voxels",
            "cases": {
                name: {label: _row(one) for label, one in zip(self.plan.classes, classes, strict=True)}
                for name, classes in zip(cases, self._matched, strict=True)
            },
        }
        return {FILE: content}


def _counted(matched: Sequence[Matched]) -> dict[str, int]:
    """Objects at IoU 0.5."""
    hits = int(sum((one.ious > 0).sum() for one in matched))
    return {
        "objects": sum(one.truths for one in matched),
        "found": int(sum(len(one.ious) for one in matched)),
        "hits": hits,
        "missed": sum(one.truths for one in matched) - hits,
        "false": int(sum(len(one.ious) for one in matched)) - hits,
        "merged": sum(one.merged for one in matched),
        "split_up": sum(one.split for one in matched),
    }


def _row(one: Matched) -> dict[str, Any]:
    found = [
        [float(f"{score:.6g}"), float(f"{iou:.9g}"), int(size)]
        for score, iou, size in zip(one.scores, one.ious, one.sizes, strict=True)
    ]
    return {"true": one.truths, "merged": one.merged, "split": one.split, "found": found}


def _matched(row: dict[str, Any]) -> Matched:
    table = np.array(row["found"], float).reshape(-1, 3)
    return Matched(
        int(row["true"]),
        table[:, 0],
        table[:, 1],
        table[:, 2].astype(int),
        int(row["merged"]),
        int(row["split"]),
    )


def _section(counts: dict[str, dict[str, int]], by_level: dict[str, float]) -> Section:
    rows = [
        {"class": name} | {key.replace("_", " "): value for key, value in one.items()}
        for name, one in counts.items()
    ]
    levels = {f"IoU {level}": value for level, value in by_level.items()}
    caption = "AP at every level, mean over the images and the classes"
    return Section("Objects", [Table(rows, METHOD), Table([levels], caption)], [])


# ---- pictures


def _draw(image: Image, truth: Objects, found: Objects, plan: Plan) -> np.ndarray:
    """Truth and prediction beside each other, coloured by what became of the objects."""
    flat = image.ndim == 2
    kinds = fates(truth, found, plan.num_classes)
    labels = (truth.labels, truth.ids, found.ids)
    shown = views(image, labels, window=shown_window(plan), longest=400 if flat else 260)
    colors = [np.array([color_of(_COLORS[kind]) for kind in part], np.uint8).reshape(-1, 3) for part in kinds]
    titles = ("truth (missed, merged, split)", "prediction (false, merged, split)")
    rows = [
        add_title(
            beside([draw_objects(view.rgb, view.labels[which + 1], colors[which]) for view in shown]), title
        )
        for which, title in enumerate(titles)
    ]
    order = sorted(range(len(KINDS)), key=lambda kind: _COLORS[kind])
    return add_legend(beside(rows) if flat else above(rows), [KINDS[kind] for kind in order])


_COLORS = (2, 0, 1)
"""Colour of `drawing.color_of` for each of `KINDS`; together the first ones, as a legend counts them."""


def fates(truth: Objects, found: Objects, num_classes: int) -> tuple[np.ndarray, np.ndarray]:
    """What became of every true object (n,) and of every one found (m,): indices into `KINDS`.

    An object that is matched counts as found even when a part of it went to another one.
    """
    result = np.ones(len(truth), int), np.ones(len(found), int)
    table = np.zeros((len(truth) + 1, len(found) + 1), int)
    np.add.at(table, (truth.ids.ravel(), found.ids.ravel()), 1)
    sizes, others = table.sum(axis=1)[1:], table.sum(axis=0)[1:]
    table = table[1:, 1:] * (truth.classes[:, None] == found.classes[None])
    pieces, within = 2 * table >= others[None], 2 * table >= sizes[:, None]
    pieces, within = pieces & (table > 0), within & (table > 0)
    split, merged = pieces.sum(axis=1) > 1, within.sum(axis=0) > 1
    result[0][split | (within & merged[None]).any(axis=1)] = 2
    result[1][merged | (pieces & split[:, None]).any(axis=0)] = 2
    hit = table / np.maximum(sizes[:, None] + others[None] - table, 1) >= LEVELS[0]
    result[0][hit.any(axis=1)] = 0
    result[1][hit.any(axis=0)] = 0
    return result
