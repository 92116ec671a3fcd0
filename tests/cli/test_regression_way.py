"""Numbers from images with the commands alone, on made-up chests whose heart has a known width."""

import csv
import json

import pytest

SMALL = ("--set", "preprocess.size=[32, 30]", "--set", "preprocess.workers=1")
QUICK = (
    *SMALL,
    *("--set", "model.width=8"),
    *("--set", "model.stages=2"),
    *("--set", "train.epochs=20"),
    *("--set", "train.batch_size=8"),
    *("--set", "train.learning_rate=0.004"),
    *("--set", "train.augment=none"),
    *("--set", "train.validate_every=10"),
    *("--set", "train.tensorboard=false"),
)
PLAIN = ("--set", "evaluate.robustness=off", "--set", "evaluate.pictures=2")


@pytest.fixture(scope="module")
def folder(tmp_path_factory):
    return tmp_path_factory.mktemp("heart")


def rows(path):
    with open(path, newline="") as stream:
        return list(csv.DictReader(stream))


def test_the_whole_way(medcli, folder):
    data, run = folder / "data", folder / "network"
    config = data / "config.yaml"
    assert medcli("sample", "regression", data, "--cases", 60, "--seed", 1)[0] == 0
    code, out, err = medcli("plan", config, *SMALL, "--json")
    assert (code, err, json.loads(out)["target"]["name"]) == (0, "", "ctr")
    assert "standard deviation" in medcli("plan", config, *SMALL)[1]
    code, out, err = medcli("preprocess", config, *SMALL, "--json")
    assert (code, err, json.loads(out)["cases"]) == (0, "", 60)
    code, out, err = medcli("train", config, *QUICK, "--run", run, "--json")
    assert (code, err) == (0, "")

    gates = ("--gate", "skill>=0.3", "--gate", "mae<=6")
    code, out, err = medcli("evaluate", run, *PLAIN, *gates, "--json")
    assert (code, err) == (0, ""), err
    found = json.loads(out)["measures"]
    assert found["mae"] < 0.7 * found["mae_of_mean"] and found["pearson"] > 0.7
    code, _, err = medcli("evaluate", run, *PLAIN, "--force", "--gate", "mae<=0.001")
    assert code == 4 and "mae<=0.001" in err
    result = run / "evaluate" / "test"
    cases = rows(result / "cases.csv")
    assert {"truth", "predicted", "error"} <= set(cases[0])
    for case in cases:
        assert float(case["error"]) == pytest.approx(float(case["predicted"]) - float(case["truth"]))
    assert (result / "scatter.png").is_file() and (result / "bland_altman.png").is_file()
    page, card = (result / "report.html").read_text(), (result / "model_card.md").read_text()
    assert "Predicts a number from a picture: ctr." in page and "Error by size" in page
    assert "mean of ctr" in card and "with ctr" not in card
    assert "mae/site=A" in {
        f"{row['measure']}/{row['columns']}={row['group']}" for row in rows(result / "groups.csv")
    }

    code, out, err = medcli("predict", run, data / "images", "--out", folder / "said", "--json")
    assert (code, err) == (0, "")
    said = {row["case"]: float(row["predicted"]) for row in rows(folder / "said" / "predictions.csv")}
    true = {row["case"]: float(row["ctr"]) for row in rows(data / "table.csv")}
    assert said.keys() == true.keys() and all(15 < number < 75 for number in said.values())
    assert sum(abs(said[name] - true[name]) for name in true) / len(true) < 6
    assert list(rows(folder / "said" / "decisions.csv")[0]) == [
        "case",
        "refer",
        "p_unlike",
        "quality",
        "note",
    ]


def test_the_other_commands_work_or_refuse(medcli, folder):
    data, run = folder / "data", folder / "network"
    config = data / "config.yaml"
    ridge = ("--set", "model.name=features", "--set", "features.families=[intensity, edges]")
    code, _, err = medcli("train", config, *QUICK, *ridge, "--run", folder / "ridge")
    assert code == 0, err
    account = json.loads((folder / "ridge" / "fit.json").read_text())
    assert "alpha" in account["chosen"] and account["strongest"]["ctr"]
    assert medcli("evaluate", folder / "ridge", *PLAIN)[0] == 0
    code, out, err = medcli("compare", run, folder / "ridge", "--json")
    measures = [row["measure"] for row in json.loads(out)["measures"]]
    assert (code, err) == (0, "") and "mae" in measures and json.loads(out)["tests"][0]["test"] == "Wilcoxon"
    assert medcli("compare", run, folder / "ridge")[0] == 0

    code, out, err = medcli("report", run, "--set", "evaluate.group_patients=2", "--json")
    assert (code, err) == (0, "") and json.loads(out)["measures"]["mae"]
    why = ("--cases", 2, "--methods", "gradcam", "--out", folder / "why")
    code, out, err = medcli("explain", run, *why)
    assert code == 0, err
    (first, *_) = json.loads((folder / "why" / "explanations.json").read_text())["cases"]
    answer = first["answers"][0]
    assert answer["class"] == "ctr" and answer["probability"] is None and "the mean of" in answer["said"]
    assert "verdict" in answer["maps"][0] and (folder / "why" / "report.html").is_file()
    assert medcli("explain", folder / "ridge", *why, "--force")[0] == 1, "features have no map"

    code, out, err = medcli("audit", config, "--out", folder / "audit", "--json")
    assert code == 0, err
    assert any("ctr" in str(row) or "label" in str(row) for row in json.loads(out)["tables"]["shortcuts"])
    assert medcli("embed", run, "--out", folder / "map", "--map", "pca")[0] == 0

    code, _, err = medcli("train", config, *QUICK, "--set", "seed=2", "--run", folder / "second", "--smoke")
    assert code == 0, err
    assert medcli("ensemble", run, folder / "second", "--out", folder / "both")[0] == 0
    code, _, err = medcli("predict", folder / "both", data / "images", "--out", folder / "by_both")
    assert code == 0, err
    assert all(float(row["spread"]) >= 0 for row in rows(folder / "by_both" / "predictions.csv"))
    assert medcli("evaluate", folder / "both", *PLAIN)[0] == 0
