"""What was learned, as it is kept and used: scaling, thresholds, label sets."""

import math
from collections.abc import Mapping, Sequence
from dataclasses import replace
from pathlib import Path
from typing import TYPE_CHECKING, Any, Literal

import numpy as np
from pydantic import BaseModel, ConfigDict, ValidationError

from medcli.calibration.table import Validation
from medcli.config.schema import Config, Evaluate
from medcli.errors import RunError
from medcli.files import write_text
from medcli.group_thresholds import AskedGroups, GroupThresholds
from medcli.metrics import calibration as metrics
from medcli.metrics.classification import decide
from medcli.metrics.conformal import (
    label_scores,
    label_sets,
    possible_labels,
)
from medcli.metrics.known import is_known

if TYPE_CHECKING:
    from medcli.run import Run

FILE = "calibration.json"
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
        inside = sets_of(values, limits[:, 0], self.asked)
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
        from medcli.calibration.learning import fit

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


def sets_of(values: np.ndarray, limits: np.ndarray, asked: Asked) -> np.ndarray:
    return label_sets(label_scores(values, asked.sets), limits, keep_best=asked.sets != "lac")
