"""What a classifier's run learned from its validation part for use: scaling, thresholds, sizes of label sets.

RUN/validation.csv     case, patient, the truth and the network's own probability of every class
RUN/calibration.json   what follows from it; see `Calibration`

`train` writes both at its end, and the first `evaluate` of a run that has none. The table is kept so that
another aim (`evaluate.threshold`, `evaluate.coverage`, ...) needs no new prediction.
"""

import math
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace
from pathlib import Path
from typing import TYPE_CHECKING, Any, Literal

import numpy as np
from pydantic import BaseModel, ConfigDict, ValidationError

from medcli.config.schema import Config, Evaluate
from medcli.errors import ConfigError, RunError
from medcli.files import read_csv, sha256, write_csv, write_text
from medcli.group_thresholds import AskedGroups, GroupThresholds, fit_group_thresholds
from medcli.metrics import calibration as metrics
from medcli.metrics.bootstrap import mean_of_known
from medcli.metrics.classification import decide, known_counts
from medcli.metrics.conformal import (
    covered,
    fit_quantiles,
    fit_quantiles_multi,
    label_scores,
    label_sets,
    possible_labels,
)
from medcli.metrics.decision import choose_threshold
from medcli.metrics.known import is_known
from medcli.preprocessing.plan import Plan
from medcli.preprocessing.prepared import Prepared, Record, read_manifest

if TYPE_CHECKING:
    import keras

    from medcli.run import Run
    from medcli.tasks.base import Task

TABLE, FILE = "validation.csv", "calibration.json"
FOLDS = 5
TOGETHER = 64
"""Images given to the network in one go."""
FEW_PATIENTS, FEW_CASES = 20, 5
"""Nothing is scaled with fewer patients in all, or with fewer cases with or without any of the classes."""

Method = Literal["none", "temperature", "temperature_bias", "isotonic"]
METHODS: tuple[Method, ...] = ("none", "temperature", "temperature_bias", "isotonic")
"""From the simplest on."""
REASONS = {
    "several_labels": "more than one label fits",
    "no_label": "no label fits as well as is usual",
    "undecided_label": "for some label neither presence nor absence can be excluded, or both can",
    "no_promise": "too few validation cases to promise this coverage",
}
"""Why a case is referred, in the column `refer`."""


@dataclass(frozen=True, eq=False)
class Validation:
    """Attributes:
    cases, patients: Names, n each.
    truth: (n, k) bool, with several labels float with NaN where a label is unknown.
    probabilities: (n, k) as the network gives them, before any scaling.
    """

    cases: Sequence[str]
    patients: Sequence[str]
    truth: np.ndarray
    probabilities: np.ndarray

    def save(self, folder: Path, classes: Sequence[str]) -> None:
        columns = [
            "case",
            "patient",
            *(f"true:{name}" for name in classes),
            *(f"p:{name}" for name in classes),
        ]
        rows = [
            {"case": case, "patient": patient}
            | {f"true:{name}": _told(value) for name, value in zip(classes, truth, strict=True)}
            | {f"p:{name}": f"{value:.9g}" for name, value in zip(classes, chances, strict=True)}
            for case, patient, truth, chances in zip(
                self.cases, self.patients, self.truth, self.probabilities, strict=True
            )
        ]
        write_csv(folder / TABLE, rows, columns)

    def with_truth(self) -> "Validation":
        """Without cases of which no label is known."""
        kept = np.flatnonzero(is_known(self.truth).any(1)).tolist()
        if len(kept) == len(self.cases):
            return self
        cases, patients = [self.cases[row] for row in kept], [self.patients[row] for row in kept]
        return Validation(cases, patients, self.truth[kept], self.probabilities[kept])

    @classmethod
    def load(cls, folder: Path, classes: Sequence[str]) -> "Validation":
        """Raises RunError when the table is missing or is not of these classes."""
        try:
            rows = read_csv(folder / TABLE)
            truth = truth_of([[float(row[f"true:{name}"] or "nan") for name in classes] for row in rows])
            chances = [[float(row[f"p:{name}"]) for name in classes] for row in rows]
            return cls(
                [row["case"] for row in rows],
                [row["patient"] for row in rows],
                truth.reshape(-1, len(classes)),
                np.array(chances, float).reshape(-1, len(classes)),
            )
        except (OSError, KeyError, ValueError, TypeError):
            raise RunError(
                f"{folder / TABLE}: not the validation table of this run; remove it and calibration.json, "
                "and evaluate again."
            ) from None


def truth_of(values: Sequence[Sequence[float]]) -> np.ndarray:
    """Rows of 1, 0 and NaN as (n, k) bool where all is known, else as float."""
    truth = np.array(values, float)
    return truth if np.isnan(truth).any() else truth.astype(bool)


def _told(value: float) -> str:
    return "" if np.isnan(value) else f"{value:.0f}"


class _Kept(BaseModel):
    model_config = ConfigDict(extra="forbid", frozen=True)


