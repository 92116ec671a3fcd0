"""What a detector got wrong, object by object: false boxes, missed objects, wrong classes; and pictures of them."""

from collections.abc import Sequence
from dataclasses import dataclass, field
from typing import Any

import numpy as np

from medcli.boxes import Boxes, iou_matrix
from medcli.drawing import add_title, beside, display_window, draw_boxes, to_display
from medcli.evaluation.judge import Detail, shown_window
from medcli.image import Image
from medcli.metrics.detection import NOTHING, pairs
from medcli.preprocessing.plan import Plan

NEAR = 0.1
"""A box that overlaps an object by less than this (IoU) has nothing to do with it (Bolya et al. 2020, TIDE)."""
SHOWN, KEPT = 12, 240
"""Pictures of false boxes and of missed objects in the report; of the latter so many are drawn to choose from."""
SIDE, LEAST_PIXELS, AROUND = 192, 32, 2.5
"""Side of a picture; the least that it shows of the image, in pixels; and how many times the object."""


@dataclass(frozen=True, eq=False)
class Mistake:
    """One object that was missed, made up or misnamed.

    Attributes:
        kind: "false", "missed" or "class".
        true, found: Class indices; None where there is no such.
        score: Of the box; of a missed object the best score of a box of its class that was left out, NaN without any.
        overlap: With the true or found box that it overlaps most, 0..1.
        why: In a few words.
        corners: (4,) in pixels of the image.
    """

    kind: str
    true: int | None
    found: int | None
    score: float
    overlap: float
    why: str
    corners: np.ndarray

    @property
    def side(self) -> float:
        """Square root of the area in pixels."""
        return float(np.sqrt(np.prod(self.corners[2:] - self.corners[:2])))

    def row(self, case: str, classes: Sequence[str]) -> dict[str, Any]:
        x0, y0, x1, y1 = (round(float(value), 2) for value in self.corners)
        return {
            "case": case,
            "kind": self.kind,
            "class": "" if self.true is None else classes[self.true],
            "found_as": "" if self.found is None else classes[self.found],
            "score": round(self.score, 6),
            "overlap": round(self.overlap, 4),
            "why": self.why,
            "x0": x0,
            "y0": y0,
            "x1": x1,
            "y1": y1,
            "side": round(self.side, 2),
        }


def mistakes(boxes: Boxes, truth: Boxes, thresholds: np.ndarray, iou_threshold: float) -> list[Mistake]:
    """Of one image; false boxes by falling score, then missed objects by falling size.

    Args:
        boxes: All candidates, also those below the thresholds (classes,).
    """
    kept = boxes.scores >= thresholds[boxes.classes]
    found, left_out = boxes.take(kept), boxes.take(~kept)
    taken = pairs(found, truth, iou_threshold)
    overlap = iou_matrix(found.corners, truth.corners)
    result = []
    for row in np.argsort(-found.scores, kind="stable"):
        near = float(overlap[row].max(initial=0.0))
        box = found.corners[row]
        if taken[row] == NOTHING:
            if near < NEAR:
                why = "nothing there"
            else:
                why = "an object that another box has" if near >= iou_threshold else "badly placed"
            result.append(
                Mistake("false", None, int(found.classes[row]), float(found.scores[row]), near, why, box)
            )
        elif taken[row] >= 0 and truth.classes[taken[row]] != found.classes[row]:
            true = int(truth.classes[taken[row]])
            result.append(
                Mistake(
                    "class",
                    true,
                    int(found.classes[row]),
                    float(found.scores[row]),
                    near,
                    "another class",
                    box,
                )
            )
    missed = ~truth.crowd
    missed[taken[taken >= 0]] = False
    gone = [
        _missed(truth, int(index), overlap[:, index], left_out, iou_threshold)
        for index in np.flatnonzero(missed)
    ]
    return result + sorted(gone, key=lambda one: -one.side)


def _missed(truth: Boxes, index: int, overlap: np.ndarray, left_out: Boxes, iou_threshold: float) -> Mistake:
    kind, corners = int(truth.classes[index]), truth.corners[index]
    same = left_out.take(left_out.classes == kind)
    weak = same.scores[iou_matrix(same.corners, corners[None])[:, 0] >= iou_threshold]
    near = float(overlap.max(initial=0.0))
    if len(weak):
        why = "found with a score that was too low"
    elif near >= iou_threshold:
        why = "its box was taken for a neighbour"
    else:
        why = "badly placed" if near >= NEAR else "not seen"
    score = float(weak.max()) if len(weak) else float("nan")
    return Mistake("missed", kind, None, score, near, why, corners)


