"""What an evaluation keeps of the predictions, so that all that is said about them can be said again without the model.

RUN/evaluate/NAME/
    config.yaml       every setting that it was made with
    evaluation.json   which cases and which weights, group columns, pictures, notes
    cases.csv         one line per case: the truth and what was predicted, or the measures of its mask
    robustness.json   what corruptions of the image cost; see `medcli.evaluation.robustness`
    detections.json   detection: all boxes from a low score on, and the true ones
    objects.json      segmentation of single objects: how each was matched
    explanations.json maps of the worst cases; see `medcli.evaluation.why`
    pictures/*.png    the worst and the best cases, and the maps
"""

import json
import math
import shutil
from collections.abc import Sequence
from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import Any

import numpy as np

from medcli.case import Case
from medcli.config.loading import load_config, save_config
from medcli.errors import RunError
from medcli.evaluation.judge import Detail, Judged
from medcli.evaluation.selection import patients_of
from medcli.files import read_csv, write_csv, write_json
from medcli.run import Run

FILE, CASES, CONFIG, PICTURES = "evaluation.json", "cases.csv", "config.yaml", "pictures"
TAKEN = {"case", "patient", "split", "status", "seconds", "truth", "predicted", "correct"} | {
    "unknown", "decision", "set", "refer", "refused", "p_unlike", "unlikeness", "expected_quality",
    "error", "spread", "objects", "hits", "missed", "false", "f1",
    "dice", "iou", "hd95", "asd", "nsd", "volume_error", "distances_in",
    "lesion_sensitivity", "lesion_precision", "cldice", "ap50", "ap75", "ap50_90", "found", "merged", "split_up",
}  # fmt: skip
"""Columns of cases.csv that a group column must not hide."""
UNKNOWN = "unknown"
"""Column of cases.csv: of a classification with several labels those that nobody knows of the case."""
OK = "ok"


@dataclass(frozen=True)
class Picture:
    """One drawn case.

    Attributes:
        kind: "worst", "best", "why" with a map of the evidence, or the kind of a detail.
        file: Below the folder.
        caption: "": as the judge says.
    """

    kind: str
    case: str
    file: str
    caption: str = ""


@dataclass(frozen=True)
class Kept:
    """Attributes:
    name: Of the data: the part, or that of other data.
    part: "train", "val", "test" or "all".
    own: The cases are from the data that the run was made with.
    groups: Group column to its column in cases.csv.
    notes: Of the choice of cases: what a reader must know.
    modalities: DICOM code to number of images, of those that say.
    pictures: In the order to show them.
    model: SHA-256 of the weights; None: unknown.
    seconds: That predicting and judging took.
    rows: Lines of cases.csv, in the order of the data; those that failed have their reason as the status.
    """

    name: str
    part: str
    own: bool
    groups: dict[str, str] = field(default_factory=dict)
    notes: list[str] = field(default_factory=list)
    modalities: dict[str, int] = field(default_factory=dict)
    pictures: list[Picture] = field(default_factory=list)
    model: str | None = None
    seconds: float = 0.0
    rows: list[dict[str, Any]] = field(default_factory=list)

    @property
    def judged(self) -> list[dict[str, Any]]:
        """The lines of the cases that were measured."""
        return [row for row in self.rows if row["status"] == OK]

    @property
    def failed(self) -> dict[str, str]:
        """Case to reason."""
        return {row["case"]: row["status"] for row in self.rows if row["status"] != OK}

    @property
    def cases(self) -> list[str]:
        return [row["case"] for row in self.judged]

    @property
    def patients(self) -> list[str]:
        """One for every case measured."""
        return [row["patient"] or row["case"] for row in self.judged]

    @property
    def group_values(self) -> list[dict[str, str]]:
        """Column to value, for every case measured."""
        return [{name: row.get(column) or "" for name, column in self.groups.items()} for row in self.judged]

    def with_judged(self, judged: Sequence[Judged]) -> "Kept":
        """With the columns of the judge as they are under the present settings."""
        found = iter(judged)
        return replace(
            self, rows=[row | next(found).row if row["status"] == OK else row for row in self.rows]
        )

    def picture(self, folder: Path, one: Picture) -> np.ndarray:
        """uint8 RGB."""
        from PIL import Image

        with Image.open(folder / one.file) as opened:
            return np.asarray(opened.convert("RGB"))

    # ---- files

    def save(self, folder: Path, run: Run) -> None:
        """Write config.yaml, evaluation.json and cases.csv."""
        save_config(run.config, folder / CONFIG)
        content = {
            "data": self.name,
            "split": self.part,
            "own_data": self.own,
            "group_columns": self.groups,
            "notes": self.notes,
            "modalities": self.modalities,
            "pictures": [vars(one) for one in self.pictures],
            "model_sha256": self.model,
            "seconds": round(self.seconds, 2),
        }
        write_json(folder / FILE, content)
        write_csv(folder / CASES, [cells(row) for row in self.rows])

    @classmethod
    def load(cls, folder: Path) -> "Kept":
        """Raises RunError when something is missing or is damaged."""
        missing = [name for name in (FILE, CASES, CONFIG) if not (folder / name).is_file()]
        if missing:
            raise RunError(
                f"{folder}: expected the stored predictions of `medcli evaluate`, {missing[0]} is missing; "
                "run `medcli evaluate --force` again."
            )
        try:
            content = json.loads((folder / FILE).read_text(encoding="utf-8"))
            rows = read_csv(folder / CASES)
            kept = cls(
                content["data"],
                content["split"],
                content["own_data"],
                content["group_columns"],
                content["notes"],
                content["modalities"],
                [Picture(**one) for one in content["pictures"]],
                content["model_sha256"],
                content["seconds"],
                [_line(row) for row in rows],
            )
        except (OSError, ValueError, KeyError, TypeError) as error:
            raise RunError(
                f"{folder}: the stored predictions cannot be read ({type(error).__name__}); run `medcli evaluate "
                "--force` again."
            ) from None
        if not kept.judged:
            raise RunError(f"{folder / CASES}: holds no judged case; run `medcli evaluate --force` again.")
        return kept


