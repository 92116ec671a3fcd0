"""The folds of a cross-validation: trained, resumed, shared between machines, and put together."""

import os
import shutil
import signal

import numpy as np
import pytest

from medcli.calibration import Validation
from medcli.config.loading import load_config
from medcli.errors import DataError, RunError, UsageError
from medcli.files import read_csv
from medcli.run import Run
from tests.made_up import prepared_folder

pytest.importorskip("tensorflow")

from medcli.ensemble import folds as module
from medcli.ensemble.folds import train_folds
from medcli.training import Stopped
from medcli.training.result import Result

SETTINGS = {
    "seed": 3,
    "deterministic": True,
    "model": {"name": "cnn", "width": 4, "stages": 2},
    "data": {"split": {"folds": 2}},
    "train": {
        "epochs": 2, "steps_per_epoch": 2, "batch_size": 4, "mixed_precision": "float32", "tensorboard": False,
        "max_minutes": 30,
    },
}  # fmt: skip


@pytest.fixture(scope="module")
def trained(tmp_path_factory):
    folder = tmp_path_factory.mktemp("trained")
    config = prepared_folder(folder / "prepared", "classification", **SETTINGS)
    events = []
    found = train_folds(config, folder / "prepared", folder / "run", on_event=events.append)
    return folder, config, found, events


def weights(run):
    with np.load(sorted((run / "checkpoints").glob("step-*.npz"))[-1]) as content:
        return [content[name] for name in sorted(content.files) if name != "state"]


def same(a, b):
    return all(np.array_equal(x, y) for x, y in zip(weights(a), weights(b), strict=True))


def test_every_fold_is_a_run_and_together_they_are_one(trained):
    folder, _, found, events = trained
    assert (found.complete, found.skipped, found.missing, found.failed) == (True, [], [], {})
    run = Run.open(folder / "run")
    assert run.folds and [member.folder.name for member in run.members] == ["fold_0", "fold_1"]
    assert {record.split for record in run.records} == {"val"}
    for record in run.records:
        assert run.unseen_by(record.case) == (record.fold,)
    assert {event["fold"] for event in events} == {0, 1} and {event["folds"] for event in events} == {2}
    rows = read_csv(folder / "run" / "folds.csv")
    assert [(row["fold"], row["training_cases"], row["validation_cases"]) for row in rows] == [
        (str(number), "6", "6") for number in range(2)
    ]
    values = [result.best["val_auroc"] for result in found.results.values()]
    assert found.spread["val_auroc"]["mean"] == pytest.approx(np.mean(values))
    assert found.spread["val_auroc"]["sd"] == pytest.approx(np.std(values, ddof=1))


def test_the_folds_share_the_time(trained):
    folder, *_ = trained
    assert load_config(folder / "run" / "fold_1" / "config.yaml").train.max_minutes == 15
    assert load_config(folder / "run" / "config.yaml").train.max_minutes == 30


def test_what_is_learned_for_use_comes_from_every_case_out_of_fold(trained):
    folder, *_ = trained
    whole = Validation.load(folder / "run", ["small", "large"])
    parts = [Validation.load(folder / "run" / f"fold_{number}", ["small", "large"]) for number in range(2)]
    assert whole.cases == [case for part in parts for case in part.cases] and len(set(whole.cases)) == 12
    np.testing.assert_array_equal(whole.probabilities, np.concatenate([part.probabilities for part in parts]))


def test_a_fold_by_itself_is_the_same_to_the_bit_and_the_last_one_puts_them_together(trained, tmp_path):
    folder, config, *_ = trained
    found = train_folds(config, folder / "prepared", tmp_path / "run", only=1)
    assert found.missing == [0] and not found.complete and not (tmp_path / "run" / "ensemble.json").exists()
    assert same(tmp_path / "run" / "fold_1", folder / "run" / "fold_1"), "alone as after another"
    with pytest.raises(RunError, match="not all folds are trained yet"):
        Run.open(tmp_path / "run")
    shutil.copytree(folder / "run" / "fold_0", tmp_path / "run" / "fold_0")  # from another machine
    found = train_folds(config, folder / "prepared", tmp_path / "run", only=1, resume=True)
    assert found.complete and found.skipped == [1] and len(Run.open(tmp_path / "run").members) == 2


def test_stopped_in_the_second_fold_and_resumed(trained, tmp_path):
    folder, config, *_ = trained
    run = tmp_path / "run"
    shutil.copytree(folder / "run" / "fold_0", run / "fold_0")
    first = (run / "fold_0" / "model.keras").stat().st_mtime_ns

    def interrupt(event):
        if event["fold"] == 1 and event["event"] == "step":
            os.kill(os.getpid(), signal.SIGTERM)

    with pytest.raises(UsageError, match="holds fold_0 already; --resume skips what is finished"):
        train_folds(config, folder / "prepared", run)
    with pytest.raises(Stopped):
        train_folds(config, folder / "prepared", run, resume=True, on_event=interrupt)
    assert Result.load(run / "fold_0") and not Result.load(run / "fold_1")
    found = train_folds(config, folder / "prepared", run, resume=True)
    assert found.skipped == [0] and found.complete
    assert (run / "fold_0" / "model.keras").stat().st_mtime_ns == first
    assert same(run / "fold_1", folder / "run" / "fold_1")


def test_a_fold_that_fails_does_not_stop_the_others(trained, tmp_path, monkeypatch):
    folder, config, *_ = trained

    def fragile(config, prepared, run, **options):
        if run.name == "fold_1":
            raise RunError("the loss is not a number")
        run.mkdir(parents=True)
        Result(run, 1, {"epoch": 1}, 1.0).save()

    monkeypatch.setattr(module, "train", fragile)
    found = train_folds(config, folder / "prepared", tmp_path / "run")
    assert found.failed == {1: "the loss is not a number"} and sorted(found.results) == [0]
    assert not found.complete and not (tmp_path / "run" / "ensemble.json").exists()


def test_what_is_wrong_for_all_is_told_once(trained, tmp_path):
    folder, config, *_ = trained
    other = config.model_copy(update={"preprocess": config.preprocess.model_copy(update={"color": "rgb"})})
    with pytest.raises(RunError, match=r"prepared with other settings \(preprocess.color\)"):
        train_folds(other, folder / "prepared", tmp_path / "run")
    split = config.data.split.model_copy(update={"folds": 9})
    many = config.model_copy(update={"data": config.data.model_copy(update={"split": split})})
    with pytest.raises(DataError, match="at most as many folds as patients"):
        train_folds(many, folder / "prepared", tmp_path / "run")
    assert not (tmp_path / "run").exists()


def test_a_run_of_another_kind_is_kept(trained, tmp_path):
    folder, config, *_ = trained
    (tmp_path / "run").mkdir()
    (tmp_path / "run" / "config.yaml").write_text("task: classification")
    with pytest.raises(UsageError, match="holds a run that is no fold"):
        train_folds(config, folder / "prepared", tmp_path / "run", force=True)
