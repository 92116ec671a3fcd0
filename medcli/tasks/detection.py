"""Detection: boxes with a class and a score."""

import weakref
from collections.abc import Iterable, Sequence
from itertools import combinations
from typing import Any

import keras
import numpy as np
import tensorflow as tf

from medcli.boxes import Boxes, iou_matrix
from medcli.config.schema import Config
from medcli.datasets.classification import flip_axes
from medcli.datasets.detection import STRENGTHS, UNDEMANDING, DetectionSamples
from medcli.datasets.store import image_store, object_masks
from medcli.errors import ConfigError, DataError
from medcli.losses.detection import detection_loss
from medcli.metrics.bootstrap import mean_of_known
from medcli.metrics.detection import THRESHOLDS, average_precision, match_images
from medcli.metrics.fusion import fuse
from medcli.metrics.nms import candidates, soften, suppress
from medcli.models.anchors import anchor_points, decode, split_outputs
from medcli.models.freeze import frozen, is_settled
from medcli.models.yolo import feature_layer, yolo
from medcli.preprocessing.plan import Plan
from medcli.preprocessing.prepared import Prepared, Record
from medcli.tasks.fairness import balanced_draw, by_group, chosen_by
from medcli.tasks.features import pooled, with_features
from medcli.tasks.running import batched
from medcli.tasks.target import Target, cut, one_hot
from medcli.tiles import boxes_in_tile, merged, nearest_tile, tile_starts

VALIDATION_THRESHOLD = 0.001
"""Lowest score that counts for the average precision during training."""
SAME_OBJECT = 0.5
"""Anchors whose boxes overlap a found one by this much (IoU) speak of the same object."""


def _probability(target: Target) -> float:
    return target.probability


