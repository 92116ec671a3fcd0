"""Segmentation of single objects: beside the class of every voxel the network learns how deep it lies in its object."""

from collections.abc import Sequence
from functools import partial

import numpy as np
import tensorflow as tf

from medcli.config.schema import Config
from medcli.datasets.objects import ObjectSet
from medcli.instances.compare import compare
from medcli.instances.decode import Rule, decode
from medcli.losses.objects import object_loss
from medcli.losses.segmentation import IGNORE, LOSSES
from medcli.metrics.instances import per_case
from medcli.metrics.segmentation import dice, overlap_counts
from medcli.preprocessing.instances import classes_of
from medcli.preprocessing.plan import Plan
from medcli.preprocessing.prepared import Prepared, Record
from medcli.sliding import Slabs
from medcli.tasks.fairness import balanced_draw, by_group, chosen_by
from medcli.tasks.running import Runner, first
from medcli.tasks.segmentation import Segmentation, class_means, voxel_loss, with_entropy

MEASURE = "ap50_90"


class ObjectSegmentation(Segmentation):
    """See `medcli.tasks.base.Task`. What it predicts has the depth as one more channel behind the classes."""

    passes_at_end = 3  # one prediction, and as much time again and again for the rules that are tried on it

    def __init__(self, config: Config, plan: Plan):
        super().__init__(config, plan)
        self.monitor = chosen_by(MEASURE, config)
        self._runner = Runner(then=_to_maps)
        self._unsure = Runner(then=_with_entropy)

    def training_set(self, prepared: Prepared, records: Sequence[Record]) -> ObjectSet:
        draw = balanced_draw(self.config, self.plan, prepared, records)
        return ObjectSet(self.config, self.plan, prepared, records, draw=draw)

    def loss(self, targets, outputs):
        name = self.config.train.loss
        return object_loss(LOSSES["dice_cross_entropy" if name == "auto" else name], targets, outputs)

    def validate(self, model, prepared: Prepared, records: Sequence[Record]) -> dict[str, float]:
        """Dice, and the average precision of objects by the usual rule: means over the cases, then over the classes.

        Whole cases on the prepared grid, windows with little overlap: a quick look, not the evaluation.
        """
        overlap, precision, losses = [], [], []
        for record in records:
            answer = partial(self._runner, model)
            maps = self._slabs(answer, prepared.image(record), overlap=0.125, flips=False).whole()
            probabilities, label = maps[..., :-1], prepared.objects(record)
            classes = classes_of(label)
            losses.append(voxel_loss(classes, probabilities, self.plan))
            predicted = np.where(classes == IGNORE, 0, probabilities.argmax(axis=-1))
            overlap.append(dice(*overlap_counts(classes, predicted, self.plan.num_classes)))
            precision.append(per_case(compare(label, decode(maps, Rule()), self.plan.num_classes))[MEASURE])
        table = np.stack(precision)
        return {
            "loss": float(np.mean(losses)),
            "dice": float(class_means(np.stack(overlap)).mean()),
            MEASURE: float(class_means(table).mean()),
        } | by_group(
            MEASURE, self.config, prepared, records, lambda cases: float(class_means(table[cases]).mean())
        )

    def score(self, outputs, region, chosen):
        return super().score(first(outputs)[..., :-1], region, chosen)

    def _slabs(self, predict_batch, image: np.ndarray, *, more: int = 0, **settings) -> Slabs:
        return super()._slabs(predict_batch, image, more=more + 1, **settings)


def _with_entropy(logits):
    """As `_to_maps`, and behind it the entropy of the classes in bits."""
    chances, bits = tf.split(with_entropy(logits[..., :-1]), [logits.shape[-1] - 1, 1], axis=-1)
    return tf.concat([chances, tf.sigmoid(logits[..., -1:]), bits], axis=-1)


def _to_maps(logits):
    """Probabilities of the classes, and behind them the depth."""
    return tf.concat([tf.nn.softmax(logits[..., :-1]), tf.sigmoid(logits[..., -1:])], axis=-1)
