"""How much is missed: of the labels of a segmentation, and of the objects among boxes."""

import numpy as np

from medcli.boxes import Boxes
from medcli.case import Case
from medcli.image import Image
from medcli.io.masks import read_mask
from medcli.metrics.detection import MOST, match
from medcli.metrics.risk import THRESHOLDS, missed
from medcli.preprocessing.labels import IGNORE, map_labels
from medcli.preprocessing.plan import Plan
from medcli.preprocessing.regions import members_mask


def missed_voxels(case: Case, image: Image, levels: np.ndarray, plan: Plan) -> np.ndarray:
    """(classes, thresholds) share of each label's voxels with a probability below the threshold; NaN without it.

    Args:
        levels: As of `medcli.prediction.result.Signals`.
    """
    truth = map_labels(read_mask(case.masks, image), plan)
    masks = [members_mask(truth, index, plan.regions) for index in range(plan.num_classes)]
    return np.stack(
        [missed(THRESHOLDS[levels[..., index][mask]], int(mask.sum())) for index, mask in enumerate(masks)]
    )


def missed_boxes(
    found: Boxes, truth: Boxes, num_classes: int, *, overlap: float, thresholds: np.ndarray = THRESHOLDS
) -> np.ndarray:
    """(classes, thresholds) share of each class's objects that no box of that class and score hits; NaN without it.

    Boxes are matched from the highest score on, so the boxes above a threshold hit the same objects whether those
    below are there or not, and the share can only fall when the threshold falls. Crowds do not count.
    """
    losses = []
    for kind in range(num_classes):
        here, real = found.take(found.classes == kind), truth.take(truth.classes == kind)
        here = here.take(np.argsort(-here.scores, kind="stable")[:MOST])
        hit, _ = match(here, real, np.array([overlap]))
        losses.append(missed(here.scores[hit[:, 0]], int((~real.crowd).sum()), thresholds))
    return np.stack(losses)


def outer_row(truth: np.ndarray, outer: tuple[np.ndarray, ...], plan: Plan) -> dict[str, float]:
    """Columns of cases.csv: for each label the share of its voxels that its outer mask misses, and how many times its
    true size the mask is; NaN without the label."""
    row, known = {}, truth != IGNORE
    for index, (name, mask) in enumerate(zip(plan.classes, outer, strict=True)):
        true = members_mask(truth, index, plan.regions)
        size = int(true.sum())
        missing, whole = int((true & ~mask).sum()), int((mask & known).sum())
        row[f"missed/{name}"] = missing / size if size else float("nan")
        row[f"outer_size/{name}"] = whole / size if size else float("nan")
    return row


def controlled_row(found: Boxes, truth: Boxes, plan: Plan, *, overlap: float) -> dict[str, float]:
    """Columns of cases.csv: for each class the share of its objects that the boxes miss, and how many boxes there
    are; NaN without an object."""
    losses = missed_boxes(found, truth, plan.num_classes, overlap=overlap, thresholds=np.zeros(1))[:, 0]
    counts = np.bincount(found.classes, minlength=plan.num_classes)
    row = {f"missed/{name}": float(loss) for name, loss in zip(plan.classes, losses, strict=True)}
    return row | {f"boxes/{name}": int(count) for name, count in zip(plan.classes, counts, strict=True)}
