"""The validation part as a classifier's run keeps it: the truth and the network's own probabilities."""

from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

import numpy as np

from medcli.errors import RunError
from medcli.files import read_csv, write_csv
from medcli.metrics.known import is_known

TABLE = "validation.csv"


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
