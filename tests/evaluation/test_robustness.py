"""The robustness curve from files to the written folder, with networks that are plain functions."""

import json
import math
from dataclasses import replace

import nibabel
import numpy as np
import pytest
from fake_run import FakeTask
from PIL import Image as Pillow
from PIL import ImageDraw

from medcli.boxes import Boxes
from medcli.config.loading import from_dict
from medcli.config.schema import Evaluate
from medcli.errors import ConfigError, GateNotMet
from medcli.evaluation.choose import judge_for
from medcli.evaluation.classification import ClassificationJudge
from medcli.evaluation.evaluate import evaluate
from medcli.evaluation.kept import OK, Kept, copy_kept
from medcli.evaluation.robustness import (
    Robustness,
    affordable,
    gate_names,
    measure_robustness,
    stratified,
)
from medcli.evaluation.robustness_curves import area
from medcli.evaluation.robustness_page import robustness_section
from medcli.evaluation.robustness_passes import _turned_back
from medcli.evaluation.rotation import Rotation
from medcli.evaluation.selection import select_cases
from medcli.files import read_csv
from medcli.instances.decode import Objects
from medcli.metrics.instances import match_objects
from medcli.metrics.samples import classification_sample
from medcli.prediction.predictor import Predictor
from medcli.prediction.result import Prediction
from medcli.sliding import Slabs

from . import runs

# ---- numbers by hand


def test_the_area_is_the_mean_over_the_strengths_relative_to_clean():
    assert area(
        np.array([0.8]), [np.array([value]) for value in (0.8, 0.72, 0.64, 0.4, 0.24)]
    ) == pytest.approx(0.7)
    nan = np.array([math.nan])
    assert area(np.array([0.5]), [np.array([0.25]), nan]) == pytest.approx(0.5), (
        "undefined strengths are left out"
    )
    assert math.isnan(area(np.array([0.5]), [nan, nan])[0])
    assert math.isnan(area(np.array([0.0]), [np.array([0.2])])[0])


@pytest.mark.parametrize(
    ("passes", "fewest", "most", "expected"),
    [
        (600, 40, 10_000, (100, (1, 2, 3, 4, 5))),  # 120 fit, 100 is a number of the series
        (1e6, 40, 10_000, (10_000, (1, 2, 3, 4, 5))),
        (1e6, 40, 90, (90, (1, 2, 3, 4, 5))),
        (199, 40, 500, (50, (1, 3, 5))),  # 39 at five strengths, 66 at three
        (130, 40, 500, (40, (1, 3, 5))),
        (90, 40, 500, (70, (3,))),
        (3, 40, 500, (40, (3,))),  # the first pass was made already
        (0.2, 6, 500, (6, (3,))),
    ],
)
def test_how_many_cases_and_strengths_fit(passes, fewest, most, expected):
    assert affordable(passes, fewest, most) == expected


def sample_of(truth):
    truth = np.stack([~truth, truth], 1)
    return classification_sample(truth, truth * 0.8 + 0.1, truth, multi_label=False, positive=1)


def test_every_beginning_of_the_order_has_the_classes_in_proportion():
    truth = np.random.default_rng(0).random(400) < 0.25
    sample = sample_of(truth)
    order = stratified(sample, seed=3)
    assert sorted(order) == list(range(400))
    for count in (20, 40, 100, 200):
        assert truth[order[:count]].sum() == pytest.approx(count * truth.mean(), abs=1)
    assert np.array_equal(order, stratified(sample, seed=3))
    assert not np.array_equal(order, stratified(sample, seed=4))


# ---- classification


