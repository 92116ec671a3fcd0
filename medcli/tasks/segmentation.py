"""Segmentation: a class for every pixel or voxel, learnt on patches, predicted by a sliding window."""

from collections.abc import Sequence
from dataclasses import replace
from functools import partial

import numpy as np
import tensorflow as tf

from medcli.config.schema import Config
from medcli.datasets.segmentation import SegmentationSet
from medcli.errors import DataError
from medcli.losses.segmentation import IGNORE, LOSSES, deep_supervision
from medcli.metrics.bootstrap import mean_of_known
from medcli.metrics.segmentation import dice, overlap_counts
from medcli.models.choose import build_model
from medcli.models.unet import encoder_layers
from medcli.preprocessing.plan import Plan
from medcli.preprocessing.prepared import Prepared, Record
from medcli.sliding import sliding_window
from medcli.tasks.fairness import balanced_draw, by_group, chosen_by
from medcli.tasks.running import Runner, first
from medcli.tasks.target import Target, covering, cut, one_hot


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

    def targets(self, model, image: np.ndarray, *, wanted, most, windows, calibrated) -> list[Target]:
        """The largest regions, one per class."""
        probabilities = self.predict(model, [image])[0]
        labels = probabilities.argmax(axis=-1)
        counts = np.bincount(labels.ravel(), minlength=self.plan.num_classes + 1)[1:]
        order = np.argsort(-counts, kind="stable")[:most] if wanted is None else [wanted]
        order = [int(index) for index in order if counts[index]]
        if not order:
            what = "a region" if wanted is None else f"a region of {self.plan.classes[wanted]}"
            raise DataError(f"The network finds no part of {what} here, so there is nothing to explain.")
        found = []
        for index in order:
            region = labels == index + 1
            mean = float(probabilities[..., index + 1][region].mean())
            found.append(self._region(image, region, index, mean, windows, encoder_layers(model)))
        return found

    def _region(
        self, image: np.ndarray, region: np.ndarray, index: int, probability: float, windows: int, layers
    ) -> Target:
        patch = tuple(self.plan.patch or region.shape)
        parts = []
        for start in covering(region, patch, windows):
            inside = cut(region, start, patch)
            chosen = one_hot(index + 1, self.plan.num_classes + 1)
            parts.append(
                Target(
                    class_index=index,
                    probability=probability,
                    image=cut(image, start, patch),
                    start=start,
                    spec=(inside.astype(np.float32), chosen),
                    cam="layercam",
                    layers=layers,
                    region=inside,
                )
            )
        covered = np.zeros(region.shape, bool)
        for part in parts:
            covered |= cut(np.ones(patch, bool), [-begin for begin in part.start], region.shape)
        share = float((region & covered).sum() / region.sum())
        return replace(parts[0], others=tuple(parts[1:]), share=share)

    def score(self, outputs, region, chosen):
        """Means over the region's voxels: of the class's log odds against all others, and of its probability."""
        logits = first(outputs)
        odds = tf.reduce_sum(logits * chosen, axis=-1) - tf.reduce_logsumexp(logits - 1e9 * chosen, axis=-1)
        weights, axes = region / tf.reduce_sum(region), list(range(1, len(logits.shape) - 1))
        return tf.reduce_sum(odds * weights, axes), tf.reduce_sum(tf.sigmoid(odds) * weights, axes)

    def predict_with_features(self, model, images: Sequence[np.ndarray]):
        settings, results, features = self.config.predict, [], []
        for image in images:
            windows = _WindowMeans(self._runner, model)
            results.append(self._whole(windows, image, overlap=settings.overlap, flips=settings.flips))
            features.append(windows.means)
        return results, features

    def _whole(self, model, image: np.ndarray, *, overlap: float, flips: bool) -> np.ndarray:
        """`model`: A network, or what predicts a batch."""
        predict_batch = model if isinstance(model, _WindowMeans) else partial(self._runner, model)
        return sliding_window(
            predict_batch,
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


class _WindowMeans:
    """Predicts batches of windows and keeps the mean of their features."""

    def __init__(self, runner: Runner, model) -> None:
        self._runner, self._model = runner, model
        self._sums: list[np.ndarray] = []
        self._count = 0

    def __call__(self, batch: np.ndarray) -> np.ndarray:
        output, features = self._runner.with_features(self._model, batch)
        sums = [part.sum(axis=0, dtype=np.float64) for part in features]
        self._sums = [a + b for a, b in zip(self._sums, sums, strict=True)] if self._sums else sums
        self._count += len(batch)
        return output

    @property
    def means(self) -> tuple[np.ndarray, ...]:
        return tuple((total / self._count).astype(np.float32) for total in self._sums)


def voxel_loss(labels: np.ndarray, probabilities: np.ndarray) -> float:
    """Mean cross-entropy of the known voxels, from probabilities."""
    known = labels != IGNORE
    chosen = np.take_along_axis(
        probabilities, np.where(known, labels, 0)[..., None].astype(np.int64), axis=-1
    )[..., 0]
    return float(-np.log(np.clip(chosen[known], 1e-7, 1)).mean()) if known.any() else 0.0
