"""The folder that `predict` leaves: names, numbers, status, and what a bad case does."""

import csv
import json
from dataclasses import replace

import nibabel as nib
import numpy as np
import pytest
from PIL import Image as Pillow

from medcli.boxes import Boxes
from medcli.calibration import Validation, learn
from medcli.config.loading import from_dict
from medcli.config.schema import Evaluate, Predict
from medcli.errors import DataError, UsageError
from medcli.files import read_csv
from medcli.io.cases import discover
from medcli.operating import learn as learn_scores
from medcli.prediction import predict as module
from medcli.prediction.predict import predict
from medcli.prediction.predictor import Predictor
from tests.fake_run import bright_box, bright_voxels, brightness, fake_loading, fake_run


def picture(path, value, shape=(6, 9)):
    path.parent.mkdir(parents=True, exist_ok=True)
    Pillow.fromarray(np.full(shape, value, np.uint8)).save(path)
    return path


def rows_of(path):
    with open(path, newline="") as stream:
        return list(csv.reader(stream))


def status_of(out):
    header, *rows = rows_of(out / "status.csv")
    assert header == ["case", "status", "seconds"]
    assert all(float(row[2]) >= 0 for row in rows)
    return {row[0]: row[1] for row in rows}


@pytest.fixture
def pictures(tmp_path):
    """Three pictures, 51 = a fifth of 255, the second not a picture."""
    picture(tmp_path / "in" / "dark.png", 51)
    (tmp_path / "in" / "mid.png").write_bytes(b"\x89PNG not at all")
    picture(tmp_path / "in" / "white.png", 255)
    return tmp_path / "in"


# ---- classification


def test_one_bad_case_is_told_and_the_others_go_on(tmp_path, pictures, monkeypatch):
    fake_loading(monkeypatch, brightness)
    run = fake_run(tmp_path / "run", "classification")
    told = []
    summary = predict(run, [pictures], tmp_path / "out", progress=lambda *what: told.append(what))
    assert rows_of(tmp_path / "out" / "predictions.csv") == [
        ["case", "predicted", "a", "b"],
        ["dark", "a", "0.800000012", "0.200000003"],
        ["white", "b", "0", "1"],
    ]
    status = status_of(tmp_path / "out")
    assert list(status) == ["dark", "mid", "white"]
    assert status["dark"] == status["white"] == "ok"
    assert "mid.png" in status["mid"]
    assert (summary.cases, summary.done, list(summary.failed), summary.resumed) == (3, 2, ["mid"], 0)
    assert told[0] == ("predict", 0, 3)
    assert told[-1] == ("predict", 3, 3)
    assert sorted(path.name for path in (tmp_path / "out").iterdir()) == [
        "predict.json",
        "predictions.csv",
        "status.csv",
    ]


def test_several_classes_may_apply(tmp_path, pictures, monkeypatch):
    fake_loading(monkeypatch, lambda image: np.array([0.5, brightness(image)[1], 0.49], np.float32))
    run = fake_run(tmp_path / "run", "classification", classes=("x", "y", "z"), multi_label=True)
    predict(run, [pictures], tmp_path / "out")
    rows = rows_of(tmp_path / "out" / "predictions.csv")
    assert [row[1] for row in rows] == ["predicted", "x", "x|y"]


def test_when_every_case_fails_it_is_an_error_and_the_status_tells_why(tmp_path, pictures, monkeypatch):
    fake_loading(monkeypatch, brightness)
    run = fake_run(tmp_path / "run", "classification")
    with pytest.raises(
        DataError, match=r"Every case failed \(1 in all\), see .*status\.csv; the first, mid: "
    ):
        predict(run, [pictures / "mid.png"], tmp_path / "out")
    assert list(status_of(tmp_path / "out")) == ["mid"]


def test_a_missing_input_beside_others_is_one_failed_case(tmp_path, pictures, monkeypatch):
    fake_loading(monkeypatch, brightness)
    run = fake_run(tmp_path / "run", "classification")
    summary = predict(run, [pictures / "none.png", pictures / "dark.png"], tmp_path / "out")
    assert list(summary.failed) == ["none"]
    assert "no such file" in summary.failed["none"]
    with pytest.raises(DataError, match="there is no such file or folder"):
        predict(run, [pictures / "none.png"], tmp_path / "other")


