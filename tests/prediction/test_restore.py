"""From the prepared grid back to the image's own."""

import numpy as np
import pytest

from medcli.metrics.risk import expected_dice
from medcli.prediction.restore import Wanted, restore, restore_labels
from medcli.preprocessing.geometry import Placement
from medcli.preprocessing.regions import most_probable
from medcli.sliding import Slabs


def placement(
    original, *, start=None, stop=None, scaled=None, before=None, prepared=None, axes=None, flips=None
):
    count = len(original)
    axes = axes or tuple(range(count))
    start = start or (0,) * count
    stop = stop or tuple(original[axis] for axis in axes)
    scaled = scaled or tuple(b - a for a, b in zip(start, stop, strict=True))
    return Placement(
        original,
        axes,
        flips or (False,) * count,
        start,
        stop,
        scaled,
        before or (0,) * count,
        prepared or scaled,
    )


def one_hot(labels, classes):
    return np.eye(classes, dtype=np.float32)[labels]


@pytest.mark.parametrize("classes", [2, 4])
def test_labels_that_were_only_turned_cropped_and_padded_come_back_exactly(classes):
    mask = np.zeros((5, 7), np.uint8)
    mask[1:4, 2:6] = np.random.default_rng(0).integers(0, classes, (3, 4))
    where = placement(
        (5, 7), axes=(1, 0), flips=(True, False), start=(1, 1), stop=(5, 4), before=(2, 1), prepared=(9, 8)
    )
    prepared = where.padded(where.cut(mask))
    assert prepared.shape == (9, 8)
    np.testing.assert_array_equal(restore_labels(one_hot(prepared, classes), where), mask)


def test_probabilities_not_labels_are_interpolated():
    # a border at 3/8 of the prepared width lies at 3/8 of the original width, though 3 is no multiple of 4
    probabilities = one_hot(np.repeat([[0, 0, 0, 1, 1, 1, 1, 1]], 2, axis=0), 2)
    labels = restore_labels(probabilities, placement((2, 32), scaled=(2, 8)))
    np.testing.assert_array_equal(labels[0], [0] * 12 + [1] * 20)


def in_parts(array):
    """Three planes at a time."""
    return Slabs(array.shape, lambda: iter([array[begin : begin + 3] for begin in range(0, len(array), 3)]))


WHERE = placement((9, 8, 21), axes=(2, 0, 1), flips=(True, False, False), start=(3, 1, 0), stop=(20, 8, 8),
                  scaled=(25, 5, 9))  # fmt: skip


def test_part_by_part_gives_what_the_whole_gives():
    random = np.random.default_rng(1).random((25, 5, 9, 4)).astype(np.float32)
    random /= random.sum(-1, keepdims=True)
    whole = WHERE.restore_probabilities(random)
    limits = np.array([0.3, 0.0, 0.9])
    found = restore(in_parts(random), WHERE, Wanted(probabilities=True, limits=limits, quality=True))
    np.testing.assert_allclose(found.probabilities, whole, atol=1e-5)
    np.testing.assert_array_equal(found.labels, whole.argmax(-1))
    np.testing.assert_array_equal(restore_labels(random, WHERE), whole.argmax(-1))
    assert set(np.unique(found.labels)) == {0, 1, 2, 3}
    for index, (mask, limit) in enumerate(zip(found.outer, limits, strict=True), start=1):
        np.testing.assert_array_equal(mask, (whole[..., index] >= limit) | (found.labels == index))
    expected = expected_dice(random, random.argmax(-1)).mean()
    assert found.quality == pytest.approx(expected, rel=1e-5)
    assert found.uncertainty is None and found.disagreement is None


def test_maps_of_uncertainty_are_entropy_and_mutual_information():
    random = np.random.default_rng(2)
    members = random.dirichlet([0.3] * 3, (2, 7, 5, 6)).astype(np.float32)
    where = placement((7, 5, 8), start=(0, 0, 1), stop=(7, 5, 7))
    bits = -(members * np.log2(members)).sum(-1)
    mean = members.mean(0)
    slabs = in_parts(np.concatenate([mean, bits.mean(0)[..., None]], -1))
    found = restore(slabs, where, Wanted(uncertainty=True))
    total = -(mean * np.log2(mean)).sum(-1)
    np.testing.assert_allclose(found.uncertainty[..., 1:7], total, atol=1e-5)
    np.testing.assert_allclose(found.disagreement[..., 1:7], total - bits.mean(0), atol=1e-5)
    assert not found.uncertainty[..., [0, 7]].any()  # what was cropped away is background with certainty
    assert found.uncertainty.max() <= np.log2(3) + 1e-5
    np.testing.assert_array_equal(found.labels[..., 1:7], mean.argmax(-1))


@pytest.mark.parametrize("classes", [2, 3, 6])
def test_of_equal_probabilities_the_smaller_id_wins(classes):
    values = np.random.default_rng(3).integers(0, 3, (400, classes)).astype(np.float32)
    np.testing.assert_array_equal(most_probable(values), values.argmax(-1))
