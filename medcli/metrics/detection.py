"""How well objects are found: average precision and recall as in COCO, FROC, confusion of classes.

The matching and the averages follow pycocotools' `COCOeval`: per image and class the detections are taken by
descending score (at most `MOST`), each takes the free true box with the largest overlap of at least the
threshold, or else a crowd region or a box of another size than asked for, in which case it does not count.
Lin et al. 2014 (arXiv 1405.0312) and https://cocodataset.org/#detection-eval.
"""

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
from scipy import sparse

from medcli.boxes import Boxes
from medcli.metrics.bootstrap import divide, mean_of_known

THRESHOLDS = np.linspace(0.5, 0.95, 10)
"""Overlaps (intersection over union) that COCO averages over."""
RECALLS = np.linspace(0, 1, 101)
"""Recall points at which precision is read."""
MOST = 100
"""Detections per image and class that count for the average precision and recall, as in COCO."""
ALL = 10**9
"""In place of MOST: every detection counts, as for what is found and for FROC."""
SIZES = {"small": (0.0, 32.0**2), "medium": (32.0**2, 96.0**2), "large": (96.0**2, 1e10)}
"""COCO's areas in square pixels, both ends included."""
FROC_RATES = (0.125, 0.25, 0.5, 1.0, 2.0, 4.0, 8.0)
"""False positives per image at which FROC is read (LUNA16: Setio et al. 2017, arXiv 1612.08012)."""


@dataclass(frozen=True, eq=False)
class Matches:
    """All detections of one class in a set of images by descending score; equals in the order of the images.

    Attributes:
        image: (d,) int, index of the image.
        score: (d,) float.
        hit: (d, t) bool, matched to a true box at each threshold.
        ignored: (d, t) bool, neither right nor wrong: matched to a crowd region or, where only boxes of some size
            count, to one of another size, or not matched and of another size.
        truths: (images,) int, true boxes that count (crowds and those of another size do not).
        thresholds: (t,) overlaps.
    """

    image: np.ndarray
    score: np.ndarray
    hit: np.ndarray
    ignored: np.ndarray
    truths: np.ndarray
    thresholds: np.ndarray


def overlaps(found: np.ndarray, true: np.ndarray, crowd: np.ndarray) -> np.ndarray:
    """(n, m) intersection over union of corners; with a crowd: over the area of the found box."""
    found, true = np.asarray(found, float), np.asarray(true, float)
    size = np.minimum(found[:, None, 2:], true[None, :, 2:]) - np.maximum(
        found[:, None, :2], true[None, :, :2]
    )
    both = np.clip(size, 0, None).prod(-1)
    found_area, true_area = (np.clip(box[:, 2:] - box[:, :2], 0, None).prod(-1) for box in (found, true))
    whole = np.where(crowd[None, :], found_area[:, None], found_area[:, None] + true_area[None, :] - both)
    return np.divide(both, whole, out=np.zeros_like(both), where=whole > 0)


def match(
    found: Boxes,
    truth: Boxes,
    thresholds: np.ndarray = THRESHOLDS,
    areas: tuple[float, float] | None = None,
) -> tuple[np.ndarray, np.ndarray]:
    """Match the detections of one image and class, which must come by descending score.

    Args:
        areas: Only true boxes with an area (square pixels) between these, ends included, count; None: all.

    Returns:
        (d, t) bool hit, (d, t) bool ignored; see `Matches`.
    """
    hit = np.zeros((len(found), len(thresholds)), bool)
    if not len(found):
        return hit, hit.copy()
    ignored = np.repeat(_outside(found, areas)[:, None], len(thresholds), axis=1)
    if not len(truth):
        return hit, ignored
    left_out = truth.crowd | _outside(truth, areas)
    overlap = overlaps(found.corners, truth.corners, truth.crowd)
    for column, threshold in enumerate(np.minimum(thresholds, 1 - 1e-10)):
        free = np.ones(len(truth), bool)
        for row in np.flatnonzero((overlap >= threshold).any(1)):
            near = free & (overlap[row] >= threshold)
            best = _best(overlap[row], near & ~left_out)
            hit[row, column] = best >= 0
            if best < 0:
                best = _best(overlap[row], near)
                ignored[row, column] |= best >= 0
            else:
                ignored[row, column] = False
            if best >= 0 and not truth.crowd[best]:  # a crowd takes any number
                free[best] = False
    return hit, ignored


