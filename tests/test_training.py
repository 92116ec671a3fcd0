"""Training: what a run folder holds, exact resumption, refusals, several replicas."""

import os
import signal
import subprocess
import sys
from pathlib import Path

import numpy as np
import pytest
from ruamel.yaml import YAML

from medcli.errors import RunError, UsageError
from tests.made_up import prepared_folder

tf = pytest.importorskip("tensorflow")

from medcli.run import Run  # noqa: E402
from medcli.training import Stopped, train  # noqa: E402

SETTINGS = {
    "seed": 3,
    "deterministic": True,
    "model": {"name": "cnn", "width": 8},
    "train": {
        "epochs": 4,
        "steps_per_epoch": 5,
        "batch_size": 4,
        "validate_every": 1,
        "mixed_precision": "float32",
    },
}


@pytest.fixture(scope="module")
def undisturbed(tmp_path_factory):
    """A finished classification run and its weights."""
    folder = tmp_path_factory.mktemp("undisturbed")
    config = prepared_folder(folder / "prepared", "classification", **SETTINGS)
    result = train(config, folder / "prepared", folder / "run")
    return folder, config, result, weights(folder / "run")


def weights(run: Path) -> list[np.ndarray]:
    """All arrays of the last checkpoint: weights, optimiser, averages."""
    with np.load(sorted((run / "checkpoints").glob("step-*.npz"))[-1]) as content:
        return [content[name] for name in sorted(content.files) if name != "state"]


def same(a: list[np.ndarray], b: list[np.ndarray]) -> bool:
    return len(a) == len(b) and all(np.array_equal(x, y) for x, y in zip(a, b, strict=True))


def test_run_folder_holds_what_the_later_commands_need(undisturbed):
    folder, _, result, _ = undisturbed
    names = {path.name for path in (folder / "run").iterdir()}
    assert names >= {
        "config.yaml", "plan.yaml", "manifest.csv", "environment.json", "model.keras", "model.keras.sha256",
        "validation.csv", "calibration.json", "checkpoints", "history.csv", "curves.png", "logs",
    }  # fmt: skip
    assert result.epochs == 4
    assert 0 <= result.best["val_auroc"] <= 1
    run = Run.open(folder / "run")
    assert run.environment()["seed"] == 3
    assert {record.split for record in run.records} == {"train", "val"}


def test_kept_weights_are_those_of_the_best_validation(undisturbed):
    folder, _, result, _ = undisturbed
    run = Run.open(folder / "run")
    from medcli.preprocessing.prepared import Prepared

    prepared = Prepared.open(folder / "prepared")
    measures = run.task.validate(run.load_model(), prepared, prepared.split("val"))
    assert measures["auroc"] == pytest.approx(result.best["val_auroc"])
    assert measures["loss"] == pytest.approx(result.best["val_loss"], rel=1e-5)


def test_same_seed_gives_equal_weights_to_the_bit(undisturbed, tmp_path):
    folder, config, _, expected = undisturbed
    train(config, folder / "prepared", tmp_path / "run")
    assert same(weights(tmp_path / "run"), expected)


@pytest.mark.parametrize("step", [7, 12])
def test_stopped_in_the_middle_of_an_epoch_and_resumed_gives_equal_weights(undisturbed, tmp_path, step):
    folder, config, _, expected = undisturbed

    def interrupt(event):
        if event["event"] == "step" and event["step"] >= step:
            os.kill(os.getpid(), signal.SIGTERM)

    with pytest.raises(Stopped, match=r"stopped by SIGTERM at step \d+; continue with --resume") as stop:
        train(config, folder / "prepared", tmp_path / "run", on_event=interrupt)
    assert stop.value.exit_code == 143
    train(config, folder / "prepared", tmp_path / "run", resume=True)
    assert same(weights(tmp_path / "run"), expected)


