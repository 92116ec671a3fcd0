"""Every format's off-by-one rule: a box over columns 2 to 5 and rows 1 to 3, from 0, of 10 x 8 pixels.

Inside it is x0, y0, x1, y1 = 2, 1, 6, 4: half-open, 4 pixels wide and 3 high.
"""

import json

import numpy as np
import pytest

from medcli.errors import FormatError
from medcli.io.annotations.coco import read_coco
from medcli.io.annotations.shapes import Annotation, image_size, to_boxes
from medcli.io.annotations.voc import read_voc
from medcli.io.annotations.yolo import in_pixels, read_yolo

BOX = (2, 1, 6, 4)

VOC = """<annotation><filename>a.png</filename><size><width>10</width><height>8</height></size>
<object><name>cell</name><difficult>{difficult}</difficult>
<bndbox><xmin>3</xmin><ymin>2</ymin><xmax>6</xmax><ymax>4</ymax></bndbox></object></annotation>"""


def test_voc_counts_from_one_and_owns_its_far_corner(tmp_path):
    path = tmp_path / "a.xml"
    path.write_text(VOC.format(difficult=0))
    annotation = read_voc(path)
    assert annotation.corners == [BOX]
    assert (annotation.image, annotation.size, annotation.names) == ("a.png", (8, 10), ["cell"])
    assert annotation.crowd == [False]


def test_voc_box_over_the_whole_image_is_the_whole_image(tmp_path):
    path = tmp_path / "a.xml"
    path.write_text(
        VOC.format(difficult=0)
        .replace(">3<", ">1<")
        .replace(">2<", ">1<")
        .replace(">6<", ">10<")
        .replace(">4<", ">8<")
    )
    assert read_voc(path).corners == [(0, 0, 10, 8)]


def test_voc_difficult_counts_as_crowd(tmp_path):
    path = tmp_path / "a.xml"
    path.write_text(VOC.format(difficult=1))
    assert read_voc(path).crowd == [True]


@pytest.mark.parametrize(
    ("text", "message"),
    [
        ("<annotation><object>", "broken XML"),
        ("<html></html>", "expected the root element 'annotation' of Pascal VOC, found 'html'"),
        (
            "<annotation><object><name>a</name></object></annotation>",
            "object 1 has no bndbox with four numbers",
        ),
        ('<!DOCTYPE a [<!ENTITY b "c">]><annotation/>', "entity declarations"),
        ("", "broken XML"),
    ],
)
def test_voc_says_what_is_broken(tmp_path, text, message):
    path = tmp_path / "a.xml"
    path.write_text(text)
    with pytest.raises(FormatError, match=message):
        read_voc(path)


COCO = {
    "images": [{"id": 7, "file_name": "a.png", "width": 10, "height": 8}, {"id": 8, "file_name": "b.png"}],
    "annotations": [
        {"id": 1, "image_id": 7, "category_id": 3, "bbox": [2, 1, 4, 3], "iscrowd": 1},
        {"id": 2, "image_id": 9, "category_id": 3, "bbox": [2, 1, 4, 3]},
        {"id": 3, "image_id": 7, "category_id": 4, "bbox": [2, 1, 4, 3]},
        {"id": 4, "image_id": 7, "category_id": 3},
    ],
    "categories": [{"id": 3, "name": "cell"}, {"id": 1, "name": "other"}],
}


def test_coco_counts_from_zero_and_gives_sizes(tmp_path):
    path = tmp_path / "a.json"
    path.write_text(json.dumps(COCO))
    coco = read_coco(path)
    assert [annotation.corners for annotation in coco.annotations] == [[BOX], []]
    assert [annotation.size for annotation in coco.annotations] == [(8, 10), None]
    assert coco.annotations[0].crowd == [True]
    assert coco.categories == {1: "other", 3: "cell"}
    assert coco.faults == [
        "annotation 2 belongs to image 9, which is not listed.",
        "annotation 3 has category 4, which is not listed.",
        "annotation 4 has no bbox of four numbers.",
    ]


