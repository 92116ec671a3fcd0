"""Columns of a table as levels, and which of them are divisions of the cases."""

import numpy as np

from medcli.audit.columns import MISSING, OTHER, column_of, is_split, split_columns, together_columns


def test_text():
    column = column_of("view", ["PA", "AP", "", "PA"])
    assert column.levels == ["AP", "PA", MISSING]
    assert column.codes.tolist() == [1, 0, 2, 1]
    assert column.missing == 1
    assert column_of("all", ["x"] * 5) is None
    assert column_of("name", [f"n{number}" for number in range(9)]) is None


def test_many_texts_keep_the_frequent_ones():
    texts = [f"t{number}" for number in range(25) for _ in range(3)] + ["t0"] * 5
    column = column_of("finding", texts)
    assert len(column.levels) == 21
    assert column.levels[-1] == OTHER
    assert (column.codes == 20).sum() == 15


def test_numbers_are_cut_into_parts_of_like_size():
    column = column_of("age", [str(number) for number in range(40)] + [""] * 2)
    assert column.numeric
    assert column.levels == ["< 10", "10 to < 20", "20 to < 30", "30 or more", MISSING]
    assert np.bincount(column.codes).tolist() == [10, 10, 10, 10, 2]
    assert column_of("stage", ["1", "2", "3"] * 4).levels == ["1", "2", "3"]


def test_divisions_are_recognised_in_any_usual_words():
    assert is_split(["train", "valid", "test", ""])
    assert is_split(["Training", "Validation"])
    assert not is_split(["train", "other"])
    assert not is_split(["train", "train"])
    assert split_columns({"fold": ["train", "valid", ""], "sex": ["F", "M", ""]}) == {
        "fold": ["train", "val", ""]
    }


def test_columns_that_stay_together():
    cells = {"study": ["1", "1", "2"], "patient_id": ["a", "a", "b"], "sex": ["F", "F", "M"]}
    assert together_columns(cells, ["a", "a", "b"]) == {"study": ["1", "1", "2"]}
