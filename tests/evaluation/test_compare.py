"""Two runs compared, from evaluation to the table."""

import json
import shutil
from dataclasses import replace

import numpy as np
import pytest

from medcli.boxes import Boxes
from medcli.errors import DataError, RunError, UsageError
from medcli.evaluation.compare import compare
from medcli.evaluation.evaluate import evaluate
from medcli.files import read_csv, write_csv
from medcli.metrics.classification import auroc
from medcli.prediction.result import Prediction
from medcli.preprocessing.plan import save_plan

from . import runs


@pytest.fixture(autouse=True)
def no_plots(monkeypatch):
    from medcli.evaluation import classification, detection, segmentation

    for module in (classification, detection, segmentation):
        judge = next(value for name, value in vars(module).items() if name.endswith("nJudge"))
        monkeypatch.setattr(judge, "plots", lambda self: [])


def two(tmp_path, make, first, second, *, split="all", **settings):
    """One data set, two runs of it, both evaluated."""
    run = make(tmp_path, **settings)
    folders = []
    for name, answer in (("a", first), ("b", second)):
        one = replace(run, folder=tmp_path / name)
        one.folder.mkdir()
        save_plan(one.plan, one.folder / "plan.yaml")
        evaluate(one, split=split, predictor=runs.Answers(answer))
        folders.append(one.folder)
    return folders


def unsure(seed):
    """Right in the mean; the same numbers in every call."""
    random = np.random.default_rng(seed)

    def answer(case, image):
        ill = float(np.clip(0.5 + 0.2 * ("ill" in case.classes) - 0.1 + random.normal(0, 0.2), 0.01, 0.99))
        return Prediction(probabilities=np.float32([1 - ill, ill]), seconds=0.01)

    return answer


def by_name(found):
    return {row.measure: row for row in found.measures}


def test_classification(tmp_path):
    a, b = two(tmp_path, runs.classification, runs.right_class, unsure(0), cases=40)
    found = compare(a, b)
    rows = by_name(found)
    assert (found.cases, found.patients, found.prevalence) == (40, 20, {"healthy": 0.5, "ill": 0.5})
    lines = read_csv(b / "evaluate" / "all" / "cases.csv")
    truth = np.array([line["truth"] == "ill" for line in lines])
    area = float(auroc(truth, np.array([float(line["p:ill"]) for line in lines])))
    assert (rows["auroc"].a, rows["auroc"].b) == (1, pytest.approx(area))
    assert rows["auroc"].difference == pytest.approx(1 - area)
    assert rows["auroc"].low > 0 and rows["auroc"].p < 0.05
    assert (rows["auroc"].cases, rows["sensitivity"].cases, rows["sensitivity"].patients) == (40, 20, 20)
    wrong = sum(line["correct"] != "True" for line in lines)
    assert rows["accuracy"].b == 1 - wrong / 40
    tests = {(test.test, test.about): test for test in found.tests}
    assert tests["DeLong", "AUROC of ill"].p < 0.05
    assert tests["McNemar, exact", "all decisions"].found == f"right in A only {wrong}, in B only 0"
    assert "20 of these 40 cases were used to train A: the comparison favours it." in found.notes


def test_values_are_those_that_evaluate_reports(tmp_path):
    a, b = two(tmp_path, runs.classification, unsure(1), unsure(2), cases=40)
    for row in compare(a, b).measures:
        for folder, value in ((a, row.a), (b, row.b)):
            reported = json.loads((folder / "evaluate/all/metrics.json").read_text())["overall"]
            assert value == pytest.approx(reported[row.measure], abs=1e-6)


def test_a_run_against_itself(tmp_path):
    a, _ = two(tmp_path, runs.classification, unsure(1), unsure(1), cases=20)
    found = compare(a, a)
    assert {(row.difference, row.low, row.high, row.p) for row in found.measures} == {(0, 0, 0, 1)}
    assert {test.p for test in found.tests} == {1}


def test_segmentation(tmp_path):
    def smaller(case, image):
        labels = runs.right_labels(case, image).labels.copy()
        labels[5] = 0  # one of four planes of the left one; the right one stays
        return Prediction(labels=labels, seconds=0.01)

    a, b = two(tmp_path, runs.volumes, runs.right_labels, smaller, cases=8)
    found = compare(a, b)
    rows = by_name(found)
    assert rows["dice"].a == 1
    assert rows["dice"].difference == pytest.approx((1 - 2 * 0.75 / 1.75) / 2, abs=1e-6)
    tests = {test.about: test for test in found.tests}
    assert tests["dice of left"].p == pytest.approx(2 / 2**4)  # four patients, all in one direction
    assert (tests["dice of left"].cases, tests["dice of left"].patients) == (8, 4)
    assert tests["dice of right"].p == 1
    assert any(note.startswith("Patients: 4") for note in found.notes)


