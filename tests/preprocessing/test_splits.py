"""Patients are divided, never cases; classes in like proportion; given splits are kept."""

import re
from collections import Counter

import numpy as np
import pytest
from sklearn.model_selection import StratifiedShuffleSplit

from medcli.config.schema import Split
from medcli.errors import DataError
from medcli.preprocessing.splits import Member, assign


def members(patients: int, cases_each: int = 1, *, every: int = 3, given=None) -> list[Member]:
    """Every third patient is ill."""
    return [
        Member(
            case=f"p{patient:03d}_{number}",
            group=f"p{patient:03d}",
            patient=f"p{patient:03d}",
            stratum="ill" if patient % every == 0 else "well",
            given=given(patient) if given else None,
        )
        for patient in range(patients)
        for number in range(cases_each)
    ]


def parts_of_groups(found: list[Member], split: dict[str, str]) -> dict[str, set[str]]:
    parts: dict[str, set[str]] = {}
    for member in found:
        parts.setdefault(member.group, set()).add(split[member.case])
    return parts


@pytest.mark.parametrize("cases_each", [1, 4])
def test_shares_strata_and_patients_are_kept(cases_each):
    cohort = members(60, cases_each)
    result = assign(cohort, Split(val=0.2, test=0.1), seed=0)
    counts = Counter(result.split.values())
    assert counts == {"train": 42 * cases_each, "val": 12 * cases_each, "test": 6 * cases_each}
    assert all(len(parts) == 1 for parts in parts_of_groups(cohort, result.split).values())
    ill = Counter(result.split[m.case] for m in cohort if m.stratum == "ill")
    assert ill == {"train": 14 * cases_each, "val": 4 * cases_each, "test": 2 * cases_each}
    assert "asked for" in result.reason


def test_a_few_large_patients():
    """66, 61 and 47 images of three patients beside 100 single ones: the share is nearly met."""
    cohort = [
        Member(f"c{p}_{n}", f"p{p}", f"p{p}", "x")
        for p, count in enumerate((66, 61, 47))
        for n in range(count)
    ]
    cohort += [Member(f"s{n}", f"s{n}", f"s{n}", "x" if n % 2 else "y") for n in range(100)]
    result = assign(cohort, Split(val=0.2), seed=0)
    share = Counter(result.split.values())["val"] / len(cohort)
    assert share == pytest.approx(0.2, abs=0.03)
    assert all(len(parts) == 1 for parts in parts_of_groups(cohort, result.split).values())


def test_the_order_of_cases_does_not_matter_and_the_seed_does():
    cohort = members(40)
    first = assign(cohort, Split(), seed=3).split
    assert assign(cohort[::-1], Split(), seed=3).split == first
    assert assign(cohort, Split(), seed=4).split != first


def test_folds_cover_every_patient_once():
    cohort = members(20, 3)
    results = [assign(cohort, Split(folds=4, fold=fold), seed=0) for fold in range(4)]
    validated = Counter(case for r in results for case, part in r.split.items() if part == "val")
    assert set(validated.values()) == {1}
    assert len(validated) == 60
    assert results[0].fold == results[3].fold
    assert all(
        results[2].split[case] == ("val" if n == 2 else "train") for case, n in results[2].fold.items()
    )
    groups = {}
    for case, fold in results[0].fold.items():
        groups.setdefault(case.split("_")[0], set()).add(fold)
    assert all(len(folds) == 1 for folds in groups.values())


def test_folds_leave_the_test_part_alone():
    result = assign(members(30), Split(folds=5, test=0.2), seed=0)
    assert len(result.fold) == 24
    assert Counter(result.split.values())["test"] == 6


def test_too_many_folds():
    with pytest.raises(DataError, match=r"at most as many folds as patients \(3\), got 5"):
        assign(members(3), Split(folds=5), seed=0)


def test_a_fold_that_is_not_there():
    with pytest.raises(DataError, match="expected 0 to 4 for 5 folds"):
        assign(members(10), Split(folds=5, fold=5), seed=0)


