"""What counts as found, and what that gives: sections of the report of a detector on scores and on sizes."""

from collections.abc import Mapping, Sequence
from typing import Any

import numpy as np

from medcli.boxes import Boxes
from medcli.evaluation.judge import Plot, Section, Table
from medcli.evaluation.plots import score_figure
from medcli.metrics import detection as metrics
from medcli.metrics.bootstrap import divide, mean_of_known
from medcli.metrics.operating import ScoreCurve, counts_at, precision_recall_f1, score_curve
from medcli.operating import Operating, goal_text

FOUND = ("found_precision", "found_recall", "found_f1")
"""Measures of what counts as found, of all classes together and of each."""
FALSE = "found_false"
MOST_POINTS = 500
"""Of a curve in the table of curves."""
MOST_CURVES = 9


def found_measures(
    matches: Sequence[metrics.Matches], thresholds: np.ndarray, weights: np.ndarray | None = None
) -> tuple[dict[str, np.ndarray], dict[str, np.ndarray]]:
    """Overall (classes pooled) and per class, as `medcli.metrics.detection.measures` gives them.

    Args:
        matches: One per class, at one overlap.
        thresholds: (classes,)
    """
    counts = np.stack(
        [counts_at(one, least, weights) for one, least in zip(matches, thresholds, strict=True)], axis=-2
    )
    images = np.asarray(len(matches[0].truths) if weights is None else np.sum(weights, axis=-1))
    overall = {f"found_{name}": value for name, value in precision_recall_f1(counts.sum(-2)).items()}
    overall[FALSE] = divide(counts[..., 1].sum(-1), images)
    return overall, {f"found_{name}": value for name, value in precision_recall_f1(counts).items()}


def found_section(
    operating: Operating | None,
    thresholds: np.ndarray,
    matches: Sequence[metrics.Matches],
    classes: Sequence[str],
    *,
    overlap: float,
) -> tuple[Section, dict[str, Any]]:
    """Precision, recall and F1 at the run's thresholds, promised and kept, and the curves; also as in metrics.json."""
    rows, content = [], {}
    for name, one, least in zip(classes, matches, thresholds, strict=True):
        counts = counts_at(one, least)
        here = {key: float(value) for key, value in precision_recall_f1(counts).items()}
        then = None if operating is None else operating.classes[name].model_dump(exclude={"threshold"})
        content[name] = {"threshold": float(least), "here": here, "on_validation": then} | {
            key: int(value) for key, value in zip(("hits", "false", "missed"), counts, strict=True)
        }
        validation = {} if then is None else {f"{key} on validation": value for key, value in then.items()}
        rows.append(
            {"class": name, "from score": float(least), "objects": int(one.truths.sum())}
            | {key: int(value) for key, value in zip(("hits", "false", "missed"), counts, strict=True)}
            | here
            | validation
        )
    if operating is None:
        chosen = "no threshold was learned"
    else:
        chosen = f"chosen on {operating.images} validation images for {goal_text(operating.goal)}"
    caption = f"Boxes from these scores on count as found ({chosen}); a hit overlaps by IoU {overlap:g}."
    shown = [index for index, one in enumerate(matches) if one.truths.sum()][:MOST_CURVES]
    curves = {classes[index]: (score_curve(matches[index]), float(thresholds[index])) for index in shown}
    plots = []
    if curves:
        plots.append(
            Plot(
                "scores",
                score_figure(curves),
                "Precision, recall and F1 by the score from which on boxes count as found; the line: the run's own.",
                "Precision, recall and F1 by score for " + ", ".join(curves),
            )
        )
    whole: dict[str, Any] = {
        "goal": None if operating is None else operating.goal,
        "learned_on": 0 if operating is None else operating.images,
        "iou_threshold": overlap,
        "classes": content,
    }
    return Section("What counts as found", [Table(rows, caption)], plots), whole


