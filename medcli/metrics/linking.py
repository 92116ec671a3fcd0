"""Boxes of neighbouring planes become boxes of the volume: greedy linking by overlap or by the distance of centres."""

from collections.abc import Sequence
from dataclasses import dataclass, field

import numpy as np

from medcli.boxes import Boxes, iou_matrix
from medcli.volume_boxes import VolumeBoxes

IOU = 0.3
"""Boxes of neighbouring planes that overlap by this much are one object ..."""
NEAR = 0.5
"""... or whose centres lie closer than this share of the smaller one's half diagonal."""
GAP = 1
"""Planes that an object may be missing from."""
FULL = 3
"""An object that is seen on fewer planes than this has its score lowered in proportion."""
ENDS = 0.5
"""Planes at the ends whose score is below this share of the best are cut off."""
INSIDE = 0.7
"""Of an object that lies by this share of its volume within a better one's box nothing is kept: a branch of it."""


@dataclass
class _Track:
    """The boxes of one object, plane by plane."""

    kind: int
    planes: list[int] = field(default_factory=list)
    corners: list[np.ndarray] = field(default_factory=list)
    scores: list[float] = field(default_factory=list)

    def add(self, plane: int, corners: np.ndarray, score: float) -> None:
        self.planes.append(plane)
        self.corners.append(corners)
        self.scores.append(score)


def link(planes: Sequence[Boxes], *, iou: float = IOU, near: float = NEAR, gap: int = GAP) -> VolumeBoxes:
    """Link the boxes of the planes of one volume.

    From plane to plane each box joins an object of its class whose last box, at most `gap` planes back, it overlaps by
    `iou` or lies close to; the pairs that overlap most are joined first, each object and each box once. What is left
    begins new objects. The score is the mean of an object's `FULL` best planes, missing ones counting as zero, so a box
    on a single plane has a third of its score. The box reaches from the first to the last plane whose score is at
    least `ENDS` of the best one, and around all boxes between. What lies within a better box is dropped (`INSIDE`).

    Args:
        planes: One set of boxes per plane, in the order of the planes; in voxels, x along columns.

    Returns:
        Best first.
    """
    tracks: list[_Track] = []
    for plane, boxes in enumerate(planes):
        _extend(tracks, plane, boxes, iou, near, gap)
    corners, classes, scores = [], [], []
    for track in tracks:
        values = np.array(track.scores)
        best = np.sort(values)[::-1][:FULL]
        kept = np.flatnonzero(values >= ENDS * values.max())
        own = slice(int(kept[0]), int(kept[-1]) + 1)
        sides = np.stack(track.corners[own])
        x0, y0 = sides[:, :2].min(0)
        x1, y1 = sides[:, 2:].max(0)
        corners.append([track.planes[own][0], y0, x0, track.planes[own][-1] + 1, y1, x1])
        classes.append(track.kind)
        scores.append(best.sum() / FULL)
    found = VolumeBoxes.of(np.array(corners).reshape(-1, 6), classes, scores)
    sizes = (found.corners[:, 3:] - found.corners[:, :3]).prod(-1)
    return _without_fragments(found.take(np.lexsort((-sizes, -found.scores))))


def _without_fragments(found: VolumeBoxes) -> VolumeBoxes:
    """Without boxes that lie by `INSIDE` within a better one of their class; they come best first."""
    low = np.maximum(found.corners[:, None, :3], found.corners[None, :, :3])
    high = np.minimum(found.corners[:, None, 3:], found.corners[None, :, 3:])
    both = np.clip(high - low, 0, None).prod(-1)
    own = (found.corners[:, 3:] - found.corners[:, :3]).prod(-1)
    within = (both >= INSIDE * own[None]) & (found.classes[:, None] == found.classes[None])  # [better, worse]
    kept: list[int] = []
    for number in range(len(found)):
        if not within[kept, number].any():
            kept.append(number)
    return found.take(np.array(kept, int))


def _extend(tracks: list[_Track], plane: int, boxes: Boxes, iou: float, near: float, gap: int) -> None:
    """Let the boxes of a plane join the objects or begin new ones."""
    open_ = [track for track in tracks if track.planes[-1] >= plane - 1 - gap]
    joined = np.zeros(len(boxes), bool)
    if open_ and len(boxes):
        last = np.stack([track.corners[-1] for track in open_])
        overlap, closeness = iou_matrix(last, boxes.corners), _closeness(last, boxes.corners)
        same = np.array([track.kind for track in open_])[:, None] == boxes.classes[None]
        # Overlap counts first; pairs that are only close come after all that overlap.
        rank = np.where(overlap >= iou, 1 + overlap, np.where(closeness > 1 - near, closeness, 0.0)) * same
        free = np.ones(len(open_), bool)
        for pair in np.argsort(-rank, axis=None, kind="stable"):
            row, column = np.unravel_index(int(pair), rank.shape)
            if rank[row, column] <= 0:
                break
            if free[row] and not joined[column]:
                open_[row].add(plane, boxes.corners[column], float(boxes.scores[column]))
                free[row], joined[column] = False, True
    for number in np.flatnonzero(~joined):
        track = _Track(int(boxes.classes[number]))
        track.add(plane, boxes.corners[number], float(boxes.scores[number]))
        tracks.append(track)


def _closeness(a: np.ndarray, b: np.ndarray) -> np.ndarray:
    """(n, m) 1 for one centre, 0 from half the smaller diagonal on."""
    middle = [(boxes[:, :2] + boxes[:, 2:]) / 2 for boxes in (a, b)]
    distance = np.linalg.norm(middle[0][:, None] - middle[1][None], axis=-1)
    half = [np.linalg.norm(boxes[:, 2:] - boxes[:, :2], axis=-1) / 2 for boxes in (a, b)]
    smaller = np.minimum(half[0][:, None], half[1][None])
    share = np.divide(distance, smaller, out=np.full_like(distance, np.inf), where=smaller > 0)
    return np.clip(1 - share, 0, None)
