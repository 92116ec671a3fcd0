"""Finding cases: one small data set per layout, then what all layouts share."""

import json

import numpy as np
import pytest
from PIL import Image

from medcli.config.schema import Config
from medcli.errors import ConfigError, DataError, FormatError
from medcli.io.cases import discover


def touch(root, *names):
    """Images of 10 columns and 8 rows."""
    for name in names:
        path = root / name
        path.parent.mkdir(parents=True, exist_ok=True)
        if path.suffix in (".png", ".jpg"):
            Image.new("L", (10, 8)).save(path)
        else:
            path.touch()


def write(root, name, text):
    path = root / name
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_text(text, encoding="utf-8")


def find(root, task="classification", **data):
    return discover(Config(task=task, data={"root": root, **data}))


def names(discovery):
    return [case.name for case in discovery.cases]


def left_out(discovery):
    return {problem.case: problem.reason for problem in discovery.problems if problem.left_out}


def warnings(discovery):
    return [(problem.case, problem.reason) for problem in discovery.problems if not problem.left_out]


# Class folders


def test_class_folders(tmp_path):
    touch(tmp_path, "sick/a10.png", "sick/deep/a2.png", "well/b.png", "well/notes.txt", ".git/c.png")
    found = find(tmp_path)
    assert found.format == "folders"
    assert found.classes == ["sick", "well"]
    assert [(case.name, case.classes, case.patient) for case in found.cases] == [
        ("a10", ("sick",), "a10"),
        ("a2", ("sick",), "a2"),
        ("b", ("well",), "b"),
    ]


def test_class_folders_inside_splits_with_equal_names(tmp_path):
    touch(tmp_path, "train/sick/1.png", "train/well/1.png", "valid/sick/2.png", "test/well/3.png")
    found = find(tmp_path)
    assert {case.name: (case.split, case.classes[0]) for case in found.cases} == {
        "sick_1": ("train", "sick"),
        "well_1": ("train", "well"),
        "2": ("val", "sick"),
        "3": ("test", "well"),
    }


def test_declared_classes_give_the_order_and_refuse_other_folders(tmp_path):
    touch(tmp_path, "sick/1.png", "well/2.png", "odd/3.png")
    found = find(tmp_path, classes=["well", "sick"])
    assert found.classes == ["well", "sick"]
    assert left_out(found) == {"3": "its folder is not one of the classes well, sick (data.classes)."}


# Tables


def test_table_with_patients_groups_and_split(tmp_path):
    touch(tmp_path, "im/a.png", "im/b.png")
    write(tmp_path, "t.csv", "file,label,patient_id,sex,part\nim/a.png,x,p1,F,train\nim/b.png,y,p2,,valid\n")
    found = find(tmp_path, table="t.csv", columns={"groups": ["sex"], "split": "part"})
    assert [
        (case.name, case.patient, dict(case.groups), case.split, case.classes) for case in found.cases
    ] == [
        ("a", "p1", {"sex": "F"}, "train", ("x",)),
        ("b", "p2", {"sex": ""}, "val", ("y",)),
    ]


def test_a_column_split_is_not_used_unless_named(tmp_path):
    touch(tmp_path, "a.png", "b.png")
    write(tmp_path, "t.csv", "file,label,split\na.png,x,train\nb.png,y,test\n")
    assert {case.split for case in find(tmp_path, table="t.csv").cases} == {None}


def test_rows_at_fault_do_not_stop_the_others(tmp_path):
    touch(tmp_path, "a.png", "b.png", "c.png", "d.png")
    write(tmp_path, "t.csv", "image,label\na.png,x\nb.png,y\nc.png,\nd.png,z\ne.png,x\na.png,y\n,x\n")
    found = find(tmp_path, table="t.csv", classes=["x", "y"])
    assert names(found) == ["a", "b"]
    assert left_out(found) == {
        "c": "it has no label: the column label is empty.",
        "d": "its class 'z' is not one of x, y (data.classes).",
        "e": "t.csv lists this image, but there is no such file.",
        "a": "there is another case of this name with other labels; the first is used, see which is right.",
        "": "line 8 names no image.",
    }


