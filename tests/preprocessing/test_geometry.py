"""There and back: labels, boxes and probabilities between the original and the prepared grid."""

import nibabel
import numpy as np
import pytest
import scipy.ndimage
from hypothesis import given, settings
from hypothesis import strategies as st

from medcli.boxes import Boxes
from medcli.image import Image
from medcli.preprocessing.geometry import (
    Placement,
    fitted_shape,
    foreground_box,
    orientation,
    resize,
    resize_labels,
    spaced_shape,
)
from medcli.preprocessing.plan import Intensity, Plan
from medcli.preprocessing.prepare import place, prepare

NOTHING = Intensity(kind="none")


def plan_of(**settings) -> Plan:
    values = {
        "task": "segmentation",
        "dimensions": 3,
        "classes": ["organ"],
        "channels": 1,
        "color": "as_is",
        "intensity": [NOTHING],
        "batch_size": 1,
        "stages": 1,
    }
    return Plan(**values | settings)


def picture_plan(**settings) -> Plan:
    return plan_of(dimensions=2, color="grey", **settings)


def affine_of(codes: str, spacing, degrees: float = 0.0) -> np.ndarray:
    """For axes along these directions ("SPL": up, back, left), turned about the head-feet axis."""
    axis = {"R": (0, 1), "L": (0, -1), "A": (1, 1), "P": (1, -1), "S": (2, 1), "I": (2, -1)}
    affine = np.eye(4)
    affine[:3, :3] = 0
    for column, code in enumerate(codes):
        world, sign = axis[code]
        affine[world, column] = sign * spacing[column]
    angle = np.deg2rad(degrees)
    turn = np.eye(4)
    turn[:2, :2] = [[np.cos(angle), -np.sin(angle)], [np.sin(angle), np.cos(angle)]]
    affine = turn @ affine
    affine[:3, 3] = (12, -7, 30)
    return affine


def ellipsoids(shape) -> np.ndarray:
    """Two labels, off-centre, of unequal axes."""
    grid = np.indices(shape) + 0.5
    mask = np.zeros(shape, np.uint8)
    for label, centre, radii in ((1, 0.4, 0.28), (2, 0.72, 0.2)):
        inside = sum(((g / n - centre) / radii) ** 2 for g, n in zip(grid, shape, strict=True)) <= 1
        mask[inside] = label
    return mask


def dice(a: np.ndarray, b: np.ndarray, label: int) -> float:
    return 2 * np.sum((a == label) & (b == label)) / (np.sum(a == label) + np.sum(b == label))


@pytest.mark.parametrize("codes", ["SPL", "RAS", "LIP", "AIL"])
@pytest.mark.parametrize("degrees", [0, 20])
def test_labels_come_back_in_shape_and_place(codes, degrees):
    """Anisotropic, flipped, rotated volumes: resampled to 2 mm and back, hardly a voxel is lost."""
    shape = {"S": 14, "I": 14, "P": 40, "A": 40, "L": 30, "R": 30}
    steps = {"S": 5.0, "I": 5.0, "P": 1.5, "A": 1.5, "L": 2.0, "R": 2.0}
    shape = tuple(shape[code] for code in codes)
    spacing = tuple(steps[code] for code in codes)
    mask = ellipsoids(shape)
    array = mask[..., None].astype(np.float32)
    image = Image(array, spacing, affine_of(codes, spacing, degrees))
    prepared, placement = prepare(image, plan_of(reorient=True, spacing=[2.0, 2.0, 2.0]))
    assert prepared.shape == (35, 30, 30, 1)  # 14 * 5 / 2, 40 * 1.5 / 2, 30 * 2 / 2
    labels = placement.labels(mask)
    assert labels.shape == prepared.shape[:-1]
    assert labels.dtype == mask.dtype
    restored = placement.restore_labels(labels)
    probabilities = np.stack([labels == n for n in range(3)], axis=-1).astype(np.float32)
    smooth = placement.restore_probabilities(probabilities)
    assert restored.shape == shape
    assert smooth.shape == (*shape, 3)
    for label in (1, 2):
        assert dice(restored, mask, label) > 0.9
        assert dice(smooth.argmax(-1), mask, label) > 0.9


@pytest.mark.parametrize("codes", ["SPL", "RAS", "PIR"])
def test_reorienting_agrees_with_nibabel(codes):
    """The prepared array is what nibabel makes of the volume in the directions S, P, L."""
    array = np.random.default_rng(0).normal(size=(4, 5, 6)).astype(np.float32)
    affine = affine_of(codes, (3.0, 1.0, 2.0), 10)
    theirs = nibabel.Nifti1Image(array, affine)
    turn = nibabel.orientations.ornt_transform(
        nibabel.io_orientation(affine), nibabel.orientations.axcodes2ornt(("S", "P", "L"))
    )
    prepared, _ = prepare(Image(array[..., None], (3.0, 1.0, 2.0), affine), plan_of(reorient=True))
    assert np.array_equal(prepared[..., 0], np.asarray(theirs.as_reoriented(turn).dataobj))


