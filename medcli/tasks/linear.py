"""Linear members alone (`model.members: 0`): their features do not change, so they are fitted at once, not in steps."""

from collections.abc import Callable, Iterator, Sequence
from typing import Any

import keras
import numpy as np
import tensorflow as tf

from medcli.errors import ConfigError
from medcli.models.descriptors import PictureFeatures
from medcli.models.joined import Columns
from medcli.models.panel import LOGITS
from medcli.preprocessing.prepared import Prepared, Record
from medcli.progress import Progress, ignore
from medcli.tasks.baseline import fitted_to_classes, stage
from medcli.tasks.baseline_fit import Fitted
from medcli.tasks.baseline_numbers import fitted_to_numbers
from medcli.tasks.classification import Classification
from medcli.tasks.regression import Regression
from medcli.tasks.words import learn_words

TOGETHER = 16
"""Images measured in one call."""


class LinearMembers(Classification):
    """See `medcli.tasks.base.FittedAtOnce`: logistic regressions, each held back as cross-validation chooses.

    Images are measured as they are: neither features of a turned picture nor of its mirror image say anything new.
    """

    passes_at_end = 1

    def build_model(self):
        if self.config.model.weights != "none":
            raise ConfigError(
                f"model.weights: members that are linear are fitted from nothing, expected none, got "
                f"{self.config.model.weights}."
            )
        return super().build_model()

    def fit(
        self, model, prepared: Prepared, records: Sequence[Record], *, progress: Progress = ignore
    ) -> dict[str, Any]:
        learn_words(model, prepared, records, self.config.seed)
        members = [layer for layer in model.layers if isinstance(layer, PictureFeatures)]
        measured = _measured(model, members, prepared, records, stage(progress, "measure"))
        account = {}
        for layer, features in zip(members, measured[:-1], strict=True):
            layer.moving_mean.assign(features.mean(axis=0))
            layer.moving_variance.assign(features.var(axis=0))
            seen = np.concatenate([np.asarray(layer.standardised(features)), measured[-1]], axis=1)
            fitted = self._fitted(seen, records, stage(progress, f"fit {layer.name}"))
            _write(model.get_layer(layer.name + LOGITS), fitted)
            account[layer.name] = {
                "features": seen.shape[1],
                "chosen": fitted.chosen,
                "cross_validation": fitted.scores,
            }
        return account

    def _fitted(
        self, x: np.ndarray, records: Sequence[Record], progress: Callable[[int, int], None]
    ) -> Fitted:
        return fitted_to_classes(self, "logistic", x, records, progress)

    def _seen_otherwise(self, images) -> Iterator[list[np.ndarray]]:
        return iter(())


class LinearNumbers(LinearMembers, Regression):
    """The same for a number: ridge regressions."""

    passes_at_end = 0

    def _fitted(
        self, x: np.ndarray, records: Sequence[Record], progress: Callable[[int, int], None]
    ) -> Fitted:
        return fitted_to_numbers(self, "logistic", x, records, progress)


def _measured(
    model: keras.Model,
    members: Sequence[PictureFeatures],
    prepared: Prepared,
    records: Sequence[Record],
    progress: Callable[[int, int], None],
) -> list[np.ndarray]:
    """For every member (cases, features), not standardised; last the clinical columns (cases, columns), maybe none."""
    columns = next((layer for layer in model.layers if isinstance(layer, Columns)), None)
    channels = model.input_shape[-1] if columns is None else columns.channels

    @tf.function(reduce_retracing=True)
    def measure(images):
        return [layer.features(images[..., :channels]) for layer in members]

    parts: list[list[np.ndarray]] = [[] for _ in range(len(members) + 1)]
    for start in range(0, len(records), TOGETHER):
        images = np.stack([prepared.image(record) for record in records[start : start + TOGETHER]])
        none = np.zeros((len(images), 0), np.float32)
        given = none if columns is None else np.asarray(columns(images))
        for part, features in zip(parts, [*measure(tf.constant(images)), given], strict=True):
            part.append(np.asarray(features))
        progress(min(start + TOGETHER, len(records)), len(records))
    return [np.concatenate(part) for part in parts]


def _write(logits: keras.layers.Dense, fitted: Fitted) -> None:
    """The fit's own standardisation goes into the weights."""
    scaling, weights = fitted.weights["standardize"], fitted.weights["logits"]
    kernel = weights["kernel"] / scaling["scale"][:, None]
    logits.kernel.assign(kernel)
    logits.bias.assign(weights["bias"] - scaling["mean"] @ kernel)
