"""From the prepared grid back to the image's own."""

import numpy as np
import pytest

from medcli.prediction import restore
from medcli.prediction.restore import largest_components, restore_labels
from medcli.preprocessing.geometry import Placement


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


def test_class_by_class_gives_the_same_as_all_at_once(monkeypatch):
    random = np.random.default_rng(1).random((4, 6, 5, 4)).astype(np.float32)
    where = placement((9, 8, 11), start=(1, 0, 2), stop=(8, 8, 10), scaled=(4, 6, 5))
    at_once = restore_labels(random, where)
    monkeypatch.setattr(restore, "LARGE_BYTES", 0)
    np.testing.assert_array_equal(restore_labels(random, where), at_once)
    assert set(np.unique(at_once)) == {0, 1, 2, 3}
    assert not at_once[0].any()


def test_only_the_largest_object_of_each_label_stays():
    labels = np.array([[1, 1, 0, 2], [1, 0, 1, 2], [0, 2, 0, 0]], np.uint8)  # faces join, corners do not
    np.testing.assert_array_equal(largest_components(labels), [[1, 1, 0, 2], [1, 0, 0, 2], [0, 0, 0, 0]])
    assert not largest_components(np.zeros((2, 3), np.uint8)).any()
