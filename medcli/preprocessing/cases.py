"""Prepare cases and write their arrays under content keys. Runs in worker processes."""

import hashlib
import json
import re
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

import numpy as np

from medcli.boxes import Boxes
from medcli.case import Case
from medcli.errors import MedcliError
from medcli.files import plain, write_array
from medcli.preprocessing.instances import classes_of, placed, read_objects
from medcli.preprocessing.intensity import enhanced, to_color
from medcli.preprocessing.labels import IGNORE, map_labels
from medcli.preprocessing.objects import numbers_in
from medcli.preprocessing.plan import Plan
from medcli.preprocessing.prepare import finite, place, prepare
from medcli.preprocessing.prepared import Record, image_path, label_path, mask_path
from medcli.preprocessing.scan import Seen, Values, read_labels

CODE_VERSION = 1
"""Raise it when the same input and plan give other arrays."""

SHAPING = [
    "task",
    "dimensions",
    "label_ids",
    "channels",
    "color",
    "reorient",
    "spacing",
    "size",
    "keep_aspect",
    "crop",
    "contrast",
    "clahe_clip",
    "clahe_tiles",
    "gamma",
    "intensity",
]
"""The fields of the plan that shape arrays."""


@dataclass(frozen=True)
class Done:
    """One prepared case, or why it could not be prepared.

    Attributes:
        fault: "" when its arrays are written.
        shape: Spatial shape of the prepared image.
        objects: Boxes or labelled voxels.
        present: Class indices that occur in the label.
    """

    fault: str = ""
    shape: tuple[int, ...] = ()
    objects: int = 0
    present: tuple[int, ...] = ()


@dataclass(frozen=True, eq=False)
class Job:
    """Some cases for one worker."""

    cases: Sequence[Case]
    keys: Sequence[str]
    plan: Plan
    folder: Path


def case_keys(seen: Sequence[Seen], plan: Plan) -> list[str]:
    """Names of the arrays: hashes over the files' content and all that shapes the arrays."""
    settings = _settings(plan)
    return [_key(entry.scan.digest, entry.case.boxes, settings) for entry in seen]


def made_by(plan: Plan, record: Record) -> bool:
    """Whether the arrays of a case were shaped as the plan says, as its key tells.

    True where it cannot tell: with boxes, which are not known here, and of arrays that were written by other means.
    """
    if plan.task == "detection" or not re.fullmatch(r"[0-9a-f]{32}", record.key):
        return True
    return record.key == _key(record.sha256, None, _settings(plan))


def _settings(plan: Plan) -> str:
    shaping = plan.model_dump(include=set(SHAPING))
    if plan.ignore_label is not None:  # keys of before there was one stay as they were
        shaping["ignore_label"] = plan.ignore_label
    if plan.single_objects:
        shaping["objects"] = plan.objects
    return _canonical({"code": CODE_VERSION, "plan": shaping})


def _key(digest: str, boxes: Boxes | None, settings: str) -> str:
    annotation = "" if boxes is None else _canonical([boxes.corners, boxes.classes])
    text = "\n".join([settings, digest, annotation])
    return hashlib.sha256(text.encode()).hexdigest()[:32]


def _canonical(content: object) -> str:
    return json.dumps(plain(content), sort_keys=True, separators=(",", ":"))


def prepare_cases(job: Job) -> list[Done]:
    """Prepare and write some cases; a fault in one never stops the others, a full disk does (OSError)."""
    return [_prepare_safely(case, key, job) for case, key in zip(job.cases, job.keys, strict=True)]


def _prepare_safely(case: Case, key: str, job: Job) -> Done:
    try:
        return _prepare(case, key, job)
    except MedcliError as error:
        return Done(fault=str(error))
    except MemoryError:
        return Done(fault=f"{case.images[0].path}: does not fit into memory when prepared.")
    except OSError:
        raise
    except Exception as error:  # whatever a library makes of one odd file, the others go on
        return Done(fault=f"{case.images[0].path}: cannot be prepared ({type(error).__name__}).")


def _prepare(case: Case, key: str, job: Job) -> Done:
    from medcli.io.readers import read_channels

    image = read_channels(case.images)
    array, placement = prepare(image, job.plan)
    label = None
    if job.plan.single_objects:
        label = placed(read_objects(case, image, job.plan), placement)
    elif job.plan.task == "segmentation":
        mask = read_labels(case, image)
        assert mask is not None
        ignore = None if job.plan.ignore_label is None else IGNORE
        label = placement.labels(map_labels(mask, job.plan), ignore)
    elif job.plan.task == "detection":
        assert case.boxes is not None
        boxes = placement.boxes(case.boxes)
        there = boxes.areas > 0
        boxes = boxes.take(there)
        if case.masks and job.plan.objects is not None:
            rows = np.append(0, np.where(there, np.cumsum(there), 0)).astype(np.uint16)
            numbers = placement.nearest(numbers_in(case, image, job.plan))
            write_array(mask_path(job.folder, key), rows[numbers], durable=False)
        label = np.concatenate([boxes.corners, boxes.classes[:, None].astype(np.float32)], axis=1)
    if label is not None:
        write_array(label_path(job.folder, key), label, durable=False)
    write_array(image_path(job.folder, key), array, durable=False)
    return described(array.shape[:-1], label, job.plan)


def described(shape: Sequence[int], label: np.ndarray | None, plan: Plan) -> Done:
    """What the manifest says of a prepared case."""
    if label is None:
        return Done(shape=tuple(shape))
    if plan.task == "detection":
        return Done("", tuple(shape), len(label), tuple(int(n) for n in np.unique(label[:, 4])))
    counts = np.bincount(classes_of(label).ravel(), minlength=256)
    ids = [n for n in np.flatnonzero(counts) if 0 < n < IGNORE]
    present = [index for index in range(plan.num_classes) if not set(plan.members(index)).isdisjoint(ids)]
    return Done("", tuple(shape), int(sum(counts[n] for n in ids)), tuple(present))


def already_there(key: str, plan: Plan, folder: Path) -> Done | None:
    """What an earlier, perhaps interrupted, run has left; None when an array is missing or cut short."""
    try:
        image = np.load(image_path(folder, key), mmap_mode="r", allow_pickle=False)
        label = None
        if not plan.whole_images:
            label = np.load(label_path(folder, key), allow_pickle=False)
    except (OSError, ValueError, EOFError):
        return None
    return described(image.shape[:-1], label, plan)


def measure_cases(job: Job) -> list[list[Values] | None]:
    """Values per channel after window and contrast; None for a case that cannot be read."""
    return [_measure(case, job.plan) for case in job.cases]


def _measure(case: Case, plan: Plan) -> list[Values] | None:
    from medcli.io.readers import read_channels
    from medcli.preprocessing.geometry import resize

    try:
        image = read_channels(case.images)
        array = to_color(image.array, plan.color)
        placement = place(image, array, plan)
        array = enhanced(resize(finite(placement.cut(array)), placement.scaled), plan)
    except MedcliError:
        return None
    return [Values.of(array[..., channel]) for channel in range(array.shape[-1])]