def test_spacing_follows_the_axes():
    """A volume stored column, row, plane with 1 x 2 x 4 mm has planes 4 mm apart after reorienting."""
    image = Image(np.zeros((8, 6, 3, 1), np.float32), (1.0, 2.0, 4.0), affine_of("LPS", (1.0, 2.0, 4.0)))
    prepared, placement = prepare(image, plan_of(reorient=True, spacing=[2.0, 2.0, 1.0]))
    assert prepared.shape == (6, 6, 8, 1)
    assert placement.axes == (2, 1, 0)


def test_what_fits_already_is_not_touched():
    """No geometry change: images, labels and probabilities pass to the bit, without even a copy."""
    array = np.random.default_rng(1).normal(size=(5, 7, 9, 1)).astype(np.float32)
    image = Image(array, (1.0, 1.0, 1.0), affine_of("SPL", (1.0, 1.0, 1.0)))
    prepared, placement = prepare(image, plan_of(reorient=True, crop=False, spacing=[1.0, 1.0, 1.0]))
    assert np.array_equal(prepared, array)
    mask = (array[..., 0] > 0).astype(np.uint8)
    assert np.array_equal(placement.labels(mask), mask)
    assert np.array_equal(placement.restore_labels(mask), mask)
    probabilities = np.random.default_rng(2).random((5, 7, 9, 3), np.float32)
    assert np.array_equal(placement.restore_probabilities(probabilities), probabilities)


def test_flips_alone_come_back_to_the_bit():
    array = np.random.default_rng(1).normal(size=(5, 7, 9, 2)).astype(np.float32)
    image = Image(array, (1.0, 2.0, 3.0), affine_of("AIR", (1.0, 2.0, 3.0)))
    prepared, placement = prepare(image, plan_of(reorient=True, channels=2, intensity=[NOTHING] * 2))
    assert prepared.shape == (7, 5, 9, 2)
    assert np.array_equal(placement.restore_probabilities(prepared), array)


def test_crop_keeps_the_content_and_comes_back():
    """A 3 x 2 x 4 block in zeros: only the block is kept; outside it everything is background again."""
    array = np.zeros((6, 5, 8, 1), np.float32)
    array[2:5, 1:3, 3:7] = 2
    image = Image(array, (1.0, 1.0, 1.0), affine_of("SPL", (1.0, 1.0, 1.0)))
    prepared, placement = prepare(image, plan_of(reorient=True, crop=True))
    assert prepared.shape == (3, 2, 4, 1)
    assert np.all(prepared == 2)
    restored = placement.restore_labels(np.ones((3, 2, 4), np.uint8))
    assert np.array_equal(restored, (array[..., 0] > 0).astype(np.uint8))
    probabilities = placement.restore_probabilities(np.full((3, 2, 4, 2), 0.5, np.float32))
    assert np.all(probabilities[0] == [1, 0])
    assert np.all(probabilities[2:5, 1:3, 3:7] == 0.5)


def test_padding_is_centred_and_zero_after_normalising():
    """20 x 10 pixels of value 7 into 16 x 16: scaled to 16 x 8 with 4 empty columns on either side."""
    plan = picture_plan(size=[16, 16], intensity=[Intensity(kind="fixed", mean=5.0, std=2.0)])
    prepared, placement = prepare(Image(np.full((20, 10, 1), 7, np.uint8)), plan)
    assert placement.scaled == (16, 8)
    assert np.all(prepared[:, 4:12] == 1)
    assert np.all(prepared[:, :4] == 0)
    assert np.all(prepared[:, 12:] == 0)


def test_stretching_fills_the_size():
    plan = picture_plan(size=[16, 16], keep_aspect=False)
    prepared, _ = prepare(Image(np.full((20, 10, 1), 7, np.uint8)), plan)
    assert np.all(prepared == 7)


def test_a_box_by_hand():
    """480 x 640 to 320 x 320: half the size, 40 empty rows above."""
    _, placement = prepare(Image(np.zeros((480, 640, 1), np.uint8)), picture_plan(size=[320, 320]))
    boxes = placement.boxes(Boxes.of([[100, 60, 300, 200]], [0]))
    assert boxes.corners.tolist() == [[50, 70, 150, 140]]


