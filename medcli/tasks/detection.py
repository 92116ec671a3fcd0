"""Detection: boxes with a class and a score."""

import weakref
from collections.abc import Sequence
from typing import Any

import keras
import numpy as np
import tensorflow as tf

from medcli.boxes import Boxes, iou_matrix
from medcli.config.schema import Config
from medcli.datasets.detection import STRENGTHS, DetectionSamples
from medcli.datasets.store import image_store
from medcli.errors import ConfigError, DataError
from medcli.losses.detection import detection_loss
from medcli.metrics.bootstrap import mean_of_known
from medcli.metrics.detection import THRESHOLDS, average_precision, match_images
from medcli.metrics.fusion import fuse
from medcli.metrics.nms import candidates, soften, suppress
from medcli.models.anchors import anchor_points, decode, split_outputs
from medcli.models.yolo import feature_layer, yolo
from medcli.preprocessing.plan import Plan
from medcli.preprocessing.prepared import Prepared, Record
from medcli.tasks.fairness import balanced_draw, by_group, chosen_by
from medcli.tasks.features import pooled, with_features
from medcli.tasks.target import Target, one_hot

VALIDATION_THRESHOLD = 0.001
"""Lowest score that counts for the average precision during training."""
SAME_OBJECT = 0.5
"""Anchors whose boxes overlap a found one by this much (IoU) speak of the same object."""


class Detection:
    """Implements `medcli.tasks.base.Task`; targets are (boxes, 5): x0, y0, x1, y1, class; class -1 pads.

    Raises ConfigError when the plan names no one size for all images.
    """

    state: Sequence[tf.Variable] = ()

    def __init__(self, config: Config, plan: Plan):
        if not plan.size or plan.dimensions != 2:
            raise ConfigError(
                "preprocess.size: the detector needs one size for all pictures (rows, columns), got native."
            )
        self.config, self.plan, self.size = config, plan, plan.size
        self.monitor = chosen_by("map50", config)
        self.passes_at_end = 1 + 3 * config.predict.flips  # from which score on a box counts as found
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
        strength = STRENGTHS["medium" if train.augment == "auto" else train.augment]
        flips = self._flips() if train.flips == "auto" else tuple(train.flips)
        return DetectionSamples(
            image_store(prepared, records, train.cache_gb),
            labels,
            seed=self.config.seed,
            strength=strength,
            flips=() if strength == STRENGTHS["none"] else flips,
            draw=balanced_draw(self.config, self.plan, prepared, records),
        )

    def followed(self) -> dict[str, float]:
        return {}

    def _flips(self) -> tuple[str, ...]:
        """Colour pictures (microscopy, skin, endoscopy) have no upright; radiographs may only swap sides."""
        return ("row", "column") if self.plan.color == "rgb" else ("column",)

    def loss(self, targets: tf.Tensor, outputs: tf.Tensor) -> tf.Tensor:
        return detection_loss(targets, outputs, self.points, self.steps)

    def validate(self, model: keras.Model, prepared: Prepared, records: Sequence[Record]) -> dict[str, float]:
        """`map50`: mean over the classes of the average precision at IoU 0.5; `loss`: mean over images."""
        losses, predictions, truths = [], [], []
        most = max(max((record.objects for record in records), default=0), 1)
        size = self.config.predict.batch_size
        for start in range(0, len(records), size):
            part = records[start : start + size]
            labels = [prepared.label(record) for record in part]
            targets = np.full((len(part), most, 5), -1, np.float32)
            for target, label in zip(targets, labels, strict=True):
                target[: len(label)] = label[:most]
            outputs, *decoded = self._decoder(model)(
                tf.constant(np.stack([prepared.image(record) for record in part]))
            )
            losses += [float(self.loss(tf.constant(targets), outputs))] * len(part)
            predictions += self._boxes(*decoded, threshold=VALIDATION_THRESHOLD)
            truths += [Boxes.of(label[:, :4], label[:, 4]) for label in labels]
        measures = {"loss": float(np.mean(losses)), "map50": self._map50(predictions, truths)}
        return measures | by_group(
            "map50",
            self.config,
            prepared,
            records,
            lambda cases: self._map50([predictions[i] for i in cases], [truths[i] for i in cases]),
        )

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
        """Boxes and features (empty where the decoder gives none)."""
        settings, results, features = self.config.predict, [], []
        for start in range(0, len(images), settings.batch_size):
            batch = tf.constant(np.stack(images[start : start + settings.batch_size]), tf.float32)
            _, corners, scores, *depths = decoder(batch)
            boxes = self._boxes(corners, scores, threshold=settings.lowest_score)
            if settings.flips:
                boxes = self._with_flips(mirrored_decoder, batch, boxes)
            results += boxes
            features += list(zip(*(part.numpy() for part in depths), strict=True))
        return results, features

    def targets(self, model, image: np.ndarray, *, wanted, most, windows, calibrated) -> list[Target]:
        """The boxes with the best scores; without any the strongest score that a class has anywhere."""
        _, corners, scores = self._decoder(model)(tf.constant(image[None], tf.float32))
        (found,) = self._boxes(corners, scores, threshold=self.config.predict.lowest_score)
        if wanted is not None:
            found = found.take(found.classes == wanted)
        everywhere, values = corners.numpy()[0], scores.numpy()[0]
        if not len(found):
            index = int(values.max(axis=0).argmax()) if wanted is None else wanted
            return [self._answer(image, index, values[:, index], np.ones(len(values), bool))]
        overlaps = iou_matrix(found.corners, Boxes.of(everywhere, np.zeros(len(everywhere))).corners)
        return [
            self._answer(image, int(kind), values[:, kind], overlap >= SAME_OBJECT, box)
            for box, kind, overlap in zip(found.corners[:most], found.classes[:most], overlaps, strict=False)
        ]

    def _answer(self, image, index: int, scores, anchors, box=None) -> Target:
        anchors = anchors if anchors.any() else scores >= scores.max()
        best = int(np.where(anchors, scores, -1).argmax())
        layer = feature_layer(int(self.steps[best]), self.strides[-1], self.config.model.activation)
        return Target(
            class_index=index,
            probability=float(scores[best]),
            image=image,
            start=(0, 0),
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
        """The boxes of each image fused with those of its three mirror images."""
        settings, seen = self.config.predict, [boxes]
        for axes in ((1,), (2,), (1, 2)):
            _, corners, scores = decoder(tf.reverse(batch, axes))
            mirrored = self._boxes(corners, scores, threshold=settings.lowest_score)
            seen.append([one.mirrored(*self.size, rows=1 in axes, columns=2 in axes) for one in mirrored])
        return [
            fused.take(fused.scores >= settings.lowest_score)
            for fused in (
                fuse(views, iou=settings.nms_iou, max_detections=settings.max_detections)
                for views in zip(*seen, strict=True)
            )
        ]

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

            decoders[features] = run
        return decoders[features]

    def _boxes(self, corners, scores, *, threshold: float) -> list[Boxes]:
        settings, (rows, columns) = self.config.predict, self.size
        found = []
        for image_corners, image_scores in zip(corners.numpy(), scores.numpy(), strict=True):
            boxes = candidates(image_corners, image_scores, score_threshold=threshold).clipped(rows, columns)
            boxes = boxes.take(boxes.areas > 0)
            if settings.nms == "soft":
                found.append(soften(boxes, least=threshold, max_detections=settings.max_detections))
            else:
                found.append(suppress(boxes, iou=settings.nms_iou, max_detections=settings.max_detections))
        return found
