"""What a run learned for refusing: the usual image, features of training cases, and losses on its validation part.

RUN/refusal.json   whose weights and settings it belongs to, counts, and the usual image; see `Record`
RUN/refusal.npz    the numbers behind thresholds and p-values; see `Learned`

The first `evaluate` of a run writes both (`medcli.evaluation.learn_refusal`). Thresholds follow from them and from
the settings of the config, so another `evaluate.miss_rate` needs no new prediction. Nothing comes from the test part.
"""

import zipfile
from dataclasses import dataclass, field
from functools import cached_property
from pathlib import Path
from typing import TYPE_CHECKING, Any, Literal

import numpy as np
from pydantic import BaseModel, ConfigDict, ValidationError

from medcli.config.schema import Config
from medcli.errors import RunError
from medcli.files import atomic_path, sha256, write_text
from medcli.metrics import risk
from medcli.metrics.unusual import Reference, conformal_p, unlikeness
from medcli.preprocessing.plan import Plan
from medcli.refusal.gate import Usual

if TYPE_CHECKING:
    from medcli.run import Run

FILE, ARRAYS = "refusal.json", "refusal.npz"
RARELY_EMPTY = 0.05
"""Of fewer validation cases without any label an empty prediction is suspicious."""


class Made(BaseModel):
    """The settings of `predict` and `evaluate` that shape what was learned."""

    model_config = ConfigDict(extra="forbid", frozen=True)
    overlap: float
    flips: bool
    views: int = 0
    nms_iou: float
    max_detections: int
    iou_threshold: float
    skip_empty: Literal["auto", "on", "off"] = "off"
    nms: str = "hard"
    agnostic: bool = False

    @classmethod
    def of(cls, config: Config, plan: Plan) -> "Made":
        chosen = config.predict
        windowed = plan.task == "segmentation" and plan.dimensions == 3
        return cls(
            overlap=chosen.overlap,
            flips=chosen.flips,
            views=chosen.views,
            nms_iou=chosen.nms_iou,
            max_detections=chosen.max_detections,
            iou_threshold=config.evaluate.iou_threshold,
            skip_empty=chosen.skip_empty if windowed or chosen.skip_empty == "on" else "off",
            nms=chosen.nms,
            agnostic=chosen.agnostic,
        )


class Record(BaseModel):
    """Attributes:
    model: SHA-256 of the weights.
    arrays: SHA-256 of the other file.
    quality: What the expected quality is of: "dice", "f1", or "" (classification has its
        probabilities, regression none).
    empty: Share of the validation cases with no true label at all (segmentation).
    usual: The usual image; None: too few training images were looked at.
    """

    model_config = ConfigDict(extra="forbid", frozen=True)
    model: str
    arrays: str
    task: Literal["classification", "regression", "detection", "segmentation"]
    classes: list[str]
    made: Made
    training_cases: int
    validation_cases: int
    validation_patients: int
    quality: Literal["dice", "f1", ""]
    empty: float
    usual: Usual | None


@dataclass(frozen=True, eq=False)
class Learned:
    """Attributes:
    points, centre, scale: Features of training cases; see `medcli.metrics.unusual.Reference`.
    cases, patients: (n,) str, of the validation part.
    scores: (n,) unlikeness.
    expected, quality: (n,) expected quality without truth, and the true one; NaN where undefined.
    losses: (n, classes, thresholds) share missed, NaN without the class; no classes in classification.
    thresholds: (thresholds,) rising.
    """

    points: np.ndarray
    centre: np.ndarray
    scale: np.ndarray
    cases: np.ndarray
    patients: np.ndarray
    scores: np.ndarray
    expected: np.ndarray
    quality: np.ndarray
    losses: np.ndarray
    thresholds: np.ndarray

    def save(self, path: Path) -> None:
        with atomic_path(path) as temporary, open(temporary, "wb") as stream:
            np.savez_compressed(stream, **vars(self))

    @classmethod
    def load(cls, path: Path) -> "Learned":
        """Raises RunError when the file is damaged or of another kind."""
        try:
            with np.load(path, allow_pickle=False) as content:
                return cls(**{name: content[name] for name in cls.__dataclass_fields__})
        except (OSError, ValueError, KeyError, EOFError, zipfile.BadZipFile):
            raise _damaged(path) from None


@dataclass(frozen=True, eq=False)
class Answer:
    """What became of one case.

    Attributes:
        reasons: Codes of `medcli.refusal.codes`; empty: it is answered.
        notes: A sentence for each reason of the gate.
        unlikeness, p: Distance to the training cases and its p-value; NaN when unknown.
        quality: Expected Dice or F1, 0 to 1; NaN when unknown.
    """

    reasons: tuple[str, ...] = ()
    notes: tuple[str, ...] = ()
    unlikeness: float = float("nan")
    p: float = float("nan")
    quality: float = float("nan")


