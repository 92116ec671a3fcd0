"""What a detector got wrong, told and shown object by object; what counts as found; results by size."""

import json

import numpy as np
import pytest

from medcli.boxes import Boxes
from medcli.config.loading import load_config
from medcli.evaluation.build import report
from medcli.evaluation.detection_errors import SIDE, Album, cut_out, mistakes
from medcli.evaluation.detection_scores import size_section
from medcli.evaluation.evaluate import evaluate
from medcli.files import read_csv
from medcli.image import Image
from medcli.operating import learn
from medcli.prediction.result import Prediction
from medcli.preprocessing.plan import Intensity, Plan

from . import runs

HALF = np.array([0.5, 0.5])
TRUTH = Boxes.of([[0, 0, 10, 10], [20, 0, 40, 10], [50, 50, 60, 60], [0, 80, 10, 90]], [0, 0, 1, 1])


def told(found: Boxes, truth: Boxes = TRUTH):
    return [(one.kind, one.why, one.true, one.found) for one in mistakes(found, truth, HALF, 0.5)]


def test_every_kind_of_mistake_is_named():
    found = Boxes.of(
        [[0, 0, 10, 10], [1, 0, 11, 10], [20, 0, 30, 5], [50, 50, 60, 60], [70, 70, 80, 80], [0, 80, 10, 90]],
        [0, 0, 0, 0, 1, 1],
        [0.9, 0.8, 0.7, 0.95, 0.6, 0.3],
    )
    assert told(found) == [
        ("class", "another class", 1, 0),
        ("false", "an object that another box has", None, 0),
        ("false", "badly placed", None, 0),  # a quarter of the object
        ("false", "nothing there", None, 1),
        ("missed", "badly placed", 0, None),
        ("missed", "found with a score that was too low", 1, None),
    ]
    assert told(Boxes.empty())[0] == ("missed", "not seen", 0, None)
    assert told(TRUTH) == []
    low = mistakes(found, TRUTH, HALF, 0.5)[-1]
    assert low.score == pytest.approx(0.3)
    assert low.row("c", ["a", "b"])["side"] == 10.0


def test_missed_objects_come_from_large_to_small_and_crowds_never():
    sides = [one.side for one in mistakes(Boxes.empty(), TRUTH, HALF, 0.5)]
    assert sides == sorted(sides, reverse=True) and len(sides) == 4
    crowd = Boxes.of([[0, 0, 50, 50]], [0], crowd=[True])
    assert told(Boxes.empty(), crowd) == []
    assert told(Boxes.of([[5, 5, 20, 20]], [0], [0.9]), crowd) == []


def test_a_cut_out_shows_the_pixels_where_they_lie_and_black_beyond_the_edge():
    array = np.zeros((40, 50, 1), np.uint8)
    array[10:14, 4:8] = 255
    rgb, scale, (x, y) = cut_out(Image(array), np.array([4, 10, 8, 14]), (0.0, 255.0))
    assert rgb.shape == (SIDE, SIDE, 3) and scale == SIDE / 32
    left, top = round(4 * scale + x), round(10 * scale + y)
    bright = np.argwhere(rgb[..., 0] > 200)
    assert bright.min(0).tolist() == [top, left]
    assert bright.max(0).tolist() == [top + 4 * scale - 1, left + 4 * scale - 1]
    far, _, _ = cut_out(Image(array), np.array([100, 100, 110, 110]), (0.0, 255.0))
    assert not far.any()


def test_the_album_keeps_the_most_confident_and_objects_of_all_sizes():
    plan = Plan(
        task="detection", dimensions=2, classes=["a"], channels=1, color="grey", batch_size=1, stages=3,
        intensity=[Intensity(kind="none")],
    )  # fmt: skip
    album, image = Album(plan), Image(np.zeros((50, 50, 1), np.uint8))
    for number in range(30):
        side = 1 + number % 15
        truth = Boxes.of([[0, 0, side, side]], [0])
        found = Boxes.of([[20, 20, 30, 30]], [0], [0.3 + number / 50])
        wrong = mistakes(found, truth, np.array([0.1]), 0.5)
        album.add(f"c{number}", image, found, truth, wrong)
    kinds = [one.kind for one in album.details()]
    assert kinds == ["false"] * 12 + ["missed"] * 12
    assert album.details()[0].case == "c29" and album.details()[11].case == "c18"
    assert "15 pixels" in album.details()[12].caption and "1 pixels" in album.details()[-1].caption
    assert Album(plan).details() == []