def _outside(boxes: Boxes, areas: tuple[float, float] | None) -> np.ndarray:
    """(n,) bool"""
    if areas is None:
        return np.zeros(len(boxes), bool)
    size = areas_of(boxes)
    return (size < areas[0]) | (size > areas[1])


def areas_of(boxes: Boxes) -> np.ndarray:
    """(n,) square pixels, float64."""
    corners = boxes.corners.astype(float)
    return (corners[:, 2:] - corners[:, :2]).prod(-1)


def _best(overlap: np.ndarray, candidates: np.ndarray) -> int:
    """Index of the largest overlap among the candidates, -1 without any; of equal ones the last, as pycocotools."""
    if not candidates.any():
        return -1
    shown = np.where(candidates, overlap, -1.0)
    return len(shown) - 1 - int(shown[::-1].argmax())


def match_images(
    found: Sequence[Boxes],
    truth: Sequence[Boxes],
    kind: int,
    *,
    thresholds: np.ndarray = THRESHOLDS,
    most: int = MOST,
    areas: tuple[float, float] | None = None,
) -> Matches:
    """Match the boxes of class `kind` in every image; `most` per image, `areas` as `match` has them."""
    images, scores, hits, ignored, truths = [], [], [], [], []
    for number, (here, real) in enumerate(zip(found, truth, strict=True)):
        here, real = here.take(here.classes == kind), real.take(real.classes == kind)
        here = here.take(np.argsort(-here.scores, kind="stable")[:most])
        hit, ignore = match(here, real, thresholds, areas)
        images.append(np.full(len(here), number))
        scores.append(here.scores)
        hits.append(hit)
        ignored.append(ignore)
        truths.append(int((~real.crowd & ~_outside(real, areas)).sum()))
    score = np.concatenate(scores) if scores else np.zeros(0)
    order = np.argsort(-score, kind="stable")
    width = (0, len(thresholds))
    return Matches(
        np.concatenate(images)[order].astype(int) if images else np.zeros(0, int),
        score[order],
        np.concatenate(hits)[order] if hits else np.zeros(width, bool),
        np.concatenate(ignored)[order] if ignored else np.zeros(width, bool),
        np.array(truths, int),
        thresholds,
    )


def average_precision(matches: Matches, weights: np.ndarray | None = None) -> np.ndarray:
    """Mean precision at 101 recalls, each the best precision at this or a larger recall, as pycocotools.

    Args:
        matches: One class.
        weights: (..., images), how often each image counts; None: once.

    Returns:
        (..., t), one per threshold; NaN where the class does not occur in the truth.
    """
    weights = np.ones(len(matches.truths)) if weights is None else np.asarray(weights, float)
    rows = np.atleast_2d(weights)
    total = rows @ matches.truths
    result = np.zeros((len(rows), len(matches.thresholds)))
    for column in range(len(matches.thresholds)):
        tp, fp = _cumulated(matches, column, rows)
        if tp.shape[1]:
            result[:, column] = _interpolated(tp, fp, total)
    result[total == 0] = np.nan
    return result.reshape(*weights.shape[:-1], -1)


def _cumulated(
    matches: Matches, column: int, weights: np.ndarray, *, tied: bool = False
) -> tuple[np.ndarray, np.ndarray]:
    """True and false positives down to each hit: only there precision rises and recall grows.

    Args:
        weights: (resamples, images).
        tied: Equal scores stand together: all of them are in, or none.

    Returns:
        Two arrays (resamples, places with a hit).
    """
    hit = matches.hit[:, column]
    wrong = ~hit & ~matches.ignored[:, column]
    new = np.ones(len(hit), bool)
    if tied and len(hit):
        new[1:] = matches.score[1:] != matches.score[:-1]
    group = np.cumsum(new) - 1
    with_hit = np.bincount(group[hit], minlength=int(new.sum())) > 0
    place: np.ndarray = (np.cumsum(with_hit) - with_hit)[group]
    places, images = int(with_hit.sum()), weights.shape[1]

    def summed(which: np.ndarray) -> np.ndarray:
        where = (place[which], matches.image[which])
        table = sparse.coo_array((np.ones(int(which.sum())), where), shape=(places, images)).tocsr()
        return np.cumsum((table @ weights.T).T, axis=1)

    return summed(hit), summed(wrong & (place < places))


