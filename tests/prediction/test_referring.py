"""Predictions of a run that learned when to refer a case: decisions, controlled boxes, outer masks."""

import csv
import json
from dataclasses import replace

import nibabel as nib
import numpy as np
import pytest
from PIL import Image as Pillow

from medcli.boxes import Boxes
from medcli.config.schema import Evaluate, Predict
from medcli.errors import RunError
from medcli.files import sha256
from medcli.image import Image
from medcli.metrics.risk import THRESHOLDS
from medcli.prediction.predict import predict
from medcli.prediction.predictor import Predictor
from medcli.refusal.gate import Usual, look
from medcli.refusal.learned import ARRAYS, FILE, Learned, Made, Record, Refusal, save
from medcli.sliding import Slabs
from tests.fake_run import fake_run

PATIENTS = 39


class FeaturesTask:
    """A network whose one feature is the mean of the prepared image."""

    def __init__(self, answer):
        self.answer = answer

    def predict(self, model, images):
        answers = [self.answer(image) for image in images]
        return [Slabs.of(one) if isinstance(one, np.ndarray) and one.ndim > 1 else one for one in answers]

    def predict_with_features(self, model, images):
        return self.predict(model, images), [(np.float32([image.mean()]),) for image in images]


def half_bright(seed, value=200):
    """A picture of two halves, mean about 100."""
    random = np.random.default_rng(seed)
    return np.clip(random.normal([[0, value]] * 12, 2).repeat(6, axis=1), 0, 255).astype(np.uint8)


def learned_run(folder, task, *, losses=None, expected=None, empty=0.0, **more):
    """A run that learned from means around 100."""
    run = fake_run(folder / "run", task, **more)
    classes = run.plan.num_classes if task != "classification" else 0
    names = np.array([f"v{number:02d}" for number in range(PATIENTS)])
    nothing = np.zeros((PATIENTS, classes, len(THRESHOLDS)), np.float32)
    quality = np.linspace(0.5, 0.95, PATIENTS) if expected is None else expected
    learned = Learned(
        points=np.float32(np.linspace(95, 105, 200))[:, None], centre=np.zeros(1, np.float32),
        scale=np.ones(1, np.float32), cases=names, patients=names, scores=np.linspace(0.1, 0.3, PATIENTS),
        expected=quality, quality=quality - 0.1, losses=nothing if losses is None else losses,
        thresholds=THRESHOLDS,
    )  # fmt: skip
    looks = [look(Image(half_bright(seed)[..., None]), run.plan) for seed in range(20)]
    record = Record(
        model=sha256(run.model_path), arrays="", task=task, classes=run.plan.classes,
        made=Made.of(run.config, run.plan),
        training_cases=200, validation_cases=PATIENTS, validation_patients=PATIENTS,
        quality={"classification": "", "detection": "f1", "segmentation": "dice"}[task], empty=empty,
        usual=Usual.of(looks, run.plan) if run.plan.dimensions == 2 else None,
    )  # fmt: skip
    save(run.folder, record, learned)
    return run


def loading(monkeypatch, answer):
    def load(run, *, settings=None):
        if settings is not None:
            run = replace(run, config=run.config.model_copy(update={"predict": settings}))
        loaded = Predictor(run, FeaturesTask(answer), None)
        refusal = Refusal.of(run)
        return loaded if refusal is None else replace(loaded, refusal=refusal)

    monkeypatch.setattr(Predictor, "load", load)


def decisions(folder):
    with open(folder / "decisions.csv", newline="") as stream:
        return {row["case"]: row for row in csv.DictReader(stream)}


def pictures(folder, **arrays):
    folder.mkdir(exist_ok=True)
    for name, array in arrays.items():
        Pillow.fromarray(array).save(folder / f"{name}.png")
    return folder


def sure(image):
    return np.float32([0.3, 0.7])


