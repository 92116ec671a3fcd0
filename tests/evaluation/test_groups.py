"""Groups from the table of the data to the written folder, for every task, with answers made up on purpose."""

import csv
import json
import math
import re

import numpy as np
import pytest
from PIL import Image as Pillow
from scipy.stats import binomtest

from medcli.boxes import Boxes
from medcli.config.loading import from_dict
from medcli.errors import GateNotMet, UsageError
from medcli.evaluation.evaluate import evaluate
from medcli.evaluation.groups import measure_groups
from medcli.evaluation.groups_page import file_name, interval_text
from medcli.files import read_csv
from medcli.metrics.samples import classification_sample
from medcli.prediction.result import Prediction

from . import runs


def classified(folder, *, patients=120, seed=0):
    """Two pictures a patient; sex, age, site with missing values. Only half of them is judged."""
    random = np.random.default_rng(seed)
    (folder / "data").mkdir(parents=True)
    rows = []
    for number in range(patients):
        person = {"sex": "FM"[number % 2], "age": str(random.integers(20, 90)), "site": "ABC"[number % 3]}
        if number % 10 == 3:
            person["site"] = ""
        if number in (100, 101):
            person["site"] = "tiny"
        for image in range(2):
            name = f"p{number:03d}_{image}.png"
            Pillow.fromarray(np.full((8, 10), 100, np.uint8)).save(folder / "data" / name)
            ill = random.random() < 0.5
            rows.append(
                {"image": name, "label": ["healthy", "ill"][ill], "patient_id": f"p{number}"} | person
            )
    with open(folder / "data" / "cases.csv", "w", newline="") as stream:
        writer = csv.DictWriter(stream, rows[0])
        writer.writeheader()
        writer.writerows(rows)
    data = {"root": "data", "table": "cases.csv", "classes": ["healthy", "ill"]}
    data["columns"] = {"groups": ["sex", "age", "site"]}
    config = from_dict({"task": "classification", "data": data}, folder=folder, name="made_up")
    return runs.make_run(folder / "run", config, classes=["healthy", "ill"])


def worse_for_men(case, image):
    """Women are right; of the men half of the ill are missed, whatever their age and site."""
    ill = "ill" in case.classes
    missed = case.groups["sex"] == "M" and ill and int(case.name[1:4]) % 4 == 1
    chance = 0.2 if missed or not ill else 0.9
    return Prediction(probabilities=np.float32([1 - chance, chance]), seconds=0.01)


@pytest.fixture(scope="module")
def judged(tmp_path_factory):
    run = classified(tmp_path_factory.mktemp("groups"))
    return evaluate(run, predictor=runs.Answers(worse_for_men), split="all")


def test_every_group_has_its_numbers(judged):
    content = json.loads((judged.folder / "metrics.json").read_text())
    groups = {(tuple(one["columns"]), one["group"]): one for one in content["groups"]["groups"]}
    women, men = groups[("sex",), "F"], groups[("sex",), "M"]
    assert (women["cases"], women["patients"]) == (120, 60)
    assert women["measures"]["sensitivity"]["value"] == 1
    assert 0.3 < men["measures"]["sensitivity"]["value"] < 0.7
    assert men["measures"]["sensitivity"]["low"] < men["measures"]["sensitivity"]["value"]
    truth = [row["truth"] == "ill" for row in read_csv(judged.folder / "cases.csv") if row["sex"] == "M"]
    assert men["prevalence"] == pytest.approx(np.mean(truth))
    assert [name for columns, name in groups if columns == ("site",)] == ["A", "B", "C", "tiny", "unknown"]
    assert groups[("site",), "unknown"]["patients"] == 12
    assert [name for columns, name in groups if columns == ("age",)] == ["<40", "40-59", "60-79", "80+"]
    tiny = groups[("site",), "tiny"]
    assert tiny["measures"] == {} and tiny["too_few"] == "too few: 2 of at least 10 patients"
    assert ("sex", "age") in {columns for columns, _ in groups}
    assert judged.groups["groups"][0]["group"] == "F"


def test_a_rate_of_one_has_the_exact_interval(judged):
    women = judged.groups["groups"][0]
    ill = {
        row["patient"]
        for row in read_csv(judged.folder / "cases.csv")
        if row["sex"] == "F" and row["truth"] == "ill"
    }
    exact = binomtest(len(ill), len(ill)).proportion_ci(0.95, method="exact")
    found = women["measures"]["sensitivity"]
    assert (found["low"], found["high"]) == pytest.approx((exact.low, 1))