def test_a_table_with_semicolons_is_told_so(tmp_path):
    touch(tmp_path, "a.png")
    write(tmp_path, "t.csv", "image;label\na.png;x\n")
    with pytest.raises(FormatError, match=r"commas were expected between columns .* found semicolons"):
        find(tmp_path, table="t.csv")


def test_several_columns_are_classes_that_may_apply_together(tmp_path):
    touch(tmp_path, "a.png", "b.png", "c.png")
    write(tmp_path, "t.csv", "image,fluid,node\na.png,1,1\nb.png,0,0.0\nc.png,0,2\n")
    found = find(tmp_path, table="t.csv", columns={"label": ["fluid", "node"]})
    assert found.multi_label
    assert [case.classes for case in found.cases] == [("fluid", "node"), ()]
    fault = "the column node is expected to hold 0 or 1 (-1: uncertain; empty: not labelled), found '2'."
    assert left_out(found) == {"c": fault}


@pytest.mark.parametrize(
    "settings, told",
    [
        ({}, {"a": (("fluid",), ("node",)), "b": ((), ("fluid",))}),
        ({"uncertain": "present"}, {"a": (("fluid",), ("node",)), "b": (("fluid",), ())}),
        ({"unlabelled": "absent"}, {"a": (("fluid",), ()), "b": ((), ("fluid",)), "c": ((), ())}),
        ({"uncertain": "absent"}, {"a": (("fluid",), ("node",)), "b": ((), ())}),
    ],
)
def test_labels_may_be_unknown(tmp_path, settings, told):
    touch(tmp_path, "a.png", "b.png", "c.png", "d.png")
    write(tmp_path, "t.csv", "image,fluid,node\na.png,1.0,\nb.png,-1,0\nc.png,NaN,\nd.png,0,1\n")
    found = find(tmp_path, table="t.csv", columns={"label": ["fluid", "node"]}, **settings)
    assert {case.name: (case.classes, case.unknown) for case in found.cases} == told | {"d": (("node",), ())}
    if "c" not in told:
        assert left_out(found) == {"c": "none of its labels is known."}


def test_classes_joined_by_bars(tmp_path):
    touch(tmp_path, "a.png", "b.png")
    write(tmp_path, "t.tsv", "image\tlabel\na.png\tfluid|node\nb.png\tnode\n")
    found = find(tmp_path, table="t.tsv")
    assert found.multi_label
    assert (found.classes, found.cases[0].classes) == (["fluid", "node"], ("fluid", "node"))


def test_no_finding_is_no_label_unless_it_is_a_class(tmp_path):
    touch(tmp_path, "a.png", "b.png")
    write(tmp_path, "t.tsv", "image\tlabel\na.png\tfluid|node\nb.png\tNo Finding\n")
    found = find(tmp_path, table="t.tsv", classes=["fluid", "node"])
    assert [case.classes for case in found.cases] == [("fluid", "node"), ()]
    found = find(tmp_path, table="t.tsv", classes=["fluid", "node", "No Finding"])
    assert [case.classes for case in found.cases] == [("fluid", "node"), ("No Finding",)]


@pytest.mark.parametrize("classes", [["well", "sick"], {"well": 0, "sick": [1, 2]}])
def test_numbers_in_the_table_take_declared_names(tmp_path, classes):
    touch(tmp_path, "a.png", "b.png")
    write(tmp_path, "t.csv", "image,label\na.png,1\nb.png,0\n")
    found = find(tmp_path, table="t.csv", classes=classes)
    assert found.classes == ["well", "sick"]
    assert [case.classes for case in found.cases] == [("sick",), ("well",)]


