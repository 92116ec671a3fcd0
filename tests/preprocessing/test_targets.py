"""The numbers to predict: read from a table, refused where they are none, spread alike over the parts, scaled."""

import json
from collections import Counter
from pathlib import Path

import nibabel
import numpy as np
import pytest
from PIL import Image as Pillow

from medcli.config.loading import from_dict
from medcli.errors import ConfigError, DataError
from medcli.files import read_csv
from medcli.io.cases import discover
from medcli.preprocessing.build import plan_only, preprocess
from medcli.preprocessing.folds import in_fold
from medcli.preprocessing.prepared import Prepared
from medcli.preprocessing.splits import Member, assign
from medcli.preprocessing.targets import FIFTHS, settle_target, spread, strata


def data(folder: Path, ages: list[str], *, volumes: bool = False, **more):
    """A table of pictures (or volumes) with these texts as ages, two of a patient."""
    folder.mkdir(parents=True, exist_ok=True)
    random = np.random.default_rng(0)
    rows = ["image,who,age,sex"]
    for number, age in enumerate(ages):
        name = f"im{number:02d}.{'nii.gz' if volumes else 'png'}"
        if volumes:
            array = random.normal(size=(6, 8, 5)).astype(np.float32)
            nibabel.save(nibabel.Nifti1Image(array, np.diag([1.0, 1.0, 2.0, 1.0])), folder / name)
        else:
            Pillow.fromarray(random.integers(0, 255, (9, 12), np.uint8)).save(folder / name)
        rows.append(f"{name},p{number // 2},{age},{'FM'[number % 2]}")
    (folder / "table.csv").write_text("\n".join(rows) + "\n")
    columns = {"target": "age", "patient": "who"} | more.pop("columns", {})
    settings = {"root": str(folder), "table": "table.csv", "columns": columns} | more.pop("data", {})
    task = {"task": "regression", "data": settings, "preprocess": {"workers": 1}} | more
    return from_dict(task, folder=folder, name="ages")


@pytest.mark.parametrize("volumes", [False, True])
def test_from_a_table_to_the_prepared_folder(tmp_path, volumes):
    ages = [f"{20 + 2.5 * number:g}" for number in range(24)]
    config = data(tmp_path / "data", ages, volumes=volumes)
    preprocess(config, tmp_path / "prepared")
    prepared = Prepared.open(tmp_path / "prepared")
    plan = prepared.plan
    assert [record.target for record in prepared.records] == [float(age) for age in ages]
    assert (plan.task, plan.classes, plan.dimensions) == ("regression", ["age"], 3 if volumes else 2)
    training = [record.target for record in prepared.split("train")]
    assert (plan.target.mean, plan.target.sd) == pytest.approx((np.mean(training), np.std(training)))
    assert (plan.target.low, plan.target.high, plan.target.cases) == (
        min(training),
        max(training),
        len(training),
    )
    assert "standard deviation" in plan.reasons["target"] and FIFTHS in plan.reasons["split"]
    numbers = json.loads((tmp_path / "prepared" / "fingerprint.json").read_text())
    assert numbers["target"]["n"] == 24 and numbers["target"]["max"] == 77.5 and numbers["classes"] == {}
    parts = {}
    for record in prepared.records:
        parts.setdefault(record.patient, set()).add(record.split)
    assert all(len(found) == 1 for found in parts.values()), "patients are not torn"
    assert "age, mean" in (tmp_path / "prepared" / "report.html").read_text()
    again = preprocess(config, tmp_path / "prepared")
    assert again.reused == 24, "nothing is done twice"


def test_what_is_no_number_is_left_out_and_told_without_its_text(tmp_path):
    ages = ["31", "", "NaN", "about 40", '"52,5"', "inf", "64", "70.5", "1e1", "-3"]
    config = data(tmp_path / "data", ages)
    found = discover(config)
    assert [case.target for case in found.cases] == [31, 64, 70.5, 10, -3]
    reasons = {problem.file: problem.reason for problem in found.problems}
    assert reasons["im01.png"] == "table.csv, line 3: it has no target: the column age is empty."
    assert reasons["im02.png"].endswith("the column age is empty.")
    for file in ("im03.png", "im04.png", "im05.png"):
        assert reasons[file].endswith("expected to hold a number (1.5, with a point), found other text.")
    assert not any("40" in reason or "52" in reason for reason in reasons.values())
    preprocess(config, tmp_path / "prepared")
    rows = read_csv(tmp_path / "prepared" / "problems.csv")
    assert sum(row["left_out"] == "yes" for row in rows) == 5


