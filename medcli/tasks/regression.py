"""Regression: one number per case, learned standardised and told in its own unit."""

from collections.abc import Sequence

import numpy as np
import tensorflow as tf

from medcli.config.schema import Config
from medcli.datasets.classification import ClassificationSet, number_targets
from medcli.errors import DataError
from medcli.losses.regression import LOSSES
from medcli.preprocessing.plan import Plan, Target
from medcli.preprocessing.prepared import Prepared, Record
from medcli.tasks.classification import Classification, one_by_one
from medcli.tasks.fairness import balanced_draw, by_group, chosen_by

CHOOSES = "negative_mae"
"""Minus the mean absolute error, in the unit of the target: what chooses weights is larger when it is better."""


class Regression(Classification):
    """See `medcli.tasks.base.Task`. The network has one output; batches, mirroring and members are as of classes."""

    passes_at_end = 0

    def __init__(self, config: Config, plan: Plan):
        super().__init__(config, plan)
        assert plan.target is not None
        self.target: Target = plan.target
        self.monitor = chosen_by(CHOOSES, config)
        self._loss = LOSSES["huber" if config.train.loss == "auto" else config.train.loss]

    def training_set(self, prepared: Prepared, records: Sequence[Record]) -> ClassificationSet:
        draw = balanced_draw(self.config, self.plan, prepared, records)
        return ClassificationSet(self.config, self.plan, prepared, records, draw=draw)

    def loss(self, targets, outputs):
        if len(outputs.shape) == 3:  # a panel: its members are judged one by one
            targets, outputs = one_by_one(targets, outputs)
        return self._loss(targets, outputs)

    def validate(self, model, prepared: Prepared, records: Sequence[Record]) -> dict[str, float]:
        outputs = np.concatenate(list(self._logits(model, [prepared.image(record) for record in records])))
        targets = number_targets(records, self.target)
        errors = np.abs(outputs - targets)[:, 0] * self.target.sd
        measures = {"loss": float(self._loss(tf.constant(targets), tf.constant(outputs)))}
        measures |= {"mae": float(errors.mean()), CHOOSES: -float(errors.mean())}
        return measures | by_group(
            CHOOSES, self.config, prepared, records, lambda cases: -float(errors[cases].mean())
        )

    def targets(self, model, image, *, wanted, most, windows, calibrated):
        raise DataError(
            "A regression answers with a number and has no probability that a map could be tested on; explain a "
            "classification of the same question (task: classification with classes such as low and high)."
        )

    def _answers(self, logits: np.ndarray) -> np.ndarray:
        """(n, 1) float32 in the unit of the target."""
        return (logits * self.target.sd + self.target.mean).astype(np.float32)