def pictures(folder, *, cases=24, **settings):
    """The ill ones have a brighter disc; two pictures a patient."""
    for number in range(cases):
        kind = ("healthy", "ill")[number % 2]
        values = np.random.default_rng(number).normal(90, 12, (30, 36))
        rows, columns = np.indices(values.shape)
        values[np.hypot(rows - 14, columns - 18) < 9] += 25 * (number % 2) + 20
        target = folder / "data" / kind / f"case{number:02d}.png"
        target.parent.mkdir(parents=True, exist_ok=True)
        Pillow.fromarray(values.clip(0, 255).astype(np.uint8)).save(target)
    content = {"task": "classification", "data": {"root": "data"}, "evaluate": {"pictures": 0, **settings}}
    config = from_dict(content, folder=folder, name="made_up")
    return runs.make_run(folder / "run", config, classes=["healthy", "ill"])


def brighter_than_usual(image):
    """The mean of the picture, wherever it comes from."""
    chance = 1 / (1 + np.exp(-(image.mean() - 98) / 2))
    return np.float32([1 - chance, chance])


def predictor_of(run, answer=brighter_than_usual):
    return Predictor(run, FakeTask(answer), None)


def curve(run, predictor, folder, *, asked=False, seconds=None):
    """The content of robustness.json; the clean predictions took the time of their cases, or `seconds`."""
    selection = select_cases(run)
    judge = judge_for(run.plan, run.config.evaluate, run)
    rows = []
    for case, image, outcome in predictor.predict_cases(selection.cases):
        judge.add(case, image, outcome)
        rows.append({"case": case.name, "patient": case.patient, "status": OK, "seconds": outcome.seconds})
    kept = Kept("val", "val", True, rows=rows, seconds=seconds or sum(row["seconds"] for row in rows))
    measure_robustness(
        folder,
        predictor,
        lambda: judge_for(run.plan, run.config.evaluate, run),
        judge,
        selection.cases,
        kept,
        asked=asked,
    )
    found = Robustness.load(folder)
    return found and found.content


@pytest.fixture(scope="module")
def judged(tmp_path_factory):
    run = pictures(tmp_path_factory.mktemp("robust"), robustness="full")
    gates = ["robustness/noise>=0.9", "robustness/brightness>=0.99", "robustness/mean/balanced_accuracy>=0.1"]
    told = r"Not met: robustness/brightness>=0\.99 \(found 0\.\d+\)\. The"
    with pytest.MonkeyPatch.context() as patch, pytest.raises(GateNotMet, match=told) as caught:
        patch.setattr(ClassificationJudge, "plots", lambda self: [])
        evaluate(run, predictor=predictor_of(run), gates=gates)
    return caught.value.result


def content_of(result):
    return json.loads((result.folder / "metrics.json").read_text())["robustness"]


def test_a_network_that_sees_the_mean_alone(judged):
    content = content_of(judged)
    assert (content["cases"], content["patients"], content["failed"]) == (12, 6, 0)
    assert content["kind"] == "picture" and set(content["left_out"]) == {"bias_field"}
    assert content["clean"]["auroc"]["value"] == judged.measures["auroc"] == 1
    areas = {name: one["area"]["auroc"]["value"] for name, one in content["corruptions"].items()}
    # Noise, blur, motion, resolution and contrast keep the mean and its order, brightness does not.
    assert min(areas[name] for name in ("noise", "blur", "resolution", "contrast")) > 0.95
    assert areas["brightness"] < 0.9
    assert content["mean"]["auroc"]["value"] == pytest.approx(np.mean(list(areas.values())))


def test_areas_and_differences_follow_from_the_values(judged):
    content = content_of(judged)
    for one in content["corruptions"].values():
        assert [entry["strength"] for entry in one["strengths"]] == [1, 2, 3, 4, 5]
        for name in ("auroc", "balanced_accuracy"):
            clean = content["clean"][name]["value"]
            values = [entry["measures"][name]["value"] for entry in one["strengths"]]
            assert one["area"][name]["value"] == pytest.approx(np.mean(values) / clean)
            for entry in one["strengths"]:
                found = entry["measures"][name]
                assert found["difference"] == pytest.approx(found["value"] - clean)
                assert (
                    found["difference_low"] - 1e-9 <= found["difference"] <= found["difference_high"] + 1e-9
                )


