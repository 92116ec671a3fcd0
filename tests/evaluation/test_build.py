"""A result made again from stored predictions: the same, without the model; and under other settings."""

import json
import shutil
from dataclasses import replace

import numpy as np
import pytest

from medcli.config.loading import save_config
from medcli.errors import RunError, UsageError
from medcli.evaluation.build import report
from medcli.evaluation.evaluate import evaluate
from medcli.files import read_csv
from medcli.prediction.result import Prediction
from medcli.preprocessing.plan import save_plan
from medcli.preprocessing.prepared import write_manifest

from . import runs


def with_files(run):
    """The run with the files that opening it needs."""
    save_config(run.config, run.folder / "config.yaml")
    save_plan(run.plan, run.folder / "plan.yaml")
    write_manifest(run.folder, run.records)
    (run.folder / "model.keras").write_bytes(b"weights")
    return run


def unsure(case, image):
    ill = np.float32(0.2 + 0.06 * int(case.name[4:]) % 0.77)
    return Prediction(probabilities=np.float32([1 - ill, ill]), seconds=0.01)


def shifted(case, image):
    labels = runs.right_labels(case, image).labels
    return Prediction(labels=np.roll(labels, int(case.name[4:]) % 3, axis=1))


def shaken(case, image):
    boxes = runs.right_boxes(case, image).boxes
    return Prediction(boxes=boxes.scaled(1, 1, 1.1 * (int(case.name[4:]) % 4), 1 / 3))


def aged(case, image):
    off = np.float32(case.target + 3.3 * (int(case.name[4:]) % 3 - 1))
    return Prediction(number=float(off), spread=1.5)


KINDS = {
    "classification": (runs.classification, unsure),
    "regression": (runs.ages, aged),
    "detection": (runs.cells, shaken),
    "segmentation": (runs.volumes, shifted),
}


def content_of(folder):
    """File to bytes, without times."""
    found = {str(path.relative_to(folder)): path.read_bytes() for path in folder.rglob("*") if path.is_file()}
    metrics = json.loads(found.pop("metrics.json"))
    metrics.pop("seconds")
    return found | {"metrics": metrics}


@pytest.mark.parametrize("kind", KINDS)
def test_made_again_it_is_the_same_without_the_model(kind, tmp_path):
    make, answer = KINDS[kind]
    run = with_files(make(tmp_path))
    first = evaluate(run, predictor=runs.Answers(answer))
    before = content_of(first.folder)
    (run.folder / "model.keras").unlink()
    shutil.rmtree(tmp_path / "data")
    for made in ("metrics.json", "report.html", "groups.csv"):
        (first.folder / made).unlink(missing_ok=True)
    again = report(run.folder)
    assert content_of(again.folder) == before
    assert [path.name for path in (run.folder / "evaluate").iterdir()] == ["val"], "nothing temporary is left"
    assert again.measures == pytest.approx(first.measures, nan_ok=True, rel=1e-15)


def test_what_is_stored_has_every_digit(tmp_path):
    third = np.float32(1 / 3)
    run = with_files(runs.classification(tmp_path))
    result = evaluate(
        run,
        predictor=runs.Answers(lambda case, image: Prediction(probabilities=np.float32([1 - third, third]))),
    )
    row = read_csv(result.folder / "cases.csv")[0]
    assert np.float32(row["p:ill"]) == third


def test_another_question_of_the_same_boxes(tmp_path):
    run = with_files(runs.cells(tmp_path))
    # Boxes of 20 x 30 and 25 x 20 pixels, moved by 8: they overlap by 12/28 and 17/33.
    moved = runs.Answers(
        lambda case, image: Prediction(boxes=runs.right_boxes(case, image).boxes.scaled(1, 1, 8, 0))
    )
    evaluate(run, predictor=moved)
    looser = report(run.folder, overrides=["evaluate.iou_threshold=0.4"], name="looser")
    stricter = report(run.folder, overrides=["evaluate.iou_threshold=0.6"], name="stricter")
    hits = [[row["hits"] for row in read_csv(one.folder / "cases.csv")] for one in (looser, stricter)]
    assert hits == [["2"] * 4, ["0"] * 4]
    assert looser.measures["froc"] > stricter.measures["froc"] == 0
    with pytest.raises(UsageError, match="looser: there is a result already"):
        report(run.folder, evaluation="val", name="looser")


def test_settings_that_shaped_the_predictions_stay(tmp_path):
    run = with_files(runs.volumes(tmp_path, cases=4))
    evaluate(run, predictor=runs.Answers(shifted))
    for override in ("evaluate.tolerance_mm=9", "seed=3", "predict.flips=true"):
        key = override.partition("=")[0]
        with pytest.raises(UsageError, match=rf"--set {key}: the stored .* change only evaluate\.coverage"):
            report(run.folder, overrides=[override])


def test_what_is_missing_is_named(tmp_path):
    run = with_files(runs.cells(tmp_path, cases=4))
    with pytest.raises(RunError, match=r"was not evaluated; run `medcli evaluate"):
        report(run.folder)
    folder = evaluate(run, predictor=runs.Answers(shaken)).folder
    with pytest.raises(UsageError, match="--evaluation: expected one of val, got test"):
        report(run.folder, evaluation="test")
    (run.folder / "model.keras").write_bytes(b"others")
    with pytest.raises(RunError, match="of other weights than the run has now"):
        report(run.folder)
    (run.folder / "model.keras").write_bytes(b"weights")
    kept = (folder / "detections.json").read_text()
    (folder / "detections.json").write_text(kept[: len(kept) // 2])
    with pytest.raises(RunError, match=r"detections\.json: not the stored boxes of this run"):
        report(run.folder)
    for name, message in (
        ("detections.json", r"detections\.json is missing"),
        ("evaluation.json", r"evaluation\.json is missing"),
    ):
        (folder / name).unlink()
        with pytest.raises(RunError, match=message):
            report(run.folder)
    assert (folder / "report.html").is_file(), "a failure leaves what was there"


def test_a_group_column_may_have_any_name(tmp_path):
    run = runs.classification(tmp_path)
    groups = {"status": "retired", "sex": "F"}

    class Grouped(runs.Answers):
        def predict_cases(self, cases):
            for case, image, outcome in super().predict_cases(cases):
                yield replace(case, groups=groups), image, outcome

    result = evaluate(run, predictor=Grouped(unsure))
    rows = read_csv(result.folder / "cases.csv")
    assert {(row["group:status"], row["sex"], row["status"]) for row in rows} == {("retired", "F", "ok")}