@settings(max_examples=40, deadline=None)
@given(
    rows=st.integers(3, 900),
    columns=st.integers(3, 900),
    size=st.tuples(st.integers(8, 700), st.integers(8, 700)),
    ends=st.lists(st.floats(0, 1), min_size=4, max_size=4),
)
def test_boxes_come_back(rows, columns, size, ends):
    image = Image(np.zeros((rows, columns, 1), np.uint8))
    placement = place(image, image.array, picture_plan(size=list(size)))
    x = sorted((ends[0] * columns, ends[1] * columns))
    y = sorted((ends[2] * rows, ends[3] * rows))
    boxes = Boxes.of([[x[0], y[0], x[1], y[1]]], [3])
    back = placement.restore_boxes(placement.boxes(boxes))
    assert np.abs(back.corners - boxes.corners).max() < 1e-3
    assert back.classes.tolist() == [3]


def test_restored_boxes_stay_inside_the_original():
    _, placement = prepare(Image(np.zeros((30, 60, 1), np.uint8)), picture_plan(size=[64, 64]))
    back = placement.restore_boxes(Boxes.of([[-9, -9, 99, 99]], [0]))
    assert back.corners.tolist() == [[0, 0, 60, 30]]


def test_enlarging_agrees_with_scipy():
    array = np.random.default_rng(3).normal(size=(5, 9, 7, 2)).astype(np.float32)
    ours = resize(array, (8, 20, 7))
    for channel in range(2):
        theirs = scipy.ndimage.zoom(
            array[..., channel], (8 / 5, 20 / 9, 1), order=1, mode="nearest", grid_mode=True
        )
        assert np.allclose(ours[..., channel], theirs, atol=1e-5)


def test_shrinking_averages():
    """A checkerboard shrunk four times is grey, not black or white."""
    board = (np.indices((32, 32)).sum(0) % 2).astype(np.float32)[..., None]
    assert np.abs(resize(board, (8, 8)) - 0.5).max() < 0.1


def test_labels_take_the_largest_share():
    """3 3 7 0 to two columns: 3, and of 7 and 0 with equal shares the smaller one."""
    mask = np.array([[3, 3, 7, 0]], np.uint8)
    assert resize_labels(mask, (1, 2)).tolist() == [[3, 0]]
    assert resize_labels(mask, (1, 8)).tolist()[0][:4] == [3, 3, 3, 3]


def test_foreground_of_a_constant_image_is_all_of_it():
    assert foreground_box(np.full((3, 4, 1), 9)) == ((0, 0), (3, 4))


def test_foreground_of_any_channel_counts():
    array = np.zeros((4, 6, 2))
    array[1, 2, 0] = 1
    array[2, 4, 1] = 1
    assert foreground_box(array) == ((1, 2), (3, 5))


@pytest.mark.parametrize(
    ("shape", "size", "expected"),
    [((480, 640), (480, 640), (480, 640)), ((100, 50), (64, 64), (64, 32)), ((1, 1000), (64, 64), (1, 64))],
)
def test_fitted_shape(shape, size, expected):
    assert fitted_shape(shape, size) == expected


def test_spaced_shape_keeps_a_voxel():
    assert spaced_shape((10, 1), (1.0, 0.1), (2.0, 2.0)) == (5, 1)


def test_orientation_of_the_target_is_the_identity():
    assert orientation(affine_of("SPL", (1, 2, 3))) == ((0, 1, 2), (False, False, False))


def test_placement_is_plain_data():
    """It can be sent to another process and compared."""
    import pickle

    placement = Placement((4,), (0,), (False,), (0,), (4,), (4,), (0,), (4,))
    assert pickle.loads(pickle.dumps(placement)) == placement


@pytest.mark.parametrize(("planes", "coarse"), [(30, 15), (30, 11), (10, 20)])
def test_one_labelled_plane_of_ten_survives_resampling(planes, coarse):
    mask = np.full((planes, 12, 12), 255, np.uint8)
    mask[4::10] = 0
    mask[4::10, 3:9, 3:9] = 1
    out = resize_labels(mask, (coarse, 6, 6), 255)
    known = (out != 255).any(axis=(1, 2))
    assert known.sum() >= planes // 10
    assert set(np.unique(out)) == {0, 1, 255}
    middle = out[known]
    assert (middle[:, 3, 3] == 1).all() and (middle[:, 0, 0] == 0).all()
    assert (known.sum() / coarse) <= 2.5 / 10 * max(1, planes / coarse)


def test_an_ignored_neighbour_does_not_outvote_a_label():
    mask = np.array([[1, 255, 255, 255, 0, 0, 255, 255]], np.uint8)
    assert resize_labels(mask, (1, 4), 255).tolist() == [[1, 255, 0, 255]]


def test_a_large_array_is_resampled_in_parts_to_the_same_bits(monkeypatch):
    from medcli.preprocessing import geometry

    array = np.random.default_rng(0).random((13, 9, 11, 2)).astype(np.float32)
    whole = geometry.resize(array, (7, 15, 11))
    monkeypatch.setattr(geometry, "PART_BYTES", 1000)
    np.testing.assert_array_equal(geometry.resize(array, (7, 15, 11)), whole)
