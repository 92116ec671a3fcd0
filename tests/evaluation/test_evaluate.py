"""Evaluation from raw files to the written folder, with a predictor that answers from the truth."""

import json
import re
import sys
from dataclasses import replace

import numpy as np
import pytest

from medcli.config.loading import from_dict
from medcli.errors import ConfigError, DataError, GateNotMet, UsageError
from medcli.evaluation.choose import judge_for
from medcli.evaluation.evaluate import evaluate
from medcli.evaluation.judge import flat_names
from medcli.files import read_csv
from medcli.prediction.result import Prediction

from . import runs

KINDS = {
    "classification": (
        runs.classification,
        runs.right_class,
        {"accuracy": 1, "auroc": 1, "mcc": 1, "npv": 1},
    ),
    "regression": (
        runs.ages,
        runs.right_number,
        {"mae": 0, "rmse": 0, "bias": 0, "limit_high": 0, "r2": 1, "pearson": 1, "slope": 1, "skill": 1},
    ),
    "detection": (runs.cells, runs.right_boxes, {"map50": 1, "map": 1, "froc": 1, "ap50/b": 1, "recall": 1}),
    "segmentation": (runs.volumes, runs.right_labels, {"dice": 1, "hd95": 0, "nsd": 1, "dice/right": 1}),
}


@pytest.fixture
def no_plots(monkeypatch):
    """Drawing takes most of the time; where it is not the matter it is left out."""
    from medcli.evaluation import classification, detection, segmentation

    for judge in (
        classification.ClassificationJudge,
        detection.DetectionJudge,
        segmentation.SegmentationJudge,
    ):
        monkeypatch.setattr(judge, "plots", lambda self: [])


