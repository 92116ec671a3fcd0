"""Numbers of single objects, from the mask files to the prepared arrays."""

import numpy as np
import pytest
from PIL import Image as Pillow

from medcli.case import Case, Source
from medcli.config.loading import from_dict
from medcli.errors import ConfigError
from medcli.image import Image
from medcli.preprocessing.build import preprocess
from medcli.preprocessing.geometry import Placement
from medcli.preprocessing.instances import (
    classes_of,
    consecutive,
    fitted,
    numbers_of,
    packed,
    parts,
    placed,
    read_objects,
    true_objects,
)
from medcli.preprocessing.labels import IGNORE
from medcli.preprocessing.plan import Intensity, Plan
from medcli.preprocessing.prepared import Prepared


def plan(**settings) -> Plan:
    usual = {
        "task": "segmentation", "dimensions": 2, "classes": ["cell"], "channels": 1, "color": "grey",
        "intensity": [Intensity(kind="none")], "batch_size": 1, "stages": 2, "objects": "instances",
    }  # fmt: skip
    return Plan(**(usual | settings))


def written(path, mask) -> Source:
    path.parent.mkdir(parents=True, exist_ok=True)
    Pillow.fromarray(np.asarray(mask, np.uint16)).save(path)
    return Source(path)


TWO = np.array([[7, 7, 0, 9], [7, 7, 9, 9], [0, 0, 0, 0]])
"""Objects 7 and 9 touch."""
LIKE = Image(np.zeros((3, 4, 1), np.uint8))


def test_a_packed_array_holds_classes_and_numbers():
    classes, numbers = np.array([0, 1, 2, IGNORE], np.uint8), np.array([5, 6, 70_000, 8])
    label = packed(classes, numbers)
    assert classes_of(label).tolist() == classes.tolist()
    assert numbers_of(label).tolist() == [0, 6, 70_000, 0]
    assert classes_of(classes) is classes
    assert consecutive(np.array([[-3, 0, 9, 4, 9]])).tolist() == [[0, 0, 2, 1, 2]]


def test_parts_of_different_classes_are_different_objects():
    classes = np.array([[1, 1, 2], [0, 0, 2], [1, 0, IGNORE]], np.uint8)
    numbers = parts(classes)
    assert numbers.tolist() == [[1, 1, 3], [0, 0, 3], [2, 0, 0]]


def test_an_object_has_the_class_of_most_of_its_voxels():
    label = packed(np.array([1, 2, 2, 0, 1], np.uint8), np.array([4, 4, 4, 0, 9]))
    numbers, classes = true_objects(label)
    assert (numbers.tolist(), classes.tolist()) == ([1, 1, 1, 0, 2], [2, 1])


def test_masks_with_numbers_files_per_object_and_files_per_class(tmp_path):
    whole = Case("a", (), masks=(written(tmp_path / "a.png", TWO),))
    label = read_objects(whole, LIKE, plan())
    assert numbers_of(label).tolist() == [[1, 1, 0, 2], [1, 1, 2, 2], [0] * 4]
    single = tuple(written(tmp_path / f"{value}.png", 255 * (value == TWO)) for value in (7, 9))
    np.testing.assert_array_equal(read_objects(Case("b", (), masks=single), LIKE, plan()), label)
    both = tuple(written(tmp_path / name, mask) for name, mask in (("x.png", TWO), ("y.png", np.flipud(TWO))))
    two = plan(classes=["x", "y"], label_ids=[[1], [2]])
    numbers, classes = true_objects(read_objects(Case("c", (), masks=both), LIKE, two))
    assert classes.tolist() == [1, 1, 2, 2]  # row 1 of the second file, which wins, is that of the first
    assert numbers.tolist() == [[1, 1, 0, 2], [3, 3, 4, 4], [3, 3, 0, 4]]


def test_connected_parts_of_ids(tmp_path):
    mask = np.array([[3, 3, 0, 3], [5, 5, 0, 0], [0, 0, 0, 3]])
    rule = plan(classes=["x", "y"], label_ids=[[3], [5]], objects="parts")
    numbers, classes = true_objects(
        read_objects(Case("a", (), masks=(written(tmp_path / "a.png", mask),)), LIKE, rule)
    )
    assert numbers.max() == 4
    assert sorted(classes.tolist()) == [1, 1, 1, 2]


