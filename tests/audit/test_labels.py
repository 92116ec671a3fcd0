"""What there is to learn; an answer that nobody gave is no answer."""

import numpy as np
import pytest

from medcli.audit.columns import column_of
from medcli.audit.confounding import associations, shortcuts
from medcli.audit.coverage import coverage_rows
from medcli.audit.label_errors import label_errors
from medcli.audit.labels import Labels, labels_of
from medcli.audit.leakage import Division
from medcli.audit.look import Look
from medcli.case import Case
from medcli.io.cases import Discovery

UNKNOWN = np.nan


def looks(n: int, seed: int = 0) -> list[Look]:
    random = np.random.default_rng(seed)
    return [
        Look(thumb=random.integers(0, 255, (64, 64, 1)).astype(np.uint8), brightness=(0.5, 0.1, 0.0, 1.0))
        for _ in range(n)
    ]


def half_known(n: int = 60) -> Labels:
    """The first class is known of the even cases only, where it alternates; the second one of all."""
    truth = np.zeros((n, 2))
    truth[::4, 0] = 1
    truth[1::2, 0] = UNKNOWN
    truth[: n // 2, 1] = 1
    return Labels(["effusion", "mass"], truth, exclusive=False)


def test_unknown_labels_are_neither_yes_nor_no():
    first, second = half_known().targets()
    assert first.name == "effusion" and first.kinds == ["no effusion", "effusion"]
    np.testing.assert_array_equal(first.cases, np.arange(0, 60, 2))
    np.testing.assert_array_equal(first.codes, [1, 0] * 15)
    np.testing.assert_array_equal(second.cases, np.arange(60))


def test_of_cases():
    cases = [
        Case("a", (), classes=("mass",), unknown=("effusion",)),
        Case("b", (), classes=("effusion", "mass")),
        Case("c", ()),
    ]
    found = labels_of(cases, Discovery(cases, ["effusion", "mass"], [], ""), "classification")
    assert not found.exclusive
    np.testing.assert_array_equal(found.truth, [[UNKNOWN, 1], [1, 1], [0, 0]])


def test_a_missing_number_is_in_no_part_of_the_range():
    cases = [Case(f"c{n}", (), target=None if n % 5 == 0 else float(n)) for n in range(40)]
    found = labels_of(cases, Discovery(cases, ["age"], [], ""), "regression")
    (target,) = found.targets()
    assert not any("missing" in kind for kind in target.kinds)
    np.testing.assert_array_equal(target.cases, [n for n in range(40) if n % 5])
    assert np.all(np.diff(target.codes) >= 0)


def test_a_column_that_says_which_label_is_known_is_no_confounder():
    labels = half_known()
    column = column_of("asked", ["yes", "no"] * 30)
    rows = associations(labels, [column], [f"p{n}" for n in range(60)], seed=0)
    by_target = {row["target"]: row for row in rows}
    assert by_target["effusion"]["cases"] == 30 and by_target["effusion"]["V"] == 0
    assert by_target["mass"]["cases"] == 60


def test_probes_are_asked_about_known_cases_only():
    labels = half_known()
    rows = shortcuts(labels, [], [], looks(60), [f"p{n}" for n in range(60)], seed=0)
    assert {row["target"]: row["cases"] for row in rows} == {"effusion": 30, "mass": 60}


def test_suspects_are_named_by_their_place_among_all_cases():
    seen = looks(80)
    truth = np.zeros((80, 2))
    truth[1::2, 0] = UNKNOWN
    for n in range(0, 80, 2):
        ill = n % 4 == 0
        half = slice(0, 32) if ill else slice(32, 64)
        seen[n].thumb[half] //= 8
        truth[n, 0] = float(ill)
    truth[40, 0] = 0  # looks ill
    names = [f"case{n}" for n in range(80)]
    _, suspects, rows = label_errors(
        Labels(["ill", "other"], truth, exclusive=False), seen, {}, [], names, names, seed=0
    )
    assert [index for index, _ in suspects] == [40]
    assert rows[0]["cases"] == 40


def test_shares_are_of_the_known():
    labels = half_known()
    division = Division("The split", ["train"] * 60, True)
    (row,) = coverage_rows(division, [], [f"p{n}" for n in range(60)], labels.truth, labels.classes)
    assert row["share effusion"] == pytest.approx(0.5) and row["share mass"] == pytest.approx(0.5)
