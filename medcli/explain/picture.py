"""Pictures of explanations: the image with its answer, and beside it where every map sees the evidence."""

import numpy as np

from medcli.boxes import Boxes
from medcli.drawing import (
    View,
    above,
    add_title,
    beside,
    draw_boxes,
    draw_heat,
    draw_labels,
    heat_bar,
    views,
)
from medcli.explain.result import Answer, Explained, Explanation
from medcli.image import Image
from medcli.preprocessing.plan import Plan

LONGEST = {2: 360, 3: 220}
"""Pixels of the longest side of one panel, by the number of axes."""
TOP = 99.5
"""Percentile of the positive evidence that is drawn as most."""
SMOOTH = {"ig": 0.01}
"""Grainy maps are drawn with a blur, a share of every side wide; the files hold them as they are."""
TRUTH = (255, 255, 255)


def picture(found: Explained, answer: Answer, plan: Plan) -> np.ndarray:
    """uint8 RGB. White outlines are the truth, where it is known; coloured ones what the network found."""
    explanations = found.of(answer)
    draw = _of_picture if found.image.ndim == 2 else _of_volume
    body = draw(found.image, explanations, plan)
    return add_title(body, answer.told, size=15)


def _of_picture(image: Image, explanations: list[Explanation], plan: Plan) -> np.ndarray:
    panels: list[np.ndarray] = []
    for explanation in explanations:
        (view,) = _views(image, explanation)
        if not panels:
            panels.append(add_title(_with_answer(view, explanation.answer, plan), "image", size=14))
        panels.append(_titled(_with_heat(view), explanation))
    return beside([*panels, heat_bar(panels[0].shape[0])])


def _of_volume(image: Image, explanations: list[Explanation], plan: Plan) -> np.ndarray:
    """Per map the planes with most evidence in each direction, without and with it."""
    blocks = []
    for explanation in explanations:
        shown = _views(image, explanation)
        plain = beside([_with_answer(view, explanation.answer, plan) for view in shown])
        block = above([plain, beside([_with_heat(view) for view in shown])])
        blocks.append(_titled(beside([block, heat_bar(block.shape[0])]), explanation))
    return above(blocks)


def _titled(rgb: np.ndarray, explanation: Explanation) -> np.ndarray:
    verdict = "not checked" if explanation.verdict is None else explanation.verdict.word
    return add_title(rgb, f"{explanation.title}: {verdict}", size=14)


def _views(image: Image, explanation: Explanation) -> list[View]:
    """With four label maps: where the planes are taken, evidence 0..255, the region found, the truth."""
    heat, answer = _scaled(explanation), explanation.answer
    nothing = np.zeros(image.shape, np.uint8)
    chosen = nothing.copy()
    sums = [
        heat.sum(tuple(other for other in range(heat.ndim) if other != axis)) for axis in range(heat.ndim)
    ]
    chosen[tuple(int(one.argmax()) for one in sums)] = 1
    maps = [chosen, np.rint(heat * 255).astype(np.uint8)]
    maps += [nothing if part is None else part.astype(np.uint8) for part in (answer.region, answer.truth)]
    return views(image, maps, longest=LONGEST[image.ndim])


def _scaled(explanation: Explanation) -> np.ndarray:
    """float32 0..1."""
    from scipy.ndimage import gaussian_filter

    heat = explanation.heat
    if explanation.method in SMOOTH:
        heat = gaussian_filter(heat, [side * SMOOTH[explanation.method] for side in heat.shape])
    heat = np.maximum(heat, 0)
    top = np.percentile(heat[heat > 0], TOP) if heat.any() else 1.0
    return np.minimum(heat / top, 1).astype(np.float32)


def _with_heat(view: View) -> np.ndarray:
    return draw_heat(view.rgb, view.labels[1] / 255)


def _with_answer(view: View, answer: Answer, plan: Plan) -> np.ndarray:
    from skimage.segmentation import find_boundaries

    kind = plan.classes.index(answer.label)
    rgb = draw_labels(view.rgb, view.labels[2] * np.uint8(kind + 1), fill=0.0)
    if view.labels[3].any():
        rgb[find_boundaries(view.labels[3] > 0, mode="inner")] = TRUTH
    if answer.box is None:
        return rgb
    box = Boxes.of(answer.box, [kind], [answer.probability]).scaled(*view.scale)
    return draw_boxes(rgb, box, plan.classes)