def test_resampled_objects_fill_their_class_and_keep_apart():
    mask = np.zeros((12, 30), np.int32)
    mask[2:10, 3:14], mask[2:10, 14:25] = 1, 2
    label = packed((mask > 0).astype(np.uint8), mask)
    placement = Placement((12, 30), (0, 1), (False, False), (0, 0), (12, 30), (18, 20), (0, 0), (18, 20))
    there = placed(label, placement)
    assert there.shape == (18, 20)
    np.testing.assert_array_equal(classes_of(there), placement.labels((mask > 0).astype(np.uint8)))
    assert ((numbers_of(there) > 0) == (classes_of(there) > 0)).all()
    share = np.bincount(numbers_of(there).ravel())[1:] / (8 * 11 * 1.5 * 2 / 3)
    assert share == pytest.approx([1, 1], abs=0.1)


def test_growing_stops_where_it_should():
    numbers, region = np.array([[0, 3, 0, 0, 0, 0]]), np.array([[True, True, True, True, False, True]])
    assert fitted(numbers, region).tolist() == [[3, 3, 3, 3, 0, 0]]
    assert fitted(numbers, region, reach=1).tolist() == [[3, 3, 3, 0, 0, 0]]
    assert fitted(np.zeros((2, 2), int), np.ones((2, 2), bool)).tolist() == [[0, 0], [0, 0]]


def folder(tmp_path, cases=6):
    """Images, masks with numbers, and the same with a file per object."""
    random = np.random.default_rng(0)
    for number in range(cases):
        mask = np.zeros((20, 26), np.uint16)
        mask[3:9, 4:9], mask[3:9, 9:14], mask[13:18, 10:22] = 2, 5, 6
        image = (100 * (mask > 0) + random.integers(0, 50, mask.shape)).astype(np.uint8)
        Pillow.fromarray(image).save(_made(tmp_path / "images") / f"c{number}.png")
        written(tmp_path / "labels" / f"c{number}.png", mask)
        for value in (2, 5, 6):
            written(tmp_path / "objects" / f"c{number}" / f"o{value}.png", 255 * (mask == value))
    return tmp_path


def _made(path):
    path.mkdir(parents=True, exist_ok=True)
    return path


def prepare(root, out, **data):
    usual = {"root": str(root), "images": "images/{case}.png", "labels": "labels/{case}.png"}
    preprocess(from_dict({"task": "segmentation", "data": usual | data}, folder=root), out)
    return Prepared.open(out)


def test_prepared_objects(tmp_path):
    root = folder(tmp_path)
    one = prepare(root, tmp_path / "p1", labels_are="instances")
    assert one.plan.single_objects and one.plan.objects == "instances"
    record = one.records[0]
    assert one.label(record).dtype == np.uint8 and one.objects(record).dtype == np.int32
    np.testing.assert_array_equal(one.label(record), numbers_of(one.objects(record)) > 0)
    assert numbers_of(one.objects(record)).max() == 3
    files = prepare(root, tmp_path / "p2", labels="objects/{case}/*.png", labels_are="instances")
    np.testing.assert_array_equal(files.objects(files.records[0]), one.objects(record))
    connected = prepare(root, tmp_path / "p3", labels_are="binary", objects="on")
    assert connected.plan.objects == "parts"
    assert numbers_of(connected.objects(connected.records[0])).max() == 2  # those that touch are one
    off = prepare(root, tmp_path / "p4", labels_are="instances", objects="off")
    assert not off.plan.single_objects and off.label(off.records[0]).max() == 1
    again = prepare(root, tmp_path / "p4", labels_are="instances", objects="off")
    assert again.records == off.records
    assert "objects" in one.plan.reasons and "objects" not in off.plan.reasons


def test_objects_are_those_of_masks():
    with pytest.raises(ConfigError, match=r"data\.objects: expected auto or off for detection"):
        from_dict({"task": "detection", "data": {"objects": "on"}})