def _interpolated(tp: np.ndarray, fp: np.ndarray, total: np.ndarray) -> np.ndarray:
    """(resamples,) mean over RECALLS of the precision envelope."""
    recall = np.divide(tp, total[:, None], out=np.zeros_like(tp), where=total[:, None] > 0)
    precision = tp / (tp + fp + np.spacing(1))
    envelope = np.maximum.accumulate(precision[:, ::-1], axis=1)[:, ::-1]
    envelope = np.concatenate([envelope, np.zeros((len(tp), 1))], axis=1)  # recalls that are not reached
    places = np.stack([np.searchsorted(line, RECALLS, side="left") for line in recall])
    return np.take_along_axis(envelope, places, axis=1).mean(1)


def recall(matches: Matches, weights: np.ndarray | None = None) -> np.ndarray:
    """(..., t) share of the true boxes that a detection hits; NaN where the class does not occur."""
    weights = np.ones(len(matches.truths)) if weights is None else np.asarray(weights, float)
    hits = np.zeros((len(matches.truths), len(matches.thresholds)))
    np.add.at(hits, matches.image, matches.hit)
    return divide(weights @ hits, (weights @ matches.truths)[..., None])


def precision_recall_curve(matches: Matches, column: int = 0) -> tuple[np.ndarray, np.ndarray]:
    """Precision and recall down to each counted detection, without interpolation."""
    tp, fp = _running(matches, column)
    return divide(tp, tp + fp), divide(tp, matches.truths.sum())


def _running(matches: Matches, column: int) -> tuple[np.ndarray, np.ndarray]:
    """True and false positives down to each detection that counts, the last of equal scores."""
    counted = ~matches.ignored[:, column]
    hit, score = matches.hit[counted, column], matches.score[counted]
    last = np.r_[score[1:] != score[:-1], True] if len(score) else np.zeros(0, bool)
    return np.cumsum(hit)[last], np.cumsum(~hit)[last]


def size_terciles(truth: Sequence[Boxes]) -> dict[str, tuple[float, float]]:
    """Three ranges of area with about a third of the true boxes each; {} with fewer than three different areas.

    Lesions and cells are often all "small" for COCO, so the data's own sizes tell more.
    """
    counted = [areas_of(boxes)[~boxes.crowd] for boxes in truth]
    every = np.concatenate(counted) if counted else np.zeros(0)
    if len(np.unique(every)) < 3:
        return {}
    low, high = (float(value) for value in np.quantile(every, [1 / 3, 2 / 3]))
    return {
        "smallest third": (0.0, low),
        "middle third": (np.nextafter(low, np.inf), high),
        "largest third": (np.nextafter(high, np.inf), 1e10),
    }


# ---- FROC


def froc_curve(matches: Sequence[Matches], column: int = 0) -> tuple[np.ndarray, np.ndarray]:
    """False positives per image and sensitivity by descending score, from (0, 0), all classes pooled.

    Bunch et al. 1977, Proc. SPIE 127:124-135. NaN sensitivity when there is no true box.
    """
    pooled = pool(matches)
    tp, fp = (np.r_[0, part] for part in _running(pooled, column))
    return fp / max(len(pooled.truths), 1), divide(tp, pooled.truths.sum())


def froc_sensitivities(
    matches: Sequence[Matches],
    column: int = 0,
    rates: Sequence[float] = FROC_RATES,
    weights: np.ndarray | None = None,
) -> np.ndarray:
    """(..., rates) the largest sensitivity with at most so many false positives per image (a step curve)."""
    pooled = pool(matches)
    weights = np.ones(len(pooled.truths)) if weights is None else np.asarray(weights, float)
    rows = np.atleast_2d(weights)
    tp, fp = _cumulated(pooled, column, rows, tied=True)
    allowed = np.asarray(rates)[None, :] * rows.sum(1, keepdims=True)
    places = np.stack(
        [np.searchsorted(line, bar, side="right") for line, bar in zip(fp, allowed, strict=True)]
    )
    tp = np.concatenate([np.zeros((len(rows), 1)), tp], axis=1)
    result = divide(np.take_along_axis(tp, places, axis=1), (rows @ pooled.truths)[:, None])
    return result.reshape(*weights.shape[:-1], -1)


def pool(matches: Sequence[Matches]) -> Matches:
    """The matches of several classes as if of one."""
    score = np.concatenate([part.score for part in matches])
    order = np.argsort(-score, kind="stable")
    return Matches(
        np.concatenate([part.image for part in matches])[order],
        score[order],
        np.concatenate([part.hit for part in matches])[order],
        np.concatenate([part.ignored for part in matches])[order],
        np.sum([part.truths for part in matches], axis=0),
        matches[0].thresholds,
    )


