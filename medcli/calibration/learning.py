"""What follows from the validation part: which scaling, which thresholds, how large label sets."""

import math
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import TYPE_CHECKING

import numpy as np

from medcli.calibration.kept import METHODS, Asked, Calibration, Method, Operating, Quality, Scaling, sets_of
from medcli.calibration.table import Validation, truth_of
from medcli.config.schema import Config
from medcli.errors import ConfigError
from medcli.files import sha256
from medcli.group_thresholds import GroupThresholds, fit_group_thresholds
from medcli.metrics import calibration as metrics
from medcli.metrics.bootstrap import mean_of_known
from medcli.metrics.classification import decide, known_counts
from medcli.metrics.conformal import (
    covered,
    fit_quantiles,
    fit_quantiles_multi,
    label_scores,
    possible_labels,
)
from medcli.metrics.decision import choose_threshold
from medcli.metrics.known import is_known
from medcli.preprocessing.plan import Plan
from medcli.preprocessing.prepared import Prepared, Record, read_manifest

if TYPE_CHECKING:
    import keras

    from medcli.tasks.base import Task

FOLDS = 5
TOGETHER = 64
"""Images given to the network in one go."""
FEW_PATIENTS, FEW_CASES = 20, 5
"""Nothing is scaled with fewer patients in all, or with fewer cases with or without any of the classes."""


def learn(
    folder: Path, validation: Validation, config: Config, plan: Plan, *, model: str | None = None
) -> Calibration:
    """Write both files into the run folder.

    The fit is to the table as written, with its rounding, so that the same comes out of it later.

    Args:
        model: SHA-256 of the weights; None: of the folder's model.keras.
    """
    from medcli.run import MODEL

    validation.save(folder, plan.classes)
    kept = Validation.load(folder, plan.classes)
    fitted = fit(
        kept,
        config,
        plan,
        model=model or sha256(folder / MODEL),
        flips=config.predict.flips,
        views=config.predict.views,
        records=read_manifest(folder) if config.evaluate.group_thresholds.columns else (),
    )
    fitted.save(folder)
    return fitted


def learn_after_training(
    folder: Path, task: "Task", model: "keras.Model", prepared: Prepared, records: Sequence[Record]
) -> None:
    """Give the network the best weights and learn from the validation part; for classifiers only."""
    if task.plan.task != "classification":
        return
    if task.config.model.name == "autoencoder" and len({record.classes for record in records}) < 2:
        return  # normal cases alone do not tell which errors are abnormal
    from medcli.datasets.classification import class_targets
    from medcli.models.safety import load_weights_safely
    from medcli.run import MODEL

    load_weights_safely(model, folder / MODEL)
    chances: list[np.ndarray] = []
    for start in range(0, len(records), TOGETHER):
        chances += task.predict(model, [prepared.image(r) for r in records[start : start + TOGETHER]])
    validation = Validation(
        [record.case for record in records],
        [record.patient for record in records],
        truth_of(class_targets(records, task.plan).tolist()),
        np.stack(chances).astype(float),
    )
    learn(folder, validation, task.config, task.plan)


def fit(
    validation: Validation,
    config: Config,
    plan: Plan,
    *,
    model: str,
    flips: bool,
    views: int = 0,
    records: Sequence[Record] = (),
) -> Calibration:
    """Everything that follows from the validation part, for the settings of `config`.

    Thresholds and sets are made from probabilities that were scaled by a fit without the case's own fold,
    so that they are as good as those of new cases. The records of the run tell the groups of its cases.
    """
    asked, multi_label = Asked.of(config), plan.multi_label
    validation = validation.with_truth()
    truth, raw = validation.truth, validation.probabilities
    fold = folds(truth, validation.patients)
    enough = _enough(validation)
    wanted = asked.calibrate if enough else "none"
    unseen: dict[Method, np.ndarray] = {"none": raw}
    if wanted != "none":
        for name in METHODS[1:]:
            unseen[name] = cross_fitted(name, truth, raw, fold, multi_label=multi_label)
    method, why = _choose(wanted, unseen, validation, multi_label, enough=enough)
    scaled = unseen[method]
    operating = _operating(truth, scaled, plan, asked)
    quantiles = _quantiles(truth, scaled, asked, multi_label)
    coverage, size = _expected(truth, scaled, fold, asked, multi_label)
    return Calibration(
        model=model,
        flips=flips,
        views=views,
        asked=asked,
        classes=list(plan.classes),
        multi_label=multi_label,
        cases=len(truth),
        patients=len(set(validation.patients)),
        scaling=Scaling.fit(method, truth, raw, multi_label=multi_label),
        why=why,
        cross_validation={
            name: _quality(truth, values, positive_index(plan, asked.positive), multi_label)
            for name, values in unseen.items()
        }
        if len(truth)
        else {},
        operating=operating,
        quantiles=[[finite(value) for value in values] for values in quantiles],
        expected_coverage=coverage,
        expected_size=size,
        groups=_groups(validation, scaled, plan, asked, operating, records),
    )