def test_detection_needs_the_boxes(tmp_path):
    def half(case, image):
        first = case.boxes.take([0])
        return Prediction(boxes=Boxes.of(first.corners, first.classes, [0.9]), seconds=0.01)

    a, b = two(tmp_path, runs.cells, runs.right_boxes, half, cases=6)
    found = compare(a, b)
    rows = by_name(found)
    assert found.prevalence == {"a": 6, "b": 6}
    assert (rows["map50"].a, rows["map50"].b) == (pytest.approx(1), pytest.approx(0.5))
    assert rows["recall50"].difference == pytest.approx(0.5)
    (a / "evaluate/all/detections.json").unlink()
    with pytest.raises(RunError, match="older than `medcli compare`; run `medcli evaluate --force` again"):
        compare(a, b)


def test_only_shared_cases_count(tmp_path):
    a, b = two(tmp_path, runs.classification, runs.right_class, runs.right_class, cases=12)
    path = b / "evaluate/all/cases.csv"
    lines = read_csv(path)
    lines[0]["status"] = "unreadable"
    write_csv(path, lines[:-1])
    found = compare(a, b)
    assert (found.cases, found.only_a, found.only_b) == (10, 2, 0)
    assert "2 cases of A are not among the shared ones and are left out." in found.notes
    assert "1 cases could not be judged for B and are left out." in found.notes
    assert compare(a, b, split="val").cases == 5
    for line in lines:
        line["case"] = "other" + line["case"]
    write_csv(path, lines)
    with pytest.raises(DataError, match=r"no case in common \(12 in .*, 11 in .*evaluate both runs"):
        compare(a, b)


def test_patients_that_either_run_knows_stay_together(tmp_path):
    a, b = two(tmp_path, runs.classification, runs.right_class, runs.right_class, cases=12)
    path = b / "evaluate/all/cases.csv"
    lines = read_csv(path)
    for number, line in enumerate(lines):
        line["patient"] = f"q{number // 3}"
    write_csv(path, lines)
    # pairs (0 1)(2 3)(4 5)... and triples (0 1 2)(3 4 5)...: joined they are (0..5) and (6..11)
    assert compare(a, b).patients == 2


def test_other_tasks_classes_and_truths_are_refused(tmp_path):
    (tmp_path / "one").mkdir()
    (tmp_path / "other").mkdir()
    a, b = two(tmp_path / "one", runs.classification, runs.right_class, runs.right_class)
    c, _ = two(tmp_path / "other", runs.cells, runs.right_boxes, runs.right_boxes)
    with pytest.raises(DataError, match="A is a run for classification, B for detection"):
        compare(a, c)
    path = b / "evaluate/all/cases.csv"
    lines = read_csv(path)
    before = lines[0]["truth"]
    lines[0]["truth"] = "ill" if before == "healthy" else "healthy"
    write_csv(path, lines)
    with pytest.raises(DataError, match=r"1 of 12 shared cases have another truth .*such as case"):
        compare(a, b)
    plan = b / "plan.yaml"
    plan.write_text(plan.read_text().replace("healthy", "well"))
    with pytest.raises(DataError, match="A knows the classes healthy, ill, B well, ill"):
        compare(a, b)


def test_what_was_not_evaluated_is_named(tmp_path):
    a, b = two(tmp_path, runs.classification, runs.right_class, runs.right_class)
    with pytest.raises(
        UsageError, match=r"has no result 'test' .*run `medcli evaluate .*--split test` first"
    ):
        shutil.move(a / "evaluate/all", a / "evaluate/val")
        shutil.move(b / "evaluate/all", b / "evaluate/val")
        compare(a, b, split="test")
    assert compare(a, b).a == a / "evaluate/val"
    shutil.move(b / "evaluate/val", b / "evaluate/other")
    with pytest.raises(UsageError, match="no result of the same name"):
        compare(a, b)
    assert compare(a, b / "evaluate/other").cases == 12
    shutil.rmtree(b / "evaluate")
    with pytest.raises(RunError, match="was not evaluated; run `medcli evaluate"):
        compare(a, b)
    with pytest.raises(RunError, match="expected a run folder or a result"):
        compare(a, tmp_path)
    with pytest.raises(UsageError, match="expected one of train, val, test, all, got 'tset'"):
        compare(a, b, split="tset")
