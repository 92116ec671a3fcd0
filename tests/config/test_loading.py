from pathlib import Path

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from medcli.config.document import MAX_BYTES
from medcli.config.loading import from_dict, load_config, save_config
from medcli.errors import ConfigError


@pytest.fixture
def write(tmp_path: Path):
    def write(text: str, name: str = "job.yaml") -> Path:
        path = tmp_path / name
        path.write_text(text, encoding="utf-8")
        return path

    return write


def faults(path: Path, *overrides: str) -> list[str]:
    """The lines of the ConfigError, the file's folder taken away."""
    with pytest.raises(ConfigError) as caught:
        load_config(path, overrides)
    return str(caught.value).replace(f"{path.parent}/", "").splitlines()


def test_a_minimal_config_is_filled_in(write):
    path = write("task: detection\n", "cells.yaml")
    config = load_config(path)
    assert config.name == "cells"
    assert config.prepared == path.parent / "prepared" / "cells"
    assert config.run == path.parent / "runs" / "cells"
    assert config.data.root == path.parent
    assert config.train.epochs == "auto"


def test_the_name_decides_the_folders(write):
    path = write("task: detection\nname: smears\n")
    assert load_config(path).run == path.parent / "runs" / "smears"
    assert load_config(path, ["name=other"]).prepared == path.parent / "prepared" / "other"


def test_paths_of_the_file_start_from_its_folder(write, monkeypatch, tmp_path_factory):
    path = write(
        "task: segmentation\ndata: {root: ../images, split: {file: split.csv}}\nmodel: {weights: old/run}\n"
    )
    monkeypatch.chdir(tmp_path_factory.mktemp("elsewhere"))
    config = load_config(path)
    assert config.data.root == path.parent.parent / "images"
    assert config.data.split.file == path.parent / "split.csv"
    assert config.model.weights == str(path.parent / "old" / "run")


def test_paths_of_an_override_start_from_the_current_folder(write, monkeypatch, tmp_path_factory):
    path = write("task: segmentation\ndata: {root: images}\n")
    here = tmp_path_factory.mktemp("here")
    monkeypatch.chdir(here)
    config = load_config(path, ["data.root=pictures", "run=out", "model.weights=w.keras"])
    assert config.data.root == here / "pictures"
    assert config.run == here / "out"
    assert config.model.weights == str(here / "w.keras")


def test_words_for_weights_are_no_paths(write):
    for word in ("none", "imagenet"):
        assert load_config(write(f"task: classification\nmodel: {{weights: {word}}}\n")).model.weights == word


def test_every_fault_is_told_at_once_in_the_order_of_the_file(write):
    path = write(
        "task: clasification\n"
        "train:\n"
        "  epoch: 3\n"
        "  epochs: ten\n"
        "  ema: 1.0\n"
        "  tolerance_mm: 2\n"
        "data: {split: {val: 2}}\n"
        "predict: {overlays: yes}\n"
    )
    assert faults(path, "train.max_minutes=-1") == [
        "job.yaml:1: task: expected one of `classification`, `regression`, `detection`, `segmentation`, got "
        "clasification; did you mean `classification`?",
        "job.yaml:3: train.epoch: unknown key; did you mean `epochs`?",
        "job.yaml:4: train.epochs: expected `auto` or a whole number of at least 1, got ten",
        "job.yaml:5: train.ema: expected a number of at least 0 and below 1, got 1.0",
        "job.yaml:6: train.tolerance_mm: unknown key here; did you mean `evaluate.tolerance_mm`?",
        "job.yaml:7: data.split.val: expected a number from 0 to 1, got 2",
        "job.yaml:8: predict.overlays: expected `true` or `false`, got yes",
        "--set: train.max_minutes: expected a number above 0 or `null`, got -1",
    ]


def test_a_missing_task_is_explained(write):
    assert faults(write("name: x\n")) == [
        "job.yaml: task: expected one of `classification`, `regression`, `detection`, `segmentation`, got nothing; "
        "the key is required"
    ]


