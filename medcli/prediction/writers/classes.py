"""Classification: `predictions.csv`."""

from collections import Counter
from collections.abc import Mapping, Sequence
from pathlib import Path

import numpy as np

from medcli.calibration import Calibration
from medcli.case import Case
from medcli.image import Image
from medcli.io.writers import write_map
from medcli.metrics.classification import decide
from medcli.metrics.decision import confidence
from medcli.prediction.result import Prediction
from medcli.prediction.writers.tables import Decisions, Table
from medcli.preprocessing.plan import Plan


class ClassesWriter:
    """`predictions.csv`: case, predicted (of several labels those present, by `|`), then one probability per class;
    and decisions.

    Of an autoencoder also `CASE_anomaly`, see `Prediction.anomaly`.
    With thresholds of groups also `thresholds.csv`: whose threshold decided the case, and which.
    """

    def __init__(
        self,
        folder: Path,
        plan: Plan,
        order: Sequence[str],
        calibration: Calibration | None = None,
        decisions: Decisions | None = None,
    ):
        self.plan = plan
        self.calibration = calibration
        self.predictions = Table(folder / "predictions.csv", ["case", "predicted", *plan.classes], order)
        self.decisions = decisions
        self.folder = folder
        self.tables = [self.predictions, *([decisions] if decisions is not None else [])]
        decided = [] if calibration is None else [f"threshold:{name}" for name in calibration.operating]
        self.thresholds = Table(folder / "thresholds.csv", ["case", "threshold_of", *decided], order)
        if calibration is not None and calibration.groups is not None:
            self.tables.append(self.thresholds)

    def add(self, case: Case, image: Image, prediction: Prediction) -> None:
        assert prediction.probabilities is not None
        predicted = predicted_classes(prediction.probabilities, self.plan, self.calibration, case.groups)
        numbers = [f"{probability:.9g}" for probability in prediction.probabilities]
        self.predictions.rows[case.name] = [case.name, "|".join(predicted), *numbers]
        if prediction.anomaly is not None:
            write_map(self.folder / f"{case.name}_anomaly", prediction.anomaly, image)
        if self.decisions is None:
            return
        one = prediction.probabilities[None]
        own, reasons = ["", ""], [""]
        if self.calibration is not None:
            labels, reasons = self.calibration.sets(one)
            decided = self.calibration.decided(one, [case.groups])
            own = [self._named(chosen[0]) for chosen in (decided, labels)]
        sure = float(confidence(one, multi_label=self.plan.multi_label)[0])
        self.decisions.add(case.name, own, prediction.answer, reasons, sure)
        if self.calibration is not None and self.calibration.groups is not None:
            at = self.calibration.thresholds(case.groups)
            whose = self.calibration.groups.whose(case.groups)
            self.thresholds.rows[case.name] = [case.name, whose, *(f"{value:.9g}" for value in at.values())]

    @property
    def notes(self) -> list[str]:
        """What a reader of the decisions must know."""
        whose = Counter(row[1] for row in self.thresholds.rows.values() if row[1].startswith("all"))
        total = len(self.thresholds.rows)
        return [
            f"{count} of {total} cases were decided by the threshold for all ({reason.removeprefix('all: ')})."
            for reason, count in whose.items()
        ]

    def flush(self) -> None:
        for table in self.tables:
            table.flush()

    def keep(self, names: set[str]) -> set[str]:
        for table in self.tables:
            names = table.keep(names)
        return names

    def remove(self, names: set[str]) -> None:
        for file in ("predictions.csv", "decisions.csv", "thresholds.csv"):
            (self.folder / file).unlink(missing_ok=True)
        for name in names:
            for suffix in (".npy", ".nii.gz"):
                (self.folder / f"{name}_anomaly{suffix}").unlink(missing_ok=True)

    def _named(self, chosen: np.ndarray) -> str:
        return "|".join(name for name, yes in zip(self.plan.classes, chosen, strict=True) if yes)


def predicted_classes(
    probabilities: np.ndarray,
    plan: Plan,
    calibration: Calibration | None = None,
    groups: Mapping[str, str] | None = None,
) -> list[str]:
    """The most probable class; when several may apply all that reach their thresholds (perhaps none), which are one
    half where the run has learned none."""
    if plan.multi_label:
        called = decide(probabilities[None], multi_label=True)
        if calibration is not None:
            called = calibration.decided(probabilities[None], [groups or {}])
        return [name for name, yes in zip(plan.classes, called[0], strict=True) if yes]
    return [plan.classes[int(np.argmax(probabilities))]]
