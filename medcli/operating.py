"""From which score on a detector's boxes count as found: learned from its validation part for a stated goal.

RUN/validation.csv   every box found on the validation part: class, image, score, whether it hit
RUN/operating.json   the threshold of each class and what it does there; see `Operating`

`train` writes both at its end, and the first `evaluate` of a run that has none. The table is kept so that another goal
(`predict.score_threshold`) needs no new prediction.
"""

import math
from collections.abc import Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np
from pydantic import BaseModel, ConfigDict, ValidationError

from medcli.boxes import Boxes
from medcli.config.schema import Config
from medcli.errors import RunError
from medcli.files import read_csv, sha256, write_csv, write_text
from medcli.metrics.detection import ALL, Matches, match_images
from medcli.metrics.operating import (
    best_common_f1,
    best_f1,
    counts_at,
    precision_recall_f1,
    with_false_positives,
)
from medcli.preprocessing.prepared import Prepared, Record

if TYPE_CHECKING:
    import keras

    from medcli.run import Run
    from medcli.tasks.base import Task

TABLE, FILE = "validation.csv", "operating.json"
UNLEARNED = 0.25
"""From this score on boxes count as found where nothing was learned."""
TOGETHER = 64
"""Images given to the network in one go."""
DIGITS = 1e6
"""Thresholds are rounded down to as many digits as scores are written with, so that none falls out by rounding."""

Goal = dict[str, str | float]


class _Kept(BaseModel):
    model_config = ConfigDict(extra="forbid", frozen=True)


class Made(_Kept):
    """The settings that shape the boxes and what is a hit."""

    flips: bool
    nms: str
    nms_iou: float
    max_detections: int
    iou_threshold: float
    agnostic: bool = False

    @classmethod
    def of(cls, config: Config) -> "Made":
        chosen = config.predict
        return cls(
            flips=chosen.flips,
            nms=chosen.nms,
            nms_iou=chosen.nms_iou,
            max_detections=chosen.max_detections,
            iou_threshold=config.evaluate.iou_threshold,
            agnostic=chosen.agnostic,
        )


class OfClass(_Kept):
    """What the threshold of a class does on the validation part; None where undefined."""

    threshold: float
    precision: float | None
    recall: float | None
    f1: float | None


class Operating(_Kept):
    """Attributes:
    model: SHA-256 of the weights that it belongs to.
    goal: As asked for.
    images: Of the validation part.
    truths: True boxes there, by class.
    classes: Class to its threshold.
    false_positives: Per image, all classes together.
    """

    model: str
    made: Made
    goal: Goal
    images: int
    truths: dict[str, int]
    classes: dict[str, OfClass]
    false_positives: float

    @classmethod
    def of(cls, run: "Run") -> "Operating | None":
        """That of a run, for the goal of its settings; None when it has none, or one of other weights or settings.

        Raises RunError when a file is damaged.
        """
        path = run.folder / FILE
        if run.plan.task != "detection" or not path.is_file():
            return None
        try:
            kept = cls.model_validate_json(path.read_bytes())
        except (OSError, ValidationError):
            raise _damaged(path) from None
        weights = run.weights_digest
        if (
            (weights and kept.model != weights)
            or list(kept.classes) != run.plan.classes
            or kept.made != Made.of(run.config)
        ):
            return None
        if kept.goal == goal_of(run.config):
            return kept
        return choose(_load(run.folder, kept), run.config, run.plan.classes, model=kept.model)

    @property
    def thresholds(self) -> np.ndarray:
        """(classes,)"""
        return np.array([one.threshold for one in self.classes.values()])

    @property
    def used(self) -> dict[str, Any]:
        """What of it shapes an output, for the record beside the output."""
        return {"goal": self.goal} | {name: one.threshold for name, one in self.classes.items()}


def thresholds_of(operating: Operating | None, num_classes: int) -> np.ndarray:
    """(classes,)"""
    return np.full(num_classes, UNLEARNED) if operating is None else operating.thresholds


def is_found(boxes: Boxes, thresholds: np.ndarray) -> np.ndarray:
    """(n,) bool: the boxes from their class's threshold on."""
    return np.asarray(boxes.scores >= thresholds[boxes.classes], bool)


def goal_of(config: Config) -> Goal:
    """With the default where the setting names none."""
    asked = config.predict.score_threshold
    return {str(key): value for key, value in asked.items()} if isinstance(asked, dict) else {"f1": "each"}


def goal_text(goal: Goal) -> str:
    """As part of a sentence."""
    match goal:
        case {"f1": "each"}:
            return "the best F1 of every class"
        case {"f1": _}:
            return "the best mean F1, one score for all classes"
        case {"false_positives": most}:
            return f"at most {most:g} false boxes per image"
        case _:
            return "a score that was given"


def choose(matches: Sequence[Matches], config: Config, classes: Sequence[str], *, model: str) -> Operating:
    """Thresholds for the goal of the config.

    A class of which no box hits takes the score that is best for all together, else `UNLEARNED`.

    Args:
        matches: One per class, at one overlap.
    """
    goal = goal_of(config)
    common = best_common_f1(matches)
    fallback = UNLEARNED if common is None else common
    match goal:
        case {"score": float(score)}:
            chosen = [score] * len(matches)
        case {"false_positives": float(most)}:
            score = with_false_positives(matches, most) or 1.0
            chosen = [score] * len(matches)
        case {"f1": "each"}:
            chosen = [fallback if (best := best_f1(one)) is None else best for one in matches]
        case _:
            chosen = [fallback] * len(matches)
    chosen = [math.floor(score * DIGITS) / DIGITS for score in chosen]
    counts = np.stack([counts_at(one, score) for one, score in zip(matches, chosen, strict=True)])
    images = len(matches[0].truths)
    return Operating(
        model=model,
        made=Made.of(config),
        goal=goal,
        images=images,
        truths={name: int(one.truths.sum()) for name, one in zip(classes, matches, strict=True)},
        classes={
            name: OfClass(
                threshold=score,
                **{key: _finite(value) for key, value in precision_recall_f1(row).items()},
            )
            for name, score, row in zip(classes, chosen, counts, strict=True)
        },
        false_positives=float(counts[:, 1].sum() / max(images, 1)),
    )


