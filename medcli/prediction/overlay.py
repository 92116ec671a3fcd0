"""Pictures of predictions that a person can check at a glance."""

import numpy as np

from medcli.drawing import add_legend, add_title, beside, draw_boxes, draw_labels, views
from medcli.image import Image
from medcli.operating import Operating, is_found, thresholds_of
from medcli.prediction.result import Prediction
from medcli.prediction.write import predicted_classes
from medcli.preprocessing.plan import Plan

LONGEST = 640


def overlay(
    image: Image, prediction: Prediction, plan: Plan, operating: Operating | None = None
) -> np.ndarray:
    """uint8 RGB: the image (of a volume the three planes with most labels) with the prediction drawn in.

    Of boxes those that count as found.
    """
    labels = () if prediction.labels is None else (prediction.labels,)
    shown = views(image, labels, longest=LONGEST if image.ndim == 2 else LONGEST // 2)
    if prediction.boxes is not None:
        found = is_found(prediction.boxes, thresholds_of(operating, plan.num_classes))
        boxes = prediction.boxes.take(found)
        return draw_boxes(shown[0].rgb, boxes.scaled(*shown[0].scale), plan.classes)
    if labels:
        drawn = [draw_labels(view.rgb, view.labels[0]) for view in shown]
        return add_legend(beside(drawn), plan.label_names)
    assert prediction.probabilities is not None
    return add_title(beside([view.rgb for view in shown]), _sentence(prediction.probabilities, plan))


def _sentence(probabilities: np.ndarray, plan: Plan) -> str:
    """Such as `pneumonia 0.93`, or every class that applies."""
    predicted = predicted_classes(probabilities, plan)
    chances = dict(zip(plan.classes, probabilities, strict=True))
    return ", ".join(f"{name} {chances[name]:.2f}" for name in predicted) or "none of the classes"
