"""Decide what the settings leave to `auto`, by rules and numbers that the plan repeats."""

from collections import Counter
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Literal

import numpy as np

from medcli.config.schema import Config
from medcli.errors import DataError
from medcli.preprocessing.geometry import fitted_shape, spaced_shape
from medcli.preprocessing.labels import LabelRule
from medcli.preprocessing.plan import Coarse, Plan
from medcli.preprocessing.plan_augment import (
    decide_augmentations,
    decide_detection_augmentations,
    decide_mirrors,
)
from medcli.preprocessing.plan_cascade import COARSE_SHARE, decide_cascade, of_the_time
from medcli.preprocessing.plan_detection import Input, decide_input
from medcli.preprocessing.plan_geometry import (
    decide_crop,
    decide_size,
    decide_spacing,
    median_spacing,
    oriented,
)
from medcli.preprocessing.plan_intensity import decide_intensity, is_ct
from medcli.preprocessing.plan_network import decide_detector, decide_network
from medcli.preprocessing.plan_sampling import decide_oversampling
from medcli.preprocessing.regions import explained
from medcli.preprocessing.scan import Scan


@dataclass(frozen=True)
class Evidence:
    """What the plan is decided on.

    Attributes:
        known: Scans of all cases that are not for testing.
        train: Scans of the cases that train.
        boxes: Detection: for each known case the corners (n, 4) of its boxes in its pixels.
        kinds: Detection: for each training case the classes of its boxes.
        stacked: Channels come from several files, so they are no colours.
    """

    known: Sequence[Scan]
    train: Sequence[Scan]
    stacked: bool = False
    boxes: Sequence[np.ndarray] = ()
    kinds: Sequence[Sequence[int]] = ()


def make_plan(config: Config, evidence: Evidence, rule: LabelRule, *, multi_label: bool = False) -> Plan:
    """The plan for a data set; what the config fixes is taken as it is.

    Args:
        config: The job.
        evidence: What is known of the data.
        rule: Class names and label ids.
        multi_label: Classification: several classes may apply to one case.

    Raises:
        ConfigError: A setting does not fit the data (two numbers for volumes, ...).
        DataError: Detection in volumes.
    """
    scans, settings = evidence.known, config.preprocess
    dimensions = len(scans[0].shape)
    if config.task == "detection" and dimensions == 3:
        raise DataError(
            "Detection works on pictures, these are volumes; use segmentation, or give single slices."
        )
    reasons: dict[str, str] = {"classes": rule.reason}
    if rule.objects:
        reasons["objects"] = rule.objects_reason
    if rule.regions:
        reasons["regions"] = explained(rule.regions, rule.classes, rule.labels)
    if rule.ignore_label is not None:
        reasons["ignore_label"] = _labelled_share(evidence.train, rule.ignore_label)
    color, channels = _color(config, evidence, dimensions, reasons)
    if dimensions == 3:
        reasons["reorient"] = "volumes: planes run up, rows backwards, columns to the patient's left"
    shapes, spacings = oriented(scans, dimensions == 3)
    crop = decide_crop(config, scans, dimensions, reasons)
    spacing = decide_spacing(config, shapes, spacings, dimensions, reasons)
    shapes = _prepared(shapes, spacings, spacing, scans if crop else None)
    seen: Input | None = None
    if config.task == "detection":
        sides = _sides(evidence, spacings, spacing)
        seen = decide_input(config, shapes, sides, reasons)
    size = seen.size if seen else decide_size(config, shapes, dimensions, reasons)
    if size is not None:
        shapes = [fitted_shape(shape, size) if settings.keep_aspect else size for shape in shapes]
    intensity = decide_intensity(config, evidence.known, evidence.train, color, channels, reasons)
    known = spacing or median_spacing(spacings)
    outputs = len(rule.classes) + (not rule.regions)
    network = (
        decide_detector(config, seen, reasons)
        if seen
        else decide_network(config, shapes, known, size, reasons, channels=channels, outputs=outputs)
    )
    objects = rule.objects or _single_objects(config, rule, reasons)
    cascade: Coarse | None = None
    if config.task == "segmentation":
        cascade = decide_cascade(
            config, shapes, known, size, network, reasons,
            cases=len(evidence.train), objects=objects is not None, channels=channels, outputs=outputs,
        )  # fmt: skip
    if cascade is not None:  # the same patch, but what fits into less time
        settings_of_fine = of_the_time(config, 1 - 2 * COARSE_SHARE)
        given = channels + len(rule.classes)
        network = decide_network(
            settings_of_fine, shapes, known, size, reasons, channels=given, outputs=outputs
        )
    augmentations: list[str] | None
    if config.task == "detection":
        augmentations = decide_detection_augmentations(config, evidence.kinds, len(rule.classes), reasons)
    else:
        augmentations = decide_augmentations(
            config, scans, known, network.patch, is_ct(scans, channels), reasons
        )
    names = [*rule.classes, *rule.labels]
    mirrored = decide_mirrors(config, scans, names, color, network.patch, reasons)
    oversampling = decide_oversampling(config, rule, evidence.train, reasons)
    return Plan(
        task=config.task,
        dimensions=2 if dimensions == 2 else 3,
        classes=rule.classes,
        labels=rule.labels,
        regions=rule.regions,
        label_ids=rule.label_ids,
        objects=objects,
        ignore_label=rule.ignore_label,
        multi_label=multi_label,
        channels=channels,
        color=color,
        reorient=dimensions == 3,
        spacing=spacing,
        size=None if size is None else list(size),
        keep_aspect=settings.keep_aspect,
        crop=crop,
        contrast=settings.contrast,
        clahe_clip=settings.clahe_clip,
        clahe_tiles=settings.clahe_tiles,
        gamma=settings.gamma,
        intensity=intensity,
        patch=None if network.patch is None else list(network.patch),
        batch_size=network.batch_size,
        stages=network.stages,
        strides=[list(stride) for stride in network.strides],
        overlap=seen.overlap if seen else 0,
        planes=network.planes,
        cascade=cascade,
        augmentations=augmentations,
        mirrored=mirrored,
        width=network.width,
        cost=network.cost,
        oversampling=oversampling,
        reasons=reasons,
    )