def learn(
    folder: Path,
    found: Sequence[Boxes],
    truth: Sequence[Boxes],
    config: Config,
    classes: Sequence[str],
    *,
    model: str | None = None,
) -> Operating:
    """Write both files into the run folder.

    Args:
        found, truth: Of every validation image, in the same pixels; `found` down to a low score.
        model: SHA-256 of the weights; None: of the folder's model.keras.
    """
    from medcli.run import MODEL

    overlap = np.array([config.evaluate.iou_threshold])
    matches = [match_images(found, truth, kind, thresholds=overlap, most=ALL) for kind in range(len(classes))]
    return _write(folder, matches, config, classes, model or sha256(folder / MODEL))


def learn_from_folds(run: "Run") -> None:
    """For an ensemble of folds, from what each of them learned; nothing when one lacks it."""
    tables = []
    for member in run.members:
        kept = Operating.of(member)
        if kept is None:
            return
        tables.append(_load(member.folder, kept))
    matches = [together(one) for one in zip(*tables, strict=True)]
    _write(run.folder, matches, run.config, run.plan.classes, run.weights_digest or "")


def together(parts: Sequence[Matches]) -> Matches:
    """The images of all parts as one, in their order; boxes by falling score."""
    first = np.cumsum([0, *(len(one.truths) for one in parts[:-1])])
    score = np.concatenate([one.score for one in parts])
    order = np.argsort(-score, kind="stable")
    return Matches(
        np.concatenate([one.image + start for one, start in zip(parts, first, strict=True)])[order],
        score[order],
        np.concatenate([one.hit for one in parts])[order],
        np.concatenate([one.ignored for one in parts])[order],
        np.concatenate([one.truths for one in parts]),
        parts[0].thresholds,
    )


def _write(
    folder: Path, matches: Sequence[Matches], config: Config, classes: Sequence[str], model: str
) -> Operating:
    _save(folder, matches, classes)
    operating = choose(matches, config, classes, model=model)
    write_text(folder / FILE, operating.model_dump_json(indent=1) + "\n")
    return operating


def learn_operating_point(
    folder: Path, task: "Task", model: "keras.Model", prepared: Prepared, records: Sequence[Record]
) -> None:
    """Give the network the best weights and learn from the validation part; for detectors only."""
    if task.plan.task != "detection":
        return
    from medcli.models.safety import load_weights_safely
    from medcli.run import MODEL

    load_weights_safely(model, folder / MODEL)
    found: list[Boxes] = []
    for start in range(0, len(records), TOGETHER):
        found += task.predict(model, [prepared.image(r) for r in records[start : start + TOGETHER]])
    labels = [prepared.label(record) for record in records]
    truth = [Boxes.of(label[:, :4], label[:, 4]) for label in labels]
    learn(folder, found, truth, task.config, task.plan.classes)


# ---- the table of boxes


def _save(folder: Path, matches: Sequence[Matches], classes: Sequence[str]) -> None:
    """Rows without a score tell how many true boxes an image has."""
    rows: list[dict[str, Any]] = []
    for name, one in zip(classes, matches, strict=True):
        rows += [{"class": name, "image": image, "truths": int(n)} for image, n in enumerate(one.truths)]
        kinds = np.where(one.ignored[:, 0], "ignored", np.where(one.hit[:, 0], "hit", "false"))
        rows += [
            {"class": name, "image": int(image), "score": f"{score:.9g}", "kind": kind}
            for image, score, kind in zip(one.image, one.score, kinds, strict=True)
        ]
    write_csv(folder / TABLE, rows, ["class", "image", "truths", "score", "kind"])


def _load(folder: Path, kept: Operating) -> list[Matches]:
    try:
        rows = read_csv(folder / TABLE)
        return [_matches([row for row in rows if row["class"] == name], kept) for name in kept.classes]
    except (OSError, KeyError, ValueError, TypeError, IndexError):
        raise _damaged(folder / TABLE) from None


def _matches(rows: Sequence[dict[str, str]], kept: Operating) -> Matches:
    truths = np.zeros(kept.images, int)
    for row in rows:
        if row["truths"]:
            truths[int(row["image"])] = int(row["truths"])
    boxes = [row for row in rows if row["score"]]
    kinds = np.array([row["kind"] for row in boxes], str)
    return Matches(
        np.array([row["image"] for row in boxes], int),
        np.array([row["score"] for row in boxes], float),
        (kinds == "hit")[:, None],
        (kinds == "ignored")[:, None],
        truths,
        np.array([kept.made.iou_threshold]),
    )


def _damaged(path: Path) -> RunError:
    return RunError(
        f"{path}: not what medcli learned about the scores of this run; remove {FILE} and {TABLE} and evaluate "
        "again, which makes them anew."
    )


def _finite(value: np.ndarray) -> float | None:
    return float(value) if math.isfinite(value) else None
