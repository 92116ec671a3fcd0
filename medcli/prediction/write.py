"""Files of predictions: one writer per kind, each leaving only whole cases on disk."""

import csv
import json
from collections import Counter
from collections.abc import Mapping, Sequence
from math import isfinite, nan
from pathlib import Path
from typing import Any, Protocol

import numpy as np

from medcli.boxes import Boxes
from medcli.calibration import Calibration
from medcli.case import Case, Source
from medcli.errors import RunError
from medcli.files import atomic_path, write_csv, write_json
from medcli.image import Image
from medcli.io.writers import write_labels, write_map, write_probabilities
from medcli.metrics.classification import decide
from medcli.metrics.decision import confidence
from medcli.operating import Operating, is_found, thresholds_of
from medcli.prediction.result import Prediction
from medcli.prediction.write_volumes import planes_by_volume, write_objects
from medcli.preprocessing.plan import Plan
from medcli.refusal.learned import Answer, Refusal


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
            from medcli.prediction.write_numbers import NumbersWriter

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
            from medcli.prediction.write_objects import ObjectsWriter

            return ObjectsWriter(folder, plan, names, Decisions(folder, names, MASKS) if kept else None)
        case "segmentation":
            return LabelsWriter(folder, plan, Decisions(folder, names, MASKS) if kept else None)


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


LABELS, BOXES, MASKS = ("decision", "set"), ("found", "controlled"), ("labels",)
"""Columns of decisions.csv that only one task has: the decision by the threshold and the labels that cannot be
excluded; how many boxes are in either file; which labels occur."""


class Decisions(Table):
    """`decisions.csv`, for every task: the columns of the task, then

    refer      why the case is referred to a person, codes of `medcli.refusal.codes` joined by `|`; empty: answered
    p_unlike   how often a usual case is as unlike the training cases
    quality    classification: probability of the answer; else expected F1 or Dice
    note       what the gate found, with its numbers
    """

    def __init__(self, folder: Path, order: Sequence[str], own: Sequence[str]):
        super().__init__(
            folder / "decisions.csv", ["case", *own, "refer", "p_unlike", "quality", "note"], order
        )

    def add(
        self,
        case: str,
        own: Sequence[str],
        answer: Answer | None,
        reasons: Sequence[str] = (),
        quality: float = nan,
    ) -> None:
        """`reasons` and `quality` are those of the task itself, in front of what the answer says."""
        answer = answer or Answer()
        quality = quality if isfinite(quality) else answer.quality
        codes = dict.fromkeys([*filter(None, reasons), *answer.reasons])
        numbers = [f"{value:.4g}" if isfinite(value) else "" for value in (answer.p, quality)]
        self.rows[case] = [case, *own, "|".join(codes), *numbers, " ".join(answer.notes)]


BOXES_FILE, BOXES_TABLE = "predictions.json", "predictions.csv"
BOX_COLUMNS = ("image", "class", "x0", "y0", "x1", "y1", "score", "found")


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


