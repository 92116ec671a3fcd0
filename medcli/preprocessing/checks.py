"""Faults that no reader refuses: odd shapes, missing labels, boxes outside the image, duplicates."""

import math
from collections import Counter, defaultdict
from collections.abc import Iterable, Sequence
from dataclasses import dataclass, replace
from functools import lru_cache
from pathlib import Path

import numpy as np

from medcli.boxes import Boxes
from medcli.case import Case, Problem
from medcli.clinical import MISSING, number
from medcli.errors import DataError
from medcli.io.layouts.unlabelled import UNLABELLED
from medcli.preprocessing.labels import LabelRule, unknown_ids
from medcli.preprocessing.objects import Parts, boxes_of, merged
from medcli.preprocessing.scan import Scan, Seen

PROBLEM_COLUMNS = ("case", "file", "reason", "left_out")
OUTSIDE = 0.5
"""Pixels by which a box may pass the edge of its image before it is said."""


TELLS, FEWEST_TO_TELL = 0.9, 20
"""A clinical column that names this share of the cases without the usual class is suspicious; fewer are too few."""


@dataclass(frozen=True, eq=False)
class Checked:
    """What is left to work with, and what was found on the way."""

    seen: list[Seen]
    problems: list[Problem]


def check(
    seen: Sequence[Seen],
    task: str,
    root: Path,
    *,
    multi_label: bool = False,
    ignore_label: int | None = None,
) -> Checked:
    """Leave out what cannot be used and say why; warn of what can."""
    problems: list[Problem] = []
    kept = []
    usual = _usual_kind([entry.scan for entry in seen if not entry.scan.fault])
    for entry in seen:
        reason = (
            entry.scan.fault
            or _odd_kind(entry.scan, usual)
            or _no_label(entry.case, task, multi_label)
            or _nothing_known(entry.scan, ignore_label)
        )
        if reason:
            problems.append(problem(entry.case, reason, root))
            continue
        entry, warnings = _inspected(entry, task, ignore_label)
        problems += [problem(entry.case, text, root, left_out=False) for text in warnings]
        kept.append(entry)
    return Checked(kept, problems)


def unknown_id_problems(seen: Sequence[Seen], rule: LabelRule, root: Path) -> list[Problem]:
    """Warn of values in label files that no class claims, negative ones too. Where 0 is no label, they are the
    background's."""
    problems: list[Problem] = []
    if rule.ignore_label == 0:
        return problems
    for entry in seen:
        values = set(entry.scan.labels) - {rule.ignore_label}
        unknown = sorted(value for value in values if value < 0) + unknown_ids(rule.label_ids, values)
        if unknown:
            text = (
                f"label values {', '.join(map(str, unknown[:5]))} belong to no class and count as background."
            )
            problems.append(problem(entry.case, text, root, left_out=False))
    return problems


def class_gaps(
    training: Sequence[Seen], task: str, classes: Sequence[str], *, normal_only: bool = False
) -> list[Problem]:
    """Warn of classes that no training case shows. DataError when there is no case, or one class only.

    Of an autoencoder (`normal_only`) nothing is expected: it learns one class.
    """
    if not training:
        raise DataError("No case is left for training; check data.split and problems.csv.")
    if task in ("segmentation", "regression") or list(classes) == [UNLABELLED] or normal_only:
        return []
    kinds = {entry.case.classes for entry in training} if task == "classification" else set()
    if task == "classification" and len(kinds) < 2:
        raise DataError(
            "All training cases have the same class; classification needs at least two. Check data.split."
        )
    shown = {name for kind in kinds for name in kind}
    for entry in training:
        if entry.case.boxes is not None:
            shown |= {classes[index] for index in set(entry.case.boxes.classes.tolist())}
    return [
        Problem("", "", f"no training case shows the class {name}.", False)
        for name in classes
        if name not in shown
    ]


