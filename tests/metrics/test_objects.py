"""Objects found, missed and made up, on grids small enough to count by eye."""

import numpy as np
import pytest

from medcli.metrics import objects
from medcli.metrics.centreline import centreline_dice
from tests.dense_objects import instance_counts, iou_table, matched

TRUTH = np.array(
    [
        [1, 1, 1, 1, 0, 2, 2],
        [0, 0, 0, 0, 0, 2, 2],
        [7, 7, 0, 0, 0, 0, 0],
    ]
)
PREDICTED = np.array(
    [
        [5, 5, 5, 0, 0, 9, 9],
        [0, 0, 0, 0, 3, 3, 3],
        [0, 0, 0, 0, 0, 0, 0],
    ]
)
# 1 and 5: 3 of 4 pixels, IoU 3/4. 2 (4 pixels) and 9 (2): 2/4; 2 and 3 (3): 2/5. 7: nothing.


def test_overlap_of_every_pair():
    assert iou_table(TRUTH, PREDICTED).tolist() == [[0, 3 / 4, 0], [2 / 5, 0, 2 / 4], [0, 0, 0]]


def test_counts_and_measures_of_instances():
    counts = instance_counts(TRUTH, PREDICTED)
    # IoU 0.5: pairs (1, 5) and (2, 9); 3 is made up, 7 missed. From 0.55 to 0.75 only (1, 5), then none.
    assert counts["tp"].tolist() == [2, 1, 1, 1, 1, 1, 0, 0, 0]
    assert counts["fp"].tolist() == [1, 2, 2, 2, 2, 2, 3, 3, 3]
    assert counts["fn"].tolist() == [1, 2, 2, 2, 2, 2, 3, 3, 3]
    found = objects.instance_measures(counts)
    assert found["ap50"] == pytest.approx(2 / 4)
    assert found["ap75"] == pytest.approx(1 / 5)
    assert found["ap50_90"] == pytest.approx((2 / 4 + 5 * 1 / 5) / 9)
    assert found["sq"] == pytest.approx((3 / 4 + 2 / 4) / 2)
    assert found["rq"] == pytest.approx(4 / 6)
    assert found["pq"] == pytest.approx(5 / 8 * 4 / 6)


def test_at_low_overlaps_as_many_pairs_as_possible_are_made():
    # Greedy by overlap would take (first, first) and leave the second true object alone.
    iou = np.array([[0.5, 0.4], [0.45, 0.0]])
    assert sorted(matched(iou, 0.4)) == [0.4, 0.45]


def test_empty_pictures():
    nothing = np.zeros((3, 4), int)
    both = objects.instance_measures(instance_counts(nothing, nothing))
    assert all(np.isnan(value) for value in both.values())
    missed = objects.instance_measures(instance_counts(TRUTH[:, :3], nothing[:, :3]))
    assert (missed["ap50"], missed["rq"], missed["pq"]) == (0, 0, 0)


def test_two_parts_of_one_instance_are_one_object():
    parts = np.array([[4, 0, 4]])
    assert instance_counts(parts, parts)["tp"][0] == 1


def test_lesions_are_hit_by_a_touch():
    truth = np.array([[1, 1, 0, 1, 0, 2], [1, 0, 0, 0, 0, 2], [0, 0, 0, 1, 0, 0]])
    found = np.array([[0, 1, 1, 0, 0, 1], [0, 0, 0, 0, 0, 0], [1, 0, 0, 1, 0, 0]])
    # Label 1 has three parts: two are touched, (0, 3) only has a neighbour that is.
    counts = objects.lesion_counts(truth, found, 2)
    assert counts["hit"].tolist() == [2, 0]
    assert counts["missed"].tolist() == [1, 1]
    assert counts["false"].tolist() == [2, 0]  # (0, 5) lies on label 2, (2, 0) on nothing
    values = objects.lesion_measures(counts)
    assert values["lesion_sensitivity"][0] == pytest.approx(2 / 3)
    assert values["lesion_precision"][0] == pytest.approx(2 / 4)
    assert values["lesion_f1"][0] == pytest.approx(4 / 7)
    assert np.isnan(values["lesion_precision"][1])


def test_lesions_where_nothing_is_judged():
    truth = np.array([[255, 0, 1]])
    counts = objects.lesion_counts(truth, np.array([[1, 0, 1]]), 1)
    assert (counts["hit"][0], counts["false"][0]) == (1, 0)


def test_a_vessel_half_followed():
    truth, predicted = np.zeros((7, 21), int), np.zeros((7, 21), int)
    truth[3, 1:19] = 1  # one pixel wide: its own centreline, 18 long
    predicted[3, 1:10] = 1  # its first half, all of it right
    # precision 1, sensitivity 9 / 18
    assert centreline_dice(truth, predicted, 1)[0] == pytest.approx(2 * 1 * 0.5 / 1.5)


def test_a_thicker_vessel_on_the_same_centreline_is_as_good():
    truth, predicted = np.zeros((9, 30), int), np.zeros((9, 30), int)
    truth[4, 2:28] = 1
    predicted[3:6, 2:28] = 1
    # The skeleton may leave the middle by a pixel at an end; the Dice of the regions is 0.5.
    assert centreline_dice(truth, predicted, 1)[0] == pytest.approx(1.0, abs=0.03)


def test_centrelines_of_nothing():
    nothing, some = np.zeros((5, 5), int), np.eye(5, dtype=int)
    assert np.isnan(centreline_dice(nothing, nothing, 1)[0])
    assert centreline_dice(some, nothing, 1)[0] == centreline_dice(nothing, some, 1)[0] == 0


def test_centreline_of_a_tube_in_a_volume():
    tube = np.zeros((9, 9, 20), int)
    tube[3:6, 3:6, 2:18] = 1
    assert centreline_dice(tube, tube, 1)[0] == 1.0
