"""From nothing to predictions with the commands alone, as `make demo` does it, on few small images."""

import csv
import json

import pytest


@pytest.fixture(scope="module")
def folder(tmp_path_factory):
    return tmp_path_factory.mktemp("demo")


def test_the_whole_way(medcli, folder):
    data, run = folder / "data", folder / "data" / "runs" / "chest"
    config = data / "config.yaml"

    code, out, err = medcli("sample", "classification", data, "--cases", 24, "--json")
    assert (code, err, json.loads(out)["config"]) == (0, "", str(config))
    assert medcli("sample", "classification", data)[0] == 2, "a folder that is not empty is kept"

    code, out, err = medcli("preprocess", config, "--dry-run", "--json")
    assert (code, err, json.loads(out)["cases"]) == (0, "", 24)
    assert not (data / "prepared").exists()

    code, out, err = medcli("train", config)
    assert (code, out) == (1, "") and "run `medcli preprocess` first" in err

    code, out, err = medcli("plan", config, "--json")
    assert (code, err, json.loads(out)["size"]) == (0, "", [64, 60])
    assert json.loads(out)["reasons"]["size"] == "set in the config"

    small = ("--set", "preprocess.size=[32, 32]", "--set", "preprocess.workers=1")
    code, out, err = medcli("preprocess", config, *small, "--json")
    assert (code, err) == (0, "") and json.loads(out)["cases"] == 24

    cnn = (*small, "--set", "model.name=cnn", "--set", "model.width=4")
    code, out, err = medcli("train", config, *cnn, "--dry-run", "--json")
    assert (code, err, json.loads(out)["classes"]) == (0, "", ["clear", "opacity"])
    assert not run.exists()
    code, out, err = medcli("train", config, *cnn, "--smoke", "--json")
    assert (code, err) == (0, "") and (run / "model.keras").is_file()
    assert json.loads(out)["folder"] == str(run)
    code, _, err = medcli("train", config, *cnn, "--smoke")
    assert code == 2 and "--force" in err

    code, out, err = medcli("evaluate", run, "--split", "all", "--json", "--gate", "auroc<=1")
    assert (code, err) == (0, "") and "auroc" in json.loads(out)["measures"]
    quick = ("--set", "evaluate.robustness=off", "--force")
    code, out, err = medcli("evaluate", run, "--split", "all", "--json", "--gate", "auroc>1", *quick)
    assert code == 4 and "auroc>1" in err and "auroc" in json.loads(out)["measures"]

    structure = ("embed", run, "--out", folder / "structure", "--map", "pca", "--json")
    code, out, err = medcli(*structure)
    assert (code, err, json.loads(out)["cases"]) == (0, "", 24) and len(json.loads(out)["clusters"]) >= 1
    assert "with their labels" in json.loads(out)["notes"][0] and (folder / "structure" / "map.png").is_file()
    assert medcli(*structure)[0] == 2, "what is there is kept"
    assert medcli("embed", run, data / "images", "--out", folder / "x", "--split", "val")[0] == 2
    code, out, _ = medcli("embed", run, data / "images", "--out", folder / "x", "--dry-run", "--json")
    assert (code, json.loads(out)["cases"]) == (0, 24) and not (folder / "x").exists()

    (data / "images" / "broken.png").write_bytes(b"\x89PNG\r\n\x1a\n")
    code, out, err = medcli("predict", run, data / "images", "--out", folder / "predictions", "--json")
    assert code == 3 and "1 of 25 cases failed" in err and list(json.loads(out)["failed"]) == ["broken"]
    with open(folder / "predictions" / "predictions.csv", newline="") as stream:
        rows = list(csv.DictReader(stream))
    assert len(rows) == 24 and list(rows[0]) == ["case", "predicted", "clear", "opacity"]


def test_the_baseline_beside_it(medcli, folder):
    """Classic features on the same prepared images; then which of the two is better."""
    data = folder / "data"
    network, run = data / "runs" / "chest", folder / "baseline"
    features = ("--set", "model.name=features", "--set", "features.families=[intensity, glcm, edges]")
    small = ("--set", "preprocess.size=[32, 32]", "--set", "preprocess.workers=1", "--run", run)
    code, out, err = medcli("train", data / "config.yaml", *small, *features, "--json")
    assert (code, err) == (0, "") and json.loads(out)["epochs"] == 1 and (run / "fit.json").is_file()
    code, out, err = medcli("evaluate", run, "--split", "all", "--json")
    assert (code, err) == (0, "") and "auroc" in json.loads(out)["measures"]
    code, out, err = medcli("compare", network, run, "--json")
    assert (code, err) == (0, "") and "auroc" in out
    code, _, _ = medcli("predict", run, data / "images", "--out", folder / "by_features")
    assert code == 3, "the broken file is still there"
    with open(folder / "by_features" / "predictions.csv", newline="") as stream:
        assert len(list(csv.DictReader(stream))) == 24


def test_doctor(medcli):
    code, out, err = medcli("doctor", "--json")
    found = json.loads(out)
    assert (code, err) == (0, "")
    assert found["tensorflow"].startswith("2.21") and found["precision_reason"]
    code, out, _ = medcli("doctor")
    assert code == 0 and "precision" in out and found["precision"] in out
