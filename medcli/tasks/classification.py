"""Classification: one class per case, or several when `plan.multi_label`."""

from collections.abc import Iterator, Sequence

import numpy as np
import tensorflow as tf

from medcli.config.schema import Config
from medcli.datasets.classification import ClassificationSet, class_targets, flip_axes, view
from medcli.errors import ConfigError
from medcli.losses.classification import LOSSES
from medcli.metrics.bootstrap import mean_of_known
from medcli.metrics.classification import auroc
from medcli.metrics.known import is_known
from medcli.models.choose import build_model
from medcli.preprocessing.plan import Plan
from medcli.preprocessing.prepared import Prepared, Record
from medcli.tasks.fair_loss import FairLoss, fair_loss
from medcli.tasks.fairness import balanced_draw, by_group, chosen_by, shown_classes
from medcli.tasks.running import Runner, first
from medcli.tasks.target import Target, one_hot


class Classification:
    """See `medcli.tasks.base.Task`."""

    def __init__(self, config: Config, plan: Plan):
        self.config = config
        self.plan = plan
        if config.train.loss == "ordinal" and plan.multi_label:
            raise ConfigError("train.loss: ordinal is for one grade per case, these have several labels.")
        self.monitor = chosen_by("auroc", config)
        self._runner = Runner()
        self._weights: tf.Tensor | None = None
        self._fair: FairLoss | None = None

    @property
    def passes_at_end(self) -> int:
        return 2 + self.config.predict.views  # calibration; averaged over mirrored images and views

    def build_model(self):
        return build_model(self.config, self.plan)

    def training_set(self, prepared: Prepared, records: Sequence[Record]) -> ClassificationSet:
        draw = balanced_draw(self.config, self.plan, prepared, records)
        targets = class_targets(records, self.plan)
        shares = np.ones(len(records)) if draw is None else draw.shares
        weights = class_weights(targets * shares[:, None], self.config.train.class_weights)
        self._weights = None if weights is None else tf.constant(weights)
        self._fair = fair_loss(self.config, self.plan, prepared, records)
        members = None if self._fair is None else self._fair.members(records)
        return ClassificationSet(self.config, self.plan, prepared, records, draw=draw, members=members)

    def loss(self, targets, outputs):
        if len(outputs.shape) == 3:  # a panel: its members are judged one by one
            targets, outputs = one_by_one(targets, outputs)
        name = self.config.train.loss
        loss = LOSSES["cross_entropy" if name == "auto" else name]
        classes, members = targets[:, : self.plan.num_classes], targets[:, self.plan.num_classes :]
        return loss(
            classes,
            outputs,
            weights=self._weights,
            multi_label=self.plan.multi_label,
            smoothing=self.config.train.label_smoothing,
            **({} if self._fair is None else self._fair.counting(classes, members)),
        )

    @property
    def state(self) -> list[tf.Variable]:
        return [] if self._fair is None else self._fair.state

    def followed(self) -> dict[str, float]:
        return {} if self._fair is None else self._fair.followed()

    def validate(self, model, prepared: Prepared, records: Sequence[Record]) -> dict[str, float]:
        logits = np.concatenate(list(self._logits(model, [prepared.image(record) for record in records])))
        targets = class_targets(records, self.plan)
        loss = LOSSES["cross_entropy"](targets, tf.constant(logits), multi_label=self.plan.multi_label)
        probabilities = self._answers(logits)
        if self.plan.multi_label:
            right = (probabilities > 0.5) == (targets > 0.5)
            accuracy = right[is_known(targets)].mean()
        else:
            accuracy = np.mean(probabilities.argmax(axis=1) == targets.argmax(axis=1))
        measures = {
            "loss": float(loss),
            "auroc": mean_auroc(targets, probabilities),
            "accuracy": float(accuracy),
        }
        return measures | by_group(
            "auroc",
            self.config,
            prepared,
            records,
            lambda cases: mean_auroc(targets[cases], probabilities[cases]),
            shown=shown_classes(targets),
        )

    def predict(self, model, images: Sequence[np.ndarray]) -> list[np.ndarray]:
        return self._averaged(model, images, np.concatenate(list(self._logits(model, images))))

    def predict_with_features(self, model, images: Sequence[np.ndarray]):
        logits, features = [], []
        for batch, size in self._batches(images):
            output, depths = self._runner.with_features(model, batch, size)
            logits.append(output)
            features += list(zip(*depths, strict=True))
        return self._averaged(model, images, np.concatenate(logits)), features

    def _averaged(self, model, images: Sequence[np.ndarray], logits: np.ndarray) -> list[np.ndarray]:
        """Answers; averaged over mirrored images and over views where that is asked for."""
        total, count = self._answers(logits), 1
        for seen in self._seen_otherwise(images):
            total = total + self._answers(np.concatenate(list(self._logits(model, seen))))
            count += 1
        return list(total / count)

    def _seen_otherwise(self, images: Sequence[np.ndarray]) -> Iterator[list[np.ndarray]]:
        """The images, mirrored and then slightly turned, zoomed and shifted, as `predict.flips` and `views` say."""
        for axes in self._variants()[1:] if self.config.predict.flips else ():
            yield [np.flip(image, axes) for image in images]
        for number in range(self.config.predict.views):
            yield list(view(np.stack(images), number, flip_axes(self.config, self.plan)))

    def targets(self, model, image: np.ndarray, *, wanted, most, windows, calibrated) -> list[Target]:
        """The most probable classes."""
        probabilities = calibrated(self.predict(model, [image])[0])
        order = np.argsort(-probabilities, kind="stable")[:most] if wanted is None else [wanted]
        return [
            Target(
                class_index=int(index),
                probability=float(probabilities[index]),
                image=image,
                start=(0,) * self.plan.dimensions,
                spec=(one_hot(int(index), self.plan.num_classes),),
                cam="gradcam",
            )
            for index in order
        ]

    def score(self, outputs, chosen):
        """Of exclusive classes the log odds of the one against all others: with two softmax outputs a logit alone
        says little, as the evidence may sit in the other."""
        logits = first(outputs)
        score = tf.reduce_sum(logits * chosen, axis=-1)
        if not self.plan.multi_label:
            score -= tf.reduce_logsumexp(logits - 1e9 * chosen, axis=-1)
        return score, tf.sigmoid(score)

    def _variants(self) -> list[tuple[int, ...]]:
        """Mirrorings that training allowed, each alone, and none."""
        names = ("plane", "row", "column")[-self.plan.dimensions :]
        return [
            (),
            *((axis,) for axis, name in enumerate(names) if name in flip_axes(self.config, self.plan)),
        ]

    def _logits(self, model, images: Sequence[np.ndarray]):
        for batch, size in self._batches(images):
            yield self._runner(model, batch, size)

    def _batches(self, images: Sequence[np.ndarray]) -> Iterator[tuple[np.ndarray, int]]:
        """Batches and the size to pad them to."""
        size = max(self.config.predict.batch_size, 32 if self.plan.dimensions == 2 else 1)
        for start in range(0, len(images), size):
            yield np.stack(images[start : start + size]), size

    def _answers(self, logits: np.ndarray) -> np.ndarray:
        """(n, outputs) what people are told, from what the network gives: here probabilities."""
        return (tf.sigmoid(logits) if self.plan.multi_label else tf.nn.softmax(logits)).numpy()