@pytest.mark.parametrize("text", ["", "[]", "{}", '{"images": 1, "annotations": [], "categories": []}'])
def test_coco_says_what_is_broken(tmp_path, text):
    path = tmp_path / "a.json"
    path.write_text(text)
    with pytest.raises(FormatError, match=r"a\.json: (broken JSON|expected COCO's)"):
        read_coco(path)


def test_yolo_gives_centre_and_size_in_fractions(tmp_path):
    path = tmp_path / "a.txt"
    path.write_text("1 0.4 0.3125 0.4 0.375\n\n")  # centre 4, 2.5 of 10 x 8; size 4, 3
    annotation = in_pixels(read_yolo(path, {1: "cell"}), (8, 10))
    np.testing.assert_allclose(annotation.corners, [BOX])
    assert annotation.names == ["cell"]


def test_yolo_outline_becomes_the_box_around_it(tmp_path):
    path = tmp_path / "a.txt"
    path.write_text("0 0.2 0.125 0.6 0.25 0.4 0.5\n")
    annotation = in_pixels(read_yolo(path, {}), (8, 10))
    np.testing.assert_allclose(annotation.corners, [BOX])
    assert annotation.names == ["0"]


@pytest.mark.parametrize(
    ("text", "message"),
    [
        ("cell 0.1 0.1 0.1 0.1", "line 1 is not a class number followed by numbers"),
        ("0 0.1 0.1 0.1 0.1\n0 0.1 0.1", "line 2 has 2 numbers after the class"),
        ("0 4 2 4 3", "line 1 is not in fractions"),
        ("0 nan 0.1 0.1 0.1", "line 1 is not in fractions"),
    ],
)
def test_yolo_names_the_broken_line(tmp_path, text, message):
    path = tmp_path / "a.txt"
    path.write_text(text)
    with pytest.raises(FormatError, match=message):
        read_yolo(path, {})


def test_unusable_boxes_are_dropped_and_said():
    annotation = Annotation()
    annotation.add("a", (2, 1, 6, 4))
    annotation.add("b", (5, 5, 5, 7))  # no width
    annotation.add("b", (10, 1, 12, 4))  # right of the image
    annotation.add("b", (-3, 6, 4, 20))  # sticks out: clipped to 0, 6, 4, 8
    annotation.add("c", (0, 0, 1, 1))
    annotation.add("a", (0, float("nan"), 1, 1))
    boxes, faults = to_boxes(annotation, ["a", "b"], (8, 10))
    np.testing.assert_array_equal(boxes.corners, [(2, 1, 6, 4), (0, 6, 4, 8)])
    np.testing.assert_array_equal(boxes.classes, [0, 1])
    assert faults == [
        "box 2: it has no area (5, 5, 5, 7 as x0, y0, x1, y1); this box is left out.",
        "box 3: it lies outside the image of 10 x 8 pixels (10, 1, 12, 4 as x0, y0, x1, y1);"
        " this box is left out.",
        "box 5: its class 'c' is not one of a, b; this box is left out.",
        "box 6: its corners are not finite numbers; this box is left out.",
    ]


def test_size_of_a_picture_of_any_reader(tmp_path):
    from PIL import Image

    Image.new("L", (10, 8)).save(tmp_path / "a.png")
    assert image_size(tmp_path / "a.png") == (8, 10)
    np.save(tmp_path / "c.npy", np.zeros((8, 10), np.float32))
    assert image_size(tmp_path / "c.npy") == (8, 10)
    np.save(tmp_path / "d.npy", np.zeros((5, 8, 10), np.float32))
    with pytest.raises(
        FormatError, match=r"d\.npy: a picture was expected, a volume of shape \(5, 8, 10\) was found"
    ):
        image_size(tmp_path / "d.npy")
    (tmp_path / "b.png").write_text("no image")
    with pytest.raises(FormatError, match=r"b\.png: "):
        image_size(tmp_path / "b.png")