def _labelled_share(scans: Sequence[Scan], ignore_label: int) -> str:
    total = sum(sum(scan.labels.values()) for scan in scans)
    left = sum(scan.labels.get(ignore_label, 0) for scan in scans)
    share = 100 * (1 - left / max(1, total))
    return f"set in the config; {share:.3g} % of the training cases' voxels are labelled, patches are drawn around them"


def _color(config: Config, evidence: Evidence, dimensions: int, reasons: dict[str, str]):
    """(color, channels) of the prepared images."""
    counts = Counter(scan.channels for scan in evidence.known)
    most = counts.most_common(1)[0][0]
    if dimensions == 3 or evidence.stacked or most not in (1, 3, 4):
        reasons["color"] = f"volumes and stacked channels are taken as they are: {most} channel(s)"
        return "as_is", most
    wanted = config.preprocess.color
    if wanted != "auto":
        reasons["color"] = "set in the config"
        return wanted, 1 if wanted == "grey" else 3
    colored = sum(not scan.grey for scan in evidence.known)
    reasons["color"] = f"{colored} of {len(evidence.known)} pictures differ between their colour channels"
    return ("rgb", 3) if colored else ("grey", 1)


def _single_objects(
    config: Config, rule: LabelRule, reasons: dict[str, str]
) -> Literal["instances", "parts"] | None:
    """How single objects are told apart in the masks; None: they are not."""
    wanted = config.data.objects
    if (
        config.task != "segmentation"
        or rule.regions
        or wanted == "off"
        or (wanted == "auto" and not rule.numbered)
    ):
        return None
    if rule.numbered:
        reasons["objects"] = (
            "every object has a number of its own in the masks, so single objects are learned"
        )
        return "instances"
    reasons["objects"] = (
        "data.objects: on, so the connected parts of each label are learned as single objects"
    )
    return "parts"


def _sides(
    evidence: Evidence,
    spacings: Sequence[tuple[float, ...] | None],
    target: Sequence[float] | None,
) -> list[np.ndarray]:
    """Heights and widths (n, 2) of the boxes of each known case, after resampling to the target spacing."""
    found = []
    boxes = evidence.boxes or [np.zeros((0, 4))] * len(spacings)
    for corners, step in zip(boxes, spacings, strict=True):
        table = np.asarray(corners, float).reshape(-1, 4)
        sides = np.stack([table[:, 3] - table[:, 1], table[:, 2] - table[:, 0]], axis=1)
        found.append(sides if target is None or step is None else sides * np.divide(step, target))
    return found


def _prepared(
    shapes: Sequence[tuple[int, ...]],
    spacings: Sequence[tuple[float, ...] | None],
    target: Sequence[float] | None,
    cropped: Sequence[Scan] | None,
) -> list[tuple[int, ...]]:
    """Shapes after resampling and (roughly: the same share on every axis) cropping."""
    result = [
        shape if target is None or step is None else spaced_shape(shape, step, target)
        for shape, step in zip(shapes, spacings, strict=True)
    ]
    if cropped is None:
        return result
    return [
        tuple(max(1, round(n * scan.foreground ** (1 / len(shape)))) for n in shape)
        for shape, scan in zip(result, cropped, strict=True)
    ]
