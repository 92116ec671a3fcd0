"""Anomalies: an autoencoder learns usual images only; what it cannot draw again is unusual.

Of two classes the positive one (`evaluate.positive`) is the abnormal; it is not learned from. An image with little
detail is easy to draw whatever it shows, so its mean absolute error is divided by its detail (after Serra et al. 2020,
"Input complexity and out-of-distribution detection"). The probability is that quotient on a robust scale: its log,
minus the median of usual validation images, in their deviations (median absolute deviation times 1.4826), so that 3
deviations are one half.
"""

from collections.abc import Sequence
from typing import Any

import numpy as np
import tensorflow as tf
from scipy.ndimage import gaussian_filter

from medcli.config.schema import Config
from medcli.datasets.classification import class_targets
from medcli.datasets.reconstruction import ReconstructionSet
from medcli.errors import ConfigError, DataError
from medcli.models.autoencoder import SCALE
from medcli.preprocessing.plan import Plan
from medcli.preprocessing.prepared import Prepared, Record
from medcli.tasks.classification import Classification, mean_auroc

ONE_HALF = 3.0
"""Deviations from which on a case is rather abnormal."""
SMOOTH = 1.0
"""Deviation in pixels of the Gaussian that errors are smoothed with for the map, and beyond which detail is none."""
LEAST_DETAIL = 1e-3
"""A smoother image, such as a blank one, counts as if it had that much."""


def detail(images: np.ndarray) -> np.ndarray:
    """(n,) mean absolute difference of each of (n, ..., channel) images from itself smoothed."""
    spatial = images.ndim - 2
    smooth = gaussian_filter(np.asarray(images, np.float32), (0, *[SMOOTH] * spatial, 0))
    return np.maximum(np.abs(images - smooth).mean(axis=tuple(range(1, images.ndim))), LEAST_DETAIL)


class Anomaly(Classification):
    """See `medcli.tasks.base.Task`."""

    passes_at_end = 1

    def __init__(self, config: Config, plan: Plan):
        super().__init__(config, plan)
        if plan.num_classes != 2 or plan.multi_label:
            raise ConfigError(
                f"model.name: autoencoder tells normal from abnormal, two classes; the data have {plan.num_classes} "
                "(name two of them in data.classes, or give only normal images with data.format: images)."
            )
        positive = config.evaluate.positive
        self.monitor = "negative_error"
        self.abnormal = plan.classes.index(positive) if positive in plan.classes else 1

    def usual(self, records: Sequence[Record]) -> list[Record]:
        """Those that are not of the abnormal class."""
        return [record for record in records if record.classes != (self.plan.classes[self.abnormal],)]

    def training_set(self, prepared: Prepared, records: Sequence[Record]) -> ReconstructionSet:
        usual = self.usual(records)
        if not usual:
            raise DataError(
                f"{prepared.folder}: no training case of the class {self.plan.classes[1 - self.abnormal]}, which the "
                "autoencoder learns; is evaluate.positive the abnormal class?"
            )
        data = ReconstructionSet(self.config, self.plan, prepared, usual)
        return data.lightly() if self.config.train.augment == "auto" else data

    def loss(self, targets, outputs):
        return tf.reduce_mean(tf.abs(tf.cast(targets, tf.float32) - outputs))

    def validate(self, model, prepared: Prepared, records: Sequence[Record]) -> dict[str, float]:
        """Also learns the scale of the errors from the usual cases; AUROC where both kinds are there, else by the error
        of usual cases."""
        errors, oddness = self.errors(model, [prepared.image(record) for record in records])
        names = {record.case for record in self.usual(records)}
        usual = np.array([record.case in names for record in records])
        known = np.log(oddness[usual] if usual.any() else oddness)
        centre = float(np.median(known))
        deviation = max(1.4826 * float(np.median(np.abs(known - centre))), 1e-3)
        scale = model.get_layer(SCALE)
        scale.centre.assign(centre)
        scale.deviation.assign(deviation)
        error = float(errors[usual].mean() if usual.any() else errors.mean())
        measures = {"loss": error, "negative_error": -error}
        if 0 < usual.sum() < len(usual):
            targets = class_targets(records, self.plan)
            measures["auroc"] = mean_auroc(targets, self._chances(model, oddness))
        return measures

    def errors(self, model, images: Sequence[np.ndarray]) -> tuple[np.ndarray, np.ndarray]:
        """(n,) mean absolute error of every image, above 0; (n,) that over its detail, which is how odd it is."""
        found, details = [], []
        for batch, drawn in self._drawn(model, images):
            found.append(np.abs(drawn - batch[: len(drawn)]).mean(axis=tuple(range(1, batch.ndim))))
            details.append(detail(batch[: len(drawn)]))
        errors = np.maximum(np.concatenate(found), 1e-12)
        return errors, errors / np.concatenate(details)

    def _drawn(self, model, images: Sequence[np.ndarray]):
        for batch, size in self._batches(images):
            yield batch, self._runner(model, batch, size)

    def _chances(self, model, oddness: np.ndarray) -> np.ndarray:
        """(n, 2) float32."""
        scale = model.get_layer(SCALE)
        far = (np.log(oddness) - float(scale.centre.numpy())) / float(scale.deviation.numpy())
        chance = 1 / (1 + np.exp(np.clip(ONE_HALF - far, -30, 30)))
        both = np.stack([1 - chance, chance], axis=1)
        return (both if self.abnormal == 1 else both[:, ::-1]).astype(np.float32)

    def predict(self, model, images: Sequence[np.ndarray]) -> list[np.ndarray]:
        return list(self._chances(model, self.errors(model, images)[1]))

    def predict_with_features(self, model, images: Sequence[np.ndarray]):
        features: list[tuple[np.ndarray, ...]] = []
        for batch, size in self._batches(images):
            _, depths = self._runner.with_features(model, batch, size)
            features += list(zip(*depths, strict=True))
        return self.predict(model, images), features

    def anomaly_map(self, model, image: np.ndarray) -> np.ndarray:
        """float32, spatial shape: the absolute error, mean over channels, smoothed, in units of the usual error
        of an image with as much detail."""
        ((batch, drawn),) = self._drawn(model, [image])
        error = np.abs(drawn[0] - batch[0]).mean(axis=-1)
        usual = np.exp(float(model.get_layer(SCALE).centre.numpy())) * detail(image[None])[0]
        return (gaussian_filter(error, SMOOTH) / usual).astype(np.float32)

    def targets(self, model, image: np.ndarray, **wanted: Any):
        raise DataError(
            "An autoencoder has no answer to explain; its maps, which `medcli predict` writes, say where."
        )
