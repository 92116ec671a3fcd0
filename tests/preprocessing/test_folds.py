"""Folds of a prepared folder, without preparing again."""

from dataclasses import replace

import pytest

from medcli.config.schema import Split
from medcli.errors import DataError
from medcli.preprocessing.folds import folds_of, in_fold
from medcli.preprocessing.prepared import Prepared
from tests.made_up import prepared_folder


@pytest.fixture(scope="module")
def prepared(tmp_path_factory):
    """Twelve cases of six patients, two cases each."""
    folder = tmp_path_factory.mktemp("folds") / "prepared"
    prepared_folder(folder, "classification")
    return Prepared.open(folder)


def test_every_case_validates_once_and_patients_stay_together(prepared):
    parts = [in_fold(prepared, Split(folds=3, fold=fold), 0) for fold in range(3)]
    validating = [{record.case for record in part.split("val")} for part in parts]
    assert sorted(case for cases in validating for case in cases) == sorted(r.case for r in prepared.records)
    for part in parts:
        assert not {r.patient for r in part.split("val")} & {r.patient for r in part.split("train")}
        assert len(part.split("val")) == 4
        assert {r.classes for r in part.split("val")} == {("small",), ("large",)}, (
            "classes in like proportion"
        )
    assert (
        parts[1].plan.reasons["split"] == "3 folds of patients, classes in like proportion; fold 1 validates"
    )


def test_the_folds_of_the_manifest_count(prepared):
    known = {record.case: int(record.patient[1:]) % 2 for record in prepared.records}
    with_folds = replace(prepared, records=tuple(replace(r, fold=known[r.case]) for r in prepared.records))
    assert folds_of(with_folds, Split(folds=2), 0) == known
    assert set(folds_of(with_folds, Split(folds=3), 0).values()) == {0, 1, 2}, "another number is made anew"


def test_the_test_part_is_left_alone(prepared):
    records = tuple(replace(r, split="test") if r.patient == "p0" else r for r in prepared.records)
    part = in_fold(replace(prepared, records=records), Split(folds=2, fold=1), 0)
    assert {record.patient for record in part.split("test")} == {"p0"}


def test_the_same_seed_gives_the_same_folds_and_another_seed_others(prepared):
    first = folds_of(prepared, Split(folds=3), 0)
    assert folds_of(prepared, Split(folds=3, fold=2), 0) == first
    assert any(folds_of(prepared, Split(folds=3), seed) != first for seed in range(1, 5))


def test_patients_who_share_an_image_stay_together(prepared, monkeypatch):
    """As the scans of the folder tell: the images of p0 and p5 hold the same values."""
    records = tuple(replace(r, sha256=r.case) for r in prepared.records)
    twins = {"case000", "case010"}
    contents = [[case if case not in twins else "twin" for case in (r.case for r in records)]]
    monkeypatch.setattr("medcli.preprocessing.folds._contents", lambda *_: contents[0])
    for seed in range(4):
        fold = folds_of(replace(prepared, records=records), Split(folds=3), seed)
        assert fold["case000"] == fold["case010"] == fold["case011"]


def test_more_folds_than_patients(prepared):
    with pytest.raises(DataError, match=r"at most as many folds as patients \(6\), got 7"):
        in_fold(prepared, Split(folds=7), 0)
