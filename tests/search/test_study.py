"""Searching with tiny trials: what is kept, resumed, stopped and said."""

import signal
from dataclasses import replace

import pytest

from medcli.config.loading import load_config, save_config
from medcli.errors import RunError, UsageError
from medcli.files import read_csv
from medcli.search.space import Choice, Range
from medcli.search.trials import Found, Trial
from tests.made_up import prepared_folder

pytest.importorskip("tensorflow")
pytest.importorskip("optuna", reason="an extra: pip install 'medcli[search]'")

from medcli.search import study as module
from medcli.search.study import own_values, search
from medcli.training import Stopped
from medcli.training.result import Result

SPACE = {"train.learning_rate": Range(1e-3, 1e-2, log=True), "model.dropout": Choice((0.2, 0.4))}


@pytest.fixture
def job(tmp_path):
    config = prepared_folder(
        tmp_path / "prepared", "classification", seed=1, model={"name": "cnn", "width": 4, "stages": 2},
        train={"epochs": 1, "steps_per_epoch": 1, "batch_size": 4, "mixed_precision": "float32"},
    )  # fmt: skip
    save_config(config, tmp_path / "job.yaml")
    return tmp_path / "job.yaml"


def searched(job, **more):
    options = {"prepared_folder": job.parent / "prepared", "minutes": 60, "most": 2} | more
    return search(job, [], SPACE, job.parent / "out", **options)


@pytest.fixture
def pretended(monkeypatch):
    """Trainings in no time; the measure is 0.5 + dropout, told at ten epochs."""
    trained = []

    def train(config, prepared, run, *, force, on_event):
        trained.append(config)
        value = 0.5 + config.model.dropout
        for epoch in range(1, 11):
            on_event({"event": "epoch", "epoch": epoch, "epochs": 10, "seconds": 0.0, "val_auroc": value})
        return Result(run, 10, {"epoch": 1, "val_auroc": value}, 1.0)

    monkeypatch.setattr(module, "train", train)
    return trained


def test_two_real_trials(job):
    found = searched(job)
    out = job.parent / "out"
    assert [one.number for one in found.trials] == [0, 1]
    rows = read_csv(out / "trials.csv")
    assert rows[0]["train.learning_rate"] == "0.001" and rows[0]["model.dropout"] == "0.0", (
        "the config as it is"
    )
    assert (out / "search.png").is_file()
    assert not list(out.glob("trials/*/model.keras")) and list(out.glob("trials/*/history.csv"))
    best = load_config(out / "best.yaml")
    assert best.model.dropout == found.best.settings["model.dropout"] and best.name == "job_best"
    assert best.train.epochs == 1 and best.train.max_minutes is None, "the rest is as it was"
    assert best.run.name == "run_best" and best.prepared == job.parent / "prepared"


def test_the_best_is_written_and_a_search_goes_on(job, pretended):
    found = searched(job, most=3)
    assert found.best.value == 0.5 + found.best.settings["model.dropout"] > 0.5
    assert load_config(job.parent / "out" / "best.yaml").model.dropout == found.best.settings["model.dropout"]
    assert found.validation_cases == 3
    assert "best of 3 trials was chosen on 3 validation cases, which makes its auroc of 0." in found.notes[0]
    assert found.notes[1] == "The config as it is reached 0.5000 in the same time (10 epochs; the best 10)."
    with pytest.raises(UsageError, match="holds a search already; continue it with --resume"):
        searched(job)
    more = searched(job, most=5, resume=True)
    assert len(more.trials) == 5 and more.trials[:3] == found.trials
    assert len(pretended) == 5
    assert searched(job, most=1, force=True).best.number == 0


def test_the_time_is_kept(job, pretended, monkeypatch):
    """Every trial takes a minute; the time of three is there."""
    seconds = iter(range(0, 100_000, 60))
    monkeypatch.setattr(module, "clock", lambda: next(seconds))
    found = searched(job, minutes=3, trial_minutes=1, most=None)
    assert len(found.trials) == 3 and found.minutes == 3
    assert {config.train.max_minutes for config in pretended} == {1}
    assert len(searched(job, minutes=5, trial_minutes=1, most=None, resume=True).trials) == 5


