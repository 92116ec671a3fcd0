"""Planes of volumes as pictures: found, read, prepared, predicted, linked and judged, from NIfTI files on."""

import json

import nibabel
import numpy as np
import pytest

from medcli.boxes import Boxes
from medcli.case import Source
from medcli.config.loading import from_dict
from medcli.config.schema import Predict
from medcli.errors import ConfigError, FormatError
from medcli.evaluation.evaluate import evaluate
from medcli.files import read_csv
from medcli.io.cases import discover
from medcli.io.planes import place_of, volume_of
from medcli.io.readers import read_image
from medcli.prediction.predict import predict
from medcli.prediction.result import Prediction
from medcli.preprocessing.build import preprocess
from medcli.preprocessing.objects import with_boxes
from medcli.preprocessing.prepared import Prepared
from tests.evaluation import runs
from tests.fake_run import fake_loading, fake_run

AFFINE = np.array([[-2.0, 0, 0, 30], [0, 3, 0, -20], [0, 0, 4, 10], [0, 0, 0, 1]])


def volumes(root, count=4):
    """Two bright boxes of 3 and 4 planes in volumes of 10 planes, 20 rows and 24 columns; masks of 0 and 1."""
    for number in range(count):
        mask = np.zeros((10, 20, 24), np.uint8)
        mask[1:4, 3:9, 4 + number : 12 + number] = 1
        mask[5:9, 12:18, 2:9] = 1
        values = 200.0 * mask + np.arange(10)[:, None, None] + 37 * number
        for kind, array in (("image", values.astype(np.float32)), ("mask", mask)):
            path = root / f"v{number}" / f"{kind}.nii.gz"
            path.parent.mkdir(parents=True, exist_ok=True)
            nibabel.save(nibabel.Nifti1Image(array.T, AFFINE), path)
    return root


def config_of(root, **data):
    data = {
        "root": str(root),
        "images": "{case}/image.nii.gz",
        "labels": "{case}/mask.nii.gz",
        "planes": 3,
    } | data
    data |= {"labels_are": "binary", "classes": ["lesion"], "split": {"val": 0.5}}
    preparation = {"size": [32, 32], "workers": 1}
    return from_dict(
        {"task": "detection", "data": data, "preprocess": preparation}, folder=root, name="planes"
    )


@pytest.fixture(scope="module")
def root(tmp_path_factory):
    return volumes(tmp_path_factory.mktemp("volumes"))


def test_every_plane_is_a_case_of_its_patient(root):
    cases = discover(config_of(root)).cases
    assert [case.name for case in cases[:2]] == ["v0_p0000", "v0_p0001"] and len(cases) == 40
    assert {case.patient for case in cases} == {"v0", "v1", "v2", "v3"}
    source, index, count = volume_of(cases[13].images[0])
    assert (source, index, count) == (Source(root / "v1/image.nii.gz"), 3, 3)
    assert volume_of(source) is None


def test_a_plane_comes_first_then_its_neighbours_and_ends_are_repeated(root):
    cases = discover(config_of(root)).cases
    image = read_image(cases[0].images[0])
    assert image.shape == (20, 24) and image.spacing == (3, 2)
    assert image.array[0, 0].tolist() == [0, 0, 1]
    assert read_image(cases[4].images[0]).array[0, 0].tolist() == [4, 3, 5]
    assert read_image(cases[9].images[0]).array[0, 0].tolist() == [9, 8, 9]
    with pytest.raises(FormatError, match="10 planes were found, number 10 was expected"):
        read_image(Source(root / "v0/image.nii.gz", "#plane=10/1"))


def test_planes_become_targets(root, tmp_path):
    preprocess(config_of(root), tmp_path / "prepared")
    prepared = Prepared.open(tmp_path / "prepared")
    assert (prepared.plan.dimensions, prepared.plan.channels, prepared.plan.color) == (2, 3, "as_is")
    objects = {record.case: record.objects for record in prepared.records}
    assert [objects[f"v2_p{index:04d}"] for index in range(10)] == [0, 1, 1, 1, 0, 1, 1, 1, 1, 0]
    parts = {record.patient: set() for record in prepared.records}
    for record in prepared.records:
        parts[record.patient].add(record.split)
    assert all(len(part) == 1 for part in parts.values()), "volumes are not divided"