def test_table_of_masks_and_of_channels(tmp_path):
    touch(tmp_path, "a_1.png", "a_2.png", "a_m.png", "b_1.png", "b_2.png")
    write(tmp_path, "t.csv", "id,one,two,mask\na,a_1.png,a_2.png,a_m.png\nb,b_1.png,b_2.png,\n")
    columns = {"case": "id", "image": ["one", "two"], "mask": "mask"}
    found = find(tmp_path, "segmentation", table="t.csv", columns=columns, labels_are="binary")
    assert [source.path.name for source in found.cases[0].images] == ["a_1.png", "a_2.png"]
    assert found.cases[0].masks[0].path.name == "a_m.png"
    assert left_out(found) == {"b": "its mask is missing."}


def test_names_without_suffix_and_pattern_for_images(tmp_path):
    touch(tmp_path, "images/a.png", "images/b.jpg")
    touch(tmp_path, "other/b.png")
    write(tmp_path, "t.csv", "image_id,label\na,x\nb,y\n")
    assert [case.images[0].path.name for case in find(tmp_path, table="t.csv").cases] == ["a.png", "b.jpg"]
    found = discover(
        Config(
            task="classification", data={"root": tmp_path, "table": "t.csv", "images": "other/{case}.png"}
        ),
        for_training=False,
    )
    assert (names(found), list(left_out(found))) == (["b"], ["a"])


def test_table_of_boxes(tmp_path):
    touch(tmp_path, "a.png", "b.png")
    write(
        tmp_path,
        "t.csv",
        "image,xmin,ymin,xmax,ymax,label,patient\na.png,2,1,6,4,x,p\na.png,0,0,10,8,y,p\nb.png,,,,,,q\na.png,1,2,3,k,x,p\n",
    )
    found = find(tmp_path, "detection", table="t.csv")
    assert found.classes == ["x", "y"]
    assert [case.patient for case in found.cases] == ["p", "q"]
    np.testing.assert_array_equal(found.cases[0].boxes.corners, [(2, 1, 6, 4), (0, 0, 10, 8)])
    assert len(found.cases[1].boxes) == 0
    assert warnings(found) == [
        ("a", "line 5: expected four numbers in xmin, ymin, xmax, ymax; this box is left out.")
    ]


@pytest.mark.parametrize(
    ("columns", "message"),
    [
        ({"label": "grade"}, "data.columns.label: t.csv has no column 'grade'; it has image, label, sex."),
        ({"groups": ["age"]}, "data.columns.groups: t.csv has no column 'age'; it has image, label, sex."),
        ({"split": "part"}, "data.columns.split: t.csv has no column 'part'; it has image, label, sex."),
    ],
)
def test_missing_columns_are_named_with_those_present(tmp_path, columns, message):
    write(tmp_path, "t.csv", "image,label,sex\na.png,x,F\n")
    with pytest.raises(ConfigError) as caught:
        find(tmp_path, table="t.csv", columns=columns)
    assert str(caught.value) == message


def test_tables_that_cannot_be_used(tmp_path):
    with pytest.raises(DataError, match=r"t\.csv: no such table"):
        find(tmp_path, table="t.csv")
    write(tmp_path, "t.csv", "image,label\n")
    with pytest.raises(DataError, match="the table has no rows"):
        find(tmp_path, table="t.csv")
    (tmp_path / "t.csv").write_bytes(b"\x89PNG\r\n\x1a\n\xff\xfe\x00")
    with pytest.raises(FormatError, match="not a CSV or TSV table"):
        find(tmp_path, table="t.csv")
    write(tmp_path, "t.csv", "image,label,part\na.png,x,later\n")
    touch(tmp_path, "a.png")
    with pytest.raises(DataError, match="expected to hold train, val or test, found 'later'"):
        find(tmp_path, table="t.csv", columns={"split": "part"})


# npz


def write_npz(path, **arrays):
    np.savez(path, **{name: np.asarray(array) for name, array in arrays.items()})


