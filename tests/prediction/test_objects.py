"""What `predict` writes of single objects: numbered images, the table, and the same after an interruption."""

import csv

import nibabel
import numpy as np
import pytest
from PIL import Image as Pillow

from medcli.config.schema import Predict
from medcli.errors import DataError
from medcli.image import Image
from medcli.instances.decode import Objects, Rule
from medcli.instances.table import object_rows
from medcli.io.writers import write_labels
from medcli.prediction.overlay import overlay
from medcli.prediction.predict import predict
from medcli.prediction.restore import restore_objects
from medcli.prediction.result import Prediction
from medcli.preprocessing.geometry import Placement
from medcli.sliding import Slabs
from tests.fake_run import fake_loading, fake_run


def bright_objects(image):
    """Two classes: above 200 and above 100; the depth is 1 but at the edges of what is bright."""
    values = image[..., 0]
    classes = np.eye(3, dtype=np.float32)[np.where(values > 200, 2, np.where(values > 100, 1, 0))]
    maps = np.concatenate([classes, (values > 0)[..., None].astype(np.float32)], axis=-1)
    return Slabs.of(maps)


def picture(path):
    path.parent.mkdir(exist_ok=True)
    array = np.zeros((12, 20), np.uint8)
    array[2:6, 3:9], array[8:11, 12:18] = 255, 150
    Pillow.fromarray(array).save(path)


def rows_of(path):
    with open(path, newline="") as stream:
        return list(csv.DictReader(stream))


@pytest.fixture
def run(tmp_path, monkeypatch):
    fake_loading(monkeypatch, bright_objects)
    return fake_run(tmp_path / "run", "segmentation", label_ids=[[1], [2]], objects="instances")


def test_images_hold_numbers_and_the_table_tells_of_them(run, tmp_path):
    for name in ("a", "b"):
        picture(tmp_path / "in" / f"{name}.png")
    Pillow.fromarray(np.zeros((12, 20), np.uint8)).save(tmp_path / "in" / "empty.png")
    settings = Predict(save_probabilities=True, overlays=True)
    predict(run, [tmp_path / "in"], tmp_path / "out", settings=settings)
    ids = np.asarray(Pillow.open(tmp_path / "out" / "a.png"))
    assert (ids[3, 4], ids[9, 13], ids[0, 0]) == (1, 2, 0)
    rows = rows_of(tmp_path / "out" / "objects.csv")
    assert [(row["case"], row["object"], row["class"]) for row in rows] == [
        ("a", "1", "b"), ("a", "2", "a"), ("b", "1", "b"), ("b", "2", "a"),
    ]  # fmt: skip
    first = rows[0]
    assert (first["area_px"], first["area_mm2"], first["probability"]) == ("24", "", "1.0000")
    assert (first["row"], first["column"]) == ("3.50", "5.50")
    box = [first[f"{axis}_{end}"] for axis in ("row", "column") for end in ("start", "stop")]
    assert box == ["2", "6", "3", "9"]
    assert not np.asarray(Pillow.open(tmp_path / "out" / "empty.png")).any()
    assert np.load(tmp_path / "out" / "a_prob.npy").shape == (12, 20, 3)  # classes only
    assert (tmp_path / "out" / "overlays" / "a.png").is_file()


def test_an_interrupted_work_goes_on_to_the_same_files(run, tmp_path):
    for name in ("a", "b", "c"):
        picture(tmp_path / "in" / f"{name}.png")
    predict(run, [tmp_path / "in"], tmp_path / "whole")
    predict(run, [tmp_path / "in"], tmp_path / "out")
    for path in (tmp_path / "out" / "b.png", tmp_path / "out" / "c.png"):
        path.unlink()
    assert predict(run, [tmp_path / "in"], tmp_path / "out", resume=True).resumed == 1
    assert rows_of(tmp_path / "out" / "objects.csv") == rows_of(tmp_path / "whole" / "objects.csv")
    predict(run, [tmp_path / "in" / "a.png"], tmp_path / "out", force=True)
    assert {row["case"] for row in rows_of(tmp_path / "out" / "objects.csv")} == {"a"}
    assert not (tmp_path / "out" / "b.png").exists()


def test_volumes_in_mm3_and_more_objects_than_16_bits_hold(tmp_path):
    ids = np.zeros((3, 4, 5), np.int32)
    ids[1, 1:3, 2:5], ids[2, 3, 0] = 1, 3
    objects = Objects(ids, np.array([1, 1, 2], np.uint8), np.array([0.9, 0.5, 0.8], np.float32))
    rows = object_rows(objects, ["x", "y"], (2.0, 0.5, 0.5))
    assert [row["object"] for row in rows] == [1, 3]  # the second has no voxel
    assert (rows[0]["volume_voxels"], rows[0]["volume_mm3"], rows[0]["plane"]) == (6, "3", "1.00")
    assert (rows[1]["class"], rows[1]["plane_start"], rows[1]["column_stop"]) == ("y", 2, 1)
    like = Image(np.zeros((3, 4, 5, 1), np.float32), affine=np.eye(4))
    path = write_labels(tmp_path / "v", np.where(ids == 3, 70_000, ids), like)
    assert np.asarray(nibabel.load(path).dataobj).max() == 70_000
    with pytest.raises(DataError, match="up to 65,535"):
        write_labels(tmp_path / "p", np.full((2, 2), 70_000), Image(np.zeros((2, 2, 1), np.uint8)))


def test_resampled_objects_come_back_where_the_probability_is():
    placement = Placement((20, 31), (0, 1), (False, True), (0, 0), (20, 31), (10, 16), (1, 0), (12, 16))
    background = np.ones((12, 16), np.float32)
    background[3:8, 4:8], background[3:8, 8:13] = 0.1, 0.2
    ids = np.zeros((12, 16), np.int32)
    ids[3:8, 4:8], ids[3:8, 8:13] = 1, 2
    objects = Objects(ids, np.ones(2, np.uint8), np.ones(2, np.float32))
    found = restore_objects(objects, background, placement, Rule())
    pair = placement.restore_probabilities(np.stack([background, 1 - background], -1))
    np.testing.assert_array_equal(found.ids > 0, pair[..., 0] < 0.5)
    assert found.ids[10, 31 - 1 - 10] == 1 and found.ids[10, 31 - 1 - 20] == 2  # columns are mirrored


def test_objects_of_one_class_are_drawn_apart(run):
    ids = np.zeros((12, 20), np.int32)
    ids[2:6, 3:9], ids[2:6, 9:15] = 1, 2
    image = Image(np.zeros((12, 20, 1), np.uint8))
    objects = Objects(ids, np.ones(2, np.uint8), np.ones(2, np.float32))
    prediction = Prediction(labels=objects.labels, objects=objects)
    drawn = overlay(image, prediction, run.plan.model_copy(update={"classes": ["x"]}))
    assert len(np.unique(drawn.reshape(-1, 3), axis=0)) > 4