@pytest.mark.parametrize(
    ("text", "fault"),
    [
        ("", "job.yaml: expected a config, got an empty file; see the examples in configs/."),
        ("- task\n", "job.yaml:1: expected settings (key: value), got list"),
        ("task: detection\ntask: detection\n", "job.yaml:2: task: the key is given twice, first in line 1"),
        (
            "task: detection\nseed: &s 1\n",
            "job.yaml:2: seed: anchors and aliases (&, *) are not used in configs; write the value out",
        ),
        ("task: detection\n1: a\n", "job.yaml:2: top level: expected text as key, got `1`; put it in quotes"),
        ("task: [detection\n", "job.yaml:2: not valid YAML: expected ',' or ']', but got '<stream end>'"),
        (
            "task: !!python/name:os.system x\n",
            "job.yaml:1: not valid YAML: could not determine a constructor for the "
            "tag 'tag:yaml.org,2002:python/name:os.system'",
        ),
        (
            "%YAML 1.1\n---\ntask: detection\n",
            "job.yaml:1: expected YAML without directives, got a line that starts with %; remove it.",
        ),
        ("a: " + "[" * 3000, "job.yaml: not valid YAML: nested too deeply, or a value out of range"),
    ],
)
def test_what_is_not_such_a_yaml_is_refused(write, text, fault):
    assert faults(write(text)) == [fault]


def test_files_that_are_no_config(tmp_path):
    assert faults(tmp_path / "none.yaml") == ["none.yaml: no such config file."]
    with pytest.raises(ConfigError, match="got a folder"):
        load_config(tmp_path)
    large = tmp_path / "large.yaml"
    large.write_bytes(b"#" * (MAX_BYTES + 1))
    assert faults(large) == ["large.yaml: expected a config of at most 1 MB, got 1.0 MB."]
    binary = tmp_path / "binary.yaml"
    binary.write_bytes(b"\x89PNG\xff\xfe")
    assert faults(binary) == ["binary.yaml: expected a YAML text in UTF-8, got something else."]


def test_what_a_command_implies_is_not_blamed_on_the_user(write):
    path = write("task: detection\ndata: {root: d}\n")
    with pytest.raises(ConfigError, match=r"^this command: train\.learn_from: images: expected task"):
        load_config(path, ["train.epochs=3"], implied=["train.learn_from=images"])


def test_overrides_reach_every_kind_of_value(write):
    config = load_config(
        write("task: segmentation\ntrain:\n  # nothing yet\n"),
        [
            "train.learning_rate=1e-3",
            "train.patch=[32, 64, 64]",
            "data.classes.liver=1",
            "data.classes.spleen=[2, 3]",
            "preprocess.window=[-100, 200]",
            "train.clip_norm=",
            "data.patient=^(a=b)",
        ],
    )
    assert config.train.learning_rate == 0.001
    assert config.train.patch == [32, 64, 64]
    assert config.data.classes == {"liver": 1, "spleen": [2, 3]}
    assert config.preprocess.window == [-100, 200]
    assert config.train.clip_norm is None
    assert config.data.patient == "^(a=b)"


@pytest.mark.parametrize(
    ("override", "fault"),
    [
        ("train.epochs", "--set train.epochs: expected section.key=value, for example --set train.epochs=5"),
        ("train.epoch=5", "--set: train.epoch: unknown key; did you mean `epochs`?"),
        ("trian.epochs=5", "--set: trian: unknown key; did you mean `train`?"),
        (
            "train.flips=column",
            "--set: train.flips: expected `auto` or a list [one of `plane`, `row`, `column`], got column; "
            "did you mean `[column]`?",
        ),
        ("task.x=5", "--set task.x: task holds one value, not keys; set task itself"),
        (
            "train.patch=[1",
            "--set train.patch: expected a YAML value, got `[1`; quote text with special signs",
        ),
        (
            "data.lists.later=a.txt",
            "--set: data.lists: expected a mapping {one of `train`, `val`, `test`: text} or "
            "`null`, got {'later': 'a.txt'}",
        ),
    ],
)
def test_wrong_overrides_are_explained(write, override, fault):
    assert faults(write("task: detection\n"), override) == [fault]