def test_npz_parts(tmp_path):
    images = np.zeros((2, 4, 5), np.uint8)
    write_npz(
        tmp_path / "a.npz",
        train_images=images,
        train_labels=[[0], [1]],
        val_images=images[:1],
        val_labels=[[1]],
    )
    found = find(tmp_path, classes=["well", "sick"])
    assert found.format == "npz"
    assert [(case.name, case.split, case.classes[0]) for case in found.cases] == [
        ("train_00000", "train", "well"),
        ("train_00001", "train", "sick"),
        ("val_00000", "val", "sick"),
    ]
    assert found.cases[1].images[0].part == "train_images[1]"
    assert find(tmp_path).classes == ["0", "1"]


def test_npz_with_several_labels_each(tmp_path):
    write_npz(tmp_path / "a.npz", images=np.zeros((2, 4, 5)), labels=[[1, 0, 1], [0, 0, 0]])
    found = find(tmp_path, classes=["a", "b", "c"])
    assert found.multi_label
    assert [case.classes for case in found.cases] == [("a", "c"), ()]


def test_npz_with_masks(tmp_path):
    write_npz(tmp_path / "a.npz", images=np.zeros((2, 4, 5)), masks=np.zeros((2, 4, 5)))
    found = find(tmp_path, "segmentation", images="a.npz")
    assert found.cases[1].masks[0].part == "masks[1]"


def test_npz_that_cannot_be_used(tmp_path):
    write_npz(tmp_path / "a.npz", train_images=np.zeros((2, 4, 5)), train_labels=[0])
    with pytest.raises(DataError, match=r"train_images and train_labels differ in length \(2 and 1\)"):
        find(tmp_path)
    write_npz(tmp_path / "a.npz", x=[1])
    with pytest.raises(
        DataError, match="expected arrays named like train_images, images or x_train, found x"
    ):
        find(tmp_path)
    write_npz(tmp_path / "a.npz", images=np.zeros((3, 4, 5)), labels=[0, 1, 2])
    with pytest.raises(ConfigError, match=r"expected 3 names, one per label value in a\.npz, got 2"):
        find(tmp_path, classes=["a", "b"])
    (tmp_path / "a.npz").write_bytes(b"PK\x03\x04 cut off")
    with pytest.raises(FormatError, match=r"a\.npz"):
        find(tmp_path)


# Boxes

VOC = """<annotation><size><width>10</width><height>8</height></size>{}</annotation>"""
OBJECT = (
    "<object><name>{}</name>"
    "<bndbox><xmin>{}</xmin><ymin>{}</ymin><xmax>{}</xmax><ymax>{}</ymax></bndbox></object>"
)


def test_voc(tmp_path):
    touch(tmp_path, "JPEGImages/a.jpg", "JPEGImages/b.jpg", "JPEGImages/c.jpg", "JPEGImages/d.jpg")
    write(
        tmp_path,
        "Annotations/a.xml",
        VOC.format(OBJECT.format("x", 3, 2, 6, 4) + OBJECT.format("w", 5, 5, 5, 5)),
    )
    write(tmp_path, "Annotations/b.xml", VOC.format(""))
    write(tmp_path, "Annotations/c.xml", "<annotation>")
    write(tmp_path, "Annotations/e.xml", VOC.format(""))
    found = find(tmp_path, "detection")
    assert (found.format, found.classes, names(found)) == ("voc", ["w", "x"], ["a", "b"])
    np.testing.assert_array_equal(found.cases[0].boxes.corners, [(2, 1, 6, 4)])
    np.testing.assert_array_equal(found.cases[0].boxes.classes, [1])
    assert len(found.cases[1].boxes) == 0
    assert left_out(found)["d"] == "there is no XML file of this name."
    assert left_out(found)["e"] == "there is no image of this name."
    assert left_out(found)["c"].startswith("broken XML")
    assert warnings(found) == [
        ("a", "box 2: it has no area (5, 5, 5, 5 as x0, y0, x1, y1); this box is left out.")
    ]