def test_gaps_are_tested_and_told(judged):
    gaps = {(tuple(one["columns"]), one["gap"]): one for one in judged.groups["gaps"]}
    of_sex = gaps[("sex",), "equal_opportunity"]
    assert (of_sex["worst"], of_sex["best"], of_sex["measure"]) == ("M", "F", "sensitivity")
    assert of_sex["beyond_chance"] and of_sex["p_holm"] < 0.02 and of_sex["low"] > 0.2
    assert not any(
        one["beyond_chance"] for (columns, _), one in gaps.items() if columns in (("site",), ("age",))
    )
    assert all(one["p_holm"] >= one["p"] for one in gaps.values())
    (warning,) = [note for note in judged.notes if "Groups of sex differ by more than chance" in note]
    assert "worst: M, best: F" in warning
    page = (judged.folder / "report.html").read_text()
    assert page.index("Groups of sex differ") < page.index("<h2"), "told at the top"


def test_files(judged):
    rows = read_csv(judged.folder / "groups.csv")
    tiny = [row for row in rows if row["group"] == "tiny" and row["columns"] == "site"]
    assert {row["value"] for row in tiny} == {""} and tiny[0]["note"].startswith("too few")
    gap = next(row for row in rows if row["measure"] == "auroc_gap" and row["columns"] == "sex")
    assert gap["group"] == "F to M" and float(gap["p"]) <= float(gap["p_holm"])
    page = (judged.folder / "report.html").read_text()
    for name in ("groups_sex", "groups_age", "groups_site"):
        assert (judged.folder / f"{name}.png").is_file()
    (alt,) = re.findall(r'alt="(Dots with intervals by site[^"]*)"', page)
    assert "Sensitivity: A 0." in alt and "tiny too few" in alt and "unknown 0." in alt
    support = json.loads((judged.folder / "metrics.json").read_text())["support"]
    assert set(support) == set(judged.measures)
    assert support["auroc"]["cases"] == 240 and support["auroc"]["patients"] == 120
    assert support["auroc"]["prevalence"] == pytest.approx(1 - support["auroc/healthy"]["prevalence"])


def test_gates_by_group(tmp_path, monkeypatch):
    from medcli.evaluation.classification import ClassificationJudge

    monkeypatch.setattr(ClassificationJudge, "plots", lambda self: [])
    run = classified(tmp_path, patients=60)
    answers = runs.Answers(worse_for_men)
    settings = {"predictor": answers, "split": "all", "force": True}
    evaluate(
        run, gates=["sensitivity/sex=F>=1", "equalized_odds_gap/sex<0.9", "auroc/age=<40 > 0.1"], **settings
    )
    with pytest.raises(GateNotMet, match=r"sensitivity/sex=M>=0\.9 \(found 0\.\d+\)") as caught:
        evaluate(run, gates=["sensitivity/sex=M>=0.9"], **settings)
    assert "sensitivity/sex=M" not in caught.value.result.measures, "the measures stay those of the classes"
    with pytest.raises(UsageError, match="unknown measure 'auroc/sex=X'"):
        evaluate(run, gates=["auroc/sex=X>0.5"], **settings)
    few = run.config.evaluate.model_copy(update={"group_patients": 1000})
    with pytest.raises(GateNotMet, match=r"auroc/sex=F>0\.1 \(found no value"):
        evaluate(run, gates=["auroc/sex=F>0.1"], settings=few, **settings)


def test_data_without_such_columns_have_no_groups(tmp_path):
    result = evaluate(runs.classification(tmp_path), predictor=runs.Answers(runs.right_class))
    assert result.groups is None and not (result.folder / "groups.csv").exists()
    assert "Groups" not in (result.folder / "report.html").read_text()
    assert "groups" not in json.loads((result.folder / "metrics.json").read_text())


def with_groups(run):
    """The same run whose data have a column `site`: A for the first half of those that are judged, else B."""
    from medcli.evaluation import evaluate as module

    found = module.select_cases

    def select(*arguments, **named):
        from dataclasses import replace

        selection = found(*arguments, **named)
        half = len(selection.cases) // 2
        cases = [
            replace(case, groups={"site": "A" if number < half else "B"})
            for number, case in enumerate(selection.cases)
        ]
        return replace(selection, cases=cases)

    return select