def one_by_one(targets, outputs):
    """(batch, classes) targets and (batch, members, classes) logits with a row for each case and member."""
    members, classes = outputs.shape[1:]
    return tf.repeat(targets, members, axis=0), tf.reshape(outputs, (-1, classes))


def class_weights(targets: np.ndarray, setting) -> np.ndarray | None:
    """(classes,) weights or None.

    balanced: inverse frequency, scaled so that the mean weight over the cases is one. auto: balanced when the rarest
    class has less than a third of its even share, else none.
    """
    known = is_known(targets)
    counts = np.nansum(targets, axis=0) / np.maximum(known.mean(axis=0), 1e-9)  # as if all were known
    if not isinstance(setting, str):
        return np.asarray(setting, np.float32)
    if setting == "none" or (setting == "auto" and counts.min() >= counts.sum() / len(counts) / 3):
        return None
    weights = 1 / np.maximum(counts, 1)
    return (weights * counts.sum() / (weights * counts).sum()).astype(np.float32)


def mean_auroc(targets: np.ndarray, probabilities: np.ndarray) -> float:
    """Area under the ROC curve, one class against the rest, mean over those with both kinds of cases; else 0.5."""
    areas = [auroc(truth, scores) for truth, scores in zip(targets.T, probabilities.T, strict=True)]
    return float(np.nan_to_num(mean_of_known(np.array(areas)), nan=0.5))