def test_voc_without_sizes_looks_at_the_image(tmp_path):
    touch(tmp_path, "images/a.png")
    write(
        tmp_path,
        "labels/a.xml",
        f"<annotation>{OBJECT.format('x', 20, 2, 30, 4)}{OBJECT.format('x', 1, 1, 99, 99)}</annotation>",
    )
    found = find(tmp_path, "detection")
    np.testing.assert_array_equal(found.cases[0].boxes.corners, [(0, 0, 10, 8)])
    assert "lies outside the image of 10 x 8 pixels" in warnings(found)[0][1]


def test_lists_give_the_split_and_leave_out_the_rest(tmp_path):
    touch(tmp_path, "images/a.png", "images/b.png", "images/c.png")
    for case in "abc":
        write(tmp_path, f"labels/{case}.xml", VOC.format(OBJECT.format("x", 1, 1, 4, 4)))
    write(tmp_path, "train.txt", "a 1\nz\n")
    write(tmp_path, "val.txt", "images/b.png\n")
    found = find(tmp_path, "detection", lists={"train": "train.txt", "val": "val.txt"})
    assert [(case.name, case.split) for case in found.cases] == [("a", "train"), ("b", "val")]
    assert left_out(found) == {"z": "the list for train names this case, but there are no such files."}
    assert warnings(found) == [("", "1 cases are in none of data.lists and are not used: c.")]
    write(tmp_path, "val.txt", "a\n")
    with pytest.raises(DataError, match="the case a stands in two lists, train and val"):
        find(tmp_path, "detection", lists={"train": "train.txt", "val": "val.txt"})


def coco(*images, boxes=((1, 1, (2, 1, 4, 3)),)):
    return json.dumps(
        {
            "images": [{"id": number, "file_name": name} for number, name in enumerate(images, start=1)],
            "annotations": [
                {"id": number, "image_id": image, "category_id": category, "bbox": box}
                for number, (image, category, box) in enumerate(boxes)
            ],
            "categories": [{"id": 5, "name": "late"}, {"id": 1, "name": "x"}],
        }
    )


def test_coco(tmp_path):
    touch(tmp_path, "images/a.png", "images/b.png")
    write(tmp_path, "labels.json", coco("a.png", "b.png", "c.png"))
    found = find(tmp_path, "detection", labels="labels.json")
    assert (found.format, found.classes, names(found)) == ("coco", ["x"], ["a", "b"])
    np.testing.assert_array_equal(found.cases[0].boxes.corners, [(2, 1, 6, 4)])
    assert len(found.cases[1].boxes) == 0
    assert left_out(found) == {"c": "labels.json lists this image, but there is no such file."}


def test_coco_with_one_file_per_part(tmp_path):
    touch(tmp_path, "train/a.png", "valid/a.png")
    write(tmp_path, "train/_annotations.coco.json", coco("a.png"))
    write(tmp_path, "valid/_annotations.coco.json", coco("a.png"))
    found = find(tmp_path, "detection")
    assert [(case.name, case.split) for case in found.cases] == [("train_a", "train"), ("valid_a", "val")]
    labels = {"train": "train/_annotations.coco.json", "test": "valid/_annotations.coco.json"}
    assert {case.split for case in find(tmp_path, "detection", format="coco", labels=labels).cases} == {
        "train",
        "test",
    }


def test_coco_category_ids_take_declared_names(tmp_path):
    touch(tmp_path, "a.png")
    write(tmp_path, "labels.json", coco("a.png"))
    found = find(tmp_path, "detection", labels="labels.json", classes={"cell": 1})
    assert found.classes == ["cell"]
    assert len(found.cases[0].boxes) == 1