def wrong_boxes(case, image):
    """Class a well, class b beside its object and too low, and something where nothing is."""
    a, b = case.boxes.corners
    return Prediction(
        boxes=Boxes.of([a, b + 12, [70, 40, 80, 50], b], [0, 1, 1, 1], [0.9, 0.6, 0.8, 0.2]), seconds=0.01
    )


def test_the_result_has_lists_pictures_thresholds_and_sizes(tmp_path):
    run = runs.cells(tmp_path)
    (run.folder / "model.keras").write_bytes(b"weights")
    true = Boxes.of([[0, 0, 5, 5], [9, 9, 15, 15]], [0, 1])
    learn(run.folder, [Boxes.of(true.corners, [0, 1], [0.5, 0.4])], [true], run.config, run.plan.classes)
    result = evaluate(run, predictor=runs.Answers(wrong_boxes))
    rows = read_csv(result.folder / "errors.csv")
    assert [row["kind"] for row in rows] == ["false", "false", "missed"] * 4
    assert {row["class"] for row in rows if row["kind"] == "missed"} == {"b"}
    content = json.loads((result.folder / "metrics.json").read_text())
    assert content["found"]["classes"]["b"]["threshold"] == pytest.approx(0.4, abs=1e-5)
    assert content["found"]["classes"]["a"]["here"] == {"precision": 1.0, "recall": 1.0, "f1": 1.0}
    assert result.measures["found_recall"] == 0.5 and result.measures["found_false"] == 2.0
    assert result.measures["found_f1/a"] == 1.0 and result.measures["found_f1/b"] == 0.0
    assert result.measures["ap50/b"] == pytest.approx(1 / 3, abs=1e-3), "average precision is of all boxes"
    assert set(content["by_size"]) == {"small", "medium", "large"}  # two sizes have no thirds
    assert content["recall_at"]["1"] <= content["recall_at"]["100"]
    page = (result.folder / "report.html").read_text()
    for words in ("False boxes", "Missed objects", "What counts as found", "By size of the objects"):
        assert words in page
    assert "From a score of 0.50 (a), 0.40 (b) on it finds 50 % of the objects" in page
    curves = read_csv(result.folder / "score_curves.csv")
    assert {row["class"] for row in curves} == {"a", "b"}
    assert len(list((result.folder / "pictures").glob("missed_*.png"))) == 4


def test_a_report_under_another_goal_judges_the_same_boxes_anew(tmp_path):
    run = runs.cells(tmp_path)
    from medcli.config.loading import save_config
    from medcli.preprocessing.plan import save_plan
    from medcli.preprocessing.prepared import write_manifest

    (run.folder / "model.keras").write_bytes(b"weights")
    save_config(run.config, run.folder / "config.yaml")
    save_plan(run.plan, run.folder / "plan.yaml")
    write_manifest(run.folder, run.records)
    true = Boxes.of([[0, 0, 5, 5], [9, 9, 15, 15]], [0, 1])
    learn(run.folder, [Boxes.of(true.corners, [0, 1], [0.5, 0.4])], [true], run.config, run.plan.classes)
    evaluate(run, predictor=runs.Answers(wrong_boxes))
    again = report(run.folder, overrides=["predict.score_threshold={score: 0.1}"], name="low")
    assert again.measures["found_recall"] == 1.0, "the box of .2 counts now"
    assert load_config(again.folder / "config.yaml").predict.score_threshold == {"score": 0.1}


def test_sizes_without_any_object_are_undefined():
    section, content = size_section([Boxes.empty()], [Boxes.empty()], ["a"])
    assert np.isnan(content["by_size"]["small"]["map50"]) and np.isnan(content["recall_at"]["100"])
    assert len(section.tables[0].rows) == 3
