"""Boxes in volumes: overlap, linking of planes, hits by distance and overlap, FROC per volume."""

import numpy as np
import pytest
from scipy import ndimage

from medcli.boxes import Boxes
from medcli.metrics.detection import average_precision, froc_sensitivities
from medcli.metrics.linking import link
from medcli.metrics.volume_detection import by_distance, by_overlap, match_volumes
from medcli.volume_boxes import VolumeBoxes, iou_matrix_3d

SPACING = (3.0, 2.0, 1.0)
AFFINE = np.array([[0.0, 0, -1, 50], [0, -2, 0, 40], [3, 0, 0, -30], [0, 0, 0, 1]])
"""Planes up, rows backwards, columns to the left; unequal steps."""


def test_overlap_equals_counting_voxels():
    random = np.random.default_rng(0)
    low = random.integers(0, 6, (5, 3))
    corners = np.concatenate([low, low + random.integers(1, 6, (5, 3))], 1)
    grids = np.zeros((5, 12, 12, 12), bool)
    for grid, (p0, r0, c0, p1, r1, c1) in zip(grids, corners, strict=True):
        grid[p0:p1, r0:r1, c0:c1] = True
    expected = [[(a & b).sum() / (a | b).sum() for b in grids] for a in grids]
    np.testing.assert_allclose(iou_matrix_3d(corners, corners), expected)
    assert iou_matrix_3d(np.zeros((1, 6)), np.zeros((1, 6)))[0, 0] == 0


def test_centres_and_sizes_are_those_of_the_voxels_in_the_world():
    boxes = VolumeBoxes.of([[2, 4, 6, 5, 5, 10]], [0])
    voxels = np.argwhere(np.ones((3, 1, 4))) + np.array([2, 4, 6])
    world = voxels @ AFFINE[:3, :3].T + AFFINE[:3, 3]
    np.testing.assert_allclose(boxes.centres_mm(AFFINE)[0], world.mean(0))
    np.testing.assert_allclose(boxes.sizes_mm(SPACING)[0], [9, 2, 4])
    assert boxes.radii_mm(SPACING)[0] == pytest.approx(2.5)
    ball = VolumeBoxes.of(boxes.corners, [0], volumes=[4 / 3 * np.pi * 8])
    assert ball.radii_mm(SPACING)[0] == pytest.approx(2)


# ---- linking


def planes_of(volume: np.ndarray) -> list[Boxes]:
    """The exact boxes of each object (id) on each plane, score .9."""
    planes = []
    for plane in volume:
        boxes = [
            (box[1].start, box[0].start, box[1].stop, box[0].stop)
            for box in ndimage.find_objects(plane)
            if box
        ]
        planes.append(
            Boxes.of(np.array(boxes).reshape(-1, 4), np.zeros(len(boxes)), np.full(len(boxes), 0.9))
        )
    return planes


def test_balls_cut_into_planes_are_put_together_again():
    grid = np.indices((20, 40, 40))
    volume = np.zeros(grid.shape[1:], int)
    for number, (centre, radius) in enumerate([((6, 10, 10), 5), ((12, 28, 12), 6), ((9, 22, 30), 4)], 1):
        volume[sum((g - c) ** 2 for g, c in zip(grid, centre, strict=True)) <= radius**2] = number
    found = link(planes_of(volume))
    expected = [[s.start for s in box] + [s.stop for s in box] for box in ndimage.find_objects(volume)]
    assert sorted(found.corners.tolist()) == sorted(expected)
    np.testing.assert_allclose(found.scores, 0.9, rtol=1e-6)


BOX, OTHER = [10, 10, 20, 20], [12, 11, 21, 20]


def on(*rows) -> Boxes:
    return (
        Boxes.of([row[0] for row in rows], [row[1] for row in rows], [row[2] for row in rows])
        if rows
        else Boxes.empty()
    )


def test_a_gap_of_one_plane_is_bridged_a_longer_one_is_not():
    seen = on((BOX, 0, 0.6))
    assert link([seen, Boxes.empty(), seen, seen]).corners.tolist() == [[0, 10, 10, 4, 20, 20]]
    assert len(link([seen, Boxes.empty(), Boxes.empty(), seen])) == 2


