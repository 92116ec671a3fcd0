"""Objects matched by class; measures against the plain way of counting and against sums by hand."""

import numpy as np
import pytest

from medcli.metrics.instances import LEVELS, Matched, Pooled, match_objects, per_case
from medcli.metrics.objects import instance_measures
from tests.dense_objects import instance_counts


def drawn(random, count, shape=(40, 50)):
    """Numbered boxes, later ones over earlier ones; all of them are there."""
    ids = np.zeros(shape, int)
    for number in range(1, count + 1):
        r, c = random.integers(0, shape[0] - 8), random.integers(0, shape[1] - 8)
        ids[r : r + random.integers(3, 9), c : c + random.integers(3, 9)] = number
    return np.unique(ids, return_inverse=True)[1].reshape(shape)


def shaken(random, ids):
    """Moved by a pixel, with a hole and some joined."""
    moved = np.roll(ids, random.integers(-1, 2, 2), (0, 1))
    moved[random.integers(0, 30) :, 7:9] = 0
    moved[moved == 2] = 1
    return np.unique(moved, return_inverse=True)[1].reshape(ids.shape)


@pytest.mark.parametrize("seed", range(6))
def test_pairs_at_one_half_tell_those_at_every_level(seed):
    random = np.random.default_rng(seed)
    truth = drawn(random, 12)
    found = shaken(random, truth)
    ones = np.ones(truth.max(), int), np.ones(found.max(), int)
    one = match_objects(truth, ones[0], found, ones[1], random.random(found.max()), 1)[0]
    expected = instance_counts(truth, found)
    for name, values in one.counts.items():
        np.testing.assert_allclose(values, expected[name], err_msg=name)
    assert one.sizes.sum() == (found > 0).sum()


def test_objects_compete_where_the_overlap_is_exactly_one_half():
    # Object 1 (4 pixels) is found in two halves, each with IoU 2/4.
    truth, found = np.array([[1, 1, 1, 1]]), np.array([[1, 1, 2, 2]])
    one = match_objects(truth, np.ones(1), found, np.ones(2), np.array([0.9, 0.8]), 1)[0]
    assert sorted(one.ious) == [0, 0.5]
    assert (one.split, one.merged) == (1, 0)


def test_classes_are_matched_apart_and_merges_are_counted():
    truth = np.array([[1, 1, 2, 2, 0, 3, 3]])
    found = np.array([[1, 1, 1, 1, 0, 2, 2]])
    first, second = match_objects(truth, np.array([1, 1, 2]), found, np.array([1, 1]), np.ones(2), 2)
    assert (first.truths, len(first.scores), first.merged, first.split) == (2, 2, 1, 0)
    assert (second.truths, len(second.scores)) == (1, 0)
    assert second.counts["fn"].tolist() == [1] * len(LEVELS)
    assert np.isnan(per_case([Matched(0, np.zeros(0), np.zeros(0), np.zeros(0))])["ap50"]).all()


def test_small_objects_can_be_left_out_afterwards():
    one = Matched(2, np.array([0.9, 0.8]), np.array([0.7, 0.0]), np.array([30, 4]))
    assert one.without_small(5).counts["fp"].tolist()[0] == 0
    assert one.without_small(31).counts["fn"].tolist()[0] == 2


def two_images():
    """First: both of 2 found, IoU 0.8 and 0.6; second: 1 of 2 with IoU 0.9, and a false one with a high score."""
    first = Matched(2, np.array([0.9, 0.5]), np.array([0.8, 0.6]), np.array([9, 9]))
    second = Matched(2, np.array([0.95, 0.7]), np.array([0.0, 0.9]), np.array([9, 9]))
    return Pooled.of([[first], [second]])


def test_means_over_images_and_over_objects_by_hand():
    overall, by_class = two_images().measures()
    assert overall["ap50"] == pytest.approx((1 + 1 / 3) / 2)
    assert overall["ap50_pooled"] == pytest.approx(3 / 5)
    assert overall["ap75"] == pytest.approx((1 / 3 + 1 / 3) / 2)
    assert overall["sq"] == pytest.approx((0.8 + 0.6 + 0.9) / 3)
    assert overall["rq"] == pytest.approx(2 * 3 / (2 * 3 + 1 + 1))
    assert overall["pq"] == pytest.approx(overall["sq"] * overall["rq"])
    # By score: false, hit, hit, hit; the best precision at recalls to 3/4 is 3/4, beyond it 0: 76 of 101 points.
    assert overall["ap50_ranked"] == pytest.approx(0.75 * 76 / 101)
    assert by_class["ap50"].shape == (1,)


def test_weights_are_repetitions():
    pooled = two_images()
    weighed = pooled.measures(np.array([[2.0, 1.0], [0.0, 1.0]]))[0]
    assert weighed["ap50"] == pytest.approx([(2 + 1 / 3) / 3, 1 / 3])
    assert weighed["ap50_pooled"] == pytest.approx([5 / 7, 1 / 3])
    single = instance_measures({name: part.sum(0) for name, part in pooled.counts.items()})
    assert pooled.measures()[0]["ap50_90_pooled"] == pytest.approx(float(single["ap50_90"][0]))
