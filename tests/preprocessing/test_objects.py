"""Boxes from masks: connected parts, instances, files per object; from the folder to the prepared boxes."""

import csv
from pathlib import Path

import nibabel
import numpy as np
import pydicom
import pytest
from PIL import Image as Pillow
from skimage.measure import regionprops

from medcli.case import Case, Source
from medcli.config.loading import from_dict
from medcli.config.schema import Data
from medcli.errors import ConfigError
from medcli.io.cases import discover
from medcli.io.readers import read_image
from medcli.preprocessing.build import preprocess
from medcli.preprocessing.labels import LabelRule
from medcli.preprocessing.objects import boxes_of, kind_of_objects, parts_of, with_boxes
from medcli.preprocessing.prepared import Prepared

CASE = Case("a", (), masks=(Source(Path("a.png")),))


def drawn() -> np.ndarray:
    """Two touching objects, 1 and 2, and a second piece of 1."""
    mask = np.zeros((20, 30), np.uint16)
    mask[2:6, 3:10] = 1
    mask[6:9, 3:8] = 2
    mask[12:15, 20:29] = 1
    return mask


def corners(boxes) -> list[tuple]:
    return sorted(map(tuple, np.column_stack([boxes.corners, boxes.classes]).astype(int).tolist()))


def found(mask, rule: LabelRule, *, values_differ=True):
    return corners(boxes_of(CASE, parts_of([mask], values_differ=values_differ), rule))


def test_what_an_object_is_decides_the_boxes():
    ids = LabelRule(["x", "y"], [[1], [2]], "", "parts")
    assert found(drawn(), ids) == [(3, 2, 10, 6, 0), (3, 6, 8, 9, 1), (20, 12, 29, 15, 0)]
    assert found(drawn(), LabelRule(["x"], [], "", "instances")) == [(3, 2, 29, 15, 0), (3, 6, 8, 9, 0)]
    binary = LabelRule(["x"], [], "", "parts")
    assert found(drawn(), binary, values_differ=False) == [(3, 2, 10, 9, 0), (20, 12, 29, 15, 0)]


def test_corners_that_touch_join_and_values_below_zero_are_background():
    mask = np.zeros((4, 4), int)
    mask[0, 0], mask[1, 1], mask[3, 3] = 5, 5, -1
    assert found(mask, LabelRule(["x"], [], "", "parts")) == [(0, 0, 2, 2, 0)]


def test_values_of_no_class_and_empty_masks_give_no_box():
    assert found(drawn(), LabelRule(["y"], [[2]], "", "parts")) == [(3, 6, 8, 9, 0)]
    assert found(np.zeros((3, 5), int), LabelRule(["y"], [], "", "instances")) == []


def test_random_instances_have_the_boxes_of_regionprops():
    random = np.random.default_rng(0)
    mask = np.kron(random.integers(0, 40, (6, 9)), np.ones((5, 3), int))
    expected = [(b[1], b[0], b[3], b[2], 0) for b in (r.bbox for r in regionprops(mask))]
    assert found(mask, LabelRule(["x"], [], "", "instances")) == sorted(expected)


def test_volumes_have_parts_along_all_axes():
    mask = np.zeros((4, 5, 6), int)
    mask[1:3, 0:2, 4:6] = 1
    mask[3, 2, 3] = 1  # touches by a corner
    assert parts_of([mask]).rows == [[0, 1, 1, 0, 3, 4, 3, 6]]


@pytest.mark.parametrize(
    ("settings", "values", "files", "expected"),
    [
        ({"labels_are": "instances"}, [1], 1, "instances"),
        ({"labels_are": "binary"}, range(1, 90), 1, "parts"),
        ({}, [255], 1, "parts"),
        ({}, [255], 12, "instances"),
        ({}, range(1, 90), 1, "instances"),
        ({"classes": ["a", "b"]}, range(1, 90), 1, "parts"),
    ],
)
def test_what_one_object_is_follows_from_settings_values_and_files(settings, values, files, expected):
    assert kind_of_objects(Data(**settings), list(values), files)[0] == expected


# ---- from the folder


def write(root: Path, name: str, array) -> None:
    path = root / name
    path.parent.mkdir(parents=True, exist_ok=True)
    Pillow.fromarray(np.asarray(array)).save(path)


def prepared(root: Path, **data) -> Prepared:
    settings = {"root": str(root), "images": "images/{case}.png", "split": {"val": 0.5}} | data
    config = from_dict(
        {"task": "detection", "data": settings, "preprocess": {"size": [32, 32], "workers": 1}}, folder=root
    )
    preprocess(config, root / "prepared")
    return Prepared.open(root / "prepared")


def pictures(root: Path) -> None:
    random = np.random.default_rng(0)
    for number in range(4):
        write(root, f"images/c{number}.png", random.integers(0, 99, (20, 30)).astype(np.uint8))


def boxes(prepared: Prepared, case: str) -> list[tuple]:
    """In pixels of the picture of 20 x 30, which lies from row 5.33 on in one of 32 x 32."""
    (record,) = (record for record in prepared.records if record.case == case)
    label = prepared.label(record)
    label = label[np.lexsort(label.T[::-1])]
    scale = 32 / 30
    before = (32 - round(20 * scale)) // 2
    scale_y = round(20 * scale) / 20
    back = (label[:, :4] - [0, before, 0, before]) / [scale, scale_y, scale, scale_y]
    return [
        (*row, int(kind)) for row, kind in zip(np.rint(back).astype(int).tolist(), label[:, 4], strict=True)
    ]


