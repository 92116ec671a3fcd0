"""Which group a case belongs to."""

import numpy as np
import pytest

from medcli.grouping import ColumnRule, GroupRule, as_number, group_cases, group_column, too_few


def column(name, values, patients=None, fewest=1):
    patients = np.array(patients or [str(number) for number in range(len(values))])
    found = group_column(name, values, patients, fewest=fewest)
    return found.names, [found.names[code] for code in found.codes]


def test_values_are_groups_and_nothing_known_is_one_of_them():
    names, found = column("sex", ["F", "M", "", " M ", "unknown", "N/A", "nan"])
    assert names == ["F", "M", "unknown"]
    assert found == ["F", "M", "unknown", "M", "unknown", "unknown", "unknown"]
    assert column("sex", ["", ""]) == (["unknown"], ["unknown", "unknown"])


def test_ages_are_cut_at_fixed_years():
    ages = ["3", "17", "18", "39", "40", "59.9", "60", "79", "80", "94", ""]
    names, found = column("patient_age", [age for age in ages if age != "59.9"])
    assert names == ["<18", "18-39", "40-59", "60-79", "80+", "unknown"]
    assert found == ["<18"] * 2 + ["18-39"] * 2 + ["40-59"] + ["60-79"] * 2 + ["80+"] * 2 + ["unknown"]
    assert column("Age", ages)[1][5] == "40 to <60"


def test_small_bands_are_joined_with_their_smaller_neighbour():
    ages = ["20", "30", "35", "41", "42", "43", "44", "61", "62", "63", "85"]
    # Nobody below 18: joined upwards; one of 85: joined downwards.
    assert column("age", ages, fewest=2)[0] == ["<40", "40-59", "60+"]
    assert column("age", ages, fewest=4)[0] == ["<60", "60+"]
    assert column("age", ages, fewest=20) == (["any number"], ["any number"] * 11)
    # Many images of one patient are one patient.
    assert column("age", ages, ["a"] * 11, fewest=2)[0] == ["any number"]


def test_other_numbers_are_cut_at_their_quartiles():
    names, found = column("dose", [str(number / 2) for number in range(1, 41)])
    assert names == ["<5.38", "5.38 to <10.2", "10.2 to <15.1", "15.1+"]
    assert [found.count(name) for name in names] == [10, 10, 10, 10]
    for name, age in {
        "PatientAge": True,
        "AGE": True,
        "age_approx": True,
        "page": False,
        "stage_no": False,
    }.items():
        names, _ = column(name, [str(number) for number in range(10, 100, 2)])
        assert (names[-1] == "80+") == age, name


def test_few_numbers_are_codes():
    assert column("site", ["10", "2", "2", "1"]) == (["1", "2", "10"], ["10", "2", "2", "1"])


def test_words_among_numbers_make_them_words():
    values = [str(number) for number in range(12)] + ["child"]
    assert column("age", values)[0] == [str(number) for number in range(12)] + ["child"]


@pytest.mark.parametrize(
    ("text", "number"),
    [
        ("45", 45),
        ("045Y", 45),
        ("018M", 1.5),
        ("90+", 90),
        ("-1.5", -1.5),
        ("F", None),
        ("1e5x", None),
        ("", None),
    ],
)
def test_numbers(text, number):
    assert as_number(text) == number


def test_very_many_values_are_pooled():
    values = [f"scanner {number}" for number in range(30)] + ["scanner 7", "scanner 29"]
    names, found = column("scanner", values)
    assert len(names) == 20 and names[-1] == "other"
    assert {"scanner 7", "scanner 29"} < set(names)
    assert found.count("other") == 11


def test_pairs_of_columns():
    cases = [{"sex": "F", "site": "A"}, {"sex": "M", "site": "B"}, {"sex": "F", "site": ""}, {"sex": "F"}]
    sex, site, both = group_cases(cases, list("abcd"), fewest=1)
    assert (sex.columns, site.columns, both.columns) == (("sex",), ("site",), ("sex", "site"))
    assert both.names == ["F & A", "F & unknown", "M & B"]
    assert [both.names[code] for code in both.codes] == ["F & A", "M & B", "F & unknown", "F & unknown"]
    assert (both.key(0), sex.key(1)) == ("sex=F & site=A", "sex=M")
    # A column with one value has no intersections to tell.
    assert len(group_cases([{"a": "x", "b": "1"}, {"a": "x", "b": "2"}], ["p", "q"], fewest=1)) == 2
    assert group_cases([{}, {}], ["p", "q"], fewest=1) == []


def test_a_rule_puts_new_cases_into_the_groups_it_was_settled_on():
    ages = ["20", "30", "35", "41", "42", "43", "44", "61", "62", "63", "85", ""]
    rule = ColumnRule.fit("age", ages, [str(number) for number in range(12)], fewest=2)
    assert (rule.cuts, rule.names) == ([40, 60], ["<40", "40-59", "60+", "unknown"])
    found = {value: rule.group(value) for value in ("39", "40", "040Y", "59.5", "99", "n/a", "old")}
    assert found == {"39": "<40", "40": "40-59", "040Y": "40-59", "59.5": "40-59", "99": "60+"} | {
        "n/a": "unknown",
        "old": None,
    }
    sex = ColumnRule.fit("sex", ["F", "M"], ["a", "b"], fewest=1)
    assert [sex.group(value) for value in ("M", "", "X")] == ["M", None, None]
    many = ColumnRule.fit("site", [f"site {n}" for n in range(30)], [str(n) for n in range(30)], fewest=1)
    assert many.group("elsewhere") == "other"


def test_a_rule_of_several_columns_is_kept_as_text():
    cases = [{"sex": "F", "age": str(age)} for age in range(30, 50)] + [{"sex": "", "age": "70"}]
    rule = GroupRule.fit(["sex", "age"], cases, [str(number) for number in range(21)], fewest=3)
    kept = GroupRule.model_validate_json(rule.model_dump_json())
    assert kept == rule and kept.title == "sex & age"
    assert kept.key({"sex": "F", "age": "39"}) == "sex=F & age=<40"
    assert kept.key({"sex": "?", "age": "80", "site": "A"}) == "sex=unknown & age=40+"
    assert kept.key({"sex": "F"}) is None and kept.key({"sex": "M", "age": "39"}) is None


def test_too_few():
    shown, patients = np.array([[1], [1], [0], [0]], bool), ["a", "b", "c", "c"]
    assert too_few(None, patients, 3) == "" and too_few(shown, patients, 2) == ""
    assert too_few(None, patients, 4) == "too few: 3 of at least 4 patients"
    assert too_few(shown, patients, 3) == "too few: 2 patients with the class and 1 without, of at least 2"
    assert "no class that at least 2" in too_few(np.repeat(shown, 2, axis=1), patients, 3)
