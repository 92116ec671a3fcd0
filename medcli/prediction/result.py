"""What is predicted for one case, on the grid of the image as it was read."""

from dataclasses import dataclass

import numpy as np

from medcli.boxes import Boxes


@dataclass(frozen=True, eq=False)
class Prediction:
    """Only what the task predicts is set.

    Attributes:
        probabilities: Classification: (classes,) float32 in the order of the plan's classes, calibrated where
            the run has a calibration.
        raw_probabilities: As the network gave them, where they differ.
        boxes: Detection: in pixels of the image, best first.
        labels: Segmentation: uint8, spatial shape of the image; 0 is background, i the plan's class i - 1.
        label_probabilities: Segmentation, when asked for: float32, spatial shape + (1 + classes), background
            first.
        seconds: Reading, preparing, predicting and bringing back; a batch's time is shared out evenly.
    """

    probabilities: np.ndarray | None = None
    raw_probabilities: np.ndarray | None = None
    boxes: Boxes | None = None
    labels: np.ndarray | None = None
    label_probabilities: np.ndarray | None = None
    seconds: float = 0.0
