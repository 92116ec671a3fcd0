"""What a classifier answered and what is true, all cases together."""

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass

import numpy as np

from medcli.metrics.bootstrap import LEVEL, RESAMPLES, intervals

Interval = tuple[float, float]


@dataclass(frozen=True, eq=False)
class Answers:
    """Attributes:
    classes: k names.
    positive: Index of the positive one of two classes.
    truth: (n, k) bool.
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
        """By resampling patients; see `medcli.metrics.bootstrap.intervals`."""
        return intervals(measure, self.patients, resamples=RESAMPLES, level=LEVEL)

    def by_patient(self, values: np.ndarray) -> np.ndarray:
        return by_patient(values, self.patients)


def confidence(probabilities: np.ndarray, *, multi_label: bool) -> np.ndarray:
    """(n,): the largest probability; several labels: how far the least sure one is from even, from 0.5 on."""
    if multi_label:
        return np.maximum(probabilities, 1 - probabilities).min(1)
    return probabilities.max(1)


def by_patient(values: np.ndarray, patients: Sequence[str]) -> np.ndarray:
    """Mean of the cases of every patient, so that the values are independent of one another."""
    code = np.unique(np.asarray(patients, str), return_inverse=True)[1]
    return np.bincount(code, values) / np.bincount(code)


def interval_text(interval: Interval, digits: int = 3) -> str:
    low, high = interval
    return f"{low:.{digits}f} to {high:.{digits}f}" if np.isfinite([low, high]).all() else ""
