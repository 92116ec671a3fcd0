"""Fitting the baseline with scikit-learn: how strongly it is held back by cross-validation that tears no patient."""

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
from threadpoolctl import threadpool_limits

from medcli.metrics.bootstrap import mean_of_known
from medcli.metrics.classification import auroc
from medcli.models.baseline import DEPTH, LEAVES, LIMIT, NODES, PARTS, TREES

FOLDS = 5
MANY = 5_000_000
"""Below so many numbers several threads wait for one another longer than they work."""
NEVER = -20.0
"""Logit of a label that no training case has."""
LOGISTIC: tuple[dict[str, Any], ...] = tuple({"C": C} for C in (1e-5, 1e-4, 1e-3, 1e-2, 1e-1, 1.0))
BOOSTING: tuple[dict[str, Any], ...] = (
    {"max_iter": 50, "max_leaf_nodes": 4, "learning_rate": 0.1},
    {"max_iter": 200, "max_leaf_nodes": 4, "learning_rate": 0.05},
    {"max_iter": 100, "max_leaf_nodes": LEAVES, "learning_rate": 0.05},
    {"max_iter": TREES, "max_leaf_nodes": LEAVES, "learning_rate": 0.1},
)
GRIDS = {"logistic": LOGISTIC, "boosting": BOOSTING}


@dataclass(frozen=True, eq=False)
class Fitted:
    """Attributes:
    weights: By layer and variable of `medcli.models.baseline`.
    chosen: Settings of the classifier.
    scores: Settings and AUROC (of numbers: mean absolute error) out of fold of everything that was tried; empty when
        folds were impossible.
    """

    weights: dict[str, dict[str, np.ndarray]]
    chosen: dict[str, Any]
    scores: list[dict[str, Any]]


def fit(
    classifier: str,
    features: np.ndarray,
    targets: np.ndarray,
    patients: Sequence[str],
    *,
    multi_label: bool,
    class_weights: np.ndarray | None,
    seed: int,
    progress: Callable[[int, int], None] = lambda done, total: None,
) -> Fitted:
    """Choose by cross-validated AUROC (mean over the classes), then fit on everything.

    Args:
        features: (n, d) float32, NaN where missing.
        targets: (n, k) of 0 and 1; with several labels NaN where a label is unknown.
        class_weights: (k,) or None.
    """
    problems = _problems(targets, class_weights, multi_label)
    grid = GRIDS[classifier]
    folds = divided(targets, patients, multi_label=multi_label, seed=seed)
    scores: list[dict[str, Any]] = []
    total = len(grid) * len(folds) * len(problems) + len(problems)
    done = 0

    def tick() -> None:
        nonlocal done
        done += 1
        progress(done, total)

    for settings in grid if folds else ():
        chances = np.full(targets.shape, np.nan)
        for train, held_out in folds:
            chances[held_out] = _predicted(
                classifier, settings, features, problems, train, held_out, seed, tick
            )
        area = [auroc(targets[:, index], chances[:, index]) for index in range(targets.shape[1])]
        scores.append({**settings, "auroc": float(mean_of_known(np.array(area)))})
    best = max(range(len(scores)), key=lambda number: scores[number]["auroc"]) if scores else len(grid) // 2
    everything = np.arange(len(features))
    models = []
    for problem in problems:
        models.append(_trained(classifier, grid[best], features, problem, everything, seed))
        tick()
    export = _logistic_weights if classifier == "logistic" else tree_weights
    return Fitted(export(models, targets.shape[1]), dict(grid[best]), scores)


def divided(
    targets: np.ndarray, patients: Sequence[str], *, multi_label: bool, seed: int
) -> list[tuple[np.ndarray, np.ndarray]]:
    """(train, held out) of up to five folds by patient; fewer where a class has fewer patients, none below two."""
    from sklearn.model_selection import GroupKFold, StratifiedGroupKFold

    groups = np.asarray(patients)
    fewest = min(len(set(groups[targets[:, index] > 0.5])) for index in range(targets.shape[1]))
    number = min(FOLDS, fewest, len(set(patients)))
    if number < 2:
        return []
    if multi_label:
        return list(GroupKFold(number).split(targets, groups=groups))
    splitter = StratifiedGroupKFold(number, shuffle=True, random_state=seed)
    return list(splitter.split(targets, targets.argmax(1), groups))


@dataclass(frozen=True, eq=False)
class _Problem:
    """One classifier to fit: codes (n,), -1 where unknown, their weights (n,), and which outputs its classes are."""

    codes: np.ndarray
    weights: np.ndarray
    outputs: tuple[int, ...]


def _problems(targets: np.ndarray, class_weights: np.ndarray | None, multi_label: bool) -> list[_Problem]:
    """One for all classes, or with several labels one of yes and no for each."""
    weights = np.ones(targets.shape[1]) if class_weights is None else np.asarray(class_weights, float)
    if not multi_label:
        codes = targets.argmax(1)
        return [_Problem(codes, weights[codes], tuple(range(targets.shape[1])))]
    columns = np.where(np.isnan(targets), -1, targets > 0.5).astype(int)
    return [
        _Problem(codes, np.where(codes == 1, weights[index], 1.0), (index,))
        for index, codes in enumerate(columns.T)
    ]