def test_few_planes_lower_the_score_and_weak_ends_are_cut():
    alone = link([Boxes.empty(), on((BOX, 0, 0.9))])
    assert alone.scores[0] == pytest.approx(0.3) and alone.corners.tolist() == [[1, 10, 10, 2, 20, 20]]
    found = link([on((BOX, 0, 0.2)), on((BOX, 0, 0.9)), on((OTHER, 0, 0.6)), on((BOX, 0, 0.8))])
    assert found.scores[0] == pytest.approx((0.9 + 0.8 + 0.6) / 3)
    assert found.corners.tolist() == [[1, 10, 10, 4, 20, 21]]


def test_classes_are_not_linked_and_the_best_pairs_go_first():
    assert len(link([on((BOX, 0, 0.9)), on((BOX, 1, 0.9))])) == 2
    found = link([on((BOX, 0, 0.9)), on(([14, 10, 24, 20], 0, 0.5), (BOX, 0, 0.8))])
    assert len(found) == 2 and found.corners[0].tolist() == [0, 10, 10, 2, 20, 20]


def test_small_boxes_that_hardly_overlap_but_lie_close_are_linked():
    # 2 x 12 after 12 x 2 around one centre: IoU 4 / 44.
    assert len(link([on(([0, 5, 12, 7], 0, 0.9)), on(([5, 0, 7, 12], 0, 0.9))])) == 1
    assert len(link([on(([0, 0, 4, 4], 0, 0.9)), on(([4, 4, 8, 8], 0, 0.9))])) == 2


def test_a_branch_within_a_better_box_is_no_object_of_its_own():
    whole = on((BOX, 0, 0.9))
    branch = on((BOX, 0, 0.9), ([11, 11, 15, 14], 0, 0.8))
    assert len(link([whole, branch, branch, whole])) == 1
    beside = on((BOX, 0, 0.9), ([18, 11, 24, 14], 0, 0.8))
    assert len(link([whole, beside, beside, whole])) == 2


def test_nothing_to_link():
    assert len(link([])) == 0 and len(link([Boxes.empty()] * 3)) == 0


# ---- matching

LESION = VolumeBoxes.of([[2, 2, 2, 6, 8, 14], [20, 20, 20, 22, 23, 26]], [0, 0])


def moved(box, planes=0.0, columns=0.0):
    return np.asarray(box, float) + [planes, 0, columns] * 2


def test_a_centre_within_the_radius_hits_once_and_further_ones_do_not_count():
    # Lengths of the first: 12, 12, 12 mm, so its radius is 6 mm: 1.9 planes or 5.9 columns away is within.
    first = LESION.corners[0]
    found = VolumeBoxes.of(
        [moved(first, columns=5.9), moved(first), moved(first, planes=2.1), moved(first, planes=-1.9)],
        [0] * 4,
        [0.9, 0.8, 0.7, 0.6],
    )
    hit, ignored = by_distance(found, LESION, AFFINE, SPACING)
    assert hit[:, 0].tolist() == [True, False, False, False]
    assert ignored[:, 0].tolist() == [False, True, False, True]


def test_a_hit_by_overlap_takes_the_object():
    found = VolumeBoxes.of([LESION.corners[0], moved(LESION.corners[0], columns=1)], [0, 0], [0.9, 0.8])
    hit, ignored = by_overlap(found, LESION, 0.5)
    assert hit[:, 0].tolist() == [True, False] and not ignored.any()
    assert not by_overlap(found, VolumeBoxes.empty(), 0.5)[0].any()


def test_froc_per_volume_by_hand():
    # Two volumes, three lesions; by score: hit, false, hit, false.
    lesion, far = LESION.take([0]), [[30, 30, 30, 32, 32, 32]]
    found = [
        VolumeBoxes.of(np.concatenate([lesion.corners, far]), [0, 0], [0.9, 0.8]),
        VolumeBoxes.of(np.concatenate([lesion.corners, far]), [0, 0], [0.7, 0.6]),
    ]
    places = [(AFFINE, SPACING)] * 2
    matches = match_volumes(found, [LESION, lesion], 0, places)
    assert matches.truths.tolist() == [2, 1]
    np.testing.assert_allclose(froc_sensitivities([matches], rates=(0.25, 0.5, 1.0)), [1 / 3, 2 / 3, 2 / 3])
    overlapped = match_volumes(found, [LESION, lesion], 0, places, overlap=0.25)
    # Precision is 1 up to recall 1/3 (34 of 101 recalls), 2/3 up to 2/3 (33), then 0.
    assert average_precision(overlapped)[0] == pytest.approx((34 + 33 * 2 / 3) / 101)
    nothing = match_volumes([VolumeBoxes.empty()], [VolumeBoxes.empty()], 0, places[:1])
    assert np.isnan(froc_sensitivities([nothing])).all()
