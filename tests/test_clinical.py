"""Clinical columns: from text to numbers, and beside images the whole way."""

import json
from pathlib import Path

import numpy as np
import pytest

from medcli.case import Case
from medcli.clinical import ClinicalColumn, encode, settle, stamp
from medcli.config.loading import from_dict
from medcli.errors import ConfigError, DataError
from medcli.files import read_csv
from medcli.io.cases import discover
from medcli.io.writers import write_picture
from medcli.preprocessing.build import preprocess
from medcli.preprocessing.checks import telling_columns
from medcli.preprocessing.plan import load_plan
from medcli.preprocessing.prepared import Prepared, read_manifest

ROWS = [
    {"age": "40", "sex": "F", "site": "a"},
    {"age": "60", "sex": "M", "site": "b"},
    {"age": "", "sex": "F", "site": "a"},
    {"age": "80", "sex": "M", "site": "c"},
]


def test_columns_are_settled_by_their_values():
    age, sex, site = settle(["age", "sex", "site"], ROWS)
    # 40, 60, 80: mean 60, sd root of 800 / 3
    assert (age.kind, age.mean, age.missing) == ("numeric", 60.0, True)
    assert age.sd == pytest.approx(np.std([40, 60, 80]), abs=1e-6)
    assert (sex.kind, sex.levels, sex.missing) == ("categorical", ["F", "M"], False)
    assert encode(ROWS[0], [age, sex, site]) == pytest.approx(
        [(40 - 60) / age.sd, 0, 1, 0, 1, 0, 0], abs=1e-6
    )
    assert encode(ROWS[2], [age, sex]).tolist() == [0, 1, 1, 0]
    (graded,) = settle({"age": "categorical"}, ROWS)
    assert (graded.levels, graded.missing) == (["40", "60", "80"], True)


def test_values_that_training_did_not_show():
    age, sex = settle(["age", "sex"], ROWS)
    assert age.encode("NaN") == [0, 1] and age.encode("1e9") == [4, 0]
    assert sex.encode("X") == [0, 0] == sex.encode("")  # nothing was missing, so nothing was learned of it
    (site,) = settle(["site"], [*ROWS, {"site": "?"}])
    assert site.encode("z") == site.encode("") == [0, 0, 0, 1]
    with pytest.raises(DataError, match="'age' is expected to hold numbers"):
        age.encode("67y")


@pytest.mark.parametrize(
    "wanted, rows, said",
    [
        (["age"], [{"age": ""}, {"age": "NA"}], "'age' is empty for every training case"),
        ({"sex": "numeric"}, ROWS, "'sex' is expected to hold numbers, 4 of 4"),
        (["id"], [{"id": f"x{number}"} for number in range(60)], "'id' has 60 different values"),
    ],
)
def test_columns_that_cannot_be_used(wanted, rows, said):
    with pytest.raises(ConfigError, match=said):
        settle(wanted, rows)


def test_a_stamp_is_the_same_everywhere():
    columns = [ClinicalColumn(name="age", kind="numeric", mean=50, sd=10)]
    stamped = stamp(np.zeros((2, 3, 1), np.float32), {"age": "65"}, columns)
    assert stamped.shape == (2, 3, 2) and stamped.dtype == np.float32
    assert (stamped[..., 1] == 1.5).all() and (stamped[..., 0] == 0).all()


def test_a_column_that_tells_the_class_is_told():
    def cases(**columns):
        rows = [dict(zip(columns, cells, strict=True)) for cells in zip(*columns.values(), strict=True)]
        kinds = [("ill" if row % 2 == 0 else "well",) for row in range(len(rows))]
        return [
            Case(name=str(row), images=(), classes=kinds[row], clinical=cells)
            for row, cells in enumerate(rows)
        ]

    random = np.random.default_rng(0)
    diagnosis = [("melanoma" if row % 4 else "other") if row % 2 == 0 else "nevus" for row in range(60)]
    grade = [str(random.normal(1.5 * (row % 2 == 0))) for row in range(60)]
    marker = [f"{random.normal(50 * (row % 2 == 0)):.3f}" for row in range(60)]
    names = [f"n{row}" for row in range(60)]
    told = telling_columns(cases(diagnosis=diagnosis, grade=grade, marker=marker, names=names))
    assert [problem.reason.split("'")[1] for problem in told] == ["diagnosis", "marker"]
    assert not any(problem.left_out for problem in told)
    assert "'diagnosis' all but tells the class by itself (right for 100 %" in told[0].reason
    assert telling_columns(cases(sex=["F", "F", "M"] * 20)) == []


# ---- the whole way


def job(folder: Path, **changes):
    settings = {
        "task": "classification",
        "name": "clinical",
        "data": {
            "root": str(folder), "table": "table.csv",
            "columns": {"image": "image", "label": "ill", "patient": "who"},
            "classes": ["no", "yes"], "clinical": ["age", "sex"], "split": {"val": 0.4},
        },
        "model": {"name": "cnn", "width": 4, "stages": 1},
        "train": {
            "epochs": 12, "batch_size": 10, "learning_rate": 0.01, "validate_every": 4, "mix": "both",
            "mixed_precision": "float32", "augment": "light", "tensorboard": False,
        },
        "evaluate": {"robustness": "off", "explained": 0},
    }  # fmt: skip
    for section, values in changes.items():
        settings[section] = settings[section] | values
    return from_dict(settings)