def _line(row: dict[str, str]) -> dict[str, Any]:
    """A line as it was written: a case that failed has fewer columns, the time is a number."""
    known = {name: value for name, value in row.items() if value or row["status"] == OK}
    return known | ({"seconds": number(row["seconds"])} if row["status"] == OK else {})


def who(case: Case, split: str) -> dict[str, Any]:
    """The first columns of a case's line."""
    groups = {column_of(name): value for name, value in case.groups.items()}
    return {"case": case.name, "patient": patients_of([case])[0], **groups, "split": split}


def column_of(group: str) -> str:
    """The column of cases.csv for a group column."""
    return f"group:{group}" if group in TAKEN else group


def save_pictures(folder: Path, kind: str, drawn: Sequence[tuple[np.ndarray, str]]) -> list[Picture]:
    """Write pictures (uint8 RGB, case), numbered in their order."""
    from PIL import Image

    found = []
    (folder / PICTURES).mkdir(exist_ok=True)
    for number, (rgb, case) in enumerate(drawn, start=1):
        file = f"{PICTURES}/{kind}_{number:02d}.png"
        Image.fromarray(np.ascontiguousarray(rgb, np.uint8)).save(folder / file)
        found.append(Picture(kind, case, file))
    return found


def save_details(folder: Path, details: Sequence[Detail]) -> list[Picture]:
    """Write pictures with their captions, numbered in their order by kind."""
    found = []
    for kind in dict.fromkeys(one.kind for one in details):
        own = [one for one in details if one.kind == kind]
        saved = save_pictures(folder, kind, [(one.picture, one.case) for one in own])
        found += [replace(picture, caption=one.caption) for picture, one in zip(saved, own, strict=True)]
    return found


def opened(folder: Path, overrides: Sequence[str] = ()) -> Run:
    """The run of RUN/evaluate/NAME as it was evaluated, with some settings overridden.

    Raises RunError when the run has other weights by now, or lacks a file.
    """
    run = Run.open(folder.parent.parent, weights=False)
    kept = Kept.load(folder)
    now = run.weights_digest
    if kept.model and now and kept.model != now:
        raise RunError(
            f"{folder}: these predictions are of other weights than the run has now; run `medcli evaluate "
            "--force` again."
        )
    return replace(run, config=load_config(folder / CONFIG, overrides))


def copy_kept(source: Path, target: Path) -> None:
    """Everything but what is made from the rest."""
    shutil.copytree(source, target, dirs_exist_ok=True, ignore=_made)


MADE = (
    "metrics.json", "report.html", "model_card.md", "groups.csv", "robustness.csv", "errors.csv", "score_curves.csv",
    "tables",
)  # fmt: skip
"""What `build` writes, and *.png."""


def _made(folder: str, names: list[str]) -> list[str]:
    if Path(folder).name == PICTURES:
        return []
    return [name for name in names if name in MADE or name.endswith(".png")]


def cells(row: dict[str, Any]) -> dict[str, Any]:
    return {key: cell(value) for key, value in row.items()}


def cell(value: Any) -> Any:
    """NaN is an empty cell; numbers keep the digits that a float32 or else a float64 needs to come back the same."""
    if not isinstance(value, float):
        return value
    if np.isnan(value):
        return ""
    short = np.float32(value)
    return str(short) if float(short) == value else repr(float(value))


def number(text: str | None) -> float:
    """The number of a cell; NaN for an empty one."""
    return float(text) if text else float("nan")


def told(truth: str, unknown: str | None, classes: Sequence[str]) -> list[float]:
    """1, 0 or NaN for every class, from the columns `truth` and `UNKNOWN` of a table of cases, names joined by `|`."""
    present, left = truth.split("|"), (unknown or "").split("|")
    return [1.0 if name in present else math.nan if name in left else 0.0 for name in classes]