def test_what_falls_behind_is_stopped_early(job, monkeypatch):
    """The first four are good, so the bad one after them does not get beyond its first rung."""
    seen = []

    def train(config, prepared, run, *, force, on_event):
        value = 0.9 if len(seen) < 4 else 0.5
        seen.append(0)
        for epoch in range(1, 11):
            seen[-1] = epoch
            on_event({"event": "epoch", "epoch": epoch, "epochs": 10, "seconds": 0.0, "val_auroc": value})

    monkeypatch.setattr(module, "train", train)
    found = searched(job, most=5)
    assert found.trials[4].state == "stopped early" and found.trials[4].value == 0.5 and seen[4] == 2
    assert found.best.state == "complete"


def test_a_trial_that_fails_is_told_and_the_search_goes_on(job, pretended, monkeypatch):
    good = module.train

    def fragile(config, *arguments, **options):
        if config.model.dropout == 0.0:
            raise RunError("the loss is not a number")
        return good(config, *arguments, **options)

    monkeypatch.setattr(module, "train", fragile)
    found = searched(job)
    assert [(one.state, one.reason) for one in found.trials] == [
        ("failed", "the loss is not a number"),
        ("complete", ""),
    ]
    with pytest.raises(RunError, match="no trial was finished; the first failed: the loss is not a number"):
        searched(job, most=1, force=True)


def test_an_interrupted_trial_is_tried_again(job, pretended, monkeypatch):
    good = module.train

    def stopped(*arguments, **options):
        raise Stopped("stopped", signal.SIGTERM)

    monkeypatch.setattr(module, "train", stopped)
    with pytest.raises(Stopped):
        searched(job)
    monkeypatch.setattr(module, "train", good)
    found = searched(job, resume=True)
    assert [one.state for one in found.trials] == ["interrupted", "complete", "complete"]
    assert found.trials[1].settings == found.trials[0].settings


def test_another_space_or_config_is_not_continued(job, pretended):
    searched(job, most=1)
    with pytest.raises(UsageError, match="started with another space"):
        search(
            job, [], {"model.dropout": Choice((0.1,))}, job.parent / "out", prepared_folder=job.parent / "prepared",
            minutes=1, resume=True,
        )  # fmt: skip
    with pytest.raises(RunError, match=r"started with other settings \(train.ema\)"):
        search(
            job, ["train.ema=0.5"], SPACE, job.parent / "out", prepared_folder=job.parent / "prepared", minutes=1,
            resume=True,
        )  # fmt: skip


def test_other_files_are_kept(job, pretended):
    (job.parent / "out").mkdir()
    (job.parent / "out" / "letter.txt").write_text("dear")
    with pytest.raises(UsageError, match="found other files"):
        searched(job, force=True)


def test_own_values_decide_auto(job):
    config = load_config(job)
    assert own_values(config, SPACE) == {"train.learning_rate": 1e-3, "model.dropout": 0.0}


def test_without_the_library(job, monkeypatch):
    monkeypatch.setitem(__import__("sys").modules, "optuna", None)
    with pytest.raises(UsageError, match=r"pip install 'medcli\[search\]'"):
        searched(job)


def test_notes_when_the_own_config_wins():
    trial = Trial(0, "complete", 0.8, {}, 1.0, epochs=30)
    found = Found(None, "dice", [trial, replace(trial, number=1, value=0.7)], ["a"], 9, {})
    assert (
        found.notes[1] == "The config as it is was the best; nothing is gained by the others."
        and len(found.notes) == 2
    )


def test_notes_when_trials_were_too_short():
    trials = [Trial(number, "complete", 0.8, {}, 1.0, epochs=3 + number) for number in range(2)]
    assert "Some trials had time for 3 epochs only" in Found(None, "dice", trials, ["a"], 9, {}).notes[2]