def test_the_files_of_the_curve(judged):
    rows = read_csv(judged.folder / "robustness.csv")
    # clean, 8 corruptions with 5 strengths and an area, the mean; two measures of each.
    assert len(rows) == 2 * (1 + 8 * 6 + 1)
    noise = [row for row in rows if row["corruption"] == "noise" and row["measure"] == "auroc"]
    assert [row["strength"] for row in noise] == ["1", "2", "3", "4", "5", "area"]
    assert noise[0]["level"] == "sigma 2 % of the range" and noise[0]["cases"] == "12"
    assert (judged.folder / "robustness.png").is_file()
    page = (judged.folder / "report.html").read_text()
    assert "Robustness" in page and "sigma 2, 7, 16 % of the range" in page and "a fault of MR coils" in page
    [note] = [note for note in judged.notes if "Sensitive" in note]
    assert "on 12 of 12 cases" in note and "brightness (" in note and "noise" not in note


def test_a_report_made_again_holds_the_curve(judged, tmp_path):
    copy_kept(judged.folder, tmp_path / "copy")
    assert not (tmp_path / "copy" / "robustness.csv").exists(), "made anew"
    again = Robustness.load(tmp_path / "copy")
    assert again.content == content_of(judged) and set(again.notes) <= set(judged.notes)


def test_two_runs_agree_and_more_cases_include_the_fewer(tmp_path):
    run = pictures(tmp_path, robustness=6, corruptions=["noise", "rotation"])
    first, second = (curve(run, predictor_of(run), tmp_path) for _ in range(2))
    assert first == second and first["cases"] == 6
    assert list(first["corruptions"]) == ["noise", "rotation"]


def test_gates(judged, tmp_path):
    made = pictures(tmp_path)
    flat = Robustness.load(judged.folder).flat
    assert flat["robustness/brightness"] == flat["robustness/brightness/auroc"]
    assert flat["robustness/brightness"] != flat["robustness/brightness/balanced_accuracy"]
    assert all(judged.group_measures[name] == value for name, value in flat.items())
    judge = ClassificationJudge(made.plan, made.config.evaluate)
    assert set(flat) < gate_names(judge, made.config.evaluate)
    assert gate_names(judge, Evaluate(robustness="off")) == set()
    only_noise = gate_names(judge, Evaluate(corruptions=["noise"]))
    assert {name.split("/")[1] for name in only_noise} == {"noise", "mean"}


def test_the_names_of_corruptions_are_checked(tmp_path):
    with pytest.raises(ConfigError, match="fog"):
        pictures(tmp_path, corruptions=["fog"])


def test_nothing_is_measured_when_off_or_when_the_predictor_cannot_be_given_images(tmp_path):
    run = pictures(tmp_path)
    assert curve(run, runs.Answers(runs.right_class), tmp_path) is None
    off = replace(run, config=run.config.model_copy(update={"evaluate": Evaluate(robustness="off")}))
    assert curve(off, predictor_of(run), tmp_path) is None


def test_a_case_that_fails_once_is_left_out_everywhere(tmp_path):
    run = pictures(tmp_path, robustness="full", corruptions=["brightness", "blur"])

    def fails_when_dark(image):
        if image.mean() < 75:
            raise ValueError("too dark")
        return brighter_than_usual(image)

    content = curve(run, predictor_of(run, fails_when_dark), tmp_path)
    assert content["failed"] > 0 and content["cases"] == 12 - content["failed"]


# ---- what it may cost


class Clock:
    """Time that passes with every image predicted alone."""

    def __init__(self, seconds):
        self.now, self.seconds = 0.0, seconds

    def __call__(self):
        return self.now

    def answer(self, image):
        self.now += self.seconds
        return brighter_than_usual(image)