def telling_columns(training: Sequence[Case]) -> list[Problem]:
    """Warn of clinical columns that all but tell the class by themselves: often they are known only after it is.

    A column's level (of many different numbers: the tenth of them that a case falls into) names its most frequent
    class; what counts is how many of the cases that do not have it are named rightly.
    """
    classes = np.unique(["|".join(case.classes) for case in training], return_inverse=True)[1]
    warnings = []
    for name in training[0].clinical:
        texts = [case.clinical.get(name, "") for case in training]
        known = np.array([text.lower() not in MISSING for text in texts], bool)
        if known.sum() < FEWEST_TO_TELL:
            continue
        level, truth = (
            _levels([text for text, there in zip(texts, known, strict=True) if there]),
            classes[known],
        )
        table = np.zeros((level.max() + 1, classes.max() + 1), int)
        np.add.at(table, (level, truth), 1)
        usual = table.sum(0).max()
        gained = (table.max(1).sum() - usual) / max(len(truth) - usual, 1)
        if gained > TELLS and len(table) <= len(truth) / 4:
            warnings.append(
                f"data.clinical: the column '{name}' all but tells the class by itself (right for "
                f"{100 * table.max(1).sum() / len(truth):.0f} % of the training cases that have it); is it really "
                "known before the diagnosis is?"
            )
    return [Problem("", "", text, False) for text in warnings]


def _levels(texts: Sequence[str]) -> np.ndarray:
    """(n,) code of each text; of more than ten different numbers the tenth that it falls into."""
    values = [number(text) for text in texts]
    known = [value for value in values if value is not None and not math.isnan(value)]
    if len(known) < len(texts) or len(set(known)) <= 10:
        return np.unique(texts, return_inverse=True)[1]
    edges = np.unique(np.quantile(known, np.linspace(0.1, 0.9, 9)))
    return np.unique(np.searchsorted(edges, known), return_inverse=True)[1]


def problem(case: Case, reason: str, root: Path, *, left_out: bool = True) -> Problem:
    """A problem of this case; the reason goes without the path of its file, which stands beside it."""
    file = below(case.images[0].path, root)
    return Problem(case.name, file, reason.replace(f"{root}/", "").removeprefix(f"{file}: "), left_out)


def problem_rows(problems: Sequence[Problem]) -> list[dict[str, str]]:
    """As problems.csv lists them."""
    return [
        {"case": p.case, "file": p.file, "reason": p.reason, "left_out": "yes" if p.left_out else "no"}
        for p in problems
    ]


@lru_cache(maxsize=64)
def below(path: Path, root: Path) -> str:
    """The path relative to the root where it lies below it, with forward slashes."""
    return path.relative_to(root).as_posix() if path.is_relative_to(root) else path.as_posix()


def _usual_kind(scans: Sequence[Scan]) -> tuple[int, int]:
    """(number of spatial axes, channels) of most images."""
    counts = Counter((len(scan.shape), scan.channels) for scan in scans)
    return counts.most_common(1)[0][0] if counts else (0, 0)


def _odd_kind(scan: Scan, usual: tuple[int, int]) -> str:
    axes, channels = usual
    if len(scan.shape) != axes:
        return (
            f"expected {_kind(axes)} like most images here, found {_kind(len(scan.shape))}; keep them apart."
        )
    colors = {1, 3}
    if scan.channels != channels and not (axes == 2 and {scan.channels, channels} <= colors):
        return f"expected {channels} channel(s) like most images here, found {scan.channels}."
    return ""


def _kind(axes: int) -> str:
    return "a picture" if axes == 2 else "a volume"


def _no_label(case: Case, task: str, multi_label: bool) -> str:
    if task == "classification" and not case.classes and not multi_label:
        return "no class is known for it; add it to the table or leave the image out."
    if task == "regression" and case.target is None:
        return "it has no target; add one to the table or leave the image out."
    if task == "detection" and case.boxes is None and not case.masks:
        return "it has no annotation; add one (without boxes if the image is empty) or leave the image out."
    if task == "segmentation" and not case.masks:
        return "it has no label file; add one or leave the image out."
    return ""


def _nothing_known(scan: Scan, ignore_label: int | None) -> str:
    if ignore_label is None or set(scan.labels) != {ignore_label}:
        return ""
    return f"nobody labelled a voxel of it: its mask holds only data.ignore_label ({ignore_label})."


def shows_something(scan: Scan, ignore_label: int | None) -> bool:
    """Whether a mask holds a value above zero that says something."""
    return any(value > 0 and value != ignore_label for value in scan.labels)