@dataclass(frozen=True, eq=False)
class Refusal:
    """What a run learned, with the settings that it is asked under.

    Attributes:
        miss_rate: Share of the voxels or objects that may be missed on average.
        unusual: p-values up to this refer a case.
        least_quality: Expected quality below which a case is referred; None: by the p-value.
    """

    record: Record
    learned: Learned
    miss_rate: float
    unusual: float
    least_quality: float | None
    _reference: Reference = field(init=False, repr=False)

    def __post_init__(self) -> None:
        kept = self.learned
        object.__setattr__(self, "_reference", Reference(kept.points, kept.centre, kept.scale))

    @classmethod
    def of(cls, run: "Run") -> "Refusal | None":
        """That of a run; None when it has none, or one of other weights or settings. RunError: it is damaged."""
        path = run.folder / FILE
        if not path.is_file():
            return None
        try:
            record = Record.model_validate_json(path.read_bytes())
        except (OSError, ValidationError):
            raise _damaged(path) from None
        arrays = run.folder / ARRAYS
        if record.classes != run.plan.classes or record.made != Made.of(run.config, run.plan):
            return None
        weights = run.weights_digest
        if weights and record.model != weights:
            return None
        if not arrays.is_file() or sha256(arrays) != record.arrays:
            raise _damaged(arrays)
        return cls.under(record, Learned.load(arrays), run.config)

    @classmethod
    def under(cls, record: Record, learned: Learned, config: Config) -> "Refusal":
        chosen = config.evaluate
        least = None if chosen.least_quality == "auto" else chosen.least_quality
        return cls(record, learned, chosen.miss_rate, chosen.unusual, least)

    # ---- thresholds

    @cached_property
    def limits(self) -> np.ndarray:
        """(classes,) threshold of each class from which what is in misses at most `miss_rate`; NaN: no promise."""
        losses, patients = self.learned.losses, self.learned.patients
        chosen = [
            risk.controlled(risk.by_patient(losses[:, index], patients), self.miss_rate)
            for index in range(losses.shape[1])
        ]
        return np.array([np.nan if at is None else self.learned.thresholds[at] for at in chosen], float)

    @cached_property
    def patients_per_class(self) -> np.ndarray:
        """(classes,) validation patients who have the class."""
        known = ~np.isnan(self.learned.losses[..., 0])
        return np.array([len(set(self.learned.patients[column])) for column in known.T], int)

    @cached_property
    def _steps(self) -> tuple[np.ndarray, np.ndarray]:
        return risk.learn_quality(self.learned.expected, self.learned.quality)

    # ---- use

    def expected(self, raw: np.ndarray | float) -> np.ndarray:
        """Expected quality as it proved on the validation part, from that by the probabilities alone."""
        return risk.quality_of(np.asarray(raw, float), self._steps)

    def unlikeness(self, features: np.ndarray) -> np.ndarray:
        """(m,) from features (m, d)."""
        return unlikeness(features, self._reference)

    def p(self, scores: np.ndarray | float) -> np.ndarray:
        """(m,) p-values of unlikeness."""
        return conformal_p(np.atleast_1d(scores), self.learned.scores, self.learned.patients)

    def answer(
        self,
        *,
        faults: tuple[tuple[str, str], ...] = (),
        score: float = float("nan"),
        raw_quality: float = float("nan"),
        empty: bool = False,
    ) -> Answer:
        """
        Args:
            faults: Of the gate.
            score: Unlikeness.
            raw_quality: By the probabilities alone.
            empty: Nothing was segmented.
        """
        p = float(self.p(score)[0])
        quality = float(self.expected(raw_quality))
        reasons = list(dict.fromkeys(code for code, _ in faults))
        if p <= self.unusual:
            reasons.append("not_like_training")
        if empty and self.record.empty < RARELY_EMPTY:
            reasons.append("empty_prediction")
        elif self._low(raw_quality, quality):
            reasons.append("low_quality")
        return Answer(tuple(reasons), tuple(text for _, text in faults), score, p, quality)

    def _low(self, raw: float, quality: float) -> bool:
        """Below what was asked for; auto: as low as the lowest few of the validation part."""
        if np.isnan(quality):
            return False
        if self.least_quality is not None:
            return quality < self.least_quality
        p = conformal_p(np.array([-raw]), -self.learned.expected, self.learned.patients)
        return bool(p[0] <= self.unusual)

    @property
    def used(self) -> dict[str, Any]:
        """What of it shapes an output, for the record beside the output."""
        content = self.record.model_dump(
            mode="json", include={"arrays", "training_cases", "validation_cases"}
        )
        content |= {"miss_rate": self.miss_rate, "unusual": self.unusual, "least_quality": self.least_quality}
        limits = {
            name: "no_promise" if np.isnan(limit) else float(limit)
            for name, limit in zip(self.record.classes, self.limits, strict=False)
        }
        return content | ({"thresholds": limits} if len(self.limits) else {})


def save(folder: Path, record: Record, learned: Learned) -> None:
    """Write both files whole, the arrays first; `record.arrays` is filled in."""
    learned.save(folder / ARRAYS)
    record = record.model_copy(update={"arrays": sha256(folder / ARRAYS)})
    write_text(folder / FILE, record.model_dump_json(indent=1) + "\n")


def _damaged(path: Path) -> RunError:
    return RunError(
        f"{path}: not what medcli learned for refusing cases; remove {FILE} and {ARRAYS} and evaluate again, "
        "which makes them anew."
    )
