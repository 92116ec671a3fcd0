"""Label ids: from the values in mask files to consecutive ids with names."""

from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, field, replace
from typing import Literal

import numpy as np

from medcli.config.schema import Data
from medcli.errors import ConfigError, DataError
from medcli.preprocessing.plan import Plan
from medcli.preprocessing.regions import label_ids_of

IGNORE = 255
"""Label of voxels that neither training nor evaluation counts."""

MANY = 16
"""More different values than this in label files without declared classes are taken for numbered objects."""
NUMBERED = "they number objects of one class"


@dataclass(frozen=True)
class LabelRule:
    """What the values in the label files mean: see the fields of this name in `Plan`.

    `numbered`: Segmentation: they number objects, in the file of each class anew.
    """

    classes: list[str]
    label_ids: list[list[int]]
    reason: str
    objects: Literal["parts", "instances"] | None = None
    objects_reason: str = ""
    ignore_label: int | None = None
    labels: list[str] = field(default_factory=list)
    regions: list[list[int]] = field(default_factory=list)
    numbered: bool = False


def map_labels(mask: np.ndarray, plan: Plan) -> np.ndarray:
    """Turn the values of a label file into ids: uint8, 0 = background, i + 1 = plan.classes[i].

    Values that no class claims become background. Negative values are background too. `plan.ignore_label` becomes
    `IGNORE`.
    """
    if plan.label_ids:
        out = np.zeros(mask.shape, np.uint8)
        for index, values in enumerate(plan.label_ids, start=1):
            out[np.isin(mask, values)] = index
    else:
        out = (mask > 0).astype(np.uint8)
    if plan.ignore_label is not None:
        out[mask == plan.ignore_label] = IGNORE
    return out


def label_rule(
    data: Data,
    declared: Mapping[str, list[int]] | None,
    found: Iterable[int],
    *,
    separate_masks: bool = False,
) -> LabelRule:
    """Decide names and ids.

    Args:
        data: The settings `classes` and `labels_are`.
        declared: Names and ids that the data set itself brings (nnU-Net's dataset.json), or None.
        found: All values above zero in the label files.
        separate_masks: Every class has a file of its own, so that ids are 1, 2, ... in their order.

    Raises:
        ConfigError: Names, ids or `ignore_label` do not fit the masks.
        DataError: No label file holds a class.
    """
    if data.ignore_label is None:
        return _rule(data, declared, found, separate_masks)
    if separate_masks:
        raise ConfigError(
            "data.ignore_label: expected none with one mask file per class; give one file with ids, or leave it out."
        )
    others = {value for value in found if value != data.ignore_label}
    rule = _rule(data, declared, others, separate_masks)
    claimed = [
        name
        for name, values in zip(rule.classes, rule.label_ids, strict=False)
        if data.ignore_label in values
    ]
    if claimed:
        raise ConfigError(
            f"data.ignore_label: the value {data.ignore_label} is also an id of the class {claimed[0]}; name another."
        )
    if data.ignore_label == 0 and not unknown_ids(rule.label_ids, others):
        raise ConfigError(
            "data.ignore_label: 0 needs an id for the background in the masks, one that data.classes does not name; "
            f"found only {_some(sorted(others))}. Without it nothing says where there is no class."
        )
    return replace(rule, ignore_label=data.ignore_label)


def _rule(
    data: Data, declared: Mapping[str, list[int]] | None, found: Iterable[int], separate_masks: bool
) -> LabelRule:
    found = sorted({int(value) for value in found if value > 0})
    if not found:
        raise DataError("Every label file is empty (no value above zero); check data.labels.")
    names = list(data.classes if data.classes is not None else declared or [])
    if separate_masks:
        names = names or [f"label_{value}" for value in found]
        ids, numbered = [[i] for i in range(1, len(names) + 1)], data.labels_are == "instances"
        return LabelRule(names, ids, "one mask file per class", numbered=numbered)
    if isinstance(data.classes, dict) and data.labels_are in ("auto", "ids"):
        ids = [[value] if isinstance(value, int) else list(value) for value in data.classes.values()]
        return _checked(LabelRule(names, ids, f"ids as data.classes maps them; found {_some(found)}"), found)
    if data.classes is None and declared and data.labels_are in ("auto", "ids"):
        ids = [list(values) for values in declared.values()]
        return _checked(
            LabelRule(names, ids, f"ids as the data set declares them; found {_some(found)}"), found
        )
    everything = _one_class(data.labels_are, names, found)
    if everything:
        if len(names) > 1:
            raise ConfigError(
                f"data.classes: expected one name for masks that are {data.labels_are}, got {len(names)}; "
                f"name one class or set data.labels_are: ids."
            )
        numbered = data.labels_are == "instances" or everything.endswith(NUMBERED)
        return LabelRule(names or ["foreground"], [], everything, numbered=numbered)
    if not names:
        mapped = "" if found == list(range(1, len(found) + 1)) else " (mapped to consecutive ids)"
        rule = LabelRule(
            [f"label_{value}" for value in found], [[v] for v in found], f"ids found: {_some(found)}{mapped}"
        )
        return _checked(rule, found)
    if max(found) > len(names) and len(found) == len(names):
        pairs = ", ".join(f"{value} = {name}" for value, name in zip(found, names, strict=True))
        return LabelRule(
            names, [[v] for v in found], f"as many names as values, sparse ids mapped in order: {pairs}"
        )
    rule = LabelRule(
        names, [[i] for i in range(1, len(names) + 1)], f"ids 1 to {len(names)} in the order of the names"
    )
    return _checked(rule, found)


def with_regions(rule: LabelRule, regions: Mapping[str, Sequence[str]]) -> LabelRule:
    """The rule with regions, made of its classes, as the classes; raises ConfigError when they do not fit."""
    ids = label_ids_of(regions, rule.classes)
    return replace(rule, classes=list(regions), labels=rule.classes, regions=ids)


def unknown_ids(label_ids: Sequence[Sequence[int]], found: Iterable[int]) -> list[int]:
    """Values above zero that no class claims."""
    if not label_ids:
        return []
    known = {value for values in label_ids for value in values}
    return sorted({int(value) for value in found if value > 0} - known)


def _one_class(labels_are: str, names: Sequence[str], found: Sequence[int]) -> str:
    """Why everything above zero is one class, or "" when it is not."""
    if labels_are in ("binary", "instances"):
        return f"data.labels_are: {labels_are}, so every value above zero is the one class"
    if labels_are == "ids":
        return ""
    if len(names) == 1:
        return f"one class is named, so every value above zero is it (found {_some(found)})"
    if not names and len(found) == 1:
        return f"masks hold 0 and {found[0]} only, so they are binary"
    if not names and len(found) > MANY:
        return f"{len(found)} different values without names, so {NUMBERED}"
    return ""


def _checked(rule: LabelRule, found: Sequence[int]) -> LabelRule:
    known = {value for values in rule.label_ids for value in values}
    if not known & set(found):
        raise DataError(
            f"No label file holds an id of data.classes (expected {_some(sorted(known))}, found "
            f"{_some(found)}); check data.classes, or set data.labels_are."
        )
    if len(rule.classes) >= IGNORE:
        raise DataError(
            f"Found {len(rule.classes)} label ids, more than the {IGNORE - 1} that can be told apart; "
            f"set data.labels_are: instances if they number objects."
        )
    return rule


def _some(values: Sequence[int], limit: int = 8) -> str:
    shown = ", ".join(map(str, values[:limit]))
    return shown + (f", ... ({len(values)} values)" if len(values) > limit else "")
