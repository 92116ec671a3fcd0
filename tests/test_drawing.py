"""Drawing: windows, overlays, and the radiologist's view of volumes."""

import numpy as np
import pytest

from medcli.boxes import Boxes
from medcli.drawing import (
    PALETTE,
    above,
    add_legend,
    add_title,
    beside,
    draw_boxes,
    draw_labels,
    largest_plane,
    to_display,
    views,
)
from medcli.image import Image

GREY = np.full((40, 60, 3), 100, np.uint8)


def test_eight_bit_pictures_are_shown_as_they_are():
    picture = np.random.default_rng(0).integers(50, 90, (4, 5, 3), dtype=np.uint8)
    np.testing.assert_array_equal(to_display(picture), picture)
    np.testing.assert_array_equal(to_display(picture[..., :1]), np.repeat(picture[..., :1], 3, -1))


def test_deep_pictures_are_windowed():
    ramp = np.linspace(-1000, 3000, 10_001, dtype=np.float32)[None, :, None]
    shown = to_display(ramp)
    assert shown.dtype == np.uint8 and shown.shape == (1, 10_001, 3)
    assert (shown[0, 0, 0], shown[0, -1, 0]) == (0, 255)
    assert shown[0, 5000, 0] in (127, 128)
    assert to_display(ramp, (0.0, 100.0))[0, 2500 + 125, 0] == 128  # 50 of 0 to 100


@pytest.mark.parametrize("value", [0.0, 7.0, np.nan, np.inf])
def test_constant_and_undefined_images_are_shown(value):
    assert to_display(np.full((3, 4, 1), value, np.float32)).shape == (3, 4, 3)


def test_of_many_channels_the_first_is_shown():
    array = np.zeros((3, 4, 4), np.uint8)
    array[..., 0] = 9
    assert (to_display(array) == 9).all()


def test_a_box_is_drawn_on_its_outermost_pixels():
    # Half-open: x from 10 up to 29, y from 5 up to 24.
    drawn = draw_boxes(GREY, Boxes.of([[10, 5, 30, 25]], [1]), ["a", "b"], names=False)
    rows, columns = np.nonzero((drawn != GREY).any(-1))
    assert (rows.min(), rows.max(), columns.min(), columns.max()) == (5, 24, 10, 29)
    assert tuple(drawn[5, 10]) == PALETTE[1]
    assert (drawn[15, 20] == 100).all() and (GREY == 100).all(), "filled, or drawn into the input"


def test_names_and_scores_are_written():
    boxes = Boxes.of([[10, 20, 30, 38], [-5, -5, 4, 4]], [0, 0], [0.5, 1.0])
    bare = draw_boxes(GREY, boxes, ["cell"], names=False)
    assert (draw_boxes(GREY, boxes, ["cell"]) != bare).any()
    assert draw_boxes(GREY, Boxes.empty(), []).shape == GREY.shape


def test_labels_are_outlined_and_tinted():
    labels = np.zeros((40, 60), np.uint8)
    labels[10:20, 10:20] = 2
    labels[30:, :] = 255  # ignored: not drawn
    drawn = draw_labels(GREY, labels, fill=0.5)
    assert tuple(drawn[10, 15]) == PALETTE[1]
    np.testing.assert_array_equal(drawn[15, 15], np.rint((100 + np.array(PALETTE[1])) / 2))
    outside = labels != 2
    np.testing.assert_array_equal(drawn[outside], GREY[outside])


def test_a_legend_adds_rows_and_wraps():
    one, many = add_legend(GREY, ["a"]), add_legend(GREY, ["a long name", "another", "third", "fourth"])
    assert one.shape[1:] == many.shape[1:] == (60, 3)
    assert 40 < one.shape[0] < many.shape[0]
    np.testing.assert_array_equal(one[:40], GREY)
    assert add_title(GREY, "truth").shape[0] > 40


def test_pictures_of_unequal_size_stand_together():
    small = np.zeros((10, 20, 3), np.uint8)
    assert beside([GREY, small], gap=4).shape == (40, 84, 3)
    assert above([GREY, small], gap=4).shape == (54, 60, 3)


def test_a_picture_is_one_view_in_its_own_proportions():
    (view,) = views(Image(GREY, spacing=(2.0, 1.0)), [np.ones((40, 60), np.uint8)], longest=160)
    # 40 rows of 2 mm by 60 columns of 1 mm.
    assert view.rgb.shape == (160, 120, 3) and view.labels[0].shape == (160, 120)
    assert view.scale == (2.0, 4.0) and view.name == ""


def test_the_plane_with_most_of_all_labels_is_shown():
    labels = np.zeros((5, 4, 3), np.uint8)
    labels[1, 0, 0] = labels[3, :2, 1] = 1
    assert [largest_plane(labels, axis) for axis in range(3)] == [3, 0, 1]
    # A second, small label that lies wholly in plane 1: 1/3 + 1 there against 2/3 in plane 3.
    labels[1, 3, 2] = 2
    assert largest_plane(labels, 0) == 1
    assert [largest_plane(np.zeros((5, 4, 3), np.uint8), axis) for axis in range(3)] == [2, 2, 1]


TURNS = {
    # Axis codes of (plane, row, column): the direction in which each index grows.
    "axial as in DICOM": "SPL",
    "sagittal": "LPI",
    "coronal": "ASR",
    "head first, upside down": "IAR",
}


@pytest.mark.parametrize("codes", TURNS.values(), ids=TURNS.keys())
def test_volumes_are_turned_to_the_radiologists_view(codes):
    from nibabel.orientations import apply_orientation, axcodes2ornt, inv_ornt_aff, ornt_transform

    # A bright corner at the head, the front and the patient's right, in a volume of 20 x 30 x 40 mm.
    plain = np.zeros((20, 30, 40), np.float32)
    plain[14:, :9, :12] = 100  # planes grow to the head, rows to the back, columns to the left
    affine = np.array([[0, 0, -1, 0], [0, -1, 0, 0], [1, 0, 0, 0], [0, 0, 0, 1]], float)
    turn = ornt_transform(axcodes2ornt("SPL"), axcodes2ornt(codes))
    array = apply_orientation(plain, turn)
    image = Image(array[..., None], (1.0, 1.0, 1.0), affine @ inv_ornt_aff(turn, plain.shape))
    axial, coronal, sagittal = views(image, [(array > 0).astype(np.uint8)], longest=40)
    assert [view.name for view in (axial, coronal, sagittal)] == ["axial", "coronal", "sagittal"]
    assert [view.rgb.shape[:2] for view in (axial, coronal, sagittal)] == [(30, 40), (20, 40), (20, 30)]
    for view, rows, columns in ((axial, 9, 12), (coronal, 6, 12), (sagittal, 6, 9)):
        bright = view.rgb[..., 0] > 128
        assert bright[:rows, :columns].all() and bright.sum() == rows * columns, view.name
        np.testing.assert_array_equal(view.labels[0] > 0, bright)


def test_volumes_show_their_spacing():
    image = Image(np.zeros((10, 20, 40, 1), np.float32), (4.0, 1.0, 1.0), None)
    shapes = [view.rgb.shape[:2] for view in views(image, longest=80)]
    assert shapes == [(40, 80), (80, 80), (80, 40)]