class BoxesWriter:
    """`predictions.json`: a list of {"image", "category", "bbox": [x, y, width, height], "score"}.

    `predictions.csv` has the same boxes, one line each, with corners counted from 0 and half-open at the far edge, and
    one line with empty cells for an image without any; medcli reads it as a table of boxes. Where the run learned it,
    `controlled.json` is a list of those boxes that together miss few objects; and decisions.

    Args:
        thresholds: (classes,) scores from which on boxes count as found.
        found_only: Only these are written.
        volumes: Of cases that are planes: their boxes are linked, see `medcli.prediction.write_volumes`.
    """

    def __init__(
        self,
        folder: Path,
        plan: Plan,
        images: dict[str, str],
        decisions: Decisions | None = None,
        *,
        thresholds: np.ndarray,
        found_only: bool = True,
        volumes: Mapping[Source, Mapping[int, str]] | None = None,
    ):
        self.folder = folder
        self.plan = plan
        self.images = images
        self.decisions = decisions
        self.thresholds, self.found_only, self.volumes = thresholds, found_only, volumes or {}
        names = [BOXES_FILE, *(["controlled.json"] if decisions is not None else [])]
        self.found: dict[str, dict[str, list[dict]]] = {name: {} for name in names}

    def add(self, case: Case, image: Image, prediction: Prediction) -> None:
        assert prediction.boxes is not None
        found = prediction.boxes.take(is_found(prediction.boxes, self.thresholds))
        both = (found if self.found_only else prediction.boxes, prediction.controlled)
        for listed, boxes in zip(self.found.values(), both, strict=False):
            listed[case.name] = [] if boxes is None else self._listed(case.name, boxes)
        if self.decisions is not None:
            counts = ["" if boxes is None else str(len(boxes)) for boxes in (found, prediction.controlled)]
            self.decisions.add(case.name, counts, prediction.answer)

    def _listed(self, case: str, boxes: Boxes) -> list[dict]:
        return [
            {
                "image": self.images[case],
                "category": self.plan.classes[kind],
                "bbox": [round(float(value), 2) for value in (x0, y0, x1 - x0, y1 - y0)],
                "score": round(float(score), 6),
            }
            for (x0, y0, x1, y1), kind, score in zip(boxes.corners, boxes.classes, boxes.scores, strict=True)
        ]

    def flush(self) -> None:
        for file, found in self.found.items():
            write_json(self.folder / file, [box for name in self.images for box in found.get(name, [])])
        write_csv(self.folder / BOXES_TABLE, self._rows(), BOX_COLUMNS)
        if self.volumes:
            write_objects(self.folder, self.volumes, self.found[BOXES_FILE], self.plan.classes)
        if self.decisions is not None:
            self.decisions.flush()

    def keep(self, names: set[str]) -> set[str]:
        names = names & self.images.keys()
        if not all((self.folder / file).is_file() for file in self.found):
            return set()
        for file in self.found:
            by_image = self._by_image(self.folder / file)
            self.found[file] = {name: by_image.get(self.images[name], []) for name in names}
        return names if self.decisions is None else self.decisions.keep(names)

    def _rows(self) -> list[dict[str, Any]]:
        """Of predictions.csv, which follows from the other file."""
        least = dict(zip(self.plan.classes, self.thresholds, strict=True))
        rows: list[dict[str, Any]] = []
        for case, image in self.images.items():
            boxes = self.found[BOXES_FILE].get(case)
            for box in boxes or []:
                x, y, width, height = box["bbox"]
                corners = (x, y, round(x + width, 2), round(y + height, 2))
                found = {"found": "yes" if box["score"] >= least[box["category"]] else "no"}
                rows.append(
                    {"image": image, "class": box["category"]}
                    | dict(zip(("x0", "y0", "x1", "y1"), corners, strict=True))
                    | {"score": box["score"]}
                    | found
                )
            if boxes == []:
                rows.append({"image": image})
        return rows

    def _by_image(self, path: Path) -> dict[str, list[dict]]:
        by_image: dict[str, list[dict]] = {}
        try:
            for box in json.loads(path.read_text(encoding="utf-8")):
                by_image.setdefault(box["image"], []).append(box)
        except (ValueError, TypeError, KeyError):
            raise RunError(f"{path}: not a list of predictions; start anew with --force.") from None
        return by_image

    def remove(self, names: set[str]) -> None:
        for name in (
            BOXES_FILE,
            BOXES_TABLE,
            "objects.json",
            "objects.csv",
            "controlled.json",
            "decisions.csv",
        ):
            (self.folder / name).unlink(missing_ok=True)


MAPS = ("uncertainty", "disagreement")
"""Fields of `Prediction` that become one image each."""


