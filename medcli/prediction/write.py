"""Files of predictions: one writer per kind, each leaving only whole cases on disk."""

import csv
import json
from collections import Counter
from collections.abc import Sequence
from pathlib import Path
from typing import Protocol

import numpy as np

from medcli.calibration import Calibration
from medcli.case import Case
from medcli.errors import RunError
from medcli.files import atomic_path, write_json
from medcli.image import Image
from medcli.io.writers import write_labels, write_probabilities
from medcli.prediction.result import Prediction
from medcli.preprocessing.plan import Plan


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
    plan: Plan, folder: Path, cases: Sequence[Case], calibration: Calibration | None = None
) -> Writer:
    """`calibration`: Of a classifier's run; with it `decisions.csv` is written as well."""
    match plan.task:
        case "classification":
            return ClassesWriter(folder, plan, [case.name for case in cases], calibration)
        case "detection":
            return BoxesWriter(folder, plan, image_names(cases))
        case "segmentation":
            return LabelsWriter(folder, output_ids(plan))


class Table:
    """A CSV with a row per case, in the order of the cases."""

    def __init__(self, path: Path, header: Sequence[str], order: Sequence[str]):
        self.path = path
        self.header = list(header)
        self.order = order
        self.rows: dict[str, list[str]] = {}

    def flush(self) -> None:
        with atomic_path(self.path) as path, open(path, "w", newline="", encoding="utf-8") as stream:
            table = csv.writer(stream, lineterminator="\n")
            table.writerow(self.header)
            table.writerows(self.rows[name] for name in self.order if name in self.rows)

    def keep(self, names: set[str]) -> set[str]:
        if not self.path.is_file():
            return set()
        with open(self.path, newline="", encoding="utf-8") as stream:
            header, *rows = [*csv.reader(stream)] or [[]]
        if header != self.header:
            raise RunError(f"{self.path}: the columns are not this model's classes; start anew with --force.")
        self.rows = {row[0]: row for row in rows if len(row) == len(header) and row[0] in names}
        return set(self.rows)


class ClassesWriter:
    """`predictions.csv`: case, predicted, then one probability per class.

    With a calibration also `decisions.csv`: case, the decision by the threshold, the labels that cannot be
    excluded, and why the case is referred to a person (empty: it is answered). With thresholds of groups also
    `thresholds.csv`: whose threshold decided the case, and which.
    """

    def __init__(
        self, folder: Path, plan: Plan, order: Sequence[str], calibration: Calibration | None = None
    ):
        self.plan = plan
        self.calibration = calibration
        self.predictions = Table(folder / "predictions.csv", ["case", "predicted", *plan.classes], order)
        self.decisions = Table(folder / "decisions.csv", ["case", "decision", "set", "refer"], order)
        self.tables = [self.predictions] if calibration is None else [self.predictions, self.decisions]
        decided = [] if calibration is None else [f"threshold:{name}" for name in calibration.operating]
        self.thresholds = Table(folder / "thresholds.csv", ["case", "threshold_of", *decided], order)
        if calibration is not None and calibration.groups is not None:
            self.tables.append(self.thresholds)

    def add(self, case: Case, image: Image, prediction: Prediction) -> None:
        assert prediction.probabilities is not None
        predicted = predicted_classes(prediction.probabilities, self.plan)
        numbers = [f"{probability:.9g}" for probability in prediction.probabilities]
        self.predictions.rows[case.name] = [case.name, "|".join(predicted), *numbers]
        if self.calibration is None:
            return
        one = prediction.probabilities[None]
        labels, reasons = self.calibration.sets(one)
        decided = self.calibration.decided(one, [case.groups])
        names = (self._named(chosen[0]) for chosen in (decided, labels))
        self.decisions.rows[case.name] = [case.name, *names, reasons[0]]
        if self.calibration.groups is not None:
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
        for table in (self.predictions, self.decisions, self.thresholds):
            table.path.unlink(missing_ok=True)

    def _named(self, chosen: np.ndarray) -> str:
        return "|".join(name for name, yes in zip(self.plan.classes, chosen, strict=True) if yes)