class Asked(_Kept):
    """The settings that a calibration answers."""

    calibrate: Literal["auto", "none", "temperature", "temperature_bias", "isotonic"]
    threshold: float | str | dict[str, float]
    coverage: float
    sets: Literal["lac", "aps", "raps"]
    sets_per_class: bool
    positive: str | None
    groups: AskedGroups | None = None

    @classmethod
    def of(cls, config: Config) -> "Asked":
        chosen = config.evaluate
        return cls(
            calibrate=config.predict.calibrate,
            threshold=dict(chosen.threshold) if isinstance(chosen.threshold, dict) else chosen.threshold,
            coverage=chosen.coverage,
            sets=chosen.sets,
            sets_per_class=chosen.sets_per_class,
            positive=chosen.positive,
            groups=AskedGroups.of(chosen),
        )


class Scaling(_Kept):
    """From the network's probabilities to calibrated ones; the fields of other methods are empty."""

    method: Method = "none"
    temperature: list[float] = []
    bias: list[float] = []
    steps: list[tuple[list[float], list[float]]] = []

    @classmethod
    def fit(
        cls, method: Method, truth: np.ndarray, probabilities: np.ndarray, *, multi_label: bool
    ) -> "Scaling":
        if method == "none":
            return cls()
        if method == "isotonic":
            steps = metrics.fit_isotonic(truth, probabilities)
            return cls(method=method, steps=[(x.tolist(), y.tolist()) for x, y in steps])
        temperature, bias = metrics.fit_temperature(
            truth, probabilities, multi_label=multi_label, bias=method == "temperature_bias"
        )
        return cls(method=method, temperature=temperature.tolist(), bias=bias.tolist())

    def __call__(self, probabilities: np.ndarray, *, multi_label: bool) -> np.ndarray:
        """(..., k) to (..., k)."""
        if self.method == "none":
            return probabilities
        if self.method == "isotonic":
            steps = [(np.array(x), np.array(y)) for x, y in self.steps]
            return metrics.apply_isotonic(probabilities, steps, multi_label=multi_label)
        return metrics.scale(
            probabilities, np.array(self.temperature), np.array(self.bias), multi_label=multi_label
        )


class Quality(_Kept):
    """Of probabilities for cases that the scaling had not seen (cross-validation); see `overall_error`."""

    log_loss: float
    brier: float
    ece: float
    accuracy: float


class Operating(_Kept):
    """A threshold and what it does on the validation part; None where undefined."""

    threshold: float
    sensitivity: float | None
    specificity: float | None