# ---- pictures


@dataclass
class Album:
    """Keeps pictures while cases stream by: the most confident false boxes, and missed objects of all sizes."""

    plan: Plan
    random: np.random.Generator = field(default_factory=lambda: np.random.default_rng(0))
    false: list[tuple[float, int, Detail]] = field(default_factory=list)
    missed: list[tuple[float, int, Detail]] = field(default_factory=list)
    seen: int = 0
    seen_missed: int = 0

    def add(self, case: str, image: Image, found: Boxes, truth: Boxes, wrong: Sequence[Mistake]) -> None:
        """`found`: those that count as found."""
        if image.ndim != 2:
            return
        window = shown_window(self.plan) or display_window(image.array)
        for one in wrong:
            self.seen += 1
            if one.kind == "false" and (len(self.false) < SHOWN or one.score > self.false[-1][0]):
                self.false.append((one.score, self.seen, self._drawn(case, image, window, found, truth, one)))
                self.false.sort(key=lambda entry: (-entry[0], entry[1]))
                del self.false[SHOWN:]
            elif one.kind == "missed":
                self._keep_missed(case, image, window, found, truth, one)

    def _keep_missed(self, case, image: Image, window, found: Boxes, truth: Boxes, one: Mistake) -> None:
        """A sample of all, each with the same chance."""
        self.seen_missed += 1
        place = int(self.random.integers(self.seen_missed))
        if len(self.missed) >= KEPT and place >= KEPT:
            return
        entry = (one.side, self.seen, self._drawn(case, image, window, found, truth, one))
        if len(self.missed) < KEPT:
            self.missed.append(entry)
        else:
            self.missed[place] = entry

    def details(self) -> list[Detail]:
        """False boxes by falling score, then missed objects from large to small."""
        by_size = sorted(self.missed, key=lambda entry: (-entry[0], entry[1]))
        places = sorted({round(place) for place in np.linspace(0, max(len(by_size) - 1, 0), SHOWN)})
        shown = [by_size[place][2] for place in places] if by_size else []
        return [entry[2] for entry in self.false] + shown

    def _drawn(self, case: str, image: Image, window, found: Boxes, truth: Boxes, one: Mistake) -> Detail:
        classes = self.plan.classes
        if one.kind == "false":
            caption = f"{case}: {classes[one.found or 0]} {one.score:.2f}, {one.why}"
        else:
            low = f" ({one.score:.2f})" if np.isfinite(one.score) else ""
            caption = f"{case}: {classes[one.true or 0]}, {one.side:.0f} pixels, {one.why}{low}"
        rgb, scale, shift = cut_out(image, one.corners, window)
        panels = [
            add_title(draw_boxes(rgb, boxes.scaled(scale, scale, *shift), classes, names=False), title, 14)
            for title, boxes in (("truth", truth), ("found", found))
        ]
        return Detail(one.kind, case, beside(panels), caption)


def cut_out(
    image: Image, corners: np.ndarray, window: tuple[float, float]
) -> tuple[np.ndarray, float, tuple[float, float]]:
    """A square picture of SIDE pixels around a box: uint8 RGB, its pixels per pixel of the image, and where the image
    begins in it (x, y)."""
    from PIL import Image as Pillow

    x0, y0, x1, y1 = (float(value) for value in corners)
    side = round(max(LEAST_PIXELS, AROUND * max(x1 - x0, y1 - y0)))
    left, top = round((x0 + x1 - side) / 2), round((y0 + y1 - side) / 2)
    inside = image.array[max(top, 0) : max(top + side, 0), max(left, 0) : max(left + side, 0)]
    rgb = np.zeros((side, side, 3), np.uint8)
    first = max(-top, 0), max(-left, 0)
    rgb[first[0] : first[0] + inside.shape[0], first[1] : first[1] + inside.shape[1]] = to_display(
        inside, window
    )
    scale = SIDE / side
    smooth = Pillow.Resampling.NEAREST if scale >= 4 else Pillow.Resampling.BILINEAR
    shown = np.asarray(Pillow.fromarray(rgb).resize((SIDE, SIDE), smooth))
    return shown, scale, (-left * scale, -top * scale)
