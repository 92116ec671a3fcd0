"""What is predicted for one case, on the grid of the image as it was read."""

from dataclasses import dataclass

import numpy as np

from medcli.boxes import Boxes
from medcli.instances.decode import Objects
from medcli.refusal.gate import Look
from medcli.refusal.learned import Answer


@dataclass(frozen=True, eq=False)
class Signals:
    """What there is to learn from beside the prediction; only for learning.

    Attributes:
        look: The image as the gate sees it.
        features: (filters,) float32 for each depth of the network.
        quality: Expected Dice or F1 by the probabilities alone; NaN where there is none.
        boxes: Detection: all boxes, also those below the score that is asked for.
        levels: Segmentation: uint8, spatial shape of the image + (classes,), see `medcli.metrics.risk.levels`; a byte
            per voxel and class where their probabilities would take four.
    """

    look: Look
    features: tuple[np.ndarray, ...]
    quality: float
    boxes: Boxes | None = None
    levels: np.ndarray | None = None


@dataclass(frozen=True, eq=False)
class Prediction:
    """Only what the task predicts is set.

    Attributes:
        probabilities: Classification: (classes,) float32 in the order of the plan's classes, calibrated where
            the run has a calibration.
        raw_probabilities: As the network gave them, where they differ.
        anomaly: Of an autoencoder: float32, spatial shape of the image; how badly each place is drawn again, in units
            of the usual error of an image.
        number: Regression: in the unit of the target; of several networks their mean.
        spread: Standard deviation (n - 1) of what several networks say; NaN of one.
        boxes: Detection: in pixels of the image, best first.
        labels: Segmentation: uint8, spatial shape of the image; 0 is background, i the plan's label i - 1.
        objects: Segmentation of single objects: on the grid of `labels`, which are their classes.
        region_masks: Segmentation of regions, when asked for or where labels cannot tell them: for each region bool,
            spatial shape of the image.
        label_probabilities: Segmentation, when asked for: float32, spatial shape + (1 + classes), background
            first.
        controlled: Detection, where the run learned to: the boxes that miss few objects (`evaluate.miss_rate`).
        outer: Segmentation, when asked for and learned: for each class bool, spatial shape of the image: a mask
            that misses little of it.
        uncertainty, disagreement: Segmentation, when asked for: float32 maps in bits, see
            `medcli.prediction.restore.Restored`.
        windows, skipped: Segmentation: how many windows the image has, and how many hold nothing and were left out.
        answer: Whether the case is answered or referred, and why; None: the run did not learn to tell.
        signals: Only for learning.
        seconds: Reading, preparing, predicting and bringing back; a batch's time is shared out evenly.
    """

    probabilities: np.ndarray | None = None
    raw_probabilities: np.ndarray | None = None
    anomaly: np.ndarray | None = None
    number: float | None = None
    spread: float = float("nan")
    boxes: Boxes | None = None
    labels: np.ndarray | None = None
    objects: Objects | None = None
    region_masks: tuple[np.ndarray, ...] | None = None
    label_probabilities: np.ndarray | None = None
    controlled: Boxes | None = None
    outer: tuple[np.ndarray, ...] | None = None
    uncertainty: np.ndarray | None = None
    disagreement: np.ndarray | None = None
    windows: int = 0
    skipped: int = 0
    answer: Answer | None = None
    signals: Signals | None = None
    seconds: float = 0.0
