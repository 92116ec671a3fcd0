"""Files of predictions: one writer per kind, each leaving only whole cases on disk."""

from collections.abc import Sequence
from pathlib import Path
from typing import Protocol

from medcli.calibration import Calibration
from medcli.case import Case
from medcli.image import Image
from medcli.operating import Operating, thresholds_of
from medcli.prediction.result import Prediction
from medcli.prediction.writers.boxes import BoxesWriter, image_names
from medcli.prediction.writers.classes import ClassesWriter
from medcli.prediction.writers.labels import LabelsWriter
from medcli.prediction.writers.numbers import NumbersWriter
from medcli.prediction.writers.tables import BOXES, LABELS, MASKS, Decisions
from medcli.prediction.writers.volumes import planes_by_volume
from medcli.preprocessing.plan import Plan
from medcli.refusal.learned import Refusal


class Writer(Protocol):
    """Takes predictions case by case."""

    def add(self, case: Case, image: Image, prediction: Prediction) -> None: ...

    def flush(self) -> None:
        """Bring what was added to disk."""

    def keep(self, names: set[str]) -> set[str]:
        """Take over these cases of an interrupted work; give those whose results are really there."""

    def remove(self, names: set[str]) -> None:
        """Delete the results of these cases of an earlier work."""


def writer_for(
    plan: Plan,
    folder: Path,
    cases: Sequence[Case],
    calibration: Calibration | None = None,
    refusal: Refusal | None = None,
    operating: Operating | None = None,
    *,
    found_only: bool = True,
    members: int = 1,
) -> Writer:
    """
    Args:
        calibration, refusal: Of the run; with either `decisions.csv` is written as well.
        operating: Of the run: from which score on boxes count as found.
        found_only: Write only these.
        members: How many networks answer together.
    """
    names = [case.name for case in cases]
    kept = calibration is not None or refusal is not None
    match plan.task:
        case "classification":
            return ClassesWriter(
                folder, plan, names, calibration, Decisions(folder, names, LABELS) if kept else None
            )
        case "regression":
            return NumbersWriter(
                folder, names, Decisions(folder, names, ()) if kept else None, members=members
            )
        case "detection":
            decisions = Decisions(folder, names, BOXES) if kept else None
            thresholds = thresholds_of(operating, plan.num_classes)
            return BoxesWriter(
                folder,
                plan,
                image_names(cases),
                decisions,
                thresholds=thresholds,
                found_only=found_only,
                volumes=planes_by_volume(cases),
            )
        case "segmentation" if plan.single_objects:
            from medcli.prediction.writers.objects import ObjectsWriter

            return ObjectsWriter(folder, plan, names, Decisions(folder, names, MASKS) if kept else None)
        case "segmentation":
            return LabelsWriter(folder, plan, Decisions(folder, names, MASKS) if kept else None)
