"""How well objects are found in volumes: a hit by the distance of centres, as in LUNA16, or by overlap.

Both give `medcli.metrics.detection.Matches`, so FROC and average precision are those of pictures, per volume.
"""

from collections.abc import Sequence

import numpy as np

from medcli.metrics.detection import Matches
from medcli.volume_boxes import VolumeBoxes, iou_matrix_3d


def by_distance(
    found: VolumeBoxes, truth: VolumeBoxes, affine: np.ndarray, spacing: Sequence[float]
) -> tuple[np.ndarray, np.ndarray]:
    """Match boxes of one volume and class, which must come by falling score.

    A box hits the nearest object whose radius its centre lies within (Setio et al. 2017, arXiv 1612.08012); further
    boxes on an object that is hit already count neither way.

    Returns:
        (d, 1) bool hit, (d, 1) bool ignored.
    """
    hit, ignored = np.zeros((2, len(found), 1), bool)
    if len(found) and len(truth):
        there, here = truth.centres_mm(affine), found.centres_mm(affine)
        distance = np.linalg.norm(here[:, None] - there[None], axis=-1)
        distance = np.where(distance <= truth.radii_mm(spacing)[None], distance, np.inf)
        taken = np.zeros(len(truth), bool)
        for row in range(len(found)):
            if not np.isfinite(distance[row]).any():
                continue
            fresh = np.where(taken, np.inf, distance[row])
            if np.isfinite(fresh).any():
                hit[row] = True
                taken[int(fresh.argmin())] = True
            else:
                ignored[row] = True
    return hit, ignored


def by_overlap(found: VolumeBoxes, truth: VolumeBoxes, threshold: float) -> tuple[np.ndarray, np.ndarray]:
    """As `by_distance`: a box hits the free object that it overlaps most, by at least so much (3D IoU)."""
    hit, ignored = np.zeros((2, len(found), 1), bool)
    overlap = iou_matrix_3d(found.corners, truth.corners)
    for row in range(len(found) if len(truth) else 0):
        best = int(overlap[row].argmax())
        if overlap[row, best] >= max(threshold, 1e-10):
            hit[row] = True
            overlap[:, best] = -1.0
    return hit, ignored


def match_volumes(
    found: Sequence[VolumeBoxes],
    truth: Sequence[VolumeBoxes],
    kind: int,
    places: Sequence[tuple[np.ndarray, Sequence[float]]],
    *,
    overlap: float | None = None,
) -> Matches:
    """The boxes of class `kind` in every volume.

    Args:
        places: Affine and spacing of each volume.
        overlap: Least 3D IoU of a hit; None: by the distance of centres.
    """
    volumes, scores, hits, ignored, truths = [], [], [], [], []
    for number, (here, real, (affine, spacing)) in enumerate(zip(found, truth, places, strict=True)):
        here, real = here.take(here.classes == kind), real.take(real.classes == kind)
        here = here.take(np.argsort(-here.scores, kind="stable"))
        if overlap is None:
            hit, ignore = by_distance(here, real, affine, spacing)
        else:
            hit, ignore = by_overlap(here, real, overlap)
        volumes.append(np.full(len(here), number))
        scores.append(here.scores)
        hits.append(hit)
        ignored.append(ignore)
        truths.append(len(real))
    score = np.concatenate([np.zeros(0), *scores])
    order = np.argsort(-score, kind="stable")
    return Matches(
        np.concatenate([np.zeros(0, int), *volumes])[order],
        score[order],
        np.concatenate([np.zeros((0, 1), bool), *hits])[order],
        np.concatenate([np.zeros((0, 1), bool), *ignored])[order],
        np.array(truths, int),
        np.array([np.nan if overlap is None else overlap]),
    )
