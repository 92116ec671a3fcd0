"""Weighted box fusion, against the paper's steps as a plain loop."""

import numpy as np
import pytest

from medcli.boxes import Boxes
from medcli.metrics.fusion import fuse


def overlap(a, b):
    width = max(0.0, min(a[2], b[2]) - max(a[0], b[0]))
    height = max(0.0, min(a[3], b[3]) - max(a[1], b[1]))
    both = width * height
    return both / ((a[2] - a[0]) * (a[3] - a[1]) + (b[2] - b[0]) * (b[3] - b[1]) - both)


def plain_fusion(found, iou):
    """Section 3 of the paper, word for word: clusters as lists, the fused box made anew each time."""
    every = [
        (float(score), index, int(kind), [float(x) for x in box])
        for index, boxes in enumerate(found)
        for box, kind, score in zip(boxes.corners, boxes.classes, boxes.scores, strict=True)
    ]
    every.sort(key=lambda one: -one[0])
    clusters, fused = [], []
    for score, _, kind, box in every:
        best, best_iou = None, iou
        for number, (other, members) in enumerate(zip(fused, clusters, strict=True)):
            if members[0][1] == kind and overlap(box, other) > best_iou:
                best, best_iou = number, overlap(box, other)
        if best is None:
            clusters.append([])
            fused.append(None)
            best = len(clusters) - 1
        clusters[best].append((score, kind, box))
        total = sum(one[0] for one in clusters[best])
        fused[best] = [sum(one[0] * one[2][axis] for one in clusters[best]) / total for axis in range(4)]
    rows = []
    for box, members in zip(fused, clusters, strict=True):
        mean = sum(one[0] for one in members) / len(members)
        rows.append((mean * min(len(members), len(found)) / len(found), members[0][1], box))
    return sorted(rows, key=lambda row: (-row[0], row[1]))


@pytest.mark.parametrize("seed", range(4))
def test_agrees_with_the_plain_loop(seed):
    random = np.random.default_rng(seed)
    low = random.uniform(0, 80, (12, 2))
    truth = np.concatenate([low, low + random.uniform(8, 30, (12, 2))], 1)
    found = []
    for _ in range(4):
        seen = random.choice(12, random.integers(5, 12), replace=False)
        found.append(
            Boxes.of(
                truth[seen] + random.normal(0, 2, (len(seen), 4)),
                seen % 3,
                random.uniform(0.05, 1, len(seen)),
            )
        )
    fused = fuse(found, iou=0.5)
    expected = plain_fusion(found, 0.5)
    assert len(fused) == len(expected)
    np.testing.assert_allclose(fused.scores, [row[0] for row in expected], rtol=1e-5)
    np.testing.assert_array_equal(fused.classes, [row[1] for row in expected])
    np.testing.assert_allclose(fused.corners, [row[2] for row in expected], rtol=1e-4)


def test_two_detectors_that_agree_give_the_mean_weighted_by_score():
    first, second = Boxes.of([[0, 0, 10, 4]], [1], [0.75]), Boxes.of([[2, 0, 12, 4]], [1], [0.25])
    fused = fuse([first, second], iou=0.5)
    np.testing.assert_allclose(fused.corners, [[0.5, 0, 10.5, 4]])  # 0.75 * 0 + 0.25 * 2
    np.testing.assert_allclose(fused.scores, [0.5])
    assert fused.classes.tolist() == [1]


def test_what_one_of_two_sees_loses_half_its_score():
    alone = Boxes.of([[0, 0, 10, 4]], [0], [0.8])
    np.testing.assert_allclose(fuse([alone, Boxes.empty()]).scores, [0.4])


def test_more_boxes_than_detectors_add_no_score():
    three = Boxes.of([[0, 0, 10, 4]] * 3, [0, 0, 0], [0.6, 0.6, 0.6])
    np.testing.assert_allclose(fuse([three, Boxes.empty()]).scores, [0.6])


def test_classes_are_not_mixed():
    both = [Boxes.of([[0, 0, 10, 4]], [0], [0.8]), Boxes.of([[0, 0, 10, 4]], [1], [0.6])]
    fused = fuse(both)
    assert fused.classes.tolist() == [0, 1]
    np.testing.assert_allclose(fused.scores, [0.4, 0.3])


def test_a_trusted_detector_counts_more():
    found = [Boxes.of([[0, 0, 10, 4]], [0], [0.5]), Boxes.of([[2, 0, 12, 4]], [0], [0.5])]
    fused = fuse(found, iou=0.5, weights=[3, 1])
    np.testing.assert_allclose(fused.corners, [[0.5, 0, 10.5, 4]])
    np.testing.assert_allclose(fused.scores, [0.5])  # (1.5 + 0.5) / 2 boxes * 2 / 4


def test_one_detector_keeps_what_does_not_overlap():
    boxes = Boxes.of([[0, 0, 5, 3], [20, 0, 25, 3]], [0, 0], [0.2, 0.9])
    fused = fuse([boxes])
    np.testing.assert_allclose(fused.corners, boxes.corners[[1, 0]])
    np.testing.assert_allclose(fused.scores, [0.9, 0.2])
    assert len(fuse([boxes], max_detections=1)) == 1


def test_nothing_found():
    assert len(fuse([Boxes.empty(), Boxes.empty()])) == 0
    assert len(fuse([])) == 0


@pytest.mark.parametrize("weights", [[1], [0, 0], [-1, 2]])
def test_wrong_weights(weights):
    with pytest.raises(ValueError, match="expected 2 weights"):
        fuse([Boxes.empty(), Boxes.empty()], weights=weights)
