"""Maps of the worst cases in the result of an evaluation; the maps themselves are tested with `explain`."""

import json

import numpy as np

from medcli.evaluation.build import report
from medcli.evaluation.evaluate import evaluate
from medcli.evaluation.kept import Picture, save_pictures
from medcli.evaluation.why import FILE, summary, why_section

from . import runs
from .test_build import content_of, unsure, with_files
from .test_page import Page


def told(verdict, **more):
    return {
        "label": "ill",
        "probability": 0.9,
        "method": "gradcam",
        "verdict": verdict,
        "reasons": ["so"],
    } | more


CONTENT = {
    "methods": ["gradcam"],
    "asked": 3,
    "cases": {"a": [told("passed", p=0.05)], "b": [told("failed")], "c": [{"reason": "it cannot be read"}]},
}


def test_what_the_checks_say_is_counted():
    assert summary(CONTENT) == {
        "methods": ["gradcam"], "cases": 2, "maps": 2, "verdicts": {"passed": 1, "failed": 1},
    }  # fmt: skip
    (table,) = why_section(CONTENT).tables
    assert table.caption.startswith("2 maps of the worst cases (gradcam): 1 passed and 1 failed.")
    assert [row["why"] for row in table.rows] == ["so", "so", "it cannot be read"]


def test_they_are_in_the_report_and_stay_there(tmp_path, monkeypatch):
    def explained(folder, predictor, cases, plan, progress):
        names = [case.name for case in cases]
        (folder / FILE).write_text(json.dumps(CONTENT | {"cases": {names[0]: [told("failed")]}}))
        (one,) = save_pictures(folder, "why", [(np.zeros((40, 60, 3), np.uint8), names[0])])
        return [Picture(one.kind, one.case, one.file, f"{names[0]}: a map that failed")]

    monkeypatch.setattr("medcli.evaluation.evaluate.explain_worst", explained)
    run = with_files(runs.classification(tmp_path))
    result = evaluate(run, predictor=runs.Answers(unsure))
    before = content_of(result.folder)
    assert before["metrics"]["explanations"]["verdicts"] == {"failed": 1}
    page = Page((result.folder / "report.html").read_text())
    assert "Why the worst cases came out so" in page.text and "a map that failed" in page.text
    worst = json.loads((result.folder / "evaluation.json").read_text())["pictures"][0]["case"]
    assert f"Map of the evidence over the image of case: {worst}: a map that failed" in {
        image["alt"] for image in page.all("img")
    }
    assert content_of(report(run.folder).folder) == before


def test_a_predictor_without_a_network_explains_nothing(tmp_path):
    result = evaluate(runs.classification(tmp_path), predictor=runs.Answers(unsure))
    assert not (result.folder / FILE).exists()