def curve_rows(matches: Sequence[metrics.Matches], classes: Sequence[str]) -> list[dict[str, Any]]:
    """Of score_curves.csv."""
    rows = []
    for name, one in zip(classes, matches, strict=True):
        curve = score_curve(one)
        for place in _some(curve):
            rows.append(
                {
                    "class": name,
                    "score": float(curve.score[place]),
                    "precision": float(curve.precision[place]),
                    "recall": float(curve.recall[place]),
                    "f1": float(curve.f1[place]),
                    "false_per_image": float(curve.false[place]),
                }
            )
    return rows


def _some(curve: ScoreCurve) -> np.ndarray:
    count = len(curve.score)
    return np.unique(np.linspace(0, count - 1, min(count, MOST_POINTS)).round().astype(int))


# ---- sizes


def size_section(
    found: Sequence[Boxes], truth: Sequence[Boxes], classes: Sequence[str]
) -> tuple[Section, dict[str, Any]]:
    """AP and AR by COCO's areas and by thirds of these data, AR by the number of boxes; the same for metrics.json."""
    ranges = {name: (name, area) for name, area in metrics.SIZES.items()}
    ranges |= {name: (name, area) for name, area in metrics.size_terciles(truth).items()}
    rows, content = [], {}
    for name, area in ranges.values():
        matches = [metrics.match_images(found, truth, kind, areas=area) for kind in range(len(classes))]
        values, by_class = metrics.measures(matches, matches)
        numbers: dict[str, Any] = {
            "area": list(area),
            "objects": sum(int(one.truths.sum()) for one in matches),
        }
        numbers |= {key: float(values[key]) for key in ("map50", "map", "recall50", "recall")}
        content[name] = numbers | {"ap50": dict(zip(classes, by_class["ap50"].tolist(), strict=True))}
        rows.append(
            {"size": name, "side in pixels": _sides(area), "objects": numbers["objects"]}
            | {"mAP .50": numbers["map50"], "mAP .50:.95": numbers["map"]}
            | {"recall .50": numbers["recall50"], "recall .50:.95": numbers["recall"]}
        )
    limits: dict[str, float] = {}
    for most in (1, 10, 100):
        reached = [
            metrics.recall(metrics.match_images(found, truth, kind, most=most)).mean(-1)
            for kind in range(len(classes))
        ]
        limits[str(most)] = float(mean_of_known(np.stack(reached)))
    caption = (
        "The first three are COCO's sizes, the others thirds of the objects here. Boxes of another size count neither "
        "way. The side is the root of the area. Mean recall .50:.95 with at most 1, 10 and 100 boxes per image and "
        f"class: {', '.join(_number(value) for value in limits.values())}."
    )
    section = Section("By size of the objects", [Table(rows, caption)], [])
    return section, {"by_size": content, "recall_at": limits}


def _sides(area: Sequence[float]) -> str:
    low, high = (float(np.sqrt(value)) for value in area)
    if high >= 1e5:
        return f"from {low:.1f}"
    return f"{low:.1f} to {high:.1f}" if low > 0 else f"up to {high:.1f}"


def _number(value: float) -> str:
    return f"{value:.3f}" if np.isfinite(value) else "undefined"


def in_one_sentence(content: Mapping[str, Any], measured: Mapping[str, float]) -> str:
    """What is found and what is made up, for a reader in a hurry; `content` as `found_section` gives it."""
    recall, false = measured["found_recall"], measured[FALSE]
    if not np.isfinite(recall):
        return ""
    scores = {name: f"{one['threshold']:.2f}" for name, one in content["classes"].items()}
    alike = set(scores.values())
    at = (
        alike.pop()
        if len(alike) == 1
        else ", ".join(f"{score} ({name})" for name, score in list(scores.items())[:6])
    )
    share = f"{100 * recall:.0f} % of the objects"
    return f"From a score of {at} on it finds {share}, with {false:.2f} false boxes per image."
