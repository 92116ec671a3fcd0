"""Objects in an evaluation: from raw masks to measures, counts, files and pictures; and again without the model."""

import json

import numpy as np
import pytest
from PIL import Image as Pillow

from medcli.config.loading import from_dict
from medcli.errors import RunError
from medcli.evaluation.build import build
from medcli.evaluation.choose import judge_for
from medcli.evaluation.evaluate import evaluate
from medcli.evaluation.judge import flat_names
from medcli.evaluation.objects import FILE, ObjectsJudge, fates
from medcli.files import read_csv
from medcli.instances.decode import Objects
from medcli.io.masks import read_mask
from medcli.metrics.instances import Pooled, match_objects
from medcli.prediction.result import Prediction
from medcli.preprocessing.instances import consecutive

from . import runs


def cells(folder, cases=8):
    """Three objects per picture: two that touch, and one apart."""
    for number in range(cases):
        mask = np.zeros((24, 30), np.uint16)
        mask[3:11, 4:10], mask[3:11, 10:18], mask[15:21, 6 + number : 14 + number] = 4, 9, 2
        for kind, array in (("images", 80 * (mask > 0)), ("labels", mask)):
            (folder / "data" / kind).mkdir(parents=True, exist_ok=True)
            kept = array.astype(np.uint8 if kind == "images" else np.uint16)
            Pillow.fromarray(kept).save(folder / "data" / kind / f"case{number}.png")
    data = {"root": "data", "images": "images/{case}.png", "labels": "labels/{case}.png"}
    data |= {"labels_are": "instances", "classes": ["cell"]}
    settings = {"task": "segmentation", "data": data, "evaluate": {"robustness": "off"}}
    config = from_dict(settings, folder=folder, name="made_up")
    return runs.make_run(folder / "run", config, classes=["cell"], label_ids=[], objects="instances")


def answer(change):
    """The truth, changed."""

    def predicted(case, image):
        ids = change(consecutive(read_mask(case.masks, image)))
        ids = consecutive(ids)
        number = int(ids.max())
        objects = Objects(ids, np.ones(number, np.uint8), np.linspace(0.6, 0.9, number, dtype=np.float32))
        return Prediction(labels=objects.labels, objects=objects)

    return predicted


def joined(ids):
    """Numbers follow the values in the file: 1 is the one apart, 2 and 3 touch."""
    return np.where(ids == 3, 2, ids)


@pytest.fixture
def no_plots(monkeypatch):
    monkeypatch.setattr(ObjectsJudge, "plots", lambda self: [])


def test_the_truth_is_perfect_and_all_measures_are_there(tmp_path):
    run = cells(tmp_path)
    result = evaluate(run, predictor=runs.Answers(answer(lambda ids: ids)))
    names = (
        "dice",
        "ap50",
        "ap75",
        "ap50_90",
        "pq",
        "sq",
        "rq",
        "ap50_pooled",
        "ap50_ranked",
        "ap50_90/cell",
    )
    assert {name: result.measures[name] for name in names} == pytest.approx(dict.fromkeys(names, 1))
    assert set(result.measures) == set(flat_names(judge_for(run.plan, run.config.evaluate)))
    assert set(result.intervals) == set(result.measures)
    assert (result.folder / "ap_by_iou.png").is_file()
    page = (result.folder / "report.html").read_text()
    assert "Panoptic quality" in page and "2018 Data Science Bowl" in page


def test_joined_objects_are_counted_and_shown(tmp_path, no_plots):
    run = cells(tmp_path)
    result = evaluate(run, predictor=runs.Answers(answer(joined)), gates=["ap50>=0.3"])
    content = json.loads((result.folder / "metrics.json").read_text())
    # Of each picture: the one apart is found; the pair is one object of 48 + 64 pixels, IoU 64/112 with the larger.
    assert content["object_counts"]["cell"] == {
        "objects": 12, "found": 8, "hits": 8, "missed": 4, "false": 0, "merged": 4, "split_up": 0,
    }  # fmt: skip
    assert result.measures["dice"] == 1
    assert result.measures["ap50"] == pytest.approx(2 / 3)
    assert result.measures["ap75"] == pytest.approx(1 / 4)
    assert result.measures["sq"] == pytest.approx((1 + 64 / 112) / 2)
    assert content["ap_by_iou"]["0.60"] == pytest.approx(1 / 4)
    rows = read_csv(result.folder / "cases.csv")
    assert {row["merged"] for row in rows} == {"1"}
    assert any(path.name.startswith("worst") for path in (result.folder / "pictures").iterdir())


def test_the_report_again_without_the_model(tmp_path, no_plots):
    run = cells(tmp_path)
    result = evaluate(run, predictor=runs.Answers(answer(joined)))
    before = json.loads((result.folder / "metrics.json").read_text())
    build(result.folder, run)
    after = json.loads((result.folder / "metrics.json").read_text())
    assert {**after, "seconds": 0} == {**before, "seconds": 0}
    (result.folder / FILE).write_text('{"cases": {}}')
    with pytest.raises(RunError, match="not the stored objects"):
        build(result.folder, run)


def test_levels_are_those_of_the_mean():
    judge = ObjectsJudge.__new__(ObjectsJudge)
    truth, found = np.array([[1, 1, 1, 1, 0, 2]]), np.array([[1, 1, 1, 0, 0, 0]])
    one = match_objects(truth, np.ones(2), found, np.ones(1), np.ones(1), 1)
    nothing = match_objects(truth * 0, np.ones(0), found * 0, np.ones(0), np.ones(0), 1)
    judge._matched = [one, nothing]
    overall = Pooled.of(judge._matched).measures()[0]
    assert judge._levels().mean() == pytest.approx(overall["ap50_90"])
    assert judge._levels()[0] == pytest.approx(overall["ap50"]) == 0.5


def test_what_became_of_objects():
    truth = Objects(
        np.array([1, 1, 1, 2, 2, 2, 0, 3, 3, 4, 4, 4, 4]), np.array([1, 1, 1, 1], np.uint8), np.ones(4)
    )
    found = Objects(np.array([1, 1, 1, 1, 1, 1, 2, 0, 0, 3, 3, 4, 5]), np.ones(5, np.uint8), np.ones(5))
    true, made = fates(truth, found, 1)
    # 1 and 2 were merged: IoU 3/6 each, which counts; 3 is missed; 4 is split, its first half has IoU 2/4.
    assert true.tolist() == [0, 0, 1, 0]
    assert made.tolist() == [0, 1, 0, 2, 2]
