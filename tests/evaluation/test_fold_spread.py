"""The spread between folds, worked out by hand."""

from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest

from medcli.config.schema import Config
from medcli.evaluation.fold_spread import fold_note, fold_section, fold_spread
from medcli.evaluation.kept import Kept
from medcli.metrics.samples import classification_sample
from medcli.preprocessing.plan import Intensity, Plan
from medcli.run import Run
from tests.ensemble_records import record

NAMES = ("a0", "b0", "a1", "b1", "b2", "a2")


@pytest.fixture
def measured():
    """Six cases in two folds: of fold 0 (a0, b0, b2) all are right, of fold 1 (a1, b1, a2) one of three."""
    plan = Plan(
        task="classification", dimensions=2, classes=["a", "b"], channels=1, color="grey",
        intensity=[Intensity(kind="none")], batch_size=2, stages=2,
    )  # fmt: skip
    fold = {"a0": 0, "b0": 0, "b2": 0, "a1": 1, "b1": 1, "a2": 1}
    records = tuple(record(name, "val", fold=number) for name, number in fold.items())
    run = Run(Path(), Config(task="classification"), plan, records, folds=True)
    rows = [{"case": name, "patient": name, "status": "ok"} for name in NAMES]
    truth = np.array([[name[0] == "a", name[0] == "b"] for name in NAMES])
    chance = np.array([0.1, 0.9, 0.8, 0.6, 0.7, 0.9])  # of b
    chances = np.stack([1 - chance, chance], 1)
    sample = classification_sample(truth, chances, chances > 0.5, multi_label=False, positive=1)
    return run, Kept("out_of_fold", "val", True, rows=rows), sample


def test_by_hand(measured):
    found = fold_spread(*measured, ["accuracy", "auroc"])
    assert [(row["fold"], row["cases"], row["accuracy"]) for row in found["folds"]] == [
        (0, 3, 1),
        (1, 3, 1 / 3),
    ]
    assert found["spread"]["accuracy"]["mean"] == pytest.approx(2 / 3)
    assert found["spread"]["accuracy"]["sd"] == pytest.approx(np.std([1, 1 / 3], ddof=1))
    assert [row["auroc"] for row in found["folds"]] == [1, 0]
    assert fold_note(found) == (
        "Accuracy of the 2 folds one by one: 0.333 to 1.000, mean 0.667, standard deviation 0.471."
    )
    (table,) = fold_section(found).tables
    assert [row["fold"] for row in table.rows] == ["0", "1", "mean", "standard deviation"]


def test_a_measure_that_a_fold_does_not_have(measured):
    """Without a case of b in fold 1 there is no AUROC."""
    run, kept, sample = measured
    kept = replace(kept, rows=[row if row["case"] != "b1" else row | {"status": "gone"} for row in kept.rows])
    keep = np.array([name != "b1" for name in NAMES])
    part = replace(
        sample,
        values=lambda cases, weights, names: sample.values(np.flatnonzero(keep)[cases], weights, names),
    )
    found = fold_spread(run, kept, part, ["auroc"])
    assert found["spread"]["auroc"]["mean"] == 1 and np.isnan(found["spread"]["auroc"]["sd"])


def test_only_of_folds_and_their_own_cases(measured):
    run, kept, sample = measured
    assert fold_spread(replace(run, folds=False), kept, sample, ["accuracy"]) is None
    assert fold_spread(run, replace(kept, own=False), sample, ["accuracy"]) is None
