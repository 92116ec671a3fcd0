"""Reweighting and group DRO: how much each case of a batch counts in a classifier's loss."""

from collections.abc import Sequence
from typing import Any, Protocol

import numpy as np
import tensorflow as tf

from medcli.config.schema import Config
from medcli.datasets.cells import Cells, TrainingGroups, cells_of, independence_weights, training_groups
from medcli.datasets.classification import class_targets
from medcli.losses.group_dro import GroupDRO
from medcli.preprocessing.plan import Plan
from medcli.preprocessing.prepared import Prepared, Record


class FairLoss(Protocol):
    """Attributes:
    state: What the loss changes from step to step.
    """

    state: list[tf.Variable]

    def members(self, records: Sequence[Record]) -> np.ndarray:
        """(n, groups) float32, 1 where a case belongs to a group."""

    def counting(self, targets: tf.Tensor, members: tf.Tensor) -> dict[str, Any]:
        """The arguments of a loss that say how cases count; targets (batch, classes), members (batch, groups)."""

    def followed(self) -> dict[str, float]:
        """What of the state goes into the history of the training."""


def fair_loss(config: Config, plan: Plan, prepared: Prepared, records: Sequence[Record]) -> FairLoss | None:
    """None: every case counts alike."""
    settings = config.train.fairness
    groups = training_groups(config, prepared)
    if groups is None or settings.method not in ("reweighting", "group_dro"):
        return None
    if settings.method == "reweighting":
        return Reweighting(groups, records, plan)
    cells = cells_of(groups, records, plan, settings)
    loss = GroupDRO(cells.patients, step=settings.dro_step, adjustment=settings.dro_adjustment)
    return WorstCell(groups, cells, loss)


def members_of(groups: TrainingGroups, records: Sequence[Record]) -> np.ndarray:
    """(n, groups) float32; a case that is left alone has zeros."""
    return (groups.codes(records)[:, None] == np.arange(len(groups.names))).astype(np.float32)


class Reweighting:
    """Cases count by `independence_weights`; with several labels per case each label by its own.

    Cases of groups that are left alone count 1.
    """

    def __init__(self, groups: TrainingGroups, records: Sequence[Record], plan: Plan):
        self.groups, self.multi_label = groups, plan.multi_label
        self.state: list[tf.Variable] = []
        codes, targets = groups.codes(records), class_targets(records, plan)
        count = len(groups.names)
        if plan.multi_label:
            tables = [
                independence_weights(
                    np.where(np.isnan(column), -1, codes),
                    (column > 0.5).astype(int),
                    num_groups=count,
                    num_labels=2,
                )
                for column in targets.T
            ]
            self.absent, self.present = np.stack(tables, 1).transpose(2, 0, 1).astype(np.float32)
        else:
            self.present = independence_weights(
                codes, targets.argmax(1), num_groups=count, num_labels=plan.num_classes
            ).astype(np.float32)

    def members(self, records: Sequence[Record]) -> np.ndarray:
        return members_of(self.groups, records)

    def counting(self, targets: tf.Tensor, members: tf.Tensor) -> dict[str, Any]:
        targets = tf.where(tf.math.is_nan(targets), 0.0, targets)  # the loss leaves these out
        alone = 1 - tf.reduce_sum(members, 1, keepdims=True)
        weights = targets * tf.matmul(members, self.present)
        if self.multi_label:
            return {"factors": alone + weights + (1 - targets) * tf.matmul(members, self.absent)}
        return {"factors": alone + tf.reduce_sum(weights, 1, keepdims=True)}

    def followed(self) -> dict[str, float]:
        return {}


class WorstCell:
    """Group DRO over the cells."""

    def __init__(self, groups: TrainingGroups, cells: Cells, loss: GroupDRO):
        self.groups, self.cells, self.loss = groups, cells, loss
        self.state = [loss.log_weights]

    def members(self, records: Sequence[Record]) -> np.ndarray:
        return members_of(self.groups, records)

    def counting(self, targets: tf.Tensor, members: tf.Tensor) -> dict[str, Any]:
        group, kind = self.cells.places.T
        inside = tf.gather(members, group, axis=1)
        if (kind >= 0).all():
            inside *= tf.gather(targets, kind, axis=1)
        return {"combine": lambda losses: self.loss(losses, inside)}

    def followed(self) -> dict[str, float]:
        return {
            f"weight/{name}": float(w) for name, w in zip(self.cells.names, self.loss.weights(), strict=True)
        }
