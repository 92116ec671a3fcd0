"""`medcli search` before anything is trained."""

import json
import sys

from tests.made_up import prepared_folder


def job(tmp_path):
    from medcli.config.loading import save_config

    save_config(prepared_folder(tmp_path / "prepared", "segmentation"), tmp_path / "job.yaml")
    return tmp_path / "job.yaml"


def test_what_would_be_searched(medcli, tmp_path):
    code, out, err = medcli("search", job(tmp_path), "--minutes", 5, "--dry-run", "--json")
    found = json.loads(out)
    assert (code, err) == (0, "")
    assert (
        found["train.learning_rate"] == "0.0002 to 0.01, log"
        and found["train.foreground"] == "0.33, 0.5, 0.75"
    )
    assert found["would write"] == str(tmp_path / "run_search") and not (tmp_path / "run_search").exists()


def test_a_fault_in_the_space(medcli, tmp_path):
    (tmp_path / "space.yaml").write_text("train.augment: [light, stronk]\n")
    code, _, err = medcli("search", job(tmp_path), "--minutes", 5, "--space", tmp_path / "space.yaml")
    assert code == 2 and "space.yaml:1: train.augment: the config does not take stronk" in err


def test_without_optuna(medcli, tmp_path, monkeypatch):
    monkeypatch.setitem(sys.modules, "optuna", None)
    code, _, err = medcli("search", job(tmp_path), "--minutes", 5)
    assert code == 2 and "pip install 'medcli[search]'" in err
