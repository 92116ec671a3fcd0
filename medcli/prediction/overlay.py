"""Pictures of predictions that a person can check at a glance."""

from collections.abc import Mapping
from dataclasses import replace

import numpy as np

from medcli.calibration import Calibration
from medcli.drawing import (
    View,
    add_legend,
    add_title,
    beside,
    color_of,
    draw_boxes,
    draw_heat,
    draw_labels,
    draw_objects,
    views,
)
from medcli.image import Image
from medcli.instances.decode import Objects
from medcli.operating import Operating, is_found, thresholds_of
from medcli.prediction.result import Prediction
from medcli.prediction.writers.classes import predicted_classes
from medcli.preprocessing.plan import Plan
from medcli.report import number_text

LONGEST = 640
HEAT = (2.0, 10.0)


def overlay(
    image: Image,
    prediction: Prediction,
    plan: Plan,
    operating: Operating | None = None,
    calibration: Calibration | None = None,
    groups: Mapping[str, str] | None = None,
) -> np.ndarray:
    """uint8 RGB: the image (of a volume the three planes with most labels) with the prediction drawn in.

    Of boxes those that count as found; of several labels those that reach the thresholds for such a case (`groups`).
    """
    labels = [] if prediction.labels is None else [prediction.labels]
    if prediction.objects is not None:
        labels.append(prediction.objects.ids)
    shown = views(image, labels, longest=LONGEST if image.ndim == 2 else LONGEST // 2)
    if prediction.boxes is not None:
        found = is_found(prediction.boxes, thresholds_of(operating, plan.num_classes))
        boxes = prediction.boxes.take(found)
        return draw_boxes(shown[0].rgb, boxes.scaled(*shown[0].scale), plan.classes)
    if prediction.objects is not None:
        return _outlined(shown, prediction.objects, plan)
    if labels:
        drawn = [draw_labels(view.rgb, view.labels[0]) for view in shown]
        return add_legend(beside(drawn), plan.label_names)
    if prediction.number is not None:
        said = f"{plan.classes[0]} {number_text(prediction.number)}"
        return add_title(beside([view.rgb for view in shown]), said)
    assert prediction.probabilities is not None
    if prediction.anomaly is not None:
        shown = _heated(image, prediction.anomaly)
    sentence = _sentence(prediction.probabilities, plan, calibration, groups)
    return add_title(beside([view.rgb for view in shown]), sentence)


def _heated(image: Image, anomaly: np.ndarray) -> list[View]:
    """Errors from twice the usual one on, brightest from ten times on; of a volume the planes with most of them."""
    least, most = HEAT
    heat = np.rint(255 * np.clip((anomaly - least) / (most - least), 0, 1)).astype(np.uint8)
    shown = views(image, [heat], longest=LONGEST if image.ndim == 2 else LONGEST // 2)
    return [replace(view, rgb=draw_heat(view.rgb, view.labels[0] / 255)) for view in shown]


def _outlined(shown: list[View], objects: Objects, plan: Plan) -> np.ndarray:
    """Every object with its outline, in the colour of its class; of one class in colours by turns."""
    kind = objects.classes.astype(int) - 1 if len(plan.classes) > 1 else np.arange(len(objects))
    colors = np.array([color_of(int(index)) for index in kind], np.uint8).reshape(-1, 3)
    picture = beside([draw_objects(view.rgb, view.labels[1], colors) for view in shown])
    if len(plan.classes) > 1:
        return add_legend(picture, plan.classes)
    return add_title(picture, f"{len(objects)} x {plan.classes[0]}")


def _sentence(
    probabilities: np.ndarray,
    plan: Plan,
    calibration: Calibration | None,
    groups: Mapping[str, str] | None,
) -> str:
    """Such as `pneumonia 0.93`, or every class that applies."""
    predicted = predicted_classes(probabilities, plan, calibration, groups)
    chances = dict(zip(plan.classes, probabilities, strict=True))
    return ", ".join(f"{name} {chances[name]:.2f}" for name in predicted) or "none of the classes"