@pytest.fixture
def clocked(monkeypatch, tmp_path):
    def run(seconds, *, budget, asked=False, cases=160, fewest=20):
        clock = Clock(seconds)
        monkeypatch.setattr("medcli.evaluation.robustness.perf_counter", clock)
        monkeypatch.setattr("medcli.prediction.predictor.perf_counter", clock)
        monkeypatch.setattr("medcli.evaluation.robustness.SECONDS", budget)
        monkeypatch.setattr("medcli.evaluation.robustness.FEWEST_RANKED", fewest)
        made = pictures(tmp_path, cases=cases, corruptions=["noise", "contrast"])
        predictor = predictor_of(made, clock.answer)
        content = curve(made, predictor, tmp_path, asked=asked, seconds=seconds * cases / 2)
        return content, clock.now - seconds * cases / 2

    return run


def test_auto_takes_what_fits(clocked):
    content, spent = clocked(0.1, budget=61.0)
    # 61 s are 610 passes, 305 of each of two corruptions, 61 cases at five strengths: 50 in the series.
    assert (content["cases"], content["strengths"]) == (50, [1, 2, 3, 4, 5])
    assert spent == pytest.approx(50 * 10 * 0.1) and spent <= 61


def test_auto_takes_a_share_of_a_long_prediction(clocked):
    content, spent = clocked(1.0, budget=1.0)
    # 80 s of prediction allow 24 s: 12 passes of each corruption. 20 cases at strength 3 take 40 s, less than
    # twice 24 s.
    assert (content["cases"], content["strengths"]) == (20, [3])
    assert spent == pytest.approx(40)


def test_auto_leaves_it_out_when_it_would_take_too_long(clocked, tmp_path):
    content, spent = clocked(2.0, budget=1.0, fewest=40)
    # 40 cases x 2 corruptions x 2 s = 160 s, more than twice 0.3 x 160 s.
    assert spent == 0 and content["cases"] == 0
    assert (
        "Robustness was not measured: 40 cases at one strength would take about 160 s" in content["notes"][0]
    )
    section = robustness_section(content)
    assert section.tables[0].rows == [{"robustness": content["notes"][0]}] and section.plots == []
    found = Robustness.load(tmp_path)
    assert found.rows() == [] and found.flat == {}


def test_a_gate_makes_it_take_the_fewest_however_long(clocked):
    content, spent = clocked(2.0, budget=1.0, fewest=40, asked=True)
    assert (content["cases"], content["strengths"]) == (40, [3]) and spent == pytest.approx(160)


# ---- detection and segmentation: what is turned comes together again


def discs(folder, *, cases=6):
    """Bright ellipses on grey, boxed tightly; COCO."""
    (folder / "data" / "images").mkdir(parents=True)
    content = {
        "images": [],
        "annotations": [],
        "categories": [{"id": 1, "name": "a"}, {"id": 2, "name": "b"}],
    }
    for number in range(cases):
        picture = Pillow.new("L", (120, 90), 60)
        x, y = 18 + 9 * number, 50 - 6 * number
        ImageDraw.Draw(picture).ellipse([x, y, x + 29, y + 19], fill=200)
        picture.save(folder / f"data/images/case{number:02d}.png")
        content["images"].append(
            {"id": number, "file_name": f"case{number:02d}.png", "width": 120, "height": 90}
        )
        content["annotations"].append(
            {
                "id": number,
                "image_id": number,
                "category_id": 2,
                "bbox": [x, y, 30, 20],
                "area": 600,
                "iscrowd": 0,
            }
        )
    (folder / "data" / "boxes.json").write_text(json.dumps(content))
    data = {"root": "data", "format": "coco", "images": "images", "labels": "boxes.json"}
    settings = {"robustness": "full", "corruptions": ["rotation", "contrast"], "pictures": 0}
    config = from_dict(
        {"task": "detection", "data": data, "evaluate": settings}, folder=folder, name="made_up"
    )
    return runs.make_run(folder / "run", config, classes=["a", "b"])


def bright_box(image):
    rows, columns = np.nonzero(image[..., 0] > 130)
    if not len(rows):
        return Boxes.empty()
    return Boxes.of([[columns.min(), rows.min(), columns.max() + 1, rows.max() + 1]], [1], [0.9])


