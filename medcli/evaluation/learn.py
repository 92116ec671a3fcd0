"""Learning what a run lacks that was trained without: its validation part is predicted once more.

For classifiers a calibration, for detectors from which score on a box counts as found.
"""

from dataclasses import replace
from typing import TYPE_CHECKING

import numpy as np

from medcli.calibration import Validation, learn, truth_of
from medcli.errors import MedcliError
from medcli.evaluation.selection import select_cases
from medcli.operating import learn as learn_scores
from medcli.preprocessing.objects import with_boxes
from medcli.progress import Progress, ignore

if TYPE_CHECKING:
    from medcli.prediction.predictor import Predictor


def with_calibration(predictor: "Predictor", progress: Progress = ignore) -> "Predictor":
    """The predictor itself when its run has a calibration or needs none, else one that has learned it.

    What was learned is written into the run folder. When the validation cases cannot be found or read any
    more, or the folder cannot be written, the run stays without.
    """
    run = predictor.run
    if run.plan.task != "classification" or predictor.calibration is not None:
        return predictor
    try:
        cases = select_cases(run, split="val").cases
        truth, chances, kept = [], [], []
        progress("learn from validation", 0, len(cases))
        for number, (case, _, outcome) in enumerate(predictor.held_out().predict_cases(cases), start=1):
            if not isinstance(outcome, MedcliError):
                assert outcome.probabilities is not None
                truth.append(case.shows(run.plan.classes))
                chances.append(np.asarray(outcome.probabilities, float))
                kept.append(case)
            progress("learn from validation", number, len(cases))
        if run.config.model.name == "autoencoder" and len(set(map(tuple, truth))) < 2:
            return predictor  # normal cases alone do not tell which errors are abnormal
        validation = Validation(
            [case.name for case in kept],
            [case.patient or case.name for case in kept],
            truth_of(truth),
            np.array(chances),
        )
        learned = (
            learn(run.folder, validation, run.config, run.plan, model=run.weights_digest) if kept else None
        )
    except (MedcliError, OSError):
        return predictor
    return replace(predictor, calibration=learned)


def with_operating(predictor: "Predictor", progress: Progress = ignore) -> "Predictor":
    """The predictor itself when its run knows from which score on boxes count as found or needs no such, else one
    that has learned it; see `with_calibration`."""
    run = predictor.run
    if run.plan.task != "detection" or predictor.operating is not None:
        return predictor
    try:
        cases = select_cases(run, split="val").cases
        found, truth = [], []
        progress("learn from validation", 0, len(cases))
        for number, (case, image, outcome) in enumerate(predictor.held_out().predict_cases(cases), start=1):
            if not isinstance(outcome, MedcliError) and image is not None:
                real = with_boxes(case, image, run.plan).boxes
                if real is not None and outcome.boxes is not None:
                    found.append(outcome.boxes)
                    truth.append(real)
            progress("learn from validation", number, len(cases))
        if not found:
            return predictor
        return replace(
            predictor,
            operating=learn_scores(
                run.folder, found, truth, run.config, run.plan.classes, model=run.weights_digest
            ),
        )
    except (MedcliError, OSError):
        return predictor