def test_a_network_that_fails_on_one_image_does_not_take_the_others_with_it(tmp_path, monkeypatch):
    def fails_on_white(image):
        if image.mean() > 250:
            raise ValueError("patient name in here")
        return brightness(image)

    for name, value in [("a", 10), ("b", 255), ("c", 20)]:
        picture(tmp_path / "in" / f"{name}.png", value)
    task = fake_loading(monkeypatch, fails_on_white)
    run = fake_run(tmp_path / "run", "classification")
    summary = predict(run, [tmp_path / "in"], tmp_path / "out")
    assert summary.failed == {"b": "The image could not be predicted (ValueError); check that it is whole."}
    assert task.calls == [3, 1, 1, 1]


def test_cases_of_one_shape_go_to_the_network_together(tmp_path, monkeypatch):
    for name, shape in [("a", (6, 9)), ("b", (6, 9)), ("c", (5, 9)), ("d", (6, 9))]:
        picture(tmp_path / "in" / f"{name}.png", 9, shape)
    task = fake_loading(monkeypatch, brightness)
    predict(fake_run(tmp_path / "run", "classification"), [tmp_path / "in"], tmp_path / "out")
    assert task.calls == [2, 1, 1]


def test_images_of_an_npz_are_named_by_part_and_number(tmp_path, monkeypatch):
    images = np.stack([np.full((4, 5), value, np.uint8) for value in (0, 255)])
    np.savez(tmp_path / "set.npz", test_images=images)
    fake_loading(monkeypatch, brightness)
    predict(fake_run(tmp_path / "run", "classification"), [tmp_path / "set.npz"], tmp_path / "out")
    rows = rows_of(tmp_path / "out" / "predictions.csv")
    assert [row[:2] for row in rows[1:]] == [["test_00000", "a"], ["test_00001", "b"]]


# ---- classification with a calibration


def calibrated_run(tmp_path, **evaluate):
    """Validation says: b is there from .3 on, surely from .8 on."""
    run = fake_run(tmp_path / "run", "classification")
    random = np.random.default_rng(0)
    share = random.random(400)
    truth = random.random(400) < np.clip((share - 0.1) / 0.4, 0.02, 0.98)
    names = [str(number) for number in range(400)]
    run = replace(run, config=run.config.model_copy(update={"evaluate": Evaluate(**evaluate)}))
    validation = Validation(names, names, np.stack([~truth, truth], 1), np.stack([1 - share, share], 1))
    return run, learn(run.folder, validation, run.config, run.plan)


def test_probabilities_are_calibrated_and_decisions_lie_beside_them(tmp_path, monkeypatch):
    for name, value in [("a", 0), ("b", 80), ("c", 255)]:
        picture(tmp_path / "in" / f"{name}.png", value)
    run, learned = calibrated_run(tmp_path, coverage=0.95)
    fake_loading(monkeypatch, brightness)
    predict(run, [tmp_path / "in"], tmp_path / "out")
    header, *rows = rows_of(tmp_path / "out" / "predictions.csv")
    assert header == ["case", "predicted", "a", "b"]
    shares = np.array([0, 80, 255]) / 255
    expected = learned.scaled(np.float32(np.stack([1 - shares, shares], 1)))
    np.testing.assert_allclose(np.array([row[2:] for row in rows], float), expected, rtol=1e-4, atol=1e-7)
    header, *rows = rows_of(tmp_path / "out" / "decisions.csv")
    assert header == ["case", "decision", "set", "refer", "p_unlike", "quality", "note"]
    assert rows[0][:5] == ["a", "a", "a", "", ""]
    assert float(rows[0][5]) == pytest.approx(expected[0].max(), rel=1e-3)
    assert rows[1][0] == "b" and rows[1][2:4] == ["a|b", "several_labels"]
    assert rows[2][:4] == ["c", "b", "b", ""]
    made_by = json.loads((tmp_path / "out" / "predict.json").read_text())
    assert made_by["calibration"]["scaling"]["method"] == learned.scaling.method
    assert made_by["calibration"]["operating"]["b"]["threshold"] == learned.operating["b"].threshold
    assert made_by["refusal"].startswith("This run has not learned when to refer a case")


def test_calibration_can_be_left_out(tmp_path, monkeypatch):
    picture(tmp_path / "in" / "a.png", 51)
    run, _ = calibrated_run(tmp_path)
    fake_loading(monkeypatch, brightness)
    predict(run, [tmp_path / "in"], tmp_path / "out", settings=Predict(calibrate="none"))
    assert rows_of(tmp_path / "out" / "predictions.csv")[1] == ["a", "a", "0.800000012", "0.200000003"]
    assert (tmp_path / "out" / "decisions.csv").is_file()