@pytest.mark.parametrize(
    ("ages", "settings", "error", "message"),
    [
        (["5"] * 8, {}, DataError, "all 8 cases have the same number in the column age"),
        (["old"] * 8, {}, DataError, r"no usable cases.*8 were left out: table\.csv, line 2: the column age is"),
        (["1", "2"] * 4, {"columns": {"target": "Age"}}, ConfigError, r"no column 'Age'; it has image, who, age"),
        (["1", "2"] * 4, {"columns": {"target": None}}, ConfigError, "expected the column of data.table with the"),
        (["1", "2"] * 4, {"data": {"clinical": ["age"]}}, ConfigError, "the number that is to be predicted"),
        (["1", "2"] * 4, {"data": {"classes": ["a"]}}, ConfigError, "is for classes, not for regression"),
        (["1", "2"] * 4, {"columns": {"label": "sex"}}, ConfigError, "name data.columns.target instead"),
        (["1", "2"] * 4, {"train": {"mix": "cutmix"}}, ConfigError, "does not suit|does not move the number"),
        (["1", "2"] * 4, {"train": {"sampling": "balanced"}}, ConfigError, "numbers have no classes"),
        (["1", "2"] * 4, {"train": {"loss": "focal"}}, ConfigError, "`huber` or `mae` or `mse` for regression"),
        (["1", "2"] * 4, {"task": "classification"}, ConfigError, "is for regression, not for classification"),
    ],
)  # fmt: skip
def test_wrong_input_is_told_in_one_sentence(tmp_path, ages, settings, error, message):
    with pytest.raises(error, match=message):
        discover(data(tmp_path / "data", ages, **settings))


def test_mixup_may_stay_and_codes_are_told(tmp_path):
    config = data(tmp_path / "data", ["1", "2", "3"] * 8, train={"mix": "mixup", "loss": "mae"})
    assert any("holds only 3 different numbers" in problem.reason for problem in discover(config).problems)
    assert plan_only(config, tmp_path / "prepared").target.high == 3


def test_parts_and_folds_are_alike_in_their_numbers(tmp_path):
    random = np.random.default_rng(3)
    values = random.gamma(2.0, 12.0, 120).tolist()
    fifth = strata(values)
    assert Counter(fifth) == {f"fifth {number}": 24 for number in range(1, 6)}
    members = [Member(f"c{n:03d}", f"p{n}", f"p{n}", one, strata_of=FIFTHS) for n, one in enumerate(fifth)]
    settings = data(tmp_path / "data", ["1", "2"]).data.split
    found = assign(members, settings, 0)
    inside = Counter(one for n, one in enumerate(fifth) if found.split[f"c{n:03d}"] == "val")
    assert all(4 <= inside[one] <= 6 for one in inside) and len(inside) == 5

    config = data(tmp_path / "data", [f"{20 + number}" for number in range(40)])
    preprocess(config, tmp_path / "prepared")
    folds = settings.model_copy(update={"folds": 4, "fold": 1})
    placed = in_fold(Prepared.open(tmp_path / "prepared"), folds, 0)
    assert FIFTHS in placed.plan.reasons["split"]
    for number in range(4):
        mean = np.mean([record.target for record in placed.records if record.fold == number])
        assert 34 < mean < 45


def test_spread_and_scale_by_hand():
    assert spread([]) == {}
    assert spread([1.0, 3.0]) == pytest.approx(
        {"n": 2, "mean": 2, "sd": 1, "min": 1, "p10": 1.2, "median": 2, "p90": 2.8, "max": 3}
    )
    with pytest.raises(DataError, match="All training cases have the same number in the column age"):
        settle_target("age", [4.0, 4.0])
