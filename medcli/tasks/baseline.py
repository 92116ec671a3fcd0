"""Classification from classic features: the baseline that every network can be compared with."""

from collections.abc import Callable, Sequence
from typing import Any

import numpy as np

from medcli.config.schema import Config
from medcli.datasets.classification import class_targets
from medcli.errors import DataError
from medcli.features.prepared import columns, matrix, row, whole_image
from medcli.parallel import default_workers
from medcli.preprocessing.plan import Plan
from medcli.preprocessing.prepared import Prepared, Record, image_path
from medcli.progress import Progress, ignore
from medcli.tasks.baseline_fit import Fitted, fit
from medcli.tasks.classification import Classification, class_weights

STRONGEST = 15
"""Features that the account of a logistic (or ridge) regression names, those with the largest weights."""


class Baseline(Classification):
    """See `medcli.tasks.base.FittedAtOnce`. Its network sees features, so every image is measured first."""

    passes_at_end = 1

    def __init__(self, config: Config, plan: Plan):
        super().__init__(config, plan)
        self.settings = whole_image(config.features)

    def fit(
        self, model, prepared: Prepared, records: Sequence[Record], *, progress: Progress = ignore
    ) -> dict[str, Any]:
        paths = [image_path(prepared.folder, record.key) for record in records]
        wanted = self.config.preprocess.workers
        x = matrix(
            paths,
            self.plan,
            self.settings,
            workers=wanted if isinstance(wanted, int) else default_workers(),
            progress=progress,
        )
        fitted = self._fitted(x, records, stage(progress, "fit"))
        for layer, values in fitted.weights.items():
            for variable in model.get_layer(layer).weights:
                variable.assign(values[variable.name])
        names = columns(self.plan, self.settings)
        return {
            "classifier": self.config.model.classifier,
            "features": len(names),
            "chosen": fitted.chosen,
            "cross_validation": fitted.scores,
            "strongest": _strongest(fitted.weights, names, self.plan.classes)
            if self.config.model.classifier == "logistic"
            else {},
            "columns": names,
        }

    def _fitted(
        self, x: np.ndarray, records: Sequence[Record], progress: Callable[[int, int], None]
    ) -> Fitted:
        return fitted_to_classes(self, self.config.model.classifier, x, records, progress)

    def targets(self, model, image, *, wanted, most, windows, calibrated):
        raise DataError(
            "A classifier of features has no map of the image; fit.json in the run folder names those that count."
        )

    def predict_with_features(self, model, images: Sequence[np.ndarray]):
        rows = self._rows(images)
        return list(self._answers(self._runner(model, rows))), [(row,) for row in np.nan_to_num(rows)]

    def _seen_otherwise(self, images):
        return ()  # features of a mirrored image say nothing new

    def _logits(self, model, images: Sequence[np.ndarray]):
        yield self._runner(model, self._rows(images))

    def _rows(self, images: Sequence[np.ndarray]) -> np.ndarray:
        return np.stack([row(image, self.plan, self.settings) for image in images])


def fitted_to_classes(
    task: Classification,
    classifier: str,
    x: np.ndarray,
    records: Sequence[Record],
    progress: Callable[[int, int], None],
) -> Fitted:
    """A classifier of features (n, d) of the records, weighted as the config says."""
    targets = class_targets(records, task.plan)
    return fit(
        classifier,
        x,
        targets,
        [record.patient for record in records],
        multi_label=task.plan.multi_label,
        class_weights=class_weights(targets, task.config.train.class_weights),
        seed=task.config.seed,
        progress=progress,
    )


def stage(progress: Progress, name: str) -> Callable[[int, int], None]:
    return lambda done, total: progress(name, done, total)


def _strongest(
    weights: dict[str, dict[str, np.ndarray]], names: Sequence[str], classes: Sequence[str]
) -> dict[str, dict[str, float]]:
    """For every class the features with the largest weights, per standard deviation of the feature."""
    kernel = weights["logits"]["kernel"]
    return {
        name: {names[index]: float(column[index]) for index in np.argsort(-np.abs(column))[:STRONGEST]}
        for name, column in zip(classes, kernel.T, strict=True)
        if column.any()
    }