def test_yolo(tmp_path):
    touch(tmp_path, "images/train/a.png", "images/train/b.png", "images/val/c.png", "images/val/d.png")
    write(tmp_path, "labels/train/a.txt", "1 0.4 0.3125 0.4 0.375\n")
    write(tmp_path, "labels/val/c.txt", "0 5 5 5 5\n")
    write(tmp_path, "labels/val/d.txt", "")
    write(tmp_path, "labels/val/e.txt", "")
    write(tmp_path, "data.yaml", "train: images/train\nval: images/val\nnames: [late, x]\n")
    found = find(tmp_path, "detection")
    assert (found.format, found.classes) == ("yolo", ["late", "x"])
    assert [(case.name, case.split, len(case.boxes)) for case in found.cases] == [
        ("a", "train", 1),
        ("b", "train", 0),
        ("d", "val", 0),
    ]
    np.testing.assert_allclose(found.cases[0].boxes.corners, [(2, 1, 6, 4)])
    assert warnings(found) == [("b", "it has no text file, which in YOLO means no objects.")]
    assert left_out(found) == {
        "c": "line 1 is not in fractions of the image's size (0 to 1).",
        "e": "there is no image of this name.",
    }


# Masks


def test_masks_beside_images(tmp_path):
    touch(tmp_path, "a.png", "a_m.png", "b.png", "c_m.png")
    found = find(tmp_path, "segmentation", images="{case}.png", labels="{case}_m.png", classes=["x", "y"])
    assert (found.format, names(found)) == ("masks", ["a"])
    assert found.cases[0].masks[0].path.name == "a_m.png"
    assert found.label_ids == {"x": [1], "y": [2]}
    assert left_out(found) == {
        "b": "its mask is missing; expected b_m.png.",
        "c": "there is no image for this mask.",
    }


def test_channels_and_one_mask_per_class(tmp_path):
    touch(tmp_path, "t1/a.png", "t2/a.png", "t1/b.png", "core/a.png", "edema/a.png", "core/b.png")
    touch(tmp_path, "t1/c.png", "t2/c.png", "core/c.png")
    images = {"t1": "t1/{case}.png", "t2": "t2/{case}.png"}
    labels = {"core": "core/{case}.png", "edema": "edema/{case}.png"}
    found = find(tmp_path, "segmentation", images=images, labels=labels, classes=["edema", "core"])
    assert [source.path.parent.name for source in found.cases[0].images] == ["t1", "t2"]
    assert [source.path.parent.name for source in found.cases[0].masks] == ["edema", "core"]
    assert found.label_ids == {"edema": [1], "core": [2]}
    assert left_out(found) == {"b": "the channel t2 is missing.", "c": "the mask of edema is missing."}


@pytest.mark.parametrize(
    ("settings", "classes", "label_ids"),
    [
        ({}, None, None),
        ({"labels_are": "binary"}, ["foreground"], {}),
        ({"labels_are": "instances", "classes": ["cell"]}, ["cell"], {}),
        ({"classes": {"b": 4, "a": [1, 3]}}, ["b", "a"], {"b": [4], "a": [1, 3]}),
    ],
)
def test_what_the_label_ids_mean(tmp_path, settings, classes, label_ids):
    touch(tmp_path, "i/a.png", "m/a.png")
    found = find(tmp_path, "segmentation", images="i/{case}.png", labels="m/{case}.png", **settings)
    assert (found.classes, found.label_ids) == (classes, label_ids)


def test_masks_need_a_pattern(tmp_path):
    touch(tmp_path, "i/a.png", "m/a.png")
    with pytest.raises(ConfigError, match=r"data.images: expected a pattern with \{case\}"):
        find(tmp_path, "segmentation", images="i", labels="m/{case}.png")
    with pytest.raises(DataError, match=r"no images match j/\{case\}.png; check data.images"):
        find(tmp_path, "segmentation", images="j/{case}.png", labels="m/{case}.png")
    with pytest.raises(ConfigError, match="masks that are binary hold one class, got 2 names"):
        find(
            tmp_path,
            "segmentation",
            images="i/{case}.png",
            labels="m/{case}.png",
            labels_are="binary",
            classes=["a", "b"],
        )


