"""Boxes and their arithmetic."""

import numpy as np

from medcli.boxes import Boxes


def test_mirrored_boxes_lie_where_the_pixels_go():
    random = np.random.default_rng(0)
    for rows, columns in ((False, True), (True, False), (True, True), (False, False)):
        image = np.zeros((20, 30), int)
        y, x = random.integers(0, 10), random.integers(0, 20)
        image[y : y + 4, x : x + 7] = 1
        axes = tuple(axis for axis, mirror in enumerate((rows, columns)) if mirror)
        where = np.argwhere(np.flip(image, axes))
        boxes = Boxes.of([[x, y, x + 7, y + 4]], [0], [0.5]).mirrored(20, 30, rows=rows, columns=columns)
        expected = [*where.min(0)[::-1], *(where.max(0)[::-1] + 1)]
        np.testing.assert_array_equal(boxes.corners[0], expected)
        assert boxes.scores[0] == 0.5
