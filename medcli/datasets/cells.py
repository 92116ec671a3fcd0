"""Groups of the training cases, for learning that looks after the worst of them.

Groups are settled on the training part by the rules of `medcli.grouping`, those of `evaluate`. A group with fewer
than `train.fairness.patients` patients there is left alone: its cases are drawn and weighted as without any method.
A cell is a group, or with `by_class` a group and a class (Sagawa et al. 2020, arXiv 1911.08731; Idrissi et al. 2022,
arXiv 2110.14503); of a group's class half as many patients are needed.
"""

import math
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np

from medcli.config.schema import Config, Fairness
from medcli.errors import ConfigError
from medcli.grouping import GroupRule, too_few
from medcli.preprocessing.plan import Plan
from medcli.preprocessing.prepared import Prepared, Record

FILE = "groups.json"


@dataclass(frozen=True)
class TrainingGroups:
    """Attributes:
    rule: Settled on the training part.
    names: Of the groups that are large enough, such as `sex=F`.
    left_alone: Group to the reason, of those that are not.
    """

    rule: GroupRule
    names: list[str]
    left_alone: dict[str, str]

    def codes(self, records: Sequence[Record]) -> np.ndarray:
        """(n,) int: the place in `names`; -1: left alone."""
        place = {name: number for number, name in enumerate(self.names)}
        return np.array([place.get(self.rule.key(record.groups) or "", -1) for record in records], int)


def training_groups(config: Config, prepared: Prepared) -> TrainingGroups | None:
    """None when `train.fairness` asks for nothing. Raises ConfigError when fewer than two groups are large enough."""
    settings = config.train.fairness
    if settings.method == "none" and settings.select == "average":
        return None
    records = prepared.split("train")
    groups, patients = [record.groups for record in records], [record.patient for record in records]
    rule = GroupRule.fit(settings.columns, groups, patients, fewest=settings.patients)
    keys = [rule.key(one) or "" for one in groups]
    names, left_alone = [], {}
    for name in sorted(set(keys)):
        inside = [patient for key, patient in zip(keys, patients, strict=True) if key == name]
        reason = too_few(None, inside, settings.patients)
        if reason:
            left_alone[name] = reason
        else:
            names.append(name)
    if len(names) < 2:
        raise ConfigError(
            f"train.fairness: expected at least two groups of {rule.title} with {settings.patients} patients in the "
            f"training part, found {len(names)} ({', '.join(names) or 'none'}); name other columns, or lower "
            "train.fairness.patients."
        )
    return TrainingGroups(rule, names, left_alone)


@dataclass(frozen=True, eq=False)
class Cells:
    """Attributes:
    names: Such as `sex=F, malignant`.
    places: (cells, 2) int: group and class of each; class -1: all classes.
    codes: (n,) int, the cell of every case; -1: left alone.
    patients: (cells,) how many there are.
    left_alone: Cell to the reason, of those of groups that are large enough.
    """

    names: list[str]
    places: np.ndarray
    codes: np.ndarray
    patients: np.ndarray
    left_alone: dict[str, str]


def cells_of(groups: TrainingGroups, records: Sequence[Record], plan: Plan, settings: Fairness) -> Cells:
    """Cells that hold cases; those of a class with enough patients."""
    by_class = settings.by_class and plan.task == "classification" and not plan.multi_label
    group = groups.codes(records)
    label = np.full(len(records), -1)
    if by_class:
        label = np.array([plan.classes.index(record.classes[0]) for record in records], int)
    patients = np.array([record.patient for record in records])
    fewest = math.ceil(settings.patients / 2) if by_class else 1
    names: list[str] = []
    places, sizes = [], []
    left_alone: dict[str, str] = {}
    codes = np.full(len(records), -1)
    for number, kind in sorted({(int(g), int(k)) for g, k in zip(group, label, strict=True) if g >= 0}):
        inside = (group == number) & (label == kind)
        name = groups.names[number] + (f", {plan.classes[kind]}" if kind >= 0 else "")
        reason = too_few(None, patients[inside], fewest)
        if reason:
            left_alone[name] = reason
        else:
            codes[inside] = len(names)
            names.append(name)
            places.append((number, kind))
            sizes.append(len(set(patients[inside])))
    return Cells(names, np.array(places, int).reshape(-1, 2), codes, np.array(sizes, int), left_alone)


def independence_weights(
    groups: np.ndarray, labels: np.ndarray, *, num_groups: int, num_labels: int
) -> np.ndarray:
    """(num_groups, num_labels): weights under which group and label are independent.

    P(group) P(label) / P(group, label): Kamiran and Calders 2012 (Knowl. Inf. Syst. 33:1-33, section 4.2). Their mean
    over the cases is 1; a pair that does not occur has weight 0.

    Args:
        groups: (n,) int; cases with -1 are left out.
        labels: (n,) int.
    """
    known = groups >= 0
    joint = np.zeros((num_groups, num_labels))
    np.add.at(joint, (groups[known], labels[known]), 1)
    expected = joint.sum(1, keepdims=True) * joint.sum(0, keepdims=True) / max(joint.sum(), 1)
    return np.divide(expected, joint, out=np.zeros_like(joint), where=joint > 0)


def counted_groups(
    groups: TrainingGroups, records: Sequence[Record], shown: np.ndarray | None, fewest: int
) -> dict[str, np.ndarray]:
    """Group to the indices of its cases, of the groups that are large enough among these (validation) cases.

    Args:
        shown: (n, k) bool, classes that a group's cases must both show and lack; None: nothing is told apart.
    """
    codes = groups.codes(records)
    patients = np.array([record.patient for record in records])
    found = {name: np.flatnonzero(codes == number) for number, name in enumerate(groups.names)}
    return {
        name: cases
        for name, cases in found.items()
        if not too_few(None if shown is None else shown[cases], patients[cases], fewest)
    }


def described(
    groups: TrainingGroups, cells: Cells, counted: Sequence[str], shares: np.ndarray | None
) -> dict[str, Any]:
    """What a reader of the run wants to know, for groups.json.

    Args:
        counted: The groups that choose the weights.
        shares: (n,) how often each case is drawn, 1 on average; None: once per epoch.
    """
    drawn = np.ones(len(cells.codes)) if shares is None else shares
    return {
        "columns": [rule.column for rule in groups.rule.columns],
        "rule": groups.rule.model_dump(mode="json"),
        "left_alone": groups.left_alone | cells.left_alone,
        "cells": {
            name: {
                "cases": int((cells.codes == number).sum()),
                "patients": int(cells.patients[number]),
                "share_of_cases": float((cells.codes == number).mean()),
                "share_of_samples": float(drawn[cells.codes == number].sum() / drawn.sum()),
            }
            for number, name in enumerate(cells.names)
        },
        "counted_on_validation": list(counted),
    }