@pytest.mark.parametrize(
    ("text", "fault"),
    [
        ("data: {split: {folds: 5, fold: 5}}", "data.split.fold: expected from 0 to 4, got 5"),
        (
            "data: {split: {val: 0.6, test: 0.5}}",
            "data.split.val: expected val + test below 1, got 0.6 + 0.5",
        ),
        (
            "preprocess: {window: lungs}",
            "preprocess.window: expected [low, high] in HU or one of `brain`, `lung`, "
            "`bone`, `soft_tissue`, `liver`, `mediastinum`, got `lungs`",
        ),
        (
            "preprocess: {window: [50, -50]}",
            "preprocess.window: expected [low, high] with low below high, got [50.0, -50.0]",
        ),
        (
            "preprocess: {percentiles: [99, 1]}",
            "preprocess.percentiles: expected two percentiles from 0 to 100, rising, got [99.0, 1.0]",
        ),
        (
            "model: {descriptors: true}",
            "model.descriptors: is for classification and regression, not for detection; leave it out",
        ),
        (
            "model: {visual_words: 100}",
            "model.visual_words: is for classification and regression, not for detection; leave it out",
        ),
        (
            "train: {keep: last, early_stopping: 5}",
            "train.early_stopping: expected none with train.keep: last, since it waits for the best",
        ),
        ("train: {loss: dice}", "train.loss: expected `auto` for detection, got `dice`"),
        ("train: {mix: both}", "train.mix: expected none for detection, got both"),
        ("train: {sampling: balanced}", "train.sampling: expected natural for detection, got balanced"),
        ("name: a/b", "name: expected a name that can be a folder's, without / and \\"),
    ],
)
def test_rules_between_settings(write, text, fault):
    assert faults(write(f"task: detection\n{text}\n")) == [f"job.yaml:2: {fault}"]


def test_types_are_not_silently_converted(write):
    for text in ("seed: '1'", "seed: true", "seed: 1.5", "name: 7", "deterministic: 1"):
        (fault,) = faults(write(f"task: detection\n{text}\n"))
        assert fault.startswith(f"job.yaml:2: {text.partition(':')[0]}: expected ")


def test_a_saved_config_reads_back_equal(write, tmp_path):
    config = load_config(
        write(
            "task: segmentation\n"
            "data: {images: {t1: 'a/{case}.nii', flair: '{case}: b'}, classes: {'1': 1, no: 2}}\n"
        ),
        ["train.learning_rate=1e-7", "data.exclude=^[0-9]+$", "data.columns.groups=[sex, '1', 'null']"],
    )
    save_config(config, tmp_path / "elsewhere" / "config.yaml")
    assert load_config(tmp_path / "elsewhere" / "config.yaml") == config


@settings(max_examples=15, deadline=None)
@given(
    text=st.text(st.characters(exclude_categories=["Cs"]), max_size=20),
    number=st.floats(1e-12, 1e6),
)
def test_any_text_and_number_survive_saving(tmp_path_factory, text, number):
    folder = tmp_path_factory.getbasetemp()
    config = from_dict(
        {"task": "detection", "data": {"include": text}, "train": {"max_minutes": number}}, folder=folder
    )
    save_config(config, folder / "config.yaml")
    assert load_config(folder / "config.yaml") == config


def test_from_dict_reports_like_load_config(tmp_path):
    with pytest.raises(ConfigError, match=r"^job: seed: expected a whole number"):
        from_dict({"task": "detection", "seed": "x"}, folder=tmp_path, name="job")


@pytest.mark.parametrize(
    ("goal", "fault"),
    [
        ("{f1: best}", "expected"),
        ("{f1: 0.5}", "expected `each` or `all` for f1, got 0.5"),
        ("{false_positives: all}", "expected a number for false_positives, got `all`"),
        ("{score: 2}", "expected a score from 0 to 1, got 2"),
        ("1.5", "expected"),
    ],
)
def test_goals_for_boxes_are_checked(write, goal, fault):
    (told,) = faults(write(f"task: detection\npredict: {{score_threshold: {goal}}}\n"))
    assert told.startswith("job.yaml:2: predict.score_threshold") and fault in told


def test_every_form_of_a_goal_is_taken(write):
    for goal in ("auto", "0", "0.01", "1", "{f1: each}", "{f1: all}", "{false_positives: 2}", "{score: 0.3}"):
        load_config(write(f"task: detection\npredict: {{score_threshold: {goal}}}\n"))