def test_settings_that_cannot_be_are_told(root):
    with pytest.raises(ConfigError, match=r"data\.planes: expected 0, or an odd number for detection, got 2"):
        config_of(root, planes=2)


def bright_boxes(image):
    """Of a plane: the box around what is above 100, in pixels of the prepared image."""
    rows, columns = np.nonzero(image[..., 0] > 100)
    if not len(rows):
        return Boxes.empty()
    return Boxes.of([[columns.min(), rows.min(), columns.max() + 1, rows.max() + 1]], [0], [0.8])


def test_predictions_are_linked_to_boxes_of_the_volume(root, tmp_path, monkeypatch):
    fake_loading(monkeypatch, bright_boxes)
    run = fake_run(
        tmp_path / "run", "detection", classes=["lesion"], size=[20, 24], data={"planes": 3, "root": root}
    )
    run.plan.color, run.plan.channels, run.plan.intensity = "as_is", 3, run.plan.intensity * 3
    predict(run, [root / "v1" / "image.nii.gz"], tmp_path / "out", settings=Predict())
    rows = read_csv(tmp_path / "out" / "objects.csv")
    voxels = ("plane0", "row0", "column0", "plane1", "row1", "column1")
    found = sorted([float(row[name]) for name in voxels] for row in rows)
    assert found == [[1, 3, 5, 4, 9, 13], [5, 12, 2, 9, 18, 9]]
    (entry,) = [
        one for one in json.loads((tmp_path / "out" / "objects.json").read_text()) if one["voxels"][0] == 1
    ]
    # The middle voxel (plane 2, row 5.5, column 8.5) in the world, by the affine for (x, y, z).
    assert entry["centre_mm"] == pytest.approx((AFFINE @ [8.5, 5.5, 2, 1])[:3].tolist())
    assert entry["size_mm"] == [12, 18, 16] and entry["score"] == pytest.approx(0.8)
    before = (tmp_path / "out" / "objects.csv").read_text()
    predict(run, [root / "v1" / "image.nii.gz"], tmp_path / "out", settings=Predict(), resume=True)
    assert (tmp_path / "out" / "objects.csv").read_text() == before


def test_an_evaluation_judges_whole_volumes(root, tmp_path):
    config = config_of(root)
    plan = {"objects": "parts", "color": "as_is", "channels": 3}
    run = runs.make_run(tmp_path / "run", config, classes=["lesion"], **plan)

    def right_but_for_one(case, image):
        """All but the second object of v3, and a false box in v2."""
        truth = with_boxes(case, image, run.plan).boxes
        plane = int(case.name[-4:])
        if case.name.startswith("v3") and plane > 4:
            truth = Boxes.empty()
        if case.name.startswith("v2") and plane in (7, 8, 9):
            false = Boxes.of([[16, 2, 22, 8]], [0], [0.9])
            return Prediction(boxes=Boxes.of(np.concatenate([truth.corners, false.corners]), [0] * (len(truth) + 1),
                                             [0.8] * len(truth) + [0.9]), seconds=0.01)  # fmt: skip
        return Prediction(boxes=Boxes.of(truth.corners, truth.classes, [0.8] * len(truth)), seconds=0.01)

    result = evaluate(run, predictor=runs.Answers(right_but_for_one))
    content = json.loads((result.folder / "metrics.json").read_text())["volumes"]
    assert (content["volumes"], content["objects"]) == (2, 4)
    # By score: one false box in two volumes, then three hits of four objects.
    assert content["sensitivity_at"] == {
        "0.125": 0,
        "0.25": 0,
        "0.5": 0.75,
        "1": 0.75,
        "2": 0.75,
        "4": 0.75,
        "8": 0.75,
    }
    assert content["recall25"] == 0.75 and "Objects in volumes" in (result.folder / "report.html").read_text()


def test_the_place_of_a_volume_is_that_of_its_file(root):
    affine, spacing = place_of(Source(root / "v0/image.nii.gz"))
    np.testing.assert_allclose(affine @ [2, 5, 7, 1], AFFINE @ [7, 5, 2, 1])
    assert spacing == (4, 3, 2)