def test_resume_keeps_decisions_and_refuses_another_calibration(tmp_path, monkeypatch):
    for name, value in [("a", 10), ("b", 250)]:
        picture(tmp_path / "in" / f"{name}.png", value)
    run, _ = calibrated_run(tmp_path)
    task = fake_loading(monkeypatch, brightness)
    predict(run, [tmp_path / "in"], tmp_path / "out")
    before = (tmp_path / "out" / "decisions.csv").read_bytes()
    picture(tmp_path / "in" / "c.png", 100)
    assert predict(run, [tmp_path / "in"], tmp_path / "out", resume=True).resumed == 2
    assert task.calls == [2, 1]
    after = (tmp_path / "out" / "decisions.csv").read_bytes()
    assert after.startswith(before) and len(rows_of(tmp_path / "out" / "decisions.csv")) == 4
    other = replace(run, config=run.config.model_copy(update={"evaluate": Evaluate(coverage=0.5)}))
    with pytest.raises(UsageError, match="no predictions of this model with these settings"):
        predict(other, [tmp_path / "in"], tmp_path / "out", resume=True)
    predict(run, [tmp_path / "in" / "a.png"], tmp_path / "out", force=True)
    assert len(rows_of(tmp_path / "out" / "decisions.csv")) == 2


# ---- the folder


def test_a_folder_with_files_is_refused_unless_forced(tmp_path, pictures, monkeypatch):
    fake_loading(monkeypatch, brightness)
    run = fake_run(tmp_path / "run", "classification")
    out = tmp_path / "out"
    picture(out / "own.png", 3)
    with pytest.raises(UsageError, match="not empty; choose another with --out, continue with --resume"):
        predict(run, [pictures], out)
    predict(run, [pictures], out, force=True)
    assert (out / "own.png").is_file()
    predict(run, [pictures / "dark.png"], out, force=True)
    assert list(status_of(out)) == ["dark"]
    with pytest.raises(UsageError, match="found a file"):
        predict(run, [pictures], out / "own.png")


def test_resume_does_only_what_is_missing(tmp_path, pictures, monkeypatch):
    task = fake_loading(monkeypatch, brightness)
    run = fake_run(tmp_path / "run", "classification")
    predict(run, [pictures], tmp_path / "out")
    before = rows_of(tmp_path / "out" / "predictions.csv")
    picture(pictures / "mid.png", 102)
    task.calls.clear()
    summary = predict(run, [pictures], tmp_path / "out", resume=True)
    assert task.calls == [1]
    assert (summary.resumed, summary.failed) == (2, {})
    after = rows_of(tmp_path / "out" / "predictions.csv")
    assert [row[0] for row in after] == ["case", "dark", "mid", "white"]
    assert [after[0], after[1], after[3]] == before
    predict(run, [pictures], tmp_path / "out", resume=True)
    assert task.calls == [1]


def test_resume_of_another_models_work_is_refused(tmp_path, pictures, monkeypatch):
    fake_loading(monkeypatch, brightness)
    run = fake_run(tmp_path / "run", "classification")
    predict(run, [pictures], tmp_path / "out")
    with pytest.raises(UsageError, match="no predictions of this model with these settings"):
        predict(run, [pictures], tmp_path / "out", resume=True, settings=Predict(flips=True))
    (run.folder / "model.keras").write_bytes(b"other weights")
    with pytest.raises(UsageError, match="no predictions of this model with these settings"):
        predict(run, [pictures], tmp_path / "out", resume=True)


def test_resume_with_other_inputs_is_refused(tmp_path, pictures, monkeypatch):
    fake_loading(monkeypatch, brightness)
    run = fake_run(tmp_path / "run", "classification")
    predict(run, [pictures / "dark.png"], tmp_path / "out")
    with pytest.raises(UsageError, match=r"holds 1 cases that are not among the inputs \(dark"):
        predict(run, [pictures / "white.png"], tmp_path / "out", resume=True)


