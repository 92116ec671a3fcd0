"""From maps to objects: against scikit-image's h-maxima, and on shapes whose answer is plain."""

import numpy as np
import pytest
from skimage.measure import label
from skimage.morphology import local_maxima, reconstruction

from medcli.datasets.objects import depths
from medcli.instances.decode import STEPS, Objects, Rule, decode, joined, separated
from tests.instances.shapes import discs, maps_of


@pytest.mark.parametrize("shape", [(40, 62), (24, 26, 44)])
def test_touching_objects_are_separated(shape):
    middle = [n // 2 for n in shape]
    places = [[*middle[:-1], column] for column in (11, 25)]
    ids = discs(shape, places, 8)
    found = decode(maps_of(ids), Rule())
    assert len(found) == 2
    np.testing.assert_array_equal(found.ids, ids)
    assert found.scores == pytest.approx([1, 1])
    assert found.sizes.tolist() == np.bincount(ids.ravel())[1:].tolist()


def test_classes_by_majority_and_small_objects_go():
    ids = discs((40, 62), [(12, 12), (12, 40), (30, 30)], 7)
    ids[35, 2:5] = 4
    maps = maps_of(ids, np.array([1, 2, 2, 1]))
    maps[12, 40, :3] = 0, 1, 0
    found = decode(maps, Rule(smallest=4))
    assert sorted(found.classes.tolist()) == [1, 2, 2]
    assert (found.ids[35, :9] == 0).all()
    assert set(np.unique(found.labels)) == {0, 1, 2}
    assert found.labels[12, 40] == 2
    assert min(found.scores) > 0.99
    assert len(decode(maps, Rule(smallest=3))) == 4


def test_nothing_is_nothing():
    empty = np.zeros((5, 7, 3), np.float32)
    empty[..., 0] = 1
    found = decode(empty, Rule())
    assert (len(found), found.ids.max(), found.labels.max()) == (0, 0, 0)
    whole = 1 - empty
    assert len(decode(whole, Rule())) == 1


@pytest.mark.parametrize("seed", range(4))
def test_as_many_objects_as_h_maxima(seed):
    from scipy.ndimage import gaussian_filter, generate_binary_structure

    random = np.random.default_rng(seed)
    depth = gaussian_filter(random.random((60, 70)), 2.5)
    depth = np.rint((depth - depth.min()) / (depth.max() - depth.min()) * STEPS) / STEPS
    mask = np.ones(depth.shape, bool)
    mask[:, 33:35] = False  # two regions
    steps = np.rint(np.where(mask, depth, 0) * STEPS).astype(int)
    ids, number = separated(mask, depth, 0.15)
    # Regional maxima of the reconstruction; 14.5, since a top that is just 15 above its pass stays.
    raised = reconstruction(steps - 14.5, steps, footprint=generate_binary_structure(2, 1))
    tops = label(local_maxima(raised, connectivity=1) & mask, connectivity=1)
    assert number == tops.max() > 5
    for top in range(1, number + 1):
        assert len(np.unique(ids[tops == top])) == 1
    assert len({int(ids[tops == top][0]) for top in range(1, number + 1)}) == number


def test_basins_join_over_high_passes_only():
    #          basin 1: top 9    basin 2: top 8      basin 3: top 9
    depth = np.array([[9, 7, 7, 8, 2, 2, 9]])
    basins = np.array([[1, 1, 2, 2, 2, 3, 3]])
    assert joined(basins, depth, 2).tolist() == [0, 1, 1, 2]  # 8 - 7 < 2, 9 - 2 is not
    assert joined(basins, depth, 1).tolist() == [0, 1, 2, 3]
    assert joined(basins, depth, 8).tolist() == [0, 1, 1, 1]


def test_taking_some_numbers_them_anew():
    objects = Objects(np.array([0, 1, 2, 3]), np.array([1, 2, 1], np.uint8), np.array([0.1, 0.2, 0.3]))
    some = objects.take(np.array([True, False, True]))
    assert (some.ids.tolist(), some.classes.tolist()) == ([0, 1, 0, 2], [1, 1])


def test_depth_is_the_distance_to_the_border_over_the_largest():
    ids = np.zeros((5, 9), int)
    ids[:, 2:7] = 3
    ids[:, 7] = 8
    row = depths(ids)[2]
    assert row == pytest.approx([0, 0, 0.2, 0.6, 1, 0.6, 0.2, 1, 0])
    wide = depths(ids, (1.0, 2.0))[2]  # 1/2 beyond the outermost, then steps of 2
    assert wide == pytest.approx(np.array([0, 0, 0.5, 2.5, 4.5, 2.5, 0.5, 0, 0]) / 4.5 + np.eye(9)[7])
    assert (depths(np.ones((4, 4), int)) == 1).all()
    assert (depths(np.zeros((4, 4), int)) == 0).all()