class Calibration(_Kept):
    """Attributes:
    model: SHA-256 of the weights that it belongs to.
    flips, views: What the predictions were averaged over, as in `predict`.
    asked: The settings that it answers.
    cases, patients: Of the validation part.
    scaling, why: The method in use and the reason.
    cross_validation: By method, where there were enough cases; what `auto` chose by.
    operating: Threshold by class; of two classes only that of the positive one.
    quantiles: Per class the largest score that keeps the label in the set (several labels per case: of "no"
        and of "yes"); None: too few cases, so every label stays.
    expected_coverage, expected_size: Of the sets, by cross-validation on the validation part.
    groups: Thresholds of groups; None: one for all.
    """

    model: str
    flips: bool
    views: int = 0
    asked: Asked
    classes: list[str]
    multi_label: bool
    cases: int
    patients: int
    scaling: Scaling
    why: str
    cross_validation: dict[Method, Quality]
    operating: dict[str, Operating]
    quantiles: list[list[float | None]]
    expected_coverage: float | None
    expected_size: float | None
    groups: GroupThresholds | None = None

    # ---- use

    def scaled(self, probabilities: np.ndarray) -> np.ndarray:
        """Calibrated probabilities (..., k), of the type that was given."""
        scaled = self.scaling(np.asarray(probabilities), multi_label=self.multi_label)
        return scaled.astype(np.asarray(probabilities).dtype)

    def decided(
        self, probabilities: np.ndarray, groups: Sequence[Mapping[str, str]] | None = None
    ) -> np.ndarray:
        """(n, k) bool from calibrated probabilities, by the thresholds; of three or more exclusive classes the
        most probable one.

        Args:
            groups: Column to value, one mapping per case; where a group has thresholds of its own they count. None:
                nothing is known of the cases.
        """
        values = np.asarray(probabilities, float)
        if not self.multi_label and len(self.classes) != 2:
            return decide(values, multi_label=False)
        at = [self.thresholds(one) for one in groups or [{}] * len(values)]
        if self.multi_label:
            return values >= np.array([[one[name] for name in self.classes] for one in at])
        (name,) = self.operating
        index = self.classes.index(name)
        called = values[:, index] >= np.array([one[name] for one in at])
        return np.arange(2) == np.where(called, index, 1 - index)[:, None]

    def thresholds(self, groups: Mapping[str, str]) -> dict[str, float]:
        """Class to the threshold of a case with these values of the group columns."""
        common = {name: found.threshold for name, found in self.operating.items()}
        return common if self.groups is None else self.groups.at(groups, common)

    def sets(self, probabilities: np.ndarray) -> tuple[np.ndarray, list[str]]:
        """(n, k) bool, the labels that cannot be excluded, and why each case is referred ("": it is not)."""
        values = np.asarray(probabilities, float)
        inside, outside = self._possible(values)
        if self.multi_label:
            answered = (inside != outside).all(1)
            return inside, ["" if yes else self._reason("undecided_label") for yes in answered]
        sizes = inside.sum(1)
        names = {0: "no_label", 1: ""}
        return inside, [
            name if (name := names.get(int(size), "several_labels")) == "" else self._reason(name)
            for size in sizes
        ]

    def covered(self, truth: np.ndarray, probabilities: np.ndarray) -> np.ndarray:
        """(n, k) float: whether the truth lies within the set; one of k: of its true class, else NaN, as unknown is."""
        inside, outside = self._possible(np.asarray(probabilities, float))
        if self.multi_label:
            return np.where(is_known(truth), np.where(truth == 1, inside, outside), np.nan)
        return np.where(np.asarray(truth, bool), inside, np.nan)

    @property
    def used(self) -> dict[str, Any]:
        """What of it shapes an output, for the record beside the output."""
        names = {
            "flips",
            "views",
            "asked",
            "cases",
            "patients",
            "scaling",
            "why",
            "operating",
            "quantiles",
            "groups",
        }
        return self.model_dump(mode="json", include=names)

    @property
    def promises(self) -> bool:
        """Whether there were enough cases to promise the coverage."""
        return all(value is not None for values in self.quantiles for value in values)

    def _reason(self, name: str) -> str:
        return name if self.promises else "no_promise"

    def _possible(self, values: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
        """(n, k) bool each: the label may be present; it may be absent."""
        limits = np.array([[math.inf if v is None else v for v in values] for values in self.quantiles])
        if self.multi_label:
            absent, present = possible_labels(values, limits)
            return present, absent
        inside = _sets(values, limits[:, 0], self.asked)
        return inside, ~inside

    # ---- files

    def save(self, folder: Path) -> None:
        write_text(folder / FILE, self.model_dump_json(indent=1) + "\n")

    @classmethod
    def of(cls, run: "Run") -> "Calibration | None":
        """That of a run for the settings of its config; None when it has none, or one of other weights.

        Raises:
            RunError: The files are damaged.
            ConfigError: The positive class is unknown.
        """
        path = run.folder / FILE
        if run.plan.task != "classification" or not path.is_file():
            return None
        try:
            kept = cls.model_validate_json(path.read_bytes())
        except (OSError, ValidationError):
            raise RunError(
                f"{path}: not a calibration of medcli; remove it and evaluate again, which makes it anew."
            ) from None
        # Without the weights nothing can be predicted; a report of old predictions trusts the file.
        weights = run.weights_digest
        if (weights and kept.model != weights) or kept.classes != run.plan.classes:
            return None
        if kept.asked == Asked.of(run.config):
            return kept
        validation = Validation.load(run.folder, run.plan.classes)
        return fit(
            validation, run.config, run.plan,
            model=kept.model, flips=kept.flips, views=kept.views, records=run.records,
        )  # fmt: skip


RULES = (
    "positive", "threshold", "coverage", "sets", "sets_per_class", "group_thresholds",
    "miss_rate", "unusual", "least_quality",
)  # fmt: skip


def with_rules(run: "Run", settings: Evaluate, *, own: bool) -> "Run":
    """The run with the rules of these settings; of other data's settings only what was said there itself."""
    names = [name for name in RULES if own or name in settings.model_fields_set]
    chosen = run.config.evaluate.model_copy(update={name: getattr(settings, name) for name in names})
    return replace(run, config=run.config.model_copy(update={"evaluate": chosen}))


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
        quantiles=[[_finite(value) for value in values] for values in quantiles],
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


def positive_index(plan: Plan, positive: str | None) -> int:
    """The positive of two classes: the one named, else the last. Raises ConfigError when it is unknown."""
    if positive is None:
        return plan.num_classes - 1
    if positive not in plan.classes:
        known = ", ".join(plan.classes)
        raise ConfigError(f"evaluate.positive: '{positive}' is no class of this run; use one of {known}.")
    return plan.classes.index(positive)


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
            sensitivity=_finite(best.sensitivity),
            specificity=_finite(best.specificity),
        )
        for name, best in chosen.items()
    }


def _sets(values: np.ndarray, limits: np.ndarray, asked: Asked) -> np.ndarray:
    return label_sets(label_scores(values, asked.sets), limits, keep_best=asked.sets != "lac")


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
            inside = _sets(values[own], limits[:, 0], asked)
            hits.append(covered(truth[own], inside).astype(float))
            sizes.append(inside.sum(1))
    return float(mean_of_known(np.concatenate(hits))), float(np.concatenate(sizes).mean())


def _finite(value: float) -> float | None:
    return float(value) if math.isfinite(value) else None