def _groups(
    validation: Validation,
    scaled: np.ndarray,
    plan: Plan,
    asked: Asked,
    operating: Mapping[str, Operating],
    records: Sequence[Record],
) -> GroupThresholds | None:
    if asked.groups is None:
        return None
    check_group_thresholds(plan)
    values = {record.case: record.groups for record in records}
    return fit_group_thresholds(
        asked.groups,
        validation.truth,
        scaled,
        [values.get(case, {}) for case in validation.cases],
        validation.patients,
        training=[record for record in records if record.split == "train"] or records,  # folds: all train
        classes={name: plan.classes.index(name) for name in operating},
        common={name: found.threshold for name, found in operating.items()},
        aim=asked.threshold,
    )


def check_group_thresholds(plan: Plan) -> None:
    """Raises ConfigError when no threshold decides."""
    if plan.num_classes != 2 and not plan.multi_label:
        raise ConfigError(
            f"evaluate.group_thresholds.columns: expected none, since of the {plan.num_classes} exclusive classes "
            "the most probable one is the decision, whatever the thresholds; leave it out."
        )


def folds(truth: np.ndarray, patients: Sequence[str], seed: int = 0) -> np.ndarray:
    """(n,) number of each case's fold; whole patients, those of like classes spread over all folds."""
    _, first, index = np.unique(np.asarray(patients, str), return_index=True, return_inverse=True)
    truth = np.asarray(truth) == 1
    random = np.random.default_rng(seed).permutation(len(first))
    order = np.lexsort((random, *truth[first].T))
    fold = np.empty(len(first), int)
    fold[order] = np.arange(len(first)) % FOLDS
    return fold[index]


def cross_fitted(
    method: Method, truth: np.ndarray, raw: np.ndarray, fold: np.ndarray, *, multi_label: bool
) -> np.ndarray:
    """(n, k): every case scaled by a fit on the other folds."""
    scaled = np.empty_like(raw)
    for number in range(FOLDS):
        own = fold == number
        fitted = Scaling.fit(method, truth[~own], raw[~own], multi_label=multi_label)
        scaled[own] = fitted(raw[own], multi_label=multi_label)
    return scaled


def _enough(validation: Validation) -> bool:
    if len(set(validation.patients)) < FEW_PATIENTS:
        return False
    present, known = known_counts(validation.truth)
    return bool(min(present.min(), (known - present).min()) >= FEW_CASES)


def _choose(
    wanted: str,
    unseen: dict[Method, np.ndarray],
    validation: Validation,
    multi_label: bool,
    *,
    enough: bool,
) -> tuple[Method, str]:
    """auto: the least cross-validated log loss; isotonic, which has many parameters and ties cases, must gain
    more than the standard error of the gain."""
    if not enough:
        few = f"fewer than {FEW_PATIENTS} patients, or {FEW_CASES} cases with and without each class"
        return "none", f"too few validation cases to learn a scaling from ({few})"
    if wanted != "auto":
        return next(name for name in METHODS if name == wanted), "as asked for"
    losses = {
        name: metrics.log_loss(validation.truth, values, multi_label=multi_label)
        for name, values in unseen.items()
    }
    best: Method = "none"
    for name in METHODS[1:]:
        gain = losses[best] - losses[name]
        margin = _standard_error(gain, validation.patients) if name == "isotonic" else 0.0
        if gain.mean() > margin:
            best = name
    shown = ", ".join(f"{name} {values.mean():.4f}" for name, values in losses.items())
    return best, f"auto: cross-validated log loss {shown}; isotonic must gain a standard error"


