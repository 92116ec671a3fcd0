"""Finding the cases of a data set: images with labels, patients and splits, before anything is decoded."""

from collections.abc import Callable, Mapping
from dataclasses import dataclass, replace

import numpy as np

from medcli.boxes import Boxes
from medcli.case import Case, Problem
from medcli.config.schema import Config, Data
from medcli.errors import ConfigError, DataError
from medcli.io.found import Found, listing
from medcli.io.join import check_splits, join_table, keep_named, name_patients, name_the_rest, read_lists
from medcli.io.layouts import cifar, coco, folders, masks, nnunet, npz, table, unlabelled, voc, yolo
from medcli.io.layouts.unlabelled import UNLABELLED
from medcli.io.planes import by_plane
from medcli.io.recognise import recognise

ABNORMAL = "abnormal"
"""The class of an autoencoder that has seen normal images only."""
Layout = tuple[Callable[[Data, str], Found], tuple[str, ...]]

LAYOUTS: Mapping[str, Layout] = {
    "folders": (folders.find, ("classification",)),
    "table": (table.find, ("classification", "regression", "detection", "segmentation")),
    "npz": (npz.find, ("classification", "segmentation")),
    "cifar": (cifar.find, ("classification",)),
    "voc": (voc.find, ("detection",)),
    "coco": (coco.find, ("detection",)),
    "yolo": (yolo.find, ("detection",)),
    "masks": (masks.find, ("segmentation", "detection")),
    "nnunet": (nnunet.find, ("segmentation", "detection")),
    "images": (unlabelled.find, ("classification",)),
}
"""`data.format` to what finds its cases (given the data section and the task), and the tasks it serves."""


LIKE_CLASSES = 4
"""Up to so many different numbers in a table of many cases may be codes."""
ONE_CLASS = "object"
"""Name of the class that all are with `model.one_class`."""


@dataclass(frozen=True)
class Discovery:
    """What was found.

    Attributes:
        cases: At least one, in the order of the data; names are unique.
        classes: Class names in order; None when only the masks can tell (segmentation without
            `data.classes`).
        problems: Cases left out and warnings about those kept.
        format: The layout, one of `LAYOUTS`.
        label_ids: Masks: for each class the ids in the label files; empty: every value above zero is
            the one class; None when only the masks can tell.
        multi_label: Classification: several classes, or none, may apply to one case.
        ignore_label: Segmentation: value in the masks of voxels that nobody labelled, by the config or the data.
        regions: Segmentation: regions that overlap, each made of classes, as the data say; None: they say nothing.
    """

    cases: list[Case]
    classes: list[str] | None
    problems: list[Problem]
    format: str
    label_ids: dict[str, list[int]] | None = None
    multi_label: bool = False
    ignore_label: int | None = None
    regions: dict[str, list[str]] | None = None


def discover(config: Config, *, for_training: bool = True, torn_patients: bool = False) -> Discovery:
    """Find the cases of `config.data`.

    No image is decoded. A fault in one case becomes a `Problem`; raised are only faults that leave nothing to
    work with: DataError (no data folder, no cases, one class only, a patient in two given splits),
    ConfigError (a setting that does not fit the data), FormatError (the one file that holds everything is
    broken).

    With `for_training=False` one class is enough, as an unseen set may hold only one. With `torn_patients=True`
    patients may be in two given splits: an audit says so instead.
    """
    data = config.data
    if not data.root.exists():
        raise DataError(
            f"{data.root}: the data folder does not exist; correct data.root (--set data.root=...)."
        )
    layout = recognise(data, config.task) if data.format == "auto" else data.format
    find, tasks = LAYOUTS[layout]
    if config.task not in tasks:
        usable = listing(name for name, (_, tasks) in LAYOUTS.items() if config.task in tasks)
        raise ConfigError(f"data.format: '{layout}' holds no labels for {config.task}; use {usable}.")
    found = find(data, config.task)
    keep_named(found, data)
    _drop_duplicates(found)
    if data.lists:
        read_lists(found, data)
    name_patients(found, data)
    if data.table and layout != "table":
        join_table(found, data)
    name_the_rest(found)
    _check(found, config, layout)
    if not torn_patients:
        check_splits(found.cases)
    normal_only = config.model.name == "autoencoder" and len(found.classes or []) == 1
    if normal_only:
        _name_normal(found)
    elif config.task == "classification" and for_training and layout != "images":
        _check_classes(found)
    elif config.task == "regression" and for_training:
        _check_targets(found)
    if config.model.one_class:
        _join_classes(found)
    if data.planes:
        found.cases = by_plane(found.cases, data.planes)
    return Discovery(
        found.cases,
        found.classes,
        found.problems,
        layout,
        found.label_ids,
        found.multi_label,
        _ignore_label(found, config),
        found.regions,
    )