def of_images(matches: Matches, images: np.ndarray) -> Matches:
    """The matches in some of the images, which are numbered anew in the order given; each at most once."""
    number = np.full(len(matches.truths), -1)
    number[images] = np.arange(len(images))
    kept = number[matches.image] >= 0
    return Matches(
        number[matches.image[kept]],
        matches.score[kept],
        matches.hit[kept],
        matches.ignored[kept],
        matches.truths[images],
        matches.thresholds,
    )


# ---- confusion


NOTHING, CROWD = -1, -2
"""What `pairs` says of a detection that meets no true box, or only a crowd region."""


def pairs(found: Boxes, truth: Boxes, iou_threshold: float = 0.5) -> np.ndarray:
    """(d,) index of the true box that each detection of one image takes, whatever its class; else `NOTHING`, `CROWD`.

    The detection with the highest score takes the free true box with the largest overlap, then the next one.
    """
    taken = np.full(len(found), NOTHING)
    overlap = overlaps(found.corners, truth.corners, truth.crowd)
    free = ~truth.crowd
    for row in np.argsort(-found.scores, kind="stable"):
        candidates = np.where(free, overlap[row], -1.0)
        best = int(candidates.argmax()) if len(candidates) else -1
        if best >= 0 and candidates[best] >= iou_threshold:
            taken[row] = best
            free[best] = False
        elif (overlap[row][truth.crowd] >= iou_threshold).any():
            taken[row] = CROWD
    return taken


def confusion_matrix(
    found: Sequence[Boxes],
    truth: Sequence[Boxes],
    num_classes: int,
    *,
    iou_threshold: float = 0.5,
    score_threshold: float | np.ndarray = 0.25,
) -> np.ndarray:
    """(k + 1, k + 1) counts: row the true class, column the found one, the last of each is background.

    Detections from `score_threshold` (a number, or one per class) on are matched by descending score whatever their
    class; a true box that nothing matches counts as found background, a detection that matches nothing as true
    background. Crowds are matched and not counted.
    """
    least = np.broadcast_to(score_threshold, num_classes)
    table = np.zeros((num_classes + 1, num_classes + 1), int)
    for here, real in zip(found, truth, strict=True):
        here = here.take(here.scores >= least[here.classes])
        taken = pairs(here, real, iou_threshold)
        hits = taken >= 0
        np.add.at(table, (real.classes[taken[hits]], here.classes[hits]), 1)
        np.add.at(table, (num_classes, here.classes[taken == NOTHING]), 1)
        missed = ~real.crowd
        missed[taken[hits]] = False
        np.add.at(table, (real.classes[missed], num_classes), 1)
    return table


# ---- all of them

PER_CLASS = ("ap50", "ap", "recall50", "recall")
OVERALL = ("map50", "map", "recall50", "recall", "froc")


def measures(
    matches: Sequence[Matches], froc: Sequence[Matches], weights: np.ndarray | None = None
) -> tuple[dict[str, np.ndarray], dict[str, np.ndarray]]:
    """Everything at once.

    `ap50` and `recall50` are at an overlap of .50; `ap` and `recall` are means over .50:.95 (COCO's AP and
    AR at 100 detections). Overall: their means over the classes that occur in the truth, and `froc`, the
    mean sensitivity at `FROC_RATES`.

    Args:
        matches: One per class, at `THRESHOLDS`.
        froc: One per class, at the one threshold that FROC uses.
        weights: (..., images) or None.

    Returns:
        Overall values (...) named as in OVERALL, and values per class (..., k) named as in PER_CLASS.
    """
    precision = np.stack([average_precision(one, weights) for one in matches], -2)  # (..., class, threshold)
    reached = np.stack([recall(one, weights) for one in matches], -2)
    by_class = {
        "ap50": precision[..., 0],
        "ap": precision.mean(-1),
        "recall50": reached[..., 0],
        "recall": reached.mean(-1),
    }
    overall = {
        "map50": mean_of_known(by_class["ap50"]),
        "map": mean_of_known(by_class["ap"]),
        "recall50": mean_of_known(by_class["recall50"]),
        "recall": mean_of_known(by_class["recall"]),
        "froc": mean_of_known(froc_sensitivities(froc, weights=weights)),
    }
    return overall, by_class