def test_a_classifier_answers_or_refers(tmp_path, monkeypatch):
    run = learned_run(tmp_path, "classification")
    loading(monkeypatch, sure)
    inputs = pictures(
        tmp_path / "in", usual=half_bright(50), odd=half_bright(51, 215), flat=np.full((12, 12), 9, np.uint8)
    )
    predict(run, [inputs], tmp_path / "out")
    found = decisions(tmp_path / "out")
    assert list(found["usual"]) == ["case", "decision", "set", "refer", "p_unlike", "quality", "note"]
    assert found["usual"]["refer"] == "" and float(found["usual"]["p_unlike"]) > 0.05
    assert float(found["usual"]["quality"]) == pytest.approx(0.7)
    assert found["odd"]["refer"] == "not_like_training" and float(found["odd"]["p_unlike"]) == 1 / 40
    assert found["flat"]["refer"] == "constant|not_like_training"
    assert found["flat"]["note"] == "All values are the same."
    made_by = json.loads((tmp_path / "out" / "predict.json").read_text())
    assert made_by["refusal"]["unusual"] == 0.05 and made_by["refusal"]["training_cases"] == 200
    predict(run, [inputs], tmp_path / "off", settings=Predict(gate=False))
    assert {row["refer"] for row in decisions(tmp_path / "off").values()} == {""}


def test_how_unusual_is_a_setting(tmp_path, monkeypatch):
    run = learned_run(tmp_path, "classification")
    loading(monkeypatch, sure)
    strict = replace(run, config=run.config.model_copy(update={"evaluate": Evaluate(unusual=0.02)}))
    predict(strict, [pictures(tmp_path / "in", odd=half_bright(51, 215))], tmp_path / "out")
    assert decisions(tmp_path / "out")["odd"]["refer"] == "", "1 / 40 is more than 0.02"


def two_boxes(image):
    return Boxes.of([[0, 0, 4, 4], [4, 4, 8, 8], [2, 2, 6, 6]], [0, 1, 1], [0.9, 0.4, 0.02])


def test_boxes_that_miss_little_lie_beside_the_others(tmp_path, monkeypatch):
    losses = np.zeros((PATIENTS, 2, len(THRESHOLDS)), np.float32)
    losses[:, 0] = 0.5  # class a: half is missed whatever the threshold
    losses[:, 1] = THRESHOLDS > 0.011  # class b: all is missed above 0.01
    run = learned_run(tmp_path, "detection", losses=losses, expected=np.linspace(0.2, 0.9, PATIENTS))
    refusal = Refusal.of(run)
    assert np.isnan(refusal.limits[0]) and 0.01 <= refusal.limits[1] <= 0.011
    loading(monkeypatch, two_boxes)
    inputs, settings = [pictures(tmp_path / "in", a=half_bright(1))], Predict(score_threshold=0.05)
    predict(run, inputs, tmp_path / "out", settings=settings)
    plain = json.loads((tmp_path / "out" / "predictions.json").read_text())
    assert [box["score"] for box in plain] == [0.9, 0.4], "the contract of predictions.json stays"
    controlled = json.loads((tmp_path / "out" / "controlled.json").read_text())
    assert [box["score"] for box in controlled] == [0.9, 0.4, 0.02]
    row = decisions(tmp_path / "out")["a"]
    assert (row["found"], row["controlled"]) == ("2", "3")
    # hits 1.3, wrong 0.7, missed 0.02: F1 2.6 / 3.32; the validation part was 0.1 below what was expected
    assert float(row["quality"]) == pytest.approx(2.6 / 3.32 - 0.1, abs=2e-3)
    made_by = json.loads((tmp_path / "out" / "predict.json").read_text())
    assert made_by["refusal"]["thresholds"]["a"] == "no_promise"
    again = predict(run, [tmp_path / "in"], tmp_path / "out", settings=settings, resume=True)
    assert again.resumed == 1 and json.loads((tmp_path / "out" / "controlled.json").read_text()) == controlled