class BoxesWriter:
    """`predictions.json`: a list of {"image", "category", "bbox": [x, y, width, height], "score"}."""

    def __init__(self, folder: Path, plan: Plan, images: dict[str, str]):
        self.path = folder / "predictions.json"
        self.plan = plan
        self.images = images
        self.found: dict[str, list[dict]] = {}

    def add(self, case: Case, image: Image, prediction: Prediction) -> None:
        boxes = prediction.boxes
        assert boxes is not None
        self.found[case.name] = [
            {
                "image": self.images[case.name],
                "category": self.plan.classes[kind],
                "bbox": [round(float(value), 2) for value in (x0, y0, x1 - x0, y1 - y0)],
                "score": round(float(score), 6),
            }
            for (x0, y0, x1, y1), kind, score in zip(boxes.corners, boxes.classes, boxes.scores, strict=True)
        ]

    def flush(self) -> None:
        write_json(self.path, [box for name in self.images for box in self.found.get(name, [])])

    def keep(self, names: set[str]) -> set[str]:
        if not self.path.is_file():
            return set()
        try:
            boxes = json.loads(self.path.read_text(encoding="utf-8"))
            by_image: dict[str, list[dict]] = {}
            for box in boxes:
                by_image.setdefault(box["image"], []).append(box)
        except (ValueError, TypeError, KeyError):
            raise RunError(f"{self.path}: not a list of predictions; start anew with --force.") from None
        self.found = {name: by_image.get(self.images[name], []) for name in names & self.images.keys()}
        return set(self.found)

    def remove(self, names: set[str]) -> None:
        self.path.unlink(missing_ok=True)


class LabelsWriter:
    """One label image per case, named like the case; probabilities beside it when they were asked for."""

    def __init__(self, folder: Path, ids: np.ndarray):
        self.folder = folder
        self.ids = ids

    def add(self, case: Case, image: Image, prediction: Prediction) -> None:
        assert prediction.labels is not None
        if prediction.label_probabilities is not None:
            write_probabilities(self.folder / case.name, prediction.label_probabilities, image)
        write_labels(self.folder / case.name, self.ids[prediction.labels], image)

    def flush(self) -> None:
        """Every case is on disk already."""

    def keep(self, names: set[str]) -> set[str]:
        return {name for name in names if any(path.is_file() for path in self._labels(name))}

    def remove(self, names: set[str]) -> None:
        for name in names:
            probabilities = (self.folder / f"{name}_prob{suffix}" for suffix in (".nii.gz", ".npy"))
            for path in (*self._labels(name), *probabilities):
                path.unlink(missing_ok=True)

    def _labels(self, name: str) -> tuple[Path, ...]:
        return tuple(self.folder / f"{name}{suffix}" for suffix in (".nii.gz", ".png"))


def predicted_classes(probabilities: np.ndarray, plan: Plan) -> list[str]:
    """The most probable class, or when several may apply all above one half (perhaps none)."""
    if plan.multi_label:
        return [name for name, value in zip(plan.classes, probabilities, strict=True) if value > 0.5]
    return [plan.classes[int(np.argmax(probabilities))]]


def output_ids(plan: Plan) -> np.ndarray:
    """(1 + classes,) value in the file for every label: the id that the class has in the user's own files.

    When several ids mean one class, or masks are 0/255, they are 1, 2, ... in the order of the classes.
    """
    ids = [values[0] for values in plan.label_ids if len(values) == 1]
    if len(ids) != plan.num_classes or len(set(ids)) != len(ids) or min(ids) < 1 or max(ids) > 65_535:
        ids = list(range(1, plan.num_classes + 1))
    return np.array([0, *ids], np.uint8 if max(ids) < 256 else np.uint16)


def image_names(cases: Sequence[Case]) -> dict[str, str]:
    """File name of every case's image, by case; with as many parent folders as make it unique.

    A part of a file (an image within an `.npz`) goes by the case's name.
    """
    paths = {case.name: case.images[0].path for case in cases if not case.images[0].part}
    names = {case.name: case.name for case in cases} | {case: path.name for case, path in paths.items()}
    for depth in range(2, max((len(path.parts) for path in paths.values()), default=0) + 1):
        taken: dict[str, int] = {}
        for name in names.values():
            taken[name] = taken.get(name, 0) + 1
        if len(taken) == len(names):
            break
        for case, path in paths.items():
            if taken[names[case]] > 1:
                names[case] = Path(*path.parts[-depth:]).as_posix()
    return names
