"""Regression: one number per case, learned standardised and told in its own unit."""

import math
from collections.abc import Iterator, Sequence

import keras
import numpy as np
import tensorflow as tf

from medcli.config.schema import Config
from medcli.datasets.classification import ClassificationSet, number_targets
from medcli.losses.regression import LOSSES
from medcli.preprocessing.plan import Plan
from medcli.preprocessing.plan import Target as Scale
from medcli.preprocessing.prepared import Prepared, Record
from medcli.tasks.classification import Classification, one_by_one
from medcli.tasks.fairness import balanced_draw, by_group, chosen_by
from medcli.tasks.running import first
from medcli.tasks.target import Target

CHOOSES = "negative_mae"
"""Minus the mean absolute error, in the unit of the target: what chooses weights is larger when it is better."""


class Regression(Classification):
    """See `medcli.tasks.base.Task`. The network has one output; batches, mirroring and members are as of classes."""

    passes_at_end = 0

    def __init__(self, config: Config, plan: Plan):
        super().__init__(config, plan)
        assert plan.target is not None
        self.target: Scale = plan.target
        self.monitor = chosen_by(CHOOSES, config)
        self._loss = LOSSES["huber" if config.train.loss == "auto" else config.train.loss]

    def build_model(self):
        """Its last layer begins at 0, so that the first answer is the mean of the training part and short trainings
        need not find the way back to it."""
        model = super().build_model()
        for layer in _heads(model):
            layer.kernel.assign(tf.zeros_like(layer.kernel))
        return model

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
        """The number: what in the image makes it larger, or smaller, than the mean of the training part."""
        value = float(self.predict(model, [image])[0][0])
        sign, side = (1.0, "above") if value >= self.target.mean else (-1.0, "below")
        return [
            Target(
                class_index=0,
                probability=math.nan,
                image=image,
                start=(0,) * self.plan.dimensions,
                spec=(np.array([sign], np.float32),),
                cam="gradcam",
                said=f"{self.target.name} {value:.4g}, {side} the mean of {self.target.mean:.4g}",
            )
        ]

    def score(self, outputs, sign):
        """Standard deviations above the mean (`sign` 1) or below it (-1); the logistic function of them takes the place
        of a probability: one half at the mean, so that it falls when evidence is taken away."""
        score = first(outputs)[:, 0] * sign
        return score, tf.sigmoid(score)

    def _answers(self, logits: np.ndarray) -> np.ndarray:
        """(n, 1) float32 in the unit of the target."""
        return (logits * self.target.sd + self.target.mean).astype(np.float32)


def _heads(model: keras.Model) -> Iterator[keras.layers.Dense]:
    """The last layers of a network, and of the members within it."""
    for layer in model.layers:
        if isinstance(layer, keras.Model):
            yield from _heads(layer)
        elif layer.name == "logits" and isinstance(layer, keras.layers.Dense):
            yield layer
