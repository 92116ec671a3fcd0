"""Learning, from the training images and the validation part, which cases to answer; see `medcli.refusal.learned`."""

from dataclasses import dataclass, field
from typing import TYPE_CHECKING

import numpy as np

from medcli.case import Case
from medcli.errors import MedcliError
from medcli.evaluation.choose import judge_for
from medcli.evaluation.controlled import missed_boxes, missed_voxels
from medcli.evaluation.selection import Selection, select_cases
from medcli.files import sha256
from medcli.image import Image
from medcli.metrics.risk import THRESHOLDS
from medcli.metrics.unusual import reference, unlikeness
from medcli.prediction.result import Prediction, Signals
from medcli.preprocessing.objects import with_boxes
from medcli.progress import Progress, ignore
from medcli.refusal.gate import Look, Usual
from medcli.refusal.learned import Learned, Made, Record, Refusal, save
from medcli.run import Run

if TYPE_CHECKING:
    from medcli.prediction.predictor import Predictor

MOST_TRAINING = {"classification": 1000, "regression": 1000, "detection": 300, "segmentation": 50}
MOST_VALIDATION = {"classification": 5000, "regression": 5000, "detection": 1000, "segmentation": 300}
"""Cases that are looked at, drawn by chance where there are more."""
QUALITY = {"classification": "", "regression": "", "detection": "f1", "segmentation": "dice"}


def with_refusal(predictor: "Predictor", progress: Progress = ignore) -> "Predictor":
    """The predictor itself when its run has learned this already, else one that has.

    An ensemble learns none: the features of its networks cannot be compared, and thresholds of single networks do not
    hold for fused scores. What was learned is written into the run folder. When too few cases can be found or read any
    more, or the folder cannot be written, the run stays without.
    """
    if predictor.refusal is not None or predictor.run.members:
        return predictor
    try:
        record, learned = learn(predictor, progress)
        save(predictor.run.folder, record, learned)
        return predictor.referring(Refusal.of(predictor.run))
    except (MedcliError, OSError):
        return predictor


@dataclass
class _Seen:
    """What was seen of one part of the data; see `Learned`."""

    cases: list[str] = field(default_factory=list)
    patients: list[str] = field(default_factory=list)
    looks: list[Look] = field(default_factory=list)
    features: list[np.ndarray] = field(default_factory=list)
    depths: tuple[int, ...] = ()
    expected: list[float] = field(default_factory=list)
    quality: list[float] = field(default_factory=list)
    losses: list[np.ndarray] = field(default_factory=list)
    empty: list[bool] = field(default_factory=list)

    def add(self, case: Case, signals: Signals) -> None:
        self.cases.append(case.name)
        self.patients.append(case.patient or case.name)
        self.looks.append(signals.look)
        self.features.append(np.concatenate(signals.features))
        self.depths = tuple(len(one) for one in signals.features)
        self.expected.append(signals.quality)


def learn(predictor: "Predictor", progress: Progress = ignore) -> tuple[Record, Learned]:
    """Look at training cases, then predict the validation cases and compare with the truth.

    Raises DataError when there are no cases of either part.
    """
    run = predictor.run
    collecting = predictor.collecting()
    training, validation = _Seen(), _Seen()
    chosen = [_some(select_cases(run, split="train"), MOST_TRAINING[run.plan.task], run.config.seed)]
    chosen.append(_some(select_cases(run, split="val"), MOST_VALIDATION[run.plan.task], run.config.seed))
    total, done = sum(map(len, chosen)), 0
    progress("learn to refuse", 0, total)
    judge = judge_for(run.plan, run.config.evaluate, run) if QUALITY[run.plan.task] else None
    for seen, cases in zip((training, validation), chosen, strict=True):
        for case, image, outcome in collecting.predict_cases(cases):
            done += 1
            progress("learn to refuse", done, total)
            if isinstance(outcome, MedcliError) or image is None or outcome.signals is None:
                continue
            if seen is validation and judge is not None:
                try:
                    case = with_boxes(case, image, run.plan)
                    seen.quality.append(judge.add(case, image, outcome).quality)
                except MedcliError:  # without a truth there is nothing to learn from
                    continue
                seen.losses.append(_losses(case, image, outcome, run))
                seen.empty.append(_is_empty(case, seen.losses[-1]))
            seen.add(case, outcome.signals)
    return _record(run, training, validation), _learned(training, validation)


def _some(selection: Selection, most: int, seed: int) -> list[Case]:
    cases = selection.cases
    if len(cases) <= most:
        return cases
    return [cases[at] for at in sorted(np.random.default_rng(seed).choice(len(cases), most, replace=False))]


def _losses(case: Case, image: Image, prediction: Prediction, run: Run) -> np.ndarray:
    """(classes, thresholds)"""
    if run.plan.task == "segmentation":
        assert prediction.signals is not None and prediction.signals.levels is not None
        return missed_voxels(case, image, prediction.signals.levels, run.plan)
    assert prediction.signals is not None and prediction.signals.boxes is not None and case.boxes is not None
    overlap = run.config.evaluate.iou_threshold
    return missed_boxes(prediction.signals.boxes, case.boxes, run.plan.num_classes, overlap=overlap)


def _is_empty(case: Case, losses: np.ndarray) -> bool:
    return bool(np.isnan(losses[:, 0]).all())


def _record(run: Run, training: _Seen, validation: _Seen) -> Record:
    return Record(
        model=sha256(run.model_path),
        arrays="",
        task=run.plan.task,
        classes=list(run.plan.classes),
        made=Made.of(run.config, run.plan),
        training_cases=len(training.cases),
        validation_cases=len(validation.cases),
        validation_patients=len(set(validation.patients)),
        quality=QUALITY[run.plan.task],  # type: ignore[arg-type]
        empty=float(np.mean(validation.empty)) if validation.empty else 0.0,
        usual=Usual.of(training.looks, run.plan),
    )


def _learned(training: _Seen, validation: _Seen) -> Learned:
    like = reference(np.stack(training.features), training.depths)
    features = np.stack(validation.features)
    nothing = np.zeros((len(validation.cases), 0, len(THRESHOLDS)), np.float32)
    return Learned(
        points=like.points,
        centre=like.centre,
        scale=like.scale,
        cases=np.array(validation.cases, str),
        patients=np.array(validation.patients, str),
        scores=unlikeness(features, like),
        expected=np.array(validation.expected, float),
        quality=np.array(validation.quality or [np.nan] * len(validation.cases), float),
        losses=np.stack(validation.losses).astype(np.float32) if validation.losses else nothing,
        thresholds=THRESHOLDS,
    )