def _estimator(classifier: str, settings: dict[str, Any], seed: int) -> Any:
    from sklearn.ensemble import HistGradientBoostingClassifier
    from sklearn.impute import SimpleImputer
    from sklearn.linear_model import LogisticRegression
    from sklearn.pipeline import make_pipeline
    from sklearn.preprocessing import FunctionTransformer, StandardScaler

    if classifier == "boosting":
        return HistGradientBoostingClassifier(
            max_depth=DEPTH,
            min_samples_leaf=10,
            l2_regularization=1.0,
            early_stopping=False,
            random_state=seed,
            **settings,
        )
    return make_pipeline(
        SimpleImputer(strategy="median", keep_empty_features=True),
        StandardScaler(),
        FunctionTransformer(np.clip, kw_args={"a_min": -LIMIT, "a_max": LIMIT}),
        LogisticRegression(max_iter=2000, **settings),
    )


def _trained(
    classifier: str, settings: dict[str, Any], x: np.ndarray, problem: _Problem, rows: np.ndarray, seed: int
) -> Any:
    """The fitted estimator; None where the rows hold one class only."""
    codes, weights = problem.codes[rows], problem.weights[rows]
    known = (
        codes >= 0
    )  # the others stay, with no weight, so that imputing and scaling are the same for all labels
    if len(set(codes[known])) < 2:
        return None
    model = _estimator(classifier, settings, seed)
    name = "sample_weight" if classifier == "boosting" else "logisticregression__sample_weight"
    with threadpool_limits(1 if x.size < MANY else None):
        return model.fit(x[rows].astype(np.float64), np.maximum(codes, 0), **{name: weights * known})


def _predicted(classifier, settings, x, problems, train, held_out, seed, tick) -> np.ndarray:
    """(held out, outputs) probabilities; a class that was not seen in training has 0."""
    count = sum(len(problem.outputs) for problem in problems)
    out = np.zeros((len(held_out), count))
    for problem in problems:
        model = _trained(classifier, settings, x, problem, train, seed)
        tick()
        if model is None:
            continue
        with threadpool_limits(1 if x.size < MANY else None):
            chances = model.predict_proba(x[held_out].astype(np.float64))
        if len(problem.outputs) == 1:
            out[:, problem.outputs[0]] = chances[:, 1]
        else:
            out[:, [problem.outputs[code] for code in model.classes_]] = chances
    return out


# ---- as arrays


def _logistic_weights(models: list[Any], outputs: int) -> dict[str, dict[str, np.ndarray]]:
    """Imputation and scaling are the same for all, since they do not look at the labels."""
    model = next(model for model in models if model is not None)
    imputer, scaler = model[0], model[1]
    kernel = np.zeros((len(scaler.mean_), outputs))
    bias = np.zeros(outputs)
    for number, fitted in enumerate(models):
        if fitted is None:
            bias[number] = NEVER
            continue
        regression = fitted[-1]
        if len(regression.coef_) > 1:
            kernel[:, regression.classes_], bias[regression.classes_] = (
                regression.coef_.T,
                regression.intercept_,
            )
        else:  # yes or no: the logit of yes; the logit of no is 0
            column = number if len(models) > 1 or outputs == 1 else outputs - 1
            kernel[:, column], bias[column] = regression.coef_[0], regression.intercept_[0]
    return {
        "standardize": {"median": imputer.statistics_, "mean": scaler.mean_, "scale": scaler.scale_},
        "logits": {"kernel": kernel, "bias": bias},
    }


def tree_weights(models: list[Any], outputs: int) -> dict[str, dict[str, np.ndarray]]:
    """From scikit-learn's predictors, which it keeps to itself; a test compares the result with `decision_function`."""
    parts = {name: np.zeros((outputs, TREES, NODES), dtype) for name, dtype in PARTS.items()}
    base = np.zeros(outputs)
    for number, model in enumerate(models):
        if model is None:
            base[number] = NEVER
            continue
        constant = np.ravel(model._baseline_prediction)
        several = len(constant) > 1
        for place in range(len(constant)):
            output = model.classes_[place] if several else (number if len(models) > 1 else outputs - 1)
            base[output] = constant[place]
            for tree, predictors in enumerate(model._predictors):
                _write_tree(parts, output, tree, predictors[place].nodes)
    return {"logits": {**parts, "base": base}}


def _write_tree(parts: dict[str, np.ndarray], output: int, tree: int, nodes: np.ndarray) -> None:
    count, leaf, own = len(nodes), nodes["is_leaf"].astype(bool), np.arange(len(nodes))
    place = (output, tree, slice(count))
    parts["feature"][place] = np.where(leaf, 0, nodes["feature_idx"])
    parts["threshold"][place] = np.where(leaf, 0, rounded_down(nodes["num_threshold"]))
    parts["left"][place] = np.where(leaf, own, nodes["left"])
    parts["right"][place] = np.where(leaf, own, nodes["right"])
    parts["missing_left"][place] = nodes["missing_go_to_left"]
    parts["value"][place] = np.where(leaf, nodes["value"], 0)


def rounded_down(thresholds: np.ndarray) -> np.ndarray:
    """The largest float32 that is not above: x <= threshold then means the same for every float32 x."""
    with np.errstate(over="ignore"):
        near = thresholds.astype(np.float32)
    return np.where(near > thresholds, np.nextafter(near, np.float32(-np.inf)), near)
