"""Real networks with random weights: from a run folder and files on disk to predictions."""

import csv
import json

import nibabel as nib
import numpy as np
import pytest
from PIL import Image as Pillow

from medcli.config.schema import Predict
from medcli.errors import RunError
from medcli.prediction.predict import predict
from medcli.preprocessing.prepared import Prepared
from tests.made_up import prepared_folder

pytest.importorskip("tensorflow")

from medcli.run import create_run, save_model
from medcli.tasks.choose import task_for

SMALL = {"train": {"mixed_precision": "float32"}, "predict": {"batch_size": 2}}


def make_run(folder, task, **settings):
    """A run folder as training leaves it, untrained."""
    config = prepared_folder(folder / "prepared", task, cases=4, **SMALL, **settings)
    prepared = Prepared.open(folder / "prepared")
    create_run(folder / "run", config, prepared.plan, prepared.records, resume=False, force=False)
    save_model(task_for(config, prepared.plan).build_model(), folder / "run")
    return folder / "run"


def pictures(folder, shape):
    folder.mkdir()
    random = np.random.default_rng(0)
    for name in ("a", "b", "c"):
        Pillow.fromarray(random.integers(0, 255, shape, dtype=np.uint8)).save(folder / f"{name}.png")
    return folder


def test_classification(tmp_path):
    run = make_run(tmp_path, "classification", model={"name": "cnn", "width": 4})
    inputs = pictures(tmp_path / "in", (16, 24))
    predict(run, [inputs], tmp_path / "all", settings=Predict(flips=True))
    predict(run, [inputs / "b.png"], tmp_path / "one", settings=Predict(flips=True))
    with open(tmp_path / "all" / "predictions.csv", newline="") as stream:
        rows = list(csv.DictReader(stream))
    assert [row["case"] for row in rows] == ["a", "b", "c"]
    for row in rows:
        assert float(row["small"]) + float(row["large"]) == pytest.approx(1, abs=1e-6)
        assert row["predicted"] == max(("small", "large"), key=lambda name: float(row[name]))
    with open(tmp_path / "one" / "predictions.csv", newline="") as stream:
        (alone,) = csv.DictReader(stream)
    assert float(alone["large"]) == pytest.approx(float(rows[1]["large"]), abs=1e-6)


def test_detection(tmp_path):
    run = make_run(tmp_path, "detection")
    inputs = pictures(tmp_path / "in", (30, 50))
    predict(run, [inputs], tmp_path / "out", settings=Predict(score_threshold=0.0, max_detections=7))
    boxes = json.loads((tmp_path / "out" / "predictions.json").read_text())
    assert {box["image"] for box in boxes} == {"a.png", "b.png", "c.png"}
    assert len(boxes) <= 21
    for box in boxes:
        x, y, width, height = box["bbox"]
        assert min(x, y) >= 0
        assert x + width <= 50.01
        assert y + height <= 30.01
        assert box["category"] in ("small", "large")


def test_segmentation_of_volumes(tmp_path):
    run = make_run(tmp_path, "segmentation", dimensions=3, model={"width": 4})
    random = np.random.default_rng(0)
    inputs = tmp_path / "in"
    inputs.mkdir()
    shapes = {"small": (5, 9, 6), "exact": (12, 16, 8), "large": (17, 20, 13)}
    for name, shape in shapes.items():
        affine = np.diag([1.0, 2.0, 3.0, 1.0])
        nib.save(
            nib.Nifti1Image(random.normal(size=shape).astype(np.float32), affine), inputs / f"{name}.nii.gz"
        )
    settings = Predict(save_probabilities=True, overlays=True, flips=True)
    summary = predict(run, [inputs], tmp_path / "out", settings=settings)
    assert not summary.failed
    for name, shape in shapes.items():
        labels = np.asarray(nib.load(tmp_path / "out" / f"{name}.nii.gz").dataobj)
        probabilities = nib.load(tmp_path / "out" / f"{name}_prob.nii.gz").get_fdata()
        assert labels.shape == shape
        assert probabilities.shape == (*shape, 2)
        np.testing.assert_allclose(probabilities.sum(axis=-1), 1, atol=1e-5)
        np.testing.assert_array_equal(labels, probabilities.argmax(axis=-1))


def test_uncertainty_of_a_volume_with_an_empty_border(tmp_path):
    """Maps against NumPy, and windows without content."""
    run = make_run(tmp_path, "segmentation", dimensions=3, model={"width": 4})
    values = np.zeros((60, 16, 8), np.float32)  # x, y, z
    values[2:9, 3:12, 1:7] = np.random.default_rng(0).uniform(1, 2, (7, 9, 6))
    nib.save(nib.Nifti1Image(values, np.diag([1.0, 2.0, 3.0, 1.0])), tmp_path / "head.nii.gz")
    asked = {"save_probabilities": True, "uncertainty": True}
    summary = predict(run, [tmp_path / "head.nii.gz"], tmp_path / "out", settings=Predict(**asked))
    (note,) = summary.notes
    assert "windows hold nothing but air or padding" in note
    labels, chances, doubt, spread = (
        nib.load(tmp_path / "out" / f"head{kind}.nii.gz").get_fdata()
        for kind in ("", "_prob", "_uncertainty", "_disagreement")
    )
    assert not labels[-20:].any()
    np.testing.assert_allclose(chances[-20:, ..., 0], 1, atol=1e-6)
    known = np.maximum(chances, 1e-12)
    np.testing.assert_allclose(doubt, -(known * np.log2(known)).sum(-1), atol=1e-4)
    assert spread.min() >= 0 and (spread <= doubt + 1e-5).all() and spread.max() > 0
    settings = Predict(**asked, skip_empty="off")
    assert not predict(run, [tmp_path / "head.nii.gz"], tmp_path / "all", settings=settings).notes
    there = nib.load(tmp_path / "all" / "head_prob.nii.gz").get_fdata()
    np.testing.assert_allclose(chances[:10], there[:10], atol=1e-5)


def test_a_damaged_model_is_refused_before_anything_is_written(tmp_path):
    run = make_run(tmp_path, "classification", model={"name": "cnn", "width": 4})
    content = bytearray((run / "model.keras").read_bytes())
    content[len(content) // 2] ^= 1
    (run / "model.keras").write_bytes(content)
    with pytest.raises(RunError, match=r"does not match model\.keras\.sha256"):
        predict(run, [pictures(tmp_path / "in", (16, 24))], tmp_path / "out")
    assert not (tmp_path / "out").exists()
