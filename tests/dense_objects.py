"""The plain way to count instances, with every pair in a dense table and the Hungarian method at every level."""

import numpy as np

from medcli.metrics.objects import IOU_LEVELS, best_pairs


def overlaps(truth: np.ndarray, predicted: np.ndarray) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
    """Sizes of the true objects (n,), of the predicted ones (m,), and what they share (n, m), in voxels.

    Args:
        truth, predicted: Object ids of one shape, 0 = background; ids need not be consecutive. Any object is
            counted once however many parts it has.
    """
    true_ids, a = np.unique(truth, return_inverse=True)
    found_ids, b = np.unique(predicted, return_inverse=True)
    table = np.zeros((len(true_ids), len(found_ids)), np.int64)
    np.add.at(table, (a.ravel(), b.ravel()), 1)
    rows, columns = true_ids != 0, found_ids != 0
    return table.sum(1)[rows], table.sum(0)[columns], table[np.ix_(rows, columns)]


def iou_table(truth: np.ndarray, predicted: np.ndarray) -> np.ndarray:
    """(n, m) intersection over union of every true with every predicted object."""
    sizes, found, shared = overlaps(truth, predicted)
    return shared / np.maximum(sizes[:, None] + found[None] - shared, 1)


def matched(iou: np.ndarray, level: float) -> np.ndarray:
    """IoU of the matched pairs (k,): at least `level`, one to one, as much overlap as possible in all."""
    return iou[best_pairs(iou, level)]


def instance_counts(truth: np.ndarray, predicted: np.ndarray) -> dict[str, np.ndarray]:
    """For one case and each of `IOU_LEVELS`: pairs `tp`, made-up `fp`, missed `fn`, and `iou`, the sum over pairs.

    Four arrays (levels,); sums over cases give the measures of `instance_measures`.
    """
    iou = iou_table(truth, predicted)
    pairs = [matched(iou, level) for level in IOU_LEVELS]
    tp = np.array([len(one) for one in pairs])
    return {
        "tp": tp,
        "fp": iou.shape[1] - tp,
        "fn": iou.shape[0] - tp,
        "iou": np.array([one.sum() for one in pairs]),
    }
