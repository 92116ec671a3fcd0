"""Detectors from boxes to a finished run: what is learned from, and what is kept."""

import json

import numpy as np
import pytest
import tifffile

from medcli.config.loading import from_dict
from medcli.files import read_csv, write_csv
from medcli.io.readers import read_image
from medcli.io.writers import write_picture
from medcli.preprocessing.build import preprocess

tf = pytest.importorskip("tensorflow")

from medcli.errors import RunError  # noqa: E402
from medcli.evaluation.evaluate import evaluate  # noqa: E402
from medcli.models.safety import load_weights_safely, transfer_weights  # noqa: E402
from medcli.models.yolo import SIZES, yolo  # noqa: E402
from medcli.prediction.predict import predict  # noqa: E402
from medcli.preprocessing.prepared import Prepared  # noqa: E402
from medcli.run import Run  # noqa: E402
from medcli.training import train  # noqa: E402

SIZE = (64, 96)
KINDS = ("dark", "bright")


@pytest.fixture(scope="module", autouse=True)
def tiny_networks():
    with pytest.MonkeyPatch.context() as patch:
        patch.setitem(SIZES, "nano", (4, 1))
        yield


@pytest.fixture(scope="module")
def pictures(tmp_path_factory):
    """Twelve arrays of two channels with a dark and a bright disc, their boxes in a table and their masks."""
    root, random, rows = tmp_path_factory.mktemp("pictures"), np.random.default_rng(0), []
    row, column = np.indices(SIZE) + 0.5
    for number in range(12):
        image, label = random.normal(0, 0.1, (*SIZE, 2)), np.zeros(SIZE, np.uint8)
        for kind, name in enumerate(KINDS):
            y, x, radius = random.uniform(14, 50), random.uniform(14, 34) + 48 * kind, random.uniform(8, 12)
            inside = (row - y) ** 2 + (column - x) ** 2 <= radius**2
            image[inside] += (2 * kind - 1) * np.array([1.0, 0.5])
            label[inside] = kind + 1
            ys, xs = np.nonzero(inside)
            box = {"xmin": xs.min(), "ymin": ys.min(), "xmax": xs.max() + 1, "ymax": ys.max() + 1}
            rows.append(
                {"image": f"{number}.tif", "split": "val" if number > 7 else "train", **box, "label": name}
            )
        channels = np.moveaxis(image, -1, 0).astype(np.float32)
        tifffile.imwrite(root / f"{number}.tif", channels, photometric="minisblack", metadata={"axes": "CYX"})
        (root / "labels").mkdir(exist_ok=True)
        write_picture(root / "labels" / f"{number}.png", label)
    write_csv(root / "boxes.csv", rows)
    return root


def job(root, folder, **settings):
    return from_dict(
        {
            "task": "detection", "seed": 1, "deterministic": True, "prepared": str(folder / "prepared"),
            "run": str(folder / "run"), "preprocess": {"size": list(SIZE), "workers": 1, "normalize": "none"},
            "data": {"root": str(root), "table": "boxes.csv", "columns": {"image": "image", "split": "split"}},
            "train": {
                "epochs": 2, "batch_size": 4, "validate_every": 2, "mixed_precision": "float32", "tensorboard": False,
            },
        }
        | settings
    )  # fmt: skip


@pytest.fixture(scope="module")
def together(pictures, tmp_path_factory):
    """Both kinds learned as one; the config and the folder of the run."""
    folder = tmp_path_factory.mktemp("together")
    config = job(pictures, folder, model={"one_class": True})
    preprocess(config, config.prepared)
    train(config, config.prepared, config.run)
    return config, folder


def test_one_class_of_two_channels(together, pictures, tmp_path):
    _, folder = together
    prepared = Prepared.open(folder / "prepared")
    assert prepared.plan.classes == ["object"] and prepared.plan.channels == 2
    record = prepared.split("val")[0]
    assert (prepared.label(record)[:, 4] == 0).all() and len(prepared.label(record)) == 2
    np.testing.assert_allclose(
        prepared.image(record), read_image(pictures / f"{record.case}.tif").array, atol=1e-6
    )
    run = Run.open(folder / "run")
    evaluate(run)
    measures = json.loads((folder / "run" / "evaluate" / "val" / "metrics.json").read_text())
    assert measures["cases"] == 4
    predict(run, [pictures / "9.tif"], tmp_path / "out")
    assert {one["class"] for one in read_csv(tmp_path / "out" / "predictions.csv")} == {"object"}


def test_another_detector_starts_from_it(together):
    """With other classes the last layers are new; the rest is taken over."""
    _, folder = together
    first, other = yolo((*SIZE, 2), 1), yolo((*SIZE, 2), 2)
    load_weights_safely(first, folder / "run" / "model.keras")
    transfer_weights(other, folder / "run" / "model.keras")
    fresh = []
    for given, taken in zip(first.weights, other.weights, strict=True):
        if given.shape == taken.shape:
            np.testing.assert_array_equal(given, taken)
        else:
            fresh.append(taken.path)
    # A kernel and a bias for each of three levels.
    assert len(fresh) == 6 and all("classes" in path for path in fresh)


def test_folders_that_know_other_classes_are_refused(together, pictures, tmp_path):
    config, _ = together
    several = job(pictures, tmp_path)
    preprocess(several, several.prepared)
    with pytest.raises(RunError, match="was prepared with 2 classes, the config says"):
        train(config, tmp_path / "prepared", tmp_path / "run")


def test_objects_from_masks_are_pasted_with_their_outline(pictures, tmp_path):
    config = job(
        pictures, tmp_path,
        data={
            "root": str(pictures), "images": "{case}.tif", "labels": "labels/{case}.png", "labels_are": "instances",
            "classes": ["disc"],
        },
    )  # fmt: skip
    preprocess(config, config.prepared)
    prepared = Prepared.open(tmp_path / "prepared")
    assert "paste" in prepared.plan.augmentations
    for record in prepared.records:
        mask, boxes = prepared.mask(record), prepared.label(record)
        assert len(boxes) == 2 and mask.shape == SIZE
        for number, box in enumerate(boxes):
            ys, xs = np.nonzero(mask == number + 1)
            np.testing.assert_allclose(box, [xs.min(), ys.min(), xs.max() + 1, ys.max() + 1, 0], atol=0.51)


def test_larger_sizes_are_wider_and_deeper():
    """YOLOv8's small network, of which ours is the like, has 11.1 million weights."""
    assert yolo((64, 64, 1), 2, size="small").count_params() == pytest.approx(11.1e6, rel=0.1)
    assert all(np.diff(list(SIZES.values()), axis=0)[1:].min(axis=0) >= (0, 0))