# nnU-Net and Decathlon


def test_nnunet(tmp_path):
    touch(
        tmp_path, *(f"imagesTr/{name}.nii.gz" for name in ("a_0000", "a_0001", "b_0000", "c_0000", "c_0001"))
    )
    touch(tmp_path, "labelsTr/a.nii.gz", "labelsTr/b.nii.gz", "labelsTr/d.nii.gz")
    content = {
        "channel_names": {"0": "T1", "1": "T2"},
        "labels": {"background": 0, "tumour": 2, "organ": 1, "ignore": 3},
        "file_ending": ".nii.gz",
    }
    write(tmp_path, "dataset.json", json.dumps(content))
    found = find(tmp_path, "segmentation")
    assert (found.format, found.classes, found.label_ids) == (
        "nnunet",
        ["organ", "tumour"],
        {"organ": [1], "tumour": [2]},
    )
    assert found.ignore_label == 3
    assert [source.path.name for source in found.cases[0].images] == ["a_0000.nii.gz", "a_0001.nii.gz"]
    assert left_out(found) == {
        "d": "there is no image for this mask.",
        "b": "this channel is missing.",
        "c": "its mask is missing; expected labelsTr/c.nii.gz.",
    }


def test_decathlon(tmp_path):
    touch(tmp_path, "imagesTr/a_1.nii.gz", "imagesTr/._a_1.nii.gz", "labelsTr/a_1.nii.gz")
    content = {"modality": {"0": "MRI"}, "labels": {"0": "background", "1": "Anterior", "2": "Posterior"}}
    write(tmp_path, "dataset.json", json.dumps(content))
    found = find(tmp_path, "segmentation")
    assert (names(found), found.label_ids) == (["a_1"], {"Anterior": [1], "Posterior": [2]})


def test_dataset_json_that_cannot_be_used(tmp_path):
    write(tmp_path, "dataset.json", "{")
    with pytest.raises(FormatError, match="broken JSON"):
        find(tmp_path, "segmentation")


def test_labels_of_dataset_json_that_overlap_are_regions(tmp_path):
    touch(tmp_path, "imagesTr/a.nii.gz", "labelsTr/a.nii.gz")
    write(tmp_path, "dataset.json", '{"labels": {"background": 0, "whole": [1, 2], "core": [2]}}')
    found = find(tmp_path, "segmentation")
    assert found.label_ids == {"label_1": [1], "label_2": [2]}
    assert found.regions == {"whole": ["label_1", "label_2"], "core": ["label_2"]}


# What all layouts share


def test_patients_from_names(tmp_path):
    touch(tmp_path, "x/7L.png", "x/7R.png", "y/8L.png", "y/odd.png")
    found = find(tmp_path, patient=r"^(\d+)")
    assert {case.name: case.patient for case in found.cases} == {
        "7L": "7",
        "7R": "7",
        "8L": "8",
        "odd": "odd",
    }
    assert warnings(found) == [
        ("odd", "data.patient does not fit its name, so it counts as a patient of its own.")
    ]
    for wrong, message in (
        (r"^\d", "expected a regular expression with one group"),
        ("(", "is not a regular"),
        ("(q)", "fits no case"),
    ):
        with pytest.raises(ConfigError, match=message):
            find(tmp_path, patient=wrong)


def test_table_joined_by_case(tmp_path):
    touch(tmp_path, "x/a.png", "y/b.png", "y/c.png")
    write(tmp_path, "t.csv", "case,patient,sex\nb,p2,F\na,p1,M\n")
    found = find(tmp_path, format="folders", table="t.csv", columns={"case": "case", "groups": ["sex"]})
    assert {case.name: (case.patient, case.groups["sex"]) for case in found.cases} == {
        "a": ("p1", "M"),
        "b": ("p2", "F"),
        "c": ("c", ""),
    }
    assert warnings(found) == [
        ("c", "the table has no row for this case, so its patient and groups are unknown.")
    ]


