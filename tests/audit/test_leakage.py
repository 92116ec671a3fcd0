"""What is on both sides of a division, and who is in which part."""

import numpy as np

from medcli.audit.columns import column_of
from medcli.audit.coverage import coverage_findings, coverage_rows
from medcli.audit.duplicates import Pair
from medcli.audit.leakage import Division, all_pictures, shared_pictures, shared_values

NAMES = [f"case{number}" for number in range(6)]
PARTS = ["train", "train", "val", "val", "test", ""]


def test_shared_patients():
    used = Division("The split", PARTS, in_use=True)
    (found,) = shared_values(used, "patient", ["a", "b", "a", "c", "b", "a"], NAMES)
    assert found.level == "leak"
    assert found.text == (
        "The split: 2 of 3 patients are in more than one part, such as case0 (train) and case2 (val); 1 of 2 val "
        "cases have their patient in train as well, 1 of 1 test cases have their patient in train as well. "
        "Measures on it would be too good; divide by patient."
    )
    assert set(found.cases) == {"case0", "case1", "case2", "case4"}
    assert shared_values(used, "patient", ["a", "a", "c", "c", "e", "a"], NAMES) == []
    (found,) = shared_values(
        Division("The column fold", PARTS, False), "study", ["a", "", "a", "", "", ""], NAMES
    )
    assert (found.level, found.check) == ("warning", "study leakage")
    assert "do not use it" in found.text


def test_shared_pictures():
    used = Division("The split", PARTS, in_use=True)
    pairs = [
        Pair(0, 2, True, 1.0),
        Pair(0, 1, True, 1.0),
        Pair(1, 4, False, 0.95, "mirrored"),
        Pair(4, 5, True, 1.0),
    ]
    exact, near = shared_pictures(used, pairs, NAMES)
    assert exact.text.startswith(
        "The split: 1 pair of exact duplicates in different parts: case0 (train) = case2 (val)."
    )
    assert near.text.startswith(
        "The split: 1 pair of near-duplicates in different parts: case1 (train) = case4 (test) "
        "(correlation 0.95, mirrored)."
    )


def test_pictures_of_strangers_and_labels_that_differ():
    pairs = [Pair(0, 1, True, 1.0), Pair(2, 3, True, 1.0)]
    found = all_pictures(
        pairs, NAMES, ["a", "b", "c", "c", "d", "e"], ["ill", "well", "ill", "ill", "ill", "ill"]
    )
    assert [(finding.level, finding.check, finding.cases) for finding in found] == [
        ("warning", "exact duplicates", ["case0", "case1"]),
        ("note", "exact duplicates", ["case2", "case3"]),
        ("warning", "label errors", ["case0", "case1"]),
    ]


def test_coverage():
    parts = ["train"] * 20 + ["val"] * 20
    column = column_of("site", ["a"] * 20 + ["a"] * 15 + ["b"] * 3 + [""] * 2)
    patients = [f"p{number}" for number in range(40)]
    truth = np.zeros((40, 2))
    truth[:, 0] = 1
    truth[:5] = [0, 1]
    division = Division("The split", parts, True)
    rows = coverage_rows(division, [column], patients, truth, ["well", "ill"])
    assert rows[0] == {"part": "train", "column": "", "group": "all", "cases": 20, "patients": 20,
                       "share well": 0.75, "share ill": 0.25}  # fmt: skip
    counts = {(row["part"], row["group"]): row["cases"] for row in rows}
    assert counts["val", "b"] == 3 and counts["val", "(missing)"] == 2 and counts["train", "b"] == 0
    texts = [
        finding.text for finding in coverage_findings(division, [column], patients, truth, ["well", "ill"])
    ]
    assert texts == [
        "The column site is empty for 2 of 40 cases (5%); they are a group of their own.",
        "No training case has site = b, but other parts do.",
        "The part val has no case with ill.",
        "Groups with fewer than 10 patients say little when measured: site = b in val (3).",
    ]