@pytest.mark.parametrize(
    ("make", "answer", "measure"),
    [(runs.cells, runs.right_boxes, "map50"), (runs.volumes, runs.right_labels, "dice")],
)
def test_boxes_and_masks(make, answer, measure, tmp_path, monkeypatch):
    run = make(tmp_path, cases=16)
    monkeypatch.setattr("medcli.evaluation.evaluate.select_cases", with_groups(run))

    def bad_in_b(case, image):
        right = answer(case, image)
        if case.groups["site"] == "A":
            return right
        if right.boxes is not None:
            return Prediction(boxes=Boxes.empty())
        return Prediction(labels=np.zeros_like(right.labels))

    settings = run.config.evaluate.model_copy(update={"group_patients": 2})
    result = evaluate(run, split="all", predictor=runs.Answers(bad_in_b), settings=settings)
    a, b = result.groups["groups"]
    assert (a["patients"], b["patients"], a["prevalence"]) == (4, 4, None)
    assert (a["measures"][measure]["value"], b["measures"][measure]["value"]) == (pytest.approx(1), 0)
    (gap,) = result.groups["gaps"]
    assert (gap["worst"], gap["best"], gap["value"]) == ("B", "A", pytest.approx(1))
    # Eight patients, four of them bad: of 70 ways to choose four, two give this gap.
    assert gap["p"] == pytest.approx(2 / 70, abs=0.015)
    assert (result.folder / "groups_site.png").is_file()
    support = json.loads((result.folder / "metrics.json").read_text())["support"]
    assert support[measure] == {"cases": 16, "patients": 8, "prevalence": None}


# ---- without files


def sample_of(ill, risk):
    ill, risk = np.asarray(ill, bool), np.asarray(risk, float)
    probabilities = np.column_stack([1 - risk, risk])
    truth = np.column_stack([~ill, ill])
    return classification_sample(truth, probabilities, probabilities > 0.5, multi_label=False, positive=-1)


def test_groups_without_both_classes_have_no_numbers():
    ill = np.arange(80) % 2 == 0
    ill[:20] = [True] * 3 + [False] * 17
    sites = [{"site": "ABCD"[number // 20]} for number in range(80)]
    random = np.random.default_rng(0)
    found = measure_groups(sample_of(ill, random.random(80)), sites, list(map(str, range(80))), fewest=10)
    assert found.groups[0].too_few == "too few: 3 patients with the class and 17 without, of at least 5"
    assert not any(group.too_few for group in found.groups[1:])
    assert math.isnan(found.flat["auroc/site=A"]) and math.isfinite(found.flat["auroc/site=B"])
    assert "A" not in {gap.worst for gap in found.gaps} | {gap.best for gap in found.gaps}


def test_images_of_one_patient_are_one_patient():
    ill = np.arange(60) % 2 == 0
    found = measure_groups(
        sample_of(ill, np.random.default_rng(0).random(60)),
        [{"sex": "F" if number < 30 else "M"} for number in range(60)],
        ["same"] * 30 + [str(number) for number in range(30)],
        fewest=10,
    )
    assert found.groups[0].too_few == "too few: 1 of at least 10 patients" and found.groups[0].cases == 30
    assert all(math.isnan(gap.value) and not gap.beyond_chance for gap in found.gaps)
    assert found.warnings() == []


def test_file_names_are_safe_and_differ():
    assert file_name(["sex"]) == "groups_sex"
    names = {file_name(["a/b"]), file_name(["a b"]), file_name(["a_b"])}
    assert len(names) == 3 and all(re.fullmatch(r"groups_a_b(_\d+)?", name) for name in names)


def test_intervals_as_text():
    assert interval_text(0.9123, 0.85, 0.951) == "0.912 (0.85\u00a0to\u00a00.95)"
    assert interval_text(0.9, math.nan, math.nan) == "0.900"


def test_all_cases_stand_beside_their_groups(judged):
    whole = judged.groups["all"]
    assert (whole["cases"], whole["patients"]) == (240, 120)
    for name in ("auroc", "sensitivity", "mcc"):
        found = whole["measures"][name]
        assert found["value"] == pytest.approx(judged.measures[name])
        assert (found["low"], found["high"]) == pytest.approx(judged.intervals[name], abs=0.01)
    first = read_csv(judged.folder / "groups.csv")[0]
    assert (first["columns"], first["group"], first["cases"]) == ("all cases", "all", "240")
