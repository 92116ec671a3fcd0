"""Regression from classic features: ridge regression or boosted trees, the baseline that networks are compared with."""

from collections.abc import Callable, Sequence
from typing import Any

import numpy as np
from threadpoolctl import threadpool_limits

from medcli.datasets.classification import number_targets
from medcli.models.baseline import DEPTH, LIMIT
from medcli.preprocessing.prepared import Record
from medcli.tasks.baseline import Baseline
from medcli.tasks.baseline_fit import BOOSTING, FOLDS, MANY, Fitted, tree_weights
from medcli.tasks.regression import Regression

RIDGE: tuple[dict[str, Any], ...] = tuple({"alpha": alpha} for alpha in (1.0, 1e1, 1e2, 1e3, 1e4, 1e5))
GRIDS = {"logistic": RIDGE, "boosting": BOOSTING}


class NumberBaseline(Baseline, Regression):
    """See `medcli.tasks.base.FittedAtOnce`; the features are as for classes, the answer is a number."""

    passes_at_end = 0

    def _fitted(
        self, x: np.ndarray, records: Sequence[Record], progress: Callable[[int, int], None]
    ) -> Fitted:
        return fitted_to_numbers(self, self.config.model.classifier, x, records, progress)


def fitted_to_numbers(
    task: Regression,
    regressor: str,
    x: np.ndarray,
    records: Sequence[Record],
    progress: Callable[[int, int], None],
) -> Fitted:
    """A regression on features (n, d) of the records."""
    return fit_numbers(
        regressor,
        x,
        number_targets(records, task.target)[:, 0],
        [record.patient for record in records],
        unit=task.target.sd,
        seed=task.config.seed,
        progress=progress,
    )


def fit_numbers(
    regressor: str,
    features: np.ndarray,
    targets: np.ndarray,
    patients: Sequence[str],
    *,
    unit: float = 1.0,
    seed: int = 0,
    progress: Callable[[int, int], None] = lambda done, total: None,
) -> Fitted:
    """Choose by the mean absolute error of a cross-validation that tears no patient, then fit on everything.

    Args:
        regressor: "logistic" (that is linear: ridge regression) or "boosting".
        features: (n, d) float32, NaN where missing.
        targets: (n,) standardised.
        unit: What 1 of them is, for the errors that are told.
    """
    from sklearn.model_selection import GroupKFold

    grid, number = GRIDS[regressor], min(FOLDS, len(set(patients)))
    folds = list(GroupKFold(number).split(features, groups=patients)) if number > 1 else []
    total, done = len(grid) * len(folds) + 1, 0
    scores: list[dict[str, Any]] = []
    for settings in grid if folds else ():
        said = np.full(len(targets), np.nan)
        for train, held_out in folds:
            model = _trained(regressor, settings, features[train], targets[train], seed)
            said[held_out] = model.predict(features[held_out].astype(np.float64))
            done += 1
            progress(done, total)
        scores.append({**settings, "mae": float(np.abs(said - targets).mean()) * unit})
    best = min(range(len(scores)), key=lambda place: scores[place]["mae"]) if scores else len(grid) // 2
    model = _trained(regressor, grid[best], features, targets, seed)
    progress(total, total)
    weights = tree_weights([model], 1) if regressor == "boosting" else _ridge_weights(model)
    return Fitted(weights, dict(grid[best]), scores)


def _trained(regressor: str, settings: dict[str, Any], x: np.ndarray, y: np.ndarray, seed: int) -> Any:
    from sklearn.ensemble import HistGradientBoostingRegressor
    from sklearn.impute import SimpleImputer
    from sklearn.linear_model import Ridge
    from sklearn.pipeline import make_pipeline
    from sklearn.preprocessing import FunctionTransformer, StandardScaler

    if regressor == "boosting":
        model = HistGradientBoostingRegressor(
            max_depth=DEPTH,
            min_samples_leaf=10,
            l2_regularization=1.0,
            early_stopping=False,
            random_state=seed,
            **settings,
        )
    else:
        model = make_pipeline(
            SimpleImputer(strategy="median", keep_empty_features=True),
            StandardScaler(),
            FunctionTransformer(np.clip, kw_args={"a_min": -LIMIT, "a_max": LIMIT}),
            Ridge(**settings),
        )
    with threadpool_limits(1 if x.size < MANY else None):
        return model.fit(x.astype(np.float64), y)


def _ridge_weights(model: Any) -> dict[str, dict[str, np.ndarray]]:
    imputer, scaler, regression = model[0], model[1], model[-1]
    return {
        "standardize": {"median": imputer.statistics_, "mean": scaler.mean_, "scale": scaler.scale_},
        "logits": {"kernel": regression.coef_[:, None], "bias": np.atleast_1d(regression.intercept_)},
    }