@pytest.fixture(scope="module")
def folder(tmp_path_factory):
    """Pictures of noise; who is old is ill, and for some the age is not known."""
    folder, random = tmp_path_factory.mktemp("clinical"), np.random.default_rng(0)
    lines = ["image,ill,who,age,sex"]
    for number in range(100):
        write_picture(folder / f"c{number:02d}.png", random.integers(0, 255, (10, 12)).astype(np.uint8))
        age = random.uniform(20, 90)
        ill = "yes" if age + random.normal(0, 5) > 55 else "no"
        lines.append(
            f"c{number:02d}.png,{ill},p{number},{'' if number % 10 == 0 else f'{age:.0f}'},{'FM'[number % 2]}"
        )
    (folder / "table.csv").write_text("\n".join(lines) + "\n")
    preprocess(job(folder), folder / "prepared")
    return folder


@pytest.mark.parametrize(
    "name, said",
    [
        ("ill", r"'ill' of table\.csv holds the label, which is to be predicted"),
        ("who", "holds the patient"),
        ("image", "holds the image's path"),
        ("height", r"table\.csv has no column 'height'; it has image, ill, who, age, sex"),
    ],
)
def test_columns_that_tell_the_answer_are_refused(folder, name, said):
    with pytest.raises(ConfigError, match=said):
        discover(job(folder, data={"clinical": ["age", name]}))


def test_settings_that_do_not_go_together(folder):
    for changes, said in [
        (
            {"data": {"clinical": []}, "model": {"inputs": "table"}},
            "model.inputs: expected both without data.clinical",
        ),
        ({"model": {"name": "features"}}, "model.inputs: expected `image` with `model.name: features`"),
    ]:
        with pytest.raises(ConfigError, match=said):
            job(folder, **changes)


def test_the_prepared_folder_keeps_scale_and_levels(folder):
    plan = load_plan(folder / "prepared" / "plan.yaml")
    records = read_manifest(folder / "prepared")
    train = [float(r.clinical["age"]) for r in records if r.split == "train" and r.clinical["age"]]
    age, sex = plan.clinical
    assert (age.mean, age.sd) == pytest.approx((np.mean(train), np.std(train)), abs=1e-5)
    assert sex.levels == ["F", "M"] and plan.input_channels == 1 + 2 + 2
    assert "age: number, mean" in plan.reasons["clinical"]
    prepared = Prepared.open(folder / "prepared")
    assert prepared.image(records[0]).shape[-1] == 5 and prepared.picture(records[0]).shape[-1] == 1


@pytest.fixture(scope="module")
def runs(folder):
    pytest.importorskip("tensorflow")
    from medcli.training import train

    for inputs in ("both", "image", "table"):
        train(job(folder, model={"inputs": inputs}), folder / "prepared", folder / inputs)
    return folder


def test_ablation(runs):
    from medcli.evaluation.compare import compare
    from medcli.evaluation.evaluate import evaluate

    found = {name: evaluate(runs / name).measures["auroc"] for name in ("both", "image", "table")}
    assert found["table"] > 0.85 and found["both"] > 0.75 and found["image"] < 0.75
    assert load_plan(runs / "image" / "plan.yaml").clinical == []
    assert compare(runs / "table", runs / "image").cases > 30


def test_predict_takes_the_columns_from_a_table(runs, tmp_path):
    from medcli.prediction.predict import predict

    table = tmp_path / "new.csv"
    picture = runs / "c01.png"
    table.write_text(f"case,image,Age,sex\nold,{picture},85,F\nyoung,{picture},25,F\nopen,{picture},,\n")
    predict(runs / "both", [table], tmp_path / "out")
    chances = {row["case"]: float(row["yes"]) for row in read_csv(tmp_path / "out" / "predictions.csv")}
    assert chances["old"] > chances["open"] > chances["young"]
    predict(runs / "image", [picture], tmp_path / "image_only")
    status = json.loads((tmp_path / "image_only" / "predict.json").read_text())
    assert status["run"] == "image"

    with pytest.raises(DataError, match="sees the columns age, sex beside the image; give a CSV or TSV"):
        predict(runs / "both", [picture], tmp_path / "none")
    table.write_text(f"image,sex\n{picture},F\n")
    with pytest.raises(DataError, match="sees the columns age, sex beside the image, age is not there"):
        predict(runs / "both", [table], tmp_path / "none")
    table.write_text(f"case,image,age,sex\na,{picture},seventy,F\nb,{picture},70,F\n")
    summary = predict(runs / "both", [table], tmp_path / "one_fails")
    assert "is expected to hold numbers" in summary.failed["a"] and summary.done == 1