def test_an_interrupted_work_keeps_what_it_had(tmp_path, monkeypatch):
    def stops_at_white(image):
        if image.mean() > 250:
            raise KeyboardInterrupt
        return brightness(image)

    for name, value in [("a", 10), ("b", 255), ("c", 20)]:
        picture(tmp_path / "in" / f"{name}.png", value, (4, 4 + value // 200))
    run = fake_run(tmp_path / "run", "classification")
    fake_loading(monkeypatch, stops_at_white)
    with pytest.raises(KeyboardInterrupt):
        predict(run, [tmp_path / "in"], tmp_path / "out")
    assert status_of(tmp_path / "out") == {"a": "ok"}
    task = fake_loading(monkeypatch, brightness)
    predict(run, [tmp_path / "in"], tmp_path / "out", resume=True)
    assert task.calls == [1, 1]
    assert list(status_of(tmp_path / "out")) == ["a", "b", "c"]


def test_a_full_disk_is_one_clear_error(tmp_path, pictures, monkeypatch):
    def full(*_):
        raise OSError(28, "No space left on device")

    fake_loading(monkeypatch, brightness)
    monkeypatch.setattr(module, "write_csv", full)
    with pytest.raises(DataError, match=r"cannot be written \(No space left on device\)"):
        predict(fake_run(tmp_path / "run", "classification"), [pictures], tmp_path / "out")


def test_results_inside_an_input_folder_are_not_taken_for_inputs(tmp_path, monkeypatch):
    picture(tmp_path / "in" / "a.png", 10)
    fake_loading(monkeypatch, bright_voxels)
    run = fake_run(tmp_path / "run", "segmentation")
    out = tmp_path / "in" / "out"
    predict(run, [tmp_path / "in"], out)
    assert predict(run, [tmp_path / "in"], out, force=True).cases == 1


def test_images_of_other_names_than_in_training_are_told(tmp_path, monkeypatch):
    for name in ("in/a_t1.png", "in/b_t1.png", "in/mr.john_doe.png", "in/deep/c.nii"):
        (tmp_path / name).parent.mkdir(parents=True, exist_ok=True)
        picture(tmp_path / name, 10) if name.endswith(".png") else (tmp_path / name).write_bytes(b"")
    fake_loading(monkeypatch, bright_voxels)
    run = fake_run(tmp_path / "run", "segmentation")
    data = run.config.data.model_copy(update={"images": "{case}_t1.png"})
    run = replace(run, config=run.config.model_copy(update={"data": data}))
    summary = predict(run, [tmp_path / "in"], tmp_path / "in" / "out")
    assert summary.cases == 2
    (note,) = summary.notes
    assert "left out 2 more (.nii, .png), not named like the training images ({case}_t1.png)" in note
    assert "john" not in note
    assert not predict(run, [tmp_path / "in" / "a_t1.png"], tmp_path / "out").notes


# ---- detection


def test_boxes_are_written_in_pixels_of_the_input(tmp_path, monkeypatch):
    image = np.zeros((20, 40), np.uint8)
    image[4:12, 10:34] = 200  # x 10, y 4, 24 wide, 8 high
    (tmp_path / "in").mkdir()
    Pillow.fromarray(image).save(tmp_path / "in" / "cells.png")
    picture(tmp_path / "in" / "empty.png", 0)
    fake_loading(monkeypatch, bright_box)
    run = fake_run(tmp_path / "run", "detection", size=[20, 20])  # halved, with padding above and below
    predict(run, [tmp_path / "in"], tmp_path / "out")
    assert json.loads((tmp_path / "out" / "predictions.json").read_text()) == [
        {"image": "cells.png", "category": "b", "bbox": [10.0, 4.0, 24.0, 8.0], "score": 0.75}
    ]
    assert status_of(tmp_path / "out") == {"cells": "ok", "empty": "ok"}
    summary = predict(run, [tmp_path / "in"], tmp_path / "out", resume=True)
    assert summary.resumed == 2


def two_boxes(image):
    return Boxes.of([[2, 4, 8, 9], [10, 4, 15, 12.5]], [0, 1], [0.75, 0.25])


def learned_scores(run):
    """From .5 on class a is found, from .3 on class b."""
    true = Boxes.of([[0, 0, 5, 5], [9, 9, 15, 15]], [0, 1])
    found = Boxes.of(true.corners, [0, 1], [0.5, 0.3])
    learn_scores(run.folder, [found], [true], run.config, run.plan.classes)


def test_boxes_are_a_table_too_that_medcli_reads(tmp_path, monkeypatch):
    picture(tmp_path / "in" / "a.png", 200, (20, 20))
    fake_loading(monkeypatch, two_boxes)
    run = fake_run(tmp_path / "run", "detection", size=[20, 20])
    learned_scores(run)
    predict(run, [tmp_path / "in"], tmp_path / "out")
    rows = read_csv(tmp_path / "out" / "predictions.csv")
    assert rows == [
        {"image": "a.png", "class": "a", "x0": "2.0", "y0": "4.0", "x1": "8.0", "y1": "9.0"}
        | {"score": "0.75", "found": "yes"},
        {"image": "a.png", "class": "b", "x0": "10.0", "y0": "4.0", "x1": "15.0", "y1": "12.5"}
        | {"score": "0.25", "found": "no"},
    ]
    data = {"root": str(tmp_path / "in"), "table": str(tmp_path / "out" / "predictions.csv")}
    (case,) = discover(from_dict({"task": "detection", "data": data}, folder=tmp_path)).cases
    np.testing.assert_array_equal(case.boxes.corners, two_boxes(None).corners)
    before = (tmp_path / "out" / "predictions.csv").read_text()
    predict(run, [tmp_path / "in"], tmp_path / "out", resume=True)
    assert (tmp_path / "out" / "predictions.csv").read_text() == before


def test_a_goal_writes_only_what_is_found(tmp_path, monkeypatch):
    picture(tmp_path / "in" / "a.png", 200, (20, 20))
    fake_loading(monkeypatch, two_boxes)
    run = fake_run(tmp_path / "run", "detection", size=[20, 20])
    learned_scores(run)
    summary = predict(run, [tmp_path / "in"], tmp_path / "out", settings=Predict(score_threshold="auto"))
    assert [row["class"] for row in read_csv(tmp_path / "out" / "predictions.csv")] == ["a"]
    assert summary.notes == []
    made_by = json.loads((tmp_path / "out" / "predict.json").read_text())
    assert made_by["found_from"].pop("goal") == {"f1": "each"}
    assert made_by["found_from"] == pytest.approx({"a": 0.5, "b": 0.3}, rel=1e-4)
    settings = Predict(score_threshold={"score": 0.9})
    predict(run, [tmp_path / "in"], tmp_path / "none", settings=settings)
    assert json.loads((tmp_path / "none" / "predictions.json").read_text()) == []
    (row,) = read_csv(tmp_path / "none" / "predictions.csv")
    assert row["image"] == "a.png" and row["x0"] == row["class"] == ""


def test_without_a_learned_threshold_that_is_told(tmp_path, monkeypatch):
    picture(tmp_path / "in" / "a.png", 200, (20, 20))
    fake_loading(monkeypatch, two_boxes)
    run = fake_run(tmp_path / "run", "detection", size=[20, 20])
    summary = predict(run, [tmp_path / "in"], tmp_path / "out")
    assert "has not learned, with these settings, from which score on" in summary.notes[0]
    assert [row["found"] for row in read_csv(tmp_path / "out" / "predictions.csv")] == ["yes", "yes"]


def test_images_of_one_name_are_told_apart_by_their_folders(tmp_path, monkeypatch):
    for folder in "uv":
        picture(tmp_path / "in" / folder / "x.png", 200, (20, 20))
    picture(tmp_path / "in" / "y.png", 200, (20, 20))
    fake_loading(monkeypatch, bright_box)
    predict(fake_run(tmp_path / "run", "detection", size=[20, 20]), [tmp_path / "in"], tmp_path / "out")
    found = json.loads((tmp_path / "out" / "predictions.json").read_text())
    assert [box["image"] for box in found] == ["y.png", "u/x.png", "v/x.png"]


# ---- segmentation

AFFINE = np.array([[0, 0, 2.5, -10], [-1.5, 0, 0, 20], [0, 3.5, 0, 5], [0, 0, 0, 1.0]])


@pytest.fixture
def volume(tmp_path):
    """x, y, z as NIfTI stores them; rotated axes, unequal spacing."""
    values = np.zeros((7, 6, 5), np.int16)
    values[1:4, 2:5, 3] = 150
    path = tmp_path / "in" / "head.1.nii.gz"
    path.parent.mkdir()
    nib.save(nib.Nifti1Image(values, AFFINE), path)
    return path, values


@pytest.mark.parametrize(
    ("label_ids", "expected"), [([[3], [7]], 7), ([[1], [300]], 300), ([[1, 3], [7]], 2), ([], 2)]
)
@pytest.mark.parametrize("reorient", [False, True])
def test_labels_lie_on_the_inputs_grid_with_the_users_ids(
    tmp_path, volume, monkeypatch, label_ids, expected, reorient
):
    path, values = volume
    fake_loading(monkeypatch, bright_voxels)
    run = fake_run(
        tmp_path / "run", "segmentation", dimensions=3, label_ids=label_ids, reorient=reorient, crop=True
    )
    predict(run, [path], tmp_path / "out")
    written = nib.load(tmp_path / "out" / "head.1.nii.gz")
    np.testing.assert_allclose(written.affine, AFFINE, atol=1e-5)
    np.testing.assert_array_equal(np.asarray(written.dataobj), np.where(values > 100, expected, 0))


def test_pictures_become_png_with_ids_and_probabilities_when_asked_for(tmp_path, monkeypatch):
    image = np.zeros((9, 12), np.uint8)
    image[2:5, 3:10] = 200
    image[7, 1] = 200
    (tmp_path / "in").mkdir()
    Pillow.fromarray(image).save(tmp_path / "in" / "eye.png")
    fake_loading(monkeypatch, bright_voxels)
    run = fake_run(tmp_path / "run", "segmentation")
    settings = Predict(save_probabilities=True, postprocess="largest", overlays=True)
    predict(run, [tmp_path / "in" / "eye.png"], tmp_path / "out", settings=settings)
    labels = np.asarray(Pillow.open(tmp_path / "out" / "eye.png"))
    expected = np.where(image > 100, 2, 0)
    probabilities = np.load(tmp_path / "out" / "eye_prob.npy")
    np.testing.assert_array_equal(probabilities.argmax(axis=-1), expected)
    expected[7, 1] = 0  # the smaller object
    np.testing.assert_array_equal(labels, expected)
    assert Pillow.open(tmp_path / "out" / "overlays" / "eye.png").mode == "RGB"
    predict(run, [tmp_path / "in" / "eye.png"], tmp_path / "out", force=True)
    assert sorted(path.name for path in (tmp_path / "out").iterdir()) == [
        "eye.png",
        "predict.json",
        "status.csv",
    ]


@pytest.mark.parametrize(
    ("settings", "calls"), [({}, [3, 1]), ({"batch_size": 2}, [2, 1, 1]), ({"flips": True}, [1] * 4)]
)
def test_pictures_smaller_than_a_patch_go_together(tmp_path, monkeypatch, settings, calls):
    for name, shape in zip("abcd", [(3, 4), (3, 4), (3, 4), (6, 9)], strict=True):
        picture(tmp_path / "in" / f"{name}.png", 200, shape)
    task = fake_loading(monkeypatch, bright_voxels)
    run = fake_run(tmp_path / "run", "segmentation")
    predict(run, [tmp_path / "in"], tmp_path / "out", settings=Predict(**settings))
    assert task.calls == calls
    assert (np.asarray(Pillow.open(tmp_path / "out" / "c.png")) == 2).all()


def test_resume_makes_a_label_image_that_was_deleted(tmp_path, monkeypatch):
    for name in "ab":
        picture(tmp_path / "in" / f"{name}.png", 200)
    task = fake_loading(monkeypatch, bright_voxels)
    run = fake_run(tmp_path / "run", "segmentation")
    predict(run, [tmp_path / "in"], tmp_path / "out")
    (tmp_path / "out" / "b.png").unlink()
    summary = predict(run, [tmp_path / "in"], tmp_path / "out", resume=True)
    assert (summary.resumed, task.calls) == (1, [1, 1, 1])
    assert (tmp_path / "out" / "b.png").is_file()


@pytest.mark.parametrize(
    ("task", "answer", "size"), [("classification", brightness, None), ("detection", bright_box, [20, 20])]
)
def test_overlays_of_pictures(tmp_path, pictures, monkeypatch, task, answer, size):
    fake_loading(monkeypatch, answer)
    run = fake_run(tmp_path / "run", task, size=size)
    predict(run, [pictures / "white.png"], tmp_path / "out", settings=Predict(overlays=True))
    assert np.asarray(Pillow.open(tmp_path / "out" / "overlays" / "white.png")).shape[1] == 640


# ---- the predictor itself


def test_cases_are_read_only_a_little_ahead(tmp_path, monkeypatch):
    from medcli.case import Case, Source

    path = picture(tmp_path / "a.png", 9)
    asked = []

    def cases():
        for number in range(50):
            asked.append(number)
            yield Case(f"{number}", (Source(path),))

    fake_loading(monkeypatch, bright_voxels)
    predictor = Predictor.load(fake_run(tmp_path / "run", "segmentation"))
    results = predictor.predict_cases(cases())
    for _ in range(5):
        next(results)
    assert max(asked) <= 8
    results.close()
