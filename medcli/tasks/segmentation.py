"""Segmentation: a class for every pixel or voxel, learnt on patches, predicted by a sliding window."""

from collections.abc import Iterator, Sequence
from dataclasses import replace
from functools import partial
from typing import Any, overload

import numpy as np
import tensorflow as tf

from medcli.config.schema import Config
from medcli.datasets.classification import flip_axes
from medcli.datasets.segmentation import SegmentationSet
from medcli.errors import DataError
from medcli.losses.segmentation import IGNORE, LOSSES, deep_supervision
from medcli.metrics.bootstrap import mean_of_known
from medcli.metrics.segmentation import dice, overlap_counts
from medcli.models.choose import build_model
from medcli.models.unet import encoder_layers
from medcli.preprocessing.coarse import picture_of
from medcli.preprocessing.content import MARGIN, content_mask
from medcli.preprocessing.plan import Plan
from medcli.preprocessing.prepared import Prepared, Record
from medcli.preprocessing.regions import class_mask, decoded, members_mask
from medcli.sliding import Slabs, one_window, sliding_window
from medcli.tasks.fairness import balanced_draw, by_group, chosen_by
from medcli.tasks.planes import NeighbouringPlanes, of_planes
from medcli.tasks.running import Runner, first
from medcli.tasks.target import Target, covering, cut, one_hot


