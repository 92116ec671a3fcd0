"""Learning from images alone: two views of an image are to look alike to the network, different images not.

The network is that of the classifier, which later starts from its weights.
"""

from collections.abc import Mapping, Sequence
from typing import Any

import numpy as np
import tensorflow as tf

from medcli.config.schema import Config
from medcli.datasets.views import ViewSet
from medcli.errors import UsageError
from medcli.losses.views import vicreg
from medcli.metrics.neighbours import (
    VOTERS,
    askable,
    directions,
    effective_rank,
    nearest,
    spread,
    vote_auroc,
    votes,
)
from medcli.models.choose import build_network
from medcli.models.projection import representation, with_projector
from medcli.preprocessing.plan import Plan
from medcli.preprocessing.prepared import Prepared, Record
from medcli.tasks.running import Runner

BATCH = 64
LEAST_SPREAD, LEAST_RANK = 0.02, 1.5
MOST_COMPARED = 256
"""Images of the validation part whose views are compared in one batch."""


def collapsed(measures: Mapping[str, float], prefix: str = "val_") -> bool:
    """All images have come to look alike to the network, or to differ in one way only."""
    return (
        measures.get(f"{prefix}spread", 1.0) < LEAST_SPREAD
        or measures.get(f"{prefix}effective_rank", np.inf) < LEAST_RANK
    )


class Views:
    """See `medcli.tasks.base.Task`; it has no answers, only features."""

    monitor = "negative_loss"
    passes_at_end = 0
    state: tuple[tf.Variable, ...] = ()

    def __init__(self, config: Config, plan: Plan):
        self.config = config
        self.plan = plan
        self._model: Any = None
        self._features, self._projections = Runner(), Runner()

    def build_model(self):
        return with_projector(build_network(self.config, self.plan))

    def training_set(self, prepared: Prepared, records: Sequence[Record]) -> ViewSet:
        return ViewSet(self.config, self.plan, prepared, records)

    def loss(self, targets, outputs):
        return vicreg(outputs[0::2], outputs[1::2])

    def followed(self) -> dict[str, float]:
        return {}

    def validate(self, model, prepared: Prepared, records: Sequence[Record]) -> dict[str, float]:
        """Loss of two views; spread and effective rank of the features (collapse); where labels are known how well
        the nearest cases of other patients tell them (they are not learned from)."""
        images = [prepared.image(record) for record in records]
        loss = self._loss_of(model, ViewSet(self.config, self.plan, prepared, records), images)
        vectors = self.represented(model, images)
        measures = {
            "loss": loss,
            "negative_loss": -loss,
            "spread": spread(vectors),
            "effective_rank": effective_rank(vectors),
        }
        known = askable(["|".join(record.classes) for record in records])
        if known is not None and all(len(record.classes) == 1 for record in records):
            found, _ = nearest(directions(vectors), [record.patient for record in records], VOTERS)
            measures["neighbours_auroc"] = vote_auroc(known[1], votes(known[1], found))
        return measures

    def _loss_of(self, model, views: ViewSet, images: Sequence[np.ndarray]) -> float:
        parts = max(1, round(len(images) / MOST_COMPARED))
        losses, sizes = [], []
        for number, part in enumerate(np.array_split(np.arange(len(images)), parts)):
            if len(part) < 2:
                continue
            changed = views.views(np.stack([images[index] for index in part]), number).numpy()
            outputs = [
                self._projections(model, changed[at : at + BATCH]) for at in range(0, len(changed), BATCH)
            ]
            losses.append(float(self.loss(None, np.concatenate(outputs))))
            sizes.append(len(part))
        return float(np.average(losses, weights=sizes)) if losses else 0.0

    def represented(self, model, images: Sequence[np.ndarray]) -> np.ndarray:
        """(n, features) float32."""
        if self._model is None or self._model[0] is not model:
            self._model = (model, representation(model))
        batches = (np.stack(images[at : at + BATCH]) for at in range(0, len(images), BATCH))
        return np.concatenate([self._features(self._model[1], batch) for batch in batches])

    def predict_with_features(self, model, images: Sequence[np.ndarray]):
        vectors = self.represented(model, images)
        return [np.zeros(self.plan.num_classes, np.float32)] * len(images), [(vector,) for vector in vectors]

    def predict(self, model, images: Sequence[np.ndarray]) -> list[Any]:
        raise UsageError("A run of `medcli pretrain` has no answers.")

    def targets(self, model, image, **wanted: Any) -> list[Any]:
        raise UsageError("A run of `medcli pretrain` has no answers to explain.")

    def score(self, outputs: Any, *spec: Any) -> tuple[Any, Any]:
        raise UsageError("A run of `medcli pretrain` has no answers to explain.")
