"""Suppression of boxes that say the same."""

import numpy as np
import pytest

from medcli.boxes import Boxes, iou_matrix
from medcli.metrics.nms import candidates, soften, suppress


def chain() -> Boxes:
    """Three boxes of 10 x 4, each 4 further right: neighbours overlap by 6/14 = 0.43, the outer by 2/18."""
    corners = [[0, 0, 10, 4], [4, 0, 14, 4], [8, 0, 18, 4]]
    return Boxes.of(corners, [0, 0, 0], [0.9, 0.8, 0.7])


def test_a_suppressed_box_suppresses_nobody():
    kept = suppress(chain(), iou=0.4)
    np.testing.assert_array_equal(kept.scores, np.float32([0.9, 0.7]))


def test_a_higher_limit_keeps_all():
    assert len(suppress(chain(), iou=0.5)) == 3


def test_classes_do_not_suppress_one_another_unless_asked():
    boxes = Boxes.of([[0, 0, 10, 4]] * 2, [0, 1], [0.6, 0.7])
    np.testing.assert_array_equal(suppress(boxes, iou=0.5).classes, [1, 0])
    np.testing.assert_array_equal(suppress(boxes, iou=0.5, by_class=False).classes, [1])


def test_the_best_come_first_and_no_more_than_wanted():
    boxes = Boxes.of([[0, 0, 5, 3], [20, 0, 25, 3], [40, 0, 45, 3]], [0, 0, 0], [0.2, 0.9, 0.5])
    np.testing.assert_array_equal(suppress(boxes, iou=0.5, max_detections=2).scores, np.float32([0.9, 0.5]))


def test_no_candidates():
    assert len(suppress(Boxes.empty(), iou=0.5)) == 0


@pytest.mark.parametrize("seed", range(5))
def test_agrees_with_the_plain_loop(seed):
    random = np.random.default_rng(seed)
    low = random.uniform(0, 60, (200, 2))
    boxes = Boxes.of(
        np.concatenate([low, low + random.uniform(5, 30, (200, 2))], 1),
        random.integers(0, 3, 200),
        random.uniform(size=200),
    )
    ordered = boxes.take(np.argsort(-boxes.scores, kind="stable"))
    overlap = iou_matrix(ordered.corners, ordered.corners)
    kept: list[int] = []
    for i in range(200):
        if not any(overlap[j, i] > 0.45 and ordered.classes[j] == ordered.classes[i] for j in kept):
            kept.append(i)
    np.testing.assert_array_equal(suppress(boxes, iou=0.45).corners, ordered.corners[kept])


def test_candidates_are_pairs_of_anchor_and_class():
    corners = np.float32([[0, 0, 1, 2], [3, 3, 5, 9]])
    scores = np.float32([[0.9, 0.1, 0.6], [0.2, 0.7, 0.0]])
    boxes = candidates(corners, scores, score_threshold=0.5)
    np.testing.assert_array_equal(boxes.classes, [0, 2, 1])
    np.testing.assert_array_equal(boxes.corners, corners[[0, 0, 1]])
    best = candidates(corners, scores, score_threshold=0.5, most=2)
    np.testing.assert_array_equal(best.scores, np.float32([0.9, 0.7]))


def by_plain_loop(boxes: Boxes, least: float, sigma: float = 0.5) -> list[tuple[float, ...]]:
    """The paper's figure 2, class by class: take the best, lower the others, until nothing is left."""
    kept = []
    for kind in np.unique(boxes.classes):
        left = [
            [float(score), *map(float, corners)]
            for score, corners, own in zip(boxes.scores, boxes.corners, boxes.classes, strict=True)
            if own == kind
        ]
        while left:
            best = max(left, key=lambda box: box[0])
            left.remove(best)
            if best[0] >= least:
                kept.append((*best, float(kind)))
            for box in left:
                overlap = float(iou_matrix(np.float32([best[1:]]), np.float32([box[1:]]))[0, 0])
                box[0] *= np.exp(-(overlap**2) / sigma)
    return sorted(kept, reverse=True)


@pytest.mark.parametrize("seed", range(4))
def test_soft_suppression_agrees_with_the_plain_loop(seed):
    random = np.random.default_rng(seed)
    low = random.uniform(0, 40, (60, 2))
    corners = np.concatenate([low, low + random.uniform(5, 30, (60, 2))], 1)
    boxes = Boxes.of(corners, random.integers(0, 3, 60), random.uniform(size=60))
    kept = soften(boxes, least=0.05)
    expected = np.array(by_plain_loop(boxes, 0.05))
    np.testing.assert_allclose(kept.scores, expected[:, 0], rtol=1e-5)
    np.testing.assert_allclose(kept.corners, expected[:, 1:5], rtol=1e-6)
    np.testing.assert_array_equal(kept.classes, expected[:, 5])
    np.testing.assert_array_equal(soften(boxes, least=0.05, max_detections=7).scores, kept.scores[:7])


def test_soft_suppression_by_hand():
    # Overlaps of the chain: neighbours 6/14, the outer 2/18. The last is settled second, since it is lowered less.
    near, far = np.exp(-((6 / 14) ** 2) / 0.5), np.exp(-((2 / 18) ** 2) / 0.5)
    kept = soften(chain(), least=0.01)
    np.testing.assert_array_equal(kept.corners[:, 0], [0, 8, 4])
    np.testing.assert_allclose(kept.scores, [0.9, 0.7 * far, 0.8 * near * near], rtol=1e-6)
    twice = Boxes.of([[0, 0, 10, 4]] * 2, [0, 0], [0.9, 0.8])
    np.testing.assert_allclose(soften(twice, least=0.01).scores, [0.9, 0.8 * np.exp(-2)], rtol=1e-6)
    assert len(soften(twice, least=0.2)) == 1
    apart = Boxes.of(twice.corners, [0, 1], twice.scores)
    np.testing.assert_array_equal(soften(apart, least=0.2).scores, apart.scores)
    assert len(soften(apart, least=0.2, by_class=False)) == 1
    assert len(soften(Boxes.empty(), least=0.1)) == 0