def left_half(image):
    """Class a at 0.3 on the left, at 0.6 on the first column; class b nowhere."""
    chance = np.zeros(image.shape[:-1], np.float32)
    chance[..., : image.shape[-2] // 2] = 0.3
    chance[..., 0] = 0.6
    return np.stack([1 - chance, chance, np.zeros_like(chance)], -1)


def test_outer_masks_hold_what_the_labels_leave_out(tmp_path, monkeypatch):
    losses = np.full((PATIENTS, 2, len(THRESHOLDS)), np.nan, np.float32)
    losses[:, 0] = THRESHOLDS > 0.25
    run = learned_run(tmp_path, "segmentation", losses=losses)
    loading(monkeypatch, left_half)
    inputs = pictures(tmp_path / "in", a=half_bright(1))
    predict(run, [inputs], tmp_path / "plain")
    assert not list((tmp_path / "plain").glob("*outer*"))
    predict(run, [inputs], tmp_path / "out", settings=Predict(outer=True))
    labels, outer, nothing = (
        np.asarray(Pillow.open(tmp_path / "out" / f"{name}.png")) for name in ("a", "a_outer_a", "a_outer_b")
    )
    assert labels.sum() == 12 and (labels[:, 0] == 1).all()
    np.testing.assert_array_equal(outer, np.arange(12)[None].repeat(12, 0) < 6)
    assert nothing.all(), "no promise for a class that no validation patient has: nothing is left out"
    row = decisions(tmp_path / "out")["a"]
    assert row["labels"] == "a" and row["refer"] == "low_quality"
    # expected Dice 2 * 7.2 / (7.2 + 18 + 12) = 0.39, less than any on validation, whose lowest proved to be 0.4
    assert float(row["quality"]) == pytest.approx(0.4)
    predict(run, [inputs], tmp_path / "out", force=True)
    assert not list((tmp_path / "out").glob("*outer*"))


def test_an_empty_segmentation_is_referred_where_emptiness_is_rare(tmp_path, monkeypatch):
    def nothing(image):
        return np.stack([np.ones(image.shape[:-1]), *[np.zeros(image.shape[:-1])] * 2], -1).astype(np.float32)

    for empty, code in ((0.0, "empty_prediction"), (0.5, "")):
        (tmp_path / str(empty)).mkdir()
        run = learned_run(tmp_path / str(empty), "segmentation", empty=empty)
        loading(monkeypatch, nothing)
        out = tmp_path / str(empty) / "out"
        predict(run, [pictures(tmp_path / str(empty) / "in", a=half_bright(1))], out)
        assert decisions(out)["a"]["refer"] == code


def test_volumes_have_outer_masks_in_their_own_geometry(tmp_path, monkeypatch):
    losses = np.zeros((PATIENTS, 1, len(THRESHOLDS)), np.float32)
    losses[:, 0] = THRESHOLDS > 0.25
    run = learned_run(tmp_path, "segmentation", classes=["organ"], losses=losses, dimensions=3)
    loading(monkeypatch, lambda image: left_half(image)[..., :2])
    (tmp_path / "in").mkdir()
    affine = np.diag([2.0, 1.0, 3.0, 1.0])
    nib.save(nib.Nifti1Image(np.zeros((6, 5, 4), np.float32), affine), tmp_path / "in" / "a.nii.gz")
    predict(run, [tmp_path / "in"], tmp_path / "out", settings=Predict(outer=True))
    outer = nib.load(tmp_path / "out" / "a_outer.nii.gz")
    np.testing.assert_array_equal(outer.affine, affine)
    np.testing.assert_array_equal(np.asarray(outer.dataobj)[:, 0, 0], [1, 1, 1, 0, 0, 0])


def test_what_was_learned_belongs_to_weights_and_settings(tmp_path):
    run = learned_run(tmp_path, "detection")
    assert Refusal.of(run) is not None
    mirrored = replace(run, config=run.config.model_copy(update={"predict": Predict(flips=True)}))
    assert Refusal.of(mirrored) is None
    run.model_path.write_bytes(b"others")
    assert Refusal.of(run) is None
    (run.folder / FILE).unlink()
    assert Refusal.of(run) is None


def test_what_was_learned_with_other_settings_is_told(tmp_path, monkeypatch):
    run = learned_run(tmp_path, "classification")
    loading(monkeypatch, sure)
    inputs = [pictures(tmp_path / "in", a=half_bright(1))]
    assert predict(run, inputs, tmp_path / "out").notes == []
    summary = predict(run, inputs, tmp_path / "mirrored", settings=Predict(flips=True))
    assert "learned with other settings of predict" in " ".join(summary.notes)
    made_by = json.loads((tmp_path / "mirrored" / "predict.json").read_text())
    assert "learned with other settings" in made_by["refusal"]


@pytest.mark.parametrize(("file", "content"), [(FILE, b"{}"), (ARRAYS, b"PK"), (ARRAYS, None)])
def test_damaged_files_are_told(tmp_path, file, content):
    run = learned_run(tmp_path, "detection")
    path = run.folder / file
    path.unlink() if content is None else path.write_bytes(content)
    with pytest.raises(RunError, match=r"remove refusal\.json and refusal\.npz and evaluate again"):
        Refusal.of(run)


def test_the_arrays_need_no_pickle(tmp_path):
    run = learned_run(tmp_path, "detection")
    with np.load(run.folder / ARRAYS, allow_pickle=False) as content:
        assert {content[name].dtype.kind for name in content.files} == {"f", "U"}