def _inspected(entry: Seen, task: str, ignore_label: int | None) -> tuple[Seen, list[str]]:
    """The case with its boxes inside the image, and warnings."""
    warnings = list(entry.scan.notes)
    if entry.scan.constant:
        warnings.append("the image is constant: every value is the same.")
    if task == "segmentation" and not shows_something(entry.scan, ignore_label):
        known = "voxel" if ignore_label is None else "labelled voxel"
        warnings.append(f"its label is empty: every {known} is background.")
    if task == "detection" and entry.case.boxes is not None:
        boxes, more = _inside(entry.case.boxes, entry.scan.shape)
        entry = replace(entry, case=replace(entry.case, boxes=boxes))
        warnings += more
    return entry, warnings


def with_objects(seen: Sequence[Seen], rule: LabelRule) -> list[Seen]:
    """The cases with the boxes of the objects in their masks."""
    return [
        replace(entry, case=replace(entry.case, boxes=scanned_boxes(entry.case, entry.scan, rule)))
        if entry.case.masks and entry.case.boxes is None
        else entry
        for entry in seen
    ]


def scanned_boxes(case: Case, scan: Scan, rule: LabelRule) -> Boxes:
    parts = Parts.of(scan.joined if merged(rule) else scan.parts, len(scan.shape))
    return boxes_of(case, parts, rule)


def _inside(boxes: Boxes, shape: tuple[int, ...]) -> tuple[Boxes, list[str]]:
    rows, columns = shape[:2]
    clipped = boxes.clipped(rows, columns)
    passed = np.abs(clipped.corners - boxes.corners).max(axis=1, initial=0) > OUTSIDE
    usable = clipped.areas > 0
    warnings = []
    if (passed & usable).any():
        warnings.append(
            f"{int((passed & usable).sum())} boxes reach over the image's edge and were cut there."
        )
    if not usable.all():
        warnings.append(
            f"{int((~usable).sum())} boxes lie outside the image or have no area and were dropped."
        )
    return clipped.take(usable), warnings


# ---- duplicates


def same_groups(seen: Sequence[Seen]) -> dict[str, str]:
    """Patient to group: patients that share an image that is not constant are one, named after the first."""
    return joined((entry.case.patient, "" if entry.scan.constant else entry.scan.content) for entry in seen)


def joined(seen: Iterable[tuple[str, str]]) -> dict[str, str]:
    """Patient to group, from (patient, content of an image) pairs; "" is the content of nobody."""
    pairs = list(seen)
    leader = {patient: patient for patient, _ in pairs}
    sharing = defaultdict(set)
    for patient, content in pairs:
        if content:
            sharing[content].add(patient)

    def first(patient: str) -> str:
        while leader[patient] != patient:
            patient = leader[patient]
        return patient

    for patients in sharing.values():
        names = sorted({first(patient) for patient in patients})
        for name in names[1:]:
            leader[name] = names[0]
    return {patient: first(patient) for patient in leader}


def duplicates(seen: Sequence[Seen]) -> list[list[Seen]]:
    """Sets of two or more cases with the same image values; constant images do not count."""
    by_content: dict[str, list[Seen]] = defaultdict(list)
    for entry in seen:
        if not entry.scan.constant:
            by_content[entry.scan.content].append(entry)
    return [entries for entries in by_content.values() if len(entries) > 1]


def duplicate_problems(seen: Sequence[Seen], split: dict[str, str], root: Path) -> list[Problem]:
    """One warning per set of duplicates: whether they cross splits, join patients, differ in their labels."""
    problems = []
    for entries in duplicates(seen):
        names = [entry.case.name for entry in entries]
        parts = sorted({split[name] for name in names})
        text = f"the same image as {', '.join(names[1:4])}{', ...' if len(names) > 4 else ''}"
        if len(parts) > 1:
            text += f", in different given splits ({', '.join(parts)}): measures on them are too good"
        elif len({entry.case.patient for entry in entries}) > 1:
            text += "; their patients are kept in one split"
        if len({_label(entry) for entry in entries}) > 1:
            text += "; their labels differ"
        problems.append(problem(entries[0].case, text + ".", root, left_out=False))
    return problems


def _label(entry: Seen) -> tuple:
    boxes = entry.case.boxes
    corners = () if boxes is None else tuple(map(tuple, boxes.corners.tolist()))
    return entry.case.classes, entry.case.target, corners, tuple(sorted(entry.scan.labels.items()))