class LabelsWriter:
    """One label image per case, named like the case; probabilities and outer masks beside it when asked for.

    An outer mask is 0 or 1: `CASE_outer`, with several labels one file each, `CASE_outer_LABEL`. So is the mask of a
    region, `CASE_region_NAME`: of those that may overlap when asked for, or where the label image cannot tell them.
    """

    def __init__(self, folder: Path, plan: Plan, decisions: Decisions | None = None):
        self.folder = folder
        self.plan = plan
        self.ids = output_ids(plan)
        self.decisions = decisions

    def add(self, case: Case, image: Image, prediction: Prediction) -> None:
        assert prediction.labels is not None
        if prediction.label_probabilities is not None:
            write_probabilities(self.folder / case.name, prediction.label_probabilities, image)
        for name, values in self._maps(case.name, prediction).items():
            write_map(self.folder / name, values, image)
        for names, masks in (
            (self._outer(case.name), prediction.outer),
            (self._regions(case.name), prediction.region_masks),
        ):
            for name, mask in zip(names, masks or (), strict=False):
                write_labels(self.folder / name, mask.astype(np.uint8), image)
        write_labels(self.folder / case.name, self._values(prediction), image)
        if self.decisions is not None:
            self.decisions.add(case.name, ["|".join(self._present(prediction))], prediction.answer)

    def flush(self) -> None:
        """Every label image is on disk already."""
        if self.decisions is not None:
            self.decisions.flush()

    def keep(self, names: set[str]) -> set[str]:
        names = {name for name in names if any(path.is_file() for path in self._files(name))}
        return names if self.decisions is None else self.decisions.keep(names)

    def remove(self, names: set[str]) -> None:
        for name in names:
            values = (
                self.folder / f"{name}_{kind}{suffix}"
                for kind in ("prob", *MAPS)
                for suffix in (".nii.gz", ".npy")
            )
            masks = (
                path for file in (*self._outer(name), *self._regions(name)) for path in self._files(file)
            )
            for path in (*self._files(name), *values, *masks):
                path.unlink(missing_ok=True)
        (self.folder / "decisions.csv").unlink(missing_ok=True)

    def _values(self, prediction: Prediction) -> np.ndarray:
        """What the image of a case holds."""
        return self.ids[prediction.labels]

    @staticmethod
    def _maps(case: str, prediction: Prediction) -> dict[str, np.ndarray]:
        maps = {f"{case}_{kind}": getattr(prediction, kind) for kind in MAPS}
        return {name: values for name, values in maps.items() if values is not None}

    def _outer(self, case: str) -> list[str]:
        if self.plan.num_classes == 1:
            return [f"{case}_outer"]
        return [f"{case}_outer_{safe_name(name)}" for name in self.plan.classes]

    def _regions(self, case: str) -> list[str]:
        return [f"{case}_region_{safe_name(name)}" for name in self.plan.classes if self.plan.regions]

    def _present(self, prediction: Prediction) -> list[str]:
        """Names of the classes that occur."""
        if prediction.region_masks is not None:
            there = [bool(mask.any()) for mask in prediction.region_masks]
        else:
            assert prediction.labels is not None
            occur = set(np.unique(prediction.labels).tolist())
            there = [not occur.isdisjoint(self.plan.members(index)) for index in range(self.plan.num_classes)]
        return [name for name, yes in zip(self.plan.classes, there, strict=True) if yes]

    def _files(self, name: str) -> tuple[Path, ...]:
        return tuple(self.folder / f"{name}{suffix}" for suffix in (".nii.gz", ".png"))


def safe_name(text: str) -> str:
    """With underscores for what does not belong into a file's name."""
    return "".join(letter if letter.isalnum() or letter in "-_" else "_" for letter in text)


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


def output_ids(plan: Plan) -> np.ndarray:
    """(1 + labels,) value in the file for every label: the id that it has in the user's own files.

    When several ids mean one label, or masks are 0/255, they are 1, 2, ... in the order of the labels.
    """
    count = len(plan.label_names)
    ids = [values[0] for values in plan.label_ids if len(values) == 1]
    if len(ids) != count or len(set(ids)) != len(ids) or min(ids) < 1 or max(ids) > 65_535:
        ids = list(range(1, count + 1))
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