def test_table_joined_by_image_file(tmp_path):
    touch(tmp_path, "x/a.png", "y/b.png")
    write(tmp_path, "t.csv", "file,sex\nx/a.png,M\nb.png,F\n")
    found = find(tmp_path, format="folders", table="t.csv", columns={"groups": ["sex"]})
    assert [case.groups["sex"] for case in found.cases] == ["M", "F"]


def test_table_joined_by_patient(tmp_path):
    touch(tmp_path, "x/7L.png", "x/7R.png", "y/8L.png")
    write(tmp_path, "t.csv", "patient_id,sex,age\n8,F,50\n7,M,40\n7,M,41\n")
    columns = {"groups": ["sex", "age"]}
    found = find(tmp_path, format="folders", patient=r"^(\d+)", table="t.csv", columns=columns)
    assert {case.name: dict(case.groups) for case in found.cases} == {
        "7L": {"sex": "M", "age": ""},  # the rows of 7 differ in age
        "7R": {"sex": "M", "age": ""},
        "8L": {"sex": "F", "age": "50"},
    }


def test_a_table_that_fits_no_case_is_an_error(tmp_path):
    touch(tmp_path, "x/a.png", "y/b.png")
    write(tmp_path, "t.csv", "name,sex\na,F\n")
    with pytest.raises(
        ConfigError, match=r"no row of t\.csv fits a case such as 'a'; looked into the columns none"
    ):
        find(tmp_path, format="folders", table="t.csv")


def test_a_patient_in_two_given_splits_is_an_error_that_does_not_name_the_patient(tmp_path):
    touch(tmp_path, "a.png", "b.png")
    write(tmp_path, "t.csv", "image,label,patient,part\na.png,x,Mueller,train\nb.png,y,Mueller,test\n")
    with pytest.raises(
        DataError, match=r"1 patient\(s\) are in two splits.*a \(train\) and b \(test\)"
    ) as caught:
        find(tmp_path, table="t.csv", columns={"split": "part"})
    assert "Mueller" not in str(caught.value)


def test_include_and_exclude(tmp_path):
    touch(tmp_path, "x/a1.png", "x/a2.png", "y/b1.png", "y/c1.png")
    assert names(find(tmp_path, include="1$", exclude="^c")) == ["a1", "b1"]
    with pytest.raises(DataError, match="no usable cases in the layout 'folders'"):
        find(tmp_path, include="nothing")


def test_data_that_cannot_be_used(tmp_path):
    with pytest.raises(DataError, match=r"the data folder does not exist; correct data\.root"):
        find(tmp_path / "nowhere")
    for task, message in (
        ("classification", "looked for class folders, a CSV table"),
        ("detection", "looked for VOC XML"),
        ("segmentation", r"looked for patterns with \{case\}"),
    ):
        with pytest.raises(ConfigError, match=message):
            find(tmp_path, task)
    touch(tmp_path, "only/a.png", "only/b.png")
    with pytest.raises(
        DataError, match=r"all 2 cases have the same class \(only\); classification needs at least two"
    ):
        find(tmp_path)
    config = Config(task="classification", data={"root": tmp_path})
    assert len(discover(config, for_training=False).cases) == 2
    with pytest.raises(
        ConfigError, match="'voc' holds no labels for segmentation; use table, npz, masks, nnunet"
    ):
        find(tmp_path, "segmentation", format="voc")


def test_a_declared_class_without_cases_is_said(tmp_path):
    touch(tmp_path, "x/a.png", "y/b.png")
    assert warnings(find(tmp_path, classes=["x", "y", "z"])) == [("", "no case has the class 'z'.")]
