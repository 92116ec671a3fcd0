"""What may be searched, and what is said of the rest."""

import json

import pytest

from medcli.config.loading import from_dict
from medcli.errors import ConfigError
from medcli.search.space import Choice, Range, default_space, extremes, override, read_space

NUMBERS = {"table": "table.csv", "columns": {"target": "age"}}


@pytest.fixture
def config(tmp_path):
    (tmp_path / "job.yaml").write_text("task: classification\n")
    return tmp_path / "job.yaml"


def written(tmp_path, text):
    (tmp_path / "space.yaml").write_text(text)
    return tmp_path / "space.yaml"


def test_values_and_ranges_in_dotted_or_nested_keys(tmp_path, config):
    text = "train.learning_rate: {low: 1e-4, high: 1e-2, log: true}\n"
    text += "model:\n  width: [8, 16]\n  stages: {low: 2, high: 4}\n"
    assert read_space(written(tmp_path, text), config) == {
        "train.learning_rate": Range(1e-4, 1e-2, log=True),
        "model.width": Choice((8, 16)),
        "model.stages": Range(2, 4),
    }
    assert Range(2, 4).whole and not Range(2, 4.5).whole


@pytest.mark.parametrize(
    ("text", "message"),
    [
        (
            "train.lerning_rate: [1]",
            r"space.yaml:1: train.lerning_rate: unknown setting; did you mean `train.learning_rate`",
        ),
        (
            "\nevaluate.split: [val]",
            r"space.yaml:2: evaluate.split: cannot be searched; settings of `model` and `train` can",
        ),
        ("train.patch: [1]", "it is decided when the data are prepared"),
        ("train.max_minutes: [1]", "the search gives every trial its time"),
        ("model: [1]", "model: cannot be searched"),
        ("train.learning_rate: 0.1", r"expected \[values\] or"),
        ("train.learning_rate: {low: 1, high: 1}", "expected low below high, got"),
        ("train.learning_rate: {low: 0, high: 1, log: true}", "above 0 for log"),
        ("train.learning_rate: {low: 1, hihg: 2}", r"expected \[values\] or"),
        ("train.flips: [[row], [column]]", "expected single numbers, words"),
        ("model.width: [8, 0]", "the config does not take 0: --set: model.width: expected"),
        ("train.augment: [light, heavy]", "the config does not take heavy"),
    ],
)
def test_faults_name_file_line_and_key(tmp_path, config, text, message):
    with pytest.raises(ConfigError, match=message):
        read_space(written(tmp_path, text), config)


@pytest.mark.parametrize("task", ["classification", "regression", "detection", "segmentation"])
def test_the_config_takes_every_value_of_the_default_spaces(tmp_path, task):
    from medcli.config.loading import load_config

    job = {"task": task} | ({"data": NUMBERS} if task == "regression" else {})
    (tmp_path / "job.yaml").write_text(json.dumps(job))
    space = default_space(from_dict(job))
    assert len(space) >= 5
    for key, one in space.items():
        for value in extremes(one):
            load_config(tmp_path / "job.yaml", [override(key, value)])


def test_an_own_value_joins_the_space():
    assert Choice((1, 2)).with_value(3) == Choice((1, 2, 3))
    assert Range(1e-3, 1e-2, log=True).with_value(1e-4) == Range(1e-4, 1e-2, log=True)
    assert not Range(1e-3, 1e-2, log=True).takes(0) and Range(0, 1).takes(0)
