"""Groups before and after: the values are those of each result, the intervals those of a paired bootstrap."""

import json
from dataclasses import replace

import numpy as np
import pytest
from PIL import Image as Pillow

from medcli.config.loading import from_dict, save_config
from medcli.evaluation.compare import compare
from medcli.evaluation.evaluate import evaluate
from medcli.files import read_csv, write_csv
from medcli.prediction.result import Prediction
from medcli.preprocessing.plan import save_plan
from medcli.preprocessing.prepared import write_manifest

from . import runs


@pytest.fixture(scope="module")
def found(tmp_path_factory):
    """A misses ill women; B finds them and pays with false alarms among men. Two cases per patient."""
    from medcli.evaluation.classification import ClassificationJudge

    folder = tmp_path_factory.mktemp("compared")
    (folder / "data").mkdir()
    random, rows = np.random.default_rng(0), []
    for number in range(160):
        sex, ill = "FM"[number // 2 % 2], bool(number // 4 % 2)
        Pillow.fromarray(np.full((4, 4), number, np.uint8)).save(folder / "data" / f"case{number:03d}.png")
        rows.append(
            {"file": f"case{number:03d}.png", "label": ["healthy", "ill"][ill], "sex": sex, "site": "A"}
        )
    write_csv(folder / "data" / "table.csv", rows)
    data = {"root": "data", "table": "table.csv", "columns": {"groups": ["sex", "site"]}}
    config = from_dict(
        {"task": "classification", "data": data, "evaluate": {"pictures": 0}}, folder=folder, name="two"
    )
    run = runs.make_run(folder / "run", config, classes=["healthy", "ill"])
    noise = {row["file"][:-4]: random.normal(0, 0.2, 2) for row in rows}

    def answer(after: int):
        def one(case, image):
            ill = 0.5 + 0.25 * (1 if "ill" in case.classes else -1) + noise[case.name][after]
            women = case.groups["sex"] == "F"
            ill += (0.0 if women else 0.15) if after else (-0.25 if women and "ill" in case.classes else 0.0)
            ill = float(np.clip(ill, 0.01, 0.99))
            return Prediction(probabilities=np.float32([1 - ill, ill]))

        return one

    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(ClassificationJudge, "plots", lambda self: [])
        patch.setattr(
            "medcli.evaluation.groups.chance", lambda sample, *_, **__: {gap.name: 1.0 for gap in sample.gaps}
        )
        folders = []
        for after, name in enumerate("ab"):
            one = replace(run, folder=folder / name)
            one.folder.mkdir()
            save_plan(one.plan, one.folder / "plan.yaml")
            save_config(one.config, one.folder / "config.yaml")
            write_manifest(one.folder, one.records)
            evaluate(one, split="all", predictor=runs.Answers(answer(after)))
            folders.append(one.folder)
    return compare(*folders), folders


def row(found, **wanted):
    (one,) = [
        one for one in found.groups if all(getattr(one, name) == value for name, value in wanted.items())
    ]
    return one


def test_values_are_those_of_both_results(found):
    comparison, folders = found
    for side, folder in zip(("a", "b"), folders, strict=True):
        content = json.loads((folder / "evaluate" / "all" / "metrics.json").read_text())["groups"]
        for group in content["groups"]:
            title = " & ".join(group["columns"])
            for name, value in group["measures"].items():
                one = row(comparison, columns=title, kind="group", group=group["group"], measure=name)
                assert getattr(one, side) == pytest.approx(value["value"])
                assert (one.cases, one.patients) == (group["cases"], group["patients"])
        for gap in content["gaps"]:
            if np.isfinite(gap["value"] or np.nan):
                one = row(comparison, columns=" & ".join(gap["columns"]), kind="gap", measure=gap["gap"])
                assert getattr(one, side) == pytest.approx(gap["value"])
        overall = content["all"]["measures"]
        assert getattr(row(comparison, kind="all", measure="auroc"), side) == pytest.approx(
            overall["auroc"]["value"]
        )


def test_the_worst_group_gains_and_the_price_stands_beside_it(found):
    comparison, _ = found
    worst = row(comparison, columns="sex", kind="worst group", measure="sensitivity")
    women = row(comparison, columns="sex", kind="group", group="F", measure="sensitivity")
    assert (worst.a, worst.group) == (women.a, "F") and worst.difference > 0.2 and worst.low > 0
    gap = row(comparison, columns="sex", kind="gap", measure="equal_opportunity")
    assert gap.difference < -0.2 and gap.high < 0 and gap.difference == pytest.approx(gap.b - gap.a)
    price = row(comparison, columns="all cases", kind="all", measure="specificity")
    assert price.difference < 0 and (price.cases, price.patients) == (160, 80)
    assert not any(one.kind in ("worst group", "gap") and one.columns == "site" for one in comparison.groups)
    assert "paired resampling of patients" in comparison.notes[-1]


def test_intervals_agree_with_a_plain_paired_bootstrap(found):
    comparison, folders = found
    tables = [read_csv(folder / "evaluate" / "all" / "cases.csv") for folder in folders]
    patients = np.array([line["patient"] for line in tables[0]])
    women = np.array([line["sex"] == "F" for line in tables[0]])
    ill = np.array([line["truth"] == "ill" for line in tables[0]])
    right = np.array([[line["predicted"] == line["truth"] for line in table] for table in tables], float)
    names, random, drawn = np.unique(patients), np.random.default_rng(5), []
    members = [np.flatnonzero(patients == name) for name in names]
    for _ in range(2000):
        chosen = np.concatenate([members[place] for place in random.integers(len(names), size=len(names))])
        rates = [
            [right[side, chosen[ill[chosen] & (women[chosen] == sex)]].mean() for sex in (True, False)]
            for side in (0, 1)
        ]
        drawn.append((rates[1][0] - rates[0][0], (rates[1][1] - rates[1][0]) - (rates[0][1] - rates[0][0])))
    (low, gap_low), (high, gap_high) = np.quantile(drawn, [0.025, 0.975], axis=0)
    one = row(comparison, columns="sex", kind="group", group="F", measure="sensitivity")
    assert (one.low, one.high) == pytest.approx((low, high), abs=0.03)
    gap = row(comparison, columns="sex", kind="gap", measure="equal_opportunity")
    assert (gap.low, gap.high) == pytest.approx((gap_low, gap_high), abs=0.03)


def test_files(found, tmp_path):
    comparison, _ = found
    comparison.save(tmp_path / "out")
    content = json.loads((tmp_path / "out" / "comparison.json").read_text())
    lines = read_csv(tmp_path / "out" / "groups.csv")
    assert len(lines) == len(content["groups"]) == len(comparison.groups)
    assert {line["kind"] for line in lines} == {"all", "group", "worst group", "gap"}
    assert float(lines[0]["difference"]) == pytest.approx(comparison.groups[0].difference)
    assert (tmp_path / "out" / "measures.csv").is_file() and (tmp_path / "out" / "tests.csv").is_file()


def test_shown_as_tables_of_all_cases_and_of_every_column(found, capsys):
    from medcli.cli.compare import _show

    comparison, _ = found
    _show(comparison)
    text = capsys.readouterr().out
    assert "All cases: the price, before and after" in text and "Groups of sex, before and after" in text
    assert "sex & site" not in text and "worst group" in text