def test_killed_without_warning_and_resumed_gives_equal_weights(undisturbed, tmp_path):
    """The process dies at once, as by `kill -9`; what the last checkpoint does not hold is done again."""
    folder, _, _, expected = undisturbed
    program = (
        "import os, sys\n"
        "from pathlib import Path\n"
        "from medcli.config.loading import load_config\n"
        "from medcli.training import train\n"
        "def die(event):\n"
        "    if event['event'] == 'step' and event['step'] >= 13: os.kill(os.getpid(), 9)\n"
        "prepared, run = map(Path, sys.argv[1:])\n"
        "train(load_config(prepared / 'config.yaml'), prepared, run, on_event=die)\n"
    )
    ended = subprocess.run(
        [sys.executable, "-c", program, folder / "prepared", tmp_path / "run"], capture_output=True
    )
    assert ended.returncode == -signal.SIGKILL, ended.stderr.decode()
    config = undisturbed[1]
    train(config, folder / "prepared", tmp_path / "run", resume=True)
    assert same(weights(tmp_path / "run"), expected)


def test_a_damaged_checkpoint_falls_back_to_the_one_before(undisturbed, tmp_path):
    folder, config, _, expected = undisturbed

    def interrupt(event):
        if event["event"] == "step" and event["step"] >= 12:
            os.kill(os.getpid(), signal.SIGTERM)

    with pytest.raises(Stopped):
        train(config, folder / "prepared", tmp_path / "run", on_event=interrupt)
    newest = sorted((tmp_path / "run" / "checkpoints").glob("*.npz"))[-1]
    newest.write_bytes(newest.read_bytes()[: newest.stat().st_size // 2])
    train(config, folder / "prepared", tmp_path / "run", resume=True)
    assert same(weights(tmp_path / "run"), expected)


def test_a_run_is_not_overwritten_without_force(undisturbed):
    folder, config, _, _ = undisturbed
    with pytest.raises(
        UsageError, match="holds a run already; continue it with --resume or replace it with --force"
    ):
        train(config, folder / "prepared", folder / "run")


def test_resume_with_other_settings_is_refused(undisturbed):
    folder, config, _, _ = undisturbed
    other = config.model_copy(update={"train": config.train.model_copy(update={"learning_rate": 0.5})})
    with pytest.raises(RunError, match=r"started with other settings \(train.learning_rate\)"):
        train(other, folder / "prepared", folder / "run", resume=True)


def test_config_that_was_prepared_otherwise_is_refused(undisturbed, tmp_path):
    folder, config, _, _ = undisturbed
    other = config.model_copy(
        update={"preprocess": config.preprocess.model_copy(update={"contrast": "clahe"})}
    )
    with pytest.raises(RunError, match=r"prepared with other settings \(preprocess.contrast\)"):
        train(other, folder / "prepared", tmp_path / "run")
    other = config.model_copy(update={"train": config.train.model_copy(update={"patch": [8, 8]})})
    with pytest.raises(RunError, match=r"was planned for train\.patch: auto, the config says \[8, 8\]"):
        train(other, folder / "prepared", tmp_path / "run")


@pytest.mark.parametrize(
    ("edit", "message"),
    [
        ({"patch": [16, 17]}, r"patch: expected 2 numbers, multiples of \d+ x \d+"),
        ({"patch": [16, 16, 16]}, r"patch: expected 2 numbers"),
        ({"batch_size": 0}, r"batch_size: Input should be greater than or equal to 1, got 0"),
        ({"batch_size": "two"}, r"batch_size: Input should be a valid integer.*got 'two'"),
        ({"label_ids": [[1], [2], [3]]}, r"classes: expected 3 names, one for each of label_ids"),
        ({"oversampling": {"case_1": 3.0}}, r"oversampling: expected names of classes, got case_1"),
        ({"mirrored": ["depth"]}, r"mirrored.0: Input should be 'plane', 'row' or 'column', got 'depth'"),
        ({"channels": 4}, r"channels: expected 1, one for each entry of intensity"),
    ],
)
def test_a_plan_edited_into_what_cannot_be_is_refused(tmp_path, edit, message):
    config = prepared_folder(tmp_path / "prepared", "segmentation", **SETTINGS)
    yaml = YAML(typ="safe", pure=True)
    content = yaml.load(tmp_path / "prepared" / "plan.yaml")
    yaml.dump(content | edit, tmp_path / "prepared" / "plan.yaml")
    with pytest.raises(RunError, match=message):
        train(config, tmp_path / "prepared", tmp_path / "new")
    assert not (tmp_path / "new").exists()


def test_what_was_prepared_for_another_task_is_refused(tmp_path):
    prepared_folder(tmp_path / "prepared", "classification", **SETTINGS)
    other = prepared_folder(tmp_path / "other", "segmentation", **SETTINGS)
    with pytest.raises(RunError, match="was prepared for classification, the config is for segmentation"):
        train(other, tmp_path / "prepared", tmp_path / "new")
    assert not (tmp_path / "new").exists()


def test_weights_that_cannot_be_read_leave_no_run(tmp_path):
    config = prepared_folder(tmp_path / "prepared", "classification", **SETTINGS)
    (tmp_path / "net.keras").write_bytes(b"PK nonsense")
    for name, message in {"net.keras": "not a whole .keras file", "none.keras": "no such weights"}.items():
        model = config.model.model_copy(update={"weights": str(tmp_path / name)})
        with pytest.raises(RunError, match=message):
            train(config.model_copy(update={"model": model}), tmp_path / "prepared", tmp_path / "new")
        assert not (tmp_path / "new").exists()


def test_a_loss_that_is_not_a_number_stops_with_advice(tmp_path):
    config = prepared_folder(tmp_path / "prepared", "classification", **SETTINGS)
    from medcli.files import write_array
    from medcli.preprocessing.prepared import Prepared, image_path

    for record in Prepared.open(tmp_path / "prepared").records:
        write_array(image_path(tmp_path / "prepared", record.key), np.full((16, 24, 1), np.nan, np.float32))
    with pytest.raises(RunError, match=r"the loss is not a number after step \d+; lower train.learning_rate"):
        train(config, tmp_path / "prepared", tmp_path / "run")


@pytest.mark.parametrize(
    ("task", "dimensions"), [("segmentation", 2), ("segmentation", 3), ("classification", 3)]
)
def test_smoke_goes_through_everything(tmp_path, task, dimensions):
    config = prepared_folder(
        tmp_path / "prepared", task, dimensions=dimensions, model={"width": 8, "stages": 2}
    )
    result = train(config, tmp_path / "prepared", tmp_path / "run", smoke=True)
    assert result.epochs == 2
    assert Run.open(tmp_path / "run").load_model().count_params() > 0
    assert (tmp_path / "run" / "postprocessing.json").is_file() == (task == "segmentation")


def test_the_schedule_ends_within_the_time_budget(tmp_path):
    settings = SETTINGS | {"deterministic": False}
    settings["train"] = SETTINGS["train"] | {"epochs": 5000, "steps_per_epoch": 20, "max_minutes": 0.25}
    config = prepared_folder(tmp_path / "prepared", "classification", **settings)
    result = train(config, tmp_path / "prepared", tmp_path / "run")
    assert 1 <= result.epochs < 5000
    assert result.seconds < 25


def test_two_replicas_train_as_one(tmp_path):
    """MirroredStrategy over two logical CPUs stands in for two GPUs."""
    program = (
        "import sys\n"
        "from pathlib import Path\n"
        "import tensorflow as tf\n"
        "cpu = tf.config.list_physical_devices('CPU')[0]\n"
        "tf.config.set_logical_device_configuration(cpu, [tf.config.LogicalDeviceConfiguration()] * 2)\n"
        "from importlib import import_module\n"
        "training = import_module('medcli.training.train')  # the package exports a function of this name\n"
        "training.setup_devices = lambda *a, **k: tf.distribute.MirroredStrategy(['CPU:0', 'CPU:1'])\n"
        "from tests.made_up import prepared_folder\n"
        "folder = Path(sys.argv[1])\n"
        "config = prepared_folder(folder / 'prepared', 'classification',\n"
        "    model={'name': 'resnet18', 'width': 8, 'stages': 2},\n"
        "    train={'epochs': 3, 'steps_per_epoch': 10, 'batch_size': 4, 'mixed_precision': 'float32',\n"
        "        'augment': 'none'})\n"
        "result = training.train(config, folder / 'prepared', folder / 'run')\n"
        "print(result.epochs)\n"
    )
    ended = subprocess.run(
        [sys.executable, "-c", program, tmp_path],
        capture_output=True,
        text=True,
        cwd=Path(__file__).parents[1],
    )
    assert ended.returncode == 0, ended.stderr[-2000:]
    run = Run.open(tmp_path / "run")
    assert run.environment()["replicas"] == 2
