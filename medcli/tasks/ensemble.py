"""Several networks of one task that answer together: an ensemble, such as the folds of a cross-validation.

Classification gives the probabilities of every network, for the mean is taken after calibration; regression the
numbers of every network, whose spread is told. Segmentation averages
probabilities window by window, as one network that holds them all, so that memory holds one result (networks with
patches of different sizes, and cascades: image by image, two results). Detection fuses boxes (`medcli.metrics.fusion`).
"""

from collections.abc import Iterator, Sequence
from typing import Any

import numpy as np
import tensorflow as tf

from medcli.config.schema import Config
from medcli.metrics.fusion import fuse
from medcli.preprocessing.plan import Plan
from medcli.sliding import Slabs
from medcli.tasks.base import Task
from medcli.tasks.running import first

SAME_OBJECT = 0.55
"""Boxes of two networks that overlap by more (IoU) are of one object; the value of the paper of the fusion."""


class Ensemble:
    """Implements `medcli.tasks.base.Ensembled`, and of `Task` what prediction needs.

    Args:
        tasks: One per network, with their own plans; they have the classes and the preparation in common.
    """

    def __init__(self, config: Config, plan: Plan, tasks: Sequence[Task]):
        self.config, self.plan, self.tasks = config, plan, list(tasks)
        self._joined: dict[tuple[int, ...], Any] = {}

    def predict(self, models, images: Sequence[np.ndarray]) -> list[Any]:
        return self.predict_by(range(len(self.tasks)), models, images)

    def predict_by(self, voters: Sequence[int], models, images: Sequence[np.ndarray]) -> list[Any]:
        if self.plan.task == "segmentation":
            return self._segmented(voters, models, images)
        found = [self.tasks[one].predict(models[one], images) for one in voters]
        if self.plan.whole_images:
            return [np.stack(one) for one in zip(*found, strict=True)]
        return [self._fused(boxes) for boxes in zip(*found, strict=True)]

    def _segmented(self, voters: Sequence[int], models, images: Sequence[np.ndarray]) -> list[Slabs]:
        plans = [self.tasks[one].plan for one in voters]
        if len(voters) == 1:
            return self.tasks[voters[0]].predict(models[voters[0]], images)
        if len({_seen_as(plan) for plan in plans}) == 1 and not any(plan.cascade for plan in plans):
            return self.tasks[voters[0]].predict(self._as_one(tuple(voters), models), images)
        return [self._mean(voters, models, image) for image in images]

    def _as_one(self, voters: tuple[int, ...], models) -> Any:
        if voters not in self._joined:
            chosen = [models[one] for one in voters]
            self._joined[voters] = MeanNetwork(chosen, independent=bool(self.plan.regions))
        return self._joined[voters]

    def _mean(self, voters: Sequence[int], models, image: np.ndarray) -> Slabs:
        """Of networks that see different things: one whole result after the other, when asked for."""
        found = [self.tasks[one].predict(models[one], [image])[0] for one in voters]

        def parts() -> Iterator[np.ndarray]:
            total = found[0].whole()
            for slabs in found[1:]:
                total += slabs.whole()
            yield total / len(found)

        return Slabs(found[0].shape, parts, found[0].windows, found[0].skipped)

    def _fused(self, boxes) -> Any:
        if len(boxes) == 1:
            return boxes[0]
        return fuse(boxes, iou=SAME_OBJECT, max_detections=self.config.predict.max_detections)


class MeanNetwork:
    """Called like a network; gives logits whose softmax (`independent`: sigmoid) is the mean of the networks'."""

    def __init__(self, models: Sequence[Any], *, independent: bool = False):
        self.models, self.independent = list(models), independent

    def __call__(self, images: tf.Tensor, training: bool = False) -> tf.Tensor:
        logits = [first(model(images, training=training)) for model in self.models]
        if not self.independent:
            return _log_mean([tf.nn.softmax(one) for one in logits])
        return _log_mean([tf.sigmoid(one) for one in logits]) - _log_mean(
            [tf.sigmoid(-one) for one in logits]
        )


def _log_mean(chances: Sequence[tf.Tensor]) -> tf.Tensor:
    return tf.math.log(tf.maximum(tf.add_n(chances) / len(chances), 1e-30))


def _seen_as(plan: Plan) -> tuple[int, ...]:
    return (plan.planes or 0, *(plan.patch or ()))
