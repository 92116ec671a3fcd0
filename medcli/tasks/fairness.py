"""What `train.fairness` asks of a task: how cases are drawn, and the worst group of the validation part."""

from collections.abc import Callable, Sequence
from typing import Any

import numpy as np

from medcli.config.schema import Config
from medcli.datasets.cells import cells_of, counted_groups, described, training_groups
from medcli.datasets.classification import class_targets
from medcli.datasets.draw import Balanced, Repeated, by_class
from medcli.errors import ConfigError
from medcli.preprocessing.plan import Plan
from medcli.preprocessing.prepared import Prepared, Record


def balanced_draw(
    config: Config, plan: Plan, prepared: Prepared, records: Sequence[Record]
) -> Balanced | Repeated | None:
    """None: every case once per epoch."""
    settings = config.train.fairness
    if config.train.sampling == "balanced":
        patients = [record.patient for record in records]
        targets = class_targets(records, plan)
        return by_class(targets, patients, config.seed, multi_label=plan.multi_label)
    groups = training_groups(config, prepared)
    if groups is None or settings.method not in ("sampling", "group_dro"):
        return None
    cells = cells_of(groups, records, plan, settings)
    return Balanced(cells.codes, [record.patient for record in records], config.seed)


def groups_of(
    config: Config,
    plan: Plan,
    prepared: Prepared,
    training: Sequence[Record],
    validation: Sequence[Record],
    *,
    smoke: bool = False,
) -> dict[str, Any] | None:
    """The content of groups.json; None: nothing is done for groups.

    Raises ConfigError when the groups cannot do what is asked; a smoke test lets too few on the validation part pass.
    """
    groups = training_groups(config, prepared)
    if groups is None:
        return None
    settings = config.train.fairness
    shown = class_targets(validation, plan) if plan.task == "classification" else None
    counted = counted_groups(
        groups, validation, None if shown is None else shown_classes(shown), settings.patients
    )
    if settings.select == "worst_group" and len(counted) < 2 and not smoke:
        half = ", half with and half without a class" if shown is not None else ""
        raise ConfigError(
            f"train.fairness.select: worst_group needs at least two groups of {groups.rule.title} with "
            f"{settings.patients} patients in the validation part{half}; found {len(counted)} "
            f"({', '.join(counted) or 'none'}). Lower train.fairness.patients, name other columns, or validate on more."
        )
    draw = balanced_draw(config, plan, prepared, training)
    cells = cells_of(groups, training, plan, settings)
    return described(groups, cells, list(counted), None if draw is None else draw.shares)


def chosen_by(measure: str, config: Config) -> str:
    """The name of the measure that chooses the weights."""
    return f"worst_{measure}" if config.train.fairness.select == "worst_group" else measure


def by_group(
    measure: str,
    config: Config,
    prepared: Prepared,
    records: Sequence[Record],
    value: Callable[[np.ndarray], float],
    *,
    shown: np.ndarray | None = None,
) -> dict[str, float]:
    """`measure/GROUP` of every group that is large enough, and `worst_measure`, the least of them; else nothing.

    Args:
        value: Takes the indices of cases among the records.
        shown: (n, k) bool, classes that the cases of a group must both show and lack.

    `worst_measure` is that of all records when no group is large enough (`train --smoke`).
    """
    if config.train.fairness.select != "worst_group":
        return {}
    groups = training_groups(config, prepared)
    assert groups is not None
    counted = counted_groups(groups, records, shown, config.train.fairness.patients)
    found = {f"{measure}/{name}": value(cases) for name, cases in counted.items()}
    worst = min(found.values(), default=value(np.arange(len(records))))
    return found | {f"worst_{measure}": worst}


def shown_classes(targets: np.ndarray) -> np.ndarray:
    """(n, k) bool for `by_group`; of two exclusive classes one says all."""
    shown = targets > 0.5
    exclusive = shown.shape[1] == 2 and bool((shown.sum(1) == 1).all())
    return shown[:, 1:] if exclusive else shown
