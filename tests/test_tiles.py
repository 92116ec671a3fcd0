"""Tiles of large pictures: they cover everything, boxes belong to them by a rule, and their boxes become one set."""

import numpy as np
import pytest

from medcli.boxes import Boxes
from medcli.tiles import boxes_in_tile, merged, nearest_tile, tile_starts


@pytest.mark.parametrize("shape", [(64, 64), (65, 200), (300, 130), (40, 90)])
def test_every_box_up_to_the_overlap_lies_whole_in_a_tile(shape):
    tile, overlap = (64, 96), 20
    starts = tile_starts(shape, tile, overlap)
    covered = np.zeros(shape, bool)
    for row, column in starts:
        covered[row : row + tile[0], column : column + tile[1]] = True
    assert covered.all()
    random = np.random.default_rng(0)
    for _ in range(200):
        y, x = (random.integers(0, n - overlap + 1) for n in shape)
        assert any(
            r <= y and y + overlap <= r + tile[0] and c <= x and x + overlap <= c + tile[1] for r, c in starts
        )


def test_boxes_are_clipped_to_the_tile_or_dropped_when_hardly_anything_remains():
    label = np.float32([[10, 10, 30, 20, 1], [55, 0, 75, 10, 0], [72, 0, 92, 10, 2], [63, 5, 163, 15, 0]])
    # A tile of 32 rows and 64 columns from (0, 10) on ends at column 74: of the third box 2 of 20 columns remain, which
    # is a tenth; of the fourth 11 of 100.
    inside = boxes_in_tile(label, (0, 10), (32, 64))
    expected = [[0, 10, 20, 20, 1], [45, 0, 64, 10, 0], [62, 0, 64, 10, 2], [53, 5, 64, 15, 0]]
    np.testing.assert_array_equal(inside, expected)
    assert len(boxes_in_tile(label, (0, 9), (32, 64))) == 3  # now only one column of the third
    assert boxes_in_tile(np.zeros((0, 5), np.float32), (0, 0), (32, 64)).shape == (0, 5)


def found(*boxes, scores=None, kinds=None) -> Boxes:
    return Boxes.of(boxes, np.zeros(len(boxes)) if kinds is None else kinds, scores)


STARTS, TILE, SHAPE = [(0, 0), (0, 40)], (64, 64), (64, 104)


def test_a_part_at_an_inner_edge_gives_way_to_the_whole_object_of_the_next_tile():
    # An object in columns 50 to 80: the first tile sees 50 to 64, the second all of it, from its column 10 on.
    boxes = merged(
        [found([50, 5, 64, 15], scores=[0.9]), found([10, 5, 40, 15], scores=[0.6])], STARTS, TILE, SHAPE
    )
    np.testing.assert_array_equal(boxes.corners, [[50, 5, 80, 15]])
    assert boxes.scores == pytest.approx(0.6)


def test_a_part_stays_when_the_whole_is_doubtful_or_of_another_class():
    part = found([50, 5, 64, 15], scores=[0.9])
    assert len(merged([part, found([10, 5, 40, 15], scores=[0.4])], STARTS, TILE, SHAPE)) == 2
    other = found([10, 5, 40, 15], scores=[0.9], kinds=[1])
    assert len(merged([part, other], STARTS, TILE, SHAPE)) == 2
    assert len(merged([part, other], STARTS, TILE, SHAPE, by_class=False)) == 1


def test_boxes_at_the_edge_of_the_picture_are_whole():
    boxes = merged([found([0, 0, 20, 10]), found([50, 54, 64, 64])], STARTS, TILE, SHAPE)
    np.testing.assert_array_equal(boxes.corners, [[0, 0, 20, 10], [90, 54, 104, 64]])
    assert len(merged([Boxes.empty(), Boxes.empty()], STARTS, TILE, SHAPE)) == 0


def test_boxes_in_the_padding_of_a_small_picture_are_gone():
    boxes = merged([found([5, 5, 20, 50], [30, 42, 40, 50])], [(0, 0)], TILE, (40, 64))
    np.testing.assert_array_equal(boxes.corners, [[5, 5, 20, 40]])


def test_the_nearest_tile_is_the_one_in_whose_middle_the_box_lies():
    assert nearest_tile(np.array([50, 0, 80, 10]), STARTS, TILE) == 1
    assert nearest_tile(np.array([30, 0, 60, 10]), STARTS, TILE) == 0