@pytest.mark.parametrize("kind", KINDS)
def test_a_run_that_knows_the_truth_is_perfect(kind, tmp_path):
    make, answer, expected = KINDS[kind]
    run = make(tmp_path)
    seen = []
    result = evaluate(run, predictor=runs.Answers(answer), progress=lambda *step: seen.append(step))
    half = len(run.records) // 2
    assert (result.cases, result.patients, result.failed) == (half, half // 2, {})
    assert {name: result.measures[name] for name in expected} == pytest.approx(expected)
    alike = {name: (value, value) for name, value in expected.items()}
    if "accuracy" in alike:  # a rate, which resamples cannot tell from certain
        alike["accuracy"] = pytest.approx((0.025 ** (1 / result.patients), 1))
    assert {name: result.intervals[name] for name in expected} == alike
    assert result.folder == run.folder / "evaluate" / "val"
    assert ("evaluate", half, half) in seen
    assert set(result.measures) == set(flat_names(judge_for(run.plan, run.config.evaluate)))
    check_files(result, half)


def test_grades_are_measured_by_how_far_off_they_are(no_plots, tmp_path):
    def one_too_high(case, image):
        grade = min(2, ["none", "mild", "severe"].index(case.classes[0]) + 1)
        return Prediction(probabilities=np.float32([0.1, 0.1, 0.1]) + 0.7 * np.eye(3)[grade], seconds=0.01)

    result = evaluate(runs.grades(tmp_path), predictor=runs.Answers(one_too_high))
    # Six cases, two of each grade: one off, one off, right.
    assert result.measures["steps_off"] == pytest.approx(2 / 3)
    # Squared steps off: 4. By chance, 2 of each true grade, 2 and 4 called mild and severe: (4 + 32 + 8 + 4) / 6 = 8.
    assert result.measures["weighted_kappa"] == pytest.approx(1 - 4 / 8)
    assert "Weighted kappa" in (result.folder / "report.html").read_text()


def check_files(result, cases):
    content = json.loads((result.folder / "metrics.json").read_text())
    assert content["cases"] == cases and content["split"] == "val"
    flat = content["overall"] | {
        f"{name}/{label}": value
        for label, values in content["per_class"].items()
        for name, value in values.items()
    }
    assert flat == {name: None if np.isnan(value) else value for name, value in result.measures.items()}
    rows = read_csv(result.folder / "cases.csv")
    assert [row["status"] for row in rows] == ["ok"] * cases
    assert rows[0]["patient"] == "p2" if cases == 4 else "p3"
    pages = (result.folder / "report.html").read_text()
    plots = sorted(path.stem for path in result.folder.glob("*.png"))
    assert plots and pages.count("<img") >= len(plots)
    assert ("spread" in plots) == ("brier" in content["overall"] and len(content["per_class"]) < 3)
    assert not re.search(r"""(src|href)=["']?(https?:|//)""", pages), "nothing may come from elsewhere"
    assert "@import" not in pages and "url(" not in pages
    assert all('alt=""' not in image for image in re.findall("<img[^>]*>", pages))
    assert [path.name for path in result.folder.parent.iterdir()] == ["val"], "nothing temporary is left"


def test_measures_are_on_the_original_grid_in_mm(no_plots, tmp_path):
    run = runs.volumes(tmp_path)

    def shifted(case, image):
        truth = runs.right_labels(case, image).labels
        return Prediction(labels=np.roll(truth, 1, axis=-1))

    result = evaluate(run, predictor=runs.Answers(shifted))
    # NIfTI's first axis is our last and has steps of 1.5 mm; label 1 is 6 voxels long: Dice 2 * 5 / 12.
    assert result.measures["dice/left"] == pytest.approx(10 / 12)
    assert result.measures["hd95"] == pytest.approx(1.5)
    assert result.measures["nsd"] == 1.0


def test_gates(no_plots, tmp_path):
    run = runs.classification(tmp_path)
    wrong = runs.Answers(lambda case, image: Prediction(probabilities=np.float32([0.4, 0.6])))
    evaluate(run, predictor=wrong, gates=["accuracy>=0.5", "sensitivity >= 1"])
    with pytest.raises(GateNotMet, match=r"accuracy>=0\.6 \(found 0\.5000\)") as caught:
        evaluate(run, predictor=wrong, gates=["accuracy>=0.6", "sensitivity>0.9"], name="again")
    assert caught.value.exit_code == 4 and "sensitivity" not in str(caught.value)
    assert caught.value.result.measures["accuracy"] == 0.5
    assert (run.folder / "evaluate" / "again" / "report.html").is_file(), "written all the same"
    with pytest.raises(GateNotMet, match="undefined"):  # nothing is called healthy, so there is no NPV
        evaluate(run, predictor=wrong, gates=["npv>0.1"], force=True)
    with pytest.raises(
        UsageError, match=r"unknown measure 'acuracy' \(did you mean 'accuracy'\?\).*auroc/ill"
    ):
        evaluate(run, predictor=wrong, gates=["acuracy>0.5"], force=True)
    with pytest.raises(UsageError, match="expected a measure"):
        evaluate(run, predictor=wrong, gates=["accuracy=high"], force=True)


def test_a_result_is_replaced_only_by_force(no_plots, tmp_path):
    run = runs.classification(tmp_path)
    evaluate(run, predictor=runs.Answers(runs.right_class))
    with pytest.raises(UsageError, match="--force"):
        evaluate(run, predictor=runs.Answers(runs.right_class))
    evaluate(run, predictor=runs.Answers(runs.right_class), force=True)
    assert [path.name for path in (run.folder / "evaluate").iterdir()] == ["val"]


def test_bad_cases_do_not_stop_the_others(no_plots, tmp_path):
    run = runs.volumes(tmp_path)
    data = tmp_path / "data"
    (data / "images" / "case05.nii.gz").write_bytes(b"no image")  # cannot be read
    (data / "labels" / "case06.nii.gz").unlink()  # has no truth any more
    result = evaluate(run, predictor=runs.Answers(runs.right_labels))
    assert set(result.failed) == {"case05", "case06"}
    assert result.cases == 2 and result.measures["dice"] == 1
    rows = {row["case"]: row for row in read_csv(result.folder / "cases.csv")}
    assert rows["case04"]["status"] == "ok" and rows["case05"]["status"] == result.failed["case05"]
    assert rows["case05"]["dice"] == ""
    assert "could not be judged" in (result.folder / "report.html").read_text()


def test_when_no_case_can_be_judged_nothing_is_written(no_plots, tmp_path):
    run = runs.classification(tmp_path)
    for path in (tmp_path / "data").rglob("*.png"):
        path.write_bytes(b"")
    with pytest.raises(DataError, match="None of the 6 cases"):
        evaluate(run, predictor=runs.Answers(runs.right_class))
    assert not list((run.folder / "evaluate").glob("*")) if (run.folder / "evaluate").exists() else True


def test_an_interrupted_write_leaves_nothing(no_plots, tmp_path, monkeypatch):
    run = runs.classification(tmp_path)
    monkeypatch.setattr("medcli.evaluation.build.write_page", lambda *_: 1 / 0)
    with pytest.raises(ZeroDivisionError):
        evaluate(run, predictor=runs.Answers(runs.right_class))
    assert list((run.folder / "evaluate").iterdir()) == []


def test_it_is_told_what_the_validation_part_chose(no_plots, tmp_path):
    for keep, said in (("best", True), ("last", False)):
        run = runs.classification(tmp_path / keep)
        config = run.config.model_copy(update={"train": run.config.train.model_copy(update={"keep": keep})})
        result = evaluate(replace(run, config=config), predictor=runs.Answers(runs.right_class))
        assert any("chose the best weights" in note for note in result.notes) == said
        assert ("best weights" in (result.folder / "model_card.md").read_text()) == said


def test_parts(no_plots, tmp_path):
    run = runs.classification(tmp_path)
    result = evaluate(run, predictor=runs.Answers(runs.right_class), split="all")
    assert result.cases == 12 and "6 of these 12 cases were used to train" in result.notes[0]
    with pytest.raises(UsageError, match="train, val, test, all"):
        evaluate(run, predictor=runs.Answers(runs.right_class), split="validation")
    with pytest.raises(DataError, match="No case of part 'test'"):
        evaluate(run, predictor=runs.Answers(runs.right_class), split="test")


def test_other_data_are_matched_by_the_names_of_their_classes(no_plots, tmp_path):
    run = runs.cells(tmp_path / "own")
    other = runs.cells(tmp_path / "other", cases=5).config
    path = other.data.root / "boxes.json"
    content = json.loads(path.read_text())
    for category in content["categories"]:
        category["name"] = {"a": "b", "b": "a"}[category["name"]]
    path.write_text(json.dumps(content))

    def by_place(case, image):  # the run calls the left one a, the other data call it b
        boxes = runs.right_boxes(case, image).boxes
        assert boxes.classes.tolist() == [1, 0]
        return Prediction(boxes=boxes)

    result = evaluate(run, data=other, predictor=runs.Answers(by_place))
    assert result.measures["map50"] == pytest.approx(1)
    assert result.folder.name == "made_up" and result.cases == 5
    assert result.notes == ["Patients: 5; with so few the intervals are rough."]


def test_other_data_that_the_run_was_trained_on_are_told(no_plots, tmp_path):
    run = runs.cells(tmp_path)
    result = evaluate(run, data=run.config, predictor=runs.Answers(runs.right_boxes))
    assert "4 of these 8 cases were used to train" in result.notes[0]


def test_other_label_ids_are_matched_by_name(no_plots, tmp_path):
    import nibabel

    run = runs.volumes(tmp_path / "own")
    runs.volumes(tmp_path / "other", cases=2)
    for path in (tmp_path / "other" / "data" / "labels").iterdir():
        labels = np.asarray(nibabel.load(path).dataobj)
        nibabel.save(nibabel.Nifti1Image(np.uint8([0, 7, 5])[labels], runs.AFFINE), path)
    data = {"root": "data", "images": "images/{case}.nii.gz", "labels": "labels/{case}.nii.gz"}
    data["classes"] = {"right": 5, "left": 7}
    config = from_dict({"task": "segmentation", "data": data}, folder=tmp_path / "other", name="b")

    def in_run_ids(case, image):
        labels = runs.right_labels(case, image).labels
        return Prediction(labels=np.uint8([0, 0, 0, 0, 0, 2, 0, 1])[labels])

    result = evaluate(run, data=config, predictor=runs.Answers(in_run_ids))
    assert result.measures["dice/left"] == result.measures["dice/right"] == 1


def test_a_config_for_another_task(no_plots, tmp_path):
    run = runs.classification(tmp_path / "a")
    with pytest.raises(ConfigError, match="the run is for classification, the config for segmentation"):
        evaluate(run, data=runs.volumes(tmp_path / "b").config, predictor=runs.Answers(runs.right_class))


def test_an_unknown_positive_class(no_plots, tmp_path):
    run = runs.classification(tmp_path)
    settings = run.config.evaluate.model_copy(update={"positive": "sick"})
    with pytest.raises(ConfigError, match=r"evaluate\.positive: 'sick'.*healthy, ill"):
        evaluate(run, settings=settings, predictor=runs.Answers(runs.right_class))


def test_evaluation_needs_no_tensorflow():
    import subprocess

    code = (
        "import sys, medcli.drawing, medcli.report, medcli.evaluation.evaluate, medcli.metrics.bootstrap;"
        "from medcli.evaluation import classification, detection, segmentation;"
        "sys.exit(any(name in sys.modules for name in ('tensorflow', 'keras', 'matplotlib.pyplot')))"
    )
    assert subprocess.run([sys.executable, "-c", code]).returncode == 0