class Segmentation:
    """See `medcli.tasks.base.Task`."""

    passes_at_end = 2  # rules about the objects, with more overlap than a validation
    state: Sequence[tf.Variable] = ()

    def __init__(self, config: Config, plan: Plan):
        self.config = config
        self.plan = plan
        self.monitor = chosen_by("dice", config)
        self._runner = Runner(then=region_chances if plan.regions else tf.nn.softmax)
        self._unsure = Runner(then=regions_with_entropy if plan.regions else with_entropy)

    def build_model(self):
        return build_model(self.config, self.plan)

    def training_set(self, prepared: Prepared, records: Sequence[Record]) -> SegmentationSet:
        draw = balanced_draw(self.config, self.plan, prepared, records)
        return SegmentationSet(self.config, self.plan, prepared, records, draw=draw)

    def followed(self) -> dict[str, float]:
        return {}

    def loss(self, targets, outputs):
        name = self.config.train.loss
        loss = partial(LOSSES["dice_cross_entropy" if name == "auto" else name], regions=self.plan.regions)
        if isinstance(outputs, (list, tuple)):
            return deep_supervision(loss, targets, outputs, sparse=self.plan.ignore_label is not None)
        return loss(targets, outputs)

    def validate(self, model, prepared: Prepared, records: Sequence[Record]) -> dict[str, float]:
        """Dice per class, mean over the cases that have the class in truth or prediction; then mean over classes.

        Whole cases on the prepared grid, windows with little overlap: a quick look, not the evaluation.
        """
        scores, losses = [], []
        for record in records:
            answer = partial(self._runner, model)
            probabilities = self._slabs(answer, prepared.image(record), overlap=0.125, flips=False).whole()
            labels = prepared.label(record)
            losses.append(voxel_loss(labels, probabilities, self.plan))
            scores.append(dice(*self._overlaps(labels, probabilities)))
        table = np.array(scores)
        per_class = dict(zip(self.plan.classes, class_means(table).tolist(), strict=True))
        measures = {"loss": float(np.mean(losses)), "dice": float(np.mean(list(per_class.values())))}
        if len(per_class) > 1:
            measures |= {f"dice_{name}": value for name, value in per_class.items()}
        return measures | by_group(
            "dice", self.config, prepared, records, lambda cases: float(class_means(table[cases]).mean())
        )

    def _overlaps(self, labels: np.ndarray, probabilities: np.ndarray) -> tuple[np.ndarray, ...]:
        """Voxels (tp, fp, fn) of every class; nothing counts where nobody labelled."""
        predicted = decoded(probabilities, self.plan.regions)
        if not self.plan.regions:
            return overlap_counts(labels, predicted, self.plan.num_classes)
        known = labels != IGNORE
        counts = []
        for index in range(self.plan.num_classes):
            true = members_mask(labels, index, self.plan.regions)
            found = class_mask(probabilities, predicted, index, self.plan.regions) & known
            counts.append([(true & found).sum(), (found & ~true).sum(), (true & ~found).sum()])
        return tuple(np.array(counts).T)

    def predict(self, model, images: Sequence[np.ndarray]) -> list[Slabs]:
        """Images of one window each go through the network in batches at once, all others when they are read."""
        runner = self._unsure if self.config.predict.uncertainty else self._runner
        if not self._of_one_window(images):
            return [self._asked(partial(runner, model), image) for image in images]
        said = [answer for batch in self._batches(images) for answer in runner(model, batch)]
        return [self._asked(_Said(answer), image) for answer, image in zip(said, images, strict=True)]

    def targets(self, model, image: np.ndarray, *, wanted, most, windows, calibrated) -> list[Target]:
        """The largest regions, one per class."""
        settings = self.config.predict
        answer = partial(self._runner, model)
        probabilities = self._slabs(answer, image, overlap=settings.overlap, flips=settings.flips).whole()
        probabilities = probabilities[..., : self.plan.num_classes + 1]
        labels = decoded(probabilities, self.plan.regions)
        regions = [
            class_mask(probabilities, labels, i, self.plan.regions) for i in range(self.plan.num_classes)
        ]
        counts = np.array([region.sum() for region in regions])
        order = np.argsort(-counts, kind="stable")[:most] if wanted is None else [wanted]
        order = [int(index) for index in order if counts[index]]
        if not order:
            what = "a region" if wanted is None else f"a region of {self.plan.classes[wanted]}"
            raise DataError(f"The network finds no part of {what} here, so there is nothing to explain.")
        found = []
        for index in order:
            region = regions[index]
            mean = float(probabilities[..., index + 1][region].mean())
            found.append(self._region(image, region, index, mean, windows, encoder_layers(model)))
        return found

    def _region(
        self, image: np.ndarray, region: np.ndarray, index: int, probability: float, windows: int, layers
    ) -> Target:
        patch = tuple(self.plan.patch or region.shape)
        said = patch if self.plan.planes is None else (1, *patch[1:])
        beside = (patch[0] - said[0]) // 2
        parts = []
        for place in covering(region, said, windows):
            start = (place[0] - beside, *place[1:])
            inside = cut(region, start, patch)
            inside[:beside] = inside[beside + said[0] :] = False  # the network answers for the middle plane
            chosen = one_hot(index + self.plan.num_outputs - self.plan.num_classes, self.plan.num_outputs)
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
            place = (part.start[0] + beside, *part.start[1:])
            covered |= cut(np.ones(said, bool), [-begin for begin in place], region.shape)
        share = float((region & covered).sum() / region.sum())
        return replace(parts[0], others=tuple(parts[1:]), share=share)

    def score(self, outputs, region, chosen):
        """Means over the region's voxels: of the class's log odds against all others, and of its probability."""
        logits = first(outputs)
        odds = tf.reduce_sum(logits * chosen, axis=-1)
        if not self.plan.regions:  # the logit of a region is its log odds
            odds -= tf.reduce_logsumexp(logits - 1e9 * chosen, axis=-1)
        weights, axes = region / tf.reduce_sum(region), list(range(1, len(logits.shape) - 1))
        return tf.reduce_sum(odds * weights, axes), tf.reduce_sum(tf.sigmoid(odds) * weights, axes)

    def predict_with_features(self, model, images: Sequence[np.ndarray]):
        """The features of an image are known when all of its slabs were read."""
        runner = self._unsure if self.config.predict.uncertainty else self._runner
        if self._of_one_window(images):
            slabs, depths = [], []
            together = iter(images)
            for batch in self._batches(images):
                answers, found = runner.with_features(model, batch)
                slabs += [self._asked(_Said(answer), next(together)) for answer in answers]
                depths += [tuple(one[row] for one in found) for row in range(len(batch))]
            return slabs, depths
        features = [WindowMeans(runner, model) for _ in images]
        return [self._asked(*both) for both in zip(features, images, strict=True)], features

    def _of_one_window(self, images: Sequence[np.ndarray]) -> bool:
        """Whether several images have one window each, so that batches must be made of several images."""
        patch, settings = self.plan.patch, self.config.predict
        if patch is None or self.plan.planes is not None or settings.flips or len(images) < 2:
            return False
        return all(
            max(image.shape[axis] - patch[axis] for axis in range(len(patch))) <= 0 for image in images
        )

    def _batches(self, images: Sequence[np.ndarray]) -> Iterator[np.ndarray]:
        size = self.config.predict.batch_size
        for start in range(0, len(images), size):
            yield np.stack(
                [one_window(image, self.plan.patch or ()) for image in images[start : start + size]]
            )

    def _asked(self, predict_batch, image: np.ndarray) -> Slabs:
        """As the settings of `predict` say."""
        settings = self.config.predict
        skip = settings.skip_empty == "on" or (settings.skip_empty == "auto" and self.plan.dimensions == 3)
        return self._slabs(
            predict_batch,
            image,
            overlap=settings.overlap,
            flips=settings.flips,
            more=int(settings.uncertainty),
            content=content_mask(picture_of(image), self.plan) if skip else None,
        )

    def _slabs(self, predict_batch, image: np.ndarray, *, more: int = 0, **settings) -> Slabs:
        """`more`: Outputs of `predict_batch` beyond the classes."""
        source: Any = image
        patch, count = self.plan.patch or image.shape[:-1], self.plan.planes
        if count is not None:
            predict_batch, source = of_planes(predict_batch, count), NeighbouringPlanes(image, count)
            patch = (1, *patch[1:])
        settings["flips"] = self._mirrored_axes() if settings["flips"] else ()
        return sliding_window(
            predict_batch,
            source,
            patch=patch,
            num_outputs=self.plan.num_classes + 1 + more,
            batch_size=self.config.predict.batch_size,
            margin=MARGIN,
            **settings,
        )

    def _mirrored_axes(self) -> tuple[int, ...]:
        """Axes that training mirrored, so that the network knows such images; not that of neighbouring planes."""
        allowed = flip_axes(self.config, self.plan) - ({"plane"} if self.plan.planes is not None else set())
        names = ("plane", "row", "column")[-self.plan.dimensions :]
        return tuple(axis for axis, name in enumerate(names) if name in allowed)


