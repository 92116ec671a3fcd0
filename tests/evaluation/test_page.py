"""The report and the model card: what they say is in metrics.json, and everybody can read it."""

import json
import re
from html.parser import HTMLParser
from itertools import pairwise

import numpy as np
import pytest

from medcli.evaluation.evaluate import evaluate
from medcli.evaluation.findings import listed, percent, with_interval
from medcli.evaluation.model_card import HEADINGS
from medcli.files import read_csv
from medcli.prediction.result import Prediction

from . import runs
from .test_build import KINDS, with_files

VOID = {"img", "meta", "link", "br", "hr", "input"}


class Page(HTMLParser):
    """Reads a page strictly: every element that is opened is closed, in order."""

    def __init__(self, text):
        super().__init__()
        self.open, self.elements, self.words = [], [], []
        self.feed(text)
        self.close()
        assert self.open == []

    def handle_starttag(self, tag, attributes):
        self.elements.append((tag, dict(attributes)))
        if tag not in VOID:
            self.open.append(tag)

    def handle_endtag(self, tag):
        assert self.open and self.open.pop() == tag

    def handle_data(self, data):
        if self.open and self.open[-1] not in ("style", "script"):
            self.words.append(data)

    def all(self, tag):
        return [attributes for name, attributes in self.elements if name == tag]

    @property
    def text(self):
        return " ".join(" ".join(self.words).replace("\u00a0", " ").split())


@pytest.fixture(scope="module", params=KINDS)
def judged(request, tmp_path_factory):
    make, answer = KINDS[request.param]
    run = with_files(make(tmp_path_factory.mktemp(request.param)))
    result = evaluate(run, predictor=runs.Answers(answer))
    metrics = json.loads((result.folder / "metrics.json").read_text())
    return result, metrics, Page((result.folder / "report.html").read_text())


def test_everybody_can_read_it(judged):
    result, _, page = judged
    assert all(image["alt"].strip() and image["src"].startswith("data:image/") for image in page.all("img"))
    assert all(head["scope"] == "col" for head in page.all("th"))
    levels = [int(tag[1]) for tag, _ in page.elements if re.fullmatch(r"h[1-6]", tag)]
    assert levels[0] == 1 and levels.count(1) == 1
    assert all(later - earlier <= 1 for earlier, later in pairwise(levels))
    assert page.all("html")[0]["lang"] == "en" and page.all("main") and page.all("nav")
    assert all(link["href"].startswith("#") for link in page.all("a"))
    names = [attributes["id"] for _, attributes in page.elements if "id" in attributes]
    assert len(names) == len(set(names)) and {link["href"][1:] for link in page.all("a")} <= set(names)
    assert all(box["tabindex"] == "0" for box in page.all("div") if box.get("role") == "region")
    text = (result.folder / "report.html").read_text()
    assert "prefers-color-scheme: dark" in text and "@media print" in text
    assert not page.all("link") and not re.search(r"@import|url\(", text)
    assert len(text) < 5e6


def test_it_says_what_the_numbers_say(judged):
    _, metrics, page = judged
    part = page.text
    for question in ("What does it do?", "On whom", "How good", "How sure", "For whom", "refuse?", "worse?"):
        assert question in part
    size = f"{metrics['cases']} cases of {metrics['patients']} patients"
    assert f"On the validation part: {size}." in part
    first = {"classification": "auroc", "regression": "mae", "detection": "map50", "segmentation": "dice"}[
        metrics["task"]
    ]
    value, (low, high) = metrics["overall"][first], metrics["intervals"][first]
    assert f"{value:.3f} ({low:.3f} to {high:.3f}), from {size}" in part
    assert "they chose the best weights" in part
    assert "It rests on only 2 patients" in part or "It rests on only 3 patients" in part
    assert "the data name no columns such as sex, age or site" in part
    for note in metrics["notes"]:
        assert note in part


def test_every_table_is_a_file(judged):
    result, metrics, page = judged
    told = re.findall(r"tables/\w+\.csv", page.text)
    there = {f"tables/{path.name}" for path in (result.folder / "tables").iterdir()}
    assert set(told) == there and len(page.all("table")) == len(there) + 2  # the cases, and the list of files
    rows = read_csv(result.folder / "tables" / "measures.csv")
    values = [value for value in metrics["overall"].values() if value is not None]
    assert [float(row["value"]) for row in rows if row["value"]] == pytest.approx(values, rel=1e-6)
    assert {row["cases"] for row in rows} == {str(metrics["cases"])}


def test_the_model_card_has_every_heading_and_invents_nothing(judged):
    result, _, page = judged
    card = (result.folder / "model_card.md").read_text()
    assert re.findall(r"^## (.*)$", card, re.M) == list(HEADINGS)
    assert "- **Use**: not stated" in card and "- **Licence**: not stated" in card
    assert all(heading in page.text for heading in HEADINGS)
    for row in read_csv(result.folder / "cases.csv"):
        assert row["case"] not in card and not re.search(rf"\b{row['patient']}\b", card)


def test_what_people_say_goes_into_the_card(tmp_path):
    from medcli.evaluation.build import report

    run = with_files(runs.classification(tmp_path))
    evaluate(run, predictor=runs.Answers(runs.right_class))
    said = 'card.intended_use="To sort *drawn* pictures | <b>by</b> colour"'
    folder = report(run.folder, overrides=[said, "card.licence=CC0"]).folder
    card = (folder / "model_card.md").read_text()
    assert r"- **Use**: To sort \*drawn\* pictures | \<b>by\</b> colour" in card
    assert "- **Licence**: CC0" in card
    assert (
        "Intended use: To sort *drawn* pictures | <b>by</b> colour."
        in Page((folder / "report.html").read_text()).text
    )


def test_a_model_no_better_than_a_coin_is_called_so(tmp_path):
    random = np.random.default_rng(0)

    def guess(case, image):
        ill = np.float32(random.uniform(0.05, 0.95))
        return Prediction(probabilities=np.float32([1 - ill, ill]))

    result = evaluate(runs.classification(tmp_path, cases=40), predictor=runs.Answers(guess))
    low, high = result.intervals["auroc"]
    assert low < 0.5 < high
    page = Page((result.folder / "report.html").read_text())
    assert "The interval of AUROC includes 0.5: it may be no better than chance." in page.text


def test_words():
    assert listed(["a"]) == "a" and listed(["a", "b", "c"]) == "a, b and c"
    assert listed(list("abcd"), most=2) == "a, b and 2 more"
    assert [percent(share).replace("\u00a0", " ") for share in (0, 0.034, 0.5, 0.516, 0.999, 1)] == [
        "0 %", "3.4 %", "50 %", "52 %", "99.9 %", "100 %",
    ]  # fmt: skip
    assert with_interval(0.5, (0.4, 0.6)) == "0.500 (0.400 to 0.600)"
    assert with_interval(0.5, (float("nan"), float("nan"))) == "0.500"
    assert with_interval(float("nan"), (0.1, 0.2)) == "undefined"
