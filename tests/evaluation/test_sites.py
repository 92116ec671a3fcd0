"""What is said about hospitals and scanners."""

import numpy as np
import pytest

from medcli.evaluation.groups import measure_groups
from medcli.evaluation.sites import measure_sites
from medcli.grouping import ColumnRule, is_site
from medcli.metrics.classification import auroc
from medcli.metrics.samples import classification_sample
from medcli.preprocessing.prepared import Record


def made(*, sites="ABC", each=60, blind="C", seed=0):
    """Everywhere a good score, at the blind site chance."""
    random = np.random.default_rng(seed)
    where = np.repeat(list(sites), each)
    truth = random.random(len(where)) < 0.5
    score = np.clip(
        np.where(where == blind, 0.5, 0.3 + 0.4 * truth) + random.normal(0, 0.15, len(where)), 0, 1
    )
    sample = classification_sample(
        np.stack([~truth, truth], 1), np.stack([1 - score, score], 1), np.stack([score < 0.5, score >= 0.5], 1),
        multi_label=False, positive=1,
    )  # fmt: skip
    return sample, where, truth, score


def record(case, site, split="train", column="site"):
    return Record(
        case=case, patient=case, split=split, fold=None, classes=(), key=case, shape=(1, 1), original_shape=(1, 1),
        spacing=None, objects=0, sources=(), labels=(), sha256="", groups={column: site},
    )  # fmt: skip


def measured(sample, where, records=(), column="site"):
    columns = [{column: site, "sex": "F"} for site in where]
    patients = [f"p{number}" for number in range(len(where))]
    groups = measure_groups(sample, columns, patients, fewest=10)
    return measure_sites(groups, sample, columns, patients, "auroc", records, fewest=10)


def test_the_value_of_every_site_and_of_all_others():
    sample, where, truth, score = made()
    found = measured(sample, where).content["site"]
    assert found["all"]["value"] == pytest.approx(float(auroc(truth, score)))
    for site in found["sites"]:
        inside = where == site["name"]
        assert site["value"] == pytest.approx(float(auroc(truth[inside], score[inside])))
        others = float(auroc(truth[~inside], score[~inside]))
        assert site["without"]["value"] == pytest.approx(others)
        assert site["without"]["difference"] == pytest.approx(others - found["all"]["value"])
        assert (
            site["without"]["difference_low"]
            < site["without"]["difference"]
            < site["without"]["difference_high"]
        )
        assert site["trained"] is None
    blind = found["sites"][2]["without"]
    assert blind["difference_low"] > 0, "without the site where it guesses the run is better"


def test_the_statement_names_the_ends_and_what_training_saw():
    sample, where, _, _ = made()
    seen = [record("a", "A"), record("b", "B"), record("c", "C", split="val")]
    sites = measured(sample, where, seen)
    [note] = sites.notes
    assert note.startswith("Sites (site): AUROC from 0.") and "at C (60 patients) to 0.9" in note
    assert "leaving out C moves it most, by +0." in note and note.endswith("not in the training part: C.")
    rows = sites.section.tables[0].rows
    assert [row["patients in training"] for row in rows] == [1, 1, 0]
    everywhere = measured(sample, where, [*seen, record("d", "C")])
    assert everywhere.notes[0].endswith("all of them were in the training part, so a new site may do worse.")


def test_one_site_and_small_sites():
    sample, where, _, _ = made(sites="A", blind="")
    sites = measured(sample, where)
    assert sites.notes == ["Sites (site): all cases are from A; how the run does elsewhere is not known."]
    assert sites.content["site"]["sites"][0]["without"] is None
    sample, where, _, _ = made(sites="AB", each=30)
    where = np.array(["A"] * 55 + ["B"] * 5)
    sites = measured(sample, where)
    assert "too few patients of more than one of them to compare" in sites.notes[0]
    assert sites.section.tables[0].rows[1]["AUROC"] == "too few"


def test_other_columns_are_no_sites():
    sample, where, _, _ = made()
    assert measured(sample, where, column="anatom_site") is None
    names = {"site": True, "site_id": True, "Hospital": True, "scanner": True, "ScannerModel": True}
    names |= {"manufacturer": True, "centre": True, "StationName": True, "institution": True}
    names |= {
        "anatom_site_general": False,
        "lesion_site": False,
        "opposite": False,
        "sex": False,
        "centred": False,
    }
    assert {name: is_site(name) for name in names} == names


def test_numbers_of_sites_are_no_quantities():
    numbers = [str(number) for number in range(101, 113)] * 2
    patients = np.arange(24).astype(str)
    assert len(ColumnRule.fit("site_id", numbers, patients, fewest=2).names) == 12
    assert len(ColumnRule.fit("dose", numbers, patients, fewest=2).names) == 4