def _standard_error(values: np.ndarray, patients: Sequence[str]) -> float:
    """Of the mean, cases clustered by patient."""
    code = np.unique(np.asarray(patients, str), return_inverse=True)[1]
    sums = np.bincount(code, values - values.mean())
    return float(np.sqrt((sums**2).sum() * len(sums) / max(len(sums) - 1, 1)) / len(values))


def _quality(truth: np.ndarray, values: np.ndarray, positive: int, multi_label: bool) -> Quality:
    right = (decide(values, multi_label=multi_label) == truth)[is_known(truth)].reshape(
        (-1,) if multi_label else truth.shape
    )
    return Quality(
        log_loss=float(metrics.log_loss(truth, values, multi_label=multi_label).mean()),
        brier=float(metrics.overall_brier(truth, values, multi_label=multi_label)),
        ece=float(metrics.overall_error(truth, values, multi_label=multi_label, positive=positive)),
        accuracy=float(right.mean() if multi_label else right.all(1).mean()),
    )


def _operating(truth: np.ndarray, scaled: np.ndarray, plan: Plan, asked: Asked) -> dict[str, Operating]:
    shown = range(plan.num_classes)
    if plan.num_classes == 2 and not plan.multi_label:
        index = positive_index(plan, asked.positive)
        shown = range(index, index + 1)
    chosen = {plan.classes[j]: choose_threshold(truth[:, j], scaled[:, j], asked.threshold) for j in shown}
    return {
        name: Operating(
            threshold=best.value,
            sensitivity=finite(best.sensitivity),
            specificity=finite(best.specificity),
        )
        for name, best in chosen.items()
    }


def _quantiles(truth: np.ndarray, values: np.ndarray, asked: Asked, multi_label: bool) -> np.ndarray:
    """(k, 1), multi-label (k, 2)."""
    if multi_label:
        return fit_quantiles_multi(truth, values, asked.coverage, per_class=asked.sets_per_class)
    scores = label_scores(values, asked.sets)
    return fit_quantiles(truth, scores, asked.coverage, per_class=asked.sets_per_class)[:, None]


def _expected(
    truth: np.ndarray, values: np.ndarray, fold: np.ndarray, asked: Asked, multi_label: bool
) -> tuple[float | None, float | None]:
    """Coverage and mean size of the sets of each fold by the quantiles of the others."""
    if len(truth) < FOLDS:
        return None, None
    hits, sizes = [], []
    for number in range(FOLDS):
        own = fold == number
        limits = _quantiles(truth[~own], values[~own], asked, multi_label)
        if multi_label:
            absent, present = possible_labels(values[own], limits)
            fits = np.where(truth[own] == 1, present, absent)
            hits.append(mean_of_known(np.where(is_known(truth[own]), fits, np.nan)))
            sizes.append(present.sum(1))
        else:
            inside = sets_of(values[own], limits[:, 0], asked)
            hits.append(covered(truth[own], inside).astype(float))
            sizes.append(inside.sum(1))
    return float(mean_of_known(np.concatenate(hits))), float(np.concatenate(sizes).mean())


def positive_index(plan: Plan, positive: str | None) -> int:
    """The positive of two classes: the one named, else the last. Raises ConfigError when it is unknown."""
    if positive is None:
        return plan.num_classes - 1
    if positive not in plan.classes:
        known = ", ".join(plan.classes)
        raise ConfigError(f"evaluate.positive: '{positive}' is no class of this run; use one of {known}.")
    return plan.classes.index(positive)


def finite(value: float) -> float | None:
    return float(value) if math.isfinite(value) else None