def with_entropy(logits: tf.Tensor) -> tf.Tensor:
    """Probabilities (..., classes) and behind them their entropy in bits."""
    chances = tf.nn.softmax(logits)
    bits = -tf.reduce_sum(chances * tf.nn.log_softmax(logits), axis=-1, keepdims=True) / np.log(2)
    return tf.concat([chances, bits], axis=-1)


def region_chances(logits: tf.Tensor) -> tf.Tensor:
    """(..., 1 + regions) probabilities of independent regions; the first is that of none: 1 minus the largest."""
    chances = tf.sigmoid(logits)
    return tf.concat([1 - tf.reduce_max(chances, axis=-1, keepdims=True), chances], axis=-1)


def regions_with_entropy(logits: tf.Tensor) -> tf.Tensor:
    """The same, and behind them the sum of the regions' entropies in bits."""
    chances = tf.sigmoid(logits)
    nats = chances * tf.math.softplus(-logits) + (1 - chances) * tf.math.softplus(logits)
    return tf.concat(
        [region_chances(logits), tf.reduce_sum(nats, axis=-1, keepdims=True) / np.log(2)], axis=-1
    )


def class_means(scores: np.ndarray) -> np.ndarray:
    """(classes,) means over the cases (n, classes) that have a value; 0 where none has."""
    return np.nan_to_num(mean_of_known(scores, axis=0))


class _Said:
    """The answer to the only window of an image, known already."""

    def __init__(self, answer: np.ndarray) -> None:
        self.answer = answer

    def __call__(self, batch: np.ndarray) -> np.ndarray:
        return self.answer[None]


class WindowMeans(Sequence[np.ndarray]):
    """Predicts batches of windows; afterwards a sequence of the means of their features, one for every depth."""

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

    @overload
    def __getitem__(self, depth: int) -> np.ndarray: ...
    @overload
    def __getitem__(self, depth: slice) -> Sequence[np.ndarray]: ...
    def __getitem__(self, depth: Any) -> Any:
        return [(total / self._count).astype(np.float32) for total in self._sums][depth]

    def __len__(self) -> int:
        return len(self._sums)


def voxel_loss(labels: np.ndarray, probabilities: np.ndarray, plan: Plan) -> float:
    """Mean cross-entropy of the known voxels, from probabilities; of regions the mean of their binary ones."""
    known = labels != IGNORE
    if plan.regions:
        terms = []
        for index in range(plan.num_classes):
            inside, chance = (
                members_mask(labels, index, plan.regions)[known],
                probabilities[..., index + 1][known],
            )
            terms.append(-np.log(np.clip(np.where(inside, chance, 1 - chance), 1e-7, 1)))
        return float(np.mean(terms)) if known.any() else 0.0
    chosen = np.take_along_axis(
        probabilities, np.where(known, labels, 0)[..., None].astype(np.int64), axis=-1
    )[..., 0]
    return float(-np.log(np.clip(chosen[known], 1e-7, 1)).mean()) if known.any() else 0.0