class Detection:
    """Implements `medcli.tasks.base.Task`; targets are (boxes, 5): x0, y0, x1, y1, class; class -1 pads.

    Raises ConfigError when the plan names no one size for all images.
    """

    state: Sequence[tf.Variable] = ()

    def __init__(self, config: Config, plan: Plan):
        self.tile = tuple(plan.patch) if plan.patch else None
        seen = self.tile or plan.size
        if not seen or plan.dimensions != 2:
            raise ConfigError(
                "preprocess.size: the detector needs one size for all pictures (rows, columns), got native."
            )
        self.config, self.plan, self.size = config, plan, seen
        self.monitor = chosen_by("map50", config)
        self.passes_at_end = 1 + len(self._mirrors())  # from which score on a box counts as found
        self.strides = tuple(2 ** (6 - level) for level in range(max(plan.stages, 3), 0, -1))[-4:]
        self.points, self.steps = anchor_points(self.size, self.strides)
        self._decoders: weakref.WeakKeyDictionary = weakref.WeakKeyDictionary()

    def build_model(self) -> keras.Model:
        return yolo(
            (*self.size, self.plan.channels),
            self.plan.num_classes,
            size=self.config.model.size,
            strides=self.strides,
            activation=self.config.model.activation,
        )

    def training_set(
        self, prepared: Prepared, records: Sequence[Record], start_progress: float = 0.0
    ) -> DetectionSamples:
        """Raises DataError when no case has a box."""
        labels = [prepared.label(record) for record in records]
        if not any(len(label) for label in labels):
            raise DataError(
                f"{prepared.folder}: none of the {len(records)} training cases has a box; check data.labels."
            )
        train = self.config.train
        names = self.plan.augmentations if train.augmentations == "auto" else train.augmentations
        strength = STRENGTHS["medium" if train.augment == "auto" else train.augment]
        strength = strength.only(UNDEMANDING if names is None else names)
        masks = object_masks(prepared, records, train.cache_gb) if strength.paste else None
        return DetectionSamples(
            image_store(prepared, records, train.cache_gb),
            labels,
            seed=self.config.seed,
            strength=strength,
            flips=self._flips(),
            tile=self.tile,
            foreground=train.foreground,
            masks=masks,
            draw=balanced_draw(self.config, self.plan, prepared, records),
            one_shape=train.xla == "on",
        )

    def followed(self) -> dict[str, float]:
        return {}

    def _flips(self) -> set[str]:
        """What training mirrors."""
        return set() if self.config.train.augment == "none" else flip_axes(self.config, self.plan)

    def _mirrors(self) -> list[tuple[int, ...]]:
        """Axes of a batch that prediction mirrors together, as far as training did."""
        if not self.config.predict.flips:
            return []
        known = [axis for axis, name in ((1, "row"), (2, "column")) if name in self._flips()]
        return [axes for count in range(1, len(known) + 1) for axes in combinations(known, count)]

    def loss(self, targets: tf.Tensor, outputs: tf.Tensor) -> tf.Tensor:
        return detection_loss(targets, outputs, self.points, self.steps)

    def validate(self, model: keras.Model, prepared: Prepared, records: Sequence[Record]) -> dict[str, float]:
        """`map50`: mean over the classes of the average precision at IoU 0.5; `loss`: mean over images."""
        losses: list[float] = []
        predictions, truths = [], []
        most = max(max((record.objects for record in records), default=0), 1)
        together = self.config.predict.batch_size if self.tile is None else 1
        for some in batched(records, together):
            images, labels = [prepared.image(one) for one in some], [prepared.label(one) for one in some]
            truths += [Boxes.of(label[:, :4], label[:, 4]) for label in labels]
            if self.tile is None:
                found = self._validated(model, zip(images, labels, strict=True), most, losses)
                predictions += found
                continue
            starts = self._starts(images[0])
            tiles = (
                (cut(images[0], start, self.tile), boxes_in_tile(labels[0], start, self.tile))
                for start in starts
            )
            found = self._validated(model, tiles, most, losses)
            predictions.append(self._merged(found, starts, images[0].shape))
        measures = {"loss": float(np.mean(losses)), "map50": self._map50(predictions, truths)}
        return measures | by_group(
            "map50",
            self.config,
            prepared,
            records,
            lambda cases: self._map50([predictions[i] for i in cases], [truths[i] for i in cases]),
        )

    def _validated(self, model, pairs, most: int, losses: list[float]) -> list[Boxes]:
        """Boxes of arrays with their true boxes (array, (n, 5)), whose losses are added to the list."""
        predictions = []
        for some in batched(pairs, self.config.predict.batch_size):
            targets = np.full((len(some), most, 5), -1, np.float32)
            for target, (_, label) in zip(targets, some, strict=True):
                target[: len(label)] = label[:most]
            outputs, *decoded = self._decoder(model)(tf.constant(np.stack([image for image, _ in some])))
            losses += [float(self.loss(tf.constant(targets), outputs))] * len(some)
            predictions += self._boxes(*decoded, threshold=VALIDATION_THRESHOLD)
        return predictions

    def _map50(self, found: Sequence[Boxes], truth: Sequence[Boxes]) -> float:
        """0 when no image has a box."""
        half = THRESHOLDS[:1]
        matches = [match_images(found, truth, kind, thresholds=half) for kind in range(self.plan.num_classes)]
        value = float(mean_of_known(np.concatenate([average_precision(one) for one in matches])))
        return value if np.isfinite(value) else 0.0

    def predict(self, model: keras.Model, images: Sequence[np.ndarray]) -> list[Any]:
        """`Boxes` in pixels of the prepared image, best first."""
        return self._predicted(self._decoder(model), self._decoder(model), images)[0]

    def predict_with_features(self, model: keras.Model, images: Sequence[np.ndarray]):
        return self._predicted(self._decoder(model, features=True), self._decoder(model), images)

    def _predicted(self, decoder, mirrored_decoder, images: Sequence[np.ndarray]):
        """Boxes and features (empty where the decoder gives none); of tiles the features' mean."""
        if self.tile is None:
            return self._seen(decoder, mirrored_decoder, images)
        results, features = [], []
        for image in images:
            starts = self._starts(image)
            found, depths = self._seen(
                decoder, mirrored_decoder, (cut(image, start, self.tile) for start in starts)
            )
            results.append(self._merged(found, starts, image.shape))
            features.append(tuple(np.mean(depth, axis=0) for depth in zip(*depths, strict=True)))
        return results, features

    def _seen(self, decoder, mirrored_decoder, arrays: Iterable[np.ndarray]):
        """Boxes and features of arrays of the network's size, batch by batch."""
        settings, results, features = self.config.predict, [], []
        for some in batched(arrays, settings.batch_size):
            batch = tf.constant(np.stack(some), tf.float32)
            _, corners, scores, *depths = decoder(batch)
            boxes = self._boxes(corners, scores, threshold=settings.lowest_score)
            if self._mirrors():
                boxes = self._with_flips(mirrored_decoder, batch, boxes)
            results += boxes
            features += list(zip(*(part.numpy() for part in depths), strict=True))
        return results, features

    def _starts(self, image: np.ndarray) -> list[tuple[int, int]]:
        """Of the tiles of an image; of a network that sees whole images the one place."""
        return [(0, 0)] if self.tile is None else tile_starts(image.shape[:2], self.tile, self.plan.overlap)

    def _merged(self, found: Sequence[Boxes], starts, shape: Sequence[int]) -> Boxes:
        """Boxes of the image from those of its tiles."""
        settings = self.config.predict
        boxes = merged(found, starts, self.size, shape[:2], by_class=not settings.agnostic)
        return suppress(boxes, iou=settings.nms_iou, by_class=not settings.agnostic)

    def targets(self, model, image: np.ndarray, *, wanted, most, windows, calibrated) -> list[Target]:
        """The boxes with the best scores; without any the strongest score that a class has anywhere."""
        (found,) = self.predict(model, [image])
        if wanted is not None:
            found = found.take(found.classes == wanted)
        starts = self._starts(image)
        if not len(found):
            return [max((self._strongest(model, image, start, wanted) for start in starts), key=_probability)]
        answers = []
        for box, kind in list(zip(found.corners, found.classes, strict=True))[:most]:
            start = starts[nearest_tile(box, starts, self.size)]
            part, everywhere, values = self._look(model, image, start)
            inside = Boxes.of(box, kind).scaled(1, 1, -start[1], -start[0])
            overlap = iou_matrix(inside.corners, Boxes.of(everywhere, np.zeros(len(everywhere))).corners)[0]
            answers.append(self._answer(part, start, int(kind), values[:, kind], overlap >= SAME_OBJECT, box))
        return answers

    def _look(self, model, image: np.ndarray, start: tuple[int, int]):
        """What the network is given there, and its corners (anchors, 4) and scores (anchors, classes)."""
        part = image if self.tile is None else cut(image, start, self.tile)
        _, corners, scores = self._decoder(model)(tf.constant(part[None], tf.float32))
        return part, corners.numpy()[0], scores.numpy()[0]

    def _strongest(self, model, image: np.ndarray, start: tuple[int, int], wanted: int | None) -> Target:
        part, _, values = self._look(model, image, start)
        index = int(values.max(axis=0).argmax()) if wanted is None else wanted
        return self._answer(part, start, index, values[:, index], np.ones(len(values), bool))

    def _answer(self, image, start, index: int, scores, anchors, box=None) -> Target:
        anchors = anchors if anchors.any() else scores >= scores.max()
        best = int(np.where(anchors, scores, -1).argmax())
        layer = feature_layer(int(self.steps[best]), self.strides[-1], self.config.model.activation)
        return Target(
            class_index=index,
            probability=float(scores[best]),
            image=image,
            start=start,
            spec=(anchors.astype(np.float32), one_hot(index, self.plan.num_classes)),
            cam="layercam",
            layers=(layer,),
            box=box,
        )

    def score(self, outputs, anchors, chosen):
        """The best log odds of the class among the anchors that speak of the object."""
        _, classes = split_outputs(outputs)
        score = tf.reduce_max(tf.reduce_sum(classes * chosen, axis=-1) - 1e9 * (1 - anchors), axis=-1)
        return score, tf.sigmoid(score)

    def _with_flips(self, decoder, batch, boxes: list[Boxes]) -> list[Boxes]:
        """The boxes of each image fused with those of its mirror images."""
        settings, seen = self.config.predict, [boxes]
        for axes in self._mirrors():
            _, corners, scores = decoder(tf.reverse(batch, axes))
            mirrored = self._boxes(corners, scores, threshold=settings.lowest_score)
            seen.append([one.mirrored(*self.size, rows=1 in axes, columns=2 in axes) for one in mirrored])
        return [
            self._one_class_each(fused.take(fused.scores >= settings.lowest_score))
            for fused in (
                fuse(views, iou=settings.nms_iou, max_detections=settings.max_detections)
                for views in zip(*seen, strict=True)
            )
        ]

    def _one_class_each(self, boxes: Boxes) -> Boxes:
        """With `predict.agnostic` once more: fusing keeps the classes apart."""
        settings = self.config.predict
        return suppress(boxes, iou=settings.nms_iou, by_class=False) if settings.agnostic else boxes

    def _decoder(self, model: keras.Model, *, features: bool = False):
        """One compiled function per model: images to raw outputs, corners and scores, then features when wanted."""
        decoders = self._decoders.setdefault(model, {})
        if features not in decoders:
            shape = (None, *self.size, self.plan.channels)
            reference = weakref.ref(model)
            both = with_features(model)[0] if features else None

            @tf.function(input_signature=[tf.TensorSpec(shape, tf.float32)], autograph=False)
            def run(images):
                if both is None:
                    outputs, *maps = (reference()(images, training=False),)  # type: ignore[misc]
                else:
                    outputs, *maps = both(images, training=False)
                return outputs, *decode(outputs, self.points, self.steps), *pooled(maps)

            decoders[features] = frozen(run) if is_settled(model) else run
        return decoders[features]

    def _boxes(self, corners, scores, *, threshold: float) -> list[Boxes]:
        settings, (rows, columns) = self.config.predict, self.size
        found = []
        for image_corners, image_scores in zip(corners.numpy(), scores.numpy(), strict=True):
            boxes = candidates(image_corners, image_scores, score_threshold=threshold).clipped(rows, columns)
            boxes = boxes.take(boxes.areas > 0)
            how: dict[str, Any] = {
                "max_detections": settings.max_detections,
                "by_class": not settings.agnostic,
            }
            if settings.nms == "soft":
                found.append(soften(boxes, least=threshold, **how))
            else:
                found.append(suppress(boxes, iou=settings.nms_iou, **how))
        return found