def test_turned_boxes_are_judged_where_the_things_are(tmp_path):
    run = discs(tmp_path)
    content = curve(run, predictor_of(run, bright_box), tmp_path)
    turned = [
        entry["measures"]["map50"]["value"] for entry in content["corruptions"]["rotation"]["strengths"]
    ]
    assert turned == pytest.approx([1] * 5)
    pale = [entry["measures"]["map50"]["value"] for entry in content["corruptions"]["contrast"]["strengths"]]
    assert pale[0] == 1 and pale[-1] == 0, "nothing is above 130 any more"


def test_turned_labels_are_judged_on_the_original_grid(tmp_path):
    (tmp_path / "data/images").mkdir(parents=True)
    (tmp_path / "data/labels").mkdir()
    for number in range(4):
        labels = np.zeros((40, 44, 6), np.uint8)
        labels[8:22, 9:30, 1:5] = 1
        labels[24:34, 10:34, 2:5] = 2
        for kind, array in (("images", 100.0 * labels), ("labels", labels)):
            path = tmp_path / "data" / kind / f"case{number}.nii.gz"
            nibabel.save(nibabel.Nifti1Image(array.astype(np.float32), runs.AFFINE), path)
    data = {"root": "data", "images": "images/{case}.nii.gz", "labels": "labels/{case}.nii.gz"}
    data["classes"] = ["left", "right"]
    settings = {"robustness": "full", "pictures": 0}
    config = from_dict(
        {"task": "segmentation", "data": data, "evaluate": settings}, folder=tmp_path, name="made_up"
    )
    plan = {
        "classes": ["left", "right"],
        "label_ids": [[1], [2]],
        "dimensions": 3,
        "color": "as_is",
        "reorient": True,
    }
    run = runs.make_run(tmp_path / "run", config, **plan)

    def by_value(image):
        return Slabs.of(np.eye(3, dtype=np.float32)[np.digitize(image[..., 0], [50, 150])])

    content = curve(run, predictor_of(run, by_value), tmp_path)
    assert content["kind"] == "MR" and set(content["left_out"]) == {"brightness", "jpeg"}
    assert content["clean"]["dice"]["value"] == 1
    for entry in content["corruptions"]["rotation"]["strengths"]:
        assert entry["measures"]["dice"]["value"] > 0.9, "half a pixel at the edge, no more"


def test_turned_objects_come_back_with_their_numbers():
    """In a picture that is not square; the found labels are those of the objects."""
    ids = np.zeros((40, 60), np.int32)
    ids[5:15, 8:22], ids[20:34, 30:55] = 1, 2
    turn = Rotation.of(ids.shape, 20, grow=True)
    tilted = np.zeros(turn.turned, np.int32)
    for number in (1, 2):
        tilted[turn.image((ids == number).astype(np.float32)[..., None])[..., 0] > 0.5] = number
    classes = np.uint8([2, 1])
    objects = Objects(tilted, classes, np.float32([0.9, 0.8]))
    found = _turned_back(Prediction(labels=objects.labels, objects=objects), turn)
    matched = match_objects(ids, classes, found.objects.ids, found.objects.classes, objects.scores, 2)
    assert [one.ious.min() for one in matched] == pytest.approx([1, 1], abs=0.15)
    np.testing.assert_array_equal(found.labels, found.objects.labels)


# ---- the page


def test_one_patient_has_values_without_intervals():
    told = {"value": 0.8, "low": None, "high": None}
    entry = {"strength": 3, "level": "sigma 7 % of the range"}
    entry["measures"] = {"dice": told | {"difference": -0.1, "difference_low": None, "difference_high": None}}
    content = {
        "cases": 1, "patients": 1, "strengths": [3], "measures": ["dice"], "left_out": {}, "notes": [],
        "clean": {"dice": told}, "mean": {"dice": told},
        "corruptions": {"noise": {"title": "Noise", "strengths": [entry], "area": {"dice": told}}},
    }  # fmt: skip
    section = robustness_section(content)
    assert section.tables[0].rows[0]["strength 3"] == "0.800"
    assert "Dice 0.80 on clean images" in section.plots[0].alt
