"""Detection: boxes as COCO JSON and as a table."""

import json
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

import numpy as np

from medcli.boxes import Boxes
from medcli.case import Case, Source
from medcli.errors import RunError
from medcli.files import write_csv, write_json
from medcli.image import Image
from medcli.operating import is_found
from medcli.prediction.result import Prediction
from medcli.prediction.writers.tables import Decisions
from medcli.prediction.writers.volumes import write_objects
from medcli.preprocessing.plan import Plan

BOXES_FILE, BOXES_TABLE = "predictions.json", "predictions.csv"
BOX_COLUMNS = ("image", "class", "x0", "y0", "x1", "y1", "score", "found")


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
