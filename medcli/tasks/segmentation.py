"""Segmentation: a class for every pixel or voxel, learnt on patches, predicted by a sliding window."""

from collections.abc import Sequence

import numpy as np
import tensorflow as tf

from medcli.config.schema import Config
from medcli.datasets.segmentation import SegmentationSet
from medcli.losses.segmentation import IGNORE, LOSSES, deep_supervision
from medcli.metrics.bootstrap import mean_of_known
from medcli.metrics.segmentation import dice, overlap_counts
from medcli.models.choose import build_model
from medcli.preprocessing.plan import Plan
from medcli.preprocessing.prepared import Prepared, Record
from medcli.sliding import sliding_window
from medcli.tasks.fairness import balanced_draw, by_group, chosen_by
from medcli.tasks.running import Runner


class Segmentation:
    """See `medcli.tasks.base.Task`."""

    passes_at_end = 0
    state: Sequence[tf.Variable] = ()

    def __init__(self, config: Config, plan: Plan):
        self.config = config
        self.plan = plan
        self.monitor = chosen_by("dice", config)
        self._runner = Runner(then=tf.nn.softmax)

    def build_model(self):
        return build_model(self.config, self.plan)

    def training_set(self, prepared: Prepared, records: Sequence[Record]) -> SegmentationSet:
        draw = balanced_draw(self.config, self.plan, prepared, records)
        return SegmentationSet(self.config, self.plan, prepared, records, draw=draw)

    def followed(self) -> dict[str, float]:
        return {}

    def loss(self, targets, outputs):
        name = self.config.train.loss
        loss = LOSSES["dice_cross_entropy" if name == "auto" else name]
        if isinstance(outputs, (list, tuple)):
            return deep_supervision(loss, targets, outputs)
        return loss(targets, outputs)

    def validate(self, model, prepared: Prepared, records: Sequence[Record]) -> dict[str, float]:
        """Dice per class, mean over the cases that have the class in truth or prediction; then mean over classes.

        Whole cases on the prepared grid, windows with little overlap: a quick look, not the evaluation.
        """
        scores, losses = [], []
        for record in records:
            probabilities = self._whole(model, prepared.image(record), overlap=0.125, flips=False)
            labels = prepared.label(record)
            losses.append(voxel_loss(labels, probabilities))
            predicted = np.where(labels == IGNORE, 0, probabilities.argmax(axis=-1))
            scores.append(dice(*overlap_counts(labels, predicted, self.plan.num_classes)))
        table = np.array(scores)
        per_class = dict(zip(self.plan.classes, class_means(table).tolist(), strict=True))
        measures = {"loss": float(np.mean(losses)), "dice": float(np.mean(list(per_class.values())))}
        if len(per_class) > 1:
            measures |= {f"dice_{name}": value for name, value in per_class.items()}
        return measures | by_group(
            "dice", self.config, prepared, records, lambda cases: float(class_means(table[cases]).mean())
        )

    def predict(self, model, images: Sequence[np.ndarray]) -> list[np.ndarray]:
        settings = self.config.predict
        return [self._whole(model, image, overlap=settings.overlap, flips=settings.flips) for image in images]

    def _whole(self, model, image: np.ndarray, *, overlap: float, flips: bool) -> np.ndarray:
        return sliding_window(
            lambda batch: self._runner(model, batch),
            image,
            patch=self.plan.patch or image.shape[:-1],
            num_outputs=self.plan.num_classes + 1,
            overlap=overlap,
            batch_size=self.config.predict.batch_size,
            flips=flips,
        )


def class_means(scores: np.ndarray) -> np.ndarray:
    """(classes,) means over the cases (n, classes) that have a value; 0 where none has."""
    return np.nan_to_num(mean_of_known(scores, axis=0))


def voxel_loss(labels: np.ndarray, probabilities: np.ndarray) -> float:
    """Mean cross-entropy of the known voxels, from probabilities."""
    known = labels != IGNORE
    chosen = np.take_along_axis(
        probabilities, np.where(known, labels, 0)[..., None].astype(np.int64), axis=-1
    )[..., 0]
    return float(-np.log(np.clip(chosen[known], 1e-7, 1)).mean()) if known.any() else 0.0