def test_instance_masks_become_targets_and_the_plan_says_how(tmp_path):
    pictures(tmp_path)
    for number in range(4):
        write(tmp_path, f"labels/c{number}.png", drawn() if number else np.zeros((20, 30), np.uint16))
    made = prepared(tmp_path, labels="labels/{case}.png", labels_are="instances", classes=["cell"])
    assert made.plan.objects == "instances" and "instances" in made.plan.reasons["objects"]
    assert boxes(made, "c1") == [(3, 2, 29, 15, 0), (3, 6, 8, 9, 0)]
    assert boxes(made, "c0") == []
    assert {record.case: record.objects for record in made.records} == {"c0": 0, "c1": 2, "c2": 2, "c3": 2}


def test_one_file_per_object_and_class(tmp_path):
    pictures(tmp_path)
    for number in range(4):
        for place, left in enumerate((2, 5)):  # they overlap, and each keeps its whole box
            mask = np.zeros((20, 30), np.uint8)
            mask[4:9, left : left + 6] = 255
            write(tmp_path, f"masks/c{number}/cell_{place}.png", mask)
        write(
            tmp_path,
            f"masks/c{number}/spot_0.png",
            np.pad(np.full((2, 2), 255, np.uint8), ((10, 8), (20, 8))),
        )
    labels = {"cell": "masks/{case}/cell_*.png", "spot": "masks/{case}/spot_*.png"}
    made = prepared(tmp_path, labels=labels)
    assert made.plan.objects == "instances"
    assert boxes(made, "c2") == [(2, 4, 8, 9, 0), (5, 4, 11, 9, 0), (20, 10, 22, 12, 1)]


def test_one_binary_file_per_class(tmp_path):
    pictures(tmp_path)
    for number in range(4):
        write(tmp_path, f"a/c{number}.png", ((drawn() == 1) * 255).astype(np.uint8))
        write(tmp_path, f"b/c{number}.png", ((drawn() == 2) * 255).astype(np.uint8))
    made = prepared(tmp_path, labels={"b": "b/{case}.png", "a": "a/{case}.png"}, classes=["a", "b"])
    assert made.plan.objects == "parts"
    assert boxes(made, "c3") == [(3, 2, 10, 6, 0), (3, 6, 8, 9, 1), (20, 12, 29, 15, 0)]


def test_a_table_with_a_mask_column(tmp_path):
    pictures(tmp_path)
    lines = ["image,mask"]
    for number in range(4):
        write(tmp_path, f"labels/m{number}.png", drawn().astype(np.uint8))
        lines.append(f"images/c{number}.png,labels/m{number}.png")
    (tmp_path / "table.csv").write_text("\n".join(lines))
    made = prepared(tmp_path, images=None, table="table.csv", columns={"mask": "mask"}, classes=["x", "y"])
    assert boxes(made, "c0") == [(3, 2, 10, 6, 0), (3, 6, 8, 9, 1), (20, 12, 29, 15, 0)]


def test_a_nifti_mask_beside_a_picture(tmp_path):
    write(tmp_path, "a.png", np.zeros((20, 30), np.uint8))
    nibabel.save(nibabel.Nifti1Image(drawn().T[:, :, None], np.eye(4)), tmp_path / "m.nii.gz")
    case = Case("a", (Source(tmp_path / "a.png"),), masks=(Source(tmp_path / "m.nii.gz"),))

    class Asked:
        task, label_ids, classes, objects = "detection", [[1], [2]], ["x", "y"], "parts"

    truth = with_boxes(case, read_image(case.images[0]), Asked).boxes
    assert corners(truth) == [(3, 2, 10, 6, 0), (3, 6, 8, 9, 1), (20, 12, 29, 15, 0)]


def test_a_dicom_segmentation_of_a_slice(shared_data):
    folder = shared_data / "dicom_qa/seg_objects"
    masks = (Source(folder / "seg_image_ct_binary_single_frame.dcm"),)
    case = Case("a", (Source(folder / "ct_image.dcm"),), masks=masks)

    class Asked:
        task, label_ids, classes, objects = "detection", [], ["x"], "instances"

    rows, columns = np.nonzero(pydicom.dcmread(masks[0].path).pixel_array)
    truth = with_boxes(case, read_image(case.images[0]), Asked).boxes
    assert corners(truth) == [(columns.min(), rows.min(), columns.max() + 1, rows.max() + 1, 0)]


def test_a_missing_mask_is_told(tmp_path):
    pictures(tmp_path)
    for number in range(1, 4):
        write(tmp_path, f"labels/c{number}.png", drawn())
    data = {"root": str(tmp_path), "images": "images/{case}.png", "labels": "labels/{case}.png"}
    discovery = discover(from_dict({"task": "detection", "data": data}, folder=tmp_path))
    assert [problem.case for problem in discovery.problems] == ["c0"]
    assert "its mask is missing; expected labels/c0.png" in discovery.problems[0].reason
    with pytest.raises(ConfigError, match="hold one class, got 2 names"):
        data |= {"labels_are": "instances", "classes": ["a", "b"]}
        discover(from_dict({"task": "detection", "data": data}, folder=tmp_path))


def test_nuclei_have_as_many_boxes_as_their_readme_says(shared_data):
    """16,321 nuclei in 470 images; here those of the smallest images by name."""
    root = shared_data / "dsb2018_nuclei"
    data = {"root": str(root), "images": "images/{case}.png", "labels": "labels/{case}.png", "include": "^0"}
    config = from_dict({"task": "detection", "data": data | {"labels_are": "instances"}}, folder=root)
    rule = LabelRule(["nucleus"], [], "", "instances")
    with open(root / "index.csv", newline="") as stream:
        nuclei = {row["image_id"]: int(row["nuclei"]) for row in csv.DictReader(stream)}
    for case in discover(config).cases[:8]:
        mask = np.asarray(Pillow.open(case.masks[0].path)).astype(int)
        assert len(boxes_of(case, parts_of([mask]), rule)) == nuclei[case.name]
