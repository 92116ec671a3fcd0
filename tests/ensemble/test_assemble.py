"""Which runs can answer together, and what becomes of their cases."""

from dataclasses import replace

import pytest

from medcli.config.schema import Config
from medcli.ensemble.assemble import _records, check_alike, ensemble
from medcli.errors import DataError, UsageError
from medcli.preprocessing.plan import Intensity, Plan
from medcli.run import Run
from tests.ensemble_records import record


def run(tmp_path, *parts: str, **plan) -> Run:
    chosen = Plan(
        **{"task": "classification", "dimensions": 2, "classes": ["a", "b"], "channels": 1, "color": "grey"}
        | {"intensity": [Intensity(kind="none")], "batch_size": 2, "stages": 2, "size": [8, 8]} | plan
    )  # fmt: skip
    records = tuple(record(case, part) for case, part in zip("pqrs", parts, strict=False))
    return Run(tmp_path, Config(task=chosen.task), chosen, records)


def test_parts_of_an_ensemble(tmp_path):
    """p: one did not train on it; q: all did; r: nobody has used it; s: one has not trained on it, but chosen by it."""
    first = run(tmp_path, "train", "train", "test", "test")
    second = run(tmp_path, "val", "train", "test", "val")
    assert [one.split for one in _records([first, second])] == ["val", "train", "test", "val"]
    both = Run(tmp_path, first.config, first.plan, first.records, (first, second))
    assert [both.unseen_by(case) for case in "pqr"] == [(1,), (0, 1), (0, 1)]


def test_the_network_may_differ(tmp_path):
    check_alike([run(tmp_path, "train"), run(tmp_path, "val", batch_size=9, stages=5)])


@pytest.mark.parametrize(
    ("plan", "message"),
    [
        ({"task": "detection"}, "one is for classification, the other for detection"),
        ({"classes": ["b", "a"]}, "one knows the classes a, b, the other b, a"),
        ({"size": [8, 9]}, r"prepared differently for them \(size of plan.yaml\)"),
        ({"intensity": [Intensity(kind="zscore")]}, r"prepared differently for them \(intensity"),
    ],
)
def test_what_must_be_alike(tmp_path, plan, message):
    with pytest.raises(DataError, match=message):
        check_alike([run(tmp_path, "train"), run(tmp_path, "train", **plan)])


def test_other_cases(tmp_path):
    other = run(tmp_path, "train")
    other = replace(other, records=(replace(other.records[0], sha256="changed"),))
    with pytest.raises(DataError, match="made with other cases"):
        check_alike([run(tmp_path, "train"), other])


def test_one_run_is_no_ensemble(tmp_path, monkeypatch):
    monkeypatch.setattr(Run, "open", lambda folder: run(tmp_path, "train"))
    with pytest.raises(UsageError, match="at least two runs"):
        ensemble([tmp_path], tmp_path / "out")
    (tmp_path / "out").mkdir()
    (tmp_path / "out" / "letter.txt").write_text("dear")
    with pytest.raises(UsageError, match="is there already"):
        ensemble([tmp_path, tmp_path], tmp_path / "out")
    with pytest.raises(UsageError, match="no ensemble that can be replaced"):
        ensemble([tmp_path, tmp_path], tmp_path / "out", force=True)
    assert (tmp_path / "out" / "letter.txt").exists()
