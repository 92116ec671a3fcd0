"""Folds and ensembles with the commands alone, on few made-up images; the baseline, as it trains in no time."""

import csv
import json

import pytest

SMALL = (
    "--set", "preprocess.size=[16, 16]", "--set", "preprocess.workers=1", "--set", "model.name=features",
    "--set", "features.families=[intensity]", "--set", "data.split.test=0.2",
)  # fmt: skip
QUICK = ("--set", "evaluate.robustness=off", "--set", "evaluate.pictures=0")


@pytest.fixture(scope="module")
def folder(tmp_path_factory):
    return tmp_path_factory.mktemp("folds")


def rows(path):
    with open(path, newline="") as stream:
        return list(csv.DictReader(stream))


def test_folds_from_training_to_prediction(medcli, folder):
    data, run = folder / "data", folder / "data" / "runs" / "chest"
    config = data / "config.yaml"
    assert medcli("sample", "classification", data, "--cases", 16)[0] == 0
    assert medcli("preprocess", config, *SMALL)[0] == 0

    code, _, err = medcli("train", config, *SMALL, "--fold", 1)
    assert code == 2 and "expected --folds K beside it" in err
    code, out, _ = medcli("train", config, *SMALL, "--folds", 2, "--dry-run", "--json")
    assert code == 0 and json.loads(out)["folds"] == 2 and not run.exists()

    code, out, _ = medcli("train", config, *SMALL, "--folds", 2, "--fold", 1)
    assert code == 0 and "Not trained yet, of 2 folds: 0." in out
    code, _, err = medcli("evaluate", run)
    assert code == 1 and "not all folds are trained yet" in err
    code, out, err = medcli("train", config, *SMALL, "--folds", 2, "--resume", "--json")
    found = json.loads(out)
    assert (code, err, found["skipped"], found["missing"]) == (0, "", [1], [])
    manifest = {row["case"]: row for row in rows(run / "manifest.csv")}
    kept = rows(run / "out_of_fold" / "predictions.csv")
    assert {row["case"] for row in kept} == {name for name, row in manifest.items() if row["split"] == "val"}

    code, out, err = medcli("evaluate", run, *QUICK, "--json")
    found = json.loads(out)
    assert (code, err) == (0, "") and found["folder"].endswith("test")
    assert found["out_of_fold"]["cases"] == len(kept) and found["cases"] == len(manifest) - len(kept)
    stored = {row["case"]: row for row in rows(run / "evaluate" / "out_of_fold" / "cases.csv")}
    for row in kept:
        assert float(stored[row["case"]]["p:opacity"]) == pytest.approx(float(row["opacity"]), abs=1e-6)
    metrics = json.loads((run / "evaluate" / "out_of_fold" / "metrics.json").read_text())
    assert [one["fold"] for one in metrics["folds"]["folds"]] == [0, 1]

    code, _, err = medcli("explain", run, "--out", folder / "why")
    assert code == 2 and "maps do not add up to one" in err
    assert medcli("predict", run, data / "images", "--out", folder / "predictions")[0] == 0
    assert len(rows(folder / "predictions" / "predictions.csv")) == 16


def test_an_ensemble_of_runs(medcli, folder):
    """The two folds again, as any two runs: with too few patients to calibrate by, they say what the folds said."""
    run, both = folder / "data" / "runs" / "chest", folder / "both"
    code, out, err = medcli("ensemble", run / "fold_0", run / "fold_1", "--out", both, "--json")
    assert (code, err, json.loads(out)["members"]) == (0, "", 2)
    code, _, err = medcli("ensemble", run, "--out", both)
    assert code == 2 and "is there already" in err
    assert medcli("predict", both, folder / "data" / "images", "--out", folder / "again")[0] == 0
    assert rows(folder / "again" / "predictions.csv") == rows(folder / "predictions" / "predictions.csv")