def test_given_splits_are_kept_and_a_missing_validation_part_comes_from_training():
    cohort = members(20, given=lambda patient: "test" if patient < 5 else "train")
    result = assign(cohort, Split(val=0.2), seed=0)
    assert {m.case for m in cohort if result.split[m.case] == "test"} == {f"p{n:03d}_0" for n in range(5)}
    assert Counter(result.split.values()) == {"test": 5, "train": 12, "val": 3}


def test_a_patient_in_two_given_splits_is_an_error_that_names_cases_only():
    cohort = [
        Member("scan1", "Miller", "Miller", "x", "train"),
        Member("scan2", "Miller", "Miller", "x", "val"),
        Member("scan3", "Smith", "Smith", "x", "train"),
    ]
    with pytest.raises(DataError) as fault:
        assign(cohort, Split(), seed=0)
    assert "1 patients have cases in more than one given split" in str(fault.value)
    assert "scan1 (train) and scan2 (val)" in str(fault.value)
    assert "Miller" not in str(fault.value)


def test_some_cases_without_a_given_split():
    cohort = members(4, given=lambda patient: None if patient == 2 else "train")
    with pytest.raises(DataError, match="3 cases have a given split and 1 have none"):
        assign(cohort, Split(), seed=0)


def test_one_patient_cannot_be_divided():
    with pytest.raises(DataError, match=r"1 patient\(s\) cannot be divided into training and val"):
        assign(members(1, 5), Split(), seed=0)


def test_no_validation_on_demand():
    assert set(assign(members(3), Split(val=0), seed=0).split.values()) == {"train"}


def test_two_patients():
    assert Counter(assign(members(2), Split(val=0.2), seed=0).split.values()) == {"train": 1, "val": 1}


@pytest.mark.parametrize("column", ["case", "patient"])
def test_a_split_from_a_file(tmp_path, column):
    cohort = members(4)
    names = {"case": [m.case for m in cohort], "patient": [m.patient for m in cohort]}[column]
    parts = ["train", "val", "test", "Train"]
    path = tmp_path / "split.csv"
    path.write_text(f"{column},split\n" + "".join(f"{n},{p}\n" for n, p in zip(names, parts, strict=True)))
    split = assign(cohort, Split(file=path), seed=0).split
    assert [split[m.case] for m in cohort] == ["train", "val", "test", "train"]


@pytest.mark.parametrize(
    ("text", "fault"),
    [
        ("name,part\na,train\n", "expected the columns case (or patient) and split, found name, part"),
        ("case,split\np000_0,training\n", "expected train, val or test in the column split, found training"),
        ("case,split\nother,train\n", "none of its 1 names is a case of this data set"),
    ],
)
def test_a_bad_split_file(tmp_path, text, fault):
    path = tmp_path / "split.csv"
    path.write_text(text)
    with pytest.raises(DataError, match=re.escape(fault)):
        assign(members(3), Split(file=path), seed=0)


def test_a_rare_class_is_on_both_sides():
    """Two of forty patients: one trains, one validates."""
    cohort = [Member(f"c{n}", f"c{n}", f"c{n}", "rare" if n < 2 else "usual") for n in range(40)]
    split = assign(cohort, Split(val=0.25), seed=0).split
    assert {split["c0"], split["c1"]} == {"train", "val"}


@pytest.mark.parametrize(("cases", "share", "seed"), [(187, 0.2, 1), (40, 0.15, 3)])
def test_of_one_stratum_the_library_draws_the_same(cases, share, seed):
    members = [Member(f"{number:03d}", str(number), str(number), "organ") for number in range(cases)]
    found = assign(members, Split(val=share), seed)
    splitter = StratifiedShuffleSplit(1, test_size=round(cases * share), random_state=seed + 1)
    ((_, expected),) = splitter.split(np.zeros((cases, 1)), np.zeros(cases))
    assert {case for case, part in found.split.items() if part == "val"} == {
        f"{number:03d}" for number in expected
    }
