"""Rules about objects, against SciPy's own operations on whole masks."""

import numpy as np
import pytest
from scipy import ndimage

from medcli.postprocessing.rules import Rule, apply_rules, holes


@pytest.mark.parametrize("shape", [(23, 31), (9, 14, 11)])
@pytest.mark.parametrize("density", [0.3, 0.6, 0.9])
def test_holes_are_those_that_scipy_fills(shape, density):
    mask = np.random.default_rng(0).random(shape) < density
    np.testing.assert_array_equal(holes(mask), ndimage.binary_fill_holes(mask) & ~mask)


def test_a_hole_open_to_the_edge_is_none():
    assert not holes(np.zeros((3, 4), bool)).any()
    assert not holes(np.ones((3, 4), bool)).any()
    mask = np.array([[1, 1, 1], [1, 0, 0], [1, 1, 1]], bool)
    assert not holes(mask).any()


def test_only_the_largest_object_of_a_label_stays():
    labels = np.array([[1, 1, 0, 2], [1, 0, 1, 2], [0, 2, 0, 0]], np.uint8)  # faces join, corners do not
    found = apply_rules(labels.copy(), [Rule(kind="largest")] * 2, 1.0)
    np.testing.assert_array_equal(found, [[1, 1, 0, 2], [1, 0, 0, 2], [0, 0, 0, 0]])
    only_second = apply_rules(labels.copy(), [Rule(), Rule(kind="largest")], 1.0)
    np.testing.assert_array_equal(only_second == 1, labels == 1)
    assert not apply_rules(np.zeros((2, 3), np.uint8), [Rule(kind="largest")], 1.0).any()


@pytest.mark.parametrize(("voxel_size", "kept"), [(1.0, {3}), (2.0, {2, 3}), (3.0, {1, 2, 3}), (0.5, set())])
def test_sizes_are_physical(voxel_size, kept):
    """Objects of 1, 2 and 3 voxels; at least 3 mm3."""
    labels = np.array([[1, 0, 1, 1, 0, 1, 1, 1]], np.uint8)
    found = apply_rules(labels.copy(), [Rule(kind="min_size", size=3.0)], voxel_size)
    objects, number = ndimage.label(found)
    assert set(np.bincount(objects.ravel())[1:].tolist()) == kept and number == len(kept)


def test_a_filled_hole_leaves_other_labels_alone():
    labels = np.ones((5, 5), np.uint8)
    labels[1:3, 1:3] = 0
    labels[3, 3] = 2
    expected = np.ones((5, 5), np.uint8)
    expected[3, 3] = 2
    np.testing.assert_array_equal(apply_rules(labels, [Rule(kind="fill_holes"), Rule()], 1.0), expected)