def _join_classes(found: Found) -> None:
    """`model.one_class`: every object is of the one class `ONE_CLASS`."""
    for index, case in enumerate(found.cases):
        boxes = case.boxes
        if boxes is not None:
            boxes = Boxes(boxes.corners, np.zeros_like(boxes.classes), boxes.scores, boxes.crowd)
        found.cases[index] = replace(case, boxes=boxes, classes=(ONE_CLASS,) * len(case.classes))
    found.classes = [ONE_CLASS] if found.classes else found.classes
    if found.label_ids:
        found.label_ids = {ONE_CLASS: sorted({value for ids in found.label_ids.values() for value in ids})}


def _ignore_label(found: Found, config: Config) -> int | None:
    if config.task != "segmentation":
        return None
    return found.ignore_label if config.data.ignore_label is None else config.data.ignore_label


def _drop_duplicates(found: Found) -> None:
    """Of cases with one name the first stays."""
    kept: dict[str, Case] = {}
    for case in found.cases:
        if case.name in kept:
            reason = "there is another case of this name; the first is used."
            if case.classes != kept[case.name].classes:
                reason = "there is another case of this name with other labels; the first is used, see which is right."
            found.leave_out(case.name, case.images[0].path.name, reason)
        else:
            kept[case.name] = case
    found.cases = list(kept.values())


def _check(found: Found, config: Config, layout: str) -> None:
    if not found.cases:
        reasons = listing(dict.fromkeys(problem.reason for problem in found.problems if problem.left_out), 3)
        looked = (
            f"{len(found.problems)} were left out: {reasons}"
            if reasons
            else "nothing fits data.images, data.labels and data.include"
        )
        raise DataError(f"{config.data.root}: no usable cases in the layout '{layout}'; {looked}")
    from_masks = any(case.masks for case in found.cases)
    if config.task == "detection" and not found.classes and not from_masks:
        raise DataError(f"{config.data.root}: no image has a box; expected at least one class to learn.")


def _name_normal(found: Found) -> None:
    """Images of one class, or of none, are the normal ones; the class of the others is known by name only."""
    (name,) = found.classes or [UNLABELLED]
    normal = "normal" if name == UNLABELLED else name
    found.classes = [normal, ABNORMAL]
    found.cases = [replace(case, classes=(normal,)) for case in found.cases]


def _check_targets(found: Found) -> None:
    """At least two different numbers must occur; so few of them that they look like classes are told."""
    values = {case.target for case in found.cases}
    name = (found.classes or ["target"])[0]
    if len(values) < 2:
        raise DataError(
            f"all {len(found.cases)} cases have the same number in the column {name} (data.columns.target); "
            "regression needs at least two different ones."
        )
    if len(values) <= LIKE_CLASSES < len(found.cases) / 4:
        found.warn(
            "",
            "",
            f"the column {name} holds only {len(values)} different numbers; if they are codes, use "
            "task: classification.",
        )


def _check_classes(found: Found) -> None:
    """At least two classes, or two different sets of them, must occur."""
    kinds = {case.classes for case in found.cases}
    if len(kinds) < 2:
        only = listing(kinds.pop()) or "none"
        raise DataError(
            f"all {len(found.cases)} cases have the same class ({only}); classification needs at least two."
        )
    occurring = {name for kind in kinds for name in kind}
    for name in found.classes or []:
        if name not in occurring:
            found.warn("", "", f"no case has the class '{name}'.")
