"""What a classifier answered and what is true, all cases together."""

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from functools import cached_property
from typing import Any

import numpy as np

from medcli.metrics.bootstrap import LEVEL, RESAMPLES, patient_weights, percentile_interval
from medcli.metrics.decision import confidence
from medcli.metrics.known import only_known

Interval = tuple[float, float]


@dataclass(frozen=True, eq=False)
class Answers:
    """Attributes:
    classes: k names.
    positive: Index of the positive one of two classes.
    truth: (n, k) bool, with several labels float with NaN where a label is unknown.
    probabilities: (n, k), calibrated where the run has a calibration.
    raw: (n, k), as the network gave them.
    patients: One per case.
    """

    classes: list[str]
    multi_label: bool
    positive: int
    truth: np.ndarray
    probabilities: np.ndarray
    raw: np.ndarray
    patients: Sequence[str]

    @property
    def binary(self) -> bool:
        return len(self.classes) == 2 and not self.multi_label

    @property
    def shown(self) -> list[int]:
        """The classes to report on: of two only the positive one, since the other says the same."""
        return [self.positive] if self.binary else list(range(len(self.classes)))

    @property
    def confidence(self) -> np.ndarray:
        return confidence(self.probabilities, multi_label=self.multi_label)

    def intervals(self, measure: Callable[[np.ndarray], Mapping[str, np.ndarray]]) -> dict[str, Interval]:
        """By resampling patients, as `medcli.metrics.bootstrap.intervals` does; the draws are made once."""
        drawn: dict[str, list[np.ndarray]] = {}
        for chunk in self._draws:
            for name, values in measure(chunk.astype(float)).items():
                drawn.setdefault(name, []).append(values)
        enough = len(set(self.patients)) > 1
        return {
            name: percentile_interval(np.concatenate(parts), LEVEL) if enough else (np.nan, np.nan)
            for name, parts in drawn.items()
        }

    @cached_property
    def _draws(self) -> list[np.ndarray]:
        return [chunk.astype(np.uint16) for chunk in patient_weights(self.patients, resamples=RESAMPLES)]

    def of_class(self, index: int, chances: np.ndarray | None = None) -> tuple[Any, Any, list[str]]:
        """Of the cases where it is known: truth (m,) bool, probabilities (m,), patients.

        Args:
            chances: (n, k) in place of `probabilities`.
        """
        values = self.probabilities if chances is None else chances
        truth, values, patients = only_known(self.truth[:, index], values[:, index], self.patients)
        return truth, values, list(patients)

    def by_patient(self, values: np.ndarray) -> np.ndarray:
        return by_patient(values, self.patients)


def by_patient(values: np.ndarray, patients: Sequence[str]) -> np.ndarray:
    """Mean of the cases of every patient, so that the values are independent of one another."""
    code = np.unique(np.asarray(patients, str), return_inverse=True)[1]
    return np.bincount(code, values) / np.bincount(code)


def interval_text(interval: Interval, digits: int = 3) -> str:
    low, high = interval
    return f"{low:.{digits}f} to {high:.{digits}f}" if np.isfinite([low, high]).all() else ""
